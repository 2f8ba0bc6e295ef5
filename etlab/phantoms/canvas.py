"""Painting solids into a volume: implicit shapes with soft edges, and smooth random fields.

A scene is described in lengths of its own unit (see ``Canvas``), never in voxels, so the same object can be painted on
any grid. A solid is a signed distance, negative inside; its edge is a linear ramp one voxel wide, which stands for the
part of a voxel that the solid fills. A later solid replaces what it covers.

Points and directions are ``(z, y, x)``, measured from the volume's centre.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from etlab.arrays import require_memory


@dataclass(frozen=True)
class Solid:
    """A shape: ``distance(z, y, x)`` from its surface at coordinates relative to ``centre``, all within ``reach``."""

    centre: np.ndarray
    reach: np.ndarray
    distance: Callable[..., np.ndarray]


class Canvas:
    """An empty float32 volume and the coordinates to paint in it.

    The unit of length is min(ny, nx, 2·nz) voxels: the width of the field in a benchmark volume. ``axes`` are the
    coordinates of the voxels' centres, ``half`` the half-widths of the volume, ``voxel`` the edge of one voxel of
    ``shape``. The grid is ``oversampling`` times finer than ``shape``; edges stay one voxel of ``shape`` wide.
    """

    def __init__(self, shape: tuple[int, int, int], *, oversampling: int = 1):
        n_bytes = 4 * int(np.prod([float(n) * oversampling for n in shape]))
        require_memory(2 * n_bytes, f"a scene of {shape} voxels")
        unit = min(shape[1], shape[2], 2 * shape[0])
        self.voxel = 1 / unit
        self.half = np.array(shape) / (2 * unit)
        counts = [n * oversampling for n in shape]
        self.axes = [
            ((np.arange(n) - (n - 1) / 2) / (unit * oversampling)).astype(np.float32) for n in counts
        ]
        self.volume = np.zeros(counts, np.float32)

    def paint(self, solid: Solid, value) -> None:
        """Fill ``solid`` with ``value``, a number or a function of the absolute coordinates (z, y, x) of its window."""
        margin = solid.reach + self.voxel
        window = tuple(
            slice(*np.searchsorted(axis, (c - r, c + r)))
            for axis, c, r in zip(self.axes, solid.centre, margin, strict=True)
        )
        z, y, x = np.ix_(*(axis[w] for axis, w in zip(self.axes, window, strict=True)))
        if 0 in (z.size, y.size, x.size):
            return
        relative = (axis - np.float32(c) for axis, c in zip((z, y, x), solid.centre, strict=True))
        filled = np.clip(0.5 - solid.distance(*relative) / np.float32(self.voxel), 0, 1)
        target = self.volume[window]
        target += filled * ((value(z, y, x) if callable(value) else np.float32(value)) - target)


class GaussianField:
    """A smooth random field of mean 0 and variance 1, the same function whatever grid it is looked at on.

    Independent normal weights on a lattice of spacing ``cell`` (one number, or one for each axis), each spread by a
    Gaussian. The correlation of two points at a distance d is about exp(−d² / (2·cell²)).
    """

    def __init__(self, rng: np.random.Generator, half: np.ndarray, cell):
        self.cell = np.broadcast_to(np.asarray(cell, float), 3)
        reach = [int(np.ceil(h / c)) + 2 for h, c in zip(half, self.cell, strict=True)]
        self._nodes = [np.arange(-n, n + 1) * c for n, c in zip(reach, self.cell, strict=True)]
        self._weights = rng.standard_normal([len(nodes) for nodes in self._nodes])

    def __call__(self, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return values on the grid of three open axes, as ``numpy.ix_`` makes them; float32."""
        field = self._weights.astype(np.float32)
        for spread in self._spread(z, y, x):
            field = np.tensordot(field, spread.astype(np.float32), axes=(0, 1))
        return field

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return values at scattered points (n, 3)."""
        return np.einsum(
            "abc,na,nb,nc->n", self._weights, *self._spread(*np.transpose(points)), optimize=True
        )

    def _spread(self, *axes):
        for axis, nodes, cell in zip(axes, self._nodes, self.cell, strict=True):
            weight = np.exp(-(((np.ravel(axis)[:, None] - nodes) / cell) ** 2))
            yield weight / np.linalg.norm(weight, axis=1, keepdims=True)


def ellipsoid(centre, radii, rotation: Rotation | None = None) -> Solid:
    """Return an ellipsoid of semi-axes ``radii`` (one number: a ball), exact to first order at the surface."""
    radii = np.broadcast_to(np.asarray(radii, np.float32), 3)

    def distance(z, y, x):
        u, v, w = (p / r for p, r in zip(_turned(rotation, z, y, x), radii, strict=True))
        square = u * u + v * v + w * w
        slope = np.sqrt((u / radii[0]) ** 2 + (v / radii[1]) ** 2 + (w / radii[2]) ** 2)
        return np.where(slope > 0, (square - np.sqrt(square)) / np.where(slope > 0, slope, 1), -radii.min())

    return Solid(np.asarray(centre), np.full(3, radii.max()), distance)


def crystal(centre, normals, offsets, rotation: Rotation | None = None) -> Solid:
    """Return a convex crystal bounded by planes: the points p with n·p ≤ offset for each unit normal n."""
    normals, offsets = np.asarray(normals, float), np.asarray(offsets, float)
    # three independent faces meet in a corner; the farthest corner of a compact crystal is within twice its offsets
    reach = np.full(3, 2 * offsets.max())

    def distance(z, y, x):
        p = _turned(rotation, z, y, x)
        faces = (
            sum(np.float32(n) * c for n, c in zip(normal, p, strict=True) if n) - np.float32(o)
            for normal, o in zip(normals, offsets, strict=True)
        )
        result = next(faces)
        for face in faces:
            result = np.maximum(result, face)
        return result

    return Solid(np.asarray(centre), reach, distance)


def truncated_octahedron(centre, radius: float, rotation: Rotation) -> Solid:
    """Return the shape of small face-centred cubic metal particles: eight {111} and six {100} faces."""
    corners = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, 8).T / np.sqrt(3)
    cubes = np.concatenate([np.eye(3), -np.eye(3)])
    offsets = np.concatenate([np.full(8, 0.9), np.full(6, 1.05)]) * radius
    return crystal(centre, np.concatenate([corners, cubes]), offsets, rotation)


def rod(centre, half_length: float, radius: float, rotation: Rotation) -> Solid:
    """Return a hexagonal prism along the first axis of ``rotation``, with bevelled tips."""
    angles = np.deg2rad(np.arange(0, 360, 60))
    ring = np.stack([np.zeros(6), np.cos(angles), np.sin(angles)], axis=1)
    up = np.array([1.0, 0, 0])
    tips = np.concatenate([ring + up, ring - up]) / np.sqrt(2)
    ends = np.stack([up, -up])
    offsets = np.concatenate(
        [np.full(6, radius), np.full(12, (half_length + 0.3 * radius) / np.sqrt(2)), np.full(2, half_length)]
    )
    solid = crystal(centre, np.concatenate([ring, tips, ends]), offsets, rotation)
    reach = np.abs(rotation.apply([1, 0, 0])) * half_length + 1.2 * radius
    return Solid(solid.centre, reach, solid.distance)


def box(centre, half_widths, *, rounding: float = 0.0) -> Solid:
    """Return a box with edges along the axes, its corners rounded by ``rounding``."""
    half_widths = np.asarray(half_widths, np.float32)

    def distance(z, y, x):
        beyond = [np.abs(p) - (h - rounding) for p, h in zip((z, y, x), half_widths, strict=True)]
        outside = np.sqrt(sum(np.maximum(b, 0) ** 2 for b in beyond))
        return outside + np.minimum(np.maximum(np.maximum(*beyond[:2]), beyond[2]), 0) - np.float32(rounding)

    return Solid(np.asarray(centre), half_widths, distance)


def _turned(rotation, z, y, x):
    """Return coordinates in the frame of a solid that was turned by ``rotation``."""
    if rotation is None:
        return z, y, x
    matrix = rotation.inv().as_matrix().astype(np.float32)
    return [row[0] * z + row[1] * y + row[2] * x for row in matrix]
