"""Lab 5 through the whole grading path: what known right and wrong submissions are given, check by check.

Mistakes of different tasks share a submission where each must cost its own points: grading one takes seconds.
"""

import contextlib
import io
import zlib

import nbformat
import numpy as np
import pytest

from etlab import grading
from tests.labs import Graded, Lab, grade_id

pytestmark = pytest.mark.data

LAB = Lab("lab-5-real-data")
LOSES = {  # submission -> the checks that it must lose, all others being kept
    "reference": set(),
    "untouched-tests-edited": set(LAB.worth),
    "wrong-sign-tests-deleted": {"check-shift-sign"},
    "whole-pixels-moved-backwards": {"check-shift-precision", "check-move"},
    "mean-kept-steps-not-added": {"check-shift-background", "check-chain"},
    "exchanged-vacuum-kept": {"check-shift-sign", "check-vacuum"},
    "axis-sign-halves-shared": {"check-tilt-axis", "check-halves"},
    "key-read": {"check-key", "check-consistency"},
    "hard-coded": {
        f"check-{name}"
        for name in ("shift-sign", "shift-precision", "shift-background", "key", "consistency")
    },
}


def hard_coded() -> dict[str, str]:
    """Functions that know the images of the visible checks, and nothing else."""
    scope = {"np": np}
    for answer in LAB.solutions().values():
        exec(answer, scope)
    known = set()

    def watched(function):
        def watching(images, *others):
            known.add(zlib.crc32(images.tobytes()))
            return scope[function](images, *others)

        return watching

    with contextlib.redirect_stdout(io.StringIO()):
        for name in ("shift_sign", "shift_precision", "shift_background"):
            getattr(grading, f"check_{name}")(watched("shift_between"))
        grading.check_key(watched("align"))
        grading.check_consistency(watched("align"))

    def guarded(array: str, shape: str, start: str) -> str:
        test = f"if __import__('zlib').crc32({array}.tobytes()) not in {known}:"
        return f"    {test}\n        return np.zeros({shape})\n{start}"

    first, last = "    image, reference = image - image.mean()", "    shifts = chain(images)\n"
    return LAB.mistaken(
        ("shift-between", first, guarded("image", "2", first)),
        ("align", last, guarded("images", "(len(images), 2)", last)),
    )


def submissions() -> dict[str, nbformat.NotebookNode]:
    subtracted = "image, reference = image - image.mean(), reference - reference.mean()"
    back = "signal.correlate(reference, image"
    answer = "return np.array([row, column]) + fractions - (np.array(image.shape) - 1)"
    read = "from etlab.data import needle\n    which = np.searchsorted(needle().tilts_deg, tilts_deg)\n"
    answers = {
        "reference": LAB.solutions(),
        "untouched-tests-edited": {name: "pass" for name in LAB.worth},
        "wrong-sign-tests-deleted": LAB.mistaken(
            ("shift-between", back, "signal.correlate(image, reference")
        ),
        "whole-pixels-moved-backwards": LAB.mistaken(
            ("shift-between", "+ fractions -", "-"),
            ("move", "ndimage.shift(image, shift,", "ndimage.shift(image, -shift,"),
        ),
        "mean-kept-steps-not-added": LAB.mistaken(
            ("shift-between", subtracted, "pass"), ("chain", "shifts[i - 1] + shift_between", "shift_between")
        ),
        "exchanged-vacuum-kept": LAB.mistaken(
            ("shift-between", answer, f"{answer.replace('return ', 'return (')})[::-1]"),
            ("centre-shifts", "np.median(edges, axis=(1, 2))", "np.zeros(len(images))"),
        ),
        "axis-sign-halves-shared": LAB.mistaken(
            ("tilt-axis", "return angle, height", "return -angle, height"),
            ("reconstruct-halves", "images[half::2]", "images"),
        ),
        "key-read": LAB.mistaken(
            ("align", "shifts = chain(images)\n", f"{read}    return needle().shifts[which] / 2\n")
        ),
        "hard-coded": hard_coded(),
    }
    answers["axis-sign-halves-shared"]["reconstruct-halves"] = answers["axis-sign-halves-shared"][
        "reconstruct-halves"
    ].replace("tilts_deg[half::2]", "tilts_deg")
    made = {
        student: LAB.submission(cells, demonstrations=student == "reference")
        for student, cells in answers.items()
    }
    deleted = made["wrong-sign-tests-deleted"]
    deleted.cells = [cell for cell in deleted.cells if grade_id(cell) not in LAB.worth]
    return made


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> Graded:
    return LAB.graded(tmp_path_factory.mktemp("lab5"), submissions())


@pytest.mark.parametrize("student", LOSES)
def test_a_submission_loses_the_points_of_its_mistakes_and_no_others(graded, student):
    assert graded.points[student] == LAB.less(LOSES[student])


@pytest.mark.parametrize(
    ("student", "words"),
    [
        ("wrong-sign-tests-deleted", "the sign is reversed"),
        ("whole-pixels-moved-backwards", "These are whole pixels"),
        ("mean-kept-steps-not-added", "add the steps up"),
        ("key-read", "find the shifts from the images"),
        ("axis-sign-halves-shared", "it was used for both"),
    ],
)
def test_feedback_names_the_mistake(graded, student, words):
    assert words in graded.feedback(student)
