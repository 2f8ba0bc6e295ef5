"""The report on a volume: names are text and never markup, and no failure of it costs the volume."""

import json
import os
import re
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from typer.testing import CliRunner

from etlab import pipeline
from etlab.cli import app
from etlab.io import read_volume, write_mrc
from etlab.pipeline import Plan, Reconstruction, report
from etlab.pipeline.assemble import Sections

TILTS = np.arange(-60, 61, 15.0)
IMAGES = np.random.default_rng(0).random((len(TILTS), 12, 12)).astype(np.float32)
MARKUP = r"AuNP_$5_$10 $\frac{x $\undefined$ a^b_c & <i>d</i> %s {0} \alpha one \$"
linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")


SHORT = {"reconstruct": ["-m", "wbp", "--no-fsc"], "align": ["--rounds", "0"]}


def drawn():
    """A blob in the middle of each image, which can be aligned."""
    at = np.exp(-((np.arange(12) - 5.5) ** 2) / 8)
    return np.broadcast_to(np.outer(at, at), (len(TILTS), 12, 12)).astype(np.float32)


def result(correlation=(0.9, 0.8, 0.7)):
    """What `report` is given, of a volume that nobody looks at."""
    plane = np.random.default_rng(1).random((8, 8), np.float32)
    fsc = np.array([0.1, 0.2, 0.5]), np.array(correlation)
    plan = Plan((0, 8), 8, 0, 1, 1e6)
    return Reconstruction(
        (8, 8, 8), 2.0, TILTS, {}, Sections(plane, plane, plane), plane, np.ones(3), fsc, plan, 1.0
    )


def reconstructed(folder, name):
    """Run the command on a series of this name."""
    series = folder / f"{name}.mrc"
    write_mrc(series, IMAGES, voxel_nm=1)
    np.savetxt(series.with_suffix(".tlt"), TILTS)
    return CliRunner().invoke(
        app, ["reconstruct", str(series), "-o", str(folder / "out.mrc"), "-m", "wbp", "--no-fsc"]
    )


def test_a_title_is_drawn_as_it_is_typed():
    figure = report.page(result(), MARKUP)
    figure.set_dpi(30)
    figure.canvas.draw()
    assert figure.get_suptitle() == MARKUP
    plt.close(figure)


def test_a_correlation_that_never_falls_has_no_resolution_beside_it():
    figure = report.page(result((0.9, 0.8, 0.7)), "one")
    said = [text.get_text() for text in figure.axes[5].texts]
    assert said == [" 0.5: never below", " 0.143: never below"]
    plt.close(figure)


@linux
def test_a_series_of_any_name_becomes_a_volume_with_a_report(tmp_path):
    done = reconstructed(tmp_path, "AuNP_$5_$10 line\nbreak \udcff 断層")
    assert done.exit_code == 0, done.output
    assert "Glyph" not in done.output and "Traceback" not in done.output
    assert read_volume(tmp_path / "out.mrc")[0].shape == (12, 12, 12)
    picture = plt.imread(tmp_path / "out.png")
    assert min(picture.shape[:2]) > 500 and picture[..., :3].std() > 0.05
    assert json.loads((tmp_path / "out.json").read_text())["shape"] == [12, 12, 12]


def test_a_failed_report_costs_neither_the_volume_nor_the_numbers(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no fonts")

    monkeypatch.setattr(report, "page", fail)
    done = reconstructed(tmp_path, "series")
    assert done.exit_code == 0, done.output
    assert "warning: the volume is whole" in done.stderr and "out.png could not be written" in done.stderr
    assert "no fonts" in done.stderr and "report:" not in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out.json",
        "out.mrc",
        "series.mrc",
        "series.tlt",
    ]


@pytest.mark.parametrize(
    ("correlation", "nm", "no_shell_below", "words"),
    [
        ((0.9, 0.8, 0.7), 4.0, True, "above 0.5 down to two voxels, 4 nm"),
        ((0.9, 0.6, 0.4), 2.0 / 0.35, False, "below 0.5 at 5.71 nm"),
        ((0.4, 0.3, 0.2), None, False, "below 0.5 from the start"),
        ((0.9, 0.8, 0.4999), 4.0, False, "below 0.5 at 4 nm"),
    ],
)
def test_agreement_nowhere_and_everywhere_are_told_apart(correlation, nm, no_shell_below, words):
    told = report.numbers(result(correlation))["fsc"]
    assert told["resolution [nm]"]["0.5"] == (None if nm is None else pytest.approx(nm, rel=1e-3))
    assert told["no shell below"]["0.5"] is no_shell_below
    assert words in report.in_words(result(correlation))[-1]


@pytest.mark.parametrize("command", ["reconstruct", "align"])
def test_a_failed_verdict_costs_no_product(tmp_path, monkeypatch, command):
    def fail(_):
        raise RuntimeError("out of ideas\x1b[31m")

    monkeypatch.setattr(pipeline, "judge", fail)
    series, out = tmp_path / "a.mrc", tmp_path / "out.mrc"
    write_mrc(series, drawn(), voxel_nm=1)
    np.savetxt(series.with_suffix(".tlt"), TILTS)
    done = CliRunner().invoke(app, [command, str(series), "-o", str(out), *SHORT[command]])
    assert done.exit_code == 0, done.output
    assert re.search(
        r"^warning: no verdict.*: RuntimeError: out of ideas\\x1b\[31m$", done.stderr, re.MULTILINE
    )
    assert read_volume(out)[0].shape[1:] == (12, 12)
    assert "nothing suspicious" not in done.stdout and (tmp_path / "out.json").exists()


def test_what_a_report_cannot_count_costs_the_numbers_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "numbers", lambda *_: {"a": object()})
    done = reconstructed(tmp_path, "series")
    assert done.exit_code == 0 and "out.json could not be written: TypeError" in done.stderr
    assert (tmp_path / "out.png").exists() and (tmp_path / "out.mrc").exists()


@linux
def test_neither_a_wrong_backend_nor_closed_streams_cost_the_volume(tmp_path):
    write_mrc(tmp_path / "a.mrc", IMAGES, voxel_nm=1)
    np.savetxt(tmp_path / "a.tlt", TILTS)
    code, options = "from etlab.cli import app; app()", ["-o", "out.mrc", *SHORT["reconstruct"]]
    command = [sys.executable, "-c", code, "reconstruct", "a.mrc", *options]
    closed = ["bash", "-c", 'exec "$@" 2>&-', "-", *command]
    done = subprocess.run(
        closed, cwd=tmp_path, env=os.environ | {"MPLBACKEND": "nonsense"}, capture_output=True
    )
    assert done.returncode == 0 and b"out.mrc: 12" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mrc", "a.tlt", "out.json", "out.mrc"]
