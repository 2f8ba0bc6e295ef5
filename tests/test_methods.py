"""The rows of the leaderboard: their names, that they can be called alike, and their order on a noisy sample."""

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from etlab import solvers
from etlab.cli import app
from etlab.course.benchmark.studies import GALLERY
from etlab.course.scenes import simulate
from etlab.course.scenes.published import published
from etlab.forward import TiltSeriesModel
from etlab.phantoms import SCENES
from etlab.pipeline import Method
from etlab.solvers import LEARNED, METHODS
from etlab.solvers.methods import ROWS, described

CLASSICAL = [name for name in METHODS if name not in LEARNED]


@pytest.fixture(scope="module")
def scores():
    """Mean PSNR and SSIM of every classical method over the four scenes at the small preset.

    They are those of the committed gallery, which `test_standard` holds to be of this code.
    """
    each = {name: [] for name in CLASSICAL}
    for cell, one in GALLERY.load()[1].items():
        if cell.method in each and (cell.preset, cell.scenario) == ("small", "I"):
            each[cell.method].append((one.psnr_db, one.ssim))
    assert all(len(values) == len(SCENES) for values in each.values())
    return {name: np.mean(values, axis=0) for name, values in each.items()}


def test_every_published_row_is_a_method_and_some_more_are():
    names = {row["method"] for row in published("standard")}
    assert len(names) == 9
    assert names < set(METHODS)
    assert set(METHODS) - names == {"SART", "GENFIRE", "cryo-CARE", "TomoGAN", "DeepRecon"}


def test_a_row_is_described_as_one_would_call_it():
    assert described(METHODS["CS-ET"]) == "tv(lam=0.05, n_iter=60)"
    assert described(METHODS["WBP-ET"]) == "wbp()"


def test_one_row_puts_a_solver_everywhere():
    """Its function is offered, and the pipeline and the help of the command line know it by its name."""
    help_text = re.sub(r"\W+", " ", CliRunner().invoke(app, ["reconstruct", "--help"]).stdout)
    for row, one in ROWS.items():
        package = solvers.learned if one.learned else solvers
        assert one.name in package.__all__ and described(METHODS[row]).startswith(f"{one.name}(")
        assert Method(one.name, {}).traits == one.traits
        assert f" {one.name} " in help_text


def test_each_step_from_back_projection_to_compressed_sensing_gains(scores):
    for worse, better in (
        ("WBP-ET", "SIRT-ET"),
        ("SIRT-ET", "CS-ET"),
        ("SART", "CS-ET"),
        ("GENFIRE", "CS-ET"),
    ):
        assert (scores[worse] < scores[better]).all(), (worse, better, scores)


def test_sart_reaches_about_what_sirt_does(scores):
    assert abs(scores["SART"][0] - scores["SIRT-ET"][0]) < 1


def test_methods_take_a_progress_bar_and_a_callback():
    sample = simulate("lamella", "small", 1)
    H = TiltSeriesModel(sample.geometry, optics=None)
    for name in set(CLASSICAL) - {"WBP-ET"}:
        seen = []
        volume = METHODS[name](H, sample.y, callback=lambda s, seen=seen: seen.append(s.residual) or True)
        assert len(seen) == 1
        assert volume.shape == sample.x_true.shape and volume.dtype == np.float32
