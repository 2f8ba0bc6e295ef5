"""Weighted back-projection: ramp-filter each image across the tilt axis, then back-project.

    x̂ = Aᵀ (w · (h ∗ y)),     h the ramp |f| (windowed),  w_t the share of the half circle that tilt t stands for.

The weighting undoes the 1/|f| oversampling of low frequencies by the central slices (Radermacher, in Electron
Tomography, 1992; Kak & Slaney, Principles of Computerized Tomographic Imaging, 1988, ch. 3).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.fft

from etlab.solvers.common import checked_images

WINDOWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # of f / cutoff in 0 … 1
    "ramp": np.ones_like,
    "shepp-logan": lambda f: np.sinc(f / 2),
    "cosine": lambda f: np.cos(np.pi * f / 2),
    "hann": lambda f: 0.5 + 0.5 * np.cos(np.pi * f),
}


def wbp(operator, images: np.ndarray, *, window: str = "ramp", cutoff: float = 1.0) -> np.ndarray:
    """Weighted back-projection of images (n_tilts, n_rows, nx) -> volume (nz, ny, nx), float32.

    ``window`` is one of ``WINDOWS``; ``cutoff`` is the fraction of the Nyquist frequency beyond which the filter is
    zero. Besides A and Aᵀ it needs the angles, ``operator.geometry.tilts_deg``. Linear in the images; values may be
    negative.

    Raises ValueError for an unknown window, a cutoff outside (0, 1], or images that do not fit the operator.
    """
    images = checked_images(operator, images)
    weights = tilt_weights(operator.geometry.tilts_deg).astype(np.float32)
    ramp = ramp_filter(images.shape[1], window=window, cutoff=cutoff).astype(np.float32)[:, None]
    padded, n_rows = 2 * (len(ramp) - 1), images.shape[1]
    filtered = np.empty_like(images)
    for image, weight, out in zip(
        images, weights, filtered, strict=True
    ):  # one at a time: no padded copy of the stack
        spectrum = scipy.fft.rfft(image, padded, axis=0)
        spectrum *= ramp * weight
        out[:] = scipy.fft.irfft(spectrum, padded, axis=0, overwrite_x=True)[:n_rows]
    return operator.T(filtered)


def ramp_filter(n_rows: int, *, window: str = "ramp", cutoff: float = 1.0) -> np.ndarray:
    """The windowed ramp at the non-negative frequencies of a padded row; multiply an ``rfft`` by it.

    It is the transform of the band-limited ramp *sampled in real space* (h(0) = 1/4, h(n) = −1/(π n)² for odd n, else
    0). Sampling |f| itself would set the mean of every image to zero (Kak & Slaney, eq. 3.61).
    """
    if window not in WINDOWS:
        raise ValueError(f"window: got {window!r}, expected one of {', '.join(WINDOWS)}")
    if not 0 < cutoff <= 1:
        raise ValueError(f"cutoff: got {cutoff}, expected a fraction of the Nyquist frequency in (0, 1]")
    padded = scipy.fft.next_fast_len(2 * n_rows, real=True)
    padded += padded % 2
    distance = np.minimum(np.arange(padded), padded - np.arange(padded))
    kernel = np.where(distance % 2 == 1, -1 / (np.pi * np.maximum(distance, 1)) ** 2, 0.0)
    kernel[0] = 1 / 4
    frequency = 2 * scipy.fft.rfftfreq(padded) / cutoff
    inside = frequency <= 1
    return scipy.fft.rfft(kernel).real * np.where(inside, WINDOWS[window](np.minimum(frequency, 1)), 0)


def tilt_weights(tilts_deg: np.ndarray) -> np.ndarray:
    """Share of the half circle that each tilt stands for, in radians, whatever the order or spacing of the tilts.

    Half the distance to either neighbour, round the half circle: a tilt and the same tilt turned by 180° see the same
    projection. The missing wedge is nobody's: across it, a border tilt gets what it gets on its other side.
    """
    tilts, which, times = np.unique(
        np.asarray(tilts_deg, dtype=np.float64) % 180, return_inverse=True, return_counts=True
    )  # a tilt seen twice counts once
    if tilts.size == 1:
        return np.full(which.size, np.pi / which.size)
    gaps = np.diff(tilts, append=tilts[0] + 180)
    first = int(np.argmax(gaps)) + 1
    gaps = np.roll(gaps, -first)  # now the widest gap is the last
    before, after = np.roll(gaps, 1), gaps.copy()
    if gaps[-1] > 1.5 * gaps[:-1].max():  # a wedge, not one of several equal steps
        before[0], after[-1] = min(gaps[-1], gaps[0]), min(gaps[-1], gaps[-2])
    weights = np.deg2rad(np.roll(before + after, first) / 2)
    return (weights / times)[which]
