"""A projector that is right but for ``image[row] += value``, and what it would be with ``np.add.at``.

NumPy writes each element of ``image[row] += value`` once, so of all voxels that land on a row only the last one
counts. The mistake ruins every image, and a student should lose one check by it, not all. `mended` therefore gives
the other checks the projector that was meant, but only where everything else about it is right: each voxel that is
left must have its row and its weight.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from etlab.course.grading.calling import call
from etlab.course.grading.mistakes import landing

SHAPE, N_ROWS = (7, 8), 13  # of a slice small enough to be asked voxel by voxel
TILTS_DEG = np.array([-52.0, 17.0, 38.0])
PASSES = 2  # rows below and rows above: of each, one voxel is left in a row
LEAST_LEFT = 0.5  # share of the mass that a projector keeps which loses no voxels
ROUNDING = 1e-4


def loses_duplicates(project: Callable) -> bool:
    """Return whether of the voxels that share a row only the last ones count, and nothing else is wrong."""
    return _footprint_left(project) is not None


def mended(project: Callable) -> Callable:
    """Return ``project``, or the projector that it would be if no voxel were lost to ``image[row] += value``."""
    footprint = _footprint_left(project)
    if footprint is None:
        return project

    def meant(slice_: np.ndarray, tilts_deg: np.ndarray, n_rows: int) -> np.ndarray:
        images = np.zeros((len(tilts_deg), n_rows))
        for image, tilt in zip(images, tilts_deg, strict=True):
            at = _positions(slice_.shape, tilt, n_rows)
            for row in (np.floor(at).astype(int), np.floor(at).astype(int) + 1):
                seen = (row >= 0) & (row < n_rows)
                weight = footprint(row - at, np.deg2rad(tilt))
                np.add.at(image, row[seen], (weight * slice_)[seen])
        return images

    meant.__name__ = getattr(project, "__name__", "project")
    return meant


def triangle(distance: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return the weight of a row at a distance from the landing, shared between the two rows around it."""
    return np.maximum(1 - np.abs(distance), 0)


def joseph(distance: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return the weight of chapter 2's footprint."""
    m = np.maximum(np.abs(np.cos(theta)), np.abs(np.sin(theta)))
    return np.maximum(1 - np.abs(distance) / m, 0) / m


def _footprint_left(project: Callable) -> Callable | None:
    """Return the footprint of the voxels that a projector keeps while it loses others, None for any other projector."""
    of_ones = _projected(project, np.ones(SHAPE))
    if not 0 < of_ones.sum() < LEAST_LEFT * of_ones.shape[0] * np.prod(SHAPE):
        return None
    single = np.eye(SHAPE[0] * SHAPE[1]).reshape(-1, *SHAPE)
    seen = np.array([_projected(project, one) for one in single])  # [voxel, tilt, row]
    left = np.abs(seen) > ROUNDING
    if (left.sum(axis=0) > PASSES).any() or not left.any(axis=0)[:, 4:-4].all():
        return None
    theta = np.deg2rad(TILTS_DEG)[:, None]
    at = np.stack([_positions(SHAPE, tilt, N_ROWS).ravel() for tilt in TILTS_DEG], axis=1)
    distance = np.arange(N_ROWS) - at[:, :, None]
    for footprint in (triangle, joseph):
        if np.allclose(seen[left], footprint(distance, theta)[left], atol=ROUNDING):
            return footprint
    return None


def _projected(project: Callable, slice_: np.ndarray) -> np.ndarray:
    """Project a small slice."""
    return call(project, slice_, TILTS_DEG, N_ROWS, shape=(len(TILTS_DEG), N_ROWS))


def _positions(shape: tuple[int, int], tilt_deg: float, n_rows: int) -> np.ndarray:
    """Return the row, not rounded, on which each voxel lands."""
    nz, ny = shape
    z, y = np.indices(shape)
    s = landing(y - (ny - 1) / 2, z - (nz - 1) / 2, np.deg2rad(tilt_deg))
    return s + (n_rows - 1) / 2
