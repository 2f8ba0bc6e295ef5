"""Labs as their tests need them: submissions go through ``tools/grade_labs.py``, as a teacher would send them."""

import csv
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat

from tools import lab
from tools.lab import grade_id, mark, names

__all__ = ["ROOT", "Graded", "Lab", "grade_id", "mark", "names"]
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Graded:
    """The folder that ``tools/grade_labs.py`` filled, and what it said."""

    folder: Path
    run: subprocess.CompletedProcess

    @cached_property
    def rows(self) -> dict[str, dict[str, float]]:
        """Student -> their row of ``points.csv``."""
        with open(self.folder / "points.csv", newline="", encoding="utf-8") as file:
            rows = {row.pop("student"): row for row in csv.DictReader(file)}
        return {student: {name: float(value) for name, value in row.items()} for student, row in rows.items()}

    @cached_property
    def points(self) -> dict[str, dict[str, float]]:
        """Student -> the points of each check that a machine makes."""
        rows = self.rows.items()
        return {
            student: {name: row[name] for name in row if name.startswith("check-")} for student, row in rows
        }

    def feedback(self, student: str) -> str:
        """The page that the student gets back."""
        return (self.folder / "feedback" / f"{student}.html").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Lab(lab.Lab):
    """A lab whose submissions can be graded."""

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
