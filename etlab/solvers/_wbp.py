"""Weighted back-projection: ramp-filter each image across the tilt axis, then back-project.

    x̂ = Aᵀ (w · (h ∗ y)),     h the ramp |f| (windowed),  w_t the share of the half circle that tilt t stands for.

The weighting undoes the 1/|f| oversampling of low frequencies by the central slices (Kak & Slaney, Principles of
Computerized Tomographic Imaging, 1988, ch. 3). Exact weighting counts, at each frequency, how many slices overlap:

    h_t(f) = 1 / (D·max(1, Σ_u sinc(D·f·sin(θ_t − θ_u)))),

because the transform of a specimen of thickness D is no finer than 1/D, so each central slice is about so thick. Where
slices overlap this is the ramp; beyond, at high frequency and wide steps, it is flat, as no slice helps another there
(Harauz & van Heel, Optik 73 (1986) 146; Radermacher, in Electron Tomography, 1992).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.fft

from etlab.operator import BackProjector
from etlab.solvers.common import checked_images

WINDOWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # of f / cutoff in 0 … 1
    "ramp": np.ones_like,
    "shepp-logan": lambda f: np.sinc(f / 2),
    "cosine": lambda f: np.cos(np.pi * f / 2),
    "hann": lambda f: 0.5 + 0.5 * np.cos(np.pi * f),
}


def wbp(
    operator: BackProjector,
    images: np.ndarray,
    *,
    window: str = "ramp",
    cutoff: float = 1.0,
    weighting: str = "sampling",
    thickness: float | None = None,
) -> np.ndarray:
    """Reconstruct by weighted back-projection: ramp-filter each image across the tilt axis, then back-project.

    The result is linear in the images; values may be negative.

    Parameters
    ----------
    operator
        Has Aᵀ and the angles, ``operator.geometry.tilts_deg``; from volumes (nz, ny, nx) to images (n_tilts, n_rows,
        nx).
    images
        Line integrals in voxels, (n_tilts, n_rows, nx), floating.
    window
        Window of the ramp: "ramp" (none), "shepp-logan", "cosine" or "hann".
    cutoff
        Fraction of the Nyquist frequency beyond which the filter is zero.
    weighting
        "sampling": the ramp times the share of the half circle that a tilt stands for. "exact": for a specimen of
        ``thickness``, which counts at each frequency how many central slices overlap.
    thickness
        Thickness of the specimen in voxels, for "exact". Default: the diagonal of a slice of the volume.

    Returns
    -------
    np.ndarray
        Volume (nz, ny, nx), float32.

    Raises
    ------
    ValueError
        For an unknown window or weighting, a cutoff outside (0, 1], a thickness that is not positive, or images that
        do not fit the operator.
    TypeError
        For images that are not floating.

    Notes
    -----
    With h the windowed ramp and w_t the share of the half circle of tilt t::

        x̂ = Aᵀ (w · (h ∗ y)).

    References
    ----------
    Kak & Slaney, Principles of Computerized Tomographic Imaging (1988), ch. 3; exact weighting: Harauz & van Heel,
    Optik 73 (1986) 146; Radermacher, in Electron Tomography (1992).

    Examples
    --------
    >>> from etlab import Projector, TiltGeometry, linear_tilts, psnr
    >>> A = Projector(TiltGeometry(linear_tilts(60, 10), (16, 32, 8)))
    >>> truth = np.zeros((16, 32, 8), np.float32)
    >>> truth[6:10, 10:22] = 1
    >>> volume = wbp(A, A(truth))
    >>> volume.shape, round(psnr(volume, truth))  # in dB; a flat slab loses much to the missing wedge
    ((16, 32, 8), 13)
    """
    images = checked_images(operator, images)
    n_rows, tilts_deg = images.shape[1], operator.geometry.tilts_deg
    if weighting == "sampling":
        filters = tilt_weights(tilts_deg)[:, None] * ramp_filter(n_rows, window=window, cutoff=cutoff)
    elif weighting == "exact":
        if thickness is None:
            thickness = float(np.hypot(*operator.geometry.volume_shape[:2]))
        filters = exact_filters(tilts_deg, thickness, n_rows, window=window, cutoff=cutoff)
    else:
        raise ValueError(f"weighting: got {weighting!r}, expected 'sampling' or 'exact'")
    padded = padded_length(n_rows)
    filtered = np.empty_like(images)
    for image, weights, out in zip(
        images, filters.astype(np.float32), filtered, strict=True
    ):  # one at a time: no padded copy of the stack
        spectrum = scipy.fft.rfft(image, padded, axis=0)
        spectrum *= weights[:, None]
        out[:] = scipy.fft.irfft(spectrum, padded, axis=0, overwrite_x=True)[:n_rows]
    return operator.T(filtered)


def ramp_filter(n_rows: int, *, window: str = "ramp", cutoff: float = 1.0) -> np.ndarray:
    """Return the windowed ramp at the non-negative frequencies of a padded row; multiply an ``rfft`` by it.

    It is the transform of the band-limited ramp *sampled in real space* (h(0) = 1/4, h(n) = −1/(π n)² for odd n, else
    0). Sampling |f| itself would set the mean of every image to zero (Kak & Slaney, eq. 3.61).
    """
    padded = padded_length(n_rows)
    distance = np.minimum(np.arange(padded), padded - np.arange(padded))
    kernel = np.where(distance % 2 == 1, -1 / (np.pi * np.maximum(distance, 1)) ** 2, 0.0)
    kernel[0] = 1 / 4
    return scipy.fft.rfft(kernel).real * taper(n_rows, window, cutoff)


def exact_filters(
    tilts_deg: np.ndarray, thickness: float, n_rows: int, *, window: str = "ramp", cutoff: float = 1.0
) -> np.ndarray:
    """Return the exact weighting of each tilt at the frequencies of a padded row, windowed: (n_tilts, n_frequencies).

    Σ_u is kept at least 1, its value for a tilt alone: side lobes of tilts nearby would make it small or negative.
    """
    if not thickness > 0:
        raise ValueError(f"thickness: got {thickness}, expected a positive number of voxels")
    theta = np.deg2rad(tilts_deg)
    reach = thickness * scipy.fft.rfftfreq(padded_length(n_rows))
    overlap = np.array([np.sinc(np.sin(t - theta)[:, None] * reach).sum(axis=0) for t in theta])
    return taper(n_rows, window, cutoff) / (thickness * np.maximum(overlap, 1))


def padded_length(n_rows: int) -> int:
    """Return an even length, at least twice the row, at which filtering does not wrap round."""
    padded = scipy.fft.next_fast_len(2 * n_rows, real=True)
    return padded + padded % 2


def taper(n_rows: int, window: str, cutoff: float) -> np.ndarray:
    """Return the window at the non-negative frequencies of a padded row, zero beyond the cutoff."""
    if window not in WINDOWS:
        raise ValueError(f"window: got {window!r}, expected one of {', '.join(WINDOWS)}")
    if not 0 < cutoff <= 1:
        raise ValueError(f"cutoff: got {cutoff}, expected a fraction of the Nyquist frequency in (0, 1]")
    frequency = 2 * scipy.fft.rfftfreq(padded_length(n_rows)) / cutoff
    return np.where(frequency <= 1, WINDOWS[window](np.minimum(frequency, 1)), 0)


def tilt_weights(tilts_deg: np.ndarray) -> np.ndarray:
    """Return the share of the half circle that each tilt stands for, in radians, for tilts in any order and spacing.

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
