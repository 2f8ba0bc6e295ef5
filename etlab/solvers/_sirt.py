"""SIRT: simultaneous iterative reconstruction, gradient descent on a weighted least-squares misfit.

    x ← x + C·Aᵀ·R·(y − A x),     R = 1 / (A 1),  C = 1 / (Aᵀ 1),

with R and C diagonal: the inverse sums of the rows and columns of A. Every image corrects every voxel by the mean of
its residuals.
"""

from __future__ import annotations

import numpy as np

from etlab.operator import Operator
from etlab.solvers.common import (
    Callback,
    Status,
    checked_images,
    iterations,
    row_and_column_sums,
    starting_volume,
)


def sirt(
    operator: Operator,
    images: np.ndarray,
    *,
    n_iter: int = 50,
    x0: np.ndarray | None = None,
    nonnegative: bool = True,
    callback: Callback | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Reconstruct by SIRT, gradient descent on a weighted least-squares misfit.

    It uses every image before each update. Memory: the volume, the images and one residual.

    Parameters
    ----------
    operator
        The model of the microscope, from volumes (nz, ny, nx) to images (n_tilts, n_rows, nx).
    images
        Line integrals in voxels, (n_tilts, n_rows, nx), floating.
    n_iter
        Number of iterations.
    x0
        Volume (nz, ny, nx) to start from, which is not changed. Default: zeros.
    nonnegative
        Whether to clip the volume at zero after each iteration.
    callback
        Called with a `Status` after each iteration; stops the solver by returning True.
    progress
        Whether to show a progress bar.

    Returns
    -------
    np.ndarray
        Volume (nz, ny, nx), float32.

    Raises
    ------
    ValueError
        For shapes that do not fit, NaN or infinity, or an option outside its range.
    TypeError
        For images that are not floating.

    Notes
    -----
    With R and C the inverse sums of the rows and columns of A::

        x ← x + C·Aᵀ·R·(y − A x),     R = 1 / (A 1),  C = 1 / (Aᵀ 1).

    References
    ----------
    Gilbert, J. Theor. Biol. 36 (1972) 105.

    Examples
    --------
    >>> from etlab import Projector, TiltGeometry, linear_tilts, psnr
    >>> A = Projector(TiltGeometry(linear_tilts(60, 10), (16, 32, 8)))
    >>> truth = np.zeros((16, 32, 8), np.float32)
    >>> truth[6:10, 10:22] = 1
    >>> volume = sirt(A, A(truth), n_iter=20)
    >>> volume.shape, round(psnr(volume, truth))  # in dB
    ((16, 32, 8), 15)
    """
    images = checked_images(operator, images)
    volume = starting_volume(operator, x0)
    row_weights, column_weights = (inverse(sums) for sums in row_and_column_sums(operator))
    scale = float(np.linalg.norm(images)) or 1.0
    for iteration in iterations(n_iter, "SIRT", progress):
        residual = operator(volume)
        np.subtract(images, residual, out=residual)
        misfit = float(np.linalg.norm(residual)) / scale
        residual *= row_weights
        ascend(operator, volume, residual, column_weights, nonnegative)
        del residual  # before the next one is made, so that only one is ever held
        if callback and callback(Status(iteration, misfit, volume)):
            break
    return volume


def inverse(sums: np.ndarray | np.float32) -> np.ndarray:
    """Return 1 / sums, and 0 where nothing was summed: a detector row no voxel reaches, a voxel no ray meets."""
    return np.divide(1, sums, out=np.zeros_like(sums), where=sums > 1e-6)


def ascend(
    operator: Operator, volume: np.ndarray, residual: np.ndarray, scale: np.ndarray, nonnegative: bool
) -> None:
    """Update volume ← volume + scale·Aᵀ residual in place, clipped at zero if asked."""
    if hasattr(operator, "step") and scale.shape[2:] == (1,):  # `step` takes weights that do not depend on x
        operator.step(volume, residual, scale, nonnegative=nonnegative)
        return
    volume += scale * operator.T(residual)
    if nonnegative:
        np.maximum(volume, 0, out=volume)
