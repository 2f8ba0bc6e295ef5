"""Finding gold beads in a noisy tilt series before anything is known about them: every image votes.

In one image a bead hardly stands out of noise and specimen. But its shadows at all tilts back-project to one point,
and nothing else of that size and density does. Each image is filtered for blobs of the declared radius, divided by
its own robust spread, and clipped, so that no single image decides; back-projection adds the votes up. Specimens have
such points, too, at all heights and often crowded. The beads lie on one face of a flat film and apart from each
other: wanted is the thin layer with the strongest peaks that keep the declared distance.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max

from etlab.geometry import TiltGeometry
from etlab.phantoms import Fiducials
from etlab.projector import Projector

MOST_VOTES = 4.0  # robust standard deviations: what one image can contribute to a point
LEAST_VOTES = 0.3  # of them, the mean over all images, that make a peak
SURROUNDINGS = 3.0  # voxels, width of the mean that votes are compared with
HALF_LAYER = 1.25  # voxels about the film's face
SLOPES = np.tan(np.deg2rad(np.linspace(-2, 2, 9)))  # of the face against the nominal zero tilt
CLOSEST = 0.8  # of the declared separation, because a centre is found to a voxel only
SPARE = 1.3  # beads kept for each declared one: the fit tells later which are false


def find_beads(y: np.ndarray, geometry: TiltGeometry, beads: Fiducials) -> np.ndarray:
    """Return rough bead centres (n, 3), zyx in voxels from the volume's centre, most certain first; n may be 0.

    ``y`` (n_tilts, n_rows, nx) float32. Good to about a voxel. At most 1.3 times as many as declared.
    """
    votes = Projector(geometry).T(np.stack([blob_votes(image, beads.radius) for image in y])) / len(y)
    votes -= ndimage.gaussian_filter(votes, SURROUNDINGS)
    peaks = peak_local_max(votes, min_distance=2, threshold_abs=LEAST_VOTES, exclude_border=2)
    strength = votes[tuple(peaks.T)]
    centres = peaks - (np.array(votes.shape) - 1) / 2
    n_most = round(SPARE * beads.count)
    best, most = np.empty(0, int), 0.0
    for height in np.arange(-len(votes) / 2, len(votes) / 2, 0.5):
        for slope in SLOPES:
            layer = np.flatnonzero(np.abs(centres[:, 0] - height - slope * centres[:, 1]) <= HALF_LAYER)
            chosen = layer[apart(centres[layer, 1:], CLOSEST * beads.separation, n_most)]
            total = strength[chosen[: beads.count]].sum()
            if total > most:
                best, most = chosen, total
    return centres[best]


def apart(places: np.ndarray, distance: float, n_most: int) -> np.ndarray:
    """Return indices of the first ``n_most`` places that keep their ``distance`` from all chosen before them."""
    chosen: list[int] = []
    for i, place in enumerate(places):
        if len(chosen) == n_most:
            break
        if (np.hypot(*(places[chosen] - place).T) >= distance).all():
            chosen.append(i)
    return np.array(chosen, int)


def blob_votes(image: np.ndarray, radius: float) -> np.ndarray:
    """Return how much each pixel is like the middle of a bright blob, in robust standard deviations, ± ``MOST_VOTES``.

    The spread is that of the part of the image where there is a specimen.
    """
    response = -ndimage.gaussian_laplace(image, radius / np.sqrt(2), mode="nearest")
    occupied = ndimage.gaussian_filter(image, radius)
    inside = response[occupied > occupied.mean() / 2]
    spread = 1.4826 * np.median(np.abs(inside - np.median(inside))) if inside.size else 0
    return np.clip(response / max(spread, 1e-12), -MOST_VOTES, MOST_VOTES).astype(np.float32)
