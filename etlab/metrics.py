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
    """Return the peak signal-to-noise ratio over the whole array in dB: −10·log₁₀(mean squared error), data range 1.

    Both arrays are clipped to [0, 1] first; scale data with another range before comparing.
    """
    volume, truth = _comparable(volume, truth)
    error = np.mean((volume - truth) ** 2)
    return float(-10 * np.log10(error)) if error > 0 else float("inf")


def ssim(volume: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean structural similarity, data range 1, in as many dimensions as the arrays have, 7-voxel window.

    Both arrays are clipped to [0, 1] first; scale data with another range before comparing.
    Source: Wang et al., IEEE Trans. Image Process. 13 (2004) 600; scikit-image's default window and constants.
    """
    volume, truth = _comparable(volume, truth)
    if min(truth.shape) < 7:
        raise ValueError(
            f"truth: got shape {truth.shape}, expected at least 7 along every axis, the window of SSIM"
        )
    return float(structural_similarity(volume, truth, data_range=1.0))


def consistency(operator: Operator, images: np.ndarray, volume: np.ndarray) -> float:
    """1 − ‖y − A x‖ / ‖y‖, clipped to [0, 1]: 1 if the volume explains its images exactly."""
    norm = float(np.linalg.norm(images))
    if norm == 0:
        raise ValueError("images: got all zeros, expected a signal to be consistent with")
    return float(np.clip(1 - np.linalg.norm(images - operator(volume)) / norm, 0, 1))


def wedge_filling(volume: np.ndarray, truth: np.ndarray, tilts_deg: np.ndarray) -> tuple[float, float]:
    """Return the energy in the missing wedge, relative to the truth's there, and the correlation of the two.

    Both volumes are (nz, ny, nx); compared are their parts with frequencies beyond the outermost tilts. Little energy:
    the wedge was left empty. Much energy and little correlation: it was filled with inventions. As `psnr` and `ssim`,
    this sees the volumes clipped to [0, 1]. Raises ValueError if the truth has nothing in the wedge.
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
    """Score of the standard board: 0.5·clip((PSNR − 15) / 30, 0, 1) + 0.5·SSIM."""
    return float(0.5 * np.clip((psnr_db - 15) / 30, 0, 1) + 0.5 * ssim)


def blind_score(psnr_db: float, ssim: float, consistency: float) -> float:
    """Score of the blind board: 0.4·clip((PSNR − 10) / 40, 0, 1) + 0.4·SSIM + 0.2·clip(consistency, 0, 1)."""
    return float(0.4 * np.clip((psnr_db - 10) / 40, 0, 1) + 0.4 * ssim + 0.2 * np.clip(consistency, 0, 1))


def _comparable(volume, truth):
    volume, truth = np.asarray(volume, np.float64), np.asarray(truth, np.float64)
    if volume.shape != truth.shape:
        raise ValueError(f"volume: got shape {volume.shape}, expected that of the truth, {truth.shape}")
    for name, array in (("volume", volume), ("truth", truth)):
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: got NaN or infinite values, expected finite ones")
    return np.clip(volume, 0, 1), np.clip(truth, 0, 1)
