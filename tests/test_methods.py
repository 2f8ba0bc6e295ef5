"""The rows of the leaderboard: their names, that they can be called alike, and their order on a noisy sample."""

import csv
from importlib.resources import files

import numpy as np
import pytest

from etlab.challenge import simulate
from etlab.forward import TiltSeriesModel
from etlab.metrics import psnr, ssim
from etlab.phantoms import SCENES
from etlab.solvers import METHODS


@pytest.fixture(scope="module")
def scores():
    """Mean PSNR and SSIM of every method over the four scenes at the small preset."""
    each = {name: [] for name in METHODS}
    for scene in SCENES:
        sample = simulate(scene, "small", 1)
        H = TiltSeriesModel(sample.geometry, optics=sample.optics)
        for name, method in METHODS.items():
            volume = method(H, sample.y)
            assert volume.shape == sample.x_true.shape
            assert volume.dtype == np.float32
            each[name].append((psnr(volume, sample.x_true), ssim(volume, sample.x_true)))
    return {name: np.mean(values, axis=0) for name, values in each.items()}


def test_classical_rows_are_named_as_published():
    with (files("etlab") / "tables" / "published_standard.csv").open(encoding="utf-8") as table:
        published = {cell for row in csv.reader(table) for cell in row}
    assert {"WBP-ET", "SIRT-ET", "CS-ET"} <= published & set(METHODS)
    assert {"SART", "GENFIRE"} <= set(METHODS)


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
    for name in set(METHODS) - {"WBP-ET"}:
        seen = []
        METHODS[name](H, sample.y, callback=lambda s, seen=seen: seen.append(s.residual) or True)
        assert len(seen) == 1
