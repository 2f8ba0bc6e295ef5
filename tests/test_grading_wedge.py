"""The checks of the wedge and of tilt schemes: every right route passes on many random cases, each mistake is named.

Routes and mistakes are written here from the convention, without the checks' own functions.
"""

import numpy as np
import pytest
from scipy.optimize import brentq, curve_fit

from etlab.geometry import (
    bidirectional_order,
    dose_symmetric_order,
    measured_frequencies,
    saxton_tilts,
)
from tests.checks import check

SEEDS = range(4)
MASK, MEASURE = ["wedge", "lopsided"], ["widths", "offset", "reconstructed"]
SCHEME = [f"scheme_{name}" for name in ("budget", "tilts", "order", "detail")]


def failing(names, function, seed=0) -> set[str]:
    return {name for name in names if check(name, function, seed=seed)}


# ------------------------------------------------------------------------------------------------ the mask


def frequencies(shape):
    return np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")


def by_angle(shape, tilts_deg, *, sign=1):
    f_z, f_y = frequencies(shape)
    f_z = sign * f_z
    angle = np.rad2deg(np.arctan2(np.where(f_y < 0, -f_z, f_z), np.abs(f_y)))
    return (angle >= np.min(tilts_deg)) & (angle <= np.max(tilts_deg))


def by_slope(shape, tilts_deg):
    f_z, f_y = frequencies(shape)
    f_z, f_y = f_z * np.where(f_y < 0, -1, 1), np.abs(f_y)
    low, high = np.tan(np.deg2rad([np.min(tilts_deg), np.max(tilts_deg)]))
    return ((f_z >= low * f_y) & (f_z <= high * f_y)).astype(np.float32)


def soft(shape, tilts_deg):
    """The package's mask of half the plane, with soft edges, and its mirror image."""
    half = measured_frequencies(shape, tilts_deg)
    full = np.zeros(shape)
    full[:, : half.shape[1]] = half
    z, y = np.indices(shape)
    mirrored = full[-z % shape[0], -y % shape[1]]
    return np.where(np.fft.fftfreq(shape[1]) < 0, mirrored, full)


@pytest.mark.parametrize("route", [by_angle, by_slope, soft])
def test_every_right_mask_passes(route):
    for seed in SEEDS:
        assert failing(MASK, route, seed) == set()


def in_samples(shape, tilts_deg):
    """The slope of indices in place of frequencies."""
    n_z, n_y = (np.fft.fftfreq(n, 1 / n) for n in shape)
    slope = n_z[:, None] / np.where(n_y == 0, 1e-9, n_y)
    low, high = np.tan(np.deg2rad([np.min(tilts_deg), np.max(tilts_deg)]))
    return (slope >= low) & (slope <= high)


def symmetric(shape, tilts_deg):
    f_z, f_y = frequencies(shape)
    return np.abs(f_z) <= np.abs(f_y) * np.tan(np.deg2rad(np.max(np.abs(tilts_deg))))


def one_half(shape, tilts_deg):
    f_z, f_y = frequencies(shape)
    angle = np.rad2deg(np.arctan2(f_z, f_y))
    return (angle >= np.min(tilts_deg)) & (angle <= np.max(tilts_deg))


def in_radians(shape, tilts_deg):
    f_z, f_y = frequencies(shape)
    return np.abs(np.arctan2(f_z, np.abs(f_y))) <= np.max(np.abs(tilts_deg))


MASKS = {  # what was done wrong: (mask, the checks that it fails, words of the message of the first)
    "wrong axis": (lambda s, t: by_angle(s[::-1], t).T, {"wedge"}, "y and z are exchanged"),
    "complement": (lambda s, t: ~by_angle(s, t), {"wedge"}, "true and false are exchanged"),
    "shifted": (lambda s, t: np.fft.fftshift(by_angle(s, t)), {"wedge"}, "stands in the middle"),
    "one half": (one_half, {"wedge"}, "only half of the plane"),
    "half the range": (lambda s, t: by_angle(s, t / 2), {"wedge"}, "half of the range"),
    "no negative tilts": (
        lambda s, t: by_angle(s, [0, np.max(t)]),
        {"wedge"},
        "negative tilts are forgotten",
    ),
    "sign": (lambda s, t: by_angle(s, t, sign=-1), {"lopsided"}, "the angle has the wrong sign"),
    "wrong axis and sign": (
        lambda s, t: by_angle(s[::-1], t, sign=-1).T,
        {"wedge", "lopsided"},
        "y and z are exchanged",
    ),
    "symmetric": (symmetric, {"lopsided"}, "taken for symmetric"),
    "first and last": (
        lambda s, t: by_angle(s, np.sort(t[[0, -1]])),
        {"lopsided"},
        "the first tilt and the last",
    ),
    "samples": (in_samples, {"wedge"}, "counted in samples"),
    "radians": (in_radians, {"wedge", "lopsided"}, "both in degrees"),
    "nothing": (lambda s, t: np.zeros(s), {"wedge", "lopsided"}, "the same everywhere"),
}


@pytest.mark.parametrize("mistake", MASKS)
def test_a_wrong_mask_is_named_and_charged_once(mistake):
    mask, charged, words = MASKS[mistake]
    for seed in SEEDS:
        assert failing(MASK, mask, seed) == charged
    assert words in check(min(charged, key=MASK.index), mask)


def test_a_constant_mask_is_not_taken_for_a_layout():
    for value in (True, False):
        assert "the same everywhere" in check("lopsided", lambda s, t, value=value: np.full(s, value))


# ------------------------------------------------------------------------------------------------ the law


def law(max_tilt_deg):
    alpha = np.deg2rad(max_tilt_deg)
    return np.sqrt((alpha + np.sin(alpha) * np.cos(alpha)) / (alpha - np.sin(alpha) * np.cos(alpha)))


def law_by_adding_up(max_tilt_deg):
    """The two integrals as sums."""
    theta = (np.arange(20000) + 0.5) / 20000 * np.deg2rad(max_tilt_deg)
    return np.sqrt(np.sum(np.cos(theta) ** 2) / np.sum(np.sin(theta) ** 2))


@pytest.mark.parametrize(
    ("elongation", "words"),
    [
        (law, ""),
        (law_by_adding_up, ""),
        (lambda a: law(np.float32(a)), ""),
        (lambda a: 1 / law(a), "upside down"),
        (lambda a: law(a) ** 2, "root is forgotten"),
        (lambda a: law(np.rad2deg(a)), "degrees are taken for radians"),
        (lambda a: law(a / 2), "half of the range"),
        (lambda a: law(2 * a), "the whole range"),
        (lambda a: 1.55, "Compare with"),
    ],
    ids=["right", "sums", "float32", "inverted", "no root", "radians", "half", "whole", "constant"],
)
def test_the_law_is_recognised(elongation, words):
    for seed in SEEDS:
        message = check("law", elongation, seed=seed)
        assert words in message if words else message == ""


# ------------------------------------------------------------------------------------------------ elongation


def above_background(slice_):
    slice_ = slice_ - np.median(slice_)
    return slice_, *np.unravel_index(slice_.argmax(), slice_.shape)


def half_width(profile):
    half = profile[0] / 2
    i = np.argmax(profile < half)
    return i - 1 + (profile[i - 1] - half) / (profile[i - 1] - profile[i])


def half_maximum(slice_):
    """Full widths at half maximum, through the peak, between voxels by interpolation."""
    slice_, z, y = above_background(slice_)
    up, across = slice_[:, y], slice_[z]
    return (half_width(up[z:]) + half_width(up[z::-1])) / (half_width(across[y:]) + half_width(across[y::-1]))


def spread_of_the_top(slice_):
    """Moments of what stands above half of the maximum."""
    slice_, *_ = above_background(slice_)
    return spread(np.maximum(slice_ - slice_.max() / 2, 0))


def core(slice_):
    """Standard deviation of the indices of all voxels above half of the maximum."""
    slice_, *_ = above_background(slice_)
    z, y = np.nonzero(slice_ > slice_.max() / 2)
    return z.std() / y.std()


def fitted(slice_):
    """Widths of a Gaussian with a background, fitted near the peak."""
    slice_, z0, y0 = above_background(slice_)
    z, y = np.indices(slice_.shape)
    near = np.hypot(z - z0, y - y0) < 9

    def model(at, height, z0, y0, a, b, level):
        return height * np.exp(-((at[0] - z0) ** 2) / (2 * a**2) - (at[1] - y0) ** 2 / (2 * b**2)) + level

    start = (slice_.max(), z0, y0, 4, 4, 0)
    (_, _, _, a, b, _), _ = curve_fit(model, (z[near], y[near]), slice_[near], p0=start)
    return abs(a / b)


def spread(weights):
    z, y = np.indices(weights.shape)

    def deviation(position):
        middle = np.sum(weights * position) / weights.sum()
        return np.sqrt(np.sum(weights * (position - middle) ** 2) / weights.sum())

    return deviation(z) / deviation(y)


@pytest.mark.parametrize("route", [half_maximum, spread_of_the_top, core, fitted])
def test_every_reasonable_way_to_measure_an_elongation_passes(route):
    for seed in SEEDS:
        assert failing(MEASURE, route, seed) == set()
        assert failing(MEASURE, lambda s: np.float32(route(s.astype(np.float32))), seed) == set()


def no_background(slice_):
    """Half maximum counted from zero."""
    z, y = np.nonzero(slice_ > slice_.max() / 2)
    return z.std() / y.std()


def moments_of_everything(slice_):
    slice_, *_ = above_background(slice_)
    return spread(np.maximum(slice_, 0))


MEASURES = {
    "inverted": (lambda s: 1 / half_maximum(s), {"widths"}, "it is the other way round"),
    "variances": (lambda s: half_maximum(s) ** 2, {"widths"}, "a ratio of variances:"),
    "inverted variances": (lambda s: half_maximum(s) ** -2, {"widths"}, "variances, and the other way round"),
    "background": (no_background, {"offset"}, "Take the background off"),
    "moments": (moments_of_everything, {"reconstructed"}, "no limit"),
    "constant": (lambda s: 1.0, {"widths", "offset", "reconstructed"}, "through the blob's own peak"),
    "another constant": (lambda s: 2.0, {"widths", "offset", "reconstructed"}, ""),
}


@pytest.mark.parametrize("mistake", MEASURES)
def test_a_wrong_measure_is_named_and_charged_once(mistake):
    measure, charged, words = MEASURES[mistake]
    for seed in SEEDS:
        assert failing(MEASURE, measure, seed) == charged
    assert words in check(min(charged, key=MEASURE.index), measure)


def test_a_constant_measure_is_asked_whether_it_looks():
    assert "is the slice looked at?" in check("offset", lambda s: 1.6)


# ------------------------------------------------------------------------------------------------ number and dose


def number(diameter, resolution, reach):
    return int(np.ceil(2 * np.deg2rad(reach) * diameter / resolution)) + 1


def number_by_search(diameter, resolution, reach):
    n = 2
    while 2 * np.deg2rad(reach) / (n - 1) > resolution / diameter:
        n += 1
    return float(n)


@pytest.mark.parametrize(
    ("number_of_tilts", "words"),
    [
        (number, ""),
        (number_by_search, ""),
        (lambda *a: number(*a) - 1, "One is missing"),
        (lambda D, d, a: 2 * np.deg2rad(a) * D / d + 1, "A number of images is whole"),
        (lambda D, d, a: number(D, d, a / 2), "half of the range"),
        (lambda D, d, a: int(np.ceil(np.pi * D / d)), "tilts all round are counted"),
        (lambda D, d, a: number(D, d, np.rad2deg(a)), "degrees are taken for radians"),
        (lambda D, d, a: number(d, D, a), "a small angle"),
        (lambda *a: 3 * number(*a), "divided into steps"),
    ],
    ids=["right", "search", "fence post", "fraction", "half", "all round", "radians", "inverted", "too many"],
)
def test_the_number_of_tilts_is_the_least_that_keeps_the_step(number_of_tilts, words):
    for seed in SEEDS:
        message = check("number", number_of_tilts, seed=seed)
        assert words in message if words else message == ""


BEST = brentq(lambda x: np.exp(x) - 1 - 2 * x, 1, 2)


def best_by_search(critical_dose):
    doses = np.linspace(0.01, 5, 500) * critical_dose
    return doses[np.argmax(-np.expm1(-doses / critical_dose) / np.sqrt(doses))]


@pytest.mark.parametrize(
    ("useful_dose", "words"),
    [
        (lambda c: BEST * c, ""),
        (best_by_search, ""),
        (lambda c: c, "1/e of the detail is left"),
        (lambda c: BEST * c / 2, "half of the best"),
        (lambda c: 2 * BEST * c, "twice the best"),
        (lambda c: 100.0, "look for its top"),
        (lambda c: 0.0, "look for its top"),
    ],
    ids=["root", "search", "critical", "half", "twice", "constant", "zero"],
)
def test_the_useful_dose_is_where_signal_over_noise_is_largest(useful_dose, words):
    message = check("useful_dose", useful_dose)
    assert words in message if words else message == ""


# ------------------------------------------------------------------------------------------------ the scheme


def scheme(
    max_tilt_deg,
    n_tilts,
    budget,
    least_dose,
    critical_dose,
    *,
    useful=BEST,
    order=dose_symmetric_order,
):
    dose = min(budget, useful * critical_dose)
    n = min(n_tilts, int(dose / least_dose))
    tilts = np.linspace(-max_tilt_deg, max_tilt_deg, n)
    return tilts[order(tilts)], np.full(n, dose / n)


def by_magnitude(*session):
    """0, −, +, −, + …, all images with a little less than they could have, as float32 lists."""
    tilts, doses = scheme(*session, useful=1.0, order=lambda tilts: np.argsort(np.abs(tilts) + 1e-6 * tilts))
    return [list(map(np.float32, tilts)), list(map(np.float32, 0.999 * doses))]


def in_groups(*session):
    """Three on one side, three on the other; Hagen's order in groups."""
    tilts, doses = scheme(*session)
    step = np.diff(np.sort(tilts))[0]
    number = np.rint(np.abs(tilts) / step + 0.4)
    group = np.ceil(number / 3)
    return tilts[np.lexsort((number, tilts < 0, group))], doses


def saxton_with_thickness(max_tilt_deg, n_tilts, budget, least_dose, critical_dose):
    """Saxton's steps where the dose pays for them, and a third more of the free dose for long paths."""
    dose = min(budget, BEST * critical_dose)
    n = min(n_tilts, int(dose / least_dose))
    tilts = saxton_tilts(max_tilt_deg, 2 * max_tilt_deg / (n - 1) * (1 - 1e-9))
    if len(tilts) * least_dose > dose:
        tilts = np.linspace(-max_tilt_deg, max_tilt_deg, n)
    tilts = tilts[dose_symmetric_order(tilts)]
    path = 1 / np.cos(np.deg2rad(tilts))
    return np.stack([tilts, least_dose + (dose - len(tilts) * least_dose) * path / path.sum()])


@pytest.mark.parametrize("route", [scheme, by_magnitude, in_groups, saxton_with_thickness])
def test_every_reasonable_scheme_passes(route):
    for seed in SEEDS:
        assert failing(SCHEME, route, seed) == set()


def one_way(tilts):
    return np.arange(len(tilts))


def whole_to_each(*session):
    tilts, doses = scheme(*session)
    return tilts, doses * len(doses)


def ignoring_least_dose(max_tilt_deg, n_tilts, budget, least_dose, critical_dose):
    return scheme(max_tilt_deg, n_tilts, budget, 0.01 * least_dose, critical_dose)


def one_side(*session):
    tilts, doses = scheme(*session)
    return np.sort(tilts + session[0]) / 2, doses


def open_ended(*session):
    tilts, doses = scheme(*session)
    n = len(tilts)
    tilts = np.linspace(-session[0], session[0], n, endpoint=False)
    return tilts[dose_symmetric_order(tilts)], doses


def scaled(factor):
    def mistaken(*session):
        tilts, doses = scheme(*session)
        return factor * tilts, doses

    return mistaken


def fewer(*session):
    tilts, doses = scheme(session[0], session[1] - 3, *session[2:])
    return tilts, doses


def outside_in(*session):
    tilts, doses = scheme(*session)
    return tilts[::-1], doses


def many(max_tilt_deg, n_tilts, budget, least_dose, critical_dose):
    affordable = min(budget, BEST * critical_dose) / least_dose
    more = 2 * n_tilts if affordable > 2 * n_tilts else n_tilts
    return scheme(max_tilt_deg, more, budget, least_dose, critical_dose)


def wasteful(*session):
    tilts, doses = scheme(*session)
    return tilts, 0.6 * doses


def timid(*session):
    """A fiftieth of the critical dose, if there is much more."""
    return scheme(*session, useful=0.02 if session[2] > session[4] else 1.0)


SCHEMES = {
    "each gets the whole dose": (whole_to_each, "budget", "It is for all images together"),
    "least dose ignored": (ignoring_least_dose, "budget", "take fewer"),
    "some is wasted": (wasteful, "budget", "all of it is useful"),
    "one side": (one_side, "tilts", "on both sides"),
    "open end": (open_ended, "tilts", "on both sides"),
    "half of the range": (scaled(0.5), "tilts", "on both sides"),
    "beyond the stage": (scaled(1.1), "tilts", "you ask it for"),
    "radians": (scaled(np.pi / 180), "tilts", "on both sides"),
    "too many": (many, "tilts", "More images share the same dose"),
    "too few": (fewer, "tilts", "n − 1 steps"),
    "one sweep": (lambda *s: scheme(*s, order=one_way), "order", "one sweep from end to end"),
    "backwards": (lambda *s: scheme(*s, order=lambda t: one_way(t)[::-1]), "order", "one sweep"),
    "bidirectional": (lambda *s: scheme(*s, order=bidirectional_order), "order", "bidirectional"),
    "high tilts first": (outside_in, "order", "Begin with the low tilts"),
    "at random": (
        lambda *s: scheme(*s, order=lambda t: np.random.default_rng(2).permutation(len(t))),
        "order",
        "not in step",
    ),
    "all is spent": (lambda *s: scheme(*s, useful=np.inf), "detail", "not a duty"),
    "timid": (timid, "detail", "drowns in noise"),
}


@pytest.mark.parametrize("mistake", SCHEMES)
def test_a_wrong_scheme_is_named_and_charged_once(mistake):
    design, charged, words = SCHEMES[mistake]
    for seed in range(5):
        assert failing(SCHEME, design, seed) == {f"scheme_{charged}"}
    assert words in check(f"scheme_{charged}", design)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda *s: scheme(*s)[::-1], "Return tilts first, doses second"),
        (lambda *s: scheme(*s)[0], "expected (2, n)"),
        (lambda *s: np.transpose(scheme(*s)), "expected (2, n)"),
        (lambda *s: ([0.0, 1.0, 2.0], [1.0, 1.0]), "expected real numbers of shape (2, n)"),
        (lambda *s: ([], []), "Your scheme has 0 images"),
    ],
    ids=["doses first", "tilts only", "transposed", "ragged", "empty"],
)
def test_an_answer_that_is_no_scheme_is_described(answer, words):
    for name in SCHEME:
        assert words in check(name, answer)


def test_a_fresh_case_names_its_seed():
    message = check("scheme_detail", SCHEMES["all is spent"][0], seed=None)
    seed = int(message.split("seed=")[1].rstrip("]"))
    assert check("scheme_detail", SCHEMES["all is spent"][0], seed=seed) == message
