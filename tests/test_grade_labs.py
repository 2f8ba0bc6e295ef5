"""``tools/grade_labs.py``: its arguments, its tables, and submissions that are broken or mean harm."""

import csv
import importlib
import re
from pathlib import Path

import pytest

from tests.labs import ROOT, Lab

LAB = Lab("lab-1-projector")


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    solutions = LAB.solutions()
    submissions = {
        "ada": LAB.submission(solutions),
        "letter": "Dear teacher,",
        "kernel-dies": LAB.submission(solutions | {"linear-weights": "import os\nos._exit(1)"}),
    }
    return LAB.graded(tmp_path_factory.mktemp("grading"), submissions)


def test_the_exported_grades_are_those_points(graded):
    with open(graded.folder / "grades.csv", newline="", encoding="utf-8") as file:
        grades = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert grades == {student: row["score"] for student, row in graded.rows.items()}
    for student, row in graded.rows.items():
        assert row["score"] == sum(graded.points[student].values())
        assert row["max_score"] == 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("lab-9", "submitted", "results"), "lab: got lab-9, expected one of"),
        ((LAB.name, "nowhere", "results"), "submitted: nowhere is not a folder"),
        ((LAB.name, "empty", "results"), "submitted: empty holds no student's folder"),
        ((LAB.name, "submitted", "results"), "ada holds 2 files"),
        ((LAB.name, "submitted", "empty"), "results: empty exists; name a new folder"),
    ],
)
def test_grading_says_what_is_wrong_with_its_arguments(arguments, words, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for attempt in ("first", "second"):
        Path("submitted", "ada", attempt).mkdir(parents=True)
        Path("submitted", "ada", attempt, f"{LAB.name}.ipynb").touch()
    grade_labs = importlib.import_module("grade_labs")
    with pytest.raises(SystemExit, match=re.escape(words)):
        grade_labs.main(arguments[0], *map(Path, arguments[1:]))
    assert not Path("results").exists()
