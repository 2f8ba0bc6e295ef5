"""Lab 5: what known right and wrong answers are given, check by check, and one notebook through the whole path.

Mistakes of different tasks share a submission where each must cost its own points.
"""

import contextlib
import io
import zlib
from functools import cache

import numpy as np
import pytest

from etlab.course import grading
from tests.checks import ALIGNMENT, worked_out_once
from tests.labs import Lab, messages_test, points_test, whole_path_test
from tools.lab import Answers

pytestmark = pytest.mark.data

LAB = Lab("lab-5-real-data")
# of the task that is wrong on the whole path, where all other checks meet the solutions
RESTING_ON_WRONG = {"check-tilt-axis"}
LOSES = {  # answers -> the checks that it must lose, all others being kept
    "reference": set(),
    "untouched": set(LAB.worth),
    "wrong-sign": {"check-shift-sign"},
    "whole-pixels-moved-backwards": {"check-shift-precision", "check-move"},
    "mean-kept-steps-not-added": {"check-shift-background", "check-chain"},
    "exchanged-vacuum-kept": {"check-shift-sign", "check-vacuum"},
    "axis-sign-halves-shared": {"check-tilt-axis", "check-halves"},
    "key-read": {"check-key", "check-consistency"},
    "steps-rounded-image-unused": {"check-chain", "check-halves"},
    "halves-at-random": {"check-halves"},
    "hard-coded": {
        f"check-{name}"
        for name in ("shift-sign", "shift-precision", "shift-background", "key", "consistency")
    },
}


def hard_coded() -> Answers:
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


def halves_of(which: str) -> list[tuple[str, str, str]]:
    """The changes that make the halves of these images."""
    return [
        ("reconstruct-halves", "for half in (0, 1):\n", f"for half in (0, 1):\n        which = {which}\n"),
        ("reconstruct-halves", "tilts_deg[half::2]", "tilts_deg[which]"),
        ("reconstruct-halves", "images[half::2]", "images[which]"),
    ]


@cache
def submissions() -> dict[str, Answers]:
    subtracted = "image, reference = image - image.mean(), reference - reference.mean()"
    back = "signal.correlate(reference, image"
    answer = "return np.array([row, column]) + fractions - (np.array(image.shape) - 1)"
    read = "from etlab.data import needle\n    which = np.searchsorted(needle().tilts_deg, tilts_deg)\n"
    answers = {
        "reference": LAB.solutions(),
        "untouched": {},
        "wrong-sign": LAB.mistaken(("shift-between", back, "signal.correlate(image, reference")),
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
        "steps-rounded-image-unused": LAB.mistaken(
            (
                "chain",
                "shift_between(images[i], images[i - 1])",
                "np.rint(shift_between(images[i], images[i - 1]))",
            ),
            *halves_of("[i for i in range(half, len(images), 2) if i != 7]"),
        ),
        "halves-at-random": LAB.mistaken(
            *halves_of("np.sort(np.random.default_rng(0).permutation(len(images))[half::2])")
        ),
        "hard-coded": hard_coded(),
    }
    answers["axis-sign-halves-shared"]["reconstruct-halves"] = answers["axis-sign-halves-shared"][
        "reconstruct-halves"
    ].replace("tilts_deg[half::2]", "tilts_deg")
    return answers


@pytest.fixture(scope="module", autouse=True)
def cases_worked_out_once():
    """Many answers meet the same images, and are given the same answers to other tasks."""
    with worked_out_once(*ALIGNMENT):
        yield


test_answers_lose_the_points_of_their_mistakes_and_no_others = points_test(
    LAB, submissions, LOSES, RESTING_ON_WRONG
)
test_the_message_names_the_mistake = messages_test(
    LAB,
    submissions,
    [
        ("wrong-sign", "the sign is reversed"),
        ("whole-pixels-moved-backwards", "These are whole pixels"),
        ("mean-kept-steps-not-added", "add the steps up"),
        ("key-read", "find the shifts from the images"),
        ("axis-sign-halves-shared", "it was used for both"),
        ("steps-rounded-image-unused", "Keep the fractions"),
        ("steps-rounded-image-unused", "it was used for none of them"),
        ("halves-at-random", "neighbours must be parted"),
    ],
)
test_the_whole_path_gives_the_same_points_whatever_is_done_to_the_checks = whole_path_test(
    LAB,
    lambda: LAB.changed("tilt-axis", "return angle, height", "return -angle, height"),
    {"check-tilt-axis"},
    "check-tilt-axis",
    "The direction has the wrong sign",
)
