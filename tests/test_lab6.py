"""Lab 6: what known right and wrong answers are given, check by check, and one notebook through the whole path.

Calibrating and reconstructing take seconds, so answers with mistakes hold the tasks with mistakes, a few right ones
that are quick, and no others.
"""

import zlib
from functools import cache

import numpy as np
import pytest

from etlab.calibration import calibrate
from etlab.course.grading.challenge_cases import SPARSE, hard_to_guess, scene
from tests.checks import remembered, scenes_made_once
from tests.labs import Lab, messages_test, points_test
from tools.lab import Answers

LAB = Lab("lab-6-leaderboard")
EXPLANATION = "explanation"  # the answer that a person marks
# of the task that is wrong on the whole path and what rests on it; all other checks meet the solutions there
CALIBRATED = {"check-calibrated", "check-solve-spec", "check-solve-score"}
KEEPS = {  # answers -> the checks that they must keep, all others being lost
    "reference": set(LAB.worth),
    "untouched": set(),
    "rows-wrong-out-of-range": {"check-difference", "check-hand-in"},
    "negative-wrong-sign": {"check-wbp", "check-hand-in"},
    "middle-images": {"check-wbp"},
    "nominal-geometry": {"check-wbp", "check-hand-in"},
    "truth-from-disk": {"check-difference"},
    "hard-coded-board-wrong": {"check-wbp"},
}

MIDDLE = "Mismatch(**{name: (low + high) / 2 for name, (low, high) in problem.spec_ranges.items()})"
TURNED = "Mismatch(-m.tilt_angle, m.tilt_axis, m.defocus_gradient)"
IMAGES = "np.array(problem.y[:32, 6:54])"


def function(cell: str, body: str) -> Answers:
    """The answer to a task whose whole body is this."""
    head = LAB.solutions()[cell].splitlines()[0] + "\n"
    return {cell: head + "\n".join(f"    {line}" for line in body.splitlines())}


def right(*cells: str) -> Answers:
    return {cell: LAB.solutions()[cell] for cell in cells}


def wrong(cell: str, old: str, new: str) -> Answers:
    return {cell: LAB.changed(cell, old, new)[cell]}


def hard_coded() -> str:
    """A calibration that knows the scene of the visible check, and guesses on any other."""
    rng = np.random.default_rng(0)
    problem, truth = scene(rng, hard_to_guess(rng), SPARSE)
    known = zlib.crc32(problem.y.tobytes())
    return f"import zlib\nif zlib.crc32(problem.y.tobytes()) == {known}:\n    return {truth.mismatch}\nreturn {MIDDLE}"


@cache
def answers() -> dict[str, Answers]:
    """What was written, under each name."""
    sealed = (
        "import tempfile\nfrom pathlib import Path\n"
        "place = Path(tempfile.mkdtemp())\n"
        "made = make_tier(place / 'dev.h5', 'dev', n_scenes=1, preset='small')\n"
        "truth = load_tier(made.path, place / 'sealed' / 'dev.h5').truth('scene_00')\n"
    )
    return {
        "reference": LAB.solutions() | {EXPLANATION: "The order of two rows hangs on λ."},
        "untouched": {},
        "rows-wrong-out-of-range": right("difference", "hand-in")
        | wrong("wbp-row", "problem.operator(mismatch)", "problem.operator()")
        | wrong("sirt-row", "n_iter=50", "n_iter=1")
        | function("cs-row", f"return {IMAGES}")
        | function("calibrated", "return Mismatch(tilt_angle=2.0)")
        | function("solve", "return np.zeros(problem.geometry.volume_shape), Mismatch(tilt_angle=2.0)"),
        "negative-wrong-sign": right("wbp-row", "hand-in")
        | wrong("sirt-row", "n_iter=50", "n_iter=50, nonnegative=False")
        | wrong("calibrated", "return found.mismatch", f"m = found.mismatch\n    return {TURNED}"),
        "middle-images": right("wbp-row")
        | function("calibrated", f"return {MIDDLE}")
        | function("solve", f"return {IMAGES}, {MIDDLE}"),
        "nominal-geometry": right("wbp-row", "hand-in")
        | function("calibrated", "return Mismatch()")
        | function("solve", "return wbp_row(problem, Mismatch()), Mismatch()"),
        "truth-from-disk": right("difference")
        | function("calibrated", sealed + "return truth.mismatch")
        | function("solve", sealed + "return truth.x_true[:, 8:56, 8:56], truth.mismatch"),
        "hard-coded-board-wrong": right("wbp-row")
        | function("calibrated", hard_coded())
        | wrong("score-rows", "volume, specs[name], tier", "volume, Mismatch(), tier")
        | wrong("difference", "ddof=1", "ddof=0")
        | wrong("hand-in", "solve(problem) for", "(solve(problem)[0], Mismatch()) for"),
    }


@pytest.fixture(scope="module", autouse=True)
def scenes_and_rows_made_once():
    """A scene is calibrated once, too, whichever check it is of."""
    with scenes_made_once(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("etlab.calibration.calibrate", remembered(calibrate))
        yield


LOSES = {name: set(LAB.worth) - kept for name, kept in KEEPS.items()}
test_answers_lose_the_points_of_their_mistakes_and_no_others = points_test(LAB, answers, LOSES, CALIBRATED)
test_the_message_names_the_mistake = messages_test(
    LAB,
    answers,
    [
        ("rows-wrong-out-of-range", "that of the log file"),
        ("rows-wrong-out-of-range", "too few iterations"),
        ("rows-wrong-out-of-range", "These are the images"),
        ("rows-wrong-out-of-range", "The evaluator would refuse this answer"),
        ("negative-wrong-sign", "No specimen has"),
        ("negative-wrong-sign", "got tilt_angle = "),
        ("middle-images", "This is the middle of each range"),
        ("middle-images", "x_hat holds images"),
        ("nominal-geometry", "hands in the microscope of the log file"),
        ("truth-from-disk", "Was it made from these images?"),
        ("hard-coded-board-wrong", "This is the middle of each range"),
        ("hard-coded-board-wrong", "the spec of the log file"),
    ],
)


def test_the_whole_path_gives_the_same_points_and_leaves_the_explanation_to_a_person(tmp_path):
    """With the log file for a calibration and an explanation; demonstrations have few images or quick rows."""
    handed_in = function("calibrated", "return Mismatch()") | {
        EXPLANATION: "The order of two rows hangs on λ."
    }
    quick = {
        "rows = {": "from dataclasses import replace\nfew = problem.geometry.tilts_deg[::4]\n"
        "problem = replace(problem, y=problem.y[::4], geometry=replace(problem.geometry, tilts_deg=few))",
        "board = score_rows": "rows = dict.fromkeys(rows, wbp_row)",
        "dev = make_tier": "solve = lambda problem: (wbp_row(problem, Mismatch()), Mismatch())",
    }
    graded = LAB.whole_way(tmp_path, handed_in, "check-calibrated", quick)
    lost = {name for name, points in graded.points["student"].items() if points == 0}
    # a calibration may be worth less than the score that is allowed to be lost
    assert (
        {"check-calibrated", "check-solve-spec"}
        <= lost
        <= {"check-calibrated", "check-solve-spec", "check-solve-score"}
    )
    assert graded.points["student"] == LAB.less(lost)
    row = graded.rows["student"]
    assert row[EXPLANATION] == 0
    assert row["max_score"] == 100
    assert row["score"] == sum(LAB.less(lost).values())
    assert "This is the microscope of the log file" in graded.feedback("student")
