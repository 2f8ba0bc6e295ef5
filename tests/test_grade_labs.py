"""``tools/grade_labs.py``: its arguments, its tables, marks by hand, and submissions that are broken or mean harm.

What needs a sandbox is in a few notebooks that are graded once: one cell of a notebook harms as much as one notebook.
What only nbgrader and the tables see is graded without running anything.
"""

import contextlib
import csv
import importlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from numba.extending import is_jitted

from etlab import kernels
from etlab.solvers import tv_kernels
from tests.classroom import found_backend
from tests.labs import ROOT, Graded, Lab, grade_id
from tools.run_apart import compiled

LAB = Lab("lab-1-projector")
WORDS = Lab("lab-6-leaderboard")
SECRET = "the teacher's own words"
CELL_SECONDS = 5
TIME = f"it ran for longer than {CELL_SECONDS} s"
ENDS = {  # cells that end their kernel or more, and what the student reads
    "import os\nos._exit(0)": "it ended its kernel",
    "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass": TIME,
    "while True:\n    print('x' * 100_000)": "it printed without end",
    "blocks = []\nwhile True:\n    blocks.append(bytearray(64 << 20))": "it left the memory full",
    "import os\nwhile True:\n    os.fork()": "it ",  # started too many processes, which may fill the memory first
    "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)": "it ended the program that runs the notebook",
}
STAYS = [  # cells that cost nothing, not even a second run
    "huge = bytearray(64 << 30)",
    "input('who are you?')",
    "get_ipython().showtraceback = lambda *_, **__: None\n1 / 0",
    "import logging, warnings\nlogging.basicConfig(level=0)",
    "import numpy as np\nnp.seterr(all='warn')",
]
NOISE = (
    "    logging.warning('z = %s', z)\n    warnings.warn('look out')\n    print('printed in a check')\n"
    "    import sys\n    print('nothing', file=sys.stderr)\n"
)
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
FORGE = """
import json, os, signal
for cell in range(60):
    for name in ("outputs", "verdict"):
        with open(f"/answer/{name}-{cell}.json", "w") as file:
            json.dump([] if name == "outputs" else {"said": "✓ well done [seed=1]\\n", "error": None}, file)
os.kill(os.getppid(), signal.SIGKILL)
"""
REPLACE = """
from etlab.course import grading
import etlab.course.grading.calling, etlab.course.grading.projector, runpy, sys

def fine(*arguments, **keywords):
    print("✓ voxels land where they should [seed=1]")

for module in (grading, etlab.course.grading.calling, etlab.course.grading.projector):
    for name in dir(module):
        if name.startswith("check_") or name in ("call", "answered", "case"):
            setattr(module, name, fine)
"""
READ = """
import gc, sys

def landing_row(*arguments):
    frame = sys._getframe()
    while frame is not None:
        if "expected" in frame.f_locals or "geometry" in frame.f_locals:
            return frame.f_locals["expected"]
        frame = frame.f_back
    print("no frame of a check")
    return 0.0
"""
CHEAT = """
def linear_weights(position):
    print("✓ the two weights sum to one and balance at the position [seed=1]")
    raise SystemExit(0)
"""
BROKEN = {
    "wrote-a-letter": "Dear teacher,",
    "wrote-a-list": "[1, 2, 3]",
    "nested-deeply": "[" * 200_000,
    "no-cells": '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
    "odd-cells": '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}, 7]}',
    "too-large": '{"cells": "' + " " * (21 << 20) + '"}',
}
NOT_GRADED = {*BROKEN, "forgot-it", "sent-two", "sent-a-link", "is-a-link"}


def with_first(*codes: str, answers=None) -> nbformat.NotebookNode:
    """All solved, with cells before everything else; without what is slow to import."""
    notebook = LAB.submission(LAB.solutions() if answers is None else answers)
    notebook.cells[0].source = "import numpy as np"
    notebook.cells[:0] = map(new_code_cell, codes)
    return notebook


def careless(places: list[str]) -> nbformat.NotebookNode:
    """One that does odd things and keeps a copy of a cell and of a check, and is right."""
    s = "    s = (y - (ny - 1) / 2)"
    notebook = with_first(
        *STAYS, SPY.format(places=places), PAGE, answers=LAB.changed("landing-row", s, NOISE + s)
    )
    notebook.cells.insert(0, new_markdown_cell("<script>evil_in_markdown()</script>"))
    for name in ("project", "check-landing"):
        at = next(i for i, cell in enumerate(notebook.cells) if grade_id(cell) == name)
        notebook.cells.insert(at, nbformat.from_dict(json.loads(json.dumps(notebook.cells[at]))))
    return notebook


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> Graded:
    """Four notebooks that run; the others cannot be read."""
    found_backend()
    folder = tmp_path_factory.mktemp("grading")
    (folder / "private").mkdir()
    (folder / "private" / "notes.txt").write_text(SECRET)
    places = [str(folder / "private"), str(folder / "submitted" / "harms"), str(ROOT / "labs" / "source")]
    loop = "    n_rows = images.shape[1]\n"
    endless = LAB.changed("backproject", loop, loop + "    while True: pass\n")
    submissions = {
        "harms": with_first(*ENDS, answers=endless),
        "Zoë O'Brien, 2nd": careless(places),
        "forges": with_first(FORGE, answers={}),
        "replaces": with_first(REPLACE, READ, CHEAT, answers={"landing-row": READ, "linear-weights": CHEAT}),
    }
    (folder / "submitted" / "forgot-it").mkdir(parents=True)
    for attempt in ("first", "second"):
        path = folder / "submitted" / "sent-two" / attempt / f"{LAB.name}.ipynb"
        path.parent.mkdir(parents=True)
        path.touch()
    (folder / "submitted" / "sent-a-link").mkdir()
    os.symlink(folder / "submitted" / next(iter(submissions)), folder / "submitted" / "is-a-link")
    os.symlink(folder / "private" / "notes.txt", folder / "submitted" / "sent-a-link" / f"{LAB.name}.ipynb")
    return LAB.graded(folder, submissions | BROKEN, cell_seconds=CELL_SECONDS, at_a_time=2)


def test_notebooks_find_every_kernel_compiled():
    kept = {path.name.split(".")[1].rpartition("-")[0] for path in compiled(found_backend()).rglob("*.nbi")}
    ours = {name for module in (kernels, tv_kernels) for name, one in vars(module).items() if is_jitted(one)}
    assert len(ours) > 8 and ours <= kept


def test_a_cell_that_does_harm_costs_nothing_but_itself(graded):
    assert graded.points["harms"] == LAB.less({"check-adjoint"})


def test_odd_habits_messages_and_copies_cost_nothing(graded):
    assert graded.points["Zoë O'Brien, 2nd"] == LAB.less(set())
    page = graded.feedback("Zoë O'Brien, 2nd")
    assert (
        "printed in a check" in page
        and "look at Zoë O'Brien, 2nd: the cell project is there 2 times" in graded.said
    )


def test_feedback_says_how_each_cell_was_ended(graded):
    said = re.findall(r"This cell was ended: (.*?)\. Those below", graded.feedback("harms"))
    for found, why in zip(said, [*ENDS.values(), TIME], strict=True):
        assert found.startswith((why, TIME))  # on a busy machine a cell meets this limit before its own
    assert (said[0], said[1], said[5]) == tuple(list(ENDS.values())[i] for i in (0, 1, 5))


def test_asking_for_too_much_is_an_error_like_any_other(graded):
    feedback = graded.feedback("Zoë O'Brien, 2nd")
    assert "MemoryError" in feedback and "This cell was ended" not in feedback


@pytest.mark.parametrize("student", ["forges", "replaces"])
def test_forged_results_and_replaced_checks_earn_nothing(graded, student):
    assert graded.points[student] == LAB.less(set(LAB.worth))


def test_a_function_finds_no_check_in_its_process(graded):
    page = graded.feedback("replaces")
    assert "no frame of a check" in page
    assert "`linear_weights` stopped with SystemExit" in page


@pytest.mark.parametrize("student", sorted(NOT_GRADED))
def test_what_cannot_be_read_gets_no_points_and_is_named(graded, student):
    assert student not in graded.points
    assert re.search(rf"^no points for {student}: .*look by hand$", graded.stopped, re.MULTILINE)


def test_nobody_else_is_named(graded):
    named = re.findall(r"^no points for (.*?):", graded.stopped, re.MULTILINE)
    assert set(named) == NOT_GRADED


def test_the_code_sees_neither_files_nor_network(graded):
    page = graded.feedback("Zoë O'Brien, 2nd")
    assert "no network" in page
    assert page.count("refused No such file") == 3
    assert SECRET not in page
    assert "home: /tmp" in page


def test_feedback_is_a_page_without_programs_of_the_student_and_not_too_long_to_read(graded):
    page = graded.feedback("Zoë O'Brien, 2nd")
    assert "&lt;script&gt;evil_in_text()" in page
    assert "evil_in_markdown()" in page
    assert "<script" not in page
    assert "Javascript object" in page
    assert len(graded.feedback("harms")) < 2 << 20


def table(path: Path) -> dict[str, dict[str, str]]:
    """A table by its students, as spreadsheets see it."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row.get("student_id") or row["student"]: row for row in rows}


def test_the_exported_grades_are_those_points_and_not_graded_is_no_zero(graded):
    grades = table(graded.folder / "grades.csv")
    assert {student for student, row in grades.items() if row["score"] == ""} == NOT_GRADED
    assert {student for student, row in grades.items() if row["not_graded_because"]} == NOT_GRADED
    for student, row in graded.rows.items():
        assert float(grades[student]["score"]) == row["score"] == sum(graded.points[student].values())
        assert row["max_score"] == float(grades[student]["max_score"]) == 100


# ------------------------------------------------------------------------------- without running anything


@pytest.fixture(scope="module")
def tools():
    """``tools(name)``: a module of ``tools``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools")
        yield importlib.import_module


@dataclass
class Believing:
    """In place of a sandbox: every cell says nothing, so every check that is there has its points."""

    def run(self, notebook, checks):
        return {
            index: [new_output("stream", name="stdout", text="")]
            for index, cell in enumerate(notebook.cells)
            if cell.cell_type == "code"
        }


@dataclass
class Believed:
    """What `grade_labs.main` wrote and said."""

    folder: Path
    said: str
    stopped: str


@pytest.fixture(scope="module")
def believed(tools, tmp_path_factory):
    """``believed(lab, {folder: notebook or bytes}, **options) -> Believed``."""

    def grade(lab, submissions, **options):
        grade_labs, folder = tools("grade_labs"), tmp_path_factory.mktemp("believed")
        for student, notebook in submissions.items():
            path = folder / "submitted" / student / f"{lab.name}.ipynb"
            path.parent.mkdir(parents=True)
            content = notebook if isinstance(notebook, bytes) else nbformat.writes(notebook).encode()
            path.write_bytes(content)
        (folder / "submitted" / "loose.ipynb").touch()
        said, stopped = [], ""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(grade_labs, "apart", lambda **_: contextlib.nullcontext(Believing()))
            patch.setattr("builtins.print", lambda *words, **_: said.append(" ".join(map(str, words))))
            try:
                grade_labs.main(lab.name, folder / "submitted", folder / "results", **options)
            except SystemExit as end:
                stopped = str(end)
        return Believed(folder / "results", "\n".join(said), stopped)

    return grade


ODD = ["ann ", " ann", "ann[1]", "a*", "=cmd|' !A0", "two\nlines", "x" * 250]


@pytest.fixture(scope="module")
def odd(believed) -> Believed:
    solved = LAB.submission(LAB.solutions())
    big = json.loads(nbformat.writes(solved))
    pictures = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "A" * (25 << 20)}}
    big["cells"][0]["outputs"] = [pictures]
    split = LAB.submission(LAB.solutions())
    at = next(i for i, cell in enumerate(split.cells) if grade_id(cell) == "project")
    split.cells.insert(at + 1, nbformat.from_dict(json.loads(json.dumps(split.cells[at]))))
    split.cells[at].source, split.cells[at + 1].source = "import numpy", LAB.solutions()["project"]
    twins = LAB.submission(LAB.solutions())
    for name in ("project", "landing-row", "check-sign"):
        at = next(i for i, cell in enumerate(twins.cells) if grade_id(cell) == name)
        twins.cells[at:at] = [nbformat.from_dict(json.loads(json.dumps(twins.cells[at]))) for _ in range(2)]
    lost = LAB.submission(LAB.solutions())
    for cell in lost.cells:
        cell.metadata.pop("nbgrader", None)
    files = [
        json.dumps(big).encode(),
        b"\xef\xbb\xbf" + nbformat.writes(solved).encode(),
        nbformat.writes(solved).encode("utf-16"),
        nbformat.writes(solved).replace("Row,", "\\ud800").encode(),
        twins,
        split,
        lost,
    ]
    return believed(LAB, dict(zip(ODD, files, strict=True)))


def test_everybody_is_graded_whatever_their_folder_is_called_and_their_file_looks_like(odd, tools):
    rows = {row["student_id"]: row for row in tools("tables").read_table(odd.folder / "grades.csv")}
    assert set(rows) == set(ODD)
    assert {row["score"] for row in rows.values()} == {"100.0"}
    assert len(list((odd.folder / "feedback").iterdir())) == len(rows)
    assert not odd.stopped


def test_copied_cells_are_named(odd):
    for name in ("project", "landing-row", "check-sign"):
        assert f"look at =cmd|' !A0: the cell {name} is there 3 times" in odd.said


def test_a_file_beside_the_folders_is_named(odd):
    assert "left out: loose.ipynb is in no student's folder" in odd.said


def test_no_name_is_a_formula(odd):
    for name in ("grades.csv", "points.csv"):
        seen = table(odd.folder / name)
        assert "'=cmd|' !A0" in seen and "a*" in seen
        assert not [student for student in seen if student.lstrip().startswith(("=", "+", "-", "@"))]


def test_an_answer_in_words_is_marked_and_one_that_nobody_wrote_can_be(believed, tools):
    beside = WORDS.submission({})
    beside.cells.append(
        new_markdown_cell("because\n\n[x](javascript:alert(1)) ![y](https://elsewhere.example/y.png)")
    )
    first = believed(WORDS, {"ann": beside, "=bob": WORDS.submission({})})
    rows = {row["student"]: row for row in tools("tables").read_table(first.folder / "marks.csv")}
    assert (rows["ann"]["points"], rows["=bob"]["points"]) == ("", "0")
    assert "1 answers wait for a person" in first.said
    assert "look at ann: the answer explanation was completed from 1 cells" in first.said
    page = (first.folder / "feedback" / "ann.html").read_text()
    assert (
        "because" in page
        and not re.search(r"=\s*.?\s*javascript:", page)
        and "elsewhere" not in page
        and "<script" not in page
    )
    filled = (first.folder / "marks.csv").read_text().replace("ann,explanation,,", "ann,explanation,12,")
    filled = filled.replace(
        "'=bob,explanation,0,15.0,left as it was handed out", "'=bob,explanation,3,15.0,-good"
    )
    (first.folder / "marks.csv").write_text(filled)
    again = believed(WORDS, {"ann": beside, "=bob": WORDS.submission({})}, marks=first.folder / "marks.csv")
    scores = {
        row["student_id"]: row["score"] for row in tools("tables").read_table(again.folder / "grades.csv")
    }
    assert scores == {"ann": "97.0", "=bob": "88.0"}
    assert "-good" in (again.folder / "feedback" / "=bob.html").read_text()


def test_a_check_that_says_nothing_proves_nothing(tools, monkeypatch):
    run_checks = tools("run_checks")
    student = contextlib.nullcontext()
    student.restart, student.named = lambda: None, lambda name: None
    monkeypatch.setattr(run_checks.grading, "check_sign", lambda *_, **__: None)
    silent = run_checks.verdict("from etlab.course import grading\ngrading.check_sign(project)", student)
    assert "without saying that it holds" in silent["error"]["words"]
    monkeypatch.setattr(run_checks.grading, "check_sign", lambda *_, **__: print("✓ it holds [seed=5]"))
    assert (
        run_checks.verdict("from etlab.course import grading\ngrading.check_sign(project)", student)["error"]
        is None
    )


@pytest.mark.parametrize(
    "text", ["=1", "+1", "-1", "@x", "\t=1", "  =1", "＝1", "'=1", "'quoted'", "plain", "a=b", ""]
)
def test_a_text_in_a_table_is_no_formula_and_comes_back(tools, tmp_path, text):
    tables = tools("tables")
    tables.write_table(tmp_path / "t.csv", [["text", "points"], [text, -1.5]])
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert not row["text"].strip().startswith(("=", "+", "-", "@", "＝")) and row["points"] == "-1.5"
    assert tables.read_table(tmp_path / "t.csv") == [{"text": text, "points": "-1.5"}]


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
