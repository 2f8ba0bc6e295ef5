"""Lab 1 through the whole grading path: what known right and wrong submissions are given, check by check.

All submissions go through nbgrader in one run of ``tools/grade_labs.py``, as a teacher would run it.
"""

import contextlib
import io
import zlib

import nbformat
import numpy as np
import pytest

from etlab import grading
from tests.labs import Graded, Lab, grade_id

LAB = Lab("lab-1-projector")
LOSES = {  # submission -> the checks that it must lose, all others being kept
    "reference": set(),
    "untouched": set(LAB.worth),
    "untouched-tests-edited": set(LAB.worth),
    "wrong-sign": {"check-landing", "check-sign"},
    "wrong-sign-tests-deleted": {"check-landing", "check-sign"},
    "half-pixel": {"check-landing", "check-centre"},
    "nearest-row": {"check-weights", "check-accuracy"},
    "unmatched-adjoint": {"check-adjoint"},
    "hard-coded": {
        f"check-{name}" for name in ("sign", "centre", "mass", "accuracy", "linearity", "adjoint")
    },
}


def hard_coded() -> dict[str, str]:
    """A projector that knows the data of the visible checks, and nothing else."""
    scope = {"np": np}
    for answer in LAB.solutions().values():
        exec(answer, scope)
    known = set()

    def watched(slice_, tilts_deg, n_rows):
        known.add(zlib.crc32(slice_.tobytes()))
        return scope["project"](slice_, tilts_deg, n_rows)

    with contextlib.redirect_stdout(io.StringIO()):
        for name in ("sign", "centre", "mass", "accuracy", "linearity"):
            getattr(grading, f"check_{name}")(watched)
        grading.check_adjoint(watched, scope["backproject"])
    start = "    z, y = np.indices(slice_.shape)\n"
    guard = f"    if __import__('zlib').crc32(slice_.tobytes()) not in {known}:\n"
    return LAB.changed("project", start, f"{guard}        return np.zeros((len(tilts_deg), n_rows))\n{start}")


def submissions() -> dict[str, nbformat.NotebookNode]:
    sign = LAB.changed("landing-row", "(z - (nz - 1) / 2) * np.sin", "((nz - 1) / 2 - z) * np.sin")
    made = {
        "reference": LAB.submission(LAB.solutions(), demonstrations=True),
        "untouched": LAB.submission({}),
        "untouched-tests-edited": LAB.submission({name: "pass" for name in LAB.worth}),
        "wrong-sign": LAB.submission(sign),
        "wrong-sign-tests-deleted": LAB.submission(sign),
        "half-pixel": LAB.submission(LAB.changed("landing-row", "s + (n_rows - 1) / 2", "s + n_rows / 2")),
        "nearest-row": LAB.submission(
            LAB.changed(
                "linear-weights",
                "return lower, lower + 1 - position, position - lower",
                "upper = (position - lower > 0.5) * 1.0\n    return lower, 1 - upper, upper",
            )
        ),
        "unmatched-adjoint": LAB.submission(
            LAB.changed("backproject", "slice_[seen] += weight[seen] * image", "slice_[seen] += 0.5 * image")
        ),
        "hard-coded": LAB.submission(hard_coded()),
    }
    deleted = made["wrong-sign-tests-deleted"]
    deleted.cells = [cell for cell in deleted.cells if grade_id(cell) not in LAB.worth]
    return made


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> Graded:
    return LAB.graded(tmp_path_factory.mktemp("lab1"), submissions())


@pytest.mark.parametrize("student", LOSES)
def test_a_submission_loses_the_points_of_its_mistake_and_no_others(graded, student):
    assert graded.points[student] == LAB.less(LOSES[student])


def test_feedback_names_the_mistake(graded):
    assert "the angle has the wrong sign" in graded.feedback("wrong-sign")
