"""A benchmark scene: a specimen on a flat support film with gold fiducials on the film's other face.

The film is flat and perpendicular to the beam at true zero tilt. That is what makes the offset of the tilt angle
knowable at all: a rotated object explains the data as well, unless something about the object is known.
Film and beads are given in voxels; the specimen scales with the field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from etlab.phantoms import scenes
from etlab.phantoms.canvas import Canvas, Solid, box

FAMILIES = {
    "lamella": scenes.lamella,
    "nanorods": scenes.nanorods,
    "vesicles": scenes.vesicles,
    "catalyst": scenes.catalyst,
}
SCENES = tuple(FAMILIES)

SMALLEST = (16, 32, 32)
SMALLEST_WITH_BEADS = (30, 48, 48)
STAND = 0.2  # the specimen stands this share of nz below the volume's centre
FILM_MARGIN = 2.0  # voxels: the film ends here, inside the border, so that all of it stays in the field
JITTER = 0.1  # voxels, of a bead's distance from the film


@dataclass(frozen=True)
class Film:
    """The support film of a scene: flat, and perpendicular to the beam at true zero tilt.

    Parameters
    ----------
    z
        Height of its middle plane above the volume's centre in voxels.
    thickness
        In voxels.
    value
        Its density.

    Examples
    --------
    >>> Film(z=-4.5)
    Film(z=-4.5, thickness=3.0, value=0.2)
    """

    z: float
    thickness: float = 3.0
    value: float = 0.2


@dataclass(frozen=True)
class Fiducials:
    """What is declared about the gold beads of a scene. All lie on one face of the film and touch it.

    Parameters
    ----------
    count
        Number of beads.
    separation
        Least distance between two centres in voxels.
    border
        Least distance of a centre from the edge of the field in voxels.
    radius
        Radius in voxels, where the density is half that of the middle.
    edge
        Width of the soft edge in voxels.
    contrast
        Density of the middle.

    Examples
    --------
    >>> beads = Fiducials.for_field(64)
    >>> beads.count, beads.separation
    (12, 10.0)
    >>> beads.profile(np.array([0.0, 2.5, 4.0])).tolist()
    [1.0, 0.5, 0.0]
    """

    count: int
    separation: float
    border: float = 6.0
    radius: float = 2.5
    edge: float = 1.0
    contrast: float = 1.0

    def profile(self, r: np.ndarray) -> np.ndarray:
        """Return the density at distances r in voxels: contrast·clip(1/2 + (radius − r)/edge, 0, 1)."""
        return self.contrast * np.clip(0.5 + (self.radius - r) / self.edge, 0, 1)

    @classmethod
    def for_field(cls, width: int) -> Fiducials:
        """Return the beads of a field ``width`` voxels wide: 12 at 64, 20 at 128, their distances growing alike."""
        return cls(count=4 + width // 8, separation=6 + width / 16)


@dataclass(frozen=True, eq=False)
class Specimen:
    """A scene and what is known to be in it.

    Parameters
    ----------
    volume
        Densities in [0, 1], float32 (nz, ny, nx).
    film
        The support film, None without; its height is truth.
    fiducials
        What is declared about the beads, None without.
    bead_positions
        Centres (z, y, x) of the beads in voxels from the volume's centre, (count, 3); truth.

    Examples
    --------
    >>> made = specimen("lamella", (16, 32, 32), 1, fiducials=False)
    >>> made.film.thickness, len(made.bead_positions)
    (3.0, 0)
    """

    volume: np.ndarray
    film: Film | None
    fiducials: Fiducials | None
    bead_positions: np.ndarray


def scene(
    name: str,
    shape: tuple[int, int, int],
    seed: int | np.random.Generator,
    *,
    film: bool = True,
    fiducials: bool = True,
) -> np.ndarray:
    """Return a benchmark scene as a volume; see `specimen` for the rest of what is known of it.

    Parameters
    ----------
    name
        One of ``SCENES``: "lamella", "nanorods", "vesicles" or "catalyst".
    shape
        Shape (nz, ny, nx) in voxels, at least (30, 48, 48) with beads, (16, 32, 32) without.
    seed
        Seed or generator of the scene.
    film
        Whether it stands on a support film.
    fiducials
        Whether there are gold beads on the other face of the film.

    Returns
    -------
    np.ndarray
        Densities in [0, 1], float32, of this shape.

    Raises
    ------
    ValueError
        For an unknown name, a shape that is too small, or beads without a film.
    MemoryError
        For a volume larger than the machine's memory.

    Examples
    --------
    >>> volume = scene("lamella", (16, 32, 32), seed=1, fiducials=False)
    >>> volume.shape, volume.dtype.name
    ((16, 32, 32), 'float32')
    """
    return specimen(name, shape, seed, film=film, fiducials=fiducials).volume


def specimen(
    name: str,
    shape: tuple[int, int, int],
    seed: int | np.random.Generator,
    *,
    film: bool = True,
    fiducials: bool = True,
    oversampling: int = 1,
) -> Specimen:
    """Draw one of the benchmark scenes, with its film and its gold beads.

    Parameters
    ----------
    name
        One of ``SCENES``: "lamella", "nanorods", "vesicles" or "catalyst".
    shape
        Shape (nz, ny, nx) in voxels, at least ``SMALLEST_WITH_BEADS`` with beads, ``SMALLEST`` without. The specimen
        scales with min(ny, nx, 2·nz), so twice the ``shape`` shows the same object on twice as many voxels.
    seed
        Seed or generator of the scene.
    film
        Whether it stands on a support film.
    fiducials
        Whether there are gold beads on the other face of the film. Leaving these or the film out changes nothing
        else.
    oversampling
        With k the same scene is painted on a grid k times finer: ``volume`` has k·shape voxels, while all lengths in
        the result remain in voxels of ``shape``.

    Returns
    -------
    Specimen
        Volume, film, beads and their places.

    Raises
    ------
    ValueError
        For an unknown name, a shape that is too small, or beads without a film.
    MemoryError
        For a volume larger than the machine's memory.

    Examples
    --------
    >>> made = specimen("lamella", (16, 32, 32), seed=1, fiducials=False)
    >>> made.volume.shape, bool(0 <= made.volume.min() and made.volume.max() <= 1)
    ((16, 32, 32), True)
    """
    shape = _checked_shape(name, shape, film, fiducials)
    streams = np.random.default_rng(seed).spawn(2 * len(SCENES))
    specimen_rng, bead_rng = streams[2 * SCENES.index(name) :][:2]
    canvas = Canvas(shape, oversampling=oversampling)
    upside_down = specimen_rng.random() < 0.5
    stand = -STAND * shape[0]

    film_spec: Any = Film(stand - Film.thickness / 2) if film else None
    if film_spec:
        _paint_film(canvas, film_spec)
    FAMILIES[name](canvas, specimen_rng, stand * canvas.voxel)
    # textures and edges may overshoot by a little
    np.clip(canvas.volume, 0, scenes.DENSEST, out=canvas.volume)

    beads_spec, positions = None, np.empty((0, 3))
    if fiducials:
        beads_spec = Fiducials.for_field(min(shape[1:]))
        touching = film_spec.z - film_spec.thickness / 2 - beads_spec.radius
        positions = place_beads(beads_spec, shape[1:], touching, bead_rng)
        _paint_beads(canvas, beads_spec, positions)

    volume = canvas.volume
    if upside_down:
        volume = np.ascontiguousarray(volume[::-1])
        positions = positions * (-1, 1, 1)
        film_spec = film_spec and Film(-film_spec.z)
    return Specimen(volume, film_spec, beads_spec, positions)


def place_beads(
    beads: Fiducials, field: tuple[int, int], z: float, rng: np.random.Generator, *, outer: float = 0.55
) -> np.ndarray:
    """Return random bead centres (count, 3), zyx in voxels from the centre, in a field (ny, nx) about the height ``z``.

    Every other bead lies beyond ``outer`` of the half-field in y, on alternating sides of the tilt axis, because the
    mismatch moves those most. Raises ValueError if the beads find no room.
    """
    half_y, half_x = np.array(field) / 2 - beads.border
    for _ in range(50):
        placed = np.empty((0, 2))
        for i in range(beads.count):
            for _ in range(300):
                y, x = rng.uniform(-half_y, half_y), rng.uniform(-half_x, half_x)
                if i % 2 == 0:
                    y = rng.uniform(outer * field[0] / 2, half_y) * (-1) ** (i // 2)
                if (np.hypot(*(placed - (y, x)).T) >= beads.separation).all():
                    placed = np.concatenate([placed, [(y, x)]])
                    break
            else:
                break
        if len(placed) == beads.count:
            heights = z + rng.uniform(-JITTER, JITTER, beads.count)
            return np.column_stack([heights, placed])
    raise ValueError(
        f"fiducials: found no room for {beads.count} beads {beads.separation:g} voxels apart in a field of "
        f"{field[0]} × {field[1]} voxels; use a wider field or fiducials=False"
    )


def _paint_film(canvas, film):
    half = np.array([film.thickness / 2 * canvas.voxel, *(canvas.half[1:] - FILM_MARGIN * canvas.voxel)])
    canvas.paint(box((film.z * canvas.voxel, 0, 0), half), film.value)


def _paint_beads(canvas, beads, positions):
    # the canvas' own edge, one voxel wide, is the declared soft edge
    reach = np.full(3, (beads.radius + beads.edge) * canvas.voxel)

    def distance(z, y, x):
        return np.sqrt(z * z + y * y + x * x) - np.float32(beads.radius * canvas.voxel)

    for position in positions:
        canvas.paint(Solid(position * canvas.voxel, reach, distance), beads.contrast)


def _checked_shape(name, shape, film, fiducials):
    if name not in FAMILIES:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(SCENES)}")
    shape = tuple(int(n) for n in shape)
    if len(shape) != 3:
        raise ValueError(f"shape: got {shape}, expected three sizes (nz, ny, nx)")
    if fiducials and not film:
        raise ValueError("fiducials: beads lie on the film; with film=False give fiducials=False too")
    smallest = SMALLEST_WITH_BEADS if fiducials else SMALLEST
    if any(n < least for n, least in zip(shape, smallest, strict=True)):
        raise ValueError(
            f"shape: got {shape}, expected at least {smallest}"
            + ("" if smallest == SMALLEST else f" with fiducials, {SMALLEST} without")
        )
    return shape
