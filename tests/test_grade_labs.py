"""``tools/grade_labs.py``: its arguments, its tables, marks by hand, and submissions that are broken or mean harm."""

import csv
import importlib
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from tests.classroom import found_backend
from tests.labs import ROOT, Graded, Lab, grade_id

LAB = Lab("lab-1-projector")
SECRET = "the teacher's own words"
CELL_SECONDS = 15
ENDED = (
    f"it ended its kernel, printed without end, left the memory full or ran for longer than {CELL_SECONDS} s"
)
FIRST = {  # what a student put before everything else: it costs nothing, since no points hang on it
    "ends-the-kernel": "import os\nos._exit(0)",
    "loops": "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass",
    "floods": "while True:\n    print('x' * 10_000)",
    "asks-for-too-much": "huge = bytearray(64 << 30)",
    "fills-the-memory": "blocks = []\nwhile True:\n    blocks.append(bytearray(64 << 20))",
    "forks": "import os\nwhile True:\n    os.fork()",
    "asks-for-input": "input('who are you?')",
    "hides-its-error": "get_ipython().showtraceback = lambda *_, **__: None\n1 / 0",
}
SPY = """
import os, socket
print("home:", os.path.expanduser("~"), os.environ)
for folder in {places!r}:
    try:
        for name in os.listdir(folder):
            print(folder, name, open(os.path.join(folder, name), errors="replace").read())
    except OSError as error:
        print("refused", error.strerror)
try:
    socket.create_connection(("1.1.1.1", 53), timeout=2)
    print("reached the network")
except OSError as error:
    print("no network:", error.strerror)
"""
PAGE = """
from IPython.display import HTML, Javascript, display
display(HTML("<script>evil_in_html()</script>"), Javascript("evil_in_javascript()"))
print("<script>evil_in_text()</script>")
"""
BROKEN = {
    "wrote-a-letter": "Dear teacher,",
    "wrote-a-list": "[1, 2, 3]",
    "nested-deeply": "[" * 200_000,
    "no-cells": '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
    "odd-cells": '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}, 7]}',
    "too-large": '{"cells": "' + " " * (21 << 20) + '"}',
}


def with_first(code: str) -> nbformat.NotebookNode:
    """All solved, with a cell before everything else."""
    notebook = LAB.submission(LAB.solutions())
    notebook.cells.insert(0, new_code_cell(code))
    return notebook


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> Graded:
    found_backend()
    folder = tmp_path_factory.mktemp("grading")
    (folder / "private").mkdir()
    (folder / "private" / "notes.txt").write_text(SECRET)
    submissions = {name: with_first(code) for name, code in FIRST.items()} | BROKEN
    places = [str(folder / "private"), str(folder / "submitted" / "loops"), str(ROOT / "labs" / "source")]
    submissions["spies"] = with_first(SPY.format(places=places))
    submissions["paints"] = with_first(PAGE)
    submissions["paints"].cells.insert(0, new_markdown_cell("<script>evil_in_markdown()</script>"))
    loop = "    n_rows = images.shape[1]\n"
    submissions["loops-in-a-check"] = LAB.submission(
        LAB.changed("backproject", loop, loop + "    while True: pass\n")
    )
    submissions["Zoë O'Brien, 2nd"] = LAB.submission(LAB.solutions(), demonstrations=True)
    (folder / "submitted" / "forgot-it").mkdir(parents=True)
    for attempt in ("first", "second"):
        path = folder / "submitted" / "sent-two" / attempt / f"{LAB.name}.ipynb"
        path.parent.mkdir(parents=True)
        path.touch()
    (folder / "submitted" / "sent-a-link").mkdir()
    os.symlink(folder / "private" / "notes.txt", folder / "submitted" / "sent-a-link" / f"{LAB.name}.ipynb")
    return LAB.graded(folder, submissions, f"--cell-seconds={CELL_SECONDS}")


@pytest.mark.parametrize("student", [*FIRST, "spies", "paints", "Zoë O'Brien, 2nd"])
def test_a_cell_that_does_harm_costs_nothing_but_itself(graded, student):
    assert graded.points[student] == LAB.less(set())


def test_a_loop_inside_a_check_costs_that_check(graded):
    assert graded.points["loops-in-a-check"] == LAB.less({"check-adjoint"})
    assert ENDED in graded.feedback("loops-in-a-check")


@pytest.mark.parametrize("student", ["floods", "fills-the-memory"])
def test_a_cell_that_would_leave_nothing_to_the_others_is_ended(graded, student):
    assert graded.feedback(student).count("This cell was ended") == 1


def test_asking_for_too_much_is_an_error_like_any_other(graded):
    feedback = graded.feedback("asks-for-too-much")
    assert "MemoryError" in feedback and "This cell was ended" not in feedback


@pytest.mark.parametrize("student", [*BROKEN, "forgot-it", "sent-two", "sent-a-link"])
def test_what_cannot_be_read_gets_no_points_and_is_named(graded, student):
    assert student not in graded.points
    assert re.search(rf"^no points for {student}: .*look by hand$", graded.run.stderr, re.MULTILINE)
    assert graded.run.returncode == 1


def test_nobody_else_is_named(graded):
    named = re.findall(r"^no points for (.*?):", graded.run.stderr, re.MULTILINE)
    assert set(named) == {*BROKEN, "forgot-it", "sent-two", "sent-a-link"}


def test_the_code_sees_neither_files_nor_network(graded):
    page = graded.feedback("spies")
    assert "no network" in page
    assert page.count("refused No such file") == 3
    assert SECRET not in page
    assert "home: /tmp" in page


def test_feedback_is_a_page_without_programs_of_the_student_and_not_too_long_to_read(graded):
    page = graded.feedback("paints")
    assert "&lt;script&gt;evil_in_text()" in page
    assert "evil_in_markdown()" in page
    assert not re.search(r"<script[^>]*>\s*evil", page)
    assert "Javascript object" in page
    assert len(graded.feedback("floods")) < 2 << 20


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
        ((LAB.name, "empty", "results"), "submitted: empty holds no student's folder with"),
        ((LAB.name, "submitted", "empty"), "results: empty exists; name a new folder"),
        ((LAB.name, "submitted", "results", "nowhere.csv"), "marks: [Errno 2]"),
        ((LAB.name, "submitted", "results", "columns.csv"), "marks: columns.csv has columns name, expected"),
        (
            (LAB.name, "submitted", "results", "points.csv"),
            "points.csv, line 2: got '16' points, expected a number",
        ),
    ],
)
def test_grading_says_what_is_wrong_with_its_arguments(arguments, words, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("submitted", "ada").mkdir(parents=True)
    Path("submitted", "ada", f"{LAB.name}.ipynb").touch()
    Path("columns.csv").write_text("name\nada\n")
    Path("points.csv").write_text("student,cell,points,of,comment\nada,explanation,16,15,\n")
    grade_labs = importlib.import_module("grade_labs")
    with pytest.raises(SystemExit, match=re.escape(words)):
        grade_labs.main(arguments[0], *map(Path, arguments[1:]))
    assert not Path("results").exists()


def test_grade_ids_are_unique():
    for path in (ROOT / "labs" / "source").glob("*.md"):
        ids = [grade_id(cell) for cell in Lab(path.stem).source().cells if grade_id(cell)]
        assert len(ids) == len(set(ids)), path
