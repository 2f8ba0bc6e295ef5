"""Scores: how near a volume is to the truth, and how well it explains its data.

Both image scores compare volumes after clipping to [0, 1], the range of every benchmark scene, so a method gains
nothing by leaving values there that cannot be true.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from skimage.metrics import structural_similarity

from etlab.geometry import measured_frequencies
from etlab.operator import Operator


def psnr(volume: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of a volume in dB.

    Parameters
    ----------
    volume, truth
        Arrays of one shape. Both are clipped to [0, 1] first; scale data with another range before comparing.

    Returns
    -------
    float
        In dB, infinite if the two are equal.

    Raises
    ------
    ValueError
        If the shapes differ, or for NaN or infinity.

    Notes
    -----
    With data range 1 and the mean over the whole array::

        PSNR = −10·log₁₀(mean((volume − truth)²)).

    Examples
    --------
    >>> truth = np.zeros((8, 8, 8))
    >>> round(psnr(truth + 0.1, truth), 6)
    20.0
    """
    volume, truth = _comparable(volume, truth)
    error = np.mean((volume - truth) ** 2)
    return float(-10 * np.log10(error)) if error > 0 else float("inf")


def ssim(volume: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean structural similarity of a volume to the truth.

    Parameters
    ----------
    volume, truth
        Arrays of one shape, at least 7 along every axis. Both are clipped to [0, 1] first; scale data with another
        range before comparing.

    Returns
    -------
    float
        1 for equal arrays; data range 1, 7-voxel window, in as many dimensions as the arrays have.

    Raises
    ------
    ValueError
        If the shapes differ or are smaller than the window, or for NaN or infinity.

    References
    ----------
    Wang et al., IEEE Trans. Image Process. 13 (2004) 600; scikit-image's default window and constants.

    Examples
    --------
    >>> truth = np.random.default_rng(0).random((8, 8, 8))
    >>> ssim(truth, truth), ssim(truth[::-1], truth) < 0.3
    (1.0, True)
    """
    volume, truth = _comparable(volume, truth)
    if min(truth.shape) < 7:
        raise ValueError(
            f"truth: got shape {truth.shape}, expected at least 7 along every axis, the window of SSIM"
        )
    return float(structural_similarity(volume, truth, data_range=1.0))


def consistency(operator: Operator, images: np.ndarray, volume: np.ndarray) -> float:
    """Return how well a volume explains its images: 1 if exactly.

    Parameters
    ----------
    operator
        The model of the microscope.
    images
        Measured line integrals (n_tilts, n_rows, nx).
    volume
        Shape (nz, ny, nx).

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If the images are all zero.

    Notes
    -----
    ::

        consistency = 1 − ‖y − A x‖ / ‖y‖,     clipped to [0, 1].

    Examples
    --------
    >>> from etlab import Projector, TiltGeometry
    >>> A = Projector(TiltGeometry([0.0, 90.0], (8, 8, 8)))
    >>> volume = np.ones((8, 8, 8), np.float32)
    >>> consistency(A, A(volume), volume), consistency(A, A(volume), 0.5 * volume)
    (1.0, 0.5)
    """
    norm = float(np.linalg.norm(images))
    if norm == 0:
        raise ValueError("images: got all zeros, expected a signal to be consistent with")
    return float(np.clip(1 - np.linalg.norm(images - operator(volume)) / norm, 0, 1))


def wedge_filling(volume: np.ndarray, truth: np.ndarray, tilts_deg: np.ndarray) -> tuple[float, float]:
    """Return the energy that a volume has in the missing wedge, and its correlation with the truth there.

    Little energy: the wedge was left empty. Much energy and little correlation: it was filled with inventions.

    Parameters
    ----------
    volume, truth
        Shape (nz, ny, nx). Both are clipped to [0, 1] first, as by `psnr` and `ssim`.
    tilts_deg
        Tilts in degrees, (n_tilts,): the wedge is what lies beyond the outermost ones.

    Returns
    -------
    tuple of float
        Energy relative to the truth's, and the correlation, −1 … 1.

    Raises
    ------
    ValueError
        If the truth has nothing in the wedge, the shapes differ, or for NaN or infinity.

    Examples
    --------
    >>> truth = np.zeros((16, 16, 8))
    >>> truth[6:10, 4:12] = 1
    >>> energy, correlation = wedge_filling(0.5 * truth, truth, np.arange(-60, 61, 5))
    >>> round(energy, 3), round(float(correlation), 3)
    (0.25, 1.0)
    """
    volume, truth = _comparable(volume, truth)
    shape = truth.shape[:2]
    missing = 1 - measured_frequencies(shape, tilts_deg)[:, :, None]
    found, true = (
        scipy.fft.irfft2(scipy.fft.rfft2(one, axes=(0, 1)) * missing, shape, axes=(0, 1))
        for one in (volume, truth)
    )
    energy, true_energy = (float(np.vdot(one, one)) for one in (found, true))
    if true_energy == 0:
        raise ValueError(
            "truth: got a volume with nothing in the missing wedge, expected something to compare with"
        )
    correlation = float(np.vdot(true, found)) / np.sqrt(energy * true_energy) if energy > 0 else 0.0
    return energy / true_energy, correlation


def standard_score(psnr_db: float, ssim: float) -> float:
    """Return the score of the standard board.

    Parameters
    ----------
    psnr_db
        `psnr` in dB.
    ssim
        `ssim`, up to 1.

    Returns
    -------
    float
        0 … 1.

    Notes
    -----
    ::

        score = 0.5·clip((PSNR − 15) / 30, 0, 1) + 0.5·SSIM.

    Examples
    --------
    >>> round(standard_score(30.0, 0.9), 3)
    0.7
    """
    return float(0.5 * np.clip((psnr_db - 15) / 30, 0, 1) + 0.5 * ssim)


def blind_score(psnr_db: float, ssim: float, consistency: float) -> float:
    """Return the score of the blind board, which also counts how well the volume explains its images.

    Parameters
    ----------
    psnr_db
        `psnr` in dB.
    ssim
        `ssim`, up to 1.
    consistency
        `consistency`, 0 … 1.

    Returns
    -------
    float
        0 … 1.

    Notes
    -----
    ::

        score = 0.4·clip((PSNR − 10) / 40, 0, 1) + 0.4·SSIM + 0.2·clip(consistency, 0, 1).

    Examples
    --------
    >>> round(blind_score(30.0, 0.9, 0.8), 3)
    0.72
    """
    return float(0.4 * np.clip((psnr_db - 10) / 40, 0, 1) + 0.4 * ssim + 0.2 * np.clip(consistency, 0, 1))


def _comparable(volume, truth):
    volume, truth = np.asarray(volume, np.float64), np.asarray(truth, np.float64)
    if volume.shape != truth.shape:
        raise ValueError(f"volume: got shape {volume.shape}, expected that of the truth, {truth.shape}")
    for name, array in (("volume", volume), ("truth", truth)):
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: got NaN or infinite values, expected finite ones")
    return np.clip(volume, 0, 1), np.clip(truth, 0, 1)
