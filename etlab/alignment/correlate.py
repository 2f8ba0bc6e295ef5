"""Alignment by cross-correlation: each image is registered to its neighbour, from the lowest tilt outwards.

It needs no isolated specimen. Neighbours are similar, not equal: a flat specimen shrinks across the axis as cos θ, so
the image at the higher tilt is first *stretched* by the ratio of the cosines (Guckenberger, Ultramicroscopy 9 (1982)
167). Errors add up from image to image, and a drift that grows slowly with tilt looks like a specimen at another
height or an axis in another place. Refinement by projection matching takes that out.
"""

from __future__ import annotations

import warnings
from functools import cache
from itertools import pairwise

import numpy as np
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from etlab.alignment.alignment import alignable_series

UPSAMPLING = 50  # shifts are found to 1/50 pixel
FARTHEST = 0.4  # of the field: the farthest shift that is not taken for one the other way round
TAPER = 0.3  # of the field fades out, for a transform that takes the image as periodic


def cross_correlation_shifts(
    images: np.ndarray, tilts_deg: np.ndarray, *, stretch: bool = True
) -> np.ndarray:
    """Register each image to its neighbour in tilt, from the lowest tilt outwards.

    Parameters
    ----------
    images
        Raw images (n_tilts, n_rows, nx), floating.
    tilts_deg
        Tilts in degrees, (n_tilts,), in any order.
    stretch
        Whether to allow for the shrinking of a flat specimen as cos θ; leave it out for a needle or a particle.

    Returns
    -------
    np.ndarray
        Shifts (rows, columns) in pixels that align the images, (n_tilts, 2). Their column mean is 0, and the image at
        the lowest tilt is not moved along the rows.

    Raises
    ------
    ValueError
        For fewer than 3 tilts, constant images, or stretching at 90° or more.

    Notes
    -----
    Errors add up from image to image, and a drift that grows slowly with tilt looks like a specimen at another height
    or an axis in another place. Refinement by projection matching takes that out.

    References
    ----------
    Guckenberger, Ultramicroscopy 9 (1982) 167 (the stretching).

    Examples
    --------
    >>> from etlab import TiltGeometry, linear_tilts
    >>> from etlab.acquisition import drift, shifted
    >>> from etlab.phantoms import gaussians
    >>> geometry = TiltGeometry(linear_tilts(60, 10), (32, 32, 32))
    >>> tilts = geometry.tilts_deg
    >>> _, still = gaussians(geometry, [(0, 1, -9), (1, -1, 0), (-1, 0, 9)], [3, 3, 3], [1, 1, 1])
    >>> moved = drift(np.arange(13), rng=0, step_px=0.5)
    >>> images = shifted(still, moved)
    >>> shifts = cross_correlation_shifts(images, tilts, stretch=False)
    >>> along_axis = (shifts + moved)[:, 1]
    >>> bool(np.ptp(along_axis) < 0.5)  # pixels
    True
    """
    images = alignable_series(images, tilts_deg)
    tilts = np.asarray(tilts_deg, dtype=np.float64)
    if stretch and np.abs(tilts).max() >= 90:
        raise ValueError(
            f"tilts_deg: got up to {np.abs(tilts).max():g}°, expected less than 90° with stretch=True; a specimen "
            "that is seen edge-on is not flat: use stretch=False"
        )
    cosines = np.cos(np.deg2rad(tilts)) if stretch else np.ones_like(tilts)
    shifts, far_off = np.zeros((len(images), 2)), []
    for near, far in neighbours(tilts):
        ratio = cosines[far] / cosines[near]
        step = register(stretched(images[far], ratio), images[near])
        shifts[far] = (step + shifts[near]) * [ratio, 1]
        if (np.abs(step) > FARTHEST * np.array(images.shape[1:])).any():
            far_off.append(far)
    if far_off:
        warnings.warn(
            f"image {far_off[0]} and {len(far_off) - 1} more lie nearly half a field off the next in tilt, as far as a "
            "correlation can tell: their shifts may be wrong",
            stacklevel=2,
        )
    shifts[:, 1] -= shifts[:, 1].mean()
    return shifts


def neighbours(tilts_deg: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs (near, far) of images next to each other in tilt, from the lowest tilt outwards."""
    order = np.argsort(tilts_deg, kind="stable")
    middle = int(np.argmin(np.abs(np.asarray(tilts_deg)[order])))
    return [pair for side in (order[middle:], order[middle::-1]) for pair in pairwise(side)]


def register(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the shift (rows, columns) that registers ``image`` to ``reference``, to 1/50 pixel, by cross-correlation.

    Twice, the second time with the image moved: the fading of the field's edges draws large shifts towards zero.
    """
    coarse = best_shift(image, reference, upsampling=1)
    moved = ndimage.shift(image, coarse, order=1, mode="nearest") if coarse.any() else image
    return coarse + best_shift(moved, reference)


def best_shift(image: np.ndarray, reference: np.ndarray, *, upsampling: int = UPSAMPLING) -> np.ndarray:
    """Return the shift of ``image`` at which the cross-correlation peaks; for small shifts."""
    shift, *_ = phase_cross_correlation(
        faded(reference), faded(image), upsample_factor=upsampling, normalization=None
    )
    return shift


def faded(image: np.ndarray) -> np.ndarray:
    """Return the image mean-subtracted and faded to zero towards its edges."""
    rows, columns = (_taper(n) for n in image.shape)
    return (image - image.mean()) * np.outer(rows, columns)


@cache
def _taper(n: int) -> np.ndarray:
    """Return Tukey's window, a cosine's rise and fall over ``TAPER`` of the length. SciPy's takes a second to load."""
    from_the_edge = np.minimum(np.arange(n), np.arange(n)[::-1])
    return np.sin(np.pi / 2 * np.minimum(2 * from_the_edge / (TAPER * (n - 1)), 1)) ** 2


def stretched(image: np.ndarray, ratio: float) -> np.ndarray:
    """Return the image stretched by 1 / ratio across the tilt axis, about the centre."""
    if ratio == 1:
        return image
    centre = (image.shape[0] - 1) / 2
    return ndimage.affine_transform(image, [ratio, 1], [centre * (1 - ratio), 0], mode="nearest", order=1)
