"""`etlab info`: what a file holds in words, and what is suspicious about it."""

import numpy as np
import pytest
from typer.testing import CliRunner

from etlab import data
from etlab.cli import app
from etlab.geometry import bidirectional_order, dose_symmetric_order, linear_tilts, saxton_tilts
from etlab.io import open_series, volume_writer, write_mrc
from etlab.pipeline import vacuum_of
from etlab.pipeline.describe import describe, note_on_axis, order_of
from tests.files import make_mrc, make_tiff

TILTS = np.arange(-60, 61, 20.0)
RNG = np.random.default_rng(0)


def specimen(n=7, vacuum=0.0):
    """Images of a bright bar on vacuum, with noise."""
    images = vacuum + RNG.normal(size=(n, 30, 40))
    images[:, 10:20] += RNG.uniform(50, 100, (n, 10, 40))
    return images.astype(np.float32)


@pytest.fixture
def series(tmp_path):
    write_mrc(tmp_path / "a.mrc", specimen(), voxel_nm=0.5)
    (tmp_path / "a.tlt").write_text("\n".join(f"{tilt:.2f}" for tilt in TILTS))
    return tmp_path / "a.mrc"


def notes(path, **options):
    return " | ".join(describe(path, **options).notes)


def test_sound_series_is_told_in_full_and_without_a_note(series):
    found = describe(series)
    assert found.notes == ()
    said = str(found)
    assert "7 images of 30 rows × 40 columns" in said
    assert "float32, 0.0 MB" in said
    assert "0.5 nm" in said
    assert f"-60° to 60°, step 20°, ascending, missing wedge 60°; from {series.with_suffix('.tlt')}" in said
    assert abs(found.most_frequent) < 1
    images = specimen()
    assert found.statistics.std == pytest.approx(images.std(), rel=0.05)


@pytest.mark.parametrize("ending", [".mrc", ".h5", ".zarr"])
def test_volume_is_told_as_one(tmp_path, ending):
    with volume_writer(tmp_path / f"a{ending}", (4, 5, 6), 0.5, {}) as out:
        out.write(0, RNG.normal(size=(4, 5, 6)))
    said = str(describe(tmp_path / f"a{ending}"))
    assert "4 planes of 5 rows × 6 columns" in said
    assert "none: a volume" in said
    assert "note:" not in said


@pytest.mark.parametrize(
    ("tilts", "order"),
    [
        (linear_tilts(60, 3), "ascending"),
        (linear_tilts(60, 3)[::-1], "descending"),
        (linear_tilts(60, 3)[dose_symmetric_order(linear_tilts(60, 3))], "dose-symmetric"),
        (linear_tilts(60, 3)[bidirectional_order(linear_tilts(60, 3))], "bidirectional"),
        (linear_tilts(60, 3) + np.linspace(0, 0.4, 41), "ascending"),
        (RNG.permutation(linear_tilts(60, 3)), "in no simple order"),
    ],
)
def test_order_of_the_tilts_is_named(tilts, order):
    assert order_of(np.asarray(tilts)) == order


@pytest.mark.parametrize(
    ("tilts", "complaint"),
    [
        (TILTS[:5], "gives 5 angles (shape (5,)), but"),
        (np.deg2rad(TILTS), "are they in radians"),
        (TILTS + 40, "some angles are beyond 90°"),
        ([-60, -40, -20, 0, 0, 20, 40], "0° is there more than once"),
        ([-60, -40, -20, 0, 60, 80, 100], "a gap of 60° after 0°: is an image missing?"),
    ],
)
def test_angles_that_cannot_be_right_are_noted(series, tilts, complaint):
    series.with_suffix(".tlt").write_text("\n".join(map(str, tilts)))
    assert complaint in notes(series)


def test_steps_that_narrow_with_the_tilt_are_no_gap(series):
    tilts = saxton_tilts(70, 3)
    write_mrc(series, specimen(len(tilts)), voxel_nm=0.5, overwrite=True)
    series.with_suffix(".tlt").write_text("\n".join(map(str, tilts)))
    assert notes(series) == ""


def test_unreadable_angles_do_not_keep_the_rest_from_being_told(series):
    series.with_suffix(".tlt").write_text("-60\nsteep\n")
    said = str(describe(series))
    assert "a.tlt, line 2: got 'steep'" in said
    assert "7 planes of 30 rows" in said


def test_vacuum_far_from_zero_is_noted(tmp_path, series):
    write_mrc(series, specimen(vacuum=-32000), voxel_nm=0.5, overwrite=True)
    assert "the most frequent value is -320" in notes(series)
    assert "not 0; if that is vacuum, subtract it" in notes(series)
    write_mrc(series, 2000 - specimen(), voxel_nm=0.5, overwrite=True)
    assert "if that is vacuum, take the logarithm of what is lost (--bright-field)" in notes(series)


def test_the_command_names_files_as_one_would_type_them(series, monkeypatch):
    monkeypatch.chdir(series.parent.parent)
    said = CliRunner().invoke(app, ["info", str(series)]).stdout
    here = f"{series.parent.name}/a"
    assert said.startswith(f"{here}.mrc\n") and f"; from {here}.tlt\n" in said


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"pixel": 1.0}, "a pixel of exactly 1 Å is what much software writes"),
        ({"pixel": 0.0}, "no size of a pixel is recorded"),
        ({"mode": 0}, "int8: 256 grey values"),
        ({"mode": 0}, "bytes are taken to be signed"),
        ({"mode": 2}, ""),
    ],
)
def test_suspicious_headers_are_noted(tmp_path, options, complaint):
    path = make_mrc(tmp_path / "a.mrc", specimen(), **{"mode": 2} | options)
    assert complaint in notes(path)


def test_pixel_that_is_nearly_an_angstrom_is_not_suspicious(tmp_path):
    assert notes(make_mrc(tmp_path / "a.mrc", specimen(), mode=2, pixel=1.01)) == ""


def test_bad_values_and_images_are_counted_and_named(series):
    images = specimen()
    images[2] = 0  # the beam was blanked
    images[3, 0, :5] = np.nan
    images[4] += 300
    make_mrc(series, images, mode=2)
    found = notes(series)
    assert "5 values are NaN or infinite" in found
    assert "section 2 is of one value throughout: empty" in found
    assert "sections 2, 4 are much brighter or darker than the others" in found
    images[5] = -np.inf
    make_mrc(series, images, mode=2)
    assert "section 2 is of one value" in notes(series)  # and not 5


def test_saturated_detector_is_noted(series):
    write_mrc(series, np.minimum(specimen(), 80), voxel_nm=0.5, overwrite=True)
    assert "% of the values are the largest, 80: saturated" in notes(series)


def test_a_hot_column_is_neither_saturation_nor_an_odd_image(series):
    images = specimen()
    images[:, :, 7] = images[3, 20:23, 30:33] = 5000
    write_mrc(series, images, voxel_nm=0.5, overwrite=True)
    said = "column 7 of 7 images and 9 pixels are far brighter or darker than the rest: image 3, row 20, column 30"
    assert said in notes(series)
    assert "saturated" not in notes(series) and "section" not in notes(series)


def test_file_of_nothing_but_nan_is_an_error(tmp_path):
    path = make_mrc(tmp_path / "a.mrc", np.full((2, 3, 4), np.nan), mode=2)
    with pytest.raises(ValueError, match="all values are NaN"):
        describe(path)


def test_command_prints_it_or_one_line_of_error(series, tmp_path):
    done = CliRunner().invoke(app, ["info", str(series)])
    assert done.exit_code == 0
    assert done.stdout.strip() == str(describe(series))
    other = make_tiff(tmp_path / "b.tif", specimen())
    done = CliRunner().invoke(app, ["info", str(other), "--tilts", str(series.with_suffix(".tlt"))])
    assert "step 20°, ascending" in done.stdout
    (tmp_path / "c.mrc").write_bytes(b"half")
    done = CliRunner().invoke(app, ["info", str(tmp_path / "c.mrc")])
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.data
def test_needle_has_its_known_trap_and_no_other():
    folder = data.fetch_needle()
    found = describe(folder / "HAADF.mrc")
    assert len(found.notes) == 1
    assert "the most frequent value is -318" in found.notes[0]
    assert found.most_frequent == pytest.approx(data.BACKGROUND, abs=10)
    assert "-76° to 76°, step 2°, ascending, missing wedge 28°" in str(found)
    assert describe(folder / "HAADF_Aligned.hspy").notes == ()


COSINES = np.cos(np.deg2rad(linear_tilts(60, 5)))[:, None, None]


def film_series(path, images):
    write_mrc(path, images.astype(np.float32), voxel_nm=0.5, overwrite=True)
    path.with_suffix(".tlt").write_text("\n".join(map(str, linear_tilts(60, 5))))
    return path


def texture(seed=0):
    """Thickness of a film, with voids: skewed to either side, with no vacuum anywhere."""
    rng, shape = np.random.default_rng(seed), (len(COSINES), 30, 40)
    return 1 - 0.4 * rng.random(shape) ** 6 + rng.normal(0, 0.02, shape)


@pytest.mark.parametrize("skew", [1, -1])
def test_contrast_of_a_film_is_told_by_its_tilt_dependence_and_not_by_skewness(series, skew):
    thickness = (texture() if skew > 0 else 2 - texture()) / COSINES
    bright = notes(film_series(series, 1000 * thickness))
    assert bright == "", "a film on nothing needs no advice"
    bright = notes(film_series(series, 5000 + 1000 * thickness))
    assert "the images grow brighter with the tilt" in bright and "--background NUMBER" in bright
    assert "without specimen they would have about 5" in bright
    assert (
        "bright-field" not in bright and "--background mode" not in bright and "much brighter" not in bright
    )
    dark = notes(film_series(series, 5000 * np.exp(-thickness)))
    assert "--bright-field --background NUMBER" in dark and "much brighter" not in dark


def test_no_advice_where_the_contrast_is_undecided(series):
    jumps = np.random.default_rng(1).uniform(0.2, 3, COSINES.shape)
    undecided = notes(film_series(series, 1000 + 100 * jumps * texture()))
    assert "do not tell whether that is vacuum" in undecided
    assert "bright-field" not in undecided and "--background mode" not in undecided


def test_an_odd_image_of_a_film_is_named(series):
    images = 1000 * texture() / COSINES
    images[3] *= 2
    assert "section 3 is much brighter or darker than the others" in notes(film_series(series, images))


def test_vacuum_of_counted_electrons_is_the_mean_of_what_is_empty(series):
    rng = np.random.default_rng(0)
    expected = np.full((len(COSINES), 64, 64), 0.99)
    expected[:, 24:40, 16:48] += 3
    counts = rng.poisson(expected)
    assert "the mean of what is empty is 0.9" in notes(film_series(series, counts))
    assert vacuum_of(counts.astype(np.float32)) == pytest.approx(0.99, abs=0.03)
    assert vacuum_of(np.float32(expected)) == pytest.approx(0.99, abs=1e-3)


MDOC = "[T =     Tilt axis angle = {angle}, binning = 1]\n"


@pytest.mark.parametrize(
    ("recorded", "options", "contradicted"),
    [
        (0.4, "--axis y, and --tilt-axis -0.4", "x"),
        (84.8, "--axis x, and --tilt-axis -5.2", "y"),
        (-85.3, "--axis x, and --tilt-axis 4.7", "y"),
    ],
)
def test_recorded_axis_is_shown_and_contradicts_another(series, recorded, options, contradicted):
    series.with_name("a.mrc.mdoc").write_text(MDOC.format(angle=recorded))
    assert options in str(describe(series))
    right = "xy".replace(contradicted, "")
    leans = note_on_axis(open_series(series, axis=right))
    assert (leans is None) if abs(recorded) < 0.5 else (options in leans)
    assert f"use --axis {right}" in note_on_axis(open_series(series, axis=contradicted))
