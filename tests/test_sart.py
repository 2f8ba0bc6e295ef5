"""SART: the formula, what it converges to, the order of the tilts, and the operator for one tilt."""

import numpy as np
import pytest

from etlab.forward import Mismatch, TiltSeriesModel
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.projector import Projector
from etlab.reference import sparse_matrix
from etlab.solvers import sart, sirt
from etlab.solvers._sart import golden_order


@pytest.fixture
def small():
    A = Projector(TiltGeometry(linear_tilts(70, 10), (9, 10, 12), 14))
    rng = np.random.default_rng(0)
    return A, rng.random(A.geometry.volume_shape, dtype=np.float32)


@pytest.mark.parametrize("tilts", [[4], [-1], [0, 3, 9], slice(2, 12), slice(None)])
@pytest.mark.parametrize("nx", [3, 12, 130])
@pytest.mark.parametrize("kind", ["projector", "model"])
def test_an_operator_for_some_tilts_is_those_rows_of_the_whole(kind, nx, tilts):
    geometry = TiltGeometry(linear_tilts(70, 10), (9, 70, nx), 75)
    mismatch = Mismatch(0.5, 0.3, 10)
    whole = Projector(geometry) if kind == "projector" else TiltSeriesModel(geometry, mismatch=mismatch)
    some = whole.subset(tilts)
    rng = np.random.default_rng(1)
    volume = rng.standard_normal(geometry.volume_shape, dtype=np.float32)
    images = rng.standard_normal(some.geometry.images_shape, dtype=np.float32)
    elsewhere_zero = np.zeros(geometry.images_shape, np.float32)
    elsewhere_zero[tilts] = images
    np.testing.assert_allclose(some(volume), whole(volume)[tilts], atol=2e-5)
    np.testing.assert_allclose(some.T(images), whole.T(elsewhere_zero), atol=2e-5)
    assert some.dot_test() < 1e-6


@pytest.mark.parametrize("nonnegative", [False, True])
def test_one_tilt_updates_a_volume_in_place(nonnegative):
    A = Projector(TiltGeometry([0.0, 33.0], (9, 70, 20), 75)).subset([1])
    rng = np.random.default_rng(2)
    volume = rng.standard_normal(A.geometry.volume_shape, dtype=np.float32)
    images = rng.standard_normal(A.geometry.images_shape, dtype=np.float32)
    scale = rng.random((9, 70)).astype(np.float32)
    expected = volume + scale[:, :, None] * A.T(images)
    A.step(volume, images, scale, nonnegative=nonnegative)
    np.testing.assert_allclose(volume, np.maximum(expected, 0) if nonnegative else expected, atol=1e-5)


def test_threads_do_not_change_a_bit_of_one_tilt():
    geometry = TiltGeometry([0.0, -50.0], (100, 300, 140))  # large enough for threads
    volume = np.random.default_rng(3).random(geometry.volume_shape, dtype=np.float32)
    one, three = (Projector(geometry, n_threads=n).subset([1]) for n in (1, 3))
    np.testing.assert_array_equal(one(volume), three(volume))
    np.testing.assert_array_equal(one.T(one(volume)), three.T(one(volume)))


def test_sweeps_follow_the_formula(small):
    A, truth = small
    y, order, relaxation = A(truth), [3, 0, 1, 2, *range(4, 15)], 0.7
    matrices = [sparse_matrix(TiltGeometry([t], (9, 10, 1), 14)).toarray() for t in A.geometry.tilts_deg]
    largest = np.max([m.sum(0) for m in matrices], axis=0)[:, None]
    x = np.zeros((90, 12))
    for _ in range(2):
        for t in order:
            sums = matrices[t].sum(1)[:, None]
            weight = np.divide(1, sums, out=np.zeros_like(sums), where=sums > 1e-6)
            x = x + relaxation / largest * (matrices[t].T @ (weight * (y[t] - matrices[t] @ x)))
    found = sart(A, y, n_iter=2, relaxation=relaxation, order=order, nonnegative=False)
    np.testing.assert_allclose(found, x.reshape(truth.shape), atol=1e-5)


def test_consistent_images_are_explained_exactly_in_the_end():
    A = Projector(TiltGeometry(np.arange(-90, 90, 12.0), (3, 3, 1), 7))
    truth = np.random.default_rng(4).standard_normal((3, 3, 1))
    y = A(truth)
    expected = np.linalg.lstsq(sparse_matrix(A.geometry).toarray(), y.ravel(), rcond=None)[0]
    found = sart(A, y, n_iter=500, relaxation=1, nonnegative=False)
    np.testing.assert_allclose(found.ravel(), expected, atol=2e-4)


def test_with_noise_a_smaller_relaxation_ends_nearer_to_weighted_least_squares():
    A = Projector(TiltGeometry(np.arange(-90, 90, 12.0), (3, 3, 1), 7))
    y = A(np.ones((3, 3, 1))) + np.random.default_rng(5).standard_normal(A.geometry.images_shape)
    limit = sirt(A, y, n_iter=1500, nonnegative=False)  # R-weighted, like SART for β → 0
    far, near = (
        np.linalg.norm(sart(A, y, n_iter=n, relaxation=b, nonnegative=False) - limit)
        for b, n in ((0.5, 150), (0.02, 2500))
    )
    assert near < 0.15 * far
    assert near < 0.05 * np.linalg.norm(limit)


def test_a_sweep_does_the_work_of_many_sirt_iterations(small):
    A, truth = small
    y = A(truth)
    swept, steps = sart(A, y, n_iter=2, relaxation=0.5), sirt(A, y, n_iter=6)
    assert np.linalg.norm(A(swept) - y) < np.linalg.norm(A(steps) - y)


def test_the_default_order_visits_every_tilt_and_jumps_far():
    tilts = np.random.default_rng(6).permutation(linear_tilts(70, 2))
    order = golden_order(tilts)
    assert sorted(order) == list(range(71))
    assert np.abs(np.diff(tilts[order])).min() > 40


def test_order_matters_while_it_converges(small):
    A, truth = small
    y = A(truth)
    spread, in_turn = (
        sart(A, y, n_iter=1, relaxation=0.5, order=o)
        for o in (golden_order(A.geometry.tilts_deg), np.arange(15))
    )
    assert np.linalg.norm(spread - truth) < np.linalg.norm(in_turn - truth)


def test_nonnegativity_is_a_choice(small):
    A, truth = small
    y = A(truth - 0.5)
    assert sart(A, y, n_iter=2).min() >= 0
    assert sart(A, y, n_iter=2, nonnegative=False).min() < 0


def test_a_start_continues_where_the_last_run_ended_and_is_not_changed(small):
    A, truth = small
    y = A(truth)
    first = sart(A, y, n_iter=2)
    kept = first.copy()
    np.testing.assert_allclose(sart(A, y, n_iter=1, x0=first), sart(A, y, n_iter=3), atol=1e-6)
    np.testing.assert_array_equal(first, kept)


def test_callback_hears_of_each_sweep_and_can_stop(small, capsys):
    A, truth = small
    seen = []

    def stop_at_two(status):
        seen.append(status.residual)
        return status.iteration == 2

    stopped = sart(A, A(truth), n_iter=50, callback=stop_at_two, progress=True)
    assert len(seen) == 2
    assert seen[1] < seen[0] < 1
    assert "SART" in capsys.readouterr().err
    np.testing.assert_array_equal(stopped, sart(A, A(truth), n_iter=2))


def test_a_model_with_mismatch_is_solved_like_a_projector():
    geometry = TiltGeometry(linear_tilts(70, 5), (16, 24, 24), 32)
    H = TiltSeriesModel(geometry, mismatch=Mismatch(1.0, 2.0, 20.0))
    truth = np.zeros(geometry.volume_shape, np.float32)
    truth[5:11, 8:16, 8:16] = 1
    found = sart(H, H(truth), n_iter=10)
    assert np.linalg.norm(H(found) - H(truth)) < 0.05 * np.linalg.norm(H(truth))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(n_iter=0), "n_iter: got 0"),
        (dict(relaxation=0), "relaxation: got 0"),
        (dict(relaxation=2), "relaxation: got 2"),
        (dict(relaxation=np.nan), "relaxation: got nan"),
        (dict(order=[0, 1]), "order: got .*from 0 to 14 once"),
        (dict(x0=np.zeros((2, 2, 2))), "x0: got shape"),
    ],
)
def test_options_that_make_no_sense_are_refused(small, options, message):
    A, truth = small
    with pytest.raises(ValueError, match=message):
        sart(A, A(truth), **options)


def test_images_are_checked(small):
    A, _ = small
    y = np.ones(A.geometry.images_shape)
    y[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="images: got 1 NaN"):
        sart(A, y)
    with pytest.raises(ValueError, match="images: got shape"):
        sart(A, y[1:])
