"""DiffET: samples of a diffusion prior that agree with the data.

The prior is a denoiser D(x, σ) trained on clean slices; it knows nothing of tomography. From pure noise, while σ falls
from 0.8 to 0.01:

    d = clip(D(x, σ)),                                        what the prior takes x for
    d' = argmin ½‖W^½ (A d' − y)‖² + ρ/2·‖d' − d‖²,           drawn to the data, W = 1 / variance = dose / A d
    x = d' + (next σ)·fresh noise.

At the end the last x goes through D once more, which takes away the noise that the data brought along.

The noise is fresh at each step, not what is left of the old: in a prototype the deterministic sampler stayed behind
total variation. Another seed is another sample; where samples differ, the data do not decide, and their spread maps
that.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from etlab.operator import Operator
from etlab.solvers.common import Callback, Status, checked_images, iterations
from etlab.solvers.learned.network import load
from etlab.solvers.learned.slices import by_slices

NEIGHBOURS = 3
SIGMAS = (0.8, 0.01)  # first and last, in geometric steps
LEAST_COUNTS = 1.0  # where fewer are expected, the weight grows no further


@dataclass(frozen=True, eq=False)
class Samples:
    """Several reconstructions of one tilt series; where they differ, the data do not decide.

    Parameters
    ----------
    volumes
        Shape (n, nz, ny, nx).

    Examples
    --------
    >>> samples = Samples(np.stack([np.zeros((4, 4, 4)), np.ones((4, 4, 4))]))
    >>> samples.mean[0, 0, 0], samples.spread[0, 0, 0]
    (np.float64(0.5), np.float64(0.5))
    """

    volumes: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """The mean volume: better than each sample by the squared-error scores, and smoother than any specimen."""
        return self.volumes.mean(axis=0)

    @property
    def spread(self) -> np.ndarray:
        """The standard deviation at every voxel.

        Where it is large, the data do not decide; where it is small, the prior may still be wrong.
        """
        return self.volumes.std(axis=0)


def diffusion(
    operator: Operator,
    images: np.ndarray,
    *,
    seed: int = 0,
    n_steps: int = 16,
    dose: float = 5.0,
    rho: float = 0.3,
    n_cg: int = 30,
    scale: float = 1.0,
    weights: str | os.PathLike | None = None,
    callback: Callback | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Reconstruct with DiffET: draw one sample of a diffusion prior that agrees with the data.

    Parameters
    ----------
    operator
        The model of the microscope, from volumes (nz, ny, nx) to images (n_tilts, n_rows, nx).
    images
        Line integrals in voxels, (n_tilts, n_rows, nx), floating.
    seed
        Seed of the noise: another one gives another sample.
    n_steps
        Number of steps from pure noise to the volume, at least 2.
    dose
        Counts per unit line integral, which give the weights W.
    rho
        The weight of the prior at noise σ is ρ = ``rho``/σ².
    n_cg
        Conjugate-gradient iterations that draw each estimate to the data; with much fewer, detail that was measured
        is left to the prior.
    scale
        Density that the prior is to take for 1.
    weights
        ONNX file of your own training. Default: the weights that come with `etlab`.
    callback
        Called with a `Status` after each step; stops the solver by returning True.
    progress
        Whether to show a progress bar.

    Returns
    -------
    np.ndarray
        Volume (nz, ny, nx), float32, one sample.

    Raises
    ------
    ValueError
        For a dose, ρ or scale that is not positive, fewer than two steps, or images that do not fit.
    WeightsError
        If onnxruntime or the weights are missing; the message says what to do.
    TypeError
        For images that are not floating.

    Notes
    -----
    The prior is a denoiser D(x, σ). While σ falls from 0.8 to 0.01::

        d = clip(D(x, σ)),
        d' = argmin ½‖W^½ (A d' − y)‖² + ρ/2·‖d' − d‖²,     W = 1 / variance = dose / A d,
        x = d' + (next σ)·fresh noise.

    At the end the last x goes through D once more. The defaults of ``dose``, ``rho`` and ``n_cg`` were chosen on a
    validation sample of the training.

    References
    ----------
    Song et al., ICLR 2021; Karras et al., NeurIPS 2022 (the denoiser's form); data consistency as in Chung et al.,
    DiffusionMBIR, CVPR 2023, and Zhu et al., DiffPIR, CVPRW 2023 (fresh noise).

    Examples
    --------
    >>> from etlab import Projector, TiltGeometry, linear_tilts
    >>> A = Projector(TiltGeometry(linear_tilts(60, 10), (16, 32, 8)))
    >>> truth = np.zeros((16, 32, 8), np.float32)
    >>> truth[6:10, 10:22] = 1
    >>> volume = diffusion(A, A(truth), n_steps=2, n_cg=3)
    >>> volume.shape, bool(volume.min() >= 0)
    ((16, 32, 8), True)
    """
    images = checked_images(operator, images)
    for name, value in dict(dose=dose, rho=rho, scale=scale).items():
        if not 0 < value < np.inf:
            raise ValueError(f"{name}: got {value}, expected a positive number")
    if n_steps < 2 or n_cg < 1:
        raise ValueError(f"n_steps, n_cg: got {n_steps} and {n_cg}, expected at least 2 and 1")
    network = load("diffusion", weights)
    rng = np.random.default_rng(seed)
    images = images / np.float32(scale)
    sigmas = np.geomspace(*SIGMAS, n_steps).astype(np.float32)
    noisy = sigmas[0] * rng.standard_normal(operator.geometry.volume_shape, np.float32)
    norm = float(np.linalg.norm(images)) or 1.0

    def denoised(noisy, sigma):
        return np.clip(by_slices(network, [noisy], n_neighbours=NEIGHBOURS, planes=(sigma,)), 0, 1)

    for step in iterations(n_steps, "DiffET", progress):
        sigma = sigmas[step - 1]
        volume, misfit = drawn_to_data(
            operator,
            images,
            denoised(noisy, sigma),
            dose=dose * scale,
            rho=rho / float(sigma) ** 2,
            n_iter=n_cg,
        )
        if callback and callback(Status(step, misfit / norm, volume * np.float32(scale))):
            break
        if step < n_steps:
            noisy = volume + sigmas[step] * rng.standard_normal(volume.shape, np.float32)
    return denoised(volume, sigma) * np.float32(scale)


def diffusion_samples(
    operator: Operator, images: np.ndarray, *, n_samples: int = 4, seed: int = 0, **options: Any
) -> Samples:
    """Draw several samples with `diffusion`, to see where they differ.

    Parameters
    ----------
    operator
        The model of the microscope, from volumes (nz, ny, nx) to images (n_tilts, n_rows, nx).
    images
        Line integrals in voxels, (n_tilts, n_rows, nx), floating.
    n_samples
        Number of samples, at least 2.
    seed
        Seed of the first; the others have the seeds after it.
    options
        Of `diffusion`.

    Returns
    -------
    Samples
        The volumes, their mean and their spread.

    Raises
    ------
    ValueError
        For fewer than two samples, and as `diffusion` does.
    WeightsError
        If onnxruntime or the weights are missing; the message says what to do.

    Examples
    --------
    >>> from etlab import Projector, TiltGeometry, linear_tilts
    >>> A = Projector(TiltGeometry(linear_tilts(60, 10), (16, 32, 8)))
    >>> truth = np.zeros((16, 32, 8), np.float32)
    >>> truth[6:10, 10:22] = 1
    >>> samples = diffusion_samples(A, A(truth), n_samples=2, n_steps=2, n_cg=3)
    >>> samples.volumes.shape, bool(samples.spread.max() > 0)
    ((2, 16, 32, 8), True)
    """
    if n_samples < 2:
        raise ValueError(f"n_samples: got {n_samples}, expected at least 2, to have a spread")
    return Samples(
        np.stack([diffusion(operator, images, seed=seed + i, **options) for i in range(n_samples)])
    )


def drawn_to_data(
    operator: Operator, images: np.ndarray, guess: np.ndarray, *, dose: float, rho: float, n_iter: int
) -> tuple[np.ndarray, float]:
    """Minimise ½‖W^½ (A x − y)‖² + ρ/2·‖x − guess‖² by conjugate gradients; return x and ‖y − A guess‖.

    W is that of the guess's own images. From the recorded ones it would be large wherever they are low by chance.
    """
    expected = operator(guess)
    precision = np.float32(dose) / np.maximum(expected, np.float32(LEAST_COUNTS / dose))
    expected -= images
    misfit = float(np.linalg.norm(expected))
    volume = guess.copy()
    residual = -operator.T(precision * expected)  # the gradient of the prior's term is zero here
    direction = residual.copy()
    square = float(np.vdot(residual, residual))
    for _ in range(n_iter):
        if square == 0:
            break
        curved = operator.T(precision * operator(direction)) + np.float32(rho) * direction
        length = np.float32(square / float(np.vdot(direction, curved)))
        volume += length * direction
        residual -= length * curved
        square, before = float(np.vdot(residual, residual)), square
        direction = residual + np.float32(square / before) * direction
    return volume, misfit
