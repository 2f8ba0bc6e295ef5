"""A lab as its tests need it: what students get, answers right and wrong, and what the grading gives for them.

The mistakes of a lab's tests are put into the instructor's solutions by `Lab.changed`; `Lab.graded` sends submissions
through ``tools/grade_labs.py``, as a teacher would.
"""

import csv
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jupytext
import nbformat

ROOT = Path(__file__).resolve().parent.parent
Answers = dict[str, str]  # grade id of a cell -> its code


def names() -> list[str]:
    """Names of all labs."""
    return sorted(path.stem for path in (ROOT / "labs" / "source").glob("*.md"))


def mark(cell) -> dict:
    """What nbgrader knows of a cell."""
    return cell.metadata.get("nbgrader", {})


def grade_id(cell) -> str:
    return mark(cell).get("grade_id", "")


@dataclass(frozen=True)
class Graded:
    """The folder that ``tools/grade_labs.py`` filled, and what it said."""

    folder: Path
    run: subprocess.CompletedProcess

    @cached_property
    def points(self) -> dict[str, dict[str, float]]:
        """Student -> the points of each check."""
        return {
            student: {name: row[name] for name in row if name.startswith("check-")}
            for student, row in self.rows.items()
        }

    @cached_property
    def rows(self) -> dict[str, dict[str, float]]:
        """Student -> their row of ``points.csv``."""
        with open(self.folder / "points.csv", newline="", encoding="utf-8") as file:
            return {
                row.pop("student"): {name: float(value) for name, value in row.items()}
                for row in csv.DictReader(file)
            }

    def feedback(self, student: str) -> str:
        """The page that the student gets back."""
        return (self.folder / "feedback" / f"{student}.html").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Lab:
    """The lab of this name, such as "lab-1-projector"."""

    name: str

    def source(self) -> nbformat.NotebookNode:
        """The instructor's notebook."""
        return jupytext.read(ROOT / "labs" / "source" / f"{self.name}.md")

    def release(self) -> nbformat.NotebookNode:
        """The students' notebook."""
        return nbformat.read(ROOT / "labs" / "release" / f"{self.name}.ipynb", as_version=4)

    @cached_property
    def worth(self) -> dict[str, int]:
        """Points of each check that a machine makes."""
        cells = [mark(cell) for cell in self.source().cells]
        return {cell["grade_id"]: cell["points"] for cell in cells if cell.get("grade") and cell["locked"]}

    def less(self, lost: set[str]) -> dict[str, float]:
        """Points of each check when these are lost and no others."""
        assert lost <= set(self.worth), f"{lost - set(self.worth)} are not checks of {self.name}"
        return {name: 0.0 if name in lost else float(worth) for name, worth in self.worth.items()}

    def solutions(self) -> Answers:
        """The instructor's solution cells."""
        return {
            grade_id(cell): cell.source for cell in self.source().cells if "BEGIN SOLUTION" in cell.source
        }

    def changed(self, cell_id: str, old: str, new: str) -> Answers:
        """The solutions with one mistake put in."""
        answers = self.solutions()
        assert answers[cell_id].count(old) == 1, f"{old!r} is not once in the solution of {cell_id}"
        return answers | {cell_id: answers[cell_id].replace(old, new)}

    def submission(self, answers: Answers, *, demonstrations: bool = False) -> nbformat.NotebookNode:
        """The released notebook with these answers filled in; its demonstrations earn nothing and cost time."""
        notebook = self.release()
        for cell in notebook.cells:
            cell.source = answers.get(grade_id(cell), cell.source)
        if not demonstrations:
            numpy = nbformat.v4.new_code_cell("import numpy as np")
            notebook.cells = [numpy, *(cell for cell in notebook.cells if grade_id(cell))]
        return notebook

    def graded(
        self, folder: Path, submissions: dict[str, nbformat.NotebookNode | str], *options: str
    ) -> Graded:
        """Grade what these students handed in (a notebook, or the text of a file that should be one) in ``folder``."""
        for student, notebook in submissions.items():
            path = folder / "submitted" / student / f"{self.name}.ipynb"
            path.parent.mkdir(parents=True)
            if isinstance(notebook, str):
                path.write_text(notebook, encoding="utf-8")
            else:
                nbformat.write(notebook, path)
        command = [
            sys.executable,
            ROOT / "tools" / "grade_labs.py",
            self.name,
            "submitted",
            "results",
            *options,
        ]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
        assert (folder / "results").is_dir(), run.stdout + run.stderr
        return Graded(folder / "results", run)
