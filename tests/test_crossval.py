"""Cross-validation: finds φ without bias, says how well, and refuses what it cannot know."""

from dataclasses import replace

import numpy as np
import pytest

from etlab.calibration.crossval import binning, coarse, cross_validate, noise, two_way_spread, vertex
from etlab.course.scenes import simulate
from etlab.forward import Mismatch
from etlab.geometry import TiltGeometry, linear_tilts
from tests.checks import HALF_THE_TILTS


@pytest.mark.parametrize("tilt_axis", [0.0, 0.4])
def test_axis_is_found_whatever_it_is(tilt_axis):
    """And although δ and g are wrong: δ turns the object, and the blur is left in it."""
    truth = Mismatch(0.3, tilt_axis, 3.0)
    sample = simulate("vesicles", HALF_THE_TILTS, 0, truth, fiducials=False)
    seen = []
    estimate = cross_validate(
        sample.y,
        sample.geometry,
        sample.optics,
        Mismatch(),
        "tilt_axis",
        (-0.6, 1.0),
        callback=lambda value, loss: seen.append(value),
    )
    assert abs(estimate.value - tilt_axis) < min(0.2, 3 * estimate.std)
    assert np.array_equal(seen, estimate.trials) and len(estimate.losses) == len(seen) == 8


def test_standard_deviation_at_the_dose_of_the_benchmark():
    sample = simulate("catalyst", "small", 1, Mismatch(0.3, 0.2, 3.0))
    estimate = cross_validate(sample.y, sample.geometry, sample.optics, Mismatch(), "tilt_axis", (0.0, 0.4))
    assert 0.01 < estimate.std < 0.1
    assert abs(estimate.value - 0.2) < 3 * estimate.std


def test_vertex_of_a_parabola():
    trials = np.array([1.0, 2.0, 3.0])
    value, std = vertex(trials, 3 * (trials - 2.2) ** 2 + 5)
    assert value == pytest.approx(2.2) and std == np.inf


@pytest.mark.parametrize("losses", [(1.02, 1.0, 0.9801), (0.9, 1.0, 1.2), (1.0, 2.0, 4.0)])
def test_a_minimum_beyond_the_trials_is_not_guessed(losses):
    trials = np.array([-0.1, 0.0, 0.1])
    value, std = vertex(trials, np.array(losses)[:, None, None] * np.ones((3, 4, 5)))
    assert value == trials[np.argmin(losses)] and std == np.inf


def test_without_a_minimum_nothing_is_known():
    trials = np.array([1.0, 2.0, 3.0])
    losses = -((trials[:, None, None] - 2.2) ** 2) * np.ones((3, 4, 5))
    value, std = vertex(trials, losses)
    assert value == 1.0 and std == np.inf


def test_standard_deviation_of_the_vertex_is_that_of_its_estimates():
    """Noise of known size in the parts of the loss: the vertices scatter as much as is said."""
    rng = np.random.default_rng(0)
    trials = np.array([-1.0, 0.0, 1.0])
    found = []
    for _ in range(300):
        slopes = rng.normal(0, 0.1, (40, 8))
        found.append(vertex(trials, trials[:, None, None] ** 2 + trials[:, None, None] * slopes))
    values, stds = np.transpose(found)
    assert np.median(stds) == pytest.approx(values.std(), rel=0.15)


def test_correlated_scores_count_as_one():
    rng = np.random.default_rng(0)
    one_per_tilt = np.repeat(rng.normal(size=(200, 1)), 8, axis=1)
    assert two_way_spread(one_per_tilt) == pytest.approx(8 * np.sqrt(200), rel=0.15)


def test_noise_is_measured_beneath_a_smooth_object():
    rng = np.random.default_rng(0)
    smooth = 5 * np.sin(np.arange(64) / 8) * np.ones((10, 32, 1))
    assert noise(smooth + rng.normal(0, 0.3, smooth.shape)) == pytest.approx(0.3, rel=0.05)


def test_binning_divides_every_size():
    assert binning(TiltGeometry(linear_tilts(70, 2), (64, 128, 128), 160)) == 2
    assert binning(TiltGeometry(linear_tilts(70, 2), (63, 128, 128), 160)) == 1
    assert binning(TiltGeometry(linear_tilts(70, 2), (32, 64, 64), 80)) == 1
    assert binning(TiltGeometry(linear_tilts(70, 2), (60, 192, 192), 240)) == 3


def test_line_integrals_are_in_the_larger_voxels():
    geometry = TiltGeometry(linear_tilts(70, 10), (64, 128, 128), 160, voxel_nm=2.0)
    binned, images, transfer = coarse(geometry, np.full(geometry.images_shape, 6.0, np.float32), 2)
    assert images.shape == binned.images_shape and binned.voxel_nm == 4.0
    np.testing.assert_allclose(images, 3.0, rtol=1e-5)
    assert (
        0.05 < transfer < 0.25
    )  # four pixels averaged would give 1/2, line integrals halved 1/4, and blurred


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(parameter="tilt_angle"), "parameter"),
        (dict(bounds=(0.5, 0.1)), "bounds"),
        (dict(bounds=(0.1, np.nan)), "bounds"),
        (dict(y=np.zeros((3, 4, 5), np.float32)), "y: got shape"),
        (dict(y=np.zeros((9, 24, 20), np.float32), tilts=linear_tilts(40, 10)), "9 tilts"),
    ],
)
def test_bad_input_is_named(change, message):
    change = dict(change)
    geometry = TiltGeometry(linear_tilts(70, 10), (12, 20, 20), 24)
    geometry = replace(geometry, tilts_deg=change.pop("tilts", geometry.tilts_deg))
    given = (
        dict(y=np.zeros(geometry.images_shape, np.float32), parameter="tilt_axis", bounds=(-0.3, 0.6))
        | change
    )
    with pytest.raises(ValueError, match=message):
        cross_validate(given["y"], geometry, None, Mismatch(), given["parameter"], given["bounds"])


def test_empty_images_say_nothing():
    geometry = TiltGeometry(linear_tilts(70, 10), (12, 20, 20), 24)
    estimate = cross_validate(
        np.zeros(geometry.images_shape, np.float32), geometry, None, Mismatch(), "tilt_axis", (-0.2, 0.2)
    )
    assert estimate.std == np.inf
