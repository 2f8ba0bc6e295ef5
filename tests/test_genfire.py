"""GENFIRE: gridding by the central slice theorem, constraints, and what they add to it."""

import numpy as np
import pytest

from etlab.acquisition import DualAxis
from etlab.forward import Mismatch, Optics, TiltSeriesModel
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.projector import Projector
from etlab.solvers import genfire, wbp
from etlab.solvers._genfire import frequencies, gridded, resolution_limit

FULL = np.arange(-90, 90, 3.0)


def blobs(shape, seed=0, sigma=2.0):
    """A few Gaussians, so smooth that sampling and interpolation do not matter, and not symmetric in anything."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    volume = np.zeros(shape)
    for _ in range(6):
        cz, cy, cx = (rng.uniform(-n / 5, n / 5) for n in shape)
        volume += np.exp(-((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2))
    return volume.astype(np.float32)


def error(found, truth):
    return np.linalg.norm(found - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize("shape", [(24, 32, 6), (23, 31, 5)])
@pytest.mark.parametrize("theta", [0.0, 30.0, -57.3, 90.0])
def test_gridded_points_are_those_of_the_volumes_transform(shape, theta):
    truth = blobs(shape)
    A = Projector(TiltGeometry([theta], shape, 44))
    grid = (48, 64)
    points, measured = gridded(A(truth), A.geometry.tilts_deg, shape[:2], grid, 0.2)
    expected = np.fft.rfft2(truth, grid, axes=(0, 1)).reshape(-1, shape[2])[points]
    assert points.size > 8
    assert error(measured, expected) < 0.05  # points up to a fifth of a step away


def test_points_lie_within_the_radius_of_a_plane_and_below_nyquist():
    images = np.ones((1, 40, 2), np.float32)
    points, _ = gridded(images, np.array([30.0]), (20, 30), (40, 60), 0.5)
    k_z, k_y = frequencies((40, 60)).reshape(2, -1)[:, points]
    along = k_y * np.cos(np.pi / 6) + k_z * np.sin(np.pi / 6)
    away = np.hypot((k_z - along / 2) * 40, (k_y - along * np.sqrt(3) / 2) * 60)
    assert away.max() < 0.5
    assert np.hypot(k_z, k_y).max() < 0.5


def test_noise_free_full_range_data_give_the_volume():
    truth = blobs((32, 32, 8))
    A = Projector(TiltGeometry(FULL, truth.shape, 46))
    assert error(genfire(A, A(truth), n_iter=30, resolution=False), truth) < 0.06


def test_constraints_fill_the_missing_wedge_better_than_nothing():
    truth = blobs((32, 32, 8))
    A = Projector(TiltGeometry(linear_tilts(60, 3), truth.shape, 46))
    y = A(truth)
    found = genfire(A, y, n_iter=60, resolution=False)
    unconstrained = genfire(A, y, n_iter=60, resolution=False, nonnegative=False)
    assert error(found, truth) < 0.75 * error(unconstrained, truth)
    assert error(found, truth) < 0.5 * error(wbp(A, y), truth)


def test_one_plane_seen_from_above_is_returned_as_it_is():
    A = Projector(TiltGeometry([0.0], (1, 15, 9)))
    truth = blobs((1, 15, 9))
    found = genfire(A, truth, n_iter=20, oversampling=1, resolution=False)
    np.testing.assert_allclose(found, truth, atol=0.02)


def test_measured_points_are_explained_better_with_each_iteration():
    truth = blobs((24, 32, 8))
    A = Projector(TiltGeometry(linear_tilts(70, 4), truth.shape, 40))
    factors = []
    genfire(A, A(truth), n_iter=25, resolution=False, callback=lambda s: factors.append(s.residual))
    assert factors[0] == pytest.approx(1)
    assert (np.diff(factors) < 1e-4).all()
    assert factors[-1] < 0.12


def test_resolution_grows_to_nyquist_half_way_and_shrinks_again():
    limits = [resolution_limit(i, 21) for i in range(1, 22)]
    assert limits[10] == 1
    assert (np.diff(limits[:11]) > 0).all()
    assert (np.diff(limits[10:]) < 0).all()
    assert limits[0] == pytest.approx(limits[-1])
    assert 0 < limits[0] < 0.2
    assert resolution_limit(1, 1) == 1


def test_resolution_suppression_keeps_noise_out():
    truth = blobs((32, 32, 16), sigma=3.0)
    A = Projector(TiltGeometry(linear_tilts(60, 3), truth.shape, 46))
    y = A(truth) + 3 * np.random.default_rng(1).standard_normal(A.geometry.images_shape).astype(np.float32)
    with_it, without = (genfire(A, y, resolution=r) for r in (True, False))
    assert error(with_it, truth) < 0.7 * error(without, truth)


def test_support_and_positivity_hold_exactly():
    truth = blobs((16, 20, 20))
    A = Projector(TiltGeometry(linear_tilts(60, 5), truth.shape, 26))
    y = A(truth) + np.random.default_rng(2).standard_normal(A.geometry.images_shape).astype(np.float32)
    support = truth > 0.1
    found = genfire(A, y, support=support, n_iter=5)
    assert np.abs(found[~support]).max() == 0
    assert found.min() >= 0
    assert genfire(A, y, nonnegative=False, n_iter=5).min() < 0


def test_a_known_turn_is_taken_into_account():
    truth = blobs((32, 32, 32))
    geometry = TiltGeometry(linear_tilts(70, 2), truth.shape, 46)
    turned = TiltSeriesModel(geometry, mismatch=Mismatch(3.0, 4.0), optics=Optics(kappa=0))
    y = turned(truth)
    known, ignored = (genfire(operator, y, n_iter=20) for operator in (turned, Projector(geometry)))
    ideal = genfire(Projector(geometry), Projector(geometry)(truth), n_iter=20)
    assert error(known, truth) < 1.1 * error(ideal, truth)
    assert error(known, truth) < 0.8 * error(ignored, truth)


def test_two_tilt_axes_are_refused():
    A = Projector(TiltGeometry([0, 10], (4, 5, 5)))
    both = DualAxis(A, A)
    with pytest.raises(TypeError, match="operator: got DualAxis, expected a Projector or TiltSeriesModel"):
        genfire(both, np.ones(both.geometry.images_shape))


@pytest.fixture
def small():
    A = Projector(TiltGeometry(linear_tilts(70, 10), (9, 10, 12), 14))
    return A, A(np.random.default_rng(0).random(A.geometry.volume_shape, dtype=np.float32))


def test_a_start_is_used_and_not_changed(small):
    A, y = small
    start = genfire(A, y, n_iter=5)
    kept = start.copy()
    seen = []
    genfire(A, y, n_iter=1, x0=start, callback=lambda s: seen.append(s.residual))
    assert seen[0] < 0.9
    np.testing.assert_array_equal(start, kept)


def test_callback_can_stop_and_progress_is_shown_when_asked(small, capsys):
    A, y = small
    seen = []
    genfire(A, y, n_iter=50, callback=lambda s: seen.append(s.iteration) or s.iteration == 3, progress=True)
    assert seen == [1, 2, 3]
    assert "GENFIRE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(n_iter=0), "n_iter: got 0"),
        (dict(oversampling=0.5), "oversampling: got 0.5"),
        (dict(radius=0), "radius: got 0"),
        (dict(support=np.ones((2, 2, 2), bool)), r"support: got shape \(2, 2, 2\)"),
        (dict(x0=np.zeros((2, 2, 2))), "x0: got shape"),
    ],
)
def test_options_that_make_no_sense_are_refused(small, options, message):
    A, y = small
    with pytest.raises(ValueError, match=message):
        genfire(A, y, **options)


def test_images_are_checked(small):
    A, y = small
    with pytest.raises(ValueError, match="images: got 1 NaN"):
        broken = y.copy()
        broken[0, 0, 0] = np.nan
        genfire(A, broken)
    with pytest.raises(ValueError, match="images: got shape"):
        genfire(A, y[1:])
