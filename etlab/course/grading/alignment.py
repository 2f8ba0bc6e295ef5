"""Checks of an alignment: shifts between images, a chain of them, centres of mass, the tilt axis, and the needle.

What an alignment cannot know is taken out before anything is compared: where the specimen sits (`without_gauge`) and,
for shifts alone, how high the axis lies. Each mistake is charged once: functions that build on earlier ones are given
the course's own. On the needle no shift can be known beforehand, since every case displaces its images anew.

Images are ``images[tilt, row, x]``, a shift is (rows up, columns to the right), the tilt axis as in
:class:`etlab.alignment.Alignment`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from etlab.alignment import Alignment, align_by_moments
from etlab.alignment.alignment import turned
from etlab.alignment.correlate import register
from etlab.course.grading.alignment_cases import Blobs, NeedleCase, fractional, needle_case, noisy, particle
from etlab.course.grading.alignment_mistakes import (
    SAME,
    across,
    likeliest,
    mistaken_moves,
    mistaken_shifts,
    name_centre_mistake,
    name_chain_mistake,
    name_precision_mistake,
    rms,
)
from etlab.course.grading.calling import CheckFailed, call, case
from etlab.course.grading.likeness import nearest, sentence
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.projector import Projector
from etlab.solvers import sirt

PRECISION = 0.25  # pixels; parabolas reach 0.15 in this noise, whole pixels miss by 0.35 to 0.65
INVARIANCE = 0.1  # pixels
MOVE_TOLERANCE = 0.08  # relative; linear interpolation reaches 0.03 to 0.06, whole pixels 0.15 to 0.35
CHAIN_TOLERANCE = 1.0  # pixels; sound chains of a turning particle reach 0.5, and jumps of 3 are put in
STILL_TOLERANCE = 0.15  # pixels, for a particle that keeps still; whole pixels miss by 0.28 and more
CENTRE_TOLERANCE = 0.05  # pixels, RMS
ANGLE_TOLERANCE, HEIGHT_TOLERANCE = 0.4, 0.4  # degrees, pixels, for drawn specimens
NEEDLE_ANGLE_TOLERANCE = 1.0  # degrees: sound methods differ by half a degree
KEY_TOLERANCE = 0.5  # binned pixels, RMS
KEY_HEIGHT_TOLERANCE = 1.5  # binned pixels: moments and the key differ by 0.6
COUNTED = 0.01  # of what the images that count most leave in a volume; one that was not used leaves nothing
LIKENESS = 0.8  # correlation of either half with the specimen
DISAGREEMENT = 0.09  # of the halves of the needle, relative
GAIN = 4  # times by which the halves of the recorded images disagree more
N_ITER = 20  # of SIRT


def check_shift_sign(shift_between: Callable, *, seed: int | None = 0) -> None:
    """Check that ``shift_between(image, reference)`` tells how far to move ``image``: (rows, columns), with signs."""
    with case(seed, "the shift moves the image on to the reference, rows before columns") as rng:
        for signs in rng.permutation([(1, 1), (1, -1), (-1, 1), (-1, -1)]):
            right = signs * rng.permutation([rng.uniform(2, 4), rng.uniform(7, 9)])
            image, reference = _pair(rng, right)
            found = call(shift_between, image, reference, shape=(2,))
            mistake, miss = likeliest(found, mistaken_shifts(right, image.shape))
            if mistake or miss > SAME:
                raise CheckFailed(
                    f"The image comes to lie on the reference when its content is moved by ({right[0]:+.1f}, "
                    f"{right[1]:+.1f}), rows up and columns to the right; yours says ({found[0]:+.1f}, "
                    f"{found[1]:+.1f}). "
                    + (
                        sentence(mistake)
                        if miss <= SAME
                        else "Where does the cross-correlation of an image with itself peak? There the shift is 0."
                    )
                )


def check_shift_precision(shift_between: Callable, *, seed: int | None = 0) -> None:
    """Check that shifts are found to a fraction of a pixel, in noise.

    ``shift_between(image, reference)`` gives (rows, columns), up and to the right.
    """
    with case(seed, f"shifts are right to {PRECISION} pixels, in noise of 2 %") as rng:
        expected, answers = [], []
        for right in fractional(rng, (6, 2), 6):
            image, reference = (noisy(rng, one, 0.02) for one in _pair(rng, right))
            found = call(shift_between, image, reference, shape=(2,))
            # a wrong sign or order is charged by check_shift_sign
            meant = mistaken_shifts(right, image.shape)
            expected.append(meant[likeliest(found, meant)[0]])
            answers.append(found)
        rights, founds = np.array(expected), np.array(answers)
        misses = np.abs(founds - rights)
        worst, axis = np.unravel_index(misses.argmax(), misses.shape)
        if misses[worst, axis] > PRECISION:
            raise CheckFailed(
                f"Along the {('rows', 'columns')[axis]} your shift is {founds[worst, axis]:+.3f} where "
                f"{rights[worst, axis]:+.3f} is right: {misses[worst, axis]:.2f} pixels off, and chained errors add "
                f"up. {name_precision_mistake(founds, rights)}"
            )


def check_shift_background(shift_between: Callable, *, seed: int | None = 0) -> None:
    """Check that a detector's offset and gain, different in both images, change no shift.

    ``shift_between(image, reference)`` gives (rows, columns), up and to the right.
    """
    with case(seed, "offset and gain of the detector change no shift") as rng:
        pairs = [_pair(rng, right) for right in ([5.3, -7.6], [-6.4, 4.2])]
        plain = [call(shift_between, *pair, shape=(2,)) for pair in pairs]
        if np.abs(plain[0] - plain[1]).max() < SAME:
            raise CheckFailed(
                "Two pairs of images with different shifts are given the same: are both looked at?"
            )
        for found, (image, reference) in zip(plain, pairs, strict=True):
            level = image.max() * rng.uniform(3, 8, 2)
            changed = call(shift_between, 1.3 * image + level[0], 0.8 * reference + level[1], shape=(2,))
            if np.abs(changed - found).max() > INVARIANCE:
                raise CheckFailed(
                    f"A constant added to both images takes your shift from ({found[0]:+.2f}, {found[1]:+.2f}) to "
                    f"({changed[0]:+.2f}, {changed[1]:+.2f}). Two bright fields match best where they overlap most: "
                    "take the mean off both images first. (And do not subtract images whose brightness differs.)"
                )


def check_move(move: Callable, *, seed: int | None = 0) -> None:
    """Check that ``move(image, shift)`` moves content up by shift[0] and right by shift[1], for good."""
    with case(seed, "content moves up and to the right by the shift, and what leaves is gone") as rng:
        specimen = particle(rng)
        for right in fractional(rng, (4, 2), 6):
            shape = _shape(rng)
            image = specimen.images(shape)[0]
            found = call(move, image, right, shape=shape)
            cases = mistaken_moves(right)
            drawn = {name: specimen.images(shape, shifts=[-shift])[0] for name, shift in cases.items()}
            miss = {name: _difference(found, image) for name, image in drawn.items()}
            if miss[""] > MOVE_TOLERANCE:
                mistake = nearest(miss)
                raise CheckFailed(
                    f"An image moved by ({right[0]:+.2f}, {right[1]:+.2f}) is {miss['']:.0%} off the one drawn there. "
                    + (
                        sentence(mistake)
                        if mistake and miss[mistake] < MOVE_TOLERANCE
                        else f"The content must move {right[0]:+.2f} rows and {right[1]:+.2f} columns; linear "
                        f"interpolation stays below {MOVE_TOLERANCE:.0%}."
                    )
                )
        _check_nothing_comes_in_again(move, particle(rng).images(_shape(rng))[0])


def _check_nothing_comes_in_again(move: Callable, image: np.ndarray) -> None:
    beyond = image.shape[0] // 2 + 12.5  # for a particle in the middle
    for shift in (beyond, -beyond):
        found = call(move, image, np.array([shift, 0.0]), shape=image.shape)
        other_side = found[: len(found) // 2] if shift > 0 else found[len(found) // 2 + 1 :]
        if np.abs(other_side).sum() > 0.05 * image.sum():
            raise CheckFailed(
                f"Content moved by {shift:+.1f} rows, out of the field, came in again from the other side. "
                "Do not use np.roll or Fourier phases, which take the field as periodic: a needle that leaves is gone."
            )


def check_chain(chain: Callable, *, seed: int | None = 0) -> None:
    """Check that ``chain(images, shift_between)`` registers all images of a turning specimen to one another."""
    with case(seed, "steps between neighbours add up to shifts of the whole series") as rng:
        tilts = linear_tilts(60, 3)
        right = fractional(rng, (len(tilts), 2), 4)
        images = noisy(rng, particle(rng).images(_shape(rng), tilts, right), 0.02)
        found = call(chain, images, register, shape=right.shape)
        miss = rms(found - right, tilts)
        if miss > CHAIN_TOLERANCE:
            raise CheckFailed(
                f"After your shifts the images of a particle still lie {miss:.2f} pixels apart (root mean square; "
                f"before {rms(right, tilts):.2f}), what a displaced specimen explains being taken out. "
                + name_chain_mistake(found, right, tilts)
            )
        _check_fractions_add_up(chain, rng)


def _check_fractions_add_up(chain: Callable, rng: np.random.Generator) -> None:
    """Check the images of a particle that keeps still, displaced by 0.4 pixels from each to the next and by jumps."""
    drift = rng.choice([-0.4, 0.4], 2) * np.arange(12)[:, None]
    right = drift - drift.mean(axis=0) + rng.integers(-3, 4, drift.shape)
    images = particle(rng).images(_shape(rng), np.zeros(len(right)), right)
    found = call(chain, images, register, shape=right.shape)
    away = found - right
    miss = float(np.sqrt(np.mean((away - away.mean(axis=0)) ** 2)))
    if miss > STILL_TOLERANCE:
        raise CheckFailed(
            f"After your shifts images of a particle that has not turned still lie {miss:.2f} pixels apart (root mean "
            "square), although each step is measured to a fiftieth of a pixel. Keep the fractions: round neither the "
            "steps nor their sums, which adds up from image to image."
        )


def check_centre_of_mass(centre_shifts: Callable, *, seed: int | None = 0) -> None:
    """Check that after ``centre_shifts(images, tilts_deg)`` centres of mass follow y·cos θ + z·sin θ."""
    with case(seed, "centres of mass move as the shadow of one point, about the middle row") as rng:
        for _ in range(2):
            tilts = np.linspace(-1, 1, 31) * rng.uniform(60, 76)
            right = fractional(rng, (len(tilts), 2), 6)
            images = particle(rng).images(_shape(rng), tilts, right)
            found = call(centre_shifts, images, tilts, shape=tilts.shape)
            miss = across(found - right[:, 0], tilts)
            if miss > CENTRE_TOLERANCE:
                raise CheckFailed(
                    f"After your shifts the rows of the images still miss the projection law by {miss:.2f} pixels "
                    f"(root mean square; before {across(right[:, 0], tilts):.2f}). "
                    + name_centre_mistake(found, right[:, 0], right[:, 1], tilts)
                )


def check_vacuum(centre_shifts: Callable, *, seed: int | None = 0) -> None:
    """Check that a vacuum that is not zero, and differs between images, changes no centre of mass.

    ``centre_shifts(images, tilts_deg)`` gives how far up each image must be moved, (n_tilts,).
    """
    with case(seed, "the level of the vacuum has no weight") as rng:
        tilts = linear_tilts(60, 5)
        images = particle(rng).images(_shape(rng), tilts, fractional(rng, (len(tilts), 2), 6))
        level = images.max() * rng.uniform(0.2, 0.5, (len(tilts), 1, 1))
        without, with_level = (
            call(centre_shifts, one, tilts, shape=tilts.shape) for one in (images, images + level)
        )
        if np.ptp(without) < SAME:
            raise CheckFailed(
                "All images are moved alike, although they jump by several pixels: are they looked at?"
            )
        change = np.abs(with_level - without).max()
        if change > INVARIANCE:
            raise CheckFailed(
                f"When a constant is added to the images, your shifts change by up to {change:.1f} pixels. Vacuum "
                "fills the whole field, so its centre of mass is the field's: subtract its level from each image, for "
                "instance the median of the first and last rows."
            )


def check_tilt_axis(tilt_axis: Callable, *, seed: int | None = 0) -> None:
    """Check that ``tilt_axis(images, tilts_deg)`` finds direction and height of drawn axes and the needle's."""
    with case(seed, "the axis is found where it was put, and the needle's where others found it") as rng:
        tilts = linear_tilts(70, 5)
        for sign in rng.permutation([-1, 1]):
            angle, height = sign * rng.uniform(2, 4), rng.choice([-1, 1]) * rng.uniform(2, 4)
            images = particle(rng, spread=(5, 5, 14)).images(
                (62, 90), tilts, axis_deg=angle, axis_height=height
            )
            found = call(tilt_axis, images, tilts, shape=(2,))
            if np.abs(found - [angle, height]).max() > min(ANGLE_TOLERANCE, HEIGHT_TOLERANCE):
                raise CheckFailed(
                    f"The axis of a drawn specimen points to {angle:+.2f}° and lies {height:+.2f} rows from the "
                    f"middle; yours at {found[0]:+.2f}°, {found[1]:+.2f} rows. "
                    + _axis_mistake(found, angle, height)
                )
        recorded = needle_case(rng)
        still = Alignment(recorded.tilts_deg, recorded.shifts, 0.0, 0.0, recorded.tilts_deg)
        angle, _ = call(tilt_axis, still.apply(recorded.images), recorded.tilts_deg, shape=(2,))
        if abs(angle - recorded.axis_deg) > NEEDLE_ANGLE_TOLERANCE:
            raise CheckFailed(
                f"The axis of the needle, its images moved by the right shifts, points to {recorded.axis_deg:+.1f}°; "
                f"yours to {angle:+.1f}°. On drawn specimens it is right, so look at what the needle has and they have "
                "not: columns beyond its tip that hold noise only, and slices that are not perpendicular to the axis "
                "before it is known (turn the images by what was found, and repeat)."
            )


def _axis_mistake(found: np.ndarray, angle: float, height: float) -> str:
    wrong = np.abs(found - [angle, height]) > (ANGLE_TOLERANCE, HEIGHT_TOLERANCE)
    if wrong[0] and abs(found[0] + angle) < ANGLE_TOLERANCE:
        return "The direction has the wrong sign: from +x towards +row is positive."
    if wrong[0] and abs(np.rad2deg(found[0]) - angle) < ANGLE_TOLERANCE:
        return "The direction is in radians, or a slope; degrees are expected."
    if wrong[1] and abs(found[1] + height) < HEIGHT_TOLERANCE:
        return "The height has the wrong sign: above the middle is positive."
    return (
        "Fit y·cos θ + z·sin θ + c to the centre of mass of each slice, c together with y and z: the mean over the "
        "tilts is not c, because that of cos θ is not zero. Along the axis c is the straight line h + x·tan φ, with "
        "rows and x measured from (n − 1)/2."
    )


def check_key(align: Callable, *, seed: int | None = 0) -> None:
    """Check that ``align(images, tilts_deg, …)`` finds the needle's known shifts and centres its axis."""
    with case(seed, "the needle is aligned as in the answer key, its axis in the middle") as rng:
        recorded = needle_case(rng)
        found = _aligned(align, recorded)
        miss, before, off_key = (
            rms(shifts - recorded.shifts, recorded.tilts_deg, axis_deg=recorded.axis_deg)
            for shifts in (found, 0 * found, recorded.old_shifts)
        )
        if miss > KEY_TOLERANCE:
            from_old = min(
                rms(shifts - recorded.old_shifts, recorded.tilts_deg, axis_deg=recorded.axis_deg)
                for shifts in (found, found * [-1, 1])  # the series may be upside down
            )
            raise CheckFailed(
                f"Your shifts are {miss:.2f} (binned) pixels from the right ones (root mean square, gauge removed; not "
                f"moving anything: {before:.2f}). "
                + (
                    "They are those of the answer key, but here every image was displaced once more, by amounts that "
                    f"are in no file ({off_key:.1f} pixels): find the shifts from the images."
                    if from_old < KEY_TOLERANCE
                    else "Plot them against the tilt beside those of `chain`, and look at the film of the moved images."
                )
            )
        height = _height(found - recorded.shifts, recorded.tilts_deg, recorded.axis_deg)
        if abs(height) > KEY_HEIGHT_TOLERANCE:
            raise CheckFailed(
                f"The jumps are gone, but the axis lies {height:+.1f} rows from the middle of the detector. After "
                "`chain` its height is whatever the image was that stayed in place: find it by `tilt_axis`, and lower "
                "all images by it: along the turned axis that is (−h·cos φ, +h·sin φ)."
            )


def check_halves(reconstruct_halves: Callable, *, seed: int | None = 0) -> None:
    """Check that ``reconstruct_halves(images, tilts_deg)`` makes two volumes of the specimen that share no image."""
    with case(seed, "even and odd images make two volumes that share nothing but the specimen") as rng:
        lopsided = np.array([(8, 4, -2), (-6, -3, 2), (2, -8, 0)])  # mirrored or turned, it is another
        lopsided = rng.choice([-1, 1]) * (lopsided + rng.uniform(-1, 1, (3, 3)))
        specimen, tilts = Blobs(lopsided, rng.uniform(0.6, 1, 3)), linear_tilts(70, 5)
        images = specimen.images((32, 10), tilts)
        volumes = call(reconstruct_halves, images, tilts, shape=(2, 32, 32, 10))
        _check_who_counts(reconstruct_halves, images, tilts, volumes, rng)
        truth = specimen.volume((32, 32, 10))
        likeness = [
            np.corrcoef(volume.ravel(), truth.ravel())[0, 1] if np.ptp(volume) else 0.0 for volume in volumes
        ]
        worst = int(np.argmin(likeness))
        if likeness[worst] < LIKENESS:
            raise CheckFailed(
                f"The halves share no image, but the {('first', 'second')[worst]} correlates with the specimen by "
                f"{likeness[worst]:.2f} only. Each half needs its own tilts (tilts_deg[::2] with images[::2]), a "
                "volume as deep as the detector has rows, and some twenty iterations."
            )


def _check_who_counts(
    reconstruct_halves: Callable,
    images: np.ndarray,
    tilts: np.ndarray,
    volumes: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Check that each image counts for one volume, and neighbours for different ones.

    One call shows it if slices along x do not know of one another: image number i has a column of its own. A method
    that mixes columns is asked again, image by image.
    """
    alone = np.zeros((*images.shape[:2], len(tilts)))
    for i, image in enumerate(images):
        alone[i, :, i] = image.max(axis=1)
    depth = images.shape[1]
    of_one = call(reconstruct_halves, alone, tilts, shape=(2, depth, depth, len(tilts)))
    size = np.abs(of_one).max(axis=(1, 2))
    counts = (size > COUNTED * size.max(axis=1, keepdims=True)).T
    if not _parted(counts):
        counts = _changes(reconstruct_halves, images, tilts, volumes, rng)
    if counts.all(axis=1).any():
        raise CheckFailed(
            "When one image is changed, both volumes change: it was used for both. Then they agree about its noise, "
            "and the agreement proves nothing."
        )
    if not counts.any(axis=1).all():
        unused = ", ".join(f"{tilt:.0f}°" for tilt in tilts[~counts.any(axis=1)][:5])
        raise CheckFailed(
            "When one image is changed, neither volume changes: it was used for none of them. So it is with the image "
            f"at {unused}."
        )
    if not _parted(counts):
        raise CheckFailed(
            "The volumes share no image, but they are not made of every second one: neighbours must be parted. Halves "
            "of negative and of positive tilts see the specimen from different sides."
        )


def _parted(counts: np.ndarray) -> bool:
    """Return whether images, (n_tilts, 2), count for one volume and the other by turns."""
    return bool((counts.sum(axis=1) == 1).all() and (counts[1:, 0] != counts[:-1, 0]).all())


def _changes(
    reconstruct_halves: Callable,
    images: np.ndarray,
    tilts: np.ndarray,
    volumes: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return which volumes change with which image: (n_tilts, 2)."""
    counts = []
    for tilt in range(len(tilts)):
        changed = images.copy()
        changed[tilt] += images.max() * rng.random(images.shape[1:])
        others = call(reconstruct_halves, changed, tilts, shape=volumes.shape)
        pairs = zip(volumes, others, strict=True)
        counts.append([np.abs(one - other).max() > 1e-3 * np.abs(one).max() for one, other in pairs])
    return np.array(counts)


def check_consistency(align: Callable, *, seed: int | None = 0) -> None:
    """Check that, aligned by ``align(images, tilts_deg, …)``, even and odd images of the needle nearly agree."""
    with case(seed, "even and odd images of the aligned needle make nearly the same volume") as rng:
        recorded = needle_case(rng)
        found = _aligned(align, recorded)
        unmoved, aligned = (_disagreement(recorded, shifts) for shifts in (0 * found, found))
        limit = min(DISAGREEMENT, unmoved / GAIN)
        if not aligned <= limit:
            raise CheckFailed(
                f"Reconstructed from your shifts, the halves of the needle differ by {aligned:.1%} of their mean; as "
                f"recorded by {unmoved:.1%}, and at most {limit:.1%} is expected. Judge the "
                "shifts first: neighbours that still jump part the halves, a slow drift hardly does."
            )


def _aligned(align: Callable, recorded: NeedleCase) -> np.ndarray:
    tools = (_chain, _move, _tilt_axis)
    return call(align, recorded.images, recorded.tilts_deg, *tools, shape=recorded.shifts.shape)


def _disagreement(recorded: NeedleCase, shifts: np.ndarray) -> float:
    """Return ‖even − odd‖ / ‖(even + odd)/2‖ of four slices along the needle, by SIRT."""
    tilts = recorded.tilts_deg
    images = Alignment(tilts, shifts, recorded.axis_deg, 0.0, tilts).apply(recorded.images)[:, :, 16:64:12]
    n_rows, nx = images.shape[1:]
    even, odd = (
        sirt(
            Projector(TiltGeometry(tilts[half::2], (n_rows, n_rows, nx))),
            np.ascontiguousarray(images[half::2]),
            n_iter=N_ITER,
        )
        for half in (0, 1)
    )
    return _difference(even, odd)


def _height(shifts: np.ndarray, tilts_deg: np.ndarray, axis_deg: float) -> float:
    """Return how far up shifts move the axis: the part of them, across it, that is constant and no sinusoid."""
    theta = np.deg2rad(tilts_deg)
    rows = turned(shifts, -np.deg2rad(axis_deg))[:, 0]
    design = np.stack([np.cos(theta), np.sin(theta), np.ones_like(theta)], axis=1)
    return float(np.linalg.lstsq(design, rows, rcond=None)[0][2])


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(2 * np.linalg.norm(found - expected) / np.linalg.norm(found + expected))


# What later functions are given in place of the student's own.


def _chain(images: np.ndarray) -> np.ndarray:
    pairs = zip(images[1:], images[:-1], strict=True)
    return np.cumsum([np.zeros(2), *(register(image, before) for image, before in pairs)], axis=0)


def _move(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
    return Alignment(np.zeros(1), np.reshape(shift, (1, 2)), 0.0, 0.0, np.zeros(1)).apply(image[None])[0]


def _tilt_axis(images: np.ndarray, tilts_deg: np.ndarray) -> tuple[float, float]:
    found = align_by_moments(images, tilts_deg)
    return found.tilt_axis_deg, -_height(found.shifts, tilts_deg, found.tilt_axis_deg)


def _shape(rng: np.random.Generator) -> tuple[int, int]:
    """Draw odd and even sizes, with room for a particle that jumps."""
    return int(rng.integers(76, 82)), int(rng.integers(84, 92))


def _pair(rng: np.random.Generator, right: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return an image and its reference, on which it lies when moved by ``right``."""
    specimen, shape = particle(rng, n=16, spread=(9, 9, 13)), _shape(rng)
    image, reference = (
        specimen.images(shape, shifts=[shift])[0] for shift in (np.asarray(right), np.zeros(2))
    )
    return image, reference
