"""The standard benchmark's bookkeeping: which cells, resuming, provenance, files."""

import csv
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from typer.testing import CliRunner

from etlab.cli import app
from etlab.course.benchmark import standard
from etlab.course.benchmark.board import standard_board
from etlab.course.benchmark.standard import Cell, Score, cells, measure
from etlab.course.benchmark.studies import GALLERY, STANDARD
from etlab.course.benchmark.study import save, write_csv
from etlab.course.benchmark.training import SUPERVISED
from etlab.course.scenes.simulation import PUBLIC_SEEDS
from etlab.solvers import tv


def score(psnr_db=20.0):
    return Score(psnr_db, 0.5, 0.3, 0.8, 0.1, 0.3, 1.0, 2.0)


def of_this_code(provenance, remedy):
    for method, origin in provenance.items():
        assert origin["code"] == STANDARD.code(method), f"{method}: code or weights changed; run `{remedy}`"


def as_committed(again, before):
    """Compare two scores, times aside; another processor rounds otherwise, and iterations carry it on."""
    assert again.psnr_db == pytest.approx(before.psnr_db, abs=0.02)
    assert again.ssim == pytest.approx(before.ssim, abs=0.002)
    for name in ("score", "consistency", "wedge_energy", "wedge_correlation"):
        assert getattr(again, name) == pytest.approx(getattr(before, name), abs=0.002), name


def test_the_board_is_measured_on_seeds_that_nothing_was_tuned_on():
    assert not set(standard.TEST_SEEDS) & set(PUBLIC_SEEDS)
    with pytest.raises(ValueError, match=r"seeds: got \[1\]"):
        cells(seeds=(1, 101))


def test_all_methods_four_scenes_three_seeds():
    todo = cells()
    methods = {cell.method for cell in todo}
    assert methods == set(standard.METHODS) - set(standard.not_runnable())
    assert len(todo) == len(set(todo)) == len(methods) * 4 * 3


def test_rows_that_cannot_be_run_here_are_left_out_unless_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(standard.network, "WEIGHTS", tmp_path)
    assert set(standard.not_runnable()) == set(standard.LEARNED)
    assert "python -m training.train swin" in standard.not_runnable()["SwinET"]
    assert not {cell.method for cell in cells()} & set(standard.LEARNED)
    done = CliRunner().invoke(app, ["benchmark", "standard", "-m", "SwinET", "-o", str(tmp_path / "r.json")])
    assert done.exit_code == 1 and "there are no weights of 'swin'" in done.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(methods=("MAGIC",)), "methods: got MAGIC.*WBP-ET"),
        (dict(scenarios=("IV",)), "scenarios: got IV"),
    ],
)
def test_unknown_names_are_refused_with_a_list_of_known_ones(options, message):
    with pytest.raises(ValueError, match=message):
        cells(**options)


def test_knowing_the_mismatch_gives_back_what_not_knowing_it_cost_as_the_committed_gallery_says():
    todo = cells(
        methods=("SIRT-ET",), scenes=("catalyst",), seeds=(101,), scenarios=("I", "II", "III"), preset="small"
    )
    measured = dict(measure(todo))
    _, committed = GALLERY.load()
    for cell, again in measured.items():
        as_committed(again, committed[cell])
    by_scenario = {cell.scenario: one for cell, one in measured.items()}
    assert by_scenario["II"].psnr_db < by_scenario["III"].psnr_db
    assert by_scenario["II"].consistency < by_scenario["III"].consistency
    assert abs(by_scenario["III"].psnr_db - by_scenario["I"].psnr_db) < 1


def test_measuring_again_gives_the_same_numbers():
    todo = cells(scenes=("vesicles",), seeds=(101,), methods=("WBP-ET",), preset="small")
    first, second = (dict(measure(todo)) for _ in range(2))
    assert [s.psnr_db for s in first.values()] == [s.psnr_db for s in second.values()]


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    todo = [Cell("WBP-ET", "vesicles", seed) for seed in (101, 102, 103)]
    asked = []

    def fake(missing, *, stop_after):
        for cell in missing[:stop_after]:
            asked.append(cell)
            yield cell, score(cell.seed)
        if stop_after < len(missing):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(STANDARD, measure=partial(fake, stop_after=2)).run(tmp_path / "r.json", todo, progress=False)
    assert list(STANDARD.load(tmp_path / "r.json")[1]) == todo[:2]
    results = replace(STANDARD, measure=partial(fake, stop_after=9)).run(
        tmp_path / "r.json", todo, progress=False
    )
    assert asked == todo
    assert [one.psnr_db for one in results.values()] == [101, 102, 103]


def test_results_of_other_code_are_not_mixed_in_and_can_be_renewed_row_by_row(tmp_path):
    path = tmp_path / "r.json"
    todo = [Cell(method, "vesicles", 101) for method in ("WBP-ET", "SIRT-ET")]
    replace(STANDARD, measure=lambda missing: ((cell, score()) for cell in missing)).run(
        path, todo, progress=False
    )
    changed = replace(
        STANDARD,
        measure=lambda missing: ((cell, score(33.0)) for cell in missing),
        code=lambda method: "other" if method == "WBP-ET" else STANDARD.code(method),
    )
    assert changed.run(path, todo[1:], progress=False)[todo[1]].psnr_db == 20
    with pytest.raises(ValueError, match="other code made the results of WBP-ET; use --renew"):
        changed.run(path, todo)
    renewed = changed.run(path, todo, renew=True, progress=False)
    assert [renewed[cell].psnr_db for cell in todo] == [33, 20]


@pytest.fixture
def other_code(tmp_path):
    """A file of six results, and a study with other code whose measurements give what it is told."""
    todo = [Cell(method, "vesicles", seed) for method in ("WBP-ET", "SIRT-ET") for seed in (101, 102, 103)]

    def gives(psnr_db, seconds=9.0):
        one = Score(psnr_db, 0.5, 0.3, 0.8, 0.1, 0.3, seconds, seconds)

        def measure(missing):
            asked.extend(missing)
            return ((cell, one) for cell in missing)

        def same(missing):
            asked.extend(missing)
            return ((cell, one) for cell in missing)

        return replace(STANDARD, measure=same, code=lambda method: "other")

    asked = []
    replace(gives(20.0, seconds=1.0), code=STANDARD.code).run(tmp_path / "r.json", todo, progress=False)
    asked.clear()
    return tmp_path / "r.json", todo, gives, asked


def test_results_of_other_code_are_confirmed_by_some_that_are_the_same(other_code):
    path, todo, gives, asked = other_code
    study = gives(20.0)
    before, _ = STANDARD.load(path)
    results = study.run(path, todo, confirm=2, progress=False)
    origins, _ = STANDARD.load(path)
    assert len(set(asked)) == 4
    assert [cell.method for cell in asked] == ["WBP-ET", "WBP-ET", "SIRT-ET", "SIRT-ET"]
    assert {one.seconds for one in results.values()} == {1.0}, "the results themselves stay"
    assert all(origin["code"] == "other" for origin in origins.values())
    assert origins["WBP-ET"]["confirmed"]["cells"] == 2
    assert origins["WBP-ET"]["confirmed"]["code before"] == before["WBP-ET"]["code"]
    study.run(path, todo, progress=False)
    assert len(asked) == 4, "nothing is stale any more"


def test_results_that_are_not_the_same_are_not_confirmed(other_code):
    path, todo, gives, _ = other_code
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"psnr_db 20 is now 20\.01; use --renew"):
        gives(20.01).run(path, todo, confirm=2, progress=False)
    assert path.read_bytes() == before


def test_new_weights_make_the_results_of_their_row_stale_and_of_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(standard.network, "WEIGHTS", tmp_path)
    for name in ("dncnn", "swin"):
        (tmp_path / f"{name}.onnx").write_bytes(b"trained")
    before = {method: STANDARD.code(method) for method in ("CS-ET", "DnCNN-ET", "SwinET")}
    assert len(set(before.values())) == 3
    (tmp_path / "swin.onnx").write_bytes(b"trained anew")
    assert [method for method in before if STANDARD.code(method) != before[method]] == ["SwinET"]


def test_another_setting_makes_the_results_of_its_row_stale_and_of_no_other(monkeypatch):
    before = {method: STANDARD.code(method) for method in ("CS-ET", "SIRT-ET")}
    monkeypatch.setitem(standard.METHODS, "CS-ET", partial(tv, lam=0.06, n_iter=60))
    assert [method for method in before if STANDARD.code(method) != before[method]] == ["CS-ET"]


def test_results_come_back_as_they_were_saved(tmp_path):
    results = {Cell("WBP-ET", "vesicles", 101, "II", "small"): score()}
    save(tmp_path / "r.json", results, {"WBP-ET": STANDARD.provenance("WBP-ET")})
    provenance, loaded = STANDARD.load(tmp_path / "r.json")
    assert loaded == results
    assert {"etlab", "code", "packages", "python", "machine", "date", "dose"} <= set(provenance["WBP-ET"])
    assert not list(tmp_path.glob("*.part"))
    write_csv(tmp_path / "r.csv", results)
    row = next(csv.DictReader((tmp_path / "r.csv").open()))
    assert row["scene"] == "vesicles" and float(row["psnr_db"]) == 20


@pytest.mark.parametrize("content", ["", "{}", "[1, 2]", '{"provenance": {}, "cells": [{"method": "x"}]}'])
def test_a_file_that_holds_something_else_is_named(tmp_path, content):
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"r\.json: expected results written by"):
        STANDARD.load(path)


def test_the_committed_board_is_what_this_code_measures():
    """Two cells of the committed results, measured again: the spot check."""
    provenance, committed = STANDARD.load()
    of_this_code(provenance, "etlab benchmark standard --renew -o etlab/tables/measured_standard.json")
    for cell, again in measure([Cell(method, "lamella", 101) for method in ("WBP-ET", "DnCNN-ET")]):
        as_committed(again, committed[cell])


def test_the_committed_board_is_complete():
    _, committed = STANDARD.load()
    assert set(cells()) == set(committed)
    assert all(np.isfinite([s.psnr_db, s.ssim, s.score]).all() for s in committed.values())
    assert json.loads(STANDARD.path.read_text())["cells"]


def test_on_the_committed_board_networks_that_learned_from_truth_are_three_decibels_above_total_variation():
    board = {row.method: row for row in standard_board(STANDARD.load()[1])}
    floor = board["CS-ET"].psnr_db[0]
    supervised = [board[method] for method in (*SUPERVISED, "TomoGAN", "DeepRecon")]
    assert min(row.psnr_db[0] for row in supervised) > floor + 3
    best = max(supervised, key=lambda row: row.score[0])
    assert best.psnr_db[0] > floor + 4.5 and best.ssim[0] > 0.95
    assert floor > board["IsoNet"].psnr_db[0] > board["SIRT-ET"].psnr_db[0] + 1, "it never saw a truth"


def test_the_committed_gallery_is_of_this_code_and_says_that_sharper_methods_lose_more():
    provenance, committed = GALLERY.load()
    of_this_code(
        provenance, "etlab benchmark mismatch --renew -o etlab/tables/measured_mismatch.json, both presets"
    )
    for preset in ("small", "standard"):
        loss = {}
        for method in set(standard.METHODS) - set(standard.LEARNED):
            mean = {
                scenario: np.mean(
                    [
                        one.psnr_db
                        for cell, one in committed.items()
                        if (cell.method, cell.preset, cell.scenario) == (method, preset, scenario)
                    ]
                )
                for scenario in ("I", "II", "III")
            }
            loss[method] = mean["I"] - mean["II"]
            assert mean["I"] > mean["III"], "no calibration can beat data recorded without a mismatch"
        assert max(loss, key=loss.get) == "CS-ET" and min(loss, key=loss.get) == "WBP-ET"
