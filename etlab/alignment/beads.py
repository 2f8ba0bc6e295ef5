"""Alignment by gold beads: found in each image, followed through the series, fitted as one rigid bundle.

A bead at (z, y, x) from the specimen's centre is seen in raw image t, measured from the detector's centre, at

    row = s·cos φ + x·sin φ − d_t,     column = x·cos φ − s·sin φ − e_t,     s = y·cos θ_t + z·sin θ_t,

with (d_t, e_t) the shift that aligns the image and φ the direction of the tilt axis (see ``alignment``). For one φ all
that is linear, so the fit is a few linear least squares.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from skimage.feature import peak_local_max

from etlab.alignment.alignment import Alignment, alignable_series, turned

DETECTION = 8.0  # robust standard deviations by which a bead stands out of the filtered image
SEEN = 0.5  # of the images: a track in fewer is dropped
TOLERANCE = 1.5  # bead radii from the predicted place
HUBER = 2.5  # robust standard deviations beyond which a residual counts linearly, not squared
OUTLIER = 6.0  # robust standard deviations beyond which an observation is reported as an outlier
BORDER = 0.9  # of the largest shift that is looked for: beyond, the right one may be larger
MAX_ROUNDS = 30


@dataclass(frozen=True, eq=False)
class BeadFit:
    """A bundle of beads: where they are, how the images must move, and what does not fit.

    Parameters
    ----------
    alignment
        Shifts and tilt axis; its residuals are RMS over the beads of each image, NaN where none is seen.
    positions
        Beads (z, y, x) in pixels from the specimen's centre, which is their mean along y and z, (n_beads, 3).
    residuals
        Observed less fitted (row, column) of each bead in each image, NaN where unseen, (n_beads, n_tilts, 2).
    outliers
        Observations so far off that they are tracking errors; of little weight in the fit, (n_beads, n_tilts) bool.

    Examples
    --------
    >>> alignment = Alignment(np.array([0.0]), np.zeros((1, 2)), 0.0, 0.0, np.zeros(1))
    >>> fit = BeadFit(alignment, np.zeros((1, 3)), np.array([[[3.0, 4.0]]]), np.array([[False]]))
    >>> fit.bead_residuals.tolist()
    [5.0]
    """

    alignment: Alignment
    positions: np.ndarray
    residuals: np.ndarray
    outliers: np.ndarray

    @property
    def bead_residuals(self) -> np.ndarray:
        """RMS residual of each bead in pixels, outliers left out, (n_beads,)."""
        return rms_length(self.residuals, ~self.outliers, axis=1)


def find_beads(image: np.ndarray, radius: float) -> np.ndarray:
    """Return places (row, column) of bright beads of this radius in an image, in pixels, brightest first, (n, 2).

    Peaks of the Laplacian of a Gaussian that stand out by eight robust standard deviations; a parabola through each
    peak and its neighbours gives the fraction of a pixel.
    """
    response = -ndimage.gaussian_laplace(np.asarray(image, np.float64), radius / np.sqrt(2), mode="nearest")
    spread = 1.4826 * np.median(np.abs(response - np.median(response)))
    distance = max(1, round(radius))
    peaks = peak_local_max(
        response, min_distance=distance, threshold_abs=DETECTION * spread, exclude_border=distance
    )
    places = peaks.astype(np.float64)
    for axis, step in enumerate(np.eye(2, dtype=int)):
        before, at, after = (response[tuple((peaks + k * step).T)] for k in (-1, 0, 1))
        places[:, axis] += (before - after) / (2 * (before - 2 * at + after))
    return places


def track_beads(
    images: np.ndarray, tilts_deg: np.ndarray, radius: float, *, max_shift: float | None = None
) -> np.ndarray:
    """Follow the beads that are seen at the lowest tilt through the series.

    Parameters
    ----------
    images
        Raw images (n_tilts, n_rows, nx), floating, with bright beads.
    tilts_deg
        Tilts in degrees, (n_tilts,).
    radius
        Radius of the beads in pixels, at least 1.
    max_shift
        Largest displacement between neighbouring images in pixels. Default: a tenth of the field.

    Returns
    -------
    np.ndarray
        Places (row, column) in pixels, NaN where lost, (n_beads, n_tilts, 2).

    Raises
    ------
    ValueError
        For a radius below one pixel, or fewer than three beads that can be followed.

    Notes
    -----
    From image to image the specimen shrinks as the cosine; then one displacement brings most beads together; the rest
    is assigned one to one. Beads seen in fewer than half of the images are dropped.

    Examples
    --------
    >>> from etlab import TiltGeometry, linear_tilts
    >>> from etlab.phantoms import gaussians
    >>> geometry = TiltGeometry(linear_tilts(60, 10), (32, 32, 32))
    >>> centres = [(0, 10, -9), (2, -8, -5), (-1, 3, 9), (1, -2, 2)]
    >>> _, images = gaussians(geometry, centres, [1.5] * 4, [1.0] * 4)
    >>> track_beads(images, geometry.tilts_deg, radius=2.0).shape
    (4, 13, 2)
    """
    images = alignable_series(images, tilts_deg)
    if not radius >= 1:
        raise ValueError(f"radius: got {radius}, expected the beads' radius in pixels, at least 1")
    max_shift = max_shift or max(images.shape[1:]) / 10
    tilts = np.asarray(tilts_deg, dtype=np.float64)
    cosines = np.cos(np.deg2rad(tilts))
    centre = (np.array(images.shape[1:]) - 1) / 2
    order = np.argsort(tilts, kind="stable")
    middle = int(np.argmin(np.abs(tilts[order])))
    seeds = find_beads(images[order[middle]], radius)
    tracks = np.full((len(seeds), len(images), 2), np.nan)
    tracks[:, order[middle]] = seeds
    at_border = []
    for side in (order[middle:], order[middle::-1]):
        expected = seeds - centre
        for near, far in pairwise(side):
            expected = expected * [cosines[far] / cosines[near], 1]
            places = find_beads(images[far], radius) - centre
            before = expected
            expected, matched = matched_places(before, places, max_shift, TOLERANCE * radius)
            if np.abs(np.median(expected - before, axis=0)).max(initial=0) > BORDER * max_shift:
                at_border.append(far)
            tracks[matched, far] = expected[matched] + centre
    if at_border:
        warnings.warn(
            f"image {at_border[0]} and {len(at_border) - 1} more moved by about the most that is allowed, "
            f"{max_shift:g} pixels: beads may be mistaken for one another; pass a larger max_shift, or align by "
            "correlation first",
            stacklevel=2,
        )
    tracks = tracks[np.isfinite(tracks[..., 0]).mean(axis=1) >= SEEN]
    if len(tracks) < 3:
        raise ValueError(
            f"images: got {len(tracks)} beads of radius {radius:g} that can be followed ({len(seeds)} seen at the "
            "lowest tilt), expected at least 3"
        )
    return tracks


def matched_places(
    expected: np.ndarray, places: np.ndarray, max_shift: float, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Move ``expected`` by the displacement most agree on; then replace it by the places found, where there are any.

    Returns the new places, (n, 2), and which of them were found, (n,) bool.
    """
    matched = np.zeros(len(expected), bool)
    if not len(expected) or not len(places):
        return expected, matched
    steps = (places[None] - expected[:, None]).reshape(-1, 2)
    steps = steps[np.abs(steps).max(axis=1) <= max_shift]
    if len(steps):
        agree = np.linalg.norm(steps[:, None] - steps[None], axis=2) < tolerance
        expected = expected + steps[agree[agree.sum(axis=1).argmax()]].mean(axis=0)
    distance = np.linalg.norm(places[None] - expected[:, None], axis=2)
    beads, found = linear_sum_assignment(np.minimum(distance, 2 * tolerance))
    near = distance[beads, found] <= tolerance
    matched[beads[near]] = True
    new = expected.copy()
    new[beads[near]] = places[found[near]]
    return new, matched


def fit_beads(tracks: np.ndarray, tilts_deg: np.ndarray, image_shape: tuple[int, int]) -> BeadFit:
    """Fit one rigid bundle to the places of beads.

    Parameters
    ----------
    tracks
        Places (row, column) in pixels, NaN where unseen, (n_beads, n_tilts, 2).
    tilts_deg
        Tilts in degrees, (n_tilts,).
    image_shape
        Shape (n_rows, nx) of an image.

    Returns
    -------
    BeadFit
        The beads' positions, the alignment, and the residuals.

    Raises
    ------
    ValueError
        For fewer than 3 beads or tilts, an image in which no bead is seen, or wrong shapes.

    Notes
    -----
    A bead at (z, y, x) is seen in raw image t, with (d_t, e_t) its shift and φ the direction of the tilt axis, at::

        row = s·cos φ + x·sin φ − d_t,     column = x·cos φ − s·sin φ − e_t,     s = y·cos θ_t + z·sin θ_t.

    Robust: large residuals count linearly (Huber), so a few tracking errors do little harm and stand out. The gauge
    is fixed by the beads' mean on the axis and a mean column shift of 0; a bundle needs no tilt_axis_offset.

    References
    ----------
    Lawrence, in Electron Tomography (1992); Kremer, Mastronarde & McIntosh, J. Struct. Biol. 116 (1996) 71.

    Examples
    --------
    >>> from etlab import TiltGeometry, linear_tilts
    >>> from etlab.phantoms import gaussians
    >>> geometry = TiltGeometry(linear_tilts(60, 10), (32, 32, 32))
    >>> centres = [(0, 10, -9), (2, -8, -5), (-1, 3, 9), (1, -2, 2)]
    >>> _, images = gaussians(geometry, centres, [1.5] * 4, [1.0] * 4)
    >>> tracks = track_beads(images, geometry.tilts_deg, radius=2.0)
    >>> fit = fit_beads(tracks, geometry.tilts_deg, (32, 32))
    >>> bool(fit.bead_residuals.max() < 0.05), bool(abs(fit.alignment.tilt_axis_deg) < 0.5)
    (True, True)
    """
    tracks, tilts = np.asarray(tracks, np.float64), np.asarray(tilts_deg, np.float64)
    if tracks.ndim != 3 or tracks.shape[1:] != (len(tilts), 2):
        raise ValueError(f"tracks: got shape {tracks.shape}, expected (n_beads, {len(tilts)} tilts, 2)")
    if tracks.shape[0] < 3 or len(np.unique(tilts)) < 3:
        raise ValueError(
            f"tracks: got {tracks.shape[0]} beads at {len(np.unique(tilts))} tilts, expected at least 3 of each"
        )
    seen = np.isfinite(tracks).all(axis=2)
    unseen = np.flatnonzero(~seen.any(axis=0))
    if len(unseen):
        raise ValueError(f"tracks: no bead is seen in image {unseen[0]}, expected at least one in each")
    beads, images = np.nonzero(seen)
    observed = tracks[seen] - (np.array(image_shape) - 1) / 2
    bundle = _Bundle(beads, images, np.deg2rad(tilts), len(tracks))
    weights, phi = np.ones(len(beads)), 0.0
    positions, shifts, _ = bundle.solve(observed, weights, phi, None)
    for _ in range(MAX_ROUNDS):
        positions, shifts, turn = bundle.solve(observed, weights, phi, positions)
        phi += turn
        left = observed - bundle.places(positions, shifts, phi)
        lengths = np.linalg.norm(left, axis=1)
        spread = max(np.median(lengths) / 1.1774, 1e-9)  # the median length of a normal step in a plane
        weights = np.minimum(1, HUBER * spread / np.maximum(lengths, 1e-12))
        if abs(turn) < 1e-7:
            break
    positions, shifts = bundle.centred(positions, shifts, phi)
    residuals = np.full(tracks.shape, np.nan)
    residuals[seen] = left
    outliers = np.zeros(seen.shape, bool)
    outliers[seen] = lengths > OUTLIER * spread
    alignment = Alignment(
        tilts, shifts, float(np.rad2deg(phi)), 0.0, rms_length(residuals, ~outliers, axis=0)
    )
    return BeadFit(alignment, positions[:, ::-1], residuals, outliers)


class _Bundle:
    """The linear equations of a bundle for one φ; positions here are (x, y, z)."""

    def __init__(self, beads, images, theta, n_beads):
        self.beads, self.images, self.theta, self.n_beads = beads, images, theta, n_beads
        self.cos, self.sin = np.cos(theta[images]), np.sin(theta[images])

    def in_plane(self, positions):
        """Return (s, x) of every observation, before the turn by φ."""
        x, y, z = positions[self.beads].T
        return y * self.cos + z * self.sin, x

    def places(self, positions, shifts, phi):
        return turned(np.stack(self.in_plane(positions), axis=1), phi) - shifts[self.images]

    def solve(self, observed, weights, phi, positions):
        """Solve for positions, shifts and, about ``positions`` if given, a small turn of φ, by least squares."""
        n, observation = self.n_beads, np.arange(len(self.beads))
        design = np.zeros((2, len(observation), 3 * n + 2 * len(self.theta) + 1))
        for axis, (of_s, of_x) in enumerate([(np.cos(phi), np.sin(phi)), (-np.sin(phi), np.cos(phi))]):
            design[axis, observation, self.beads] = of_x
            design[axis, observation, n + self.beads] = of_s * self.cos
            design[axis, observation, 2 * n + self.beads] = of_s * self.sin
            design[axis, observation, 3 * n + axis * len(self.theta) + self.images] = -1
        if positions is not None:
            s, x = self.in_plane(positions)
            design[0, :, -1] = x * np.cos(phi) - s * np.sin(phi)
            design[1, :, -1] = -x * np.sin(phi) - s * np.cos(phi)
        root = np.sqrt(weights)
        design *= root[:, None]
        found = np.linalg.lstsq(design.reshape(2 * len(root), -1), (observed.T * root).ravel(), rcond=None)[0]
        return found[: 3 * n].reshape(3, n).T, found[3 * n : -1].reshape(2, -1).T, float(found[-1])

    def centred(self, positions, shifts, phi):
        """Choose the gauge: return the same fit with the beads' mean on the axis and a mean shift along it of 0."""
        _, y, z = positions.mean(axis=0)
        shifts = turned(shifts, -phi)
        x = shifts[:, 1].mean()
        shifts = shifts - np.stack(
            np.broadcast_arrays(y * np.cos(self.theta) + z * np.sin(self.theta), x), axis=1
        )
        return positions - [x, y, z], turned(shifts, phi)


def rms_length(vectors: np.ndarray, chosen: np.ndarray, axis: int) -> np.ndarray:
    """Return the RMS length of the finite, chosen vectors along an axis; NaN where there are none."""
    squares = np.where(chosen, (vectors**2).sum(axis=2), np.nan)
    count = np.isfinite(squares).sum(axis=axis)
    return np.sqrt(
        np.divide(np.nansum(squares, axis=axis), count, out=np.full(count.shape, np.nan), where=count > 0)
    )
