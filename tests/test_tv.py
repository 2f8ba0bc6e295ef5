"""Total variation: closed forms, limits, the condition of optimality, and what λ means."""

import tracemalloc

import numpy as np
import pytest
import scipy.fft
import scipy.sparse.linalg
from skimage.restoration import denoise_tv_chambolle

from etlab.forward import Mismatch, TiltSeriesModel
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.projector import Projector
from etlab.reference import sparse_matrix
from etlab.solvers import tv
from etlab.solvers._tv import image_ramp, ramped_norm
from etlab.solvers.tv_kernels import dual_step, primal_step

CONVERGED = dict(n_iter=1000, tol=0)
IDENTITY = Projector(
    TiltGeometry([0.0], (1, 12, 10))
)  # one plane seen from above: A x = x, so tv is denoising


@pytest.fixture
def small():
    A = Projector(TiltGeometry(linear_tilts(70, 10), (9, 10, 12), 14), n_threads=1)
    rng = np.random.default_rng(0)
    return A, rng.random(A.geometry.volume_shape, dtype=np.float32)


def gradient(volume):
    result = np.zeros((3, *volume.shape))
    for axis in range(3):
        inner = [slice(None)] * 3
        inner[axis] = slice(-1)
        result[(axis, *inner)] = np.diff(volume, axis=axis)
    return result


def objective(A, y, x, lam):
    misfit = np.asarray(A(x.astype(np.float32)) - y, np.float64)
    return (misfit**2).sum() / 2 + lam * len(y) * np.sqrt((gradient(x) ** 2).sum(0)).sum()


def test_a_step_loses_the_height_that_the_closed_form_says():
    y = np.zeros((1, 12, 10))
    y[:, :4], y[:, 4:] = 1, 3
    x = tv(IDENTITY, y, lam=0.6, **CONVERGED)
    # each side moves towards the other by λ over the number of its rows
    np.testing.assert_allclose(x[0, :4], 1 + 0.6 / 4, atol=1e-4)
    np.testing.assert_allclose(x[0, 4:], 3 - 0.6 / 8, atol=1e-4)


def test_denoising_equals_that_of_scikit_image():
    y = 2 + np.random.default_rng(1).standard_normal((1, 12, 10)) / 2
    expected = denoise_tv_chambolle(y[0], weight=0.3, eps=0, max_num_iter=20000)
    np.testing.assert_allclose(tv(IDENTITY, y, lam=0.3, n_iter=10000, tol=0)[0], expected, atol=3e-3)


def test_without_regularisation_it_is_least_squares():
    A = Projector(TiltGeometry(np.arange(-90, 90, 12.0), (5, 5, 1), 9), n_threads=1)
    y = np.random.default_rng(2).standard_normal(A.geometry.images_shape)
    expected = np.linalg.lstsq(sparse_matrix(A.geometry).toarray(), y.ravel(), rcond=None)[0]
    x = tv(A, y, lam=1e-7, nonnegative=False, n_iter=2000, tol=0)
    np.testing.assert_allclose(x.ravel(), expected, atol=1e-3)


def test_with_all_regularisation_it_is_the_best_constant(small):
    A, truth = small
    y = A(truth)
    flat = A(np.ones_like(truth))
    x = tv(A, y, lam=10, **CONVERGED)
    np.testing.assert_allclose(x, np.vdot(flat, y) / np.vdot(flat, flat), rtol=1e-3)


def test_a_constant_volume_is_returned_whatever_lambda(small):
    A, truth = small
    y = A(np.full_like(truth, 0.7))
    for lam in (0.01, 1.0):
        np.testing.assert_allclose(tv(A, y, lam=lam, **CONVERGED), 0.7, atol=1e-3)


def test_the_result_is_a_fixed_point_of_forward_and_backward_steps(small):
    # x minimises f + g exactly if x = prox_g(x − ∇f(x)), and for g = TV scikit-image knows the prox
    A, truth = small
    y = A(truth + 1) + np.random.default_rng(3).standard_normal(A.geometry.images_shape).astype(np.float32)
    lam, step = 0.1, 0.01
    x = tv(A, y, lam=lam, nonnegative=False, **CONVERGED).astype(np.float64)
    forward = x - step * A.T(A(x) - y)
    backward = denoise_tv_chambolle(forward, weight=step * lam * len(y), eps=0, max_num_iter=3000)
    assert np.abs(forward - x).max() > 0.02
    np.testing.assert_allclose(backward, x, atol=2e-3)


def test_the_duality_gap_closes_with_nonnegativity(small):
    A, truth = small
    y = A(truth - 0.5) + np.random.default_rng(4).standard_normal(A.geometry.images_shape).astype(np.float32)
    lam = 0.1
    x = tv(A, y, lam=lam, **CONVERGED).astype(np.float64)
    assert 0.1 < (x == 0).mean() < 0.9  # the bound is active, but not everywhere
    down = A.T(A(x) - y).astype(np.float64)
    p, bound = np.zeros((3, *x.shape)), lam * len(y)
    for _ in range(
        6000
    ):  # the field that proves it: |p| ≤ λ, Aᵀr + ∇ᵀp ≥ 0, 0 where x > 0, by projected gradient
        excess = down + transposed_gradient(p)
        excess = np.where(x > 0, excess, np.minimum(excess, 0))
        p -= gradient(excess) / 12
        p /= np.maximum(1, np.sqrt((p**2).sum(0)) / bound)
    assert np.abs(excess).max() < 0.01 * np.abs(down).max()
    gap = np.vdot(x, down) + bound * np.sqrt((gradient(x) ** 2).sum(0)).sum()
    assert abs(gap) < 2e-3 * objective(A, y, x, lam)


def transposed_gradient(p):
    result = np.zeros(p.shape[1:])
    for axis in range(3):
        component = np.moveaxis(p[axis], axis, 0)
        target = np.moveaxis(result, axis, 0)
        target[:-1] -= component[:-1]
        target[1:] += component[:-1]
    return result


def test_no_other_volume_has_a_smaller_objective(small):
    A, truth = small
    y = A(truth) + np.random.default_rng(5).standard_normal(A.geometry.images_shape).astype(np.float32)
    x = tv(A, y, lam=0.05, **CONVERGED).astype(np.float64)
    least = objective(A, y, x, 0.05)
    rng = np.random.default_rng(6)
    others = [x * 1.01, x * 0.99, x + 0.01, np.roll(x, 1, 0), truth]
    others += [np.maximum(x + 0.01 * rng.standard_normal(x.shape), 0) for _ in range(5)]
    others += [x + 0.02 * (np.arange(x.size) == i).reshape(x.shape) for i in range(0, x.size, 97)]
    assert all(objective(A, y, other, 0.05) > least for other in others)


@pytest.mark.parametrize("step_deg", [6.0, 15.0])  # the same for any number of tilts
@pytest.mark.parametrize(("radius", "lam"), [(6, 1.6), (9, 1.6), (9, 3.2)])
def test_the_centre_of_a_ball_loses_the_contrast_that_lambda_says(radius, lam, step_deg):
    n = 32
    c = np.arange(n) - (n - 1) / 2
    distance = np.sqrt(c[:, None, None] ** 2 + c[:, None] ** 2 + c**2)
    ball = np.clip(radius + 0.5 - distance, 0, 1)
    A = Projector(TiltGeometry(np.arange(-90, 90, step_deg), (n, n, n), 48))
    x = tv(A, A(ball), lam=lam, n_iter=150, tol=0)
    assert 1 - x[distance < radius / 2].mean() == pytest.approx(2 * lam / radius**2, rel=0.3)


def test_kernels_are_gradient_and_transposed_gradient():
    rng = np.random.default_rng(7)
    volume = rng.standard_normal((4, 5, 6), dtype=np.float32)
    p, unbounded = np.zeros((3, 4, 5, 6), np.float32), np.float32(1e6)
    dual_step(0, 4, volume, p, np.float32(0.5), unbounded)
    np.testing.assert_allclose(p, 0.5 * gradient(volume), atol=1e-6)
    new, slope, sums = volume.copy(), np.zeros_like(volume), np.empty((2, 4))
    primal_step(0, 4, new, slope, p, np.float32(0.1), np.float32(-np.inf), *sums)
    np.testing.assert_allclose(new, volume - 0.1 * transposed_gradient(p.astype(float)), atol=1e-6)
    np.testing.assert_allclose(slope, 2 * new - volume, atol=1e-6)
    np.testing.assert_allclose(sums.sum(1), [((new - volume) ** 2).sum(), (new**2).sum()], rtol=1e-5)
    dual_step(0, 4, volume, p, np.float32(0), np.float32(0.1))
    assert np.sqrt((p**2).sum(0)).max() <= 0.1 * (1 + 1e-6)


@pytest.mark.parametrize("shape", [(64, 64, 16), (16, 64, 64), (40, 40, 40)])
def test_the_norm_is_found_within_its_margin(shape):
    A = Projector(TiltGeometry(linear_tilts(70, 2), shape))
    ramp = image_ramp(A.geometry.n_rows)
    lone = sparse_matrix(TiltGeometry(linear_tilts(70, 2), (*shape[:2], 1)))

    def normal(v):
        images = (lone @ v).reshape(A.geometry.images_shape[:2])
        spectrum = scipy.fft.dct(images, axis=1, norm="ortho") * ramp[:, 0]
        return lone.T @ scipy.fft.idct(spectrum, axis=1, norm="ortho").ravel()

    size = shape[0] * shape[1]
    linear = scipy.sparse.linalg.LinearOperator((size, size), matvec=normal, dtype=float)
    exact = scipy.sparse.linalg.eigsh(linear, k=1, return_eigenvectors=False)[0]
    assert exact / 1.2 < ramped_norm(A, ramp) <= exact * (1 + 1e-5)


def test_few_iterations_come_near_the_end(small):
    A, truth = small
    y = A(truth)
    end = objective(A, y, tv(A, y, lam=0.02, **CONVERGED), 0.02)
    assert objective(A, y, tv(A, y, lam=0.02, n_iter=60, tol=0), 0.02) < 1.05 * end


def test_tolerance_stops_early_and_zero_never(small):
    A, truth = small
    seen = []
    tv(A, A(truth), n_iter=500, tol=1e-2, callback=lambda s: seen.append(s.iteration))
    assert 3 < len(seen) < 400
    before = len(seen)
    tv(A, A(truth), n_iter=500, tol=0, callback=lambda s: seen.append(s.iteration))
    assert len(seen) == before + 500


def test_a_start_is_used_and_not_changed(small):
    A, truth = small
    y, kept = A(truth), truth.copy()
    seen = []
    tv(A, y, n_iter=1, x0=truth, callback=lambda s: seen.append(s.residual))
    assert seen[0] < 1e-6
    np.testing.assert_array_equal(truth, kept)


def test_callback_can_stop_and_progress_is_shown_when_asked(small, capsys):
    A, truth = small
    stopped = tv(A, A(truth), n_iter=50, tol=0, callback=lambda s: s.iteration == 3, progress=True)
    assert "TV" in capsys.readouterr().err
    np.testing.assert_array_equal(stopped, tv(A, A(truth), n_iter=3, tol=0))


def test_nonnegativity_is_a_choice(small):
    A, truth = small
    y = A(truth - 0.5)
    assert tv(A, y, lam=0.01, n_iter=20).min() >= 0
    assert tv(A, y, lam=0.01, n_iter=20, nonnegative=False).min() < 0


def test_same_input_same_bits(small):
    A, truth = small
    y = A(truth)
    np.testing.assert_array_equal(tv(A, y, n_iter=10), tv(A, y, n_iter=10))


def test_a_model_with_mismatch_is_solved_like_a_projector():
    geometry = TiltGeometry(linear_tilts(70, 5), (16, 24, 24), 32)
    H = TiltSeriesModel(geometry, mismatch=Mismatch(1.0, 2.0, 20.0))
    truth = np.zeros(geometry.volume_shape, np.float32)
    truth[5:11, 8:16, 8:16] = 1
    found = tv(H, H(truth), lam=0.01, n_iter=80)
    assert np.linalg.norm(found - truth) < 0.25 * np.linalg.norm(truth)


def test_memory_grows_by_five_volumes_and_two_stacks():
    def peak(nx):
        A = Projector(TiltGeometry(linear_tilts(60, 5), (48, 48, nx)))
        y = np.ones(A.geometry.images_shape, np.float32)
        tracemalloc.start()
        tv(A, y, n_iter=2)
        traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return traced, 5 * 4 * np.prod(A.geometry.volume_shape) + 2 * y.nbytes

    peak(64)  # compiled and imported
    (small_peak, small_data), (large_peak, large_data) = peak(128), peak(384)
    assert large_peak - small_peak < 1.02 * (large_data - small_data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(lam=0), "lam: got 0"),
        (dict(lam=-1), "lam: got -1"),
        (dict(lam=np.nan), "lam: got nan"),
        (dict(n_iter=0), "n_iter: got 0"),
        (dict(tol=-1), "tol: got -1"),
        (dict(x0=np.zeros((2, 2, 2))), "x0: got shape"),
    ],
)
def test_options_that_make_no_sense_are_refused(small, options, message):
    A, truth = small
    with pytest.raises(ValueError, match=message):
        tv(A, A(truth), **options)


def test_images_are_checked(small):
    A, _ = small
    y = np.ones(A.geometry.images_shape)
    y[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="images: got 1 NaN"):
        tv(A, y)
    with pytest.raises(ValueError, match="images: got shape"):
        tv(A, y[1:])
