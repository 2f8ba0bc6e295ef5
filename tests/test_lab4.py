"""Lab 4: what known right and wrong answers are given, check by check, and one notebook through the whole path.

Most hold two mistakes in different tasks, and lose the checks of both. All but the reference choose λ by a rule of
thumb in place of the cross-validation of the solutions, which takes longer.
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

LAB = Lab("lab-4-total-variation")
RULE_OF_THUMB = "return 0.1 * noise * len(y)"
# checks of tasks whose solution does not take the whole path, where all others are met
RESTING_ON_WRONG = {"check-gradient-adjoint", "check-lam"}
MISTAKES = {  # its name -> cell, what stands there, what is handed in instead, the checks it loses
    "divergence": ("gradient-adjoint", "return slice_", "return -slice_", {"check-gradient-adjoint"}),
    "clipped components": (
        "shortened",
        "field / np.maximum(1, length / bound)",
        "np.clip(field, -bound, bound)",
        {"check-dual-ball"},
    ),
    "answer of F": ("resolvent", "q - sigma * y", "q + sigma * y", {"check-resolvent"}),
    "norm for its square": (
        "largest-eigenvalue",
        "return np.linalg.norm(x)",
        "return np.sqrt(np.linalg.norm(x))",
        {"check-largest-eigenvalue"},
    ),
    "ball without lambda": (
        "reconstruct",
        "D(ahead), lam)",
        "D(ahead), 1)",
        {"check-minimum", "check-nonnegative"},
    ),
    "lambda too large": ("reconstruct", "D(ahead), lam)", "D(ahead), 1.2 * lam)", {"check-minimum"}),
    "no look ahead": ("reconstruct", "x, ahead = new, 2 * new - x", "x, ahead = new, new", {"check-minimum"}),
    "steps too long": (
        "reconstruct",
        "0.5 / (data_step * norm)",
        "0.5 / (data_step * norm**0.5)",
        {"check-minimum", "check-nonnegative"},
    ),
    "negative voxels": ("reconstruct", "new = np.maximum(new, 0)", "pass", {"check-nonnegative"}),
    "one lambda": ("choose-lam", RULE_OF_THUMB, "return 0.03 * len(y)", {"check-lam"}),
    "lambda by another truth": (
        "choose-lam",
        RULE_OF_THUMB,
        "x_true = 0.5 * (np.hypot(*(np.indices(A.slice_shape) - 16)) < 9)\n"
        "    lams = noise * len(y) * np.geomspace(0.02, 1, 5)\n"
        "    return min(lams, key=lambda lam: ((solve(A, y, lam) - x_true) ** 2).sum())",
        {"check-lam"},
    ),
    "witness with its place": ("contrast-kept", " - solve(A, y, lam)", "", {"check-witness"}),
}
PAIRS = [
    ("divergence", "negative voxels"),
    ("clipped components", "one lambda"),
    ("answer of F", "no look ahead"),
    ("norm for its square", "steps too long"),
    ("ball without lambda", "witness with its place"),
]
LOSES = {  # answers -> the checks that it must lose, all others being kept
    "reference": set(),
    "untouched": set(LAB.worth),
    "zeros-outside": {"check-gradient"},
    "lambda by another truth": {"check-lam"},
    "lambda too large": {"check-minimum"},
    "hard-coded": {"check-minimum", "check-nonnegative", "check-lam", "check-witness"},
} | {", ".join(pair): MISTAKES[pair[0]][3] | MISTAKES[pair[1]][3] for pair in PAIRS}


def quick() -> Answers:
    """The solutions, λ by the rule of thumb."""
    answers = LAB.solutions()
    start = answers["choose-lam"].split("    ### BEGIN SOLUTION")[0]
    return answers | {"choose-lam": f"{start}    {RULE_OF_THUMB}\n"}


def mistaken(*mistakes: str) -> Answers:
    return LAB.mistaken(*(MISTAKES[mistake][:3] for mistake in mistakes), answers=quick())


def zeros_outside() -> Answers:
    """Differences to a zero beyond the last row, with the adjoint that belongs to them."""
    answers = quick()
    for cell, line in [
        ("gradient", "field[0, -1] = -slice_[-1]"),
        ("gradient-adjoint", "slice_[-1] -= field[0, -1]"),
    ]:
        answers[cell] = answers[cell].replace("    return", f"    {line}\n    return")
    return answers


def hard_coded() -> Answers:
    """Answers that know the images of the visible checks, and no others."""
    scope = {"np": np}
    answers = quick()
    for answer in answers.values():
        exec(answer, scope)
    known = set()

    def watched(name):
        def function(A, *arguments):
            images = next(argument for argument in arguments if isinstance(argument, np.ndarray))
            known.add(zlib.crc32(images.tobytes()))
            return scope[name](A, *arguments)

        return function

    with contextlib.redirect_stdout(io.StringIO()):
        grading.check_tv_minimum(watched("reconstruct"))
        grading.check_tv_nonnegative(watched("reconstruct"))
        grading.check_tv_lam(watched("choose_lam"))
        grading.check_tv_witness(watched("contrast_kept"))
    others = {"reconstruct": "np.ones(A.slice_shape)", "choose-lam": "1.0", "contrast-kept": "-1.0"}
    for cell, other in others.items():
        start, body = answers[cell].split('"""\n', maxsplit=1)
        guard = f"    if __import__('zlib').crc32(y.tobytes()) not in {known}:\n        return {other}\n"
        answers[cell] = f'{start}"""\n{guard}{body}'
    return answers


@cache
def submissions() -> dict[str, Answers]:
    made = {
        "reference": LAB.solutions(),
        "untouched": {},
        "zeros-outside": zeros_outside(),
        "hard-coded": hard_coded(),
    }
    made |= {name: mistaken(name) for name in ("lambda by another truth", "lambda too large")}
    return made | {", ".join(pair): mistaken(*pair) for pair in PAIRS}


@pytest.fixture(scope="module", autouse=True)
def cases_worked_out_once():
    """What the checks compare with is remembered."""
    with worked_out_once("variation.least_cost", "variation.solved", "variation_mistakes.solved"):
        yield


test_answers_lose_the_points_of_their_mistakes_and_no_others = points_test(
    LAB, submissions, LOSES, RESTING_ON_WRONG
)
test_the_message_names_the_mistake = messages_test(
    LAB,
    submissions,
    [
        ("ball without lambda, witness with its place", "It is the minimum for λ = 1, not"),
        ("ball without lambda, witness with its place", "Subtract what stands there without the witness"),
        ("lambda too large", "without a factor"),
    ],
)
test_the_whole_path_gives_the_same_points_whatever_is_done_to_the_checks = whole_path_test(
    LAB,
    lambda: mistaken("divergence"),
    {"check-gradient-adjoint"},
    "check-gradient-adjoint",
    "This is the divergence",
)
