"""That what does not work does not, with the package's own operators."""

import numpy as np
import pytest

from etlab.course.pitfalls import frozen_object_step, gradient_sign, joint_fit, total_variation, wrong_slab
from etlab.course.scenes.simulation import simulate
from etlab.forward import Detector, Mismatch, Optics, TiltSeriesModel
from etlab.geometry import TiltGeometry, linear_tilts

GEOMETRY = TiltGeometry(linear_tilts(70, 4), (32, 64, 64), n_rows=80)
TRUTH = Mismatch(0.3, 0.3, 10.0)


@pytest.fixture(scope="module")
def lamella():
    """A tilt series without beads."""
    return simulate("lamella", GEOMETRY, 0, TRUTH, fiducials=False, n_threads=1)


def model(mismatch):
    return TiltSeriesModel(GEOMETRY, mismatch=mismatch, n_threads=1)


def least(trials, losses):
    """Where the parabola through the least loss and its neighbours is lowest."""
    i = int(np.clip(np.argmin(losses), 1, len(losses) - 2))
    a, b, _ = np.polyfit(trials[i - 1 : i + 2], losses[i - 1 : i + 2], 2)
    return -b / (2 * a)


def test_a_joint_fit_finds_the_gradient_that_its_lambda_wants(lamella):
    trials = np.array([6.0, 12.0, 18.0])
    found = [
        least(trials, joint_fit(lamella.y, model(TRUTH), trials, lam=lam, n_iter=20)) for lam in (0.02, 0.2)
    ]
    assert found[0] > TRUTH.defocus_gradient + 1.5
    assert found[1] < TRUTH.defocus_gradient - 1.5


def test_a_joint_fit_draws_the_tilt_axis_to_zero(lamella):
    trials = np.array([-0.3, 0.1, 0.5])
    losses = joint_fit(lamella.y, model(TRUTH), trials, parameter="tilt_axis", n_iter=20)
    assert -0.1 < least(trials, losses) < 0.7 * TRUTH.tilt_axis


def test_a_frozen_object_has_taken_the_mismatch_up(lamella):
    delta, phi, g = frozen_object_step(lamella.y, model(Mismatch()), lamella.detector, n_iter=30)
    assert abs(delta) < 0.3 * TRUTH.tilt_angle
    assert abs(phi) < 0.3 * TRUTH.tilt_axis
    assert 0.1 * TRUTH.defocus_gradient < g < 0.7 * TRUTH.defocus_gradient


@pytest.mark.parametrize(("name", "seed"), [("nanorods", 0), ("catalyst", 1)])
def test_a_wrong_slab_puts_the_tilt_offset_degrees_off(name, seed):
    """Further off than the middle of the declared range ever is, which assumes nothing."""
    sample = simulate(name, GEOMETRY, seed, Mismatch(tilt_angle=0.3), fiducials=False, n_threads=1)
    trials = np.arange(-4.0, 5.0, 2.0)
    losses = wrong_slab(sample.y, GEOMETRY, trials, thickness=14)
    assert abs(least(trials, losses) - 0.3) > 1.5


def test_a_slab_as_thick_as_the_volume_says_nothing():
    """Turn the specimen the other way: the residuals of a thin slab follow, those of a thick one stay what they were.

    They are not quite flat, but what shape they have is that of the grid.
    """
    trials = [-4.0, 4.0]
    follows = {}
    for thickness in (32, 14):
        preference = []
        for truth in trials:
            sample = simulate("lamella", GEOMETRY, 0, Mismatch(truth), fiducials=False, n_threads=1)
            preference.append(np.diff(wrong_slab(sample.y, GEOMETRY, trials, thickness=thickness)))
        follows[thickness] = np.ptp(preference)
    assert follows[32] < follows[14] / 10


def test_in_focus_at_the_axis_the_sign_of_the_gradient_is_lost_and_out_of_focus_it_is_not():
    gradients = np.array([-10.0, 0.0, 10.0])
    misfits = {}
    for d0 in (0.0, 6.0):
        optics, truth = Optics(d0=d0), Mismatch(defocus_gradient=10.0)
        sample = simulate(
            "lamella", GEOMETRY, 0, truth, optics=optics, detector=Detector(dose=None), n_threads=1
        )
        misfits[d0] = gradient_sign(sample.y, sample.x_true, GEOMETRY, gradients, optics=optics)
    assert misfits[0.0][0] == pytest.approx(misfits[0.0][2], rel=1e-6)
    assert misfits[0.0][1] > 1.01 * misfits[0.0][2]  # that there is a gradient shows
    assert misfits[6.0][0] > 1.05 * misfits[6.0][2]


def test_total_variation_of_a_box_is_its_surface_but_for_the_edges():
    volume = np.zeros((12, 12, 12), np.float32)
    volume[2:10, 2:10, 2:10] = 2.0
    # three of its twelve edges and the corner between them belong to voxels that see more than one face
    edges = 3 * 7 * (2 - np.sqrt(2)) + (3 - np.sqrt(3))
    assert total_variation(volume) == pytest.approx(2.0 * (6 * 64 - edges), rel=1e-6)
