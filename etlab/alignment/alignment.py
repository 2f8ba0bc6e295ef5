"""What aligning a tilt series comes to: a shift for each image, and the direction and height of the tilt axis.

An image is aligned in three steps: its content is moved by its shift, turned by −tilt_axis_deg about the detector's
centre ``(n - 1) / 2``, and moved down by tilt_axis_offset. In coordinates (row, column) measured from that centre

    aligned = R(−φ)·(raw + shift) − (offset, 0),        R(φ): row′ = row·cos φ + x·sin φ,  x′ = x·cos φ − row·sin φ,

after which the tilt axis runs along the last array axis through the centre, as everywhere in ``etlab``. The three are
composed, and each image is interpolated once: every interpolation smooths.

**What no alignment can know.** Moving the specimen by (y, z, x) adds y·cos θ + z·sin θ to the rows and x to the
columns of all images: two alignments that differ by that are equally good. ``without_gauge`` removes it.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from etlab.alignment.outliers import despiked, outliers_in_words
from etlab.arrays import checked


@dataclass(frozen=True, eq=False)
class Alignment:
    """How each raw image becomes an aligned one, and how well that worked.

    Parameters
    ----------
    tilts_deg
        Tilts of the images in degrees, (n_tilts,).
    shifts
        How far each image's content is moved, (rows up, columns to the right) in pixels, (n_tilts, 2).
    tilt_axis_deg
        Direction of the tilt axis in the shifted images, in degrees from +x towards +row.
    tilt_axis_offset
        Height of the tilt axis above the centre after the turn, in rows.
    residuals
        What the method could not explain, in pixels, one RMS value for each image; each method says of what.
    misfits
        Half-set misfit before refinement and after each round of it (see `half_set_misfit`); empty without.
    tilt_axis_std
        Rough standard deviation of tilt_axis_deg in degrees, by the residuals of its fit; NaN if the method has none.

    Notes
    -----
    In coordinates (row, column) measured from the detector's centre::

        aligned = R(−φ)·(raw + shift) − (offset, 0),     R(φ): row′ = row·cos φ + x·sin φ,  x′ = x·cos φ − row·sin φ.

    The three are composed, and each image is interpolated once: every interpolation smooths.

    Examples
    --------
    >>> images = np.zeros((2, 16, 16), np.float32)
    >>> images[:, 5, 8] = 1
    >>> up = Alignment(np.array([0.0, 1.0]), np.array([[3, 0], [3, 0]]), 0.0, 0.0, np.zeros(2))
    >>> np.argwhere(up.apply(images, smooth=False)[0]).tolist()
    [[8, 8]]
    """

    tilts_deg: np.ndarray
    shifts: np.ndarray
    tilt_axis_deg: float
    tilt_axis_offset: float
    residuals: np.ndarray
    misfits: tuple[float, ...] = ()
    tilt_axis_std: float = np.nan

    def apply(self, images: np.ndarray, *, binning: float = 1, smooth: bool = True) -> np.ndarray:
        """Align images.

        Each image is interpolated once, by a cubic B-spline, and not by Fourier phases: a specimen that leaves the
        field would come in again on the other side. What moves in from outside takes the nearest border value.

        Parameters
        ----------
        images
            Raw images (n_tilts, n_rows, nx), floating.
        binning
            Factor b ≥ 1 by which the images shrink about the same centre, after a blur of b/2 pixels.
        smooth
            Whether to use the B-spline as a kernel, which blurs every image alike, by 0.58 pixel RMS; linear
            interpolation blurs by up to half a pixel, depending on the fraction of each shift. Without it the spline
            goes through the pixels, which keeps 97 % of what varies at half the Nyquist frequency or more, and an
            image that moves by whole pixels is copied.

        Returns
        -------
        np.ndarray
            Aligned images, float32, (n_tilts, n_rows // b, nx // b).

        Raises
        ------
        TypeError
            For images that are not floating.
        ValueError
            For another number of images, for NaN, or for a binning below 1 or so large that fewer than 8 pixels
            remain.
        """
        images = checked_series("images", images, self.tilts_deg)
        size = np.array(images.shape[1:])
        if binning != 1 and not (binning > 1 and (size // binning).min() >= 8):
            raise ValueError(
                f"binning: got {binning} for images of {size[0]} × {size[1]} pixels, expected a factor of at "
                "least 1 that leaves 8 pixels or more"
            )
        aligned = np.empty((len(images), *(size // binning).astype(int)), np.float32)
        turn = turned(np.eye(2), np.deg2rad(self.tilt_axis_deg)).T  # aligned -> raw
        centre, new_centre = (size - 1) / 2, (np.array(aligned.shape[1:]) - 1) / 2

        def align_one(image, shift, out):
            if binning == 1 and not smooth and (step := self.whole_step(shift)) is not None:
                out[:] = displaced(image, step)
                return
            if binning > 1:
                image = ndimage.gaussian_filter(image, binning / 2, mode="nearest")
            start = turn @ ([self.tilt_axis_offset, 0] - binning * new_centre) + centre - shift
            ndimage.affine_transform(
                image, binning * turn, start, out.shape, output=out, mode="nearest", prefilter=not smooth
            )

        with ThreadPoolExecutor() as threads:  # scipy.ndimage lets other threads run
            list(threads.map(align_one, images, self.shifts, aligned))
        return aligned

    def whole_step(self, shift: np.ndarray) -> tuple[int, int] | None:
        """Return the (rows, columns) by which an image of this shift moves, if these are whole numbers; else None."""
        step = shift - [self.tilt_axis_offset, 0]
        if self.tilt_axis_deg or (step != np.round(step)).any():
            return None
        return int(step[0]), int(step[1])

    def moved(self, steps: np.ndarray) -> np.ndarray:
        """Return the shifts for which the aligned images lie further by ``steps``, (n_tilts, 2) rows and columns."""
        return self.shifts + turned(steps, np.deg2rad(self.tilt_axis_deg))


def displaced(image: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    """Return the image moved by whole (rows, columns); vacated pixels take the nearest border value."""
    rows, columns = (np.clip(np.arange(n) - by, 0, n - 1) for n, by in zip(image.shape, step, strict=True))
    return image[np.ix_(rows, columns)]


def turned(vectors: np.ndarray, phi: float) -> np.ndarray:
    """Apply R(φ), φ in radians, to vectors (row, column), (…, 2)."""
    row, x = np.moveaxis(np.asarray(vectors, dtype=np.float64), -1, 0)
    return np.stack([row * np.cos(phi) + x * np.sin(phi), x * np.cos(phi) - row * np.sin(phi)], axis=-1)


def without_gauge(
    shifts: np.ndarray, tilts_deg: np.ndarray, *, tilt_axis_deg: float = 0.0, offset: bool = False
) -> np.ndarray:
    """Return shifts less what a displacement of the specimen would explain, to compare two alignments.

    Parameters
    ----------
    shifts
        (rows, columns) in pixels, (n_tilts, 2).
    tilts_deg
        Tilts in degrees, (n_tilts,).
    tilt_axis_deg
        Direction of the tilt axis in degrees.
    offset
        Whether to remove a constant across the axis, too: for comparing alignments whose axes lie at different
        heights.

    Returns
    -------
    np.ndarray
        Shifts across and along the axis, (n_tilts, 2).

    Notes
    -----
    Moving the specimen by (y, z, x) adds y·cos θ + z·sin θ to the rows and x to the columns of all images. The
    least-squares fit of that is subtracted.

    Examples
    --------
    >>> tilts = np.array([-60.0, -20.0, 20.0, 60.0])
    >>> moved = np.stack([3 * np.cos(np.deg2rad(tilts)), np.full(4, 5.0)], axis=1)
    >>> bool(abs(without_gauge(moved, tilts)).max() < 1e-12)
    True
    """
    theta = np.deg2rad(tilts_deg)
    free = turned(shifts, -np.deg2rad(tilt_axis_deg))
    design = np.stack([np.cos(theta), np.sin(theta)] + offset * [np.ones_like(theta)], axis=1)
    free[:, 0] -= design @ np.linalg.lstsq(design, free[:, 0], rcond=None)[0]
    free[:, 1] -= free[:, 1].mean()
    return free


def checked_series(name: str, images: np.ndarray, tilts_deg: np.ndarray, *, at_least: int = 1) -> np.ndarray:
    """Return images (n_tilts, n_rows, nx) as float32, or raise an error that names what is wrong."""
    images, tilts = np.asarray(images), np.asarray(tilts_deg, dtype=np.float64)
    if images.ndim != 3:
        raise ValueError(f"{name}: got shape {images.shape}, expected (n_tilts, n_rows, nx)")
    if tilts.shape != images.shape[:1]:
        raise ValueError(
            f"tilts_deg: got shape {tilts.shape}, expected one tilt for each of {len(images)} images"
        )
    if not np.isfinite(tilts).all():
        raise ValueError(
            f"tilts_deg: got {np.sum(~np.isfinite(tilts))} NaN or infinite angles, expected finite ones"
        )
    if len(images) < at_least:
        raise ValueError(f"{name}: got {len(images)} tilts, expected at least {at_least}")
    return checked(name, images, images.shape)


def alignable_series(images: np.ndarray, tilts_deg: np.ndarray, *, at_least: int = 3) -> np.ndarray:
    """Return ``checked_series`` for series to be aligned: at least three tilts, something in every image, no spikes.

    Single pixels far outside the range of all others are replaced by the median of their surroundings, and a warning
    names them: one X-ray hit outweighs the specimen in a centre of mass, and a stuck pixel is the same in all images.
    Raises ValueError for fewer tilts, repeated ones only, or an image of one value.
    """
    images = checked_series("images", images, tilts_deg, at_least=at_least)
    values = images
    images, places = despiked(values)
    if len(places):
        said = outliers_in_words(places, values[tuple(places.T)])
        warnings.warn(f"images: {said}; the alignment leaves these outliers out", stacklevel=3)
    if len(np.unique(tilts_deg)) < at_least:
        raise ValueError(
            f"tilts_deg: got {len(np.unique(tilts_deg))} different angles, expected at least {at_least}"
        )
    constant = np.flatnonzero(np.ptp(images, axis=(1, 2)) == 0)
    if len(constant):
        raise ValueError(
            f"images: got {len(constant)} constant ones (the first is number {constant[0]}), expected a specimen "
            "in each: there is nothing to align"
        )
    return images
