"""`etlab align` and `etlab reconstruct`: from a file to a volume, what is said, and what is refused."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from etlab.alignment import align as align_images
from etlab.cli import app
from etlab.cli.reconstruct import say_plan
from etlab.data import BACKGROUND, fetch_needle
from etlab.geometry import TiltGeometry
from etlab.io import open_series, read_series, read_volume, write_mrc
from etlab.pipeline import Plan, Prepared
from etlab.pipeline.density import density_of
from etlab.projector import Projector
from etlab.solvers import sirt, tv, wbp
from tests.test_align import TILTS, middle, particle, small

pytestmark = pytest.mark.usefixtures("empty_page")


def etlab(*arguments):
    """Run a command; what goes wrong is said in a line and never as a traceback."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "Traceback" not in done.output
    return done


def succeeds(*arguments):
    done = etlab(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def fails(*arguments, says):
    done = etlab(*arguments)
    assert done.exit_code == 1, done.output
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert re.search(says, line), line


@pytest.fixture
def raw(tmp_path):
    """A series that wants everything: shifts, a turned axis, a background far below zero, 2 nm a pixel."""
    shifts = np.random.default_rng(1).normal(0, 2, (len(TILTS), 2))
    images = middle(particle(0, shifts=shifts, tilt_axis_deg=2.0))
    write_mrc(tmp_path / "raw.mrc", (100 * images - 3000).astype(np.int16), voxel_nm=2.0)
    np.savetxt(tmp_path / "raw.rawtlt", TILTS)
    return tmp_path / "raw.mrc"


@pytest.fixture
def aligned(tmp_path):
    """A series that wants nothing."""
    write_mrc(tmp_path / "aligned.mrc", particle(0), voxel_nm=2.0)
    np.savetxt(tmp_path / "angles.txt", TILTS)
    return tmp_path / "aligned.mrc", "--tilts", tmp_path / "angles.txt"


@pytest.fixture
def narrow(tmp_path):
    """The same of few pixels."""
    write_mrc(tmp_path / "narrow.mrc", small(particle(0)), voxel_nm=4.0)
    np.savetxt(tmp_path / "narrow.tlt", TILTS)
    return tmp_path / "narrow.mrc"


def projector(images, thickness=None):
    _, n_rows, nx = images.shape
    return Projector(TiltGeometry(TILTS, (thickness or n_rows, n_rows, nx), n_rows))


def density_of_all(images):
    """The density that the command line takes for 1."""
    return density_of(sirt(projector(images), images, n_iter=100))


def test_a_series_becomes_a_volume_with_a_report(aligned, tmp_path):
    out = tmp_path / "volume.mrc"
    said = succeeds("reconstruct", *aligned, "-o", out, "-m", "sirt", "--iterations", 5, "--thickness", 50)
    volume, voxel_nm = read_volume(out)
    expected = sirt(projector(particle(0), 50), particle(0), n_iter=5)
    np.testing.assert_allclose(volume, expected, atol=1e-6 * expected.max())
    assert voxel_nm == pytest.approx(2.0)
    assert "2 nm a pixel" in said and "50 × 80 × 96 voxels of 2 nm" in said
    assert "residual before the last iteration" in said and "Fourier shell correlation" in said
    numbers = json.loads(out.with_suffix(".json").read_text())
    assert numbers["shape"] == [50, 80, 96] and len(numbers["residuals"]) == 5
    assert numbers["residuals"] == sorted(numbers["residuals"], reverse=True)
    assert numbers["fsc"]["correlation"][0] > 0.9
    assert numbers["settings"]["method"] == "sirt" and numbers["settings"]["options"]["n_iter"] == "5"
    assert {path.name for path in tmp_path.iterdir()} == {
        "aligned.mrc",
        "angles.txt",
        "volume.mrc",
        "volume.png",
        "volume.json",
    }


def test_options_of_the_method_reach_it(narrow, tmp_path):
    images, out = small(particle(0)), tmp_path / "volume.h5"
    succeeds(
        "reconstruct",
        narrow,
        "-o",
        out,
        "-m",
        "wbp",
        "--option",
        "window=hann",
        "--option",
        "cutoff=0.5",
        "--no-fsc",
    )
    expected = wbp(projector(images), images, window="hann", cutoff=0.5)
    np.testing.assert_allclose(read_volume(out)[0], expected, atol=1e-5 * expected.max())
    assert "fsc" not in json.loads(out.with_suffix(".json").read_text())
    tv_out = tmp_path / "tv.mrc"
    succeeds(
        "reconstruct",
        narrow,
        "-o",
        tv_out,
        "-m",
        "tv",
        "--iterations",
        3,
        "--option",
        "lam=0.2",
        "--no-fsc",
    )
    expected = tv(projector(images), images, n_iter=3, lam=0.2 * density_of_all(images))
    np.testing.assert_allclose(read_volume(tv_out)[0], expected, atol=1e-5 * expected.max())


def test_rows_columns_and_bin_are_in_pixels_of_the_file(aligned, tmp_path):
    out = tmp_path / "volume.mrc"
    succeeds(
        "reconstruct",
        *aligned,
        "-o",
        out,
        "-m",
        "wbp",
        "--bin",
        2,
        "--rows",
        "8:72",
        "--columns",
        "20:60",
        "--no-fsc",
    )
    images = Prepared(open_series(aligned[0], tilts=TILTS), (8, 72), 2).read(0, 48)
    volume, voxel_nm = read_volume(out)
    assert volume.shape == (32, 32, 20) and voxel_nm == pytest.approx(4.0)
    np.testing.assert_allclose(volume, wbp(projector(images), images)[:, :, 10:30], atol=1e-4)


def test_an_aligned_series_is_what_align_finds(raw, tmp_path):
    out = tmp_path / "aligned.mrc"
    said = succeeds("align", raw, "-o", out, "--background", "mode", "--rounds", 2)
    series = read_series(out)
    assert series.tilts_from.endswith("aligned.tlt") and series.pixel_nm == pytest.approx(2.0)
    about = json.loads(out.with_suffix(".json").read_text())
    images = read_series(raw).images - np.float32(about["background"])
    found = align_images(images, TILTS, n_rounds=2)
    np.testing.assert_allclose(series.images, found.apply(images, smooth=False), atol=0.02)
    np.testing.assert_allclose(about["shifts (rows, columns)"], found.shifts)
    assert (
        found.tilt_axis_deg == pytest.approx(2.0, abs=0.3)
        and f"tilt axis at {found.tilt_axis_deg:.2f}°" in said
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        "raw.mrc",
        "raw.rawtlt",
        "aligned.mrc",
        "aligned.tlt",
        "aligned.json",
    }


def test_align_and_reconstruct_in_one_go_or_in_two(raw, tmp_path):
    succeeds("align", raw, "-o", tmp_path / "aligned.mrc", "--background", "mode")
    common = ("-m", "sirt", "--iterations", 4, "--no-fsc")
    succeeds("reconstruct", tmp_path / "aligned.mrc", "-o", tmp_path / "two.mrc", *common)
    succeeds("reconstruct", raw, "-o", tmp_path / "one.mrc", "--align", "--background", "mode", *common)
    one, two = (read_volume(tmp_path / name)[0] for name in ("one.mrc", "two.mrc"))
    np.testing.assert_allclose(one, two, atol=1e-5 * two.max())
    assert two.max() > 5


def test_a_turned_axis_is_undone_as_told(tmp_path):
    """Told how the axis lies, the volume is that of the series whose axis lies along x; told the opposite, another."""
    write_mrc(tmp_path / "turned.mrc", middle(particle(0, tilt_axis_deg=3.0)), voxel_nm=2.0)
    np.savetxt(tmp_path / "turned.tlt", TILTS)
    straight = sirt(projector(middle(particle(0))), middle(particle(0)), n_iter=10)
    common = ("--iterations", 10, "--no-fsc")
    alike = {}
    for turn in (3.0, -3.0):
        out = tmp_path / f"{turn}.mrc"
        succeeds("reconstruct", tmp_path / "turned.mrc", "-o", out, "--tilt-axis", turn, *common)
        alike[turn] = np.corrcoef(read_volume(out)[0].ravel(), straight.ravel())[0, 1]
    assert alike[3.0] > 0.995 and alike[-3.0] < 0.97


def test_an_axis_at_pixel_n_over_2_is_told_without_interpolation(tmp_path):
    """Half a pixel leaves out a row; whole pixels are copied; few columns are enough for either."""
    images = particle(0)[:, :, 40:43]
    write_mrc(tmp_path / "fft.mrc", images, voxel_nm=2.0)
    np.savetxt(tmp_path / "fft.tlt", TILTS)
    common = ("reconstruct", tmp_path / "fft.mrc", "-m", "wbp", "--no-fsc", "-o")
    for offset, seen in ((0.5, images[:, 1:]), (-0.5, images[:, :-1]), (3, moved_down(images, 3))):
        succeeds(*common, out := tmp_path / f"{offset}.mrc", "--axis-offset", offset)
        expected = wbp(projector(seen), seen)
        np.testing.assert_allclose(read_volume(out)[0], expected, atol=1e-5 * expected.max())


def moved_down(images, rows):
    return images[:, np.clip(np.arange(images.shape[1]) + rows, 0, images.shape[1] - 1)]


def test_a_volume_may_be_wider_than_the_images(aligned, tmp_path):
    out = tmp_path / "volume.mrc"
    common = ("--iterations", 2, "--thickness", 8, "--no-fsc", "--columns", "40:44")
    succeeds("reconstruct", *aligned, "-o", out, "--width", 100, *common)
    images = particle(0)[:, :, 40:44]
    wide = Projector(TiltGeometry(TILTS, (8, 100, 4), images.shape[1]))
    expected = sirt(wide, images, n_iter=2)
    np.testing.assert_allclose(read_volume(out)[0], expected, atol=1e-5 * expected.max())


def test_sart_makes_up_for_few_tilts(aligned, tmp_path):
    common = ("-m", "sart", "--no-fsc", "--columns", "40:42", "-o")
    succeeds("reconstruct", *aligned, *common, tmp_path / "a.mrc")
    succeeds("reconstruct", *aligned, *common, tmp_path / "b.mrc", "--iterations", 2)
    sweeps = [
        json.loads((tmp_path / name).read_text())["settings"]["options"]["n_iter"]
        for name in ("a.json", "b.json")
    ]
    assert sweeps == [str(round(300 / len(TILTS))), "2"]


def test_a_background_is_asked_for_and_subtracted(raw, tmp_path):
    out = tmp_path / "volume.mrc"
    fails(
        "reconstruct",
        raw,
        "-o",
        out,
        says=r"mean line integral is -2\d{3}\.?\d*, expected a bright specimen on vacuum near 0",
    )
    done = etlab("reconstruct", raw, "-o", out, "-m", "wbp", "--no-fsc")
    assert done.exit_code == 0 and "the most frequent value is -3000, not 0" in done.stderr
    succeeds(
        "reconstruct", raw, "-o", out, "--background", -3000, "--iterations", 2, "--no-fsc", "--overwrite"
    )


def test_a_dark_specimen_is_taken_the_logarithm_of(tmp_path):
    """From counts in bright field, the volume is that of the line integrals but for the noise of counting."""
    integrals = 2 * particle(0) / particle(0).max()
    counts = np.random.default_rng(2).poisson(20000 * np.exp(-integrals))
    dark, out = tmp_path / "dark.mrc", tmp_path / "volume.mrc"
    write_mrc(dark, counts.astype(np.int16), voxel_nm=2.0)
    np.savetxt(tmp_path / "dark.tlt", TILTS)
    common = ("reconstruct", dark, "-o", out, "--iterations", 10, "--no-fsc")
    fails(
        *common, "--background", "mode", says="mean line integral is -.*see --background and --bright-field"
    )
    said = succeeds(*common, "--bright-field")
    vacuum = float(re.search(r"background (\S+), the most frequent intensity, is that of vacuum", said)[1])
    assert vacuum == pytest.approx(20000, rel=0.01)
    expected = sirt(projector(integrals), integrals, n_iter=10)
    assert np.corrcoef(read_volume(out)[0].ravel(), expected.ravel())[0, 1] > 0.99
    assert json.loads(out.with_suffix(".json").read_text())["settings"]["bright field"] is True
    fails(
        *common,
        "--bright-field",
        "--background",
        10,
        "--overwrite",
        says="expected a dark specimen on bright vacuum",
    )


def test_what_is_suspicious_is_said_before_hours_are_spent(aligned, tmp_path, capsys):
    """A pixel of 1 Å, unless the user says the size; slabs so narrow that they are slow."""
    series, *tilts = aligned
    write_mrc(series, particle(0), voxel_nm=0.1, overwrite=True)
    common = ("reconstruct", series, *tilts, "-m", "wbp", "--no-fsc", "-o")
    assert "note: a pixel of exactly 1 Å" in etlab(*common, tmp_path / "a.mrc").stderr
    assert "1 Å" not in etlab(*common, tmp_path / "b.mrc", "--pixel-nm", 2).stderr
    for width, columns, narrow in ((4, (0, 96), True), (4, (8, 12), False), (16, (0, 96), False)):
        say_plan(Plan(columns, width, 0, 1, 1e9), 3)
        said = capsys.readouterr()
        assert "slabs kept from an earlier run: 3" in said.out
        assert ("note: slabs this narrow are slow" in said.err) == narrow


def test_a_network_takes_its_scale_from_the_series(aligned, tmp_path):
    pytest.importorskip("onnxruntime")
    out = tmp_path / "volume.mrc"
    said = succeeds("reconstruct", *aligned, "-o", out, "-m", "isonet", "--columns", "32:64", "--no-fsc")
    scale = float(re.search(r"density that the network takes for 1: (\S+)", said)[1])
    images = particle(0)[:, :, 32:64]
    found = sirt(projector(images), images, n_iter=100)
    assert 0.5 < scale / found.max() < 1.1
    assert np.corrcoef(read_volume(out)[0].ravel(), found.ravel())[0, 1] > 0.8


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("-m", "fbp"), "method: got 'fbp', expected one of wbp, sirt"),
        (("--option", "lam=1"), "sirt: no option 'lam'"),
        (("--option", "lam"), "expected NAME=VALUE"),
        (("--rows", "10-20"), "--rows: got '10-20', expected FIRST:STOP"),
        (("--rows", "10:200"), "error: --rows: got 10:200"),
        (("--columns", "90:100"), "error: --columns: got 90:100"),
        (("--bin", 81), "error: --bin: got 81"),
        (("--background", "much"), "--background: got 'much', expected a number"),
        (("--memory", "lots"), "error: --memory: got 'lots'"),
        (("--memory", "10MB"), "memory: got 0.01 GB.*need"),
        (("--align", "--tilt-axis", 2), "not both"),
        (("--tilts", "none.tlt"), "none.tlt"),
        (("--overlap", 2, "-m", "tv", "--memory", "10MB"), "memory: got 0.01 GB"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(aligned, tmp_path, options, says):
    fails("reconstruct", *aligned, "-o", tmp_path / "volume.mrc", *options, says=says)
    assert not list(tmp_path.glob("volume*"))


def test_nothing_is_overwritten_without_being_asked(aligned, raw, tmp_path):
    (untilted := tmp_path / "untilted.mrc").write_bytes(aligned[0].read_bytes())
    fails("reconstruct", untilted, "-o", tmp_path / "volume.mrc", says="use --tilts, the angles in degrees")
    for name in ("volume.mrc", "volume.png", "volume.json"):
        (tmp_path / name).write_text("mine")
        fails(
            "reconstruct", *aligned, "-o", tmp_path / "volume.mrc", says=f"{name} exists; use --overwrite to"
        )
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    for name in ("out.mrc", "out.tlt", "out.json"):
        (tmp_path / name).write_text("mine")
        fails("align", raw, "-o", tmp_path / "out.mrc", says=f"{name} exists")
        (tmp_path / name).unlink()
    fails("reconstruct", *aligned, "-o", tmp_path / "volume.jpg", says="jpg.*expected one of .mrc")
    fails("reconstruct", *aligned, "-o", tmp_path / "nowhere" / "volume.mrc", says="no folder")


@pytest.mark.data
def test_the_needle_from_its_raw_file_to_a_volume(tmp_path):
    """At half size: the layers are as bright as others found them, and the halves agree far beyond a layer."""
    raw, out = fetch_needle() / "HAADF.mrc", tmp_path / "volume.mrc"
    said = succeeds(
        "align", raw, "-o", tmp_path / "aligned.mrc", "--background", "mode", "--bin", 2, "--rounds", 1
    )
    assert abs(float(re.search(r"background (\S+),", said)[1]) - BACKGROUND) < 10
    assert abs(float(re.search(r"axis at (\S+)°", said)[1]) - 2.79) < 0.5
    succeeds("reconstruct", tmp_path / "aligned.mrc", "-o", out, "--iterations", 20, "--thickness", 96)
    volume, voxel_nm = read_volume(out)
    assert voxel_nm == pytest.approx(6.72) and volume.shape == (96, 128, 128)
    numbers = json.loads(out.with_suffix(".json").read_text())
    assert numbers["residuals"][-1] < 0.12
    assert numbers["fsc"]["resolution [nm]"]["0.5"] < 25
    along = volume[40:56, 56:72].mean(axis=(0, 1))
    assert along[60] > 3 * along[20], "the layered tip is denser than the shaft"


@pytest.mark.parametrize("command", ["align", "reconstruct"])
def test_no_command_writes_over_its_own_series_or_angles(narrow, command):
    before = narrow.read_bytes(), narrow.with_suffix(".tlt").read_bytes()
    fails(
        command, narrow, "-o", narrow, "--overwrite", says=r"--out: .*narrow\.mrc is an input of this command"
    )
    beside = narrow.with_suffix(".tlt")
    fails(
        command,
        narrow,
        "--tilts",
        beside,
        "-o",
        narrow.with_suffix(".rec"),
        "--overwrite",
        says="narrow.tlt is an in",
    )
    assert (narrow.read_bytes(), narrow.with_suffix(".tlt").read_bytes()) == before


def test_a_folder_that_cannot_be_written_to_is_named_before_the_work(narrow, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    fails(
        "reconstruct", narrow, "-o", tmp_path / "out.mrc", says=f"the folder {tmp_path} cannot be written to"
    )
