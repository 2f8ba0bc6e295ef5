"""Lab 6 through the whole grading path: what known right and wrong submissions are given, check by check.

Calibrating and reconstructing take seconds, so a student with mistakes has written the tasks with mistakes, a few
right ones that are quick, and no others.
"""

import zlib

import nbformat
import numpy as np
import pytest

from etlab.grading.challenge_cases import SMALL, hard_to_guess, scene
from tests.labs import Graded, Lab, grade_id

LAB = Lab("lab-6-leaderboard")
EXPLANATION = "explanation"  # the answer that a person marks
KEEPS = {  # submission -> the checks that it must keep, all others being lost
    "reference": set(LAB.worth),
    "untouched": set(),
    "untouched-tests-edited": set(),
    "rows-wrong-out-of-range": {"check-difference", "check-hand-in"},
    "negative-wrong-sign-tests-deleted": {"check-wbp", "check-hand-in"},
    "middle-images": {"check-wbp"},
    "nominal-geometry": {"check-wbp", "check-hand-in"},
    "truth-from-disk": {"check-difference"},
    "hard-coded-board-wrong": {"check-wbp"},
}

MIDDLE = "Mismatch(**{name: (low + high) / 2 for name, (low, high) in problem.spec_ranges.items()})"
TURNED = "Mismatch(-m.tilt_angle, m.tilt_axis, m.defocus_gradient)"
IMAGES = "np.array(problem.y[:32, 8:72])"


def function(cell: str, body: str) -> dict[str, str]:
    """The answer to a task whose whole body is this."""
    head = LAB.solutions()[cell].splitlines()[0] + "\n"
    return {cell: head + "\n".join(f"    {line}" for line in body.splitlines())}


def right(*cells: str) -> dict[str, str]:
    return {cell: LAB.solutions()[cell] for cell in cells}


def wrong(cell: str, old: str, new: str) -> dict[str, str]:
    return {cell: LAB.changed(cell, old, new)[cell]}


def hard_coded() -> str:
    """A calibration that knows the scene of the visible check, and guesses on any other."""
    rng = np.random.default_rng(0)
    problem, truth = scene(rng, hard_to_guess(rng), SMALL)
    known = zlib.crc32(problem.y.tobytes())
    return f"import zlib\nif zlib.crc32(problem.y.tobytes()) == {known}:\n    return {truth.mismatch}\nreturn {MIDDLE}"


def answers() -> dict[str, dict[str, str]]:
    """What each student has written."""
    sealed = (
        "import tempfile\nfrom pathlib import Path\n"
        "place = Path(tempfile.mkdtemp())\n"
        "made = make_tier(place / 'dev.h5', 'dev', n_scenes=1, preset='small')\n"
        "truth = load_tier(made.path, place / 'sealed' / 'dev.h5').truth('scene_00')\n"
    )
    return {
        "reference": LAB.solutions() | {EXPLANATION: "The order of two rows hangs on λ."},
        "untouched": {},
        "untouched-tests-edited": dict.fromkeys(LAB.worth, "pass"),
        "rows-wrong-out-of-range": right("difference", "hand-in")
        | wrong("wbp-row", "problem.operator(mismatch)", "problem.operator()")
        | wrong("sirt-row", "n_iter=50", "n_iter=1")
        | function("cs-row", f"return {IMAGES}")
        | function("calibrated", "return Mismatch(tilt_angle=2.0)")
        | function("solve", "return np.zeros(problem.geometry.volume_shape), Mismatch(tilt_angle=2.0)"),
        "negative-wrong-sign-tests-deleted": right("wbp-row", "hand-in")
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
        | function("solve", sealed + "return truth.x_true, truth.mismatch"),
        "hard-coded-board-wrong": right("wbp-row")
        | function("calibrated", hard_coded())
        | wrong("score-rows", "volume, specs[name], tier", "volume, Mismatch(), tier")
        | wrong("difference", "ddof=1", "ddof=0")
        | wrong("hand-in", "solve(problem) for", "(solve(problem)[0], Mismatch()) for"),
    }


def submissions() -> dict[str, nbformat.NotebookNode]:
    made = {
        student: LAB.submission(written, demonstrations=student == "reference")
        for student, written in answers().items()
    }
    deleted = made["negative-wrong-sign-tests-deleted"]
    deleted.cells = [cell for cell in deleted.cells if grade_id(cell) not in LAB.worth]
    return made


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> Graded:
    return LAB.graded(tmp_path_factory.mktemp("lab6"), submissions())


@pytest.mark.parametrize("student", KEEPS)
def test_a_submission_loses_the_points_of_its_mistakes_and_no_others(graded, student):
    assert graded.points[student] == LAB.less(set(LAB.worth) - KEEPS[student])


def test_the_explanation_waits_for_a_person(graded):
    assert graded.rows["reference"][EXPLANATION] == 0
    assert graded.rows["reference"]["score"] == sum(LAB.worth.values())
    assert graded.rows["reference"]["max_score"] == 100


@pytest.mark.parametrize(
    ("student", "words"),
    [
        ("rows-wrong-out-of-range", "that of the log file"),
        ("rows-wrong-out-of-range", "too few iterations"),
        ("rows-wrong-out-of-range", "These are the images"),
        ("rows-wrong-out-of-range", "The evaluator would refuse this answer"),
        ("negative-wrong-sign-tests-deleted", "No specimen has"),
        ("negative-wrong-sign-tests-deleted", "got tilt_angle = "),
        ("middle-images", "This is the middle of each range"),
        ("middle-images", "x_hat holds images"),
        ("nominal-geometry", "hands in the microscope of the log file"),
        ("truth-from-disk", "Was it made from these images?"),
        ("hard-coded-board-wrong", "This is the middle of each range"),
        ("hard-coded-board-wrong", "the spec of the log file"),
    ],
)
def test_feedback_names_the_mistake(graded, student, words):
    assert words in graded.feedback(student)


def test_no_submission_fails_for_another_reason_than_its_mistakes(graded):
    assert [student for student in KEEPS if "NameError" in graded.feedback(student)] == []
