"""The starter kit does what its README says: it runs, it scores, and the numbers it is compared with are those."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from etlab.course.challenge import load_tier, make_tier, score_submission
from etlab.course.scenes import score_answer
from etlab.course.scenes.draw import draw
from etlab.forward import Mismatch
from etlab.solvers import tv, wbp

KIT = Path(__file__).resolve().parent.parent / "labs" / "starter-kit"


@pytest.fixture(scope="module")
def scenes():
    """The four problems of the public tier, with their truth."""
    return [draw("public", i, "small") for i in range(4)]


@pytest.fixture(scope="module")
def scores(scenes):
    """The scores of each answer, scene by scene."""
    return {
        what: [score_answer(problem, *answer(problem, truth), truth).score for problem, truth in scenes]
        for what, answer in ANSWERS.items()
    }


def cropped(problem):
    nz, ny, _ = problem.geometry.volume_shape
    margin = (problem.geometry.n_rows - ny) // 2
    return problem.y[:nz, margin : margin + ny]


ANSWERS = {
    "truth": lambda problem, truth: (truth.x_true, truth.mismatch),
    "zeros": lambda problem, truth: (np.zeros_like(truth.x_true), Mismatch()),
    "images": lambda problem, truth: (cropped(problem), Mismatch()),
    "back-projection": lambda problem, truth: (wbp(problem.operator(), problem.y), Mismatch()),
    # what the kit does, but for its calibration, which takes longer than all the rest
    "this kit": lambda problem, truth: (
        tv(problem.operator(truth.mismatch), problem.y, lam=0.05, n_iter=60),
        truth.mismatch,
    ),
}


def test_the_baseline_is_short_enough_to_be_read():
    assert len((KIT / "solve.py").read_text(encoding="utf-8").splitlines()) <= 60


def test_the_scores_for_orientation_are_those_in_the_readme(scores):
    readme = (KIT / "README.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| ([\w -]+?) +\| (\d\.\d+) \|$", readme, re.MULTILINE))
    assert set(table) == set(ANSWERS)
    for what, said in table.items():
        assert np.mean(scores[what]) == pytest.approx(float(said), abs=0.006), what


def test_it_runs_as_its_readme_says_and_beats_back_projection(scores, tmp_path):
    """On one scene; what it has there with the true mismatch has the mean that the README says."""
    tier = make_tier(tmp_path / "tier.h5", "public", n_scenes=1, preset="small")
    command = [sys.executable, str(KIT / "try_it.py"), str(tier.path), str(tmp_path / "public.h5")]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    scored = score_submission(tmp_path / "public.h5", load_tier(tier.path))
    assert scored.score == pytest.approx(scores["this kit"][0], abs=0.01)
    assert scored.score > scores["back-projection"][0] + 0.1
    assert all(abs(one.tilt_angle_error) < 0.3 for one in scored.scenes.values())
