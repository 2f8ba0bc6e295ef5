"""Checks of a projector of one slice and of its adjoint (lab 1).

Any projector that interpolates linearly passes, voxel by voxel or ray by ray. Each mistake is charged once:
the centre is judged with a blob that no wrong sign can move, the accuracy after every image has been given
its right place and mass, the adjoint against the student's own projector. Voxels lost to ``image[row] += value``
cost the mass: the other checks are given the projector that was meant (`etlab.course.grading.duplicates`).

A slice is ``slice_[z, y]``, its images are ``images[tilt, row]``; signs and centres as in
:mod:`etlab.geometry`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from etlab.course.grading.calling import CheckFailed, call, case
from etlab.course.grading.duplicates import loses_duplicates, mended
from etlab.course.grading.likeness import nearest, sentence
from etlab.course.grading.mistakes import (
    landing,
    mistaken_landings,
    name_adjoint_mistake,
    name_centre_mistake,
    name_mass_mistake,
    name_point_mistake,
)
from etlab.geometry import TiltGeometry

POSITION_TOLERANCE = 0.15  # rows; half a pixel is the mistake to find, sub-pixel sampling itself costs 0.05
SIGN_TOLERANCE = 1.5  # rows; wide enough that a wrong centre is not also charged as a wrong sign
MASS_TOLERANCE = 0.01  # relative; Joseph and ray-driven routes keep the mass of smooth blobs to 0.001
SHAPE_TOLERANCE = 0.15  # relative, at the worst tilt; linear routes reach 0.02 to 0.09, the nearest row 0.35
# square rows, of the image of one voxel, in the mean; right routes reach 0.17, a blur of 1-2-1 adds 0.5
WIDEST_VOXEL = 0.27
EVENNESS = (
    0.5  # relative, of a row that sees a uniform disc; the nearest row, charged elsewhere, reaches 0.41
)
BORDER_MASS = 0.3  # of a line of voxels at the border; half of it lies beyond the last samples of a ray
MANY = (24, 40)  # tilts, so that a series that was cut short shows
ADJOINT_TOLERANCE = 1e-6  # relative to ‖A x‖·‖y‖
ROUNDING = 1e-6  # relative; leaves room for a float32 implementation


def check_landing(landing_row: Callable, *, seed: int | None = 0) -> None:
    """Check that ``landing_row(z, y, tilt_deg, slice_shape, n_rows)`` puts single voxels on the right row."""
    with case(seed, "voxels land where s = y·cos θ + z·sin θ says") as rng:
        for geometry in _geometries(rng):
            nz, ny, n_rows = _sizes(geometry)
            z, y = int(rng.integers(nz)), int(rng.integers(ny))
            for tilt in geometry.tilts_deg:
                row = call(landing_row, z, y, float(tilt), (nz, ny), n_rows, shape=())
                centred = (y - (ny - 1) / 2, z - (nz - 1) / 2, np.deg2rad(tilt))
                expected = landing(*centred) + (n_rows - 1) / 2
                if abs(row - expected) > ROUNDING * n_rows:
                    raise CheckFailed(
                        f"At {tilt:.1f}° the voxel (z={z}, y={y}) of a {nz}×{ny} slice lands on row "
                        f"{expected:.3f} of {n_rows}; yours on {row:.3f}. "
                        f"{name_point_mistake(row - expected, *centred, n_rows)}"
                    )
            _check_landings_of_arrays(landing_row, float(tilt), (nz, ny), n_rows)


def _check_landings_of_arrays(landing_row: Callable, tilt: float, slice_shape: tuple, n_rows: int) -> None:
    z, y = np.indices(slice_shape)
    hint = "z and y may be arrays of indices: compute with whole arrays, without int(), float() or the math module."
    try:
        rows = call(landing_row, z, y, tilt, slice_shape, n_rows, shape=slice_shape)
    except CheckFailed as failure:
        raise CheckFailed(f"One voxel is right, but for all voxels at once: {failure} {hint}") from None
    for at in ((0, 0), (slice_shape[0] - 1, 1)):
        alone = call(landing_row, *at, tilt, slice_shape, n_rows, shape=())
        if abs(rows[at] - alone) > ROUNDING * n_rows:
            raise CheckFailed(
                f"At {tilt:.1f}° the voxel (z={at[0]}, y={at[1]}) lands on row {alone:.3f} when it is asked for by "
                f"itself, and on row {rows[at]:.3f} in an array. {hint}"
            )


def check_weights(linear_weights: Callable, *, seed: int | None = 0) -> None:
    """Check that ``linear_weights(position)`` returns the row below and two weights that balance at the position."""
    with case(seed, "the two weights sum to one and balance at the position") as rng:
        for position in [3.25, -0.4, *rng.uniform(-20, 20, 8)]:
            lower, below, above = call(linear_weights, float(position), shape=(3,))
            seen = f"At {position:.3f} you give row {lower:g} the weight {below:.3f}, the next {above:.3f}. "
            if lower != np.floor(position):
                hint = " int() rounds towards zero, np.floor down." if lower == np.trunc(position) else ""
                raise CheckFailed(f"{seen}The row below is {np.floor(position):g}.{hint}")
            if abs(below + above - 1) > ROUNDING:
                raise CheckFailed(f"{seen}The weights should sum to 1, or mass is lost.")
            if abs(above - (position - lower)) > ROUNDING:
                raise CheckFailed(
                    f"{seen}Their centre of mass is {lower + above:.3f}: share the voxel between both rows, "
                    "the nearer one getting more, so that it balances at the position."
                )


def check_sign(project: Callable, *, seed: int | None = 0) -> None:
    """Check that a blob off the axis follows s = y·cos θ + z·sin θ, above the axis up with positive tilt.

    ``project(slice_, tilts_deg, n_rows)`` gives the images (n_tilts, n_rows) of a slice (nz, ny).
    """
    with case(seed, "a blob above the axis moves up with positive tilt") as rng:
        project = mended(project)
        for geometry in _geometries(rng):
            y, z = rng.choice([-1, 1], 2) * rng.permutation([5, 9])
            rows = _mean_rows(project, _blobs(geometry, [(y, z, 2.0, 1.0)]), geometry)
            landings = mistaken_landings(y, z, np.deg2rad(geometry.tilts_deg))
            miss = {mistake: float(np.sqrt(np.mean((rows - s) ** 2))) for mistake, s in landings.items()}
            likeliest = nearest(miss)
            if likeliest == "" and miss[""] <= SIGN_TOLERANCE:
                continue
            worst = int(np.argmax(np.abs(rows - landings[""])))
            known = likeliest and miss[likeliest] <= SIGN_TOLERANCE
            raise CheckFailed(
                f"A blob at y={y:+d}, z={z:+d} from the slice's centre lands {landings[''][worst]:+.1f} rows "
                f"from the detector's centre at {geometry.tilts_deg[worst]:.1f}°; yours at "
                f"{rows[worst]:+.1f}. "
                + (sentence(likeliest) if known else "Compare with s = y·cos θ + z·sin θ.")
            )


def check_centre(project: Callable, *, seed: int | None = 0) -> None:
    """Check that a blob in the middle of a slice stays in the middle of the detector, for odd and even sizes.

    ``project(slice_, tilts_deg, n_rows)`` gives the images (n_tilts, n_rows) of a slice (nz, ny).
    """
    with case(seed, "the middle of the slice stays in the middle of the detector") as rng:
        project = mended(project)
        for geometry in _geometries(rng):
            nz, ny, n_rows = _sizes(geometry)
            tilts = rng.choice([-1, 1], 8) * rng.uniform(12, 80, 8)
            geometry = TiltGeometry(tilts, (nz, ny, 1), n_rows)
            blob, pair = (_blobs(geometry, [(y, 0, 2.5, 1.0) for y in at]) for at in ([0], [-9, 9]))
            _check_slices_differ(*(_images(project, one, geometry) for one in (blob, pair)))
            rows = _mean_rows(project, blob, geometry)
            worst = int(np.argmax(np.abs(rows)))
            if abs(rows[worst]) > POSITION_TOLERANCE:
                raise CheckFailed(
                    f"A blob in the middle of a {nz}×{ny} slice stays on row {(n_rows - 1) / 2:g}, the "
                    f"middle of {n_rows}; at {tilts[worst]:.1f}° yours is off by {rows[worst]:+.2f} rows. "
                    + name_centre_mistake(rows, np.deg2rad(tilts))
                )


def _check_slices_differ(images: np.ndarray, others: np.ndarray) -> None:
    """Raise CheckFailed if the images of two different slices are the same but for a factor."""
    scale = np.linalg.norm(images) * np.linalg.norm(others)
    if abs(np.vdot(images, others)) > (1 - ROUNDING) * scale:
        raise CheckFailed("The images of two different slices are the same: are the slices looked at?")


def check_mass(project: Callable, *, seed: int | None = 0) -> None:
    """Check that an image holds the mass of the slice while nothing leaves the field, and nothing of what leaves.

    ``project(slice_, tilts_deg, n_rows)`` gives the images (n_tilts, n_rows) of a slice (nz, ny).
    """
    with case(seed, "every image holds the mass of the slice, and what leaves the field is gone") as rng:
        if loses_duplicates(project):
            raise CheckFailed(
                "Of all voxels that land on one row only the last counts, and the mass of the others is lost: "
                "`image[row] += value` writes each row once. Use `np.add.at(image, row, value)` or `np.bincount`. "
                "(This costs the mass only: the other checks take your projector as it is meant.)"
            )
        for geometry in _geometries(rng):
            slice_ = _blobs(geometry, _random_blobs(rng))
            share = _images(project, slice_, geometry).sum(axis=1) / slice_.sum()
            worst = int(np.argmax(np.abs(share - 1)))
            if abs(share[worst] - 1) > MASS_TOLERANCE:
                raise CheckFailed(
                    f"At {geometry.tilts_deg[worst]:.1f}° the image sums to {share[worst]:.3f} times the "
                    "slice. " + name_mass_mistake(share, np.deg2rad(geometry.tilts_deg))
                )
        narrow = TiltGeometry(np.zeros(1), geometry.volume_shape, 7)
        slice_ = _blobs(narrow, [(y, z, 1.0, 1.0) for y in (-12, 12) for z in (-12, 12)])
        (image,) = np.abs(_images(project, slice_, narrow))
        if image.sum() > MASS_TOLERANCE * slice_.sum():
            raise CheckFailed(
                "A detector of 7 rows at 0° cannot see blobs 12 voxels from the axis, yet its row "
                f"{int(np.argmax(image))} holds {image.max():.2f}. Drop what falls outside 0 … n_rows − 1: a "
                "negative index counts from the other end of the array, and a clipped index heaps everything "
                "on the edge."
            )
        _check_every_row_counts(project, rng)
        _check_borders_count(project, rng)


def _check_every_row_counts(project: Callable, rng: np.random.Generator) -> None:
    """Check that every row of a short detector sees a uniform disc, at every tilt of a long series."""
    n, n_rows = int(rng.integers(30, 36)), int(rng.integers(7, 12))
    geometry = TiltGeometry(_many_tilts(rng), (n, n, 1), n_rows)
    radius = n / 2 - 2
    disc = (np.hypot(*(np.indices((n, n)) - (n - 1) / 2)) < radius).astype(float)
    share = _images(project, disc, geometry) / (2 * np.sqrt(radius**2 - _rows(geometry) ** 2))
    tilt, row = np.unravel_index(np.abs(share - 1).argmax(), share.shape)
    if abs(share[tilt, row] - 1) > EVENNESS:
        raise CheckFailed(
            f"Row {row} of a detector of {n_rows} looks through the middle of a uniform disc; at "
            f"{geometry.tilts_deg[tilt]:.1f}°, tilt {tilt} of {len(share)}, it holds {share[tilt, row]:.2f} times the "
            "length of its ray. Rows 0 and n_rows − 1 count like all others, and so does every tilt."
        )


def _check_borders_count(project: Callable, rng: np.random.Generator) -> None:
    """Check that each line of voxels at the border of the slice is seen."""
    nz, ny = (int(n) for n in rng.integers(14, 20, 2))
    geometry = TiltGeometry(rng.uniform(-80, 80, 3), (nz, ny, 1), nz + ny)
    borders: dict[str, tuple[slice | int, ...]] = {
        "z = 0": np.s_[0, :],
        f"z = {nz - 1}": np.s_[-1, :],
        "y = 0": np.s_[:, 0],
        f"y = {ny - 1}": np.s_[:, -1],
    }
    for border, line in borders.items():
        slice_ = np.zeros((nz, ny))
        slice_[line] = 1
        share = _images(project, slice_, geometry).sum(axis=1) / slice_.sum()
        if np.abs(share).min() < BORDER_MASS:
            raise CheckFailed(
                f"The voxels at the border {border} of a {nz}×{ny} slice are as heavy as the others, yet at "
                f"{geometry.tilts_deg[np.abs(share).argmin()]:.1f}° an image holds {np.abs(share).min():.2f} of their "
                "mass, on a detector that sees them all."
            )


def check_accuracy(project: Callable, *, seed: int | None = 0) -> None:
    """Check that images of Gaussian blobs have the shape of the exact line integrals, at every tilt.

    ``project(slice_, tilts_deg, n_rows)`` gives the images (n_tilts, n_rows) of a slice (nz, ny).
    """
    with case(seed, "images of Gaussian blobs have the shape of their exact line integrals") as rng:
        project = mended(project)
        for geometry in _geometries(rng):
            blobs = _random_blobs(rng)
            images = _images(project, _blobs(geometry, blobs), geometry)
            seen = images / _masses(images, geometry)[:, None]
            # a wrong sign is charged by check_sign, so the nearest of the known signs counts here
            cases = _exact_cases(blobs, geometry)
            miss = np.min([_shape_misses(seen, _rows(geometry), *exact) for exact in cases], axis=0)
            worst = int(np.argmax(miss))
            if miss[worst] > SHAPE_TOLERANCE:
                raise CheckFailed(
                    f"At {geometry.tilts_deg[worst]:.1f}° the image of three smooth blobs is "
                    f"{miss[worst]:.0%} off the exact one in shape; linear interpolation stays below 9%. "
                    "Plot it: if neighbouring rows alternate, voxels (or samples along a ray) go to the "
                    "nearest row instead of being shared between the two around them; if it is too wide, "
                    "they are spread over more than two."
                )
        _check_voxels_are_sharp(project, rng)


def _check_voxels_are_sharp(project: Callable, rng: np.random.Generator) -> None:
    """Check that the image of one voxel is as wide as sharing it between two rows makes it."""
    variances = []
    for _ in range(4):
        geometry = TiltGeometry(rng.uniform(-80, 80, 7), (21, 22, 1), 35)
        slice_ = np.zeros((21, 22))
        slice_[tuple(rng.integers(5, 15, 2))] = 1
        images = _images(project, slice_, geometry)
        weights = images / _masses(images, geometry)[:, None]
        away = _rows(geometry) - (weights @ _rows(geometry))[:, None]
        variances.extend(np.sum(weights * away**2, axis=1))
    if np.mean(variances) > WIDEST_VOXEL:
        raise CheckFailed(
            f"One voxel is spread over rows with a variance of {np.mean(variances):.2f} in the mean over "
            f"{len(variances)} images; shared between the two rows around it, it has 0.17. The images are blurred: "
            "give each voxel to two rows, and smooth neither slice nor image."
        )


def check_linearity(project: Callable, *, seed: int | None = 0) -> None:
    """Check that projecting is linear, for slices with negative values too.

    ``project(slice_, tilts_deg, n_rows)`` gives the images (n_tilts, n_rows) of a slice (nz, ny).
    """
    with case(seed, "projecting is linear, negative values included") as rng:
        for geometry in _geometries(rng):
            u, v = rng.standard_normal((2, *geometry.volume_shape[:2]))
            a, b = rng.uniform(-3, 3, 2)
            together, of_u, of_v = (_images(project, s, geometry) for s in (a * u + b * v, u, v))
            scale = np.linalg.norm(together) + np.linalg.norm(of_u) + np.linalg.norm(of_v)
            if scale == 0:
                raise CheckFailed(
                    "The images of random numbers are zero everywhere: nothing was added to them."
                )
            _check_slices_differ(of_u, of_v)
            miss = np.linalg.norm(together - a * of_u - b * of_v) / scale
            if miss > ROUNDING:
                raise CheckFailed(
                    f"project(a·u + b·v) differs from a·project(u) + b·project(v) by {miss:.1%}. Look for a "
                    "division by a maximum or a sum, an offset, a clip at zero, an abs(), or an array kept "
                    "from the last call."
                )


def check_adjoint(project: Callable, backproject: Callable, *, seed: int | None = 0) -> None:
    """Check that ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for random signed x and y.

    ``backproject(images, tilts_deg, slice_shape)`` is the adjoint of *this* ``project(slice_, tilts_deg, n_rows)``.
    """
    with case(seed, "⟨A x, y⟩ = ⟨x, Aᵀ y⟩: the back-projection is the adjoint of your projector") as rng:
        project, pairs = mended(project), []
        for n, geometry in enumerate(_geometries(rng) * 2):
            if n >= 4:  # the second time with a detector too short for the slice, so that its edges matter
                geometry = TiltGeometry(geometry.tilts_deg, geometry.volume_shape, geometry.n_rows // 3 + n)
            opposite = TiltGeometry(-geometry.tilts_deg, geometry.volume_shape, geometry.n_rows)
            slice_shape = geometry.volume_shape[:2]
            x, y = rng.standard_normal(slice_shape), rng.standard_normal(geometry.images_shape[:2])
            forward = _images(project, x, geometry)
            back = call(backproject, y, geometry.tilts_deg, slice_shape, shape=slice_shape)
            for image, name in ((forward, "projection"), (back, "back-projection")):
                if not image.any():
                    raise CheckFailed(
                        f"The {name} of random numbers is zero everywhere: nothing was added to it."
                    )
            allowed = ADJOINT_TOLERANCE * np.linalg.norm(forward) * np.linalg.norm(y)
            other = np.vdot(_images(project, x, opposite), y)
            pairs.append((np.vdot(forward, y), np.vdot(x, back), other, n < 4, allowed))
        left, right, other, holds_slice, tolerance = map(np.array, zip(*pairs, strict=True))
        worst = int(np.argmax(np.abs(left - right) / tolerance))
        if abs(left[worst] - right[worst]) > tolerance[worst]:
            raise CheckFailed(
                f"For signed random x and y, ⟨A x, y⟩ = {left[worst]:+.6f} but ⟨x, Aᵀ y⟩ = "
                f"{right[worst]:+.6f}. " + name_adjoint_mistake(left, right, other, holds_slice, tolerance)
            )
        _check_adjoint_of_many(project, backproject, rng)


def _check_adjoint_of_many(project: Callable, backproject: Callable, rng: np.random.Generator) -> None:
    """Check the same for a long series, of which every image counts."""
    geometry = TiltGeometry(_many_tilts(rng), (12, 13, 1), 15)
    x, y = rng.standard_normal((12, 13)), rng.standard_normal(geometry.images_shape[:2])
    forward = _images(project, x, geometry)
    back = call(backproject, y, geometry.tilts_deg, x.shape, shape=x.shape)
    left, right = np.vdot(forward, y), np.vdot(x, back)
    if abs(left - right) > ADJOINT_TOLERANCE * np.linalg.norm(forward) * np.linalg.norm(y):
        raise CheckFailed(
            f"For seven tilts ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ holds, but for {len(y)} the two are {left:+.6f} and {right:+.6f}. "
            "Every image counts, however many there are."
        )


def _geometries(rng: np.random.Generator) -> list[TiltGeometry]:
    """Return four slices and detectors of odd and even sizes; tilts uneven, unsorted, with 0° and ±45°.

    Detectors hold the whole slice. At 45° a lattice of voxels meets the rows at its most uneven spacing:
    there the kind of interpolation shows.
    """
    cases = []
    for odd_nz, odd_ny, odd_rows in [(0, 0, 0), (1, 0, 1), (0, 1, 0), (1, 1, 1)]:
        nz, ny = 2 * rng.integers(18, 21, 2) + [odd_nz, odd_ny]
        n_rows = 2 * int(rng.integers(30, 34)) + odd_rows
        tilts = rng.permutation([0.0, 45.0, -45.0, *rng.uniform(-80, 80, 4)])
        cases.append(TiltGeometry(tilts, (nz, ny, 1), n_rows))
    return cases


def _many_tilts(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-80, 80, int(rng.integers(*MANY)))


def _sizes(geometry: TiltGeometry) -> tuple[int, int, int]:
    return *geometry.volume_shape[:2], geometry.n_rows


def _images(project: Callable, slice_: np.ndarray, geometry: TiltGeometry) -> np.ndarray:
    return call(project, slice_, geometry.tilts_deg, geometry.n_rows, shape=geometry.images_shape[:2])


def _masses(images: np.ndarray, geometry: TiltGeometry) -> np.ndarray:
    """Return the sum of each image of something near the axis, which no detector here can miss."""
    mass = images.sum(axis=1)
    empty = int(np.argmin(np.abs(mass)))
    if abs(mass[empty]) < 1e-6:
        tilt = geometry.tilts_deg[empty]
        raise CheckFailed(
            f"At {tilt:.1f}° the image of a blob near the axis is empty. Was anything added to it?"
        )
    return mass


def _mean_rows(project: Callable, slice_: np.ndarray, geometry: TiltGeometry) -> np.ndarray:
    """Return the centre of mass of each image, in rows from the detector's centre."""
    images = _images(project, slice_, geometry)
    return images @ _rows(geometry) / _masses(images, geometry)


def _rows(geometry: TiltGeometry) -> np.ndarray:
    return np.arange(geometry.n_rows) - (geometry.n_rows - 1) / 2


def _random_blobs(rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
    """Three Gaussians well inside a slice of 36²: y and z from its centre, standard deviation, height."""
    return [(*rng.uniform(-8, 8, 2), rng.uniform(2, 2.6), rng.uniform(0.5, 1)) for _ in range(3)]


def _blobs(geometry: TiltGeometry, blobs: list) -> np.ndarray:
    nz, ny, _ = geometry.volume_shape
    z, y = np.indices((nz, ny)) - np.reshape([(nz - 1) / 2, (ny - 1) / 2], (2, 1, 1))
    return sum(
        height * np.exp(-((y - y0) ** 2 + (z - z0) ** 2) / (2 * sd**2)) for y0, z0, sd, height in blobs
    )


def _exact_cases(blobs: list, geometry: TiltGeometry) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each known sign: where each blob lands (blob, tilt), its width, its share of the mass (blob, 1)."""
    y, z, width, height = np.array(blobs).T[:, :, None]
    mass = height * width**2
    for at in mistaken_landings(y, z, np.deg2rad(geometry.tilts_deg)).values():
        yield at, width, mass / mass.sum()


def _shape_misses(
    seen: np.ndarray, rows: np.ndarray, at: np.ndarray, width: np.ndarray, mass: np.ndarray
) -> np.ndarray:
    """Return the relative difference of each image, of unit mass, from the exact one at the same centre of mass."""
    at = at - np.sum(mass * at, axis=0) + seen @ rows
    bells = np.exp(-((rows - at[:, :, None]) ** 2) / (2 * width[:, :, None] ** 2))
    exact = np.sum((mass / (width * np.sqrt(2 * np.pi)))[:, :, None] * bells, axis=0)
    return np.linalg.norm(seen - exact, axis=1) / np.linalg.norm(exact, axis=1)
