"""Grade what students handed in, without a server.

    python tools/grade_labs.py lab-1-projector SUBMITTED RESULTS

SUBMITTED holds one folder per student, named after the student, with the lab's notebook somewhere in it.
RESULTS, which must not exist and which only its owner can open, gets ``grades.csv`` (the totals; empty where a notebook
could not be graded, and the last column says why), ``points.csv`` (one column per check), ``feedback/STUDENT.html``
and, where answers are to be read by a person, ``marks.csv``: fill it in and grade again with ``--marks``.

The students' code runs in the sandbox of the blind challenge, the checks outside it. See labs/README.md.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import nbformat
import nbgrader.preprocessors
import typer
from feedback import harmless
from lab import Lab, grade_id, mark, names
from marks import Marks, read_marks, set_marks, write_marks
from nbgrader.converters import Autograde, GenerateFeedback
from nbgrader.preprocessors import NbGraderPreprocessor
from release_labs import course, finish
from run_apart import Apart, Outputs, apart
from settle import with_all_checks
from tables import write_table
from tqdm import tqdm
from traitlets.config import Config

from etlab.course.challenge.unpack import open_plain
from etlab.course.sandbox import SandboxError

LARGEST = 256 << 20  # bytes of a notebook with its outputs, which are dropped
MOST_VALUES = 10_000_000  # in it; reading takes up to a hundred bytes of memory for each
LARGEST_SOURCE = 20 << 20  # bytes of what is left of it; pasted pictures have one or two million
MOST_CELLS = 1000
DEEPEST = 32  # folders within each other
LONGEST_NAME = 200  # bytes of a page's name
LONGEST_SOURCE, LONGEST_PAGE = 20_000, 200_000  # characters of a cell and of all cells that feedback shows
UNCHECKED = ("NotRun", "NotChecked")  # errors of a check that nobody made


@dataclass
class Submission:
    """What a student handed in: the folder's name, nbgrader's name for it, and why it cannot be graded, if so."""

    student: str
    key: str
    path: Path | None = None
    why: str = ""
    notebook: nbformat.NotebookNode | None = None
    outputs: Outputs = field(default_factory=dict)
    told: list[str] = field(default_factory=list)  # what the teacher should know


class Execute(NbGraderPreprocessor):
    """Takes the place of nbgrader's own, which runs students' code as the teacher: the notebook has run already."""

    outputs: dict[str, Outputs]  # by nbgrader's name for a student

    def preprocess(self, notebook, resources):
        """Fill in the outputs of the notebook."""
        for index, outputs in self.outputs[resources["nbgrader"]["student"]].items():
            notebook.cells[index].outputs = outputs
        return notebook, resources


class Readable(NbGraderPreprocessor):
    """Feedback is written in bounded time, and what a student wrote is text there, not a program for its reader."""

    def preprocess(self, notebook, resources):
        """Cut cells that are too long, and put a space into everything that could begin a tag."""
        left = LONGEST_PAGE
        for cell in notebook.cells:
            if len(cell.source) > min(LONGEST_SOURCE, left):
                cell.source = cell.source[: min(LONGEST_SOURCE, left)] + " … (cut off)"
            left = max(left - len(cell.source), 0)
            if cell.cell_type == "markdown":  # formulas are not changed by it
                cell.source = re.sub(r"<(?=[a-zA-Z/!?])", "< ", cell.source)
        return notebook, resources


def main(
    lab: str,
    submitted: Path,
    results: Path,
    marks: Annotated[
        Path | None, typer.Option(help="marks.csv of an earlier run, with points filled in")
    ] = None,
    cell_seconds: Annotated[int, typer.Option(min=1, help="longest time for one cell")] = 120,
    notebook_seconds: Annotated[
        int, typer.Option(min=1, help="longest time for one student's notebook")
    ] = 900,
    at_a_time: Annotated[
        int, typer.Option(min=1, help="notebooks that run at the same time, 3 GB each")
    ] = max(1, (os.cpu_count() or 1) // 2),
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="without a sandbox: students' code runs as you")
    ] = False,
) -> None:
    """Grade all submissions of one lab."""
    if lab not in names():
        sys.exit(f"lab: got {lab}, expected one of {', '.join(names())}")
    if results.exists():
        sys.exit(f"results: {results} exists; name a new folder")
    submissions = find_submissions(lab, submitted)
    given = read_marks(marks) if marks else {}
    results.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            course(with_ours, [lab]) as api,
            tempfile.TemporaryDirectory(dir=results.parent, prefix="grading-") as scratch,
        ):
            with apart(unsafe=unsafe, cell_s=cell_seconds, notebook_s=notebook_seconds) as place:
                grade(api, lab, submissions, place, at_a_time)
            made = Path(scratch) / "results"
            made.mkdir(mode=0o700)
            to_read = write_results(api, lab, submissions, given, made)
            os.replace(made, results)
    except SandboxError as error:
        sys.exit(f"error: {error}")
    say(submissions, results, to_read)


def say(submissions: list[Submission], results: Path, to_read: int) -> None:
    """Say what was done and what is left to do; exit with an error if somebody could not be graded."""
    failed = [one for one in submissions if one.why]
    n_graded = len(submissions) - len(failed)
    print(f"{n_graded} of {len(submissions)} graded: {results}/grades.csv, points.csv, feedback/")
    for one in submissions:
        for words in one.told:
            print(f"look at {shown(one.student)}: {words}")
    if to_read:
        print(
            f"{to_read} answers wait for a person: fill in {results}/marks.csv and grade again with --marks"
        )
    if failed:
        sys.exit("\n".join(f"no points for {shown(one.student)}: {one.why}; look by hand" for one in failed))


def shown(name: str) -> str:
    """Return a folder's name as it can be read in a line: odd ones in quotes."""
    return name if name.isprintable() and name == name.strip() else repr(name)


def with_ours(config: Config) -> None:
    """nbgrader's steps with ours in place: notebooks run apart, feedback that can be read."""
    steps = Autograde.autograde_preprocessors.default_args[0]
    config.Autograde.autograde_preprocessors = [
        Execute if step is nbgrader.preprocessors.Execute else step for step in steps
    ]
    config.GenerateFeedback.preprocessors = [*GenerateFeedback.preprocessors.default_args[0], Readable]


def find_submissions(lab: str, submitted: Path) -> list[Submission]:
    """Return what each student's folder holds; name files beside the folders. Stops if no folder has one notebook."""
    if not submitted.is_dir():
        sys.exit(f"submitted: {submitted} is not a folder")
    submissions = []
    for folder in sorted(path for path in submitted.iterdir() if path.is_dir()):
        one = Submission(
            folder.name, f"student-{len(submissions):05d}"
        )  # nbgrader takes some names for patterns
        if folder.is_symlink():
            one.why = "a link, which may lead to another student's folder"
        else:
            choose_notebook(one, folder, lab)
        submissions.append(one)
    if not any(one.path for one in submissions):
        sys.exit(f"submitted: {submitted} holds no student's folder with one {lab}.ipynb in it")
    for path in sorted(path for path in submitted.iterdir() if not path.is_dir()):
        print(f"left out: {shown(path.name)} is in no student's folder", file=sys.stderr)
    return submissions


def choose_notebook(one: Submission, folder: Path, lab: str) -> None:
    """Take the one notebook of the lab's name or, where there is none, the one whose name holds it.

    A second download is called ``lab-1-projector (1).ipynb``, a copy ``lab-1-projector-Copy1.ipynb``.
    """
    near = sorted(path for path in notebooks_in(folder) if lab in path.stem.casefold())
    named = [path for path in near if path.stem == lab] or near
    found = ", ".join(shown(path.name) for path in near) or "none"
    if len(named) != 1:
        one.why = f"found {found}, expected one {lab}.ipynb"
        return
    (one.path,) = named
    if found != f"{lab}.ipynb":
        one.told.append(f"graded is {shown(one.path.name)}; found {found}, expected {lab}.ipynb alone")


def notebooks_in(folder: Path) -> Iterator[Path]:
    """Yield the notebooks in a folder and in those within it; links are not followed."""
    for place, folders, files in os.walk(folder):
        deep = len(Path(place).relative_to(folder).parts) >= DEEPEST
        folders[:] = [] if deep else [name for name in folders if name != ".ipynb_checkpoints"]
        yield from (Path(place, name) for name in files if name.endswith(".ipynb"))


def grade(api, lab: str, submissions: list[Submission], place: Apart, at_a_time: int) -> None:
    """Read every submission, run it and put its points into nbgrader's book; ``why`` says where that failed."""
    finish(api.generate_assignment(lab), f"reading {lab}")
    root = Path(api.coursedir.root)
    released = nbformat.read(root / "release" / lab / f"{lab}.ipynb", as_version=4)
    sources = {grade_id(cell): cell.source for cell in Lab(lab).source().cells}
    for one in submissions:
        if one.path:
            read(one, released)
    readable = [one for one in submissions if not one.why]
    with ThreadPoolExecutor(at_a_time) as pool:
        running = pool.map(lambda one: run(one, place, sources), readable)
        list(tqdm(running, total=len(readable), desc="submissions", unit="student"))
    Execute.outputs = {one.key: one.outputs for one in readable}
    for one in readable:
        folder = root / "submitted" / one.key / lab
        folder.mkdir(parents=True)
        nbformat.write(one.notebook, folder / f"{lab}.ipynb")
        if not api.autograde(lab, one.key)["success"]:
            one.why = "nbgrader could not take it"


def read(one: Submission, released: nbformat.NotebookNode) -> None:
    """Read a student's notebook, or say why that is not possible."""
    try:
        one.notebook = with_all_checks(read_submission(one.path), released, one.told)
    except TooLarge as error:
        one.why = str(error)
    except Exception:  # whatever nbformat stumbles over: anybody may have written it
        one.why = f"{shown(one.path.name)} is not a notebook"


def run(one: Submission, place: Apart, sources: dict[str, str]) -> None:
    """Run a student's notebook, its checks as they stand in the lab's source."""
    checks = {
        index: sources[grade_id(cell)]
        for index, cell in enumerate(one.notebook.cells)
        if cell.cell_type == "code" and mark(cell).get("grade")
    }
    one.outputs = place.run(one.notebook, checks)
    for index in checks:
        if any(output.get("ename") in UNCHECKED for output in one.outputs[index]):
            one.told.append(f"{grade_id(one.notebook.cells[index])} was not made; the feedback says why")


class TooLarge(ValueError):
    """A notebook that nobody reads."""


def read_submission(path: Path) -> nbformat.NotebookNode:
    """Read the cells of a notebook that anybody may have written, without outputs.

    Raises TooLarge, or whatever nbformat does if it is none.
    """
    name = shown(path.name)
    with open_plain(path) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise TooLarge(f"{name} has more than {LARGEST >> 20} MB: clear its outputs")
    if sum(map(content.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise TooLarge(f"{name} has more than {MOST_VALUES:,} values: clear its outputs")
    tree = json.loads(content)  # as UTF-8, 16 or 32, with a byte-order mark or without
    sheets = tree.get("worksheets") or [tree]  # before version 4
    for cell in (cell for sheet in sheets for cell in sheet.get("cells", [])):
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            cell["outputs"] = []
    text = json.dumps(tree, ensure_ascii=False).encode("utf-8", "replace").decode()
    if len(text) > LARGEST_SOURCE:
        raise TooLarge(f"{name} has more than {LARGEST_SOURCE >> 20} MB without its outputs: remove pictures")
    if sum(len(sheet.get("cells", [])) for sheet in sheets) > MOST_CELLS:
        raise TooLarge(f"{name} has more than {MOST_CELLS} cells: remove those that are not needed")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    return notebook


def write_results(api, lab: str, submissions: list[Submission], marks: Marks, folder: Path) -> int:
    """Write tables and feedback; returns how many answers wait for a person."""
    graded = [one for one in submissions if not one.why]
    keys = {one.student: one.key for one in graded}
    set_marks(api, lab, marks, keys)
    write_grades(api, lab, folder, submissions)
    (folder / "feedback").mkdir()
    if graded:
        api.generate_feedback(lab)  # of whom it fails there is no page
    for one in graded:
        page = Path(api.coursedir.root) / "feedback" / one.key / lab / f"{lab}.html"
        write_feedback(one, page, folder / "feedback")
    return write_marks(api, lab, folder / "marks.csv", marks, keys)


def write_feedback(one: Submission, page: Path, folder: Path) -> None:
    """Write a student's page from nbgrader's; one that cannot be made costs no points, and nobody else anything."""
    name = one.student if len(os.fsencode(one.student)) <= LONGEST_NAME else one.key
    try:
        safe = harmless(page.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        one.told.append("the points stand, but no feedback could be written")
    else:
        (folder / f"{name}.html").write_text(safe, encoding="utf-8")


def write_grades(api, lab: str, folder: Path, submissions: list[Submission]) -> None:
    """Write the table for a learning platform, in nbgrader's words, and a table of the points for each check."""
    checks = [grade_id(cell) for cell in Lab(lab).source().cells if mark(cell).get("grade")]
    grades = [["assignment", "student_id", "score", "max_score", "not_graded_because"]]
    points = [["student", "score", "max_score", *checks]]
    with api.gradebook as gradebook:
        most = gradebook.find_assignment(lab).max_score
        for one in submissions:
            if one.why:
                grades.append([lab, one.student, "", most, one.why])
                continue
            submission = gradebook.find_submission(lab, one.key)
            given = {grade.name: grade.score for nb in submission.notebooks for grade in nb.grades}
            grades.append([lab, one.student, submission.score, most, ""])
            points.append([one.student, submission.score, most, *(given[check] for check in checks)])
    write_table(folder / "grades.csv", grades)
    write_table(folder / "points.csv", points)


if __name__ == "__main__":
    typer.run(main)
