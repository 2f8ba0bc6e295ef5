"""Single pixels that cannot belong to the specimen are found, named, and left out or replaced."""

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from etlab import data
from etlab.alignment import align_by_moments, cross_correlation_shifts
from etlab.alignment.outliers import despiked, find_outliers, limits_of, outliers_in_words
from etlab.cli import app
from etlab.cli.series import SeriesOptions, prepare
from etlab.io import open_series, read_volume, write_mrc
from etlab.pipeline import Prepared
from etlab.pipeline.describe import describe
from tests.test_align import TILTS, beads, blob_images, jitter, particle, shift_errors

PLACES = [(4, 5, 2), (12, 70, 29), (12, 40, 48), (20, 2, 95)]


def spiked(images, value=30000):
    images = images.copy()
    for place in PLACES:
        images[place] = value
    return images


@pytest.mark.parametrize("value", [30000, -30000])
def test_spikes_are_found_and_nothing_else_is(value):
    images = particle(0) + np.random.default_rng(0).normal(0, 0.05, particle(0).shape).astype(np.float32)
    assert not len(find_outliers(images, limits_of(images)))
    sound, places = despiked(spiked(images, value))
    assert sorted(map(tuple, places)) == sorted(PLACES)
    assert np.abs(sound - images).max() < 0.3 * images.max()


def test_beads_and_counts_are_no_outliers():
    _, bright = beads(0)
    counts = np.random.default_rng(0).poisson(0.05, bright.shape).astype(np.float32)
    for images in (bright, 30 * bright + counts, counts):
        assert not len(find_outliers(images, limits_of(images)))


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


# ---- spots, columns and rows


def clean():
    """A particle under noise, on more rows and columns than a spot or line could stand for."""
    return particle(0) + np.random.default_rng(0).normal(0, 0.05, particle(0).shape).astype(np.float32)


SPLASH, LINE = np.s_[3, 10:13, 20:23], np.s_[:, :, 20]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (SPLASH, "9 pixels are .*: image 3, row 10, column 20"),
        (np.s_[3, 10:12, 20:21], "2 pixels are"),
        (np.s_[3, 10:15, 20:25], "25 pixels are"),
        (np.s_[:, 10:12, 20:22], "116 pixels are"),  # a defect of the camera, in all images
        (LINE, "column 20 of 29 images is"),
        (np.s_[:, :, 0:2], "column 0 of 29 images and column 1 of 29 images are"),
        (np.s_[3, 10], "row 10 of 1 image is"),
    ],
)
@pytest.mark.parametrize("value", [500, -500])
def test_spots_and_lines_are_found_named_and_replaced(where, said, value):
    images = clean()
    images[where] = value
    sound, places = despiked(images)
    bad = np.zeros(images.shape, bool)
    bad[where] = True
    np.testing.assert_array_equal(np.argwhere(bad), sorted(places.tolist()))
    np.testing.assert_array_equal(sound[~bad], images[~bad])
    assert np.abs(sound - clean())[bad].max() < 0.3 * clean().max()
    assert re.search(said, outliers_in_words(places, images[tuple(places.T)]))


def test_columns_at_hand_do_not_decide_what_is_replaced(tmp_path):
    images = clean()
    images[SPLASH], images[LINE], images[5, 40] = 500, -300, 900
    write_mrc(tmp_path / "a.mrc", images, voxel_nm=1.0)
    series = open_series(tmp_path / "a.mrc", tilts=TILTS)
    sound, places = despiked(images)
    columns = Prepared(series, outliers=places)
    np.testing.assert_array_equal(columns.read(0, 96), sound)
    for x0, x1 in ((19, 22), (20, 21), (90, 96)):
        np.testing.assert_array_equal(columns.read(x0, x1), sound[:, :, x0:x1])


@pytest.mark.parametrize("sigma", [0.7, 0.8, 1.2])
@pytest.mark.parametrize("contrast", [30, 300, 3000])
def test_small_beads_of_any_contrast_are_left_alone(sigma, contrast):
    rng = np.random.default_rng(2)
    positions = np.append(
        rng.uniform([-6, -35, -40], [6, 35, 40], (6, 3)), [[0, 0.2, 0]], axis=0
    )  # one on the axis
    film = 5 / np.cos(np.deg2rad(TILTS))[:, None, None] + rng.normal(0, 0.5, (len(TILTS), 80, 96))
    images = film + contrast * blob_images(positions, sigma=sigma)
    assert len(find_outliers(images)) <= (
        6 if sigma < 0.8 else 0
    )  # of 203: a single pixel may be a bead's top


def test_an_x_ray_hit_is_found_among_beads():
    _, images = beads(0)
    images = 3 * images + np.random.default_rng(0).normal(0, 0.2, images.shape).astype(np.float32)
    images[SPLASH] = 1000
    assert len(find_outliers(images)) == 9


@pytest.mark.data
def test_nothing_of_the_needle_is_an_outlier():
    needle = data.needle()
    for images in (needle.images, needle.aligned, -needle.aligned[:, ::4, ::4]):
        assert not len(find_outliers(images))


def test_a_splash_and_a_column_are_replaced_whichever_axis_the_file_has(tmp_path, capsys):
    images = clean()
    images[SPLASH], images[LINE] = 500, 400
    expected, places = despiked(images)
    for axis, values in (("x", images), ("y", images.swapaxes(1, 2))):
        series = tmp_path / f"{axis}.mrc"
        write_mrc(series, values, voxel_nm=1.0)
        np.savetxt(series.with_suffix(".tlt"), TILTS)
        found = prepare(SeriesOptions(series, axis=axis, despike=True), positive=True, tilt_axis=None)
        np.testing.assert_array_equal(found.read(0, 96), expected)
        assert f"--despike: {len(places)} values are replaced" in capsys.readouterr().out


def test_a_lone_slice_has_no_outliers():
    images = np.random.default_rng(0).random((20, 100, 1), np.float32)
    images[3, 40] = images[9, 70:72] = 1000
    assert len(find_outliers(images)) == 0
