"""SART: the corrections of SIRT made tilt by tilt, so that each image already sees what the ones before it changed.

    x ← x + β·C·A_tᵀ·R_t·(y_t − A_t x),     R_t = 1 / (A_t 1),  C = 1 / max_t (A_tᵀ 1),     for every tilt t in turn.

C is the same for all tilts: one volume of weights instead of one a tilt, and the largest sum, so that no tilt
overshoots. With noise-free, consistent images the sweeps converge; with noisy ones they end in a cycle around the
least-squares solution whose width the relaxation β sets. Neighbouring tilts say nearly the same, so that taking them
one after the other wastes most of a correction: the order matters.
"""

from __future__ import annotations

import numpy as np

from etlab.operator import HasSubset
from etlab.solvers._sirt import ascend, inverse
from etlab.solvers.common import (
    Callback,
    Status,
    checked_images,
    iterations,
    row_and_column_sums,
    starting_volume,
)

GOLDEN = (np.sqrt(5) - 1) / 2


def sart(
    operator: HasSubset,
    images: np.ndarray,
    *,
    n_iter: int = 5,
    relaxation: float = 0.3,
    order: np.ndarray | None = None,
    x0: np.ndarray | None = None,
    nonnegative: bool = True,
    callback: Callback | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Reconstruct by SART: SIRT's correction made tilt by tilt, so that each image sees what those before it changed.

    Memory: the volume, the images, the weights (small for a `Projector`) and one residual image.

    Parameters
    ----------
    operator
        As for `sirt`, and with ``operator.subset([t])``, itself for tilt t alone.
    images
        Line integrals in voxels, (n_tilts, n_rows, nx), floating.
    n_iter
        Number of sweeps over all tilts.
    relaxation
        β, between 0 and 2: the smaller, the less noise and the slower.
    order
        Indices of the tilts in the order in which a sweep visits them, (n_tilts,). Default: each far from those just
        visited.
    x0
        Volume (nz, ny, nx) to start from, which is not changed. Default: zeros.
    nonnegative
        Whether to clip the volume at zero after each tilt.
    callback
        Called with a `Status` after each sweep; stops the solver by returning True.
        ``status.residual`` compares each image just before its own correction.
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
    For every tilt t in turn::

        x ← x + β·C·A_tᵀ·R_t·(y_t − A_t x),     R_t = 1 / (A_t 1),  C = 1 / max_t (A_tᵀ 1).

    References
    ----------
    Andersen & Kak, Ultrasonic Imaging 6 (1984) 81; order: Köhler, IEEE Nucl. Sci. Symp. (2004) 3961.

    Examples
    --------
    >>> from etlab import Projector, TiltGeometry, linear_tilts, psnr
    >>> A = Projector(TiltGeometry(linear_tilts(60, 10), (16, 32, 8)))
    >>> truth = np.zeros((16, 32, 8), np.float32)
    >>> truth[6:10, 10:22] = 1
    >>> volume = sart(A, A(truth), n_iter=4)
    >>> volume.shape, round(psnr(volume, truth))  # in dB
    ((16, 32, 8), 15)
    """
    images = checked_images(operator, images)
    if not 0 < relaxation < 2:
        raise ValueError(f"relaxation: got {relaxation}, expected a number between 0 and 2")
    n_tilts = len(images)
    order = golden_order(operator.geometry.tilts_deg) if order is None else np.asarray(order)
    if not np.array_equal(np.sort(order), np.arange(n_tilts)):
        raise ValueError(f"order: got {order!r}, expected every index from 0 to {n_tilts - 1} once")
    volume = starting_volume(operator, x0)
    tilts = [operator.subset([t]) for t in range(n_tilts)]
    row_weights, largest = [], np.float32(0)
    for tilt in tilts:
        row_sums, column_sums = row_and_column_sums(tilt)
        row_weights.append(np.float32(relaxation) * inverse(row_sums))
        largest = np.maximum(largest, column_sums)
    column_weights = inverse(largest)
    scale = float(np.linalg.norm(images)) or 1.0
    for iteration in iterations(n_iter, "SART", progress):
        squared = 0.0
        for t in order:
            residual = images[t : t + 1] - tilts[t](volume)
            squared += float(np.vdot(residual, residual))
            residual *= row_weights[t]
            ascend(tilts[t], volume, residual, column_weights, nonnegative)
        if callback and callback(Status(iteration, np.sqrt(squared) / scale, volume)):
            break
    return volume


def golden_order(tilts_deg: np.ndarray) -> np.ndarray:
    """Return the indices of the tilts in an order in which each is far from those just visited.

    Visit k goes to the fraction k·0.618… (mod 1) of the sorted tilts: multiples of the golden ratio fill an interval
    as evenly as any sequence can, after any number of visits.
    """
    visits = np.arange(len(tilts_deg)) * GOLDEN % 1
    return np.argsort(tilts_deg)[np.argsort(np.argsort(visits))]
