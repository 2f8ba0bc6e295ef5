"""Lab 1 through the whole grading path: what known right and wrong submissions are given, check by check.

All submissions go through nbgrader in one run of ``tools/grade_labs.py``, as a teacher would run it.
"""

import contextlib
import csv
import importlib
import io
import re
import subprocess
import sys
import zlib
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from etlab import grading

ROOT = Path(__file__).resolve().parent.parent
LAB = "lab-1-projector"
POINTS = {
    "check-landing": 5,
    "check-weights": 10,
    "check-sign": 15,
    "check-centre": 10,
    "check-mass": 10,
    "check-accuracy": 15,
    "check-linearity": 10,
    "check-adjoint": 25,
}
LOSES = {  # submission -> the checks that it must lose, all others being kept
    "reference": set(),
    "untouched": set(POINTS),
    "untouched-tests-edited": set(POINTS),
    "kernel-dies": set(POINTS),
    "wrong-sign": {"check-landing", "check-sign"},
    "wrong-sign-tests-deleted": {"check-landing", "check-sign"},
    "half-pixel": {"check-landing", "check-centre"},
    "nearest-row": {"check-weights", "check-accuracy"},
    "unmatched-adjoint": {"check-adjoint"},
    "hard-coded": {
        f"check-{name}" for name in ("sign", "centre", "mass", "accuracy", "linearity", "adjoint")
    },
}


def release() -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "labs" / "release" / f"{LAB}.ipynb", as_version=4)


def grade_id(cell) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def solutions() -> dict[str, str]:
    """The instructor's solution cells, by grade id."""
    source = jupytext.read(ROOT / "labs" / "source" / f"{LAB}.md")
    return {grade_id(cell): cell.source for cell in source.cells if "BEGIN SOLUTION" in cell.source}


def changed(cell_id: str, old: str, new: str) -> dict[str, str]:
    """The solutions with one mistake put in."""
    answers = solutions()
    assert answers[cell_id].count(old) == 1, f"{old!r} is not in the solution of {cell_id}"
    answers[cell_id] = answers[cell_id].replace(old, new)
    return answers


def hard_coded() -> dict[str, str]:
    """A projector that knows the data of the visible checks, and nothing else."""
    scope = {"np": np}
    for answer in solutions().values():
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
    return changed("project", start, f"{guard}        return np.zeros((len(tilts_deg), n_rows))\n{start}")


def submission(answers: dict[str, str], *, demonstrations: bool = False) -> nbformat.NotebookNode:
    """The released notebook with these answers filled in; its demonstrations earn nothing and cost time."""
    notebook = release()
    for cell in notebook.cells:
        cell.source = answers.get(grade_id(cell), cell.source)
    if not demonstrations:
        numpy = nbformat.v4.new_code_cell("import numpy as np")
        notebook.cells = [numpy, *(cell for cell in notebook.cells if grade_id(cell))]
    return notebook


def submissions() -> dict[str, nbformat.NotebookNode]:
    sign = changed("landing-row", "(z - (nz - 1) / 2) * np.sin", "((nz - 1) / 2 - z) * np.sin")
    made = {
        "reference": submission(solutions(), demonstrations=True),
        "untouched": submission({}),
        "untouched-tests-edited": submission({name: "pass" for name in POINTS}),
        "wrong-sign": submission(sign),
        "wrong-sign-tests-deleted": submission(sign),
        "half-pixel": submission(changed("landing-row", "s + (n_rows - 1) / 2", "s + n_rows / 2")),
        "nearest-row": submission(
            changed(
                "linear-weights",
                "return lower, lower + 1 - position, position - lower",
                "upper = (position - lower > 0.5) * 1.0\n    return lower, 1 - upper, upper",
            )
        ),
        "unmatched-adjoint": submission(
            changed("backproject", "slice_[seen] += weight[seen] * image", "slice_[seen] += 0.5 * image")
        ),
        "hard-coded": submission(hard_coded()),
        "kernel-dies": submission(solutions() | {"linear-weights": "import os\nos._exit(1)"}),
    }
    deleted = made["wrong-sign-tests-deleted"]
    deleted.cells = [cell for cell in deleted.cells if grade_id(cell) not in POINTS]
    return made


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """The folder that ``tools/grade_labs.py`` fills."""
    folder = tmp_path_factory.mktemp("lab1")
    for student, notebook in submissions().items():
        (folder / "submitted" / student).mkdir(parents=True)
        nbformat.write(notebook, folder / "submitted" / student / f"{LAB}.ipynb")
    (folder / "submitted" / "no-notebook").mkdir()
    (folder / "submitted" / "no-notebook" / f"{LAB}.ipynb").write_text("Dear teacher,")
    command = [sys.executable, ROOT / "tools" / "grade_labs.py", LAB, "submitted", "results"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert (folder / "results").is_dir(), run.stdout + run.stderr
    assert run.returncode == 1
    assert "look at them by hand: kernel-dies, no-notebook" in run.stderr
    return folder / "results"


@pytest.fixture(scope="module")
def points(results) -> dict[str, dict[str, str]]:
    with open(results / "points.csv", newline="", encoding="utf-8") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("student", LOSES)
def test_a_submission_loses_the_points_of_its_mistake_and_no_others(points, student):
    given = {name: float(points[student][name]) for name in POINTS}
    assert given == {name: 0.0 if name in LOSES[student] else worth for name, worth in POINTS.items()}
    assert float(points[student]["score"]) == sum(given.values())
    assert float(points[student]["max_score"]) == 100


def test_the_exported_grades_are_those_points(results, points):
    with open(results / "grades.csv", newline="", encoding="utf-8") as file:
        grades = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert grades == {student: float(row["score"]) for student, row in points.items()}
    assert set(grades) == set(LOSES)


def test_feedback_names_the_mistake(results):
    page = (results / "feedback" / "wrong-sign.html").read_text(encoding="utf-8")
    assert "the angle has the wrong sign" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("lab-9", "submitted", "results"), "lab: got lab-9, expected one of"),
        ((LAB, "nowhere", "results"), "submitted: nowhere is not a folder"),
        ((LAB, "empty", "results"), "submitted: empty holds no student's folder"),
        ((LAB, "submitted", "results"), "ada holds 2 files"),
        ((LAB, "submitted", "empty"), "results: empty exists; name a new folder"),
    ],
)
def test_grading_says_what_is_wrong_with_its_arguments(arguments, words, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for attempt in ("first", "second"):
        Path("submitted", "ada", attempt).mkdir(parents=True)
        Path("submitted", "ada", attempt, f"{LAB}.ipynb").touch()
    grade_labs = importlib.import_module("grade_labs")
    with pytest.raises(SystemExit, match=re.escape(words)):
        grade_labs.main(arguments[0], *map(Path, arguments[1:]))
    assert not Path("results").exists()


def test_released_lab_is_what_its_source_gives():
    command = [sys.executable, ROOT / "tools" / "release_labs.py", "--check"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr


def test_released_lab_holds_no_solution_and_no_hidden_test():
    text = "\n".join(cell.source for cell in release().cells)
    assert not re.search(r"SOLUTION|HIDDEN|seed=None|np\.add\.at\(", text)
    assert text.count("raise NotImplementedError()") == len(solutions())


def test_untouched_lab_says_at_every_check_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = release()
    NotebookClient(notebook, timeout=120, allow_errors=True).execute()
    checks = [cell for cell in notebook.cells if grade_id(cell) in POINTS]
    assert len(checks) == len(POINTS)
    for cell in checks:
        (error,) = [output for output in cell.outputs if output.output_type == "error"]
        (paragraph,) = error.traceback
        assert error.ename == "NotWritten"
        assert "is not written yet" in paragraph
        assert "\n" not in paragraph
