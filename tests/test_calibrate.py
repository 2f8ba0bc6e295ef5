"""Blind calibration from end to end, on public seeds: right, honest, and clear about what cannot be known."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from etlab import plot
from etlab.calibration import CalibrationWarning, calibrate
from etlab.calibration.fiducials import calibrate_with_beads
from etlab.course.benchmark.calibration import PARAMETERS
from etlab.course.scenes import simulate
from etlab.course.scenes.published import spec_ranges
from etlab.forward import Mismatch, Optics
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.phantoms import Fiducials
from tests.checks import HALF_THE_TILTS

RANGES = {"tilt_angle": (-0.5, 1.0), "tilt_axis": (-0.3, 0.6), "defocus_gradient": (-10.0, 20.0)}
TRUTH = Mismatch(0.6, 0.35, 12.0)
LARGEST_ERROR = {
    "tilt_angle": 0.3,
    "tilt_axis": 0.15,
    "defocus_gradient": 1.5,
}  # three times what is asked for


@pytest.fixture(scope="module")
def sample():
    return simulate("catalyst", HALF_THE_TILTS, 1, TRUTH)


@pytest.fixture(scope="module")
def steps():
    return []


@pytest.fixture(scope="module")
def calibration(sample, steps):
    return calibrate(
        sample.y, sample.geometry, RANGES, sample.optics, fiducials=sample.fiducials, callback=steps.append
    )


@pytest.fixture(scope="module")
def beadless():
    return simulate("nanorods", HALF_THE_TILTS, 0, TRUTH, fiducials=False)


@pytest.fixture(scope="module")
def beadless_calibration(beadless):
    return calibrate(beadless.y, beadless.geometry, RANGES, beadless.optics)


def test_the_ranges_here_are_the_public_ones():
    assert spec_ranges("public") == RANGES


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_beads_give_all_three(calibration, parameter):
    error = getattr(calibration.mismatch, parameter) - getattr(TRUTH, parameter)
    assert abs(error) < min(LARGEST_ERROR[parameter], 4 * calibration.std[parameter])
    assert not calibration.diagnostics["notes"] and calibration.diagnostics["mode"] == "beads"


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_without_beads_standard_deviations_are_wider(beadless_calibration, calibration, parameter):
    error = getattr(beadless_calibration.mismatch, parameter) - getattr(TRUTH, parameter)
    assert abs(error) < 4 * beadless_calibration.std[parameter]
    assert beadless_calibration.std[parameter] > calibration.std[parameter]


def test_the_trace_is_what_was_called_back(calibration, steps):
    assert list(calibration.trace) == steps
    assert [step.stage for step in steps] == [
        "beads",
        "beads, round 1",
        "beads, round 2",
        "cross-validation",
        "done",
    ]
    assert steps[-1].mismatch == calibration.mismatch
    seconds = [step.seconds for step in steps]
    assert seconds == sorted(seconds)


def test_the_same_series_gives_the_same_answer(calibration, sample):
    """Up to the second step, after which nothing is drawn at random."""

    class Enough(Exception):
        pass

    again = []

    def noted(step):
        again.append(step)
        if len(again) == 2:
            raise Enough

    with pytest.raises(Enough):
        calibrate(
            sample.y, sample.geometry, RANGES, sample.optics, fiducials=sample.fiducials, callback=noted
        )
    assert [replace(step, seconds=0) for step in again] == [
        replace(step, seconds=0) for step in calibration.trace[:2]
    ]


def test_results_stay_within_the_ranges(sample):
    narrow = RANGES | {"tilt_axis": (-0.3, 0.0)}
    found = calibrate(sample.y, sample.geometry, narrow, sample.optics, fiducials=sample.fiducials)
    assert found.mismatch.tilt_axis == 0.0


def test_printed_with_units(calibration):
    text = str(calibration)
    assert "tilt_angle = 0." in text and "nm/µm" in text and "±" in text


def test_without_a_flat_reference_the_tilt_angle_is_not_known_and_the_rest_is():
    bare = simulate("catalyst", HALF_THE_TILTS, 1, TRUTH, film=False, fiducials=False)
    with pytest.warns(CalibrationWarning, match="tilt_angle not identifiable without a flat reference"):
        found = calibrate(bare.y, bare.geometry, RANGES, bare.optics)
    assert found.std.tilt_angle == np.inf and found.mismatch.tilt_angle == 0.25  # the middle of its range
    assert np.isfinite([found.std.tilt_axis, found.std.defocus_gradient]).all()
    assert abs(found.mismatch.tilt_axis - TRUTH.tilt_axis) < 4 * found.std.tilt_axis
    plt.close(plot.calibration(found, bare.y, bare.geometry))


def test_beads_that_are_not_there(beadless, beadless_calibration):
    with pytest.warns(CalibrationWarning, match="of 12 declared beads too few were found"):
        found = calibrate(
            beadless.y, beadless.geometry, RANGES, beadless.optics, fiducials=Fiducials.for_field(64)
        )
    assert found.mismatch == beadless_calibration.mismatch


@pytest.mark.parametrize("name", ["vesicles", "catalyst"])
def test_parts_of_a_specimen_do_not_pass_for_beads(name):
    """Half as many as declared lie on a plane in these; they are not equally bright."""
    sample = simulate(name, HALF_THE_TILTS, 0, TRUTH, fiducials=False)
    found = calibrate_with_beads(
        sample.y,
        sample.geometry,
        sample.optics,
        Fiducials.for_field(64),
        0.15,
        RANGES["defocus_gradient"],
        rng=np.random.default_rng(0),
        n_threads=1,
    )
    assert found is None


def test_a_wrong_contrast_is_named_and_does_no_harm(sample, calibration):
    declared = replace(sample.fiducials, contrast=0.7)
    with pytest.warns(CalibrationWarning, match=r"1\.4\d times as bright as declared, as if of contrast"):
        found = calibrate(sample.y, sample.geometry, RANGES, sample.optics, fiducials=declared)
    assert abs(found.mismatch.defocus_gradient - calibration.mismatch.defocus_gradient) < 0.2


def test_a_wrong_radius_is_named_and_leaves_the_gradient_unknown(sample):
    declared = replace(sample.fiducials, radius=3.0)
    with pytest.warns(CalibrationWarning, match=r"as if of radius 2\.\d voxels instead of 3"):
        found = calibrate(sample.y, sample.geometry, RANGES, sample.optics, fiducials=declared)
    assert found.std.defocus_gradient == np.inf and np.isfinite(found.std.tilt_axis)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        (RANGES | {"tilt_axis": (0.6, -0.3)}, r"spec_ranges\['tilt_axis'\]: got \(0.6, -0.3\), expected"),
        (RANGES | {"tilt_axis": (0.3, np.nan)}, "spec_ranges"),
        ({"tilt_axis": (0, 1)}, "spec_ranges: got .*expected tilt_angle, tilt_axis, defocus_gradient"),
        (RANGES | {"shift": (0, 1)}, "spec_ranges: got .*shift"),
    ],
)
def test_bad_ranges_are_named(sample, ranges, message):
    with pytest.raises(ValueError, match=message):
        calibrate(sample.y, sample.geometry, ranges, sample.optics)


def test_too_few_tilts():
    geometry = TiltGeometry(linear_tilts(60, 15), (16, 32, 32))
    with pytest.raises(ValueError, match="y: got 9 tilts, expected at least 10"):
        calibrate(np.ones(geometry.images_shape, np.float32), geometry, RANGES, Optics())


def test_images_that_show_nothing(sample):
    with pytest.raises(ValueError, match="y: got constant images"):
        calibrate(np.ones_like(sample.y), sample.geometry, RANGES, sample.optics)


def test_images_with_holes(sample):
    broken = sample.y.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="y: got 1 NaN"):
        calibrate(broken, sample.geometry, RANGES, sample.optics)


@pytest.mark.parametrize("which", ["calibration", "beadless_calibration"])
def test_the_figure_shows_four_labelled_panels(which, request):
    result = request.getfixturevalue(which)
    images = request.getfixturevalue("sample" if which == "calibration" else "beadless")
    fig = plot.calibration(result, images.y, images.geometry)
    assert len(fig.axes) == 4
    assert all(ax.get_xlabel() and ax.get_ylabel() and ax.get_title() for ax in fig.axes)
    plt.close(fig)
