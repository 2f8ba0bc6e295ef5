"""The checks of a projector: every right route passes on many random cases, every known mistake fails exactly one.

Routes and mistakes are written here from the convention, without the package's own projector.
"""

import warnings

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from etlab.course import grading
from tests.checks import check

CHECKS = ["sign", "centre", "mass", "accuracy", "linearity"]
SEEDS = range(3)
FEW = range(2)


def failing(project, seed=0) -> set[str]:
    return {name for name in CHECKS if check(name, project, seed=seed)}


# ------------------------------------------------------------------------------------------------ right routes


def positions(shape, n_rows, tilt, *, sign=1, slice_centre=1, detector_centre=1):
    """Row on which each voxel lands; a centre of 0 instead of 1 is n/2 instead of (n − 1)/2."""
    nz, ny = shape
    z, y = np.indices(shape)
    theta = sign * np.deg2rad(tilt)
    s = (y - (ny - slice_centre) / 2) * np.cos(theta) + (z - (nz - slice_centre) / 2) * np.sin(theta)
    return s + (n_rows - detector_centre) / 2


def spread(slice_, tilts_deg, n_rows, footprint, **mistakes):
    """Give each voxel to the rows around the place where it lands; footprint(distance, θ) is the weight."""
    images = np.zeros((len(tilts_deg), n_rows))
    for image, tilt in zip(images, tilts_deg, strict=True):
        at = positions(slice_.shape, n_rows, tilt, **mistakes)
        for row in (np.floor(at).astype(int), np.floor(at).astype(int) + 1):
            weight = footprint(np.abs(row - at), np.deg2rad(tilt))
            seen = (row >= 0) & (row < n_rows)
            np.add.at(image, row[seen], (weight * slice_)[seen])
    return images


def linear(distance, theta):
    return np.maximum(1 - distance, 0)


def longest(theta):
    return np.maximum(np.abs(np.cos(theta)), np.abs(np.sin(theta)))


def bilinear_splat(slice_, tilts_deg, n_rows):
    return spread(slice_, tilts_deg, n_rows, linear)


def joseph_weight(distance, theta):
    return np.maximum(1 - distance / longest(theta), 0) / longest(theta)


def joseph(slice_, tilts_deg, n_rows):
    return spread(slice_, tilts_deg, n_rows, joseph_weight)


def along_rays(slice_, tilts_deg, n_rows):
    """Steps of one voxel along each ray, bilinear interpolation of the slice."""
    nz, ny = slice_.shape
    s = np.arange(n_rows)[:, None] - (n_rows - 1) / 2
    step = np.arange(-40, 41)
    images = []
    for theta in np.deg2rad(tilts_deg):
        y, z = s * np.cos(theta) - step * np.sin(theta), s * np.sin(theta) + step * np.cos(theta)
        images.append(map_coordinates(slice_, [z + (nz - 1) / 2, y + (ny - 1) / 2], order=1).sum(axis=1))
    return np.array(images)


def sub_voxels(slice_, tilts_deg, n_rows):
    """Each voxel as 4×4 points that go to their nearest row: nearly the exact footprint of a square."""
    points = (np.arange(4) + 0.5) / 4 - 0.5
    images = np.zeros((len(tilts_deg), n_rows))
    for image, tilt in zip(images, tilts_deg, strict=True):
        theta = np.deg2rad(tilt)
        for shift in np.add.outer(points * np.cos(theta), points * np.sin(theta)).ravel():
            row = np.rint(positions(slice_.shape, n_rows, tilt) + shift).astype(int)
            seen = (row >= 0) & (row < n_rows)
            np.add.at(image, row[seen], slice_[seen] / 16)
    return images


def in_float32(slice_, tilts_deg, n_rows):
    return bilinear_splat(slice_.astype(np.float32), tilts_deg, n_rows).astype(np.float32)


@pytest.mark.parametrize("route", [bilinear_splat, joseph, along_rays, sub_voxels, in_float32])
def test_every_reasonable_route_passes_every_check_whatever_the_random_case(route):
    for seed in SEEDS:
        assert failing(route, seed) == set()


# ------------------------------------------------------------------------------------------------ mistakes


def nearest(distance, theta):
    return (distance < 0.5).astype(float)


def nearest_row(slice_, tilts_deg, n_rows):
    images = np.zeros((len(tilts_deg), n_rows))
    for image, tilt in zip(images, tilts_deg, strict=True):
        row = np.floor(positions(slice_.shape, n_rows, tilt) + 0.5).astype(int)
        seen = (row >= 0) & (row < n_rows)
        np.add.at(image, row[seen], slice_[seen])
    return images


def wrapped(slice_, tilts_deg, n_rows):
    images = np.zeros((len(tilts_deg), n_rows))
    for image, tilt in zip(images, tilts_deg, strict=True):
        at = positions(slice_.shape, n_rows, tilt)
        lower = np.floor(at).astype(int)
        np.add.at(image, lower % n_rows, (lower + 1 - at) * slice_)
        np.add.at(image, (lower + 1) % n_rows, (at - lower) * slice_)
    return images


def last_ones(slice_, tilts_deg, n_rows, footprint, sign=1):
    """Of all voxels that land on a row, the last one only."""
    images = np.zeros((len(tilts_deg), n_rows))
    for image, tilt in zip(images, tilts_deg, strict=True):
        at = positions(slice_.shape, n_rows, tilt, sign=sign)
        for row in (np.floor(at).astype(int), np.floor(at).astype(int) + 1):
            seen = (row >= 0) & (row < n_rows)
            image[row[seen]] += (footprint(np.abs(row - at), np.deg2rad(tilt)) * slice_)[seen]
    return images


def blurred(images):
    """Each row shared with its neighbours, a tenth to either side."""
    wide = np.pad(images, ((0, 0), (1, 1)))
    return 0.1 * wide[:, :-2] + 0.8 * wide[:, 1:-1] + 0.1 * wide[:, 2:]


MISTAKES = {  # what was done wrong: (projector, the one check that it fails, words of the message)
    "sign": (lambda x, t, n: spread(x, t, n, linear, sign=-1), "sign", "the angle has the wrong sign"),
    "mirrored": (lambda x, t, n: bilinear_splat(x, t, n)[:, ::-1], "sign", "image is mirrored"),
    "exchanged": (lambda x, t, n: bilinear_splat(x.T, t, n), "sign", "y and z are exchanged"),
    "radians": (lambda x, t, n: bilinear_splat(x, np.rad2deg(t), n), "sign", "degrees are taken for radians"),
    "detector centre": (
        lambda x, t, n: spread(x, t, n, linear, detector_centre=0),
        "centre",
        "the detector's centre by +0.5 rows",
    ),
    "slice centre": (
        lambda x, t, n: spread(x, t, n, linear, slice_centre=0),
        "centre",
        "y centre by +0.5 voxels and the slice's z centre by +0.5",
    ),
    "both centres": (
        lambda x, t, n: spread(x, t, n, linear, slice_centre=0, detector_centre=0),
        "centre",
        "n samples numbered from 0",
    ),
    "nearest row": (nearest_row, "accuracy", "go to the nearest row"),
    "mean": (lambda x, t, n: bilinear_splat(x, t, n) / len(x), "mass", "take a sum, not a mean"),
    "no 1/m": (
        lambda x, t, n: joseph(x, t, n) * longest(np.deg2rad(t))[:, None],
        "mass",
        "It falls as max(|cos θ|, |sin θ|)",
    ),
    "twice 1/m": (
        lambda x, t, n: joseph(x, t, n) / longest(np.deg2rad(t))[:, None],
        "mass",
        "It grows as 1/max(|cos θ|, |sin θ|)",
    ),
    "wrapped": (wrapped, "mass", "a negative index counts from the other end"),
    "clipped": (lambda x, t, n: np.maximum(bilinear_splat(x, t, n), 0), "linearity", "a clip at zero"),
    "first row": (
        lambda x, t, n: bilinear_splat(x, t, n) * (np.arange(n) > 0),
        "mass",
        "Row 0 of a detector",
    ),
    "last row": (lambda x, t, n: bilinear_splat(x, t, n) * (np.arange(n) < n - 1), "mass", "Row "),
    "ten tilts": (
        lambda x, t, n: bilinear_splat(x, t, n) * (np.arange(len(t)) < 10)[:, None],
        "mass",
        "so does every tilt",
    ),
    "borders": (
        lambda x, t, n: bilinear_splat(np.pad(x[1:-1, 1:-1], 1), t, n),
        "mass",
        "at the border z = 0",
    ),
    "one border": (
        lambda x, t, n: bilinear_splat(np.pad(x[:, :-1], ((0, 0), (0, 1))), t, n),
        "mass",
        "at the border y",
    ),
    "three rows": (lambda x, t, n: blurred(bilinear_splat(x, t, n)), "accuracy", "The images are blurred"),
    "duplicates": (lambda x, t, n: last_ones(x, t, n, linear), "mass", "np.add.at"),
    "duplicates of Joseph": (lambda x, t, n: last_ones(x, t, n, joseph_weight), "mass", "np.add.at"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_and_charged_once_whatever_the_random_case(mistake):
    project, charged, words = MISTAKES[mistake]
    for seed in FEW:
        assert failing(project, seed) == {charged}
    assert words in check(charged, project)


def test_the_adjoint_of_a_projector_that_loses_duplicates_is_that_of_the_one_that_was_meant():
    def lossy(slice_, tilts_deg, n_rows):
        return last_ones(slice_, tilts_deg, n_rows, linear)

    assert check("adjoint", lossy, back_splat) == ""
    assert check("adjoint", lossy, lambda y, t, shape: 2 * back_splat(y, t, shape))


def test_lost_duplicates_excuse_no_other_mistake():
    def lossy(slice_, tilts_deg, n_rows):
        return last_ones(slice_, tilts_deg, n_rows, linear, sign=-1)

    def one_voxel_only(slice_, tilts_deg, n_rows):
        return bilinear_splat(slice_, tilts_deg, n_rows) * np.eye(1, n_rows, n_rows // 2)

    for project in (lossy, one_voxel_only):
        assert {"sign", "mass", "accuracy"} <= failing(project)


def test_a_projector_that_does_nothing_fails_every_check():
    def nothing(slice_, tilts_deg, n_rows):
        return np.zeros((len(tilts_deg), n_rows))

    assert failing(nothing) == set(CHECKS)
    assert "zero everywhere" in check("adjoint", nothing, back_splat)


# ------------------------------------------------------------------------------------------------ adjoint


def gather(images, tilts_deg, slice_shape, footprint=linear, **mistakes):
    """Transpose of `spread`."""
    n_rows = images.shape[1]
    slice_ = np.zeros(slice_shape)
    for image, tilt in zip(images, tilts_deg, strict=True):
        at = positions(slice_shape, n_rows, tilt, **mistakes)
        for row in (np.floor(at).astype(int), np.floor(at).astype(int) + 1):
            seen = (row >= 0) & (row < n_rows)
            slice_[seen] += (footprint(np.abs(row - at), np.deg2rad(tilt)))[seen] * image[row[seen]]
    return slice_


def back_splat(images, tilts_deg, slice_shape):
    return gather(images, tilts_deg, slice_shape)


def back_interp(images, tilts_deg, slice_shape):
    """Looks right, and repeats the last row beyond the edges of the detector."""
    rows = np.arange(images.shape[1])
    pairs = zip(images, tilts_deg, strict=True)
    return sum(np.interp(positions(slice_shape, len(rows), t), rows, image) for image, t in pairs)


def test_the_transpose_passes_for_right_and_for_wrong_projectors():
    def mirrored(slice_, tilts_deg, n_rows):
        return spread(slice_, tilts_deg, n_rows, linear, sign=-1)

    def back_mirrored(images, tilts_deg, slice_shape):
        return gather(images, tilts_deg, slice_shape, sign=-1)

    for seed in SEEDS:
        assert check("adjoint", bilinear_splat, back_splat, seed=seed) == ""
        assert check("adjoint", in_float32, back_splat, seed=seed) == ""
        assert check("adjoint", mirrored, back_mirrored, seed=seed) == ""


@pytest.mark.parametrize(
    ("backproject", "words"),
    [
        (lambda y, t, shape: back_splat(y, t, shape) / len(t), "0.1429 times the adjoint"),
        (lambda y, t, shape: gather(y, t, shape, sign=-1), "opposite sign"),
        (back_interp, "np.interp, for one"),
        (lambda y, t, shape: gather(y, t, shape, nearest), "same rows, same weights"),
        (lambda y, t, shape: gather(y, t, shape, slice_centre=0), "same rows, same weights"),
        (lambda y, t, shape: back_splat(y, t, shape) + 1e-3, "same rows, same weights"),
    ],
    ids=["scaled", "sign", "edges", "nearest", "half a pixel", "offset"],
)
def test_an_unmatched_adjoint_is_found_and_named_where_it_can_be(backproject, words):
    assert all(check("adjoint", bilinear_splat, backproject, seed=seed) for seed in SEEDS)
    assert words in check("adjoint", bilinear_splat, backproject)


# ------------------------------------------------------------------------------------------------ first tasks


def landing_row(z, y, tilt_deg, slice_shape, n_rows):
    return positions(slice_shape, n_rows, tilt_deg)[z, y]


@pytest.mark.parametrize(
    ("landing", "words"),
    [
        (landing_row, ""),
        (lambda z, y, t, shape, n: landing_row(z, y, -t, shape, n), "the angle has the wrong sign"),
        (
            lambda z, y, t, shape, n: landing_row(z, y, t, shape, n + 1),
            "The detector's centre is off by half",
        ),
        (
            lambda z, y, t, shape, n: positions(shape, n, t, slice_centre=0)[z, y],
            "The slice's centre is off by half",
        ),
        (
            lambda z, y, t, shape, n: landing_row(z, y, t, shape, n) + 3,
            "Measure y and z from the slice's centre",
        ),
        (lambda z, y, t, shape, n: landing_row(int(z), int(y), t, shape, n), "may be arrays of indices"),
        (lambda z, y, t, shape, n: landing_row(np.ravel(z)[0], np.ravel(y)[0], t, shape, n), "may be arrays"),
    ],
    ids=["right", "sign", "detector centre", "slice centre", "other", "int", "first only"],
)
def test_landing_is_judged_by_the_convention(landing, words):
    message = check("landing", landing)
    assert words in message if words else message == ""


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (lambda p: (np.floor(p), np.floor(p) + 1 - p, p - np.floor(p)), ""),
        (lambda p: (int(p), int(p) + 1 - p, p - int(p)), "int() rounds towards zero"),
        (lambda p: (np.floor(p), p - np.floor(p), np.floor(p) + 1 - p), "balances at the position"),
        (lambda p: (np.floor(p), 1.0, 0.0), "balances at the position"),
        (lambda p: (np.floor(p), 1.0, p - np.floor(p)), "should sum to 1"),
    ],
    ids=["right", "truncated", "swapped", "not shared", "too much"],
)
def test_weights_sum_to_one_and_balance(weights, words):
    message = check("weights", weights)
    assert words in message if words else message == ""


# ------------------------------------------------------------------------------------------------ bad answers


def raises(error):
    def project(slice_, tilts_deg, n_rows):
        raise error

    return project


@pytest.mark.parametrize(
    ("project", "words"),
    [
        (raises(NotImplementedError()), "`project` is not written yet"),
        (raises(IndexError("index 64 is out of bounds")), "stopped with IndexError: index 64"),
        (lambda x, t, n: None, "Does it end with `return …`?"),
        (lambda x, t, n: "images", "expected real numbers of shape (3, "),
        (lambda x, t, n: [[1, 2], [3]], "expected real numbers of shape (3, "),
        (lambda x, t, n: bilinear_splat(x, t, n) * 1j, "expected real numbers of shape (3, "),
        (lambda x, t, n: bilinear_splat(x, t, n).T, "It looks transposed"),
        (lambda x, t, n: bilinear_splat(x, t, n + 1), "expected (3, "),
        (lambda x, t, n: bilinear_splat(x, t, n) / 0, "NaN or infinite"),
        (lambda x, t, n: np.full((len(t), n), -1e154), "expected numbers below 1e+100"),
    ],
    ids=[
        "stub",
        "raises",
        "None",
        "text",
        "ragged",
        "complex",
        "transposed",
        "too wide",
        "not finite",
        "huge",
    ],
)
def test_an_answer_that_is_no_array_of_images_is_described(project, words):
    assert words in check("sign", project)


def test_a_warning_in_the_students_code_costs_nothing(capsys):
    """nbgrader gives no points to a cell that writes to stderr."""

    def noisy(slice_, tilts_deg, n_rows):
        warnings.warn("noise", stacklevel=2)
        np.array([1.0]) / np.array([0.0])
        return bilinear_splat(slice_, tilts_deg, n_rows)

    grading.check_mass(noisy)
    assert capsys.readouterr().err == ""


def test_a_function_that_changes_its_input_does_not_spoil_the_check():
    def greedy(slice_, tilts_deg, n_rows):
        images = bilinear_splat(slice_, tilts_deg, n_rows)
        slice_[:] = 0
        return images

    assert failing(greedy) == set()


def test_the_seed_of_a_fresh_case_is_named_and_repeats_it(capsys):
    project, charged, _ = MISTAKES["sign"]
    message = check(charged, project, seed=None)
    seed = int(message.split("seed=")[1].rstrip("]"))
    assert check(charged, project, seed=seed) == message
    grading.check_sign(bilinear_splat, seed=None)
    assert "seed=" in capsys.readouterr().out


def test_fresh_cases_differ():
    sums = []

    def watched(slice_, tilts_deg, n_rows):
        sums.append(float(np.sum(tilts_deg)))
        return bilinear_splat(slice_, tilts_deg, n_rows)

    for _ in range(2):
        check("mass", watched, seed=None)
    assert sums[: len(sums) // 2] != sums[len(sums) // 2 :]
