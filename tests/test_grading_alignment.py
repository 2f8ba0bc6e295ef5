"""The checks of an alignment: right routes pass on many random cases, every known mistake fails with its name.

Routes and mistakes are written here in NumPy and SciPy, where the check itself uses the package's own alignment.
"""

import inspect

import numpy as np
import pytest
from scipy import ndimage, optimize, signal
from skimage.registration import phase_cross_correlation

from etlab.alignment import align_by_moments
from etlab.course import grading
from etlab.course.grading import alignment, alignment_cases
from etlab.data import needle
from etlab.geometry import TiltGeometry
from etlab.projector import Projector
from etlab.solvers import sirt, wbp
from tests.checks import ALIGNMENT, check, remembered, worked_out_once

SEEDS = range(2)


def failing(names, function, seed) -> set[str]:
    return {name for name in names if check(name, function, seed=seed)}


@pytest.fixture(scope="module", autouse=True)
def needles_displaced_once():
    """The same cases come with every route, and so does what the check gives to later tasks."""
    with worked_out_once(*ALIGNMENT):
        yield


def test_every_check_is_there_for_the_labs():
    checks = {
        name for name, _ in inspect.getmembers(alignment, inspect.isfunction) if name.startswith("check_")
    }
    assert checks <= set(grading.__all__)


# ------------------------------------------------------------------------------------------------ shift of two images

SHIFT = ["shift_sign", "shift_precision", "shift_background"]


def vertex(match, peak):
    """Peak of the parabola through the highest value and its neighbours, from the highest value."""
    fractions = []
    for axis, k in enumerate(peak):
        line = np.take(match, peak[1 - axis], axis=1 - axis)
        below, top, above = line[k - 1], line[k], line[(k + 1) % len(line)]
        fractions.append((below - above) / (below - 2 * top + above) / 2)
    return np.array(fractions)


def padded(image, reference, *, centred=True, refined=True, sign=1):
    if centred:
        image, reference = image - image.mean(), reference - reference.mean()
    match = signal.correlate(reference, image, method="fft")
    peak = np.unravel_index(match.argmax(), match.shape)
    return np.array(peak) - (np.array(image.shape) - 1) + sign * refined * vertex(match, peak)


def circular(image, reference):
    """Fourier transforms of the images as they are: a constant adds a constant to the correlation."""
    match = np.fft.ifft2(np.fft.fft2(reference) * np.conj(np.fft.fft2(image))).real
    peak = np.unravel_index(match.argmax(), match.shape)
    whole = [k - n if k > n / 2 else k for k, n in zip(peak, image.shape, strict=True)]
    return whole + vertex(match, peak)


def counted_from_zero(image, reference):
    return np.mod(circular(image, reference), image.shape)


def upsampled(image, reference):
    return phase_cross_correlation(reference, image, upsample_factor=50, normalization=None)[0]


def whitened(image, reference):
    return phase_cross_correlation(reference, image, upsample_factor=50)[0]


def tried(image, reference):
    """The shift for which the moved image correlates best, by trial."""

    def unlike(shift):
        moved = ndimage.shift(image - np.median(image), shift)
        return -np.corrcoef(moved.ravel(), reference.ravel())[0, 1]

    start = np.rint(padded(image, reference))
    return optimize.minimize(unlike, start + 0.2, method="Nelder-Mead", options={"xatol": 0.01}).x


def in_float32(image, reference):
    return padded(image.astype(np.float32), reference.astype(np.float32)).astype(np.float32)


@pytest.mark.parametrize("route", [padded, circular, upsampled, tried, in_float32])
def test_every_sound_way_to_find_a_shift_passes(route):
    for seed in SEEDS:
        assert failing(SHIFT, route, seed) == set()


@pytest.mark.parametrize(
    ("shift_between", "charged", "words"),
    [
        (lambda a, b: -padded(a, b), "shift_sign", "the sign is reversed"),
        (lambda a, b: padded(a, b)[::-1], "shift_sign", "rows and columns are exchanged"),
        (lambda a, b: -padded(a, b)[::-1], "shift_sign", "exchanged and the sign is reversed"),
        (counted_from_zero, "shift_sign", "not taken as a negative shift"),
        (lambda a, b: padded(a, b, refined=False), "shift_precision", "These are whole pixels"),
        (lambda a, b: padded(a, b, sign=-1), "shift_precision", "the fraction has the wrong sign"),
        (whitened, "shift_precision", "noise has won"),
        (lambda a, b: padded(a, b, centred=False), "shift_background", "take the mean off"),
    ],
    ids=["sign", "exchanged", "both", "wrapped", "whole", "fraction", "whitened", "mean"],
)
def test_a_mistake_in_a_shift_is_named_and_charged_once(shift_between, charged, words):
    for seed in SEEDS:
        assert failing(SHIFT, shift_between, seed) == {charged}
        assert words in check(charged, shift_between, seed=seed)


def test_a_shift_that_looks_at_nothing_fails():
    def nothing(image, reference):
        return np.zeros(2)

    for seed in SEEDS:
        assert failing(SHIFT, nothing, seed) == set(SHIFT)


# ------------------------------------------------------------------------------------------------ moving an image


def sampled(image, shift):
    rows, columns = np.indices(image.shape)
    return ndimage.map_coordinates(image, [rows - shift[0], columns - shift[1]], order=1)


def by_phases(image, shift):
    return np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(image), shift)).real


def by_padded_phases(image, shift):
    wide = np.pad(image, [(n, n) for n in image.shape])
    return by_phases(wide, shift)[tuple(slice(n, 2 * n) for n in image.shape)]


@pytest.mark.parametrize(
    "move",
    [
        ndimage.shift,
        sampled,
        by_padded_phases,
        lambda i, s: ndimage.shift(i, s, order=1, mode="nearest"),
        lambda i, s: ndimage.shift(i.astype(np.float32), s, order=1),
    ],
    ids=["spline", "sampled", "phases", "linear", "float32"],
)
def test_every_sound_way_to_move_an_image_passes(move):
    for seed in SEEDS:
        assert check("move", move, seed=seed) == ""


@pytest.mark.parametrize(
    ("move", "words"),
    [
        (lambda i, s: ndimage.shift(i, -s), "moved the opposite way"),
        (lambda i, s: ndimage.shift(i, s[::-1]), "rows and columns are exchanged"),
        (lambda i, s: ndimage.shift(i, np.rint(s)), "whole pixels only"),
        (lambda i, s: ndimage.shift(i, np.trunc(s)), "whole pixels only"),
        (lambda i, s: i, "not moved at all"),
        (by_phases, "came in again from the other side"),
        (lambda i, s: ndimage.shift(i, s, mode="grid-wrap"), "came in again from the other side"),
        (lambda i, s: 0 * i, "linear interpolation stays below"),
    ],
    ids=["opposite", "exchanged", "whole", "cut off", "unmoved", "phases", "wrapped", "nothing"],
)
def test_a_mistake_in_moving_is_named(move, words):
    for seed in SEEDS:
        assert words in check("move", move, seed=seed)


# ------------------------------------------------------------------------------------------------ chains


def added_up(images, shift_between):
    steps = [shift_between(image, before) for image, before in zip(images[1:], images[:-1], strict=True)]
    return np.cumsum([np.zeros(2), *steps], axis=0)


def from_the_middle(images, shift_between):
    shifts, middle = np.zeros((len(images), 2)), len(images) // 2
    for i in range(middle + 1, len(images)):
        shifts[i] = shifts[i - 1] + shift_between(images[i], images[i - 1])
    for i in range(middle - 1, -1, -1):
        shifts[i] = shifts[i + 1] + shift_between(images[i], images[i + 1])
    return shifts


def on_moved_neighbours(images, shift_between):
    """Each image is laid on its neighbour, which was moved before."""
    shifts = [np.zeros(2)]
    for i in range(1, len(images)):
        reference = ndimage.shift(images[i - 1], shifts[-1], order=1)
        shifts.append(shift_between(images[i], reference))
    return shifts


@pytest.mark.parametrize("chain", [added_up, from_the_middle, on_moved_neighbours])
def test_every_sound_chain_passes(chain):
    for seed in SEEDS:
        assert check("chain", chain, seed=seed) == ""


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        (lambda i, f: np.diff(added_up(i, f), axis=0, prepend=0), "add the steps up"),
        (lambda i, f: -added_up(i, f), "the wrong one of the two images"),
        (lambda i, f: -np.diff(added_up(i, f), axis=0, prepend=0), "not added up, and have the wrong sign"),
        (lambda i, f: added_up(i, f)[:, ::-1], "rows and columns are exchanged"),
        (lambda i, f: np.zeros((len(i), 2)), "Compare each image with its neighbour"),
        (lambda i, f: added_up(i, lambda a, b: np.rint(f(a, b))), "Keep the fractions"),
        (lambda i, f: np.rint(added_up(i, f)), "Keep the fractions"),
        (lambda i, f: added_up(i, f)[1:], "returned shape"),
    ],
    ids=["steps", "sign", "both", "exchanged", "nothing", "steps rounded", "sums rounded", "one too few"],
)
def test_a_mistake_in_a_chain_is_named(chain, words):
    for seed in SEEDS:
        assert words in check("chain", chain, seed=seed)


# ------------------------------------------------------------------------------------------------ centres of mass

CENTRE = ["centre_of_mass", "vacuum"]


def above_vacuum(images):
    edges = np.concatenate([images[:, :3], images[:, -3:]], axis=1)
    return images - np.median(edges, axis=(1, 2))[:, None, None]


def centres(images, *, vacuum=True, axis=1):
    images = above_vacuum(images) if vacuum else images
    profiles = images.sum(axis=3 - axis)
    return profiles @ np.arange(images.shape[axis]) / profiles.sum(axis=1)


def to_the_middle(images, tilts_deg):
    return (images.shape[1] - 1) / 2 - centres(images)


def on_a_sinusoid(images, tilts_deg):
    """Leaves the specimen where it is: only what no sinusoid explains is taken out."""
    theta = np.deg2rad(tilts_deg)
    sinusoids = np.stack([np.cos(theta), np.sin(theta)], axis=1)
    away = centres(images) - (images.shape[1] - 1) / 2
    return sinusoids @ np.linalg.lstsq(sinusoids, away, rcond=None)[0] - away


def by_trapezoids(images, tilts_deg):
    """In single precision, from the darkest value of each image."""
    images = images.astype(np.float32) - images.min(axis=(1, 2), keepdims=True)
    rows = np.arange(images.shape[1])[:, None]
    return (images.shape[1] - 1) / 2 - (rows * images).sum(axis=(1, 2)) / images.sum(axis=(1, 2))


@pytest.mark.parametrize("route", [to_the_middle, on_a_sinusoid, by_trapezoids])
def test_every_sound_use_of_the_centre_of_mass_passes(route):
    for seed in SEEDS:
        assert failing(CENTRE, route, seed) == set()


@pytest.mark.parametrize(
    ("centre_shifts", "charged", "words"),
    [
        (lambda i, t: -to_the_middle(i, t), "centre_of_mass", "the sign is reversed"),
        (lambda i, t: i.shape[1] / 2 - centres(i), "centre_of_mass", "row (n − 1)/2"),
        (lambda i, t: -centres(i), "centre_of_mass", "moved too far by the same amount"),
        (lambda i, t: (i.shape[2] - 1) / 2 - centres(i, axis=2), "centre_of_mass", "rows are axis 1"),
        (lambda i, t: (i.shape[1] - 1) / 2 - centres(i, vacuum=False), "vacuum", "subtract its level"),
    ],
    ids=["sign", "half a row", "no middle", "columns", "vacuum"],
)
def test_a_mistake_in_centres_is_named_and_charged_once(centre_shifts, charged, words):
    for seed in SEEDS:
        assert failing(CENTRE, centre_shifts, seed) == {charged}
        assert words in check(charged, centre_shifts, seed=seed)


def test_centres_that_look_at_nothing_fail():
    for seed in SEEDS:
        assert failing(CENTRE, lambda images, tilts_deg: np.zeros(len(images)), seed) == set(CENTRE)


# ------------------------------------------------------------------------------------------------ the tilt axis


def straight_line(images, tilts_deg, *, constant=True, least=0.1):
    """Slope and height of what no sinusoid explains of the centres of mass along x."""
    rows = np.arange(images.shape[1]) - (images.shape[1] - 1) / 2
    x = np.arange(images.shape[2]) - (images.shape[2] - 1) / 2
    mass = images.sum(axis=1)
    heavy = mass.min(axis=0) > least * mass.mean(axis=0).max()
    tracks = np.einsum("r,trx->tx", rows, images)[:, heavy] / mass[:, heavy]
    theta = np.deg2rad(tilts_deg)
    design = np.stack([np.ones_like(theta), np.cos(theta), np.sin(theta)], axis=1)
    level = np.linalg.lstsq(design, tracks, rcond=None)[0][0] if constant else tracks.mean(axis=0)
    return np.polyfit(x[heavy], level, 1, w=mass.mean(axis=0)[heavy])


@remembered
def repeated(images, tilts_deg, *, rounds=5, **how):
    angle = 0.0
    for _ in range(rounds):
        turned = [ndimage.rotate(i, angle, reshape=False, order=1, mode="nearest") for i in images]
        slope, height = straight_line(np.array(turned), tilts_deg, **how)
        angle += np.rad2deg(np.arctan(slope))
    return angle, height


def by_moments(images, tilts_deg):
    """The package's own, with the height that its shifts take away."""
    found = align_by_moments(images, tilts_deg)
    theta, phi = np.deg2rad(tilts_deg), np.deg2rad(found.tilt_axis_deg)
    rows = found.shifts @ [np.cos(phi), -np.sin(phi)]
    design = np.stack([np.ones_like(theta), np.cos(theta), np.sin(theta)], axis=1)
    return found.tilt_axis_deg, -np.linalg.lstsq(design, rows, rcond=None)[0][0]


@pytest.mark.data
@pytest.mark.parametrize("route", [repeated, by_moments])
def test_every_sound_way_to_find_the_axis_passes(route):
    for seed in SEEDS:
        assert check("tilt_axis", route, seed=seed) == ""


@pytest.mark.data
@pytest.mark.parametrize(
    ("tilt_axis", "words"),
    [
        (lambda i, t: np.multiply(repeated(i, t), [-1, 1]), "The direction has the wrong sign"),
        (lambda i, t: np.multiply(repeated(i, t), [1, -1]), "The height has the wrong sign"),
        (lambda i, t: np.multiply(repeated(i, t), [np.pi / 180, 1]), "in radians, or a slope"),
        (lambda i, t: repeated(i, t, constant=False), "the mean over the tilts is not c"),
        (lambda i, t: (0.0, repeated(i, t)[1]), "h + x·tan φ"),
        (lambda i, t: (2.79, -0.4), "of a drawn specimen"),
    ],
    ids=["sign", "height", "radians", "mean", "no direction", "hard-coded"],
)
def test_a_mistake_in_the_axis_is_named(tilt_axis, words):
    for seed in SEEDS:
        assert words in check("tilt_axis", tilt_axis, seed=seed)


# ------------------------------------------------------------------------------------------------ the needle


@remembered
def lowered(images, tilts_deg, chain, move, tilt_axis):
    shifts = chain(images)
    still = np.array([move(image, shift) for image, shift in zip(images, shifts, strict=True)])
    angle, height = tilt_axis(still, tilts_deg)
    phi = np.deg2rad(angle)
    return shifts - height * np.array([np.cos(phi), -np.sin(phi)])


def own_tools(images, tilts_deg, *tools):
    return lowered(
        images,
        tilts_deg,
        lambda images: from_the_middle(images, padded),
        lambda image, shift: ndimage.shift(image, shift, order=1, mode="nearest"),
        repeated,
    )


def moments_only(images, tilts_deg, *tools):
    return align_by_moments(images, tilts_deg).shifts


def key_read(images, tilts_deg, *tools):
    """The recorded shifts, for whatever images."""
    recorded = needle()
    return recorded.shifts[np.searchsorted(recorded.tilts_deg, tilts_deg)] / 2


def aligned_read(images, tilts_deg, *tools):
    """The recorded images are laid on those that others aligned."""
    recorded = needle()
    which = np.searchsorted(recorded.tilts_deg, tilts_deg)
    pairs = zip(recorded.images[which], recorded.aligned[which], strict=True)
    return [upsampled(*pair) / 2 for pair in pairs]


@pytest.mark.data
@pytest.mark.parametrize("align", [lowered, own_tools, moments_only])
def test_every_sound_alignment_of_the_needle_passes(align):
    for seed in SEEDS:
        assert check("key", align, seed=seed) == ""
        assert check("consistency", align, seed=seed) == ""


@pytest.mark.data
@pytest.mark.parametrize(
    ("align", "words"),
    [
        (key_read, "find the shifts from the images"),
        (aligned_read, "from the right ones"),
        (lambda i, t, *tools: -lowered(i, t, *tools), "from the right ones"),
        (lambda i, t, *tools: lowered(i, t, *tools)[:, ::-1], "from the right ones"),
        (lambda i, t, *tools: lowered(i, t, *tools) * [1, 0], "from the right ones"),
        (lambda i, t, *tools: lowered(i, t, *tools) * [0, 1], "from the right ones"),
        (lambda i, t, *tools: np.zeros((len(i), 2)), "from the right ones"),
    ],
    ids=["key read", "aligned read", "sign", "exchanged", "rows only", "columns only", "unmoved"],
)
def test_a_wrong_alignment_of_the_needle_fails(align, words):
    for seed in SEEDS:
        assert words in check("key", align, seed=seed)
    assert "neighbours that still jump" in check("consistency", align)


@pytest.mark.data
def test_an_axis_left_beside_the_middle_is_told_from_wrong_shifts():
    def left_high(images, tilts_deg, chain, move, tilt_axis):
        return chain(images)

    for seed in SEEDS:
        assert "rows from the middle of the detector" in check("key", left_high, seed=seed)


@pytest.mark.data
def test_no_two_cases_of_the_needle_need_the_same_shifts():
    cases = [alignment_cases.needle_case(np.random.default_rng(seed)) for seed in range(4)]
    assert {np.sign(one.axis_deg) for one in cases} == {-1, 1}
    assert len({one.images[0].tobytes() for one in cases}) == 4
    for one in cases:
        apart = one.shifts - one.old_shifts
        assert alignment.rms(apart, one.tilts_deg, axis_deg=one.axis_deg) > 3 * alignment.KEY_TOLERANCE


@pytest.mark.data
def test_the_needle_says_nothing_on_stderr(capsys):
    alignment_cases.recorded_needle.cache_clear()
    grading.check_key(moments_only)
    assert capsys.readouterr().err == ""


# ------------------------------------------------------------------------------------------------ halves


@remembered
def halves(images, tilts_deg, *, solve=lambda A, y: sirt(A, y, n_iter=20), parts=None):
    n_rows, nx = images.shape[1:]
    volumes = []
    for part in parts or (slice(0, None, 2), slice(1, None, 2)):
        A = Projector(TiltGeometry(tilts_deg[part], (n_rows, n_rows, nx)))
        volumes.append(solve(A, np.ascontiguousarray(images[part], np.float32)))
    return np.array(volumes)


@pytest.mark.parametrize(
    "route",
    [
        halves,
        lambda i, t: halves(i, t)[::-1],
        lambda i, t: halves(i, t, solve=wbp),
        lambda i, t: halves(i, t, solve=lambda A, y: sirt(A, y, n_iter=30, nonnegative=False)),
        lambda i, t: halves(i / i.max(), t) * i.max(),
        lambda i, t: halves(i - i.mean(axis=2, keepdims=True) / 9, t),
    ],
    ids=["sirt", "odd first", "wbp", "signed", "scaled", "columns mixed"],
)
def test_every_sound_pair_of_halves_passes(route):
    for seed in SEEDS:
        assert check("halves", route, seed=seed) == ""


ALL = slice(None)


def shuffled(n):
    """Halves by lot, the same for every series of this length."""
    order = np.random.default_rng(0).permutation(n)
    return np.sort(order[::2]), np.sort(order[1::2])


@pytest.mark.parametrize(
    ("reconstruct_halves", "words"),
    [
        (lambda i, t: halves(i, t, parts=(ALL, ALL)), "it was used for both"),
        (lambda i, t: halves(i, t, parts=(ALL, slice(1, None, 2))), "it was used for both"),
        (lambda i, t: halves(i, t, parts=(slice(0, 14), slice(14, None))), "neighbours must be parted"),
        (lambda i, t: halves(i, t, parts=(slice(0, None, 4), slice(1, None, 4))), "used for none"),
        (
            lambda i, t: halves(i, t, parts=(slice(0, None, 2), np.arange(1, 28, 2)[np.arange(14) != 4])),
            "at -25°",
        ),
        (lambda i, t: halves(i, t, parts=shuffled(len(t))), "neighbours must be parted"),
        (lambda i, t: halves(i, -t), "Each half needs its own tilts"),
        (lambda i, t: halves(i, t).transpose(0, 2, 1, 3), "Each half needs its own tilts"),
        (lambda i, t: halves(i, t)[0], "returned shape"),
    ],
    ids=[
        "all in both",
        "all in one",
        "two sides",
        "some unused",
        "one unused",
        "by lot",
        "tilt sign",
        "transposed",
        "one only",
    ],
)
def test_a_mistake_in_halves_is_named(reconstruct_halves, words):
    for seed in SEEDS:
        assert words in check("halves", reconstruct_halves, seed=seed)
