"""Boards keep measured and published apart, and rank by what was measured."""

import functools

import pytest
from typer.testing import CliRunner

from etlab.cli import app
from etlab.course.benchmark import board, standard
from etlab.course.benchmark.standard import Cell, Score
from etlab.course.benchmark.studies import STANDARD


def result(psnr_db, ssim=0.8, score=0.5):
    return Score(psnr_db, ssim, score, 0.9, 0.1, 0.3, 2.0, 3.0)


RESULTS = {
    Cell("WBP-ET", "lamella", 101): result(20, score=0.3),
    Cell("WBP-ET", "lamella", 102): result(22, score=0.5),
    Cell("CS-ET", "lamella", 101): result(27, score=0.6),
    Cell("SART", "lamella", 101): result(30, score=0.9),
    Cell("SIRT-ET", "lamella", 101): result(24, score=0.55),
    Cell("SIRT-ET", "lamella", 101, "II"): result(10, score=0.1),
}


def test_rows_are_ranked_by_measured_score_from_scenario_one_only():
    rows = board.standard_board(RESULTS)
    assert [row.method for row in rows] == ["SART", "CS-ET", "SIRT-ET", "WBP-ET"]
    assert rows[2].psnr_db == (24, 0)


def test_means_and_spreads_are_over_cells():
    wbp = board.standard_board(RESULTS)[-1]
    assert wbp.psnr_db == pytest.approx((21, 2**0.5))
    assert wbp.n_cells == 2


def test_published_values_stand_in_columns_of_their_own():
    rows = {row.method: row for row in board.standard_board(RESULTS)}
    assert rows["WBP-ET"].published == (20.9, 0.678, 0.437)
    assert rows["SART"].published is None


def test_rank_agreement_counts_only_methods_with_both():
    rho, n = board.rank_agreement(board.standard_board(RESULTS))
    assert (rho, n) == (pytest.approx(1), 3)


def test_the_gallery_sets_scenarios_side_by_side():
    row = next(row for row in board.gallery(RESULTS) if row["method"] == "SIRT-ET")
    assert (row["I_psnr"], row["II_psnr"]) == (24, 10)


def test_the_leaderboard_command_prints_the_committed_board():
    done = CliRunner().invoke(app, ["leaderboard"])
    assert done.exit_code == 0
    assert "measured" in done.output and "published" in done.output and "Spearman" in done.output
    assert "WBP-ET" in done.output and "uncalibrated / calibrated / oracle" in done.output


def test_commands_say_what_is_wrong_in_one_line(tmp_path):
    missing = CliRunner().invoke(app, ["leaderboard", str(tmp_path / "none.json")])
    assert missing.exit_code == 1 and "none.json" in missing.output and "Traceback" not in missing.output
    unknown = CliRunner().invoke(
        app, ["benchmark", "standard", "-m", "MAGIC", "-o", str(tmp_path / "r.json")]
    )
    assert unknown.exit_code == 1 and "MAGIC" in unknown.output


@pytest.fixture
def two_scenes(monkeypatch):
    """The commands go on to two of the scenes, and to one seed."""
    fewer = functools.partial(standard.cells, scenes=standard.SCENES[:2], seeds=standard.TEST_SEEDS[:1])
    monkeypatch.setattr(standard, "cells", fewer)


def test_the_benchmark_command_measures_saves_and_prints(tmp_path, two_scenes):
    arguments = ["benchmark", "standard", "-m", "WBP-ET", "--preset", "small", "-o", str(tmp_path / "r.json")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "r.json").exists() and (tmp_path / "r.csv").exists()
    assert "WBP-ET" in done.output
    assert set(STANDARD.load(tmp_path / "r.json")[1]) == set(
        standard.cells(methods=("WBP-ET",), preset="small")
    )


def test_the_gallery_command_draws_a_picture_and_does_not_overwrite_one(tmp_path, two_scenes):
    arguments = ["benchmark", "gallery", "-m", "WBP-ET", "--preset", "small", "-o", str(tmp_path / "g.png")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.iterdir()] == ["g.png"]
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "g.png").write_bytes(b"mine")
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 1 and "already there" in refused.output
    assert (tmp_path / "g.png").read_bytes() == b"mine"
