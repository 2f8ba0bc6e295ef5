"""What the showpieces check and pack: a slice of a specimen, and its noisy images."""

from __future__ import annotations

import numpy as np

MAX_SIZE = 128  # the browser projects and transforms a slice of this size in a few milliseconds
MAX_TILTS = 181


def checked_disc(slice_: np.ndarray) -> np.ndarray:
    """Return a slice (n, n), n ≤ 128, of densities ≥ 0 inside the disc of diameter n.

    Raises ValueError if it is not square, too large, not finite, negative, empty or reaches out of the disc.
    """
    slice_ = np.asarray(slice_)
    if slice_.ndim != 2 or slice_.shape[0] != slice_.shape[1] or not 2 <= len(slice_) <= MAX_SIZE:
        raise ValueError(f"slice_: got shape {slice_.shape}, expected (n, n) with n from 2 to {MAX_SIZE}")
    if not np.isfinite(slice_).all() or slice_.min() < 0 or slice_.max() == 0:
        raise ValueError("slice_: got NaN, infinite, negative or only zero values, expected densities ≥ 0")
    z, y = np.indices(slice_.shape) - (len(slice_) - 1) / 2
    outside = slice_[np.hypot(z, y) > len(slice_) / 2].sum() / slice_.sum()
    if outside > 0.01:
        raise ValueError(
            f"slice_: {outside:.0%} of its mass lies outside the disc of diameter {len(slice_)}, expected at "
            "most 1 %: those rays would miss the detector"
        )
    return slice_


def checked_series(truth: np.ndarray, images: np.ndarray, tilts_deg: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return a slice (nz, ny), its images (n_tilts, n_rows) and their tilts, as float64; sizes up to 128, tilts to 181.

    Raises ValueError for other shapes, NaN and infinity, and a slice without any density.
    """
    truth, images, tilts = (np.asarray(one, np.float64) for one in (truth, images, tilts_deg))
    if truth.ndim != 2 or not 2 <= min(truth.shape) <= max(truth.shape) <= MAX_SIZE:
        raise ValueError(f"truth: got shape {truth.shape}, expected (nz, ny) with sizes from 2 to {MAX_SIZE}")
    if tilts.ndim != 1 or not 2 <= tilts.size <= MAX_TILTS:
        raise ValueError(f"tilts_deg: got shape {tilts.shape}, expected 2 to {MAX_TILTS} angles")
    if images.ndim != 2 or len(images) != tilts.size or not 2 <= images.shape[1] <= 2 * MAX_SIZE:
        raise ValueError(f"images: got shape {images.shape}, expected ({tilts.size}, n_rows)")
    for name, array in (("truth", truth), ("images", images), ("tilts_deg", tilts)):
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: got NaN or infinite values, expected finite ones")
    if truth.max() <= 0:
        raise ValueError("truth: got no positive density, expected a specimen")
    return truth, images, tilts


def packed(array: np.ndarray) -> bytes:
    """Return the numbers as the browser takes them: little-endian float32."""
    return np.ascontiguousarray(array, "<f4").tobytes()
