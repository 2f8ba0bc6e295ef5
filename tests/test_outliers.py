"""Single pixels that cannot belong to the specimen are found, named, and left out or replaced."""

import numpy as np
import pytest
from typer.testing import CliRunner

from etlab.align import align_by_moments, cross_correlation_shifts
from etlab.align.outliers import despiked, find_outliers, limits_of
from etlab.cli import app
from etlab.describe import describe
from etlab.io import read_volume, write_mrc
from tests.test_align import TILTS, beads, jitter, particle, shift_errors

PLACES = [(4, 5, 2), (12, 70, 29), (12, 40, 48), (20, 2, 95)]


def spiked(images, value=30000):
    images = images.copy()
    for place in PLACES:
        images[place] = value
    return images


@pytest.mark.parametrize("value", [30000, -30000])
def test_spikes_are_found_and_nothing_else_is(value):
    images = particle(0) + np.random.default_rng(0).normal(0, 0.05, particle(0).shape).astype(np.float32)
    assert not len(find_outliers(images, limits_of(images))[0])
    sound, places = despiked(spiked(images, value))
    assert sorted(map(tuple, places)) == sorted(PLACES)
    assert np.abs(sound - images).max() < 0.3 * images.max()


def test_beads_and_counts_are_no_outliers():
    _, bright = beads(0)
    counts = np.random.default_rng(0).poisson(0.05, bright.shape).astype(np.float32)
    for images in (bright, 30 * bright + counts, counts):
        assert not len(find_outliers(images, limits_of(images))[0])


def test_moments_leave_a_spike_out_and_name_it():
    raw = particle(0, shifts=jitter(0))
    with pytest.warns(UserWarning, match=r"4 single pixels.*image 4, row 5, column 2 \(30000\)"):
        found = align_by_moments(spiked(raw), TILTS)
    assert shift_errors(found.shifts, jitter(0), offset=True).max() < 0.1


def test_correlation_leaves_stuck_pixels_out():
    stuck = particle(0, shifts=jitter(0))
    expected = cross_correlation_shifts(stuck, TILTS, stretch=False)
    stuck[:, 20, 11] = stuck[:, 60, 70] = 1000
    with pytest.warns(UserWarning, match="58 single pixels"):
        found = cross_correlation_shifts(stuck, TILTS, stretch=False)
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_the_commands_name_them_and_replace_them_when_asked(tmp_path):
    series, out = tmp_path / "series.mrc", tmp_path / "out.mrc"
    write_mrc(series, spiked(particle(0)), voxel_nm=1.0)
    np.savetxt(tmp_path / "series.tlt", TILTS)
    named = "4 single pixels are far brighter or darker than the rest: image 4, row 5, column 2 (30000)"
    assert named in " ".join(describe(series).notes)
    common = ["reconstruct", str(series), "-o", str(out), "-m", "wbp", "--no-fsc", "--overwrite"]
    done = CliRunner().invoke(app, common)
    assert named in done.stderr and "--despike replaces them" in done.stderr
    assert read_volume(out)[0].max() > 100
    done = CliRunner().invoke(app, [*common, "--despike"])
    assert done.exit_code == 0 and "single pixels" not in done.stderr
    assert read_volume(out)[0].max() < 3
