"""The starter kit does what its README says: it runs, it scores, and the numbers it is compared with are those."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from etlab.challenge import load_tier, make_tier, score_answer, score_submission
from etlab.forward import Mismatch
from etlab.solvers import wbp

KIT = Path(__file__).resolve().parent.parent / "labs" / "starter-kit"


@pytest.fixture(scope="module")
def tier(tmp_path_factory):
    return make_tier(tmp_path_factory.mktemp("challenge") / "public.h5", "public", preset="small")


def mean_score(tier, answer) -> float:
    return float(
        np.mean(
            [
                score_answer(one, *answer(one, tier.truth(name)), tier.truth(name)).score
                for name, one in tier.items()
            ]
        )
    )


def cropped(problem):
    nz, ny, _ = problem.geometry.volume_shape
    margin = (problem.geometry.n_rows - ny) // 2
    return problem.y[:nz, margin : margin + ny]


ANSWERS = {
    "truth": lambda problem, truth: (truth.x_true, truth.mismatch),
    "zeros": lambda problem, truth: (np.zeros_like(truth.x_true), Mismatch()),
    "images": lambda problem, truth: (cropped(problem), Mismatch()),
    "back-projection": lambda problem, truth: (wbp(problem.operator(), problem.y), Mismatch()),
}


def test_the_baseline_is_short_enough_to_be_read():
    assert len((KIT / "solve.py").read_text(encoding="utf-8").splitlines()) <= 60


def test_the_scores_for_orientation_are_those_in_the_readme(tier):
    readme = (KIT / "README.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| ([\w -]+?) +\| (\d\.\d+) \|$", readme, re.MULTILINE))
    assert set(table) == {*ANSWERS, "this kit"}
    for what, answer in ANSWERS.items():
        assert mean_score(tier, answer) == pytest.approx(float(table[what]), abs=0.006), what


def test_it_runs_as_its_readme_says_and_beats_back_projection(tier, tmp_path):
    command = [sys.executable, str(KIT / "try_it.py"), str(tier.path), str(tmp_path / "public.h5")]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    scored = score_submission(tmp_path / "public.h5", load_tier(tier.path))
    readme = (KIT / "README.md").read_text(encoding="utf-8")
    assert scored.score == pytest.approx(float(re.search(r"\| this kit +\| (\d\.\d+)", readme)[1]), abs=0.01)
    assert scored.score > mean_score(tier, ANSWERS["back-projection"]) + 0.1
    assert all(abs(one.tilt_angle_error) < 0.3 for one in scored.scenes.values())
