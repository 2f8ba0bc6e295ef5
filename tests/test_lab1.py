"""Lab 1: what known right and wrong answers are given, check by check, and one notebook through the whole path."""

import contextlib
import io
import zlib
from functools import cache

import numpy as np

from etlab.course import grading
from tests.labs import Lab, messages_test, points_test, whole_path_test
from tools.lab import Answers

LAB = Lab("lab-1-projector")


def hard_coded() -> Answers:
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


def in_both(old: str, new: str) -> Answers:
    """A mistake in both functions, after which the one still is the adjoint of the other."""
    return LAB.mistaken(("project", old, new), ("backproject", old, new))


ADDED = "np.add.at(image, row[seen], (weight * slice_)[seen])"
SHARED = "return lower, lower + 1 - position, position - lower"
NEAREST = "upper = (position - lower > 0.5) * 1.0\n    return lower, 1 - upper, upper"
PAIRS = "zip(images, tilts_deg, strict=True)"
ANSWERS = {  # their name -> what makes them, and the checks that they must lose, all others being kept
    "reference": (LAB.solutions, set()),
    "untouched": (dict, set(LAB.worth)),
    "wrong-sign": (
        lambda: LAB.changed("landing-row", "(z - (nz - 1) / 2) * np.sin", "((nz - 1) / 2 - z) * np.sin"),
        {"check-landing", "check-sign"},
    ),
    "half-pixel": (
        lambda: LAB.changed("landing-row", "s + (n_rows - 1) / 2", "s + n_rows / 2"),
        {"check-landing", "check-centre"},
    ),
    "nearest-row": (
        lambda: LAB.changed("linear-weights", SHARED, NEAREST),
        {"check-weights", "check-accuracy"},
    ),
    "duplicates-lost": (
        lambda: LAB.changed("project", ADDED, "image[row[seen]] += (weight * slice_)[seen]"),
        {"check-mass"},
    ),
    "first-row-lost": (lambda: in_both("(row >= 0)", "(row >= 1)"), {"check-mass"}),
    "last-row-lost": (lambda: in_both("(row < n_rows)", "(row < n_rows - 1)"), {"check-mass"}),
    "ten-tilts": (lambda: in_both(PAIRS, f"list({PAIRS})[:10]"), {"check-mass"}),
    "ten-tilts-back": (lambda: LAB.changed("backproject", PAIRS, f"list({PAIRS})[:10]"), {"check-adjoint"}),
    "unmatched-adjoint": (
        lambda: LAB.changed(
            "backproject", "slice_[seen] += weight[seen] * image", "slice_[seen] += 0.5 * image"
        ),
        {"check-adjoint"},
    ),
    "hard-coded": (
        hard_coded,
        {f"check-{name}" for name in ("sign", "centre", "mass", "accuracy", "linearity", "adjoint")},
    ),
}

LOSES = {name: lost for name, (_, lost) in ANSWERS.items()}


@cache
def answers() -> dict[str, Answers]:
    return {name: make() for name, (make, _) in ANSWERS.items()}


test_answers_lose_the_points_of_their_mistakes_and_no_others = points_test(LAB, answers, LOSES)
test_the_message_names_the_mistake = messages_test(
    LAB,
    answers,
    [
        ("wrong-sign", "the angle has the wrong sign"),
        ("duplicates-lost", "Use `np.add.at(image, row, value)`"),
        ("ten-tilts", "every tilt"),
    ],
)
test_the_whole_path_gives_the_same_points_whatever_is_done_to_the_checks = whole_path_test(
    LAB, lambda: answers()["nearest-row"], LOSES["nearest-row"], "check-weights", "go to the nearest row"
)
