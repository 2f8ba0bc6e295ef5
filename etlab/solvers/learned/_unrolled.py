"""PhysET: gradient steps on the data, with a small network in place of the step length and the penalty.

    g = Aᵀ F (y − A x),     x ← max(0, x + f(x, g, k/K)),     k = 0 … K − 1,  from x = Aᵀ F y.

F is the filter of weighted back-projection, so g is the weighted back-projection of what the volume does not explain
yet: a gradient of the misfit in the norm of F, in which all frequencies come at the same pace. The network knows the
specimens of its training, the operator knows the data, and they take turns. One network serves all steps; a plane tells
it which. It was trained step after step, each on what the steps before it made, as in Hauptmann et al., IEEE Trans.
Med. Imaging 37 (2018) 1382. The idea of a learned descent: Adler & Öktem, Inverse Problems 33 (2017) 124007.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import numpy as np

from etlab.operator import Operator
from etlab.solvers.common import Callback, Status, checked_images, iterations
from etlab.solvers.learned.network import load
from etlab.solvers.learned.onepass import scaled_wbp
from etlab.solvers.learned.slices import SliceNetwork, by_slices

STEPS = 3
NEIGHBOURS = 5


def unrolled(
    operator: Operator,
    images: np.ndarray,
    *,
    scale: float = 1.0,
    weights: str | os.PathLike | None = None,
    callback: Callback | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Reconstruct with PhysET: gradient steps on the data, with a small network in place of step length and penalty.

    Parameters
    ----------
    operator
        The model of the microscope, from volumes (nz, ny, nx) to images (n_tilts, n_rows, nx).
    images
        Line integrals in voxels, (n_tilts, n_rows, nx), floating.
    scale
        Density that the network is to take for 1, the densest of its training.
    weights
        ONNX file of your own training. Default: the weights that come with `etlab`.
    callback
        Called with a `Status` after each of the ``STEPS`` steps; stops the solver by returning True.
    progress
        Whether to show a progress bar.

    Returns
    -------
    np.ndarray
        Volume (nz, ny, nx), float32, not negative.

    Raises
    ------
    WeightsError
        If onnxruntime or the weights are missing; the message says what to do.
    ValueError
        For a scale that is not positive, shapes that do not fit, NaN or infinity.
    TypeError
        For images that are not floating.

    Notes
    -----
    With F the filter of weighted back-projection, for k = 0 … K − 1, from x = Aᵀ F y::

        g = Aᵀ F (y − A x),     x ← max(0, x + f(x, g, k/K)).

    References
    ----------
    Hauptmann et al., IEEE Trans. Med. Imaging 37 (2018) 1382 (training step after step); Adler & Öktem, Inverse
    Problems 33 (2017) 124007 (learned descent).

    Examples
    --------
    >>> from etlab import Projector, TiltGeometry, linear_tilts
    >>> A = Projector(TiltGeometry(linear_tilts(60, 10), (16, 32, 8)))
    >>> truth = np.zeros((16, 32, 8), np.float32)
    >>> truth[6:10, 10:22] = 1
    >>> volume = unrolled(A, A(truth))
    >>> volume.shape, bool(volume.min() >= 0)
    ((16, 32, 8), True)
    """
    images = checked_images(operator, images)
    network = load("unrolled", weights)
    states = descent(operator, images, scale)
    volume, gradient, misfit = next(states)
    for step in iterations(STEPS, "PhysET", progress):
        volume = advanced(network, volume, gradient, step - 1)
        if callback and callback(Status(step, misfit, volume * np.float32(scale))):
            break
        if step < STEPS:
            volume, gradient, misfit = states.send(volume)
    return volume * np.float32(scale)


def descent(
    operator: Operator, images: np.ndarray, scale: float = 1.0
) -> Generator[tuple[np.ndarray, np.ndarray, float], np.ndarray, None]:
    """Yield volume, filtered gradient and relative residual; ``send`` it the next volume. All in units of ``scale``."""
    volume = np.maximum(scaled_wbp(operator, images, scale), 0)
    norm = float(np.linalg.norm(images)) or 1.0
    while True:
        residual = images - operator(volume) * np.float32(scale)
        misfit = float(np.linalg.norm(residual)) / norm
        volume = yield volume, scaled_wbp(operator, residual, scale), misfit


def advanced(network: SliceNetwork, volume: np.ndarray, gradient: np.ndarray, step: int) -> np.ndarray:
    """Return the volume after step number ``step``, counted from 0."""
    answer = by_slices(network, [volume, gradient], n_neighbours=NEIGHBOURS, planes=(step / STEPS,))
    return np.maximum(answer, 0, out=answer)
