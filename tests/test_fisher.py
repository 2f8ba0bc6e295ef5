"""Cramér–Rao bounds: against noise drawn and dense matrices, and what cannot be known whatever the noise."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import laplace, rotate

from etlab.course.fisher import (
    PARAMETERS,
    bound_object_known,
    bound_object_unknown,
    gauge_scan,
    inverse_variance,
)
from etlab.course.scenes.simulation import simulate
from etlab.forward import Detector, Mismatch, Optics, TiltSeriesModel
from etlab.geometry import TiltGeometry, linear_tilts

DELTA, PHI, G = range(3)
MISMATCH = Mismatch(0.25, 0.15, 5.0)
COUNTS = Detector(dose=5.0)


def balls(finer=1, step=5):
    """Soft balls that stay inside the volume however it turns, on a grid ``finer`` times finer; and their model.

    ``step`` [deg] is that of the tilts.
    """
    shape = (8 * finer, 16 * finer, 16 * finer)
    z, y, x = np.meshgrid(
        *((np.arange(n) - (n - 1) / 2) / (16 * finer) for n in shape), indexing="ij", sparse=True
    )
    centres = np.random.default_rng(0).uniform(-1, 1, (12, 3)) * (0.1, 0.28, 0.28)
    volume = sum(
        np.exp(-((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) / (2 * 0.06**2)) for a, b, c in centres
    ).astype(np.float32)
    geometry = TiltGeometry(linear_tilts(70, step), shape, n_rows=20 * finer)
    optics = Optics().refined(finer / 2)
    return TiltSeriesModel(geometry, mismatch=MISMATCH, optics=optics, n_threads=1), volume


@pytest.fixture(scope="module")
def bounds():
    """Bounds with object known and unknown, on a coarse grid and on one twice as fine."""
    found = []
    for finer in (1, 2):
        model, volume = balls(finer)
        unknown = bound_object_unknown(model, volume, COUNTS, n_iter=60)
        found.append((bound_object_known(model, volume, COUNTS), unknown))
    return found


def surviving(known, unknown):
    """The part of the information on each parameter that is left when the object is unknown."""
    return np.diag(unknown.information) / np.diag(known.information)


def energy(volume):
    """Σ|∇x|²."""
    return -np.vdot(volume, laplace(volume, mode="nearest"))


# the object known


def test_the_bound_is_the_spread_of_the_best_estimate_over_draws_of_the_noise():
    model, volume = balls(step=20)
    detector = Detector(gain=2.0, dose=20.0, background=1.0, read_noise=0.5)
    images, rates = model(volume), model.jacobian(volume)
    bound = bound_object_known(model, volume, detector)
    weights = inverse_variance(images, detector)
    rng = np.random.default_rng(3)
    errors = []
    for _ in range(400):
        noise = weights * (detector.expose(images, rng) - images)
        errors.append(bound.covariance @ [np.vdot(rate, noise) for rate in rates])
    # the standard deviation of 400 draws is known to 3.5 %
    np.testing.assert_allclose(np.std(errors, axis=0), bound.std, rtol=0.12)


def test_four_times_the_dose_halves_the_bound():
    model, volume = balls()
    once, fourfold = (bound_object_known(model, volume, Detector(dose=dose)).std for dose in (5.0, 20.0))
    np.testing.assert_allclose(fourfold, once / 2, rtol=1e-5)


def test_in_focus_at_the_axis_and_without_gradient_nothing_tells_of_a_small_gradient():
    model, volume = balls()
    even = TiltSeriesModel(model.geometry, mismatch=Mismatch(0.25, 0.15, 0.0), optics=Optics(d0=0))
    std = bound_object_known(even, volume, COUNTS).std
    assert std[G] == np.inf
    assert np.isfinite(std[[DELTA, PHI]]).all()


# the object unknown


@pytest.mark.parametrize("smoothness", [0.0, 3.0])
def test_the_iterated_bound_equals_that_of_dense_matrices(smoothness):
    geometry = TiltGeometry(linear_tilts(60, 20), (3, 6, 5), n_rows=8)
    model = TiltSeriesModel(geometry, mismatch=MISMATCH, n_threads=1)
    volume = np.random.default_rng(0).uniform(0.5, 1, geometry.volume_shape).astype(np.float32)
    units = np.eye(volume.size, dtype=np.float32).reshape(-1, *volume.shape)
    H = np.stack([model(unit).ravel() for unit in units], axis=1).astype(float)
    roughness = -np.stack([laplace(unit, mode="nearest").ravel() for unit in units], axis=1).astype(float)
    J = model.jacobian(volume).reshape(3, -1).T.astype(float)
    W = inverse_variance(model(volume), COUNTS).reshape(-1, 1)
    F_xx = H.T @ (W * H) + smoothness * roughness
    expected = J.T @ (W * J) - J.T @ (W * H) @ np.linalg.pinv(F_xx) @ H.T @ (W * J)
    bound = bound_object_unknown(model, volume, COUNTS, smoothness=smoothness, n_iter=300)
    np.testing.assert_allclose(bound.information, expected, rtol=1e-2, atol=1e-3 * expected.max())
    np.testing.assert_allclose(bound.trace[-1], np.diag(expected), rtol=1e-2)


def test_information_only_falls_as_the_object_is_freed(bounds):
    for known, unknown in bounds:
        start = np.diag(known.information)
        gained = np.diff(np.vstack([start, unknown.trace]), axis=0) / start
        assert gained.max() <= 1e-4  # the rounding of float32 operators
        np.testing.assert_allclose(np.diag(unknown.information), unknown.trace[-1], rtol=0.01)


def test_the_tilt_offset_is_a_gauge_and_what_seems_to_tell_it_is_the_grid(bounds):
    coarse, fine = (surviving(*pair) for pair in bounds)
    assert coarse[DELTA] < 0.1
    assert fine[DELTA] < coarse[DELTA] / 5


def test_tilt_axis_and_gradient_remain_known_on_a_finer_grid(bounds):
    coarse, fine = (surviving(*pair) for pair in bounds)
    assert (fine[[PHI, G]] > 0.7 * coarse[[PHI, G]]).all()
    assert fine[PHI] > 5 * fine[DELTA]


def test_a_smoothness_prior_seems_to_tell_the_tilt_offset_though_a_turn_leaves_smoothness_as_it_is(bounds):
    model, volume = balls(2)
    spurious = bound_object_unknown(model, volume, COUNTS, smoothness=100.0, n_iter=30)
    known, unknown = bounds[1]
    assert surviving(known, spurious)[DELTA] > 10 * surviving(known, unknown)[DELTA]
    turned = rotate(volume, 6.0, axes=(0, 1), reshape=False)
    assert abs(energy(turned) / energy(volume) - 1) < 0.01  # what the prior says of the turned object
    assert energy(turned - volume) > 0.04 * energy(volume)  # what the formula charges for turning it


# reconstructing at the wrong mismatch


def test_residuals_are_flat_along_the_tilt_offset_and_not_along_the_others():
    geometry = TiltGeometry(linear_tilts(70, 4), (32, 64, 64), n_rows=80)
    sample = simulate("lamella", geometry, 0, MISMATCH, detector=Detector(dose=None), n_threads=1)
    model = TiltSeriesModel(geometry, mismatch=MISMATCH, n_threads=1)
    best, rise = None, {}
    for parameter, reach in zip(PARAMETERS, (1.2, 1.2, 15.0), strict=True):
        at = getattr(MISMATCH, parameter)
        values = [at - reach, at + reach] + [at] * (best is None)  # the middle is the same for all three
        below, above, *middle = gauge_scan(sample.y, model, values, parameter=parameter, n_iter=25)
        best = best or middle[0]
        rise[parameter] = (below + above) / 2 / best - 1
    assert abs(rise["tilt_angle"]) < 0.02
    assert rise["tilt_axis"] > 5 * abs(rise["tilt_angle"])
    assert rise["defocus_gradient"] > 5 * abs(rise["tilt_angle"])


# bad input


def test_bad_input_is_named():
    model, volume = balls()
    for silent in (Detector(dose=None), Detector(dose=np.inf)):
        with pytest.raises(ValueError, match=r"detector: got .*noise"):
            bound_object_known(model, volume, silent)
    with pytest.raises(ValueError, match="smoothness: got -1"):
        bound_object_unknown(model, volume, COUNTS, smoothness=-1)
    with pytest.raises(ValueError, match="n_iter: got 0"):
        bound_object_unknown(model, volume, COUNTS, n_iter=0)
    with pytest.raises(ValueError, match="volume"):
        bound_object_known(model, volume[1:], COUNTS)
    with pytest.raises(ValueError, match="parameter: got 'phi', expected one of tilt_angle"):
        gauge_scan(model(volume), model, [0.0], parameter="phi")


def test_read_noise_alone_is_noise_enough():
    model, volume = balls()
    detector = Detector(dose=None, read_noise=0.3, gain=2.0)
    weights = inverse_variance(model(volume), detector)
    np.testing.assert_allclose(weights, (2.0 / 0.3) ** 2, rtol=1e-6)
    assert np.isfinite(bound_object_known(model, volume, replace(detector, gain=1.0)).std).all()
