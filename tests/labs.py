"""Labs as their tests need them: answers judged in this process, or submissions that go the whole way.

`Lab.judged` runs the checks of the instructor's notebook, hidden ones included, as a notebook would. What a check says
depends on the answers that it uses and on no others, so each check meets each set of these once. Hidden tests draw
the same case for all of them; only on the whole way is it a fresh one.
`Lab.graded` takes notebooks through ``tools/grade_labs.py``, as a teacher would: sandbox, nbgrader, feedback. The
command itself is run by `test_make_class`.
"""

import ast
import contextlib
import csv
import importlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, ModuleType

import nbformat
import pytest

from tools import lab
from tools.lab import Answers, grade_id, mark, names

__all__ = [
    "ROOT",
    "Graded",
    "Judged",
    "Lab",
    "grade_id",
    "mark",
    "messages_test",
    "names",
    "points_test",
    "whole_path_test",
]
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Graded:
    """The folder that ``tools/grade_labs.py`` filled, what it said, and with which words it stopped, if so."""

    folder: Path
    said: str
    stopped: str

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
class Judged:
    """What the checks of a lab say of some answers: check -> its message, empty if it holds."""

    messages: dict[str, str]

    @property
    def lost(self) -> set[str]:
        """The checks that do not hold."""
        return {check for check, message in self.messages.items() if message}

    def __str__(self):
        return "\n".join(self.messages.values())


@dataclass(frozen=True)
class Lab(lab.Lab):
    """A lab whose submissions can be graded."""

    def judged(self, answers: Answers, *, checks: set[str] | None = None) -> Judged:
        """Return what the checks (all, or these) say of these answers; a cell without an answer is as released."""
        cells = self._released | {name: text for name, text in answers.items() if name in self._released}
        return Judged(
            {check: self._said(check, cells) for check in self.worth if not checks or check in checks}
        )

    def whole_way(
        self, folder: Path, wrong: Answers, check: str, quick: Mapping[str, str] = MappingProxyType({})
    ) -> Graded:
        """Grade one notebook that has everything: demonstrations, a wrong answer whose ``check`` was deleted, and all
        other checks edited so that they pass.

        ``quick`` has, for the beginnings of demonstrations, code that goes before them.
        """
        edited = {name: "pass" for name in self.worth}
        notebook = self.submission(self.solutions() | wrong | edited, demonstrations=True)
        notebook.cells = [cell for cell in notebook.cells if grade_id(cell) != check]
        for beginning, code in quick.items():
            (cell,) = (cell for cell in notebook.cells if cell.source.startswith(beginning))
            cell.source = f"{code}\n{cell.source}"
        return self.graded(folder, {"student": notebook})

    @cached_property
    def _released(self) -> Answers:
        """The cells of code to be filled in, as they are handed out; an answer in words is read by a person."""
        names = self.solutions()
        cells = (cell for cell in self.release().cells if cell.cell_type == "code")
        return {grade_id(cell): cell.source for cell in cells if grade_id(cell) in names}

    @cached_property
    def _checks(self) -> Answers:
        """The text of each check, with its hidden tests."""
        cells = {grade_id(cell): cell.source for cell in self.source().cells if grade_id(cell) in self.worth}
        return {name: text.replace("seed=None", "seed=1") for name, text in cells.items()}

    @cached_property
    def imports(self) -> str:
        """The notebook's first cell of code."""
        return next(cell.source for cell in self.source().cells if cell.cell_type == "code")

    @cached_property
    def _known(self) -> dict[tuple, str]:
        return {}

    def _said(self, check: str, cells: Answers) -> str:
        text = self._checks[check]
        code = {name: cells[name] for name in self._released if name in _needed(text, cells)}
        key = (check, *code.items())
        if key not in self._known:
            self._known[key] = _failure("\n".join([self.imports, *code.values()]), text)
        return self._known[key]

    def graded(
        self, folder: Path, submissions: dict[str, nbformat.NotebookNode | str], **options: int
    ) -> Graded:
        """Grade what these students handed in (a notebook, or the text of a file that should be one) in ``folder``."""
        for student, notebook in submissions.items():
            path = folder / "submitted" / student / f"{self.name}.ipynb"
            path.parent.mkdir(parents=True)
            if isinstance(notebook, str):
                path.write_text(notebook, encoding="utf-8")
            else:
                nbformat.write(notebook, path)
        return graded_here(self.name, folder, **options)


def points_test(
    lab: Lab, answers: Callable[[], Mapping[str, Answers]], loses: Mapping[str, set[str]], reference=None
) -> Callable:
    """Return the test that known answers lose the points of their mistakes and no others.

    The reference meets the checks ``reference``, by default all: those whose task is right on the whole path, too,
    meet the solutions there.
    """

    @pytest.mark.parametrize("name", loses)
    def test(name):
        judged = lab.judged(answers()[name], checks=reference if name == "reference" else None)
        assert judged.lost == loses[name]
        assert "NameError" not in str(judged)

    return test


def messages_test(
    lab: Lab, answers: Callable[[], Mapping[str, Answers]], says: Sequence[tuple[str, str]]
) -> Callable:
    """Return the test that the messages name the mistakes of known answers."""

    @pytest.mark.parametrize(("name", "words"), says)
    def test(name, words):
        assert words in str(lab.judged(answers()[name]))

    return test


def whole_path_test(
    lab: Lab, wrong: Callable[[], Answers], lost: set[str], check: str, words: str
) -> Callable:
    """Return the test that the whole path gives the same points, whatever is done to the checks.

    ``wrong`` makes answers that lose the points of ``lost``; the notebook has no ``check`` any more.
    """

    def test(tmp_path):
        graded = lab.whole_way(tmp_path, wrong(), check)
        assert graded.points["student"] == lab.less(lost)
        assert words in graded.feedback("student").replace("\n", " ")

    return test


def graded_here(lab: str, folder: Path, **options) -> Graded:
    """Do what ``tools/grade_labs.py LAB submitted results`` does in ``folder``, without starting Python for it."""
    said, stopped = io.StringIO(), ""
    with contextlib.redirect_stdout(said):
        try:
            tool("grade_labs").main(lab, folder / "submitted", folder / "results", **options)
        except SystemExit as end:
            stopped = str(end)
    assert (folder / "results").is_dir(), said.getvalue() + stopped
    return Graded(folder / "results", said.getvalue(), stopped)


def tool(name: str) -> ModuleType:
    """Import a module of ``tools``; these import each other by their names alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools")
        return importlib.import_module(name)


def _needed(check: str, cells: Answers) -> set[str]:
    """Names of the cells that define what a check uses, directly or through other cells."""
    trees = {name: ast.parse(text) for name, text in cells.items()}
    needed: set[str] = set()
    wanted = [ast.parse(check)]
    while wanted:
        used = {node.id for node in ast.walk(wanted.pop()) if isinstance(node, ast.Name)}
        for name, tree in trees.items():
            if name not in needed and used & _defined(tree):
                needed.add(name)
                wanted.append(tree)
    return needed


def _defined(tree: ast.Module) -> set[str]:
    """Names that the statements of a cell define."""
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    imports = (node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))
    names |= {(alias.asname or alias.name).split(".")[0] for node in imports for alias in node.names}
    assigned = (node for top in tree.body for node in ast.walk(top) if isinstance(top, ast.Assign))
    return names | {
        node.id for node in assigned if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _failure(cells: str, check: str) -> str:
    """How a check fails after these cells; nothing if it holds."""
    scope: dict = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            exec(cells, scope)
            exec(check, scope)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return ""
