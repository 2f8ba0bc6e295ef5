"""Compare images next to each other in tilt: their correlation, shift and scale.

An image stretched across the tilt axis by the ratio of the cosines looks like the next one. Where it lies elsewhere,
the series is not aligned; where it is wider along the axis, the magnification changed, which no tilt can do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from etlab.alignment.alignment import without_gauge
from etlab.alignment.correlate import best_shift, faded, neighbours, stretched

FAR = 0.3, 3.0  # ratios of the cosines beyond which nothing is stretched
UPSAMPLING = 20


@dataclass(frozen=True, eq=False)
class Neighbours:
    """``unlike``: mean of 1 − correlation; ``jitter`` in pixels; ``swelling``: RMS change of the magnification."""

    unlike: float
    jitter: float
    swelling: float


def compare_neighbours(images: np.ndarray, tilts_deg: np.ndarray) -> Neighbours:
    """Stretch and register each of images (n_tilts, n_rows, nx) to the one next to it in tilt."""
    cosines = np.maximum(np.cos(np.deg2rad(tilts_deg)), 0.05)
    shifts = np.zeros((len(images), 2))
    unlike: list[float] = []
    swellings: list[float] = []
    for near, far in neighbours(tilts_deg):
        ratio = cosines[far] / cosines[near]
        moved = stretched(images[far], ratio) if FAR[0] < ratio < FAR[1] else images[far]
        step = best_shift(moved, images[near], upsampling=UPSAMPLING)
        moved = ndimage.shift(moved, step, order=1, mode="nearest") if step.any() else moved
        one, other = faded(moved), faded(images[near])
        norms = np.linalg.norm(one) * np.linalg.norm(other)
        unlike.append(float(1 - float(np.vdot(one, other)) / norms) if norms > 0 else 1.0)
        swellings.append(swelling(moved, images[near]))
        shifts[far] = (step + shifts[near]) * [ratio, 1]
    return Neighbours(
        float(np.mean(unlike)), jitter_of(shifts, tilts_deg), float(np.sqrt(np.mean(np.square(swellings))))
    )


def swelling(image: np.ndarray, reference: np.ndarray) -> float:
    """Return how much narrower than ``reference`` an image is along the axis, as a share: its halves lie apart."""
    half = image.shape[1] // 2
    left, right = (
        best_shift(image[:, part], reference[:, part], upsampling=UPSAMPLING)[1]
        for part in (slice(None, half), slice(-half, None))
    )
    return (right - left) / half


def jitter_of(shifts: np.ndarray, tilts_deg: np.ndarray) -> float:
    """Return how far images lie off the two beside them in tilt, in pixels, less what displaces the specimen."""
    left = without_gauge(shifts, tilts_deg, offset=True)[np.argsort(tilts_deg, kind="stable")]
    steps = left[1:-1] - (left[:-2] + left[2:]) / 2
    return float(np.sqrt((steps**2).sum(axis=1).mean() / 1.5))
