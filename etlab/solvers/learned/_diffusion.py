"""DiffET: samples of a diffusion prior that agree with the data.

The prior is a denoiser D(x, σ) trained on clean slices; it knows nothing of tomography. From pure noise, while σ falls
from 0.8 to 0.01:

    d = clip(D(x, σ)),                                        what the prior takes x for
    d' = argmin ½‖W^½ (A d' − y)‖² + ρ/2·‖d' − d‖²,           drawn to the data, W = 1 / variance = dose / A d
    x = d' + (next σ)·fresh noise.

At the end the last x goes through D once more, which takes away the noise that the data brought along.

The noise is fresh at each step, not what is left of the old: in a prototype the deterministic sampler stayed behind
total variation. Another seed is another sample; where samples differ, the data do not decide, and their spread maps
that. Sources: Song et al., ICLR 2021; Karras et al., NeurIPS 2022 (the denoiser's form); data consistency as in Chung
et al., DiffusionMBIR, CVPR 2023, and Zhu et al., DiffPIR, CVPRW 2023 (fresh noise).
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
    """``volumes`` (n, nz, ny, nx), each a reconstruction; their mean; and their standard deviation at every voxel."""

    volumes: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Better than each sample by the squared-error scores, and smoother than any specimen."""
        return self.volumes.mean(axis=0)

    @property
    def spread(self) -> np.ndarray:
        """Where it is large, the data do not decide; where it is small, the prior may still be wrong."""
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
    """One sample: images (n_tilts, n_rows, nx) -> volume (nz, ny, nx), float32.

    ``dose`` is in counts per unit line integral and gives the weights W. The weight of the prior at noise σ is
    ρ = ``rho``/σ²; ``n_cg`` conjugate-gradient iterations draw each estimate to the data; with much fewer, detail that
    was measured is left to the prior. The defaults of these three were chosen on a validation sample of the training.
    ``scale`` is the density that the prior is to take for 1. ``callback(status)`` is called after each of the
    ``n_steps`` and stops by returning True.

    Raises ValueError for a dose, ρ or scale that is not positive or fewer than two steps, WeightsError, saying what to
    do, if onnxruntime or the weights are missing.
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
    """Several samples, with the seeds ``seed``, ``seed`` + 1, … and the options of `diffusion`."""
    if n_samples < 2:
        raise ValueError(f"n_samples: got {n_samples}, expected at least 2, to have a spread")
    return Samples(
        np.stack([diffusion(operator, images, seed=seed + i, **options) for i in range(n_samples)])
    )


def drawn_to_data(
    operator: Operator, images: np.ndarray, guess: np.ndarray, *, dose: float, rho: float, n_iter: int
) -> tuple[np.ndarray, float]:
    """argmin over x of ½‖W^½ (A x − y)‖² + ρ/2·‖x − guess‖² by conjugate gradients, and ‖y − A guess‖.

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
