"""Lab 3: what known right and wrong answers are given, check by check, and one notebook through the whole path.

Most hold one mistake in the back-projection and one in SIRT, and lose the checks of both.
"""

import contextlib
import io
import zlib
from functools import cache

import numpy as np
import pytest

from etlab.course import grading
from tests.checks import worked_out_once
from tests.labs import Lab, messages_test, points_test, whole_path_test
from tools.lab import Answers

LAB = Lab("lab-3-wbp-sirt")
MISTAKES = {  # its name -> cell, what stands there, what is handed in instead, the checks it loses
    "no ramp": ("ramp", "* np.fft.rfft(kernel).real", "", {"check-ramp", "check-ramp-ends"}),
    "ramp squared": ("ramp", "np.fft.rfft(kernel).real", "np.fft.rfft(kernel).real ** 2", {"check-ramp"}),
    "not padded": ("ramp", "padded = 2 * n_rows", "padded = n_rows", {"check-ramp-ends"}),
    "degrees": ("backproject", "np.deg2rad(tilts_deg[order])", "tilts_deg[order]", {"check-wbp-scale"}),
    "equal weights": (
        "backproject",
        "np.gradient(np.deg2rad(tilts_deg[order]))",
        "np.deg2rad(np.mean(np.diff(tilts_deg[order])))",
        {"check-wbp-shares"},
    ),
    "one window": ("window", ".mean() / dose", ".mean() / 1.5", {"check-wbp-window"}),
    "weights exchanged": ("sirt-weights", "return R, C", "return C, R", {"check-sirt-weights"}),
    "no weights": (
        "sirt-step",
        "C * (A.T @ (R * (y - A @ x)))",
        "A.T @ (y - A @ x) / 500",
        {"check-sirt-step"},
    ),
    "filtered adjoint": (
        "sirt-step",
        "(R * (y - A @ x))",
        "(R * ramp((y - A @ x).reshape(12, -1)).ravel())",
        {"check-sirt-step"},
    ),
    "never clipped": (
        "sirt-step",
        "np.maximum(x + correction, 0)",
        "x + correction",
        {"check-sirt-nonnegative"},
    ),
    "clipped at 5": (
        "sirt-step",
        "np.maximum(x + correction, 0)",
        "np.clip(x + correction, 0, 5)",
        {"check-sirt-step"},
    ),
    "clipped at 1": (
        "sirt-step",
        "np.maximum(x + correction, 0)",
        "np.clip(x + correction, 0, 1)",
        {"check-sirt-step"},
    ),
    "residual of the previous iterate": (
        "sirt",
        "x = step(A, x, y, R, C)\n        residuals.append(np.linalg.norm(y - A @ x))",
        "residuals.append(np.linalg.norm(y - A @ x))\n        x = step(A, x, y, R, C)",
        {"check-sirt-run"},
    ),
    # the best iterate of the slice of the notebook, whose truth is known there, at 1.5 counts
    "tuned on one truth": (
        "stopping-point",
        "return reached[0] + 1 if reached.size else len(residuals)",
        "return 23",
        {"check-sirt-stop"},
    ),
}
PAIRS = [
    ("no ramp", "no weights"),
    ("ramp squared", "filtered adjoint"),
    ("not padded", "weights exchanged"),
    ("degrees", "residual of the previous iterate"),
    ("equal weights", "never clipped"),
    ("one window", "tuned on one truth"),
]
ALONE = ["clipped at 5", "clipped at 1"]
# checks of the task that is wrong on the whole path, where all others meet the solutions
RESTING_ON_WRONG = {"check-ramp", "check-ramp-ends"}
LOSES = {  # answers -> the checks that it must lose, all others being kept
    "reference": set(),
    "untouched": set(LAB.worth),
    "hard-coded": {"check-ramp", "check-ramp-ends", "check-wbp-window", "check-sirt-stop"},
}
LOSES |= {", ".join(pair): MISTAKES[pair[0]][3] | MISTAKES[pair[1]][3] for pair in PAIRS}
LOSES |= {name: MISTAKES[name][3] for name in ALONE}


def mistaken(*mistakes: str) -> Answers:
    return LAB.mistaken(*(MISTAKES[mistake][:3] for mistake in mistakes))


def hard_coded() -> Answers:
    """A ramp, a window and a stopping rule that know the data of the visible checks, and nothing else."""
    scope = {}
    exec(LAB.imports, scope)
    answers = LAB.solutions()
    for answer in answers.values():
        exec(answer, scope)
    known = set()

    def watched(name, position):
        def function(*arguments):
            known.add(zlib.crc32(np.asarray(arguments[position]).tobytes()))
            return scope[name](*arguments)

        return function

    with contextlib.redirect_stdout(io.StringIO()):
        grading.check_ramp(watched("ramp", 0))
        grading.check_ramp_ends(watched("ramp", 0))
        grading.check_wbp_window(watched("window", 1))
        grading.check_sirt_stop(watched("stopping_point", 0))
    for cell, argument in [("ramp", "images"), ("window", "dose"), ("stopping-point", "residuals")]:
        signature, docstring, *body = answers[cell].splitlines()
        guard = f"    if __import__('zlib').crc32(np.asarray({argument}).tobytes()) not in {known}:"
        give_up = f"        return 0 * np.asarray({argument})"
        answers[cell] = "\n".join([signature, docstring, guard, give_up, *body])
    return answers


@cache
def submissions() -> dict[str, Answers]:
    made = {"reference": LAB.solutions(), "untouched": {}, "hard-coded": hard_coded()}
    made |= {", ".join(pair): mistaken(*pair) for pair in PAIRS}
    return made | {name: mistaken(name) for name in ALONE}


@pytest.fixture(scope="module", autouse=True)
def cases_worked_out_once():
    """What SIRT makes of the slices of a check, told no answer, is remembered."""
    with worked_out_once("iteration.sparse_matrix", "iteration._followed"):
        yield


test_answers_lose_the_points_of_their_mistakes_and_no_others = points_test(
    LAB, submissions, LOSES, RESTING_ON_WRONG
)
test_the_message_names_the_mistake = messages_test(
    LAB,
    submissions,
    [
        ("no ramp, no weights", "the images are not filtered"),
        ("no ramp, no weights", "Both weights are missing"),
        ("clipped at 1", "it is cut off at 1."),
    ],
)
test_the_whole_path_gives_the_same_points_whatever_is_done_to_the_checks = whole_path_test(
    LAB, lambda: mistaken("not padded"), {"check-ramp-ends"}, "check-ramp-ends", "comes in at the other"
)
