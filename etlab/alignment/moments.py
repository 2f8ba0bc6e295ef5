"""Alignment by moments: what the mass of each slice, and its centre, must do as the specimen turns.

For an aligned series p[t, s, x] of a specimen that lies within the field across the tilt axis

    Σ_s p[t, s, x] = m(x),                            the same at every tilt,
    Σ_s s·p[t, s, x] / m(x) = y(x)·cos θ_t + z(x)·sin θ_t,      a sinusoid about zero

(the two lowest of the Helgason–Ludwig conditions). The first gives each image's shift along the axis; the second its
shift across it, with the specimen's centre put on the axis. A tilt axis turned by φ adds x·tan φ, which is
constant in θ and so no part of a sinusoid.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy import ndimage

from etlab.alignment.alignment import Alignment, alignable_series
from etlab.alignment.direction import folded, start_of_search, warn_if_vertical

LEAST_MASS = 0.05  # of the heaviest slice: below it a slice's centre is mostly noise
MARGIN = 0.1  # of the rows: what is cut from a slice's faint flanks moves its centre
EDGE = 4  # rows on either side that should see vacuum
SETTLED = (0.01, 0.005)  # pixels, degrees: smaller steps are lost in the noise of any real series
UNSETTLED = 0.5  # pixels that images still move by after the last round
MAX_ROUNDS = 12
LOST = (
    "images: got some that left the field as they were moved along the tilt axis, expected an isolated specimen; "
    'pass tilt_axis_deg= if you know the direction of the axis, or method="correlation"'
)


def align_by_moments(
    images: np.ndarray, tilts_deg: np.ndarray, *, tilt_axis_deg: float | None = None
) -> Alignment:
    """Align images of an isolated specimen by their moments: shifts, and direction and height of the tilt axis.

    Repeated, because a slice is perpendicular to the axis only once that is known. A warning tells if the specimen
    reaches the first or last rows, because what leaves the field there moves the centre of mass.

    Parameters
    ----------
    images
        Raw images (n_tilts, n_rows, nx), floating, brighter where there is more mass.
    tilts_deg
        Tilts in degrees, (n_tilts,), in the order of the images.
    tilt_axis_deg
        Direction in degrees to begin with. Default: where the images show it.

    Returns
    -------
    Alignment
        Its residuals are those of the slices' centres about their sinusoids.

    Raises
    ------
    ValueError
        For fewer than 4 tilts, or nothing to align.

    Notes
    -----
    For an aligned series p[t, s, x] of a specimen that lies within the field across the tilt axis::

        Σ_s p[t, s, x] = m(x),     Σ_s s·p[t, s, x] / m(x) = y(x)·cos θ_t + z(x)·sin θ_t.

    The first gives each image's shift along the axis, the second its shift across it. A tilt axis turned by φ adds
    x·tan φ, which is constant in θ and so no part of a sinusoid.

    References
    ----------
    Scott et al., Nature 483 (2012) 444.

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
    >>> found = align_by_moments(images, tilts)
    >>> bool(abs(found.residuals).max() < 0.05), bool(abs(found.tilt_axis_deg) < 0.1)
    (True, True)
    """
    images = alignable_series(images, tilts_deg, at_least=4)
    tilts_deg = np.asarray(tilts_deg, dtype=np.float64)
    images = _above_vacuum(images)
    start = start_of_search(images, tilts_deg, tilt_axis_deg)
    found = Alignment(tilts_deg, np.zeros((len(images), 2)), start, 0.0, np.full(len(images), np.nan))
    for _ in range(MAX_ROUNDS):
        aligned = found.apply(images)
        along = column_steps(aligned.sum(axis=1))
        centres, masses = slice_centres(aligned)
        across, turn_deg, std_deg, residuals = centre_of_mass_steps(centres, masses, tilts_deg)
        if not np.isfinite([across, along]).all():
            raise ValueError(
                "images: got some whose mass is zero or negative, expected the specimen in each, brighter than vacuum; "
                "subtract the background, or remove outliers"
            )
        shifts = found.moved(np.stack([across, along], axis=1))
        angle = float(folded(found.tilt_axis_deg + turn_deg))
        found = Alignment(tilts_deg, shifts, angle, 0.0, residuals, tilt_axis_std=std_deg)
        if max(np.abs(across).max(), np.abs(along).max()) < SETTLED[0] and abs(turn_deg) < SETTLED[1]:
            break
    if (last := max(np.abs(across).max(), np.abs(along).max())) > UNSETTLED:
        warnings.warn(
            f"the centres of mass still move by {last:.2g} pixels after {MAX_ROUNDS} rounds: the alignment may be "
            'wrong; compare with method="correlation", or pass tilt_axis_deg= if you know where the axis lies',
            stacklevel=3,
        )
    warn_if_vertical(found.tilt_axis_deg)
    return found


def _above_vacuum(images: np.ndarray) -> np.ndarray:
    """Return images less what their first and last rows show; warn if that is not vacuum."""
    vacuum = np.median(np.concatenate([images[:, :EDGE], images[:, -EDGE:]], axis=1), axis=(1, 2))
    images = images - vacuum[:, None, None]
    if not images.mean() > 0:
        raise ValueError(
            "images: got a specimen darker than the vacuum in the first and last rows, expected a brighter one; "
            "use the negative images"
        )
    mean = images.mean(axis=0)
    outside = np.abs(np.concatenate([mean[:EDGE], mean[-EDGE:]]).mean(axis=0)).mean()
    if outside > LEAST_MASS * mean.max():
        warnings.warn(
            "the specimen seems to reach the first or last rows: its centre of mass, and an alignment by it, will "
            'be wrong; method="correlation" does not need an isolated specimen',
            stacklevel=4,
        )
    return images


def slice_centres(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre of mass of each column, in rows from the centre, (n_tilts, nx), and mean masses, (nx,).

    Rows well beyond those that the mean of all images tells from vacuum are left out: there noise has a long
    lever. Slices with less than ``LEAST_MASS`` of the heaviest one's get mass 0: their centres mean nothing.
    """
    rows = np.arange(images.shape[1]) - (images.shape[1] - 1) / 2
    mean = images.mean(axis=(0, 2), dtype=np.float64)
    noise = np.concatenate([mean[:EDGE], mean[-EDGE:]]).std()
    first, last = np.flatnonzero(mean > min(3 * noise, mean.max() / 2))[[0, -1]]
    margin = int(MARGIN * len(rows))
    first, last = max(first - margin, 0), last + margin
    rows, images = rows[first : last + 1], images[:, first : last + 1]
    mass = images.sum(axis=1, dtype=np.float64)
    first = np.einsum("r,trx->tx", rows, images, dtype=np.float64)
    heavy = (mass > LEAST_MASS * mass.mean(axis=0).max()).all(axis=0)
    if not heavy.any():
        raise ValueError(
            "images: no slice has mass in every image, expected a specimen that stays in the field"
        )
    centres = np.divide(first, mass, out=np.zeros_like(first), where=heavy)
    return centres, np.where(heavy, mass.mean(axis=0), 0)


def centre_of_mass_steps(
    centres: np.ndarray, masses: np.ndarray, tilts_deg: np.ndarray
) -> tuple[np.ndarray, float, float, np.ndarray]:
    """Fit the centres of all slices: (steps across the axis, turn of the axis, its standard deviation, residuals).

        centres[t, x] = y(x)·cos θ_t + z(x)·sin θ_t + (x − x̄)·tan φ − step_t + residual,

    least squares weighted by ``masses`` squared, every y(x), z(x) and step free, with the mean centre on the axis.
    Steps and residuals, RMS over the slices, are in rows, (n_tilts,); angles in degrees.
    """
    theta = np.deg2rad(tilts_deg)
    sinusoids = np.stack([np.cos(theta), np.sin(theta)], axis=1)
    weights = masses**2 / (masses @ masses)  # the variance of a centre goes as 1 / mass²
    x = np.arange(len(weights)) - (len(weights) - 1) / 2
    x_from_mean = x - weights @ x
    whole = centres @ weights
    # What no sinusoid explains. Of a constant little is left, but enough: only that tells of the axis.
    left, constant = (
        values - sinusoids @ np.linalg.lstsq(sinusoids, values, rcond=None)[0]
        for values in (centres - whole[:, None], np.ones(len(theta)))
    )
    lever = weights * x_from_mean / (weights @ x_from_mean**2)
    each_image = left @ lever
    slope = constant @ each_image / (constant @ constant)
    spread = np.linalg.norm(each_image - slope * constant) / np.sqrt(max(len(theta) - 3, 1))
    std = spread / np.linalg.norm(constant)
    residuals = left - slope * np.outer(constant, x_from_mean)
    steps = slope * (weights @ x) - whole
    turn_deg, std_deg = np.rad2deg(np.arctan([slope, std]))
    return steps, float(turn_deg), float(std_deg), np.sqrt(residuals**2 @ weights)


def column_steps(profiles: np.ndarray) -> np.ndarray:
    """Return steps along the axis, (n_tilts,), mean 0, that register the profiles m_t(x), (n_tilts, nx), to each other.

    Each is compared with the mean of all: the factor and the displacement that fit best, by least squares, repeated
    while the mean grows sharper. Columns that only some of the moved images see are left out.
    """
    steps = np.zeros(len(profiles))
    moved = profiles
    for _ in range(MAX_ROUNDS):
        margin = np.ceil(np.abs(steps).max()) + 1
        if not 2 * margin < profiles.shape[1]:
            raise ValueError(LOST)
        margin = int(margin)
        inside = slice(margin, profiles.shape[1] - margin)
        scaled = moved / moved[:, inside].sum(axis=1, keepdims=True)
        mean = scaled.mean(axis=0)
        design = np.stack([mean, np.gradient(mean)], axis=1)[inside]
        factor, slope = np.linalg.lstsq(design, scaled[:, inside].T, rcond=None)[0]
        change = slope / factor
        steps = steps + change - change.mean()
        moved = np.stack(
            [
                ndimage.shift(profile, step, mode="nearest")
                for profile, step in zip(profiles, steps, strict=True)
            ]
        )
        if np.abs(change).max() < SETTLED[0]:
            break
    return steps
