"""The measured blind board: what it holds, that this code measures it, and what it shows."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from etlab.course.benchmark import blind, blind_board
from etlab.course.benchmark.blind import Cell
from etlab.course.benchmark.studies import BLIND
from etlab.course.scenes.baselines import AS_RECORDED, ROWS, VARIANTS, calibrated, uncalibrated
from etlab.course.scenes.draw import TIERS, draw
from etlab.course.scenes.problem import SPEC
from etlab.course.scenes.published import published, spec_ranges
from etlab.course.scenes.scoring import score_answer
from etlab.course.scenes.simulation import PUBLIC_SEEDS
from etlab.forward import Mismatch
from etlab.solvers import METHODS, tv


@pytest.fixture(scope="module")
def committed():
    return BLIND.load()[1]


@pytest.fixture(scope="module")
def scores(committed):
    """Mean score over the scenes by row, variant and tier."""
    return {
        (row, variant, tier): np.mean(
            [o.score for c, o in committed.items() if (c.method, c.variant, c.tier) == (row, variant, tier)]
        )
        for row in ROWS
        for variant in VARIANTS
        for tier in TIERS
    }


def test_the_committed_board_is_complete_and_of_this_code(committed):
    provenance, _ = BLIND.load()
    assert set(committed) == set(blind.cells())
    stale = [method for method in ROWS if provenance[method]["code"] != BLIND.code(method)]
    assert not stale, (
        f"measured by other code: etlab benchmark blind --renew -o {BLIND.path} -m {' -m '.join(stale)}"
    )
    assert all(origin["key"] == "demo" for origin in provenance.values())


def test_two_cells_measured_again_give_what_is_committed(committed):
    spots = [Cell("WBP-ET", variant, "hidden", 3) for variant in ("oracle", "uncalibrated")]
    for cell, again in blind.measure(spots):
        assert again.score == pytest.approx(committed[cell].score, abs=0.001)
        assert again.psnr_db == pytest.approx(committed[cell].psnr_db, abs=0.02)
        for name in SPEC:
            error = f"{name}_error"
            assert getattr(again, error) == pytest.approx(getattr(committed[cell], error), abs=1e-6)


def test_calibrated_beats_uncalibrated_in_every_row_on_every_tier(scores):
    lost = {
        (row, tier): scores[row, "calibrated", tier] - scores[row, "uncalibrated", tier]
        for row in ROWS
        for tier in TIERS
        if scores[row, "calibrated", tier] <= scores[row, "uncalibrated", tier]
    }
    assert not lost


def test_the_oracle_is_the_ceiling_within_the_noise(committed, scores):
    """The spread of one row's difference over twelve scenes, not of the scores, which scenes decide."""
    for row in ROWS:
        gained = [
            outcome.score - committed[Cell(row, "oracle", cell.tier, cell.scene)].score
            for cell, outcome in committed.items()
            if (cell.method, cell.variant) == (row, "calibrated")
        ]
        assert np.mean(gained) < 0.001 + 2 * np.std(gained, ddof=1) / np.sqrt(len(gained)), row


def test_calibration_found_what_was_drawn_and_the_nominal_spec_is_off_by_it(committed):
    for cell, outcome in committed.items():
        errors = [getattr(outcome, f"{name}_error") for name in SPEC]
        if cell.variant == "oracle":
            assert errors == [0, 0, 0]
        if cell.variant == "calibrated":
            assert np.all(np.abs(errors) < [0.2, 0.1, 1.0]), cell


def test_rows_have_published_values_beside_them_only_where_the_name_is_the_same(committed):
    rows = blind_board.rows(committed)
    known = {row["method"]: row["overall"] for row in published("blind")}
    assert {row["name"]: row["published"]["overall"] for row in rows} == known
    assert all(row["published"] is None for row in blind_board.rows(committed, "uncalibrated"))
    assert [row["overall"] for row in rows] == sorted((row["overall"] for row in rows), reverse=True)


def test_the_text_names_every_row_and_variant(committed):
    text = blind_board.as_text(committed)
    assert all(row in text for row in ROWS) and all(variant in text for variant in VARIANTS)


def test_a_run_goes_on_where_it_stopped(tmp_path: Path):
    todo = blind.cells(
        methods=("WBP-ET",), variants=("uncalibrated",), tiers=("dev",), n_scenes=2, preset="small"
    )
    first = BLIND.run(tmp_path / "b.json", todo[:1], progress=False)
    both = BLIND.run(tmp_path / "b.json", todo, progress=False)
    assert both[todo[0]] == first[todo[0]] and set(both) == set(todo)
    assert (tmp_path / "b.csv").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ("MAGIC",)}, "method: got 'MAGIC'"),
        ({"variants": ("guessed",)}, "variants: got guessed"),
        ({"tiers": ("secret",)}, "tiers: got secret"),
    ],
)
def test_what_is_not_known_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        blind.cells(**options)


# what the board rests on: draws and baselines


def test_draws_are_uniform_in_the_ranges_of_their_tier(monkeypatch):
    from etlab.course.scenes import draw as module

    class Sample:
        y = geometry = optics = fiducials = x_true = None

    monkeypatch.setattr(module, "simulate", lambda *arguments: Sample)
    for tier in TIERS:
        drawn = np.array([[getattr(draw(tier, i)[1].mismatch, name) for name in SPEC] for i in range(400)])
        for values, (low, high) in zip(drawn.T, spec_ranges(tier).values(), strict=True):
            assert low <= values.min() and values.max() <= high
            shares = np.histogram(values, 4, (low, high))[0] / 400
            assert np.abs(shares - 0.25).max() < 0.09  # four standard deviations
        assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 0.2


def test_only_public_scenes_are_those_that_anything_was_tuned_on(monkeypatch):
    from etlab.course.scenes import draw as module

    seeds = []

    def simulate(name, preset, seed, mismatch):
        seeds.append(seed)
        raise LookupError

    monkeypatch.setattr(module, "simulate", simulate)
    for tier in TIERS:
        for i in range(4):
            with pytest.raises(LookupError):
                draw(tier, i)
    assert set(seeds[:4]) <= set(PUBLIC_SEEDS)
    assert min(seeds[4:]) > 2**200 and len(set(seeds[4:])) == 8


def test_a_baseline_answers_as_a_submission_must(monkeypatch):
    monkeypatch.setitem(METHODS, "CS-ET", partial(tv, n_iter=3))  # enough to tell one calibration from none
    problem, truth = draw("dev", 0, "small")
    x_hat, spec = uncalibrated("CS-ET")(problem)
    assert spec == Mismatch() and x_hat.shape == problem.geometry.volume_shape
    without = score_answer(problem, x_hat, spec, truth)
    found = score_answer(problem, *calibrated("CS-ET")(problem), truth)
    assert abs(found.defocus_gradient_error) < abs(without.defocus_gradient_error)
    assert "CS-ET" in AS_RECORDED


def test_a_baseline_of_no_row_is_refused():
    for made in (calibrated, uncalibrated):
        with pytest.raises(ValueError, match="method: got 'MAGIC'"):
            made("MAGIC")
