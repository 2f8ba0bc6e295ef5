"""SIRT: the formula, its limit, its options."""

import tracemalloc

import numpy as np
import pytest

from etlab.geometry import TiltGeometry, linear_tilts
from etlab.projector import Projector
from etlab.reference import sparse_matrix
from etlab.solvers import sirt


class Opaque:
    """An operator that offers nothing but A and Aᵀ."""

    def __init__(self, operator):
        self._operator, self.geometry = operator, operator.geometry

    def __call__(self, volume):
        return self._operator(volume)

    def T(self, images):
        return self._operator.T(images)


@pytest.fixture
def small():
    A = Projector(TiltGeometry(linear_tilts(70, 10), (9, 10, 12), 14))
    rng = np.random.default_rng(0)
    return A, rng.random(A.geometry.volume_shape, dtype=np.float32)


def test_iterations_follow_the_formula(small):
    A, truth = small
    y = A(truth)
    matrix = sparse_matrix(A.geometry)
    with np.errstate(divide="ignore"):
        rows, columns = (
            np.where(s > 1e-6, 1 / s, 0)[:, None] for s in (np.asarray(matrix.sum(axis=k)) for k in (1, 0))
        )
    x, b = np.zeros((90, 12)), y.reshape(-1, 12)
    for _ in range(7):
        x = x + columns * (matrix.T @ (rows * (b - matrix @ x)))
    np.testing.assert_allclose(sirt(A, y, n_iter=7, nonnegative=False), x.reshape(truth.shape), atol=1e-5)


def test_it_converges_to_the_weighted_least_squares_solution():
    A = Projector(TiltGeometry(np.arange(-90, 90, 12.0), (5, 5, 1), 9))
    matrix = sparse_matrix(A.geometry).toarray()
    y = np.random.default_rng(1).standard_normal(A.geometry.images_shape)
    root = np.sqrt(np.divide(1, matrix.sum(1), out=np.zeros(len(matrix)), where=matrix.sum(1) > 1e-6))
    expected = np.linalg.lstsq(root[:, None] * matrix, root * y.ravel(), rcond=None)[0]
    x = sirt(A, y, n_iter=5000, nonnegative=False).ravel()
    np.testing.assert_allclose(x, expected, atol=2e-3)


def test_the_residual_never_grows(small):
    A, truth = small
    noisy = A(truth) + np.random.default_rng(2).standard_normal(A.geometry.images_shape).astype(np.float32)
    residuals = []
    sirt(A, noisy, n_iter=40, nonnegative=False, callback=lambda s: residuals.append(s.residual))
    weighted = np.diff(residuals)
    assert residuals[0] == pytest.approx(1)
    assert (weighted < 1e-6).all()


def test_an_operator_with_only_A_and_its_transpose_gives_the_same(small):
    A, truth = small
    y = A(truth)
    np.testing.assert_allclose(sirt(Opaque(A), y, n_iter=5), sirt(A, y, n_iter=5), atol=1e-5)


def test_nonnegativity_is_a_choice(small):
    A, truth = small
    y = A(truth - 0.5)
    assert sirt(A, y, n_iter=5).min() >= 0
    assert sirt(A, y, n_iter=5, nonnegative=False).min() < 0


def test_a_start_continues_where_the_last_run_ended_and_is_not_changed(small):
    A, truth = small
    y = A(truth)
    first = sirt(A, y, n_iter=4)
    kept = first.copy()
    np.testing.assert_allclose(sirt(A, y, n_iter=3, x0=first), sirt(A, y, n_iter=7), atol=1e-6)
    np.testing.assert_array_equal(first, kept)


def test_callback_is_told_each_iteration_and_can_stop(small):
    A, truth = small
    seen = []

    def stop_at_three(status):
        seen.append(status.iteration)
        assert status.volume.shape == truth.shape
        return status.iteration == 3

    stopped = sirt(A, A(truth), n_iter=50, callback=stop_at_three)
    assert seen == [1, 2, 3]
    np.testing.assert_array_equal(stopped, sirt(A, A(truth), n_iter=3))


def test_rows_that_no_voxel_reaches_do_no_harm():
    A = Projector(TiltGeometry(linear_tilts(60, 20), (6, 6, 8), 60))
    x = sirt(A, np.ones(A.geometry.images_shape), n_iter=3)
    assert np.isfinite(x).all()


def test_memory_grows_only_by_the_volume_and_one_residual():
    def peak(nx):
        A = Projector(TiltGeometry(linear_tilts(60, 5), (48, 48, nx)))
        y = np.ones(A.geometry.images_shape, np.float32)
        tracemalloc.start()
        sirt(A, y, n_iter=2)
        traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return traced, 4 * np.prod(A.geometry.volume_shape) + y.nbytes

    peak(64)  # compiled and imported
    # the least of three: what other threads of the process allocate meanwhile is counted, too; and so large that one
    # percent of it is more than Python's own objects, some 100 kB, which come and go
    (small_peak, small_data), (large_peak, large_data) = (
        min(peak(nx) for _ in range(3)) for nx in (128, 1536)
    )
    assert large_peak - small_peak < 1.01 * (large_data - small_data)


def test_progress_bar_is_off_by_default_and_on_when_asked(small, capsys):
    A, truth = small
    sirt(A, A(truth), n_iter=2)
    assert capsys.readouterr().err == ""
    sirt(A, A(truth), n_iter=2, progress=True)
    assert "SIRT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [(dict(n_iter=0), "n_iter: got 0"), (dict(x0=np.zeros((2, 2, 2))), "x0: got shape")],
)
def test_options_that_make_no_sense_are_refused(small, options, message):
    A, truth = small
    with pytest.raises(ValueError, match=message):
        sirt(A, A(truth), **options)
