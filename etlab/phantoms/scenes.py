"""The four families of specimen: what is painted on the support film, in densities up to 0.6.

Every family is a function ``(canvas, rng, base)`` that paints a specimen standing on the plane z = ``base`` and not
higher than ``HEIGHT`` above it, inside the field. All lengths are in the canvas' unit (the width of the field), so a
specimen is the same object on a coarse and on a fine grid. Densities stand for HAADF intensity per voxel: oxide 0.3,
organic matter 0.1–0.5, metal 0.6; gold beads (1.0) are not of the specimen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial.transform import Rotation

from etlab.phantoms.canvas import (
    Canvas,
    GaussianField,
    Solid,
    box,
    ellipsoid,
    rod,
    truncated_octahedron,
)

HEIGHT = 0.33  # of the field's width: what lies above the film in a volume half as high as it is wide
DENSEST = 0.6
BORDER = 0.06  # kept free on each side of the field


def lamella(canvas: Canvas, rng: np.random.Generator, base: float) -> None:
    """Paint a thinned slab of columnar grains, wedge-shaped and ridged by the ion beam, with precipitates and pores."""
    half_y, half_x = (canvas.half[1:] - BORDER) * rng.uniform(0.8, 0.95, 2)
    thickness, wedge = rng.uniform(0.15, 0.19), rng.uniform(-0.3, 0.3)
    slopes = rng.uniform(-0.05, 0.05, 2)
    lowest = min(
        slopes @ (side * half_y, end * half_x) - thickness / 2 * (1 + wedge * side)
        for side in (-1, 1)
        for end in (-1, 1)
    )
    middle = base - lowest + 0.01
    centre, reach = np.array([middle, 0, 0]), np.array([middle - base, half_y, half_x])
    ridges = GaussianField(rng, canvas.half, (1.0, 0.6, 0.04))
    ragged = GaussianField(rng, canvas.half, (1.0, 0.06, 0.06))
    outline = box(centre, (1.0, half_y - 0.01, half_x - 0.01), rounding=0.06)

    def height(z, y, x):  # above the slab's middle plane
        return z - slopes[0] * y - slopes[1] * x

    def slab(z, y, x):
        flat = np.zeros_like(z[:1])
        half = thickness / 2 * (1 + wedge * y / half_y) + 0.005 * ridges(flat, y, x)
        faces = np.abs(height(z, y, x)) - half.astype(np.float32)
        return np.maximum(faces, outline.distance(flat, y, x) + np.float32(0.006) * ragged(flat, y, x))

    grains = rng.uniform(-1, 1, (18, 3)) * reach * (0.3, 1, 1) + centre
    grain_densities = rng.uniform(0.24, 0.38, len(grains))
    texture = GaussianField(rng, canvas.half, 0.035)

    def density(z, y, x):
        return _grains(canvas, grains, grain_densities, z, y, x) + 0.012 * texture(z, y, x)

    canvas.paint(Solid(centre, reach, slab), density)

    def inside(margin):
        y, x = rng.uniform(-1, 1, 2) * (half_y - margin - 0.02, half_x - margin - 0.02)
        room = max(thickness / 2 * (1 + wedge * y / half_y) - margin - 0.006, 0)
        return middle + slopes @ (y, x) + rng.uniform(-room, room), y, x

    for _ in range(36):
        radius = rng.uniform(0.012, 0.036)
        solid: Callable[..., Solid] = truncated_octahedron if rng.random() < 0.5 else ellipsoid
        size = radius if solid is truncated_octahedron else radius * rng.uniform(0.7, 1.1, 3)
        canvas.paint(solid(inside(radius), size, Rotation.random(rng=rng)), rng.uniform(0.48, DENSEST))
    for _ in range(7):
        radius = rng.uniform(0.018, 0.035)
        canvas.paint(
            ellipsoid(inside(radius), radius * rng.uniform(0.7, 1, 3), Rotation.random(rng=rng)), 0.03
        )


def nanorods(canvas: Canvas, rng: np.random.Generator, base: float) -> None:
    """Paint a heap of roughly aligned hexagonal rods, some of them tubes, one long needle and a few grains."""
    pile = Pile(canvas, rng, base)
    preferred = rng.uniform(0, np.pi)
    shapes = [(rng.uniform(0.33, 0.38), 0.044)]
    shapes += [(rng.uniform(0.08, 0.22), rng.uniform(0.026, 0.042)) for _ in range(60)]
    for order, (half_length, radius) in enumerate(shapes):
        steepness = np.deg2rad(rng.normal(0, 4))
        azimuth = preferred + np.deg2rad(rng.normal(0, 25))
        axis = np.array(
            [np.sin(steepness), np.cos(steepness) * np.cos(azimuth), np.cos(steepness) * np.sin(azimuth)]
        )
        along = np.linspace(-half_length, half_length, int(np.ceil(2 * half_length / radius)) + 1)
        centre = pile.drop(along[:, None] * axis, radius * 1.06)
        if centre is None:
            continue
        turn = Rotation.align_vectors([axis], [[1.0, 0, 0]])[0] * Rotation.from_rotvec(
            [rng.uniform(0, np.pi), 0, 0]
        )
        density = rng.uniform(0.45, DENSEST)
        if order == 0:
            canvas.paint(_needle(centre, half_length, radius, turn), density)
            continue
        canvas.paint(rod(centre, half_length, radius, turn), density)
        if rng.random() < 0.3:
            canvas.paint(
                rod(centre, half_length * 1.2, radius * 0.55, turn), 0.06
            )  # a tube, open at both ends
        elif rng.random() < 0.4:
            canvas.paint(
                rod(centre, half_length - 0.4 * radius, radius * 0.6, turn), density * 0.7
            )  # core and shell
    for _ in range(14):
        radius = rng.uniform(0.014, 0.03)
        centre = pile.drop(np.zeros((1, 3)), radius)
        if centre is not None:
            canvas.paint(
                truncated_octahedron(centre, radius, Rotation.random(rng=rng)), rng.uniform(0.45, DENSEST)
            )


def vesicles(canvas: Canvas, rng: np.random.Generator, base: float) -> None:
    """Paint vesicles of one or two membranes, loaded with granules, on a film together with loose granules."""
    pile = Pile(canvas, rng, base)
    membrane = 0.022
    wobble = GaussianField(rng, canvas.half, 0.09)
    texture = GaussianField(rng, canvas.half, 0.03)
    radii = np.sort(np.concatenate([rng.uniform(0.1, 0.15, 6), rng.uniform(0.045, 0.1, 24)]))[::-1]

    def shell(centre, radius, rotation, proportions, membrane_density, lumen):
        def skin(depth):
            solid = ellipsoid(centre, (radius - depth) * proportions, rotation)

            def distance(z, y, x):
                uneven = wobble(z + centre[0], y + centre[1], x + centre[2])
                return solid.distance(z, y, x) + np.float32(0.035 * radius) * uneven

            return Solid(solid.centre, solid.reach * 1.12, distance)

        canvas.paint(skin(0), membrane_density)
        canvas.paint(skin(membrane), lambda z, y, x: lumen * (1 + 0.12 * texture(z, y, x)))

    for radius in radii:
        centre = pile.drop(np.zeros((1, 3)), radius * 1.02)
        if centre is None:
            continue
        rotation, proportions = Rotation.random(rng=rng), rng.uniform(0.88, 1.0, 3)
        lumen = rng.uniform(0.28, 0.38)
        shell(centre, radius, rotation, proportions, rng.uniform(0.5, 0.58), lumen)
        room = radius * 0.85 - membrane
        if radius > 0.075 and rng.random() < 0.6:  # a vesicle within the vesicle
            inner = room * rng.uniform(0.5, 0.72)
            offset = _direction(rng) * (room - inner) * 0.8
            shell(centre + offset, inner, rotation, proportions, rng.uniform(0.5, 0.58), lumen * 1.2)
            continue
        for _ in range(rng.integers(2, 2 + int(90 * radius))):
            size = rng.uniform(0.01, 0.02)
            place = centre + _direction(rng) * (room - size) * rng.random() ** (1 / 3)
            canvas.paint(ellipsoid(place, size), rng.uniform(0.45, DENSEST))
    for _ in range(30):
        size = rng.uniform(0.009, 0.02)
        centre = pile.drop(np.zeros((1, 3)), size)
        if centre is not None:
            canvas.paint(ellipsoid(centre, size), rng.uniform(0.3, 0.55))


def catalyst(canvas: Canvas, rng: np.random.Generator, base: float) -> None:
    """Paint grains of porous oxide that touch, with metal particles on the walls of their pores."""
    room_y, room_x = canvas.half[1:] - BORDER
    spacing = 0.022
    fine, coarse = GaussianField(rng, canvas.half, spacing), GaussianField(rng, canvas.half, 0.06)
    outline = GaussianField(rng, canvas.half, 0.11)
    texture = GaussianField(rng, canvas.half, 0.02)
    level, turn = rng.uniform(-0.75, -0.5), rng.uniform(0, 2 * np.pi)

    def oxide(field):  # pores of two sizes, as catalyst supports have: negative in a pore, 0 on its wall
        return 0.8 * field(fine) + 0.6 * field(coarse) - level

    def grain(centre, radii):
        envelope = ellipsoid(centre, radii)

        def distance(z, y, x):
            absolute = z + centre[0], y + centre[1], x + centre[2]
            wall = -oxide(lambda field: field(*absolute)) * np.float32(spacing / 1.3)  # over the mean slope
            surface = envelope.distance(z, y, x) + np.float32(0.02) * outline(*absolute)
            layer = np.abs(absolute[0] - np.float32(base + HEIGHT / 2)) - np.float32(HEIGHT / 2)
            return np.maximum(np.maximum(surface, wall), layer)

        return Solid(centre, envelope.reach + BORDER, distance)

    walls = []
    for angle in turn + np.deg2rad([0, 120, 240]):
        share = rng.uniform(0.54, 0.62)
        radii = np.array([HEIGHT / 2 * rng.uniform(0.92, 1.05), share * room_y, share * room_x])
        aside = np.array([0, np.sin(angle) * room_y, np.cos(angle) * room_x])
        centre = 0.42 * aside + np.array([base + 0.95 * radii[0], 0, 0])
        density = rng.uniform(0.38, 0.45)
        canvas.paint(
            grain(centre, radii), lambda z, y, x, density=density: density * (1 + 0.06 * texture(z, y, x))
        )
        points = rng.uniform(-1, 1, (700, 3))
        points = points[np.linalg.norm(points, axis=1) < 0.9] * radii + centre
        off_wall = np.abs(oxide(lambda field, points=points: field.at(points)))
        walls.extend(points[(off_wall < 0.15) & (points[:, 0] > base + 0.03)][:60])
    for place in walls:
        radius = float(np.clip(rng.lognormal(np.log(0.016), 0.3), 0.008, 0.03))
        canvas.paint(
            truncated_octahedron(place, radius, Rotation.random(rng=rng)), rng.uniform(0.57, DENSEST)
        )


class Pile:
    """Objects dropped one after the other on to the plane z = ``base``: each rests on the film or on an earlier one.

    An object is a chain of balls of one radius; it falls straight down without turning.
    """

    def __init__(self, canvas: Canvas, rng: np.random.Generator, base: float):
        self._rng, self._base = rng, base
        self._room = canvas.half[1:] - BORDER
        self._centres, self._radii = np.empty((0, 3)), np.empty(0)

    def drop(self, chain: np.ndarray, radius: float, *, tries: int = 40) -> np.ndarray | None:
        """Return where the object's own origin comes to rest, (3,): the lowest of some random places.

        None if it would not lie below ``HEIGHT`` and inside the field.
        """
        free = self._room - radius - np.abs(chain[:, 1:]).max(axis=0)
        if (free <= 0).any():
            return None
        place = min((self._fall(chain, radius, free) for _ in range(tries)), key=lambda place: place[0])
        if place[0] + chain[:, 0].max() + radius > self._base + HEIGHT:
            return None
        self._centres = np.concatenate([self._centres, chain + place])
        self._radii = np.concatenate([self._radii, np.full(len(chain), radius)])
        return place

    def _fall(self, chain, radius, free):
        place = np.array([0.0, *self._rng.uniform(-1, 1, 2) * free])
        fallen = chain + place
        across = self._centres[:, None, 1:] - fallen[None, :, 1:]
        overlap = (self._radii + radius)[:, None] ** 2 - (across**2).sum(axis=-1)
        resting = self._centres[:, None, 0] + np.sqrt(np.maximum(overlap, 0)) - fallen[None, :, 0]
        on_film = self._base + radius - chain[:, 0].min()
        place[0] = max([on_film, *resting[overlap > 0]])
        return place


def _needle(centre, half_length, radius, rotation):
    """Return a round rod that tapers to a point at one end."""

    def distance(z, y, x):
        inverse = rotation.inv().as_matrix().astype(np.float32)
        along, v, w = (row[0] * z + row[1] * y + row[2] * x for row in inverse)
        width = np.float32(radius) * (0.5 - along / np.float32(2 * half_length))
        return np.maximum(np.sqrt(v * v + w * w) - width, -along - np.float32(half_length))

    reach = np.abs(rotation.apply([1, 0, 0])) * half_length + 1.2 * radius
    return Solid(centre, reach, distance)


def _grains(canvas, seeds, densities, z, y, x):
    """Return the density of the Voronoi cell of the nearest seed; across a boundary it changes over one voxel."""
    shape = np.broadcast_shapes(z.shape, y.shape, x.shape)
    near, far = np.full(shape, np.inf, np.float32), np.full(shape, np.inf, np.float32)
    inner, outer = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for (sz, sy, sx), density in zip(seeds.astype(np.float32), densities, strict=True):
        distance = np.sqrt((z - sz) ** 2 + (y - sy) ** 2 + (x - sx) ** 2)
        nearest, second = distance < near, distance < far
        outer = np.where(nearest, inner, np.where(second, np.float32(density), outer))
        far = np.where(nearest, near, np.where(second, distance, far))
        inner = np.where(nearest, np.float32(density), inner)
        near = np.where(nearest, distance, near)
    share = np.clip(0.5 - (far - near) / np.float32(2 * canvas.voxel), 0, 0.5)
    return inner + share * (outer - inner)


def _direction(rng):
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)
