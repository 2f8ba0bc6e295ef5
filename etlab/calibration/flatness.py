"""The offset of the tilt angles from a flat support film, perpendicular to the beam at true zero tilt.

The film itself lies almost wholly in the missing wedge: reconstruct, turn until its profile along z is sharpest, and
the answer is the reconstruction's own grid, δ = 0 whatever the truth (measured with SIRT and TV; with WBP it is noise).
What is seen of a film is where it ends. The two borders that run along the tilt axis are edges in every image, at rows

    s = y·cos θ + z·sin θ,

and each border's (y, z) is where the steps of all images, added along that curve, are strongest. The specimen has
edges, too; those of the film are the two farthest out, and nearly at one height. No reconstruction is needed. A flat
film has both borders at the same height, so

    tan δ = −(z_upper − z_lower) / (y_upper − y_lower).

That the film is flat, and that it ends just inside the field, are assumptions about the specimen; the data cannot
tell, because a turned specimen explains them as well. Edges of the specimen bend from column to column; a film's
border is straight. So the estimate is repeated in strips along the axis: their scatter is part of the standard
deviation, and where they disagree there is no film.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d, map_coordinates
from scipy.optimize import minimize

from etlab.arrays import checked
from etlab.calibration.estimate import Estimate
from etlab.geometry import TiltGeometry
from etlab.rotation import InPlaneRotation

EDGE_WIDTH = 1.0  # pixels, of the filter that finds edges
OUTER = (
    4.5  # voxels from the edge of the field: a border of the film lies within, the specimen mostly does not
)
MAX_TILT = 2.5  # degrees: more is not sought
N_STRIPS = 8  # along the tilt axis
STEP = 0.5  # voxels, of the search
SAME_BORDER = 1.5  # voxels: strips whose borders scatter more than this do not see the same straight edge
CLUTTER = (
    0.15  # voxels: error of the difference in height that all strips share, from the specimen (public scenes)
)


def film_tilt(y: np.ndarray, geometry: TiltGeometry, *, tilt_axis: float = 0.0) -> Estimate:
    """Estimate δ in degrees from images (n_tilts, n_rows, nx), turned back by ``tilt_axis`` degrees first.

    ``std`` is infinite where no flat film is found: without a reference, δ cannot be known. ``trials`` and ``losses``
    are the strips' own estimates and how steep the fainter of their two borders is.

    Raises ValueError or TypeError for images that do not fit.
    """
    y = checked("y", y, geometry.images_shape)
    upright = InPlaneRotation(y.shape[1:], tilt_axis).T(y)
    strips = [strip.mean(axis=2) for strip in np.array_split(upright, N_STRIPS, axis=2)]
    together = np.mean(strips, axis=0)
    near = coarse_borders(together, geometry)
    whole = borders(together, geometry, near)
    each = np.array([borders(strip, geometry, near) for strip in strips])
    width = whole[1, 0] - whole[0, 0]
    own, steepness = tilt(each), each[..., 2].min(axis=1)
    spread = np.median(np.abs(each[..., :2] - np.median(each[..., :2], axis=0)), axis=0)
    std = np.hypot(own.std(ddof=1) / np.sqrt(N_STRIPS), np.rad2deg(CLUTTER / width))
    straight = (spread < SAME_BORDER).all()
    outermost = (np.abs(whole[:, 0]) > geometry.volume_shape[1] / 2 - OUTER).all()
    found = straight and outermost and abs(tilt(whole)) < 2 * MAX_TILT
    return Estimate(float(tilt(whole)), float(std) if found else np.inf, own, steepness)


def tilt(pair: np.ndarray) -> np.ndarray:
    """Return δ in degrees from the (y, z, …) of the lower and the upper border, shape (…, 2, ≥ 2)."""
    rise = pair[..., 1, :] - pair[..., 0, :]
    return -np.rad2deg(np.arctan2(rise[..., 1], rise[..., 0]))


def coarse_borders(profiles: np.ndarray, geometry: TiltGeometry) -> np.ndarray:
    """Return (y, z) of both borders on a grid: of the nearly level pairs, the one whose fainter border is strongest."""
    nz, ny, _ = geometry.volume_shape
    heights = np.arange(-nz / 2, nz / 2, STEP)
    distances = np.arange(ny / 2 - OUTER, ny / 2, STEP)
    strength, best_y = [], []
    for side in (-1, 1):
        found = steepness(outward(profiles, side), geometry, side * distances[:, None], heights)
        strength.append(found.max(axis=0))
        best_y.append(side * distances[found.argmax(axis=0)])
    both = np.minimum.outer(*strength)
    both[np.abs(np.subtract.outer(heights, heights)) > np.tan(np.deg2rad(MAX_TILT)) * ny] = -np.inf
    lower, upper = np.unravel_index(both.argmax(), both.shape)
    return np.array([(best_y[0][lower], heights[lower]), (best_y[1][upper], heights[upper])])


def borders(profiles: np.ndarray, geometry: TiltGeometry, near: np.ndarray) -> np.ndarray:
    """Return (y, z, steepness) of the lower and the upper border, the strongest about ``near``: shape (2, 3)."""
    found = []
    for side, start in zip((-1, 1), near, strict=True):
        edges = outward(profiles, side)
        best = minimize(
            lambda at: -steepness(edges, geometry, *at),  # noqa: B023 (called at once)
            start,
            method="Nelder-Mead",
            options=dict(xatol=1e-3, fatol=1e-7, initial_simplex=start + np.array([[0, 0], [1, 0], [0, 1]])),
        )
        found.append((*best.x, -best.fun))
    return np.array(found)


def outward(profiles: np.ndarray, side: int) -> np.ndarray:
    """Return how steeply each profile (n_tilts, n_rows) falls towards the ``side`` (−1 lower, +1 upper), per row."""
    return -side * gaussian_filter1d(profiles, EDGE_WIDTH, axis=1, order=1, mode="nearest")


def steepness(edges: np.ndarray, geometry: TiltGeometry, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the mean of ``edges`` over all tilts where a line along the axis at (y, z) is seen; y and z broadcast."""
    theta = np.deg2rad(geometry.tilts_deg)
    y, z = np.broadcast_arrays(y, z)
    rows = (
        (geometry.n_rows - 1) / 2 + np.multiply.outer(y, np.cos(theta)) + np.multiply.outer(z, np.sin(theta))
    )
    tilts = np.broadcast_to(np.arange(len(theta)), rows.shape)
    return map_coordinates(edges, [tilts, rows], order=1, mode="nearest").mean(axis=-1)
