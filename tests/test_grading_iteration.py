"""The checks of lab 3: every right route passes on many random cases, every known mistake fails exactly one.

Routes and mistakes are written here from the equations, without the package's own solvers.
"""

from functools import cache

import numpy as np
import pytest

from etlab.course import grading
from etlab.geometry import TiltGeometry, linear_tilts
from tests.checks import check, worked_out_once

SEEDS = range(2)
FEW = range(2)  # for mistakes, which are far from right ones


@pytest.fixture(scope="module", autouse=True)
def iterations_followed_once():
    with worked_out_once("iteration.sparse_matrix", "iteration._followed"):
        yield


def assert_charged(mistaken, charged: str, words: str, among: list[str]):
    for seed in FEW:
        assert [name for name in among if check(name, mistaken, seed=seed)] == [charged]
    assert words in check(charged, mistaken)


# ------------------------------------------------------------------------------------------------- the ramp


def multiplied(images, factor, times=1):
    """Each row, padded to so many times its length, multiplied by factor(k)."""
    n_rows = images.shape[1]
    padded = times * n_rows
    spectrum = np.fft.rfft(images, padded, axis=1) * factor(np.fft.rfftfreq(padded))
    return np.fft.irfft(spectrum, padded, axis=1)[:, :n_rows]


def kernel(j):
    return np.where(j % 2 == 1, -1 / (np.pi * np.maximum(np.abs(j), 1)) ** 2, 0) + (j == 0) / 4


def as_a_matrix(images):
    j = np.arange(images.shape[1])
    return images @ kernel(j[:, None] - j)


def by_its_kernel(images, times=2):
    n_rows = times * images.shape[1]
    j = (np.arange(n_rows) + n_rows // 2) % n_rows - n_rows // 2
    return multiplied(images, lambda k: np.fft.rfft(kernel(j)).real[: k.size], times)


def padded_much(images):
    return multiplied(images, np.abs, times=16)


def convolved_in_float32(images):
    h = kernel(np.arange(1 - images.shape[1], images.shape[1])).astype(np.float32)
    return np.array(
        [np.convolve(row.astype(np.float32), h, "valid" if row.size == 1 else "full") for row in images]
    )[:, images.shape[1] - 1 : 2 * images.shape[1] - 1]


RAMP = ["ramp", "ramp_ends"]


@pytest.mark.parametrize("route", [as_a_matrix, by_its_kernel, padded_much, convolved_in_float32])
def test_every_right_ramp_passes(route):
    for seed in SEEDS:
        assert [check(name, route, seed=seed) for name in RAMP] == ["", ""]


@pytest.mark.parametrize(
    ("ramp", "charged", "words"),
    [
        (lambda y: as_a_matrix(as_a_matrix(y)), "ramp", "grows as k²"),
        (lambda y: 2 * as_a_matrix(y), "ramp", "It is one at the Nyquist frequency"),
        (lambda y: 2 * np.pi * as_a_matrix(y), "ramp", "k in radians"),
        (lambda y: 5 * as_a_matrix(y), "ramp", "5 times what they should"),
        (lambda y: as_a_matrix(y.T).T, "ramp", "across the tilts"),
        (lambda y: multiplied(as_a_matrix(y), np.sinc, 2), "ramp", "without a window"),
        (lambda y: np.maximum(as_a_matrix(y), 0), "ramp", "no clipping"),
        (lambda y: np.clip(as_a_matrix(y), -5, 5), "ramp", "no clipping"),
        (lambda y: multiplied(y, np.abs), "ramp_ends", "comes in at the other"),
        (lambda y: by_its_kernel(y, 1), "ramp_ends", "comes in at the other"),
        (lambda y: multiplied(y, np.abs, 2), "ramp_ends", "|k| is zero at k = 0"),
    ],
    ids=[
        "squared",
        "one at Nyquist",
        "radians",
        "factor",
        "wrong axis",
        "window",
        "clipped",
        "clipped at 5",
        "not padded",
        "kernel not padded",
        "|k| sampled",
    ],
)
def test_a_wrong_ramp_is_named_and_charged_once(ramp, charged, words):
    assert_charged(ramp, charged, words, RAMP)


@pytest.mark.parametrize(
    ("ramp", "words"),
    [(lambda y: 3 * y, "the images are not filtered"), (np.zeros_like, "Nothing of it is left")],
    ids=["missing", "zeros"],
)
def test_without_a_ramp_neither_its_factor_nor_its_ends_are_right(ramp, words):
    assert words in check("ramp", ramp)
    assert "The images are not filtered" in check("ramp_ends", ramp)


# ------------------------------------------------------------------------------------------ weighing the images


def weighed(A, filtered, weights):
    return A.T @ (weights[:, None] * filtered).ravel()


def whole_borders(A, filtered, tilts_deg):
    """The first and the last tilt stand for a whole step."""
    order = np.argsort(tilts_deg)
    weights = np.empty(len(tilts_deg))
    weights[order] = np.gradient(np.deg2rad(tilts_deg[order]))
    return weighed(A, filtered, weights)


def half_borders(A, filtered, tilts_deg):
    """The trapezoid rule."""
    edges = np.sort(tilts_deg)
    edges = np.r_[edges[0], (edges[1:] + edges[:-1]) / 2, edges[-1]]
    shares = np.deg2rad(np.diff(edges))
    return weighed(A, filtered, shares[np.argsort(np.argsort(tilts_deg))])


def tilt_by_tilt_in_float32(A, filtered, tilts_deg):
    n_rows = filtered.shape[1]
    x = np.zeros(A.shape[1], np.float32)
    order = np.argsort(tilts_deg)
    weights = np.gradient(np.deg2rad(tilts_deg[order]))
    for weight, t in zip(weights, order, strict=True):
        x += (weight * (A[t * n_rows : (t + 1) * n_rows].T @ filtered[t])).astype(np.float32)
    return x


def equal(A, filtered, tilts_deg):
    span = np.ptp(tilts_deg) * len(tilts_deg) / (len(tilts_deg) - 1)
    return weighed(A, filtered, np.full(len(tilts_deg), np.deg2rad(span) / len(tilts_deg)))


def pi_over_n(A, filtered, tilts_deg):
    return weighed(A, filtered, np.full(len(tilts_deg), np.pi / len(tilts_deg)))


def unsorted(A, filtered, tilts_deg):
    return weighed(A, filtered, np.abs(np.gradient(np.deg2rad(tilts_deg))))


WBP = ["wbp_scale", "wbp_shares"]


@pytest.mark.parametrize("route", [whole_borders, half_borders, tilt_by_tilt_in_float32])
def test_every_right_way_to_weigh_and_smear_back_passes(route):
    for seed in SEEDS:
        assert [check(name, route, seed=seed) for name in WBP] == ["", ""]


@pytest.mark.parametrize(
    ("backproject", "charged", "words"),
    [
        (lambda A, q, t: whole_borders(A, q, t) / np.pi, "wbp_scale", "averaged"),
        (lambda A, q, t: np.rad2deg(whole_borders(A, q, t)), "wbp_scale", "use np.deg2rad"),
        (lambda A, q, t: 2 * whole_borders(A, q, t), "wbp_scale", "half a turn, π: from below"),
        (lambda A, q, t: whole_borders(A, q, t) / 2, "wbp_scale", "yours for a quarter"),
        (lambda A, q, t: 3 * whole_borders(A, q, t), "wbp_scale", "3 times as much"),
        (equal, "wbp_shares", "All tilts get the same"),
        (pi_over_n, "wbp_shares", "The wedge is nobody's"),
        (unsorted, "wbp_shares", "sort the tilts"),
        (lambda A, q, t: np.maximum(whole_borders(A, q, t), 0), "wbp_shares", "clip nothing"),
    ],
    ids=["mean", "degrees", "2π", "π/2", "factor", "equal", "π/n", "unsorted", "clipped"],
)
def test_a_wrong_weight_is_named_and_charged_once(backproject, charged, words):
    assert_charged(backproject, charged, words, WBP)


def test_a_slice_cut_off_at_5_is_found():
    def cut_off(A, filtered, tilts_deg):
        return np.minimum(whole_borders(A, filtered, tilts_deg), 5)

    assert all(check(name, cut_off) for name in WBP)


def test_images_that_are_only_added_up_lack_both_scale_and_shares():
    def added(A, filtered, tilts_deg):
        return A.T @ filtered.ravel()

    assert "images are added up" in check("wbp_scale", added)
    assert "each tilt gets its step" in check("wbp_shares", added)


def test_a_slice_of_zeros_is_told_so():
    def nothing(A, filtered, tilts_deg):
        return np.zeros(A.shape[1])

    assert all("othing was back-projected" in check(name, nothing) for name in WBP)


# --------------------------------------------------------------------------------------------------- the window


def hann(k, end):
    return np.cos(np.pi * np.minimum(k / end, 1) / 2) ** 2


@cache
def spectrum():
    """Frequencies, mean |transform|² of noise-free images, and their mean sum, of ten slices."""
    geometry = TiltGeometry(linear_tilts(75, 3), (48, 48, 1), n_rows=64)
    images = np.concatenate([grading.random_slice(geometry, seed)[1] for seed in range(10)])
    signal = np.mean(np.abs(np.fft.rfft(images, 256, axis=1)) ** 2, axis=0)
    return np.fft.rfftfreq(256), signal, images.sum(axis=1).mean()


def where_signal_equals_noise(k, dose, *, shared=True):
    """A Hann window that is one half there; neighbouring images share what they all show."""
    frequency, signal, total = spectrum()
    noise = total / dose * (np.minimum(1, frequency * 48 * np.deg2rad(3)) if shared else 1)
    return hann(k, 2 * frequency[signal > noise].max())


def sharp(k, end):
    return (k <= end).astype(float)


@pytest.mark.parametrize(
    "window",
    [
        lambda k, dose: where_signal_equals_noise(k, dose),
        lambda k, dose: hann(k, 0.37 * dose**0.22),
        lambda k, dose: sharp(k, 0.18 * dose**0.22),
        lambda k, dose: np.exp(-((k / (0.21 * dose**0.24)) ** 2) / 2),
        lambda k, dose: 1 / (1 + (k / (0.19 * dose**0.24)) ** 4),
    ],
    ids=["from the spectrum", "Hann", "sharp", "Gauss", "Butterworth"],
)
def test_windows_of_any_shape_pass_if_they_move_with_the_dose(window):
    for seed in FEW:
        assert check("wbp_window", window, seed=seed) == ""


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (lambda k, dose: np.ones_like(k), "lets through more"),
        (lambda k, dose: hann(k, 0.3), "lets through less"),
        (lambda k, dose: hann(k, 0.35), ""),
        (lambda k, dose: hann(k, 0.4), "lets through more"),
        (lambda k, dose: sharp(k, 0.17), ""),
        (lambda k, dose: hann(k, 0.37 * dose**-0.22), "lets through more"),
        (lambda k, dose: k, "lets through more"),
        (lambda k, dose: where_signal_equals_noise(k, dose, shared=False), "lets through less"),
    ],
    ids=["none", "0.3", "0.35", "0.4", "sharp", "the wrong way", "the ramp again", "each image by itself"],
)
def test_one_window_for_all_doses_fails(window, words):
    assert check("wbp_window", window, seed=1)
    assert words in check("wbp_window", window)


# ----------------------------------------------------------------------------------------------------- weights


def divided(sums):
    return np.divide(1, sums, out=np.zeros(len(sums)), where=sums > 1e-6)


def by_sums(A):
    return divided(A.sum(axis=1)), divided(A.sum(axis=0))


def by_projecting_ones(A):
    with np.errstate(divide="ignore"):
        R, C = 1 / (A @ np.ones(A.shape[1])), 1 / (A.T @ np.ones(A.shape[0]))
    R[np.isinf(R)] = C[np.isinf(C)] = 0
    return [R.astype(np.float32), C.astype(np.float32)]


@pytest.mark.parametrize("route", [by_sums, by_projecting_ones])
def test_every_right_way_to_the_weights_passes(route):
    for seed in SEEDS:
        assert check("sirt_weights", route, seed=seed) == ""


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (lambda A: by_sums(A)[::-1], "in the other order"),
        (lambda A: (A.sum(axis=1), A.sum(axis=0)), "the sums themselves"),
        (lambda A: tuple(divided((A.multiply(A)).sum(axis=i)) for i in (1, 0)), "sums of squares"),
        (lambda A: tuple(2 * weights for weights in by_sums(A)), "2 times what they should"),
        (lambda A: (np.ones(A.shape[0]), np.ones(A.shape[1])), "meets nothing has R = 1, expected 0"),
        (lambda A: (1 / A.sum(axis=1), 1 / A.sum(axis=0)), "infinite values"),
        (lambda A: by_sums(A)[0], "expected two arrays"),
        (lambda A: None, "expected two arrays"),
    ],
    ids=["exchanged", "sums", "squares", "factor", "ones", "infinite", "one", "none"],
)
def test_wrong_weights_are_named(weights, words):
    assert all(check("sirt_weights", weights, seed=seed) for seed in SEEDS)
    assert words in check("sirt_weights", weights)


# -------------------------------------------------------------------------------------------------- the step


def step(A, x, y, R, C):
    return np.maximum(x + C * (A.T @ (R * (y - A @ x))), 0)


def ray_by_ray_in_float32(A, x, y, R, C):
    """The same with dense rows, one ray after the other; all see the slice of before the step."""
    correction = np.zeros(len(x), np.float32)
    for row, ray, weight in zip(A.toarray().astype(np.float32), y, R, strict=True):
        correction += row * np.float32(weight * (ray - row @ x))
    x = x + C * correction
    x[x < 0] = 0
    return x


def scaled_matrix(A, x, y, R, C):
    """Gradient descent on ‖√R (y − A x)‖² in the variable x/√C."""
    B = A.multiply(np.sqrt(R)[:, None]).multiply(np.sqrt(C)[None, :]).tocsr()
    root = np.sqrt(np.maximum(C, 1e-12))
    u = x / root
    return np.maximum(root * (u + B.T @ (np.sqrt(R) * y - B @ u)), 0)


STEP = ["sirt_step", "sirt_nonnegative"]


@pytest.mark.parametrize("route", [step, ray_by_ray_in_float32, scaled_matrix])
def test_every_right_step_passes(route):
    for seed in SEEDS:
        assert [check(name, route, seed=seed) for name in STEP] == ["", ""]


def free(A, x, y, R, C):
    return x + C * (A.T @ (R * (y - A @ x)))


def moved(correction):
    """A step with another correction, clipped as it should be."""
    return lambda A, x, y, R, C: np.maximum(x + correction(A, y - A @ x, R, C), 0)


def filtered_adjoint(A, r, R, C):
    n_tilts = 12
    return C * (A.T @ multiplied((R * r).reshape(n_tilts, -1), lambda k: 4 * k + 0.1, 2).ravel())


@pytest.mark.parametrize(
    ("mistaken", "charged", "words"),
    [
        (moved(lambda A, r, R, C: C * (A.T @ r)), "sirt_step", "R is missing"),
        (moved(lambda A, r, R, C: A.T @ (R * r)), "sirt_step", "C is missing"),
        (moved(lambda A, r, R, C: A.T @ r / 2000), "sirt_step", "Both weights are missing"),
        (moved(lambda A, r, R, C: -C * (A.T @ (R * r))), "sirt_step", "moves away from the images"),
        (moved(lambda A, r, R, C: 1.5 * C * (A.T @ (R * r))), "sirt_step", "1.5 times as far"),
        (moved(lambda A, r, R, C: C * (A.T @ (R * r)) / 12), "sirt_step", "0.0833 times as far"),
        (moved(filtered_adjoint), "sirt_step", "without a filter"),
        (lambda A, x, y, R, C: step(A, 0 * x, y, R, C), "sirt_step", "is kept by a step"),
        (
            lambda A, x, y, R, C: x + np.maximum(C * (A.T @ (R * (y - A @ x))), 0),
            "sirt_step",
            "it is the slice that is clipped",
        ),
        (lambda *a: np.minimum(step(*a), 5), "sirt_step", "it is cut off at 5"),
        (lambda *a: np.minimum(step(*a), 1), "sirt_step", "it is cut off at 1"),
        (free, "sirt_nonnegative", "voxels are negative after a step"),
        (lambda A, x, y, R, C: np.abs(free(A, x, y, R, C)), "sirt_nonnegative", "not np.abs"),
    ],
    ids=[
        "no R",
        "no C",
        "no weights",
        "sign",
        "relaxed",
        "mean",
        "filtered adjoint",
        "from zero",
        "correction clipped",
        "at most 5",
        "at most 1",
        "never clipped",
        "abs",
    ],
)
def test_a_wrong_step_is_named_and_charged_once(mistaken, charged, words):
    assert_charged(mistaken, charged, words, STEP)


def test_a_step_that_does_nothing_is_no_step():
    assert all("has not changed" in check(name, lambda A, x, *rest: x) for name in STEP)


# ------------------------------------------------------------------------------------------------ the iteration


def run(A, y, n_iter, weights, step):
    R, C = weights(A)
    x, residuals = np.zeros(A.shape[1]), []
    for _ in range(n_iter):
        x = step(A, x, y, R, C)
        residuals.append(np.linalg.norm(y - A @ x))
    return x, residuals


def all_slices_first(A, y, n_iter, weights, step):
    slices = [np.zeros(A.shape[1])]
    while len(slices) <= n_iter:
        slices.append(step(A, slices[-1], y, *weights(A)))
    differences = y[:, None] - A @ np.array(slices[1:]).T
    return [slices[-1].astype(np.float32), np.sqrt(np.sum(differences**2, axis=0))]


@pytest.mark.parametrize("route", [run, all_slices_first])
def test_every_right_iteration_passes(route):
    for seed in SEEDS:
        assert check("sirt_run", route, seed=seed) == ""


def residual_before(A, y, n_iter, weights, step):
    R, C = weights(A)
    x, residuals = np.zeros(A.shape[1]), []
    for _ in range(n_iter):
        residuals.append(np.linalg.norm(y - A @ x))
        x = step(A, x, y, R, C)
    return x, residuals


def other_norm(norm):
    def mistaken(A, y, n_iter, weights, step):
        x, residuals = run(A, y, n_iter, weights, step)
        return x, norm(np.array(residuals), y)

    return mistaken


@pytest.mark.parametrize(
    ("mistaken", "words"),
    [
        (residual_before, "*before* its step"),
        (other_norm(lambda r, y: r**2), "take the root"),
        (other_norm(lambda r, y: r / np.linalg.norm(y)), "divided by ‖y‖"),
        (other_norm(lambda r, y: r / np.sqrt(y.size)), "not weighted, not a mean"),
        (lambda A, y, n, w, s: (run(A, y, n - 1, w, s)[0], run(A, y, n, w, s)[1]), "It is that after"),
        (lambda A, y, n, w, s: run(A, y, n, w, lambda A, x, *rest: s(A, 0 * x, *rest)), "It is that after 1"),
        (
            lambda A, y, n, w, s: run(A, y, n, lambda A: [2 * v for v in w(A)], s),
            "take R and C from `weights`",
        ),
        (lambda A, y, n, w, s: run(A, y, n, w, s)[0], "expected two arrays"),
        (lambda A, y, n, w, s: run(A, y, n + 1, w, s), "expected ("),
    ],
    ids=[
        "previous iterate",
        "squared",
        "relative",
        "mean",
        "one less",
        "from zero",
        "other weights",
        "one",
        "one more",
    ],
)
def test_a_wrong_iteration_is_named(mistaken, words):
    assert all(check("sirt_run", mistaken, seed=seed) for seed in SEEDS)
    assert words in check("sirt_run", mistaken)


# ---------------------------------------------------------------------------------------------------- the stop


def under_the_noise(residuals, images, dose, times=1.0):
    reached = residuals <= times * np.sqrt(images.sum() / dose)
    return int(np.argmax(reached)) + 1 if reached.any() else len(residuals)


def nearest_the_noise(residuals, images, dose):
    variance = np.maximum(images, 0).mean() / dose
    return np.argmin(np.abs(residuals**2 / images.size - variance)) + 1


def known_from_simulations(residuals, images, dose):
    """What was best for other slices whose truth was known: a legitimate use of the truth."""
    return int(np.clip(18 * dose**0.45, 1, 150))


@pytest.mark.parametrize("route", [under_the_noise, nearest_the_noise, known_from_simulations])
def test_rules_that_follow_the_noise_pass(route):
    for seed in SEEDS:
        assert check("sirt_stop", route, seed=seed) == ""


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (lambda r, y, dose: 5, "too early"),
        (lambda r, y, dose: 20, ""),
        (lambda r, y, dose: 28, ""),
        (lambda r, y, dose: 60, "too late"),
        (lambda r, y, dose: len(r), "least at the last iteration"),
        (lambda r, y, dose: int(np.argmin(r)) + 1, "least at the last iteration"),
        (lambda r, y, dose: under_the_noise(r, y, 1), "least at the last iteration"),
        (lambda r, y, dose: under_the_noise(r, y, dose**2), ""),
        (lambda r, y, dose: 0, "from 1 to 150"),
        (lambda r, y, dose: 7.5, "a whole number"),
        (lambda r, y, dose: None, "returned nothing"),
    ],
    ids=["5", "20", "28", "60", "last", "least", "no dose", "dose²", "0", "half", "None"],
)
def test_rules_that_do_not_follow_the_noise_fail(rule, words):
    for seed in FEW:
        assert check("sirt_stop", rule, seed=seed)
    assert words in check("sirt_stop", rule)


def test_the_stopping_rule_is_given_residuals_images_and_dose_but_no_truth():
    given = []

    def rule(*arguments):
        given.append(arguments)
        return under_the_noise(*arguments)

    grading.check_sirt_stop(rule)
    assert len(given) == 9
    for residuals, images, dose in given:
        assert residuals.shape == (150,)
        assert images.shape == (51, 64)
        assert isinstance(dose, float)


# ---------------------------------------------------------------------------------------------------- the rest


def test_a_random_slice_is_what_its_images_show():
    geometry = TiltGeometry(linear_tilts(60, 10), (40, 50, 1), 72)
    for seed in range(20):
        slice_, images = grading.random_slice(geometry, seed)
        np.testing.assert_allclose(images.sum(axis=1), slice_.sum(), rtol=0.03)
        assert slice_.min() == 0
    again, _ = grading.random_slice(geometry, 19)
    np.testing.assert_array_equal(again, slice_)


FIRST = ["ramp", "wbp_scale", "wbp_window", "sirt_weights", "sirt_step", "sirt_run", "sirt_stop"]


@pytest.mark.parametrize("name", [*FIRST, "ramp_ends", "wbp_shares", "sirt_nonnegative"])
def test_a_stub_is_told_to_be_written_and_a_fresh_case_names_its_seed(name):
    def stub(*arguments):
        raise NotImplementedError

    assert "`stub` is not written yet" in check(name, stub)

    def wrong(*arguments):
        raise ValueError("no")

    assert "`wrong` stopped with ValueError: no" in check(name, wrong, seed=None)
    assert "[seed=" in check(name, wrong, seed=None)
