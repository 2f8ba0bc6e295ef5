"""Moments of a tilt series: what no object can explain, and the gradient of the focus found from it."""

import numpy as np
import pytest

from etlab.calibration.moments import complement, moment_gradient, outside_moments
from etlab.course.scenes import simulate
from etlab.forward import Mismatch, Optics, TiltSeriesModel
from etlab.geometry import TiltGeometry, linear_tilts
from tests.checks import HALF_THE_TILTS

GEOMETRY = TiltGeometry(linear_tilts(70, 2), (24, 48, 16), 60)


@pytest.fixture(scope="module")
def smooth_object():
    z, y, x = np.ogrid[-1:1:24j, -1:1:48j, -1:1:16j]
    blob = np.exp(-((z - 0.2) ** 2 + (y - 0.3) ** 2) / 0.05) + np.exp(
        -((z + 0.3) ** 2 + (y + 0.4) ** 2) / 0.02
    )
    return (blob * (1 + 0.5 * np.sin(9 * x))).astype(np.float32)


@pytest.mark.parametrize("tilt_angle", [0.0, 1.0])
def test_no_object_is_outside_whatever_the_tilt_offset(smooth_object, tilt_angle):
    images = TiltSeriesModel(GEOMETRY, mismatch=Mismatch(tilt_angle), optics=None)(smooth_object)
    outside = outside_moments(GEOMETRY)(images)
    assert np.linalg.norm(outside) < 2e-3 * np.linalg.norm(images)


def test_an_uneven_focus_is_outside_and_changes_sign_with_the_gradient(smooth_object):
    def outside(gradient):
        H = TiltSeriesModel(GEOMETRY, mismatch=Mismatch(0, 0, gradient), optics=Optics())
        return outside_moments(GEOMETRY)(H(smooth_object))

    even, up, down = outside(0.0), outside(5.0), outside(-5.0)
    assert np.linalg.norm(up - even) > 1.5 * np.linalg.norm(even)
    assert np.vdot(up - even, down - even) < 0


def test_complement_is_orthogonal_to_moments_of_a_point():
    """A point's n-th power moment is (y cos θ + z sin θ)ⁿ."""
    tilts = linear_tilts(70, 2)
    theta = np.deg2rad(tilts)
    for n in (0, 1, 4, 7):
        rows = complement(tilts, n)
        np.testing.assert_allclose(rows @ (0.8 * np.cos(theta) - 0.3 * np.sin(theta)) ** n, 0, atol=1e-3)
        np.testing.assert_allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-10)


@pytest.mark.parametrize("gradient", [-5.0, 12.0])
def test_gradient_is_found_without_beads_with_its_sign(gradient):
    sample = simulate("vesicles", HALF_THE_TILTS, 2, Mismatch(0.3, 0.2, gradient), fiducials=False)
    estimate = moment_gradient(
        sample.y, sample.geometry, sample.optics, Mismatch(0, 0.2, 0), (-10.0, 20.0), max_steps=4
    )
    assert estimate.std < 3
    assert abs(estimate.value - gradient) < 3 * estimate.std


def test_without_blur_nothing_is_known():
    y = np.zeros(GEOMETRY.images_shape, np.float32)
    assert moment_gradient(y, GEOMETRY, Optics(kappa=0), Mismatch(), (-10, 20)).std == np.inf


def test_bad_input_is_named():
    y = np.zeros(GEOMETRY.images_shape, np.float32)
    with pytest.raises(ValueError, match="bounds"):
        moment_gradient(y, GEOMETRY, Optics(), Mismatch(), (20, -10))
    few = TiltGeometry(linear_tilts(40, 10), (12, 20, 20), 24)
    with pytest.raises(ValueError, match="9 tilts"):
        moment_gradient(np.zeros(few.images_shape, np.float32), few, Optics(), Mismatch(), (-10, 20))
