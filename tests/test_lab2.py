"""Lab 2: what known right and wrong answers are given, check by check, and one notebook through the whole path."""

import contextlib
import io
from functools import cache

import numpy as np

from etlab.course import grading
from tests.labs import Lab, messages_test, points_test, whole_path_test
from tools.lab import Answers

LAB = Lab("lab-2-missing-wedge")
LOSES = {  # answers -> the checks that it must lose, all others being kept
    "reference": set(),
    "untouched": set(LAB.worth),
    "wedge-along-the-wrong-axis": {"check-wedge"},
    "wrong-sign-of-the-tilt": {"check-lopsided"},
    "degrees-for-radians": {"check-wedge", "check-lopsided", "check-law", "check-number"},
    "half-of-the-range": {"check-law", "check-number", "check-tilts"},
    "ratio-upside-down": {"check-law", "check-widths"},
    "background-left-in": {"check-offset"},
    "moments-of-everything": {"check-reconstructed"},
    "budget-exceeded": {"check-budget"},
    "one-sweep": {"check-order"},
    "spends-it-all": {"check-detail"},
    "hard-coded": {
        f"check-{name}" for name in ("law", "number", "useful-dose", "budget", "tilts", "order", "detail")
    },
}


def hard_coded() -> Answers:
    """Functions of numbers that know the numbers of the visible checks, and nothing else."""
    answers, scope = LAB.solutions(), {"np": np}
    for answer in answers.values():
        exec(answer, scope)
    known = {"elongation": set(), "number_of_tilts": set(), "useful_dose": set(), "design_scheme": set()}
    for name, asked in known.items():

        def watched(*numbers, right=scope[name], asked=asked):
            asked.add(tuple(map(float, numbers)))
            return right(*numbers)

        scope[name] = watched
    with contextlib.redirect_stdout(io.StringIO()):
        grading.check_law(scope["elongation"])
        grading.check_number(scope["number_of_tilts"])
        grading.check_useful_dose(scope["useful_dose"])
        for name in ("budget", "tilts", "order", "detail"):
            getattr(grading, f"check_scheme_{name}")(scope["design_scheme"])
    for name, asked in known.items():
        otherwise = [[0.0] * 5] * 2 if name == "design_scheme" else 0.0
        answers[name.replace("_", "-")] += (
            f"\n\nright_{name} = {name}\n\ndef {name}(*numbers):\n"
            f"    return right_{name}(*numbers) if tuple(map(float, numbers)) in {asked} else {otherwise}\n"
        )
    return answers


@cache
def submissions() -> dict[str, Answers]:
    radians = [
        ("measured-mask", "np.rad2deg(np.arctan2(f_z, f_y))", "np.arctan2(f_z, f_y)"),
        ("elongation", "np.deg2rad(max_tilt_deg)", "max_tilt_deg"),
        ("number-of-tilts", "np.deg2rad(max_tilt_deg)", "max_tilt_deg"),
    ]
    half = [
        ("elongation", "np.deg2rad(max_tilt_deg)", "np.deg2rad(max_tilt_deg / 2)"),
        ("number-of-tilts", "2 * np.deg2rad", "np.deg2rad"),
        ("design-scheme", "np.linspace(-max_tilt_deg,", "np.linspace(0,"),
    ]
    upside_down = [
        ("elongation", "(alpha + overlap) / (alpha - overlap)", "(alpha - overlap) / (alpha + overlap)"),
        ("measure-elongation", "spread(z) / spread(y)", "spread(y) / spread(z)"),
    ]
    mistakes = {
        "wedge-along-the-wrong-axis": [("measured-mask", "arctan2(f_z, f_y)", "arctan2(f_y, f_z)")],
        "wrong-sign-of-the-tilt": [("measured-mask", "arctan2(f_z, f_y)", "arctan2(-f_z, f_y)")],
        "degrees-for-radians": radians,
        "half-of-the-range": half,
        "ratio-upside-down": upside_down,
        "background-left-in": [("measure-elongation", "slice_ - np.median(slice_)", "slice_")],
        "moments-of-everything": [("measure-elongation", "standing - standing.max() / 2", "standing")],
        "budget-exceeded": [("design-scheme", "np.full(n, dose / n)", "np.full(n, dose)")],
        "one-sweep": [("design-scheme", "np.argsort(np.abs(tilts))", "np.arange(n)")],
        "spends-it-all": [("design-scheme", "min(budget, useful_dose(critical_dose))", "budget")],
    }
    made = {name: LAB.mistaken(*changes) for name, changes in mistakes.items()}
    return made | {"reference": LAB.solutions(), "untouched": {}, "hard-coded": hard_coded()}


test_answers_lose_the_points_of_their_mistakes_and_no_others = points_test(LAB, submissions, LOSES)
test_the_message_names_the_mistake = messages_test(
    LAB,
    submissions,
    [
        ("wedge-along-the-wrong-axis", "y and z are exchanged"),
        ("wrong-sign-of-the-tilt", "the angle has the wrong sign"),
        ("ratio-upside-down", "it is the other way round"),
        ("budget-exceeded", "It is for all images together"),
        ("one-sweep", "one sweep from end to end"),
        ("spends-it-all", "A budget is a limit, not a duty"),
    ],
)
test_the_whole_path_gives_the_same_points_whatever_is_done_to_the_checks = whole_path_test(
    LAB,
    lambda: submissions()["budget-exceeded"],
    {"check-budget"},
    "check-budget",
    "It is for all images together",
)
