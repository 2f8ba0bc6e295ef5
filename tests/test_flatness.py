"""δ from the borders of the support film: right with a film, unknown without."""

import numpy as np
import pytest

from etlab.calibration.flatness import film_tilt, tilt
from etlab.course.scenes import simulate
from etlab.forward import Detector, Mismatch
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.projector import Projector

GEOMETRY = TiltGeometry(linear_tilts(70, 2), (32, 64, 64), 80)


def film_alone() -> np.ndarray:
    volume = np.zeros(GEOMETRY.volume_shape, np.float32)
    volume[8:11, 2:-2, 2:-2] = 0.2
    return volume


def images_of(volume: np.ndarray, tilt_angle: float) -> np.ndarray:
    tilts = GEOMETRY.tilts_deg + tilt_angle
    return Projector(TiltGeometry(tilts, GEOMETRY.volume_shape, GEOMETRY.n_rows))(volume)


@pytest.mark.parametrize("tilt_angle", [-1.0, 0.0, 0.7])
def test_tilt_of_a_film_alone(tilt_angle):
    estimate = film_tilt(images_of(film_alone(), tilt_angle), GEOMETRY)
    assert abs(estimate.value - tilt_angle) < 0.1
    assert estimate.std < 0.3


def test_film_that_is_not_flat_misleads():
    """One border a voxel higher: δ is wrong by that slope, and nothing in the data says so."""
    level, bent = film_alone(), film_alone()
    bent[9:12, 32:] = level[8:11, 32:]
    bent[8, 32:] = 0
    estimate = film_tilt(images_of(bent, 0.0), GEOMETRY)
    assert estimate.value == pytest.approx(-np.rad2deg(np.arctan(1 / 60)), abs=0.15)
    assert np.isfinite(estimate.std)


@pytest.mark.parametrize("name", ["lamella", "catalyst"])
@pytest.mark.parametrize("film", [True, False])
def test_without_a_film_the_tilt_offset_is_unknown(name, film):
    sample = simulate(name, "small", 0, Mismatch(0.6, 0.2, 4.0), film=film, fiducials=False)
    estimate = film_tilt(sample.y, sample.geometry, tilt_axis=0.2)
    assert np.isfinite(estimate.std) == film
    if film:
        assert abs(estimate.value - 0.6) < 3 * estimate.std


def test_with_beads_too_it_is_the_film_that_is_found():
    sample = simulate("nanorods", "small", 1, Mismatch(-0.3, 0.2, 4.0), detector=Detector(dose=20.0))
    estimate = film_tilt(sample.y, sample.geometry, tilt_axis=0.2)
    assert abs(estimate.value + 0.3) < min(0.4, 3 * estimate.std)


def test_upper_border_higher_means_negative_offset():
    assert tilt(np.array([(-30.0, 0.0), (30.0, 60.0)])) == pytest.approx(-45)


def test_empty_images_have_no_film():
    assert film_tilt(np.zeros(GEOMETRY.images_shape, np.float32), GEOMETRY).std == np.inf


def test_wrong_shape_is_named():
    with pytest.raises(ValueError, match="y: got shape"):
        film_tilt(np.zeros((3, 4, 5), np.float32), GEOMETRY)
