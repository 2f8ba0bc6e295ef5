"""IsoNet: fill the missing wedge with what the specimen looks like in the directions that were measured.

    x̂ = max(0, F⁻¹(M·F(SIRT(y)) + (1 − M)·F(f(WBP(y))))),      M = 1 where the tilts measured, 0 in the wedge.

f never saw a truth. Reconstructions were turned at random, so that their wedge lies elsewhere, recorded anew by the
model of the microscope, and reconstructed: f learned to undo that. It assumes that a specimen looks alike in all
directions; a flat film does not. Filling is strict: what was measured is kept, with its noise, so even a perfect f
cannot bring the whole truth back. The row of the board is f's own answer, max(0, f(WBP(y))), as the original gives it.
"""

from __future__ import annotations

import os

import numpy as np
import scipy.fft

from etlab.geometry import measured_frequencies
from etlab.operator import Operator
from etlab.solvers._sirt import sirt
from etlab.solvers.learned.network import load
from etlab.solvers.learned.onepass import scaled_wbp
from etlab.solvers.learned.slices import by_slices

SIRT_ITERATIONS = 30


def isonet(
    operator: Operator,
    images: np.ndarray,
    *,
    strict: bool = True,
    scale: float = 1.0,
    weights: str | os.PathLike | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Reconstruct with IsoNet: fill the missing wedge with what the specimen looks like in the measured directions.

    Trained without a truth. It assumes that a specimen looks alike in all directions; a flat film does not.

    Parameters
    ----------
    operator
        The model of the microscope, from volumes (nz, ny, nx) to images (n_tilts, n_rows, nx).
    images
        Line integrals in voxels, (n_tilts, n_rows, nx), floating.
    strict
        Whether to keep what was measured, with its noise. False returns the network's own answer, max(0, f(WBP(y))),
        in which the measured frequencies are denoised, too.
    scale
        Density that the network is to take for 1.
    weights
        ONNX file of your own training. Default: the weights that come with `etlab`.
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
    With M = 1 where the tilts measured and 0 in the wedge::

        x̂ = max(0, F⁻¹(M·F(SIRT(y)) + (1 − M)·F(f(WBP(y))))).

    References
    ----------
    Liu et al., Nat. Commun. 13 (2022) 6482.

    Examples
    --------
    >>> from etlab import Projector, TiltGeometry, linear_tilts
    >>> A = Projector(TiltGeometry(linear_tilts(60, 10), (16, 32, 8)))
    >>> truth = np.zeros((16, 32, 8), np.float32)
    >>> truth[6:10, 10:22] = 1
    >>> volume = isonet(A, A(truth), strict=False)
    >>> volume.shape, bool(volume.min() >= 0)
    ((16, 32, 8), True)
    """
    network = load("isonet", weights)
    volume = by_slices(network, [scaled_wbp(operator, images, scale)], progress=progress)
    if strict:
        measured = sirt(operator, images, n_iter=SIRT_ITERATIONS) / np.float32(scale)
        volume = filled(measured, volume, operator.geometry.tilts_deg)
    return np.maximum(volume, 0, out=volume) * np.float32(scale)


def filled(measured: np.ndarray, guessed: np.ndarray, tilts_deg: np.ndarray) -> np.ndarray:
    """Combine ``measured`` between the outermost tilts with ``guessed`` at frequencies beyond; both (nz, ny, nx)."""
    mask = measured_frequencies(measured.shape[:2], tilts_deg)[:, :, None]
    difference = scipy.fft.rfft2(measured - guessed, axes=(0, 1))
    correction = scipy.fft.irfft2(difference * mask, measured.shape[:2], axes=(0, 1))
    return (guessed + correction).astype(np.float32)
