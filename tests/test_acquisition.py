"""Acquisition: dose, two axes, drift, backlash, damage."""

import numpy as np
import pytest

from etlab.acquisition import (
    DualAxis,
    Turned,
    accumulated_dose,
    backlash,
    damaged,
    dose_weights,
    drift,
    shifted,
)
from etlab.forward import Detector, Mismatch, TiltSeriesModel
from etlab.geometry import TiltGeometry, bidirectional_order, dose_symmetric_order, linear_tilts
from etlab.projector import Projector
from etlab.solvers import sart, sirt, wbp

TILTS = linear_tilts(60, 10)
UPWARDS = np.arange(TILTS.size)


def blob(shape, centre, sigma=2.0):
    axes = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij", sparse=True)
    return np.exp(-sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True)) / (2 * sigma**2)).astype("f4")


def centroid(image):
    axes = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in image.shape), indexing="ij")
    return [float((axis * image).sum() / image.sum()) for axis in axes]


# dose


@pytest.mark.parametrize("law", ["even", "1/cos"])
def test_the_total_dose_is_the_same_for_every_law(law):
    assert dose_weights(TILTS, law=law).sum() == pytest.approx(TILTS.size)


def test_the_dose_follows_the_path_through_a_flat_specimen():
    weights = dose_weights(TILTS, law="1/cos")
    assert weights[-1] == pytest.approx(2 * weights[TILTS == 0][0])  # 1/cos 60° = 2
    assert (dose_weights(TILTS) == 1).all()


def test_noise_falls_where_the_dose_is_spent():
    flat = np.full((TILTS.size, 100, 100), 2.0, np.float32)
    noisy = Detector().expose(flat, 0, dose_weights=dose_weights(TILTS, law="1/cos"))
    assert noisy[0].var() == pytest.approx(noisy[TILTS == 0].var() / 2, rel=0.08)


@pytest.mark.parametrize(("tilts", "law"), [(TILTS, "cos"), ([0, 90], "1/cos"), ([0, np.nan], "1/cos")])
def test_an_unknown_law_or_a_tilt_along_the_film_is_refused(tilts, law):
    with pytest.raises(ValueError, match=r"law: got|tilts_deg: got"):
        dose_weights(tilts, law=law)


# two axes


def model(tilts=TILTS, shape=(10, 18, 18), n_rows=24, **options):
    return TiltSeriesModel(TiltGeometry(tilts, shape, n_rows), **options)


PAIRS = [
    lambda: (
        Projector(TiltGeometry(TILTS, (10, 18, 18), 24)),
        Projector(TiltGeometry([0, 5], (10, 18, 18), 24)),
    ),
    lambda: (model(mismatch=Mismatch(1, 2, 9)), model(TILTS[::2], mismatch=Mismatch(-1, 0.5, -3))),
    lambda: (Projector(TiltGeometry(TILTS, (10, 18, 18), 24)), model(mismatch=Mismatch(1, 2, 9))),
]


@pytest.mark.parametrize("pair", PAIRS)
def test_dual_axis_has_an_exact_adjoint(pair):
    A = DualAxis(*pair())
    assert A.geometry.images_shape == A(np.ones(A.geometry.volume_shape, np.float32)).shape
    assert A.dot_test() <= 1e-6


def test_the_specimen_turns_counter_clockwise_before_the_second_series():
    A = DualAxis(model([0.0], (9, 31, 31), 31, optics=None), model([0.0, 40.0], (9, 31, 31), 31, optics=None))
    images = A(blob((9, 31, 31), (0, 3, 7)))
    assert centroid(images[0]) == pytest.approx([3, 7], abs=1e-3)
    assert centroid(images[1]) == pytest.approx([7, -3], abs=1e-3)  # +x has gone to +row, +row to −x
    assert centroid(images[2]) == pytest.approx([7 * np.cos(np.deg2rad(40)), -3], abs=0.02)


@pytest.mark.parametrize("pair", PAIRS)
def test_sums_of_both_series_are_those_of_ones(pair):
    first, second = pair()
    rows, columns = DualAxis(first, second).sums()
    (rows1, columns1), (rows2, columns2) = first.sums(), second.sums()
    n = first.geometry.n_tilts
    assert rows.shape == (n + second.geometry.n_tilts, 24, 18)
    np.testing.assert_allclose(rows[:n], np.broadcast_to(rows1, rows[:n].shape))
    np.testing.assert_allclose(rows[n:], np.broadcast_to(rows2, rows[n:].shape))
    turned = np.rot90(np.broadcast_to(columns2, (10, 18, 18)), 1, axes=(1, 2))
    np.testing.assert_allclose(columns, np.broadcast_to(columns1, (10, 18, 18)) + turned)


@pytest.mark.parametrize("tilts", [[2], [15], [0, 3, 14], slice(None, None, 4), np.arange(20) > 12])
def test_a_subset_of_both_series_sees_the_same_images(tilts):
    A = DualAxis(*PAIRS[1]())
    volume = np.random.default_rng(0).random(A.geometry.volume_shape, np.float32)
    some = A.subset(tilts)
    np.testing.assert_allclose(some(volume), A(volume)[tilts], atol=2e-5)
    assert some.dot_test() <= 1e-6


def test_a_subset_out_of_order_is_refused():
    with pytest.raises(ValueError, match="first, second"):
        DualAxis(*PAIRS[1]()).subset([15, 2])


def test_a_second_axis_fills_most_of_the_missing_wedge():
    # An elongated rod along x is what a single series about x sees worst across the beam.
    shape = (24, 32, 32)
    volume = np.zeros(shape, np.float32)
    volume[10:13, 4:28, 14:17] = 1  # a rod along y, at right angles to the first tilt axis
    A = Projector(TiltGeometry(linear_tilts(60, 5), shape, 40))
    B = DualAxis(A, A)
    one, both = sirt(A, A(volume), n_iter=30), sirt(B, B(volume), n_iter=30)
    assert np.linalg.norm(both - volume) < 0.75 * np.linalg.norm(one - volume)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("solver", [sirt, sart])
def test_every_iterative_solver_takes_two_axes(solver, pair):
    A = DualAxis(*pair())
    images = A(blob(A.geometry.volume_shape, (1, 2, -3)))
    assert np.linalg.norm(images - A(solver(A, images, n_iter=15))) < 0.1 * np.linalg.norm(images)


def test_weighted_back_projection_of_two_axes_is_the_mean_of_the_two():
    A = Projector(TiltGeometry(TILTS, (10, 18, 18), 24))
    B = DualAxis(A, A)
    images = B(blob((10, 18, 18), (1, 2, -3)))
    one, other = wbp(A, images[: TILTS.size]), wbp(Turned(A), images[TILTS.size :])
    np.testing.assert_allclose(wbp(B, images), (one + other) / 2, atol=1e-5)


def test_two_series_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"second: got volume_shape \(8, 18, 18\)"):
        DualAxis(model(), model(shape=(8, 18, 18)))
    with pytest.raises(ValueError, match=r"second: got images of \(30, 18\)"):
        DualAxis(model(), model(n_rows=30))
    with pytest.raises(ValueError, match=r"operator: got volume_shape \(10, 18, 20\)"):
        DualAxis(model(shape=(10, 18, 20)), model(shape=(10, 18, 20)))
    A = DualAxis(model(), model())
    with pytest.raises(ValueError, match="images: got shape"):
        A.T(np.ones(model().geometry.images_shape, np.float32))
    with pytest.raises(ValueError, match="volume: got shape"):
        A(np.ones((10, 18, 19), np.float32))


# drift


def test_drift_walks_in_the_order_of_acquisition():
    order = dose_symmetric_order(TILTS)
    shifts = drift(order, 3, step_px=0.5)
    assert shifts.shape == (TILTS.size, 2) and not shifts[order[0]].any()
    np.testing.assert_allclose(shifts[order], drift(UPWARDS, 3, step_px=0.5))


def test_drift_steps_have_the_size_asked_for():
    shifts = drift(np.arange(5000), 0, step_px=0.3)
    np.testing.assert_allclose(np.diff(shifts, axis=0).std(axis=0), 0.3, rtol=0.04)


def test_shifts_move_the_content_up_and_to_the_right():
    images = np.stack([blob((30, 37), (0, 0)), blob((30, 37), (-3, 4))])
    moved = shifted(images, [[2.3, -5.6], [0, 0.5]])
    assert centroid(moved[0]) == pytest.approx([2.3, -5.6], abs=1e-3)
    assert centroid(moved[1]) == pytest.approx([-3, 4.5], abs=1e-3)


def test_a_shift_of_whole_pixels_is_exact_and_nothing_comes_round():
    image = np.random.default_rng(0).standard_normal((1, 12, 13)).astype(np.float32)
    moved = shifted(image, [[3, -4]])[0]
    np.testing.assert_allclose(moved[3:, :-4], image[0, :-3, 4:], atol=1e-5)
    np.testing.assert_allclose(moved[:3], 0, atol=1e-5)
    np.testing.assert_allclose(moved[:, -4:], 0, atol=1e-5)


# the stage


def test_a_single_sweep_has_no_backlash():
    np.testing.assert_array_equal(backlash(TILTS, UPWARDS, play_deg=0.5), TILTS)
    np.testing.assert_array_equal(backlash(TILTS, UPWARDS[::-1], play_deg=0.5), TILTS)


def test_the_way_back_stops_short():
    actual = backlash(TILTS, bidirectional_order(TILTS), play_deg=0.5)
    np.testing.assert_allclose(actual - TILTS, np.where(TILTS < 0, 0.5, 0))


def test_a_dose_symmetric_series_alternates():
    order = dose_symmetric_order(TILTS)  # 0, +10, then −10, −20, then +20, +30, then …
    actual = backlash(TILTS, order, play_deg=0.3)[order] - TILTS[order]
    np.testing.assert_allclose(actual[:6], [0, 0, 0.3, 0.3, 0, 0])


def test_a_stage_that_does_not_move_keeps_its_angle():
    tilts = np.array([0.0, 10, 0, 0, 10])
    np.testing.assert_allclose(backlash(tilts, np.arange(5), play_deg=1), [0, 10, 1, 1, 10])


# the beam


def test_dose_accumulates_in_the_order_of_acquisition():
    order = dose_symmetric_order(TILTS)
    share = accumulated_dose(dose_weights(TILTS), order)
    assert (np.diff(share[order]) > 0).all()
    assert share[order[0]] == pytest.approx(0.5 / TILTS.size)
    assert share[order[-1]] == pytest.approx(1 - 0.5 / TILTS.size)


def test_mass_is_lost_with_dose_and_features_spread():
    images = np.repeat(blob((40, 40), (0, 0), 3.0)[None], 3, axis=0)
    left = damaged(images, [0, 0.25, 1], mass_loss=0.2, blur_px=2.0)
    np.testing.assert_allclose(left[0], images[0], atol=1e-6)
    np.testing.assert_allclose(
        left.sum(axis=(1, 2)) / images[0].sum(), 0.8 ** np.array([0, 0.25, 1]), rtol=1e-4
    )
    axis = np.arange(40) - 19.5
    variance = (left.sum(axis=1) * axis**2).sum(axis=1) / left.sum(axis=(1, 2))
    np.testing.assert_allclose(variance - variance[0], [0, 1, 4], atol=0.02)


def test_damage_changes_with_the_order_of_acquisition():
    images = np.ones((TILTS.size, 8, 8), np.float32)
    weights = dose_weights(TILTS)
    sweep, symmetric = (
        damaged(images, accumulated_dose(weights, order)) for order in (UPWARDS, dose_symmetric_order(TILTS))
    )
    low = np.abs(TILTS) <= 10
    assert symmetric[low].mean() > sweep[low].mean()


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: drift([0, 0, 1], 0), r"order: got \[0, 0, 1\]"),
        (lambda: drift(UPWARDS, 0, step_px=-1), "step_px: got -1"),
        (lambda: shifted(np.ones((2, 4, 4)), [[1, 1]]), r"shifts: got shape \(1, 2\)"),
        (lambda: shifted(np.ones((1, 4, 4)), [[1, np.nan]]), "shifts.*finite"),
        (lambda: backlash(TILTS, UPWARDS[:-1], play_deg=0.1), "order: got"),
        (lambda: backlash(TILTS, UPWARDS, play_deg=-0.1), "play_deg: got -0.1"),
        (lambda: accumulated_dose([1, 1], [0, 2]), r"order: got \[0, 2\]"),
        (lambda: damaged(np.ones((1, 4, 4)), [0.1, 0.2]), r"accumulated: got shape \(2,\)"),
        (lambda: damaged(np.ones((1, 4, 4)), [2.0]), r"accumulated.*0 … 1"),
        (lambda: damaged(np.ones((1, 4, 4)), [0.5], mass_loss=1), "mass_loss: got 1"),
        (lambda: damaged(np.ones((1, 4, 4)), [0.5], blur_px=-1), "blur_px: got -1"),
    ],
)
def test_impossible_faults_name_the_argument_and_what_came(call, named):
    with pytest.raises(ValueError, match=named):
        call()
