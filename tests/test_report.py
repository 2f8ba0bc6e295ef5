"""The report on a volume: names are text and never markup, and no failure of it costs the volume."""

import json
import os

import matplotlib.pyplot as plt
import numpy as np
import pytest
from typer.testing import CliRunner

from etlab import report
from etlab.cli import app
from etlab.io import read_volume, write_mrc
from etlab.slabs import Plan, Reconstruction
from etlab.slabs.assemble import Sections

TILTS = np.arange(-60, 61, 15.0)
IMAGES = np.random.default_rng(0).random((len(TILTS), 12, 12)).astype(np.float32)
MARKUP = r"AuNP_$5_$10 $\frac{x $\undefined$ a^b_c & <i>d</i> %s {0} \alpha one \$"
unix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")


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


@unix
def test_a_series_of_any_name_becomes_a_volume_with_a_report(tmp_path):
    done = reconstructed(tmp_path, "AuNP_$5_$10 line\nbreak \udcff 断層")
    assert done.exit_code == 0, done.output
    assert "Glyph" not in done.output and "Traceback" not in done.output
    assert read_volume(tmp_path / "out.mrc")[0].shape == (12, 12, 12)
    assert (tmp_path / "out.png").stat().st_size > 10_000
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
