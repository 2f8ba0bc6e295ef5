"""A lab as files: the notebook with solutions, the students', and submissions with answers right or wrong."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

LABS = Path(__file__).resolve().parent.parent / "labs"
Answers = dict[str, str]  # grade id of a cell -> its text


def names() -> list[str]:
    """Names of the labs that have a source."""
    return sorted(path.stem for path in (LABS / "source").glob("*.md"))


def mark(cell: NotebookNode) -> dict:
    """Return what nbgrader knows of a cell."""
    found = cell.metadata.get("nbgrader")
    return found if isinstance(found, dict) else {}  # anybody may have written it


def grade_id(cell: NotebookNode) -> str:
    """nbgrader's name of a cell, empty if it has none."""
    return str(mark(cell).get("grade_id", ""))


def in_words(cell: NotebookNode) -> bool:
    """Return whether a person has to read what is written there."""
    return cell.cell_type == "markdown" and bool(mark(cell).get("grade"))


@dataclass(frozen=True)
class Lab:
    """The lab of this name, such as "lab-1-projector"."""

    name: str

    def source(self) -> NotebookNode:
        """Return the instructor's notebook."""
        return copy.deepcopy(_read(LABS / "source" / f"{self.name}.md"))

    def release(self) -> NotebookNode:
        """Return the students' notebook."""
        return nbformat.read(LABS / "release" / f"{self.name}.ipynb", as_version=4)

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
        """Return the instructor's solution cells."""
        return {
            grade_id(cell): cell.source for cell in self.source().cells if "BEGIN SOLUTION" in cell.source
        }

    def changed(self, cell_id: str, old: str, new: str) -> Answers:
        """Return the solutions with one mistake put in."""
        return self.mistaken((cell_id, old, new))

    def mistaken(self, *changes: tuple[str, str, str], answers: Answers | None = None) -> Answers:
        """These answers (by default the solutions) with several mistakes put in, each (cell, old, new)."""
        answers = dict(answers or self.solutions())
        for cell_id, old, new in changes:
            assert answers[cell_id].count(old) == 1, f"{old!r} is not once in the answer of {cell_id}"
            answers[cell_id] = answers[cell_id].replace(old, new)
        return answers

    def submission(self, answers: Answers, *, demonstrations: bool = False) -> NotebookNode:
        """Return the released notebook with these answers filled in; its demonstrations earn nothing and cost time."""
        notebook = self.release()
        for cell in notebook.cells:
            cell.source = answers.get(grade_id(cell), cell.source)
        if not demonstrations:
            imports = next(cell for cell in notebook.cells if cell.cell_type == "code")
            notebook.cells = [imports, *(cell for cell in notebook.cells if grade_id(cell))]
        return notebook


@functools.cache
def _read(path: Path) -> NotebookNode:
    """Return a notebook in text, parsed once: that takes a tenth of a second."""
    return jupytext.read(path)
