"""Grade what students handed in, without a server.

    python tools/grade_labs.py lab-1-projector SUBMITTED RESULTS

SUBMITTED holds one folder per student, named after the student, with the lab's notebook somewhere in it.
RESULTS, which must not exist, gets ``grades.csv`` (the totals), ``points.csv`` (one column per check),
``feedback/STUDENT.html`` and, where answers are to be read by a person, ``marks.csv``: fill it in and grade again
with ``--marks``.

The students' code runs in the sandbox of the blind challenge. See labs/README.md.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import nbformat
import nbgrader.preprocessors
import typer
from lab import Lab, grade_id, mark, names
from marks import Marks, read_marks, set_marks, write_marks
from nbgrader.converters import Autograde, GenerateFeedback
from nbgrader.preprocessors import NbGraderPreprocessor
from release_labs import course, finish
from run_apart import Apart, apart
from tqdm import tqdm
from traitlets.config import Config

from etlab.challenge.sandbox import SandboxError

LARGEST = 20 << 20  # bytes of a notebook; one with pictures has one or two million


class Execute(NbGraderPreprocessor):
    """Takes the place of nbgrader's own, which runs students' code as the teacher."""

    apart: Apart

    def preprocess(self, notebook, resources):
        """Fill in the outputs of the notebook."""
        self.apart.run(notebook)
        return notebook, resources


class WithoutTags(NbGraderPreprocessor):
    """What a student wrote between the cells is text in the feedback, not a program for whoever opens it."""

    def preprocess_cell(self, cell, resources, index):
        """Put a space into everything that could begin a tag; formulas are not changed by it."""
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"<(?=[a-zA-Z/!?])", "< ", cell.source)
        return cell, resources


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
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="without a sandbox: students' code runs as you")
    ] = False,
) -> None:
    """Grade all submissions of one lab."""
    if lab not in names():
        sys.exit(f"lab: got {lab}, expected one of {', '.join(names())}")
    if results.exists():
        sys.exit(f"results: {results} exists; name a new folder")
    notebooks, failed = find_submissions(lab, submitted)
    given = read_marks(marks) if marks else {}
    results.parent.mkdir(parents=True, exist_ok=True)
    try:
        Execute.apart = apart(unsafe=unsafe, cell_s=cell_seconds, notebook_s=notebook_seconds)
        with (
            course(with_ours) as api,
            tempfile.TemporaryDirectory(dir=results.parent, prefix="grading-") as scratch,
        ):
            made = Path(scratch) / "results"
            (made / "feedback").mkdir(parents=True)
            failed |= grade(api, lab, notebooks, given)
            write_grades(api, lab, made)
            to_read = write_marks(api, lab, made / "marks.csv", given)
            for student in notebooks:
                page = Path(api.coursedir.root) / "feedback" / student / lab / f"{lab}.html"
                if page.is_file():
                    shutil.copyfile(page, made / "feedback" / f"{student}.html")
            os.replace(made, results)
    except SandboxError as error:
        sys.exit(f"error: {error}")
    n_graded = len(list((results / "feedback").iterdir()))
    print(f"{n_graded} of {len(notebooks)} graded: {results}/grades.csv, points.csv, feedback/")
    if to_read:
        print(
            f"{to_read} answers wait for a person: fill in {results}/marks.csv and grade again with --marks"
        )
    if failed:
        sys.exit(
            "\n".join(f"no points for {student}: {why}; look by hand" for student, why in failed.items())
        )


def with_ours(config: Config) -> None:
    """nbgrader's steps with ours in place: notebooks run apart, feedback without tags."""
    steps = Autograde.autograde_preprocessors.default_args[0]
    config.Autograde.autograde_preprocessors = [
        Execute if step is nbgrader.preprocessors.Execute else step for step in steps
    ]
    config.GenerateFeedback.preprocessors = [*GenerateFeedback.preprocessors.default_args[0], WithoutTags]


def find_submissions(lab: str, submitted: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Student -> notebook, and student -> what is wrong instead. Stops if there is no student at all."""
    if not submitted.is_dir():
        sys.exit(f"submitted: {submitted} is not a folder")
    notebooks, failed = {}, {}
    for student in sorted(path for path in submitted.iterdir() if path.is_dir()):
        found = [path for path in student.rglob(f"{lab}.ipynb") if ".ipynb_checkpoints" not in path.parts]
        if len(found) == 1:
            notebooks[student.name] = found[0]
        else:
            failed[student.name] = f"{len(found)} files {lab}.ipynb, expected one"
    if not notebooks:
        sys.exit(f"submitted: {submitted} holds no student's folder with one {lab}.ipynb in it")
    return notebooks, failed


def grade(api, lab: str, notebooks: dict[str, Path], marks: Marks) -> dict[str, str]:
    """Run every submission and write its feedback; returns student -> why there are no points."""
    finish(api.generate_assignment(lab), f"reading {lab}")
    root = Path(api.coursedir.root)
    released = nbformat.read(root / "release" / lab / f"{lab}.ipynb", as_version=4)
    failed = {}
    for student, path in tqdm(notebooks.items(), desc="submissions", unit="student"):
        try:
            notebook = with_all_checks(read_submission(path), released)
        except Exception:  # whatever nbformat stumbles over: anybody may have written it
            failed[student] = f"{path.name} is not a notebook"
            continue
        folder = root / "submitted" / student / lab
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / f"{lab}.ipynb")
        if not api.autograde(lab, student)["success"]:
            failed[student] = "nbgrader could not take it"
    if len(failed) < len(notebooks):
        set_marks(api, lab, marks)
        finish(api.generate_feedback(lab), "writing feedback")
    return failed


def read_submission(path: Path) -> nbformat.NotebookNode:
    """The cells of a notebook that anybody may have written. Raises whatever nbformat does if it is none."""
    if path.is_symlink() or path.stat().st_size > LARGEST:
        raise ValueError(f"{path}: a link, or larger than any notebook")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def with_all_checks(
    notebook: nbformat.NotebookNode, released: nbformat.NotebookNode
) -> nbformat.NotebookNode:
    """The submission with the checks that its author deleted put back, at the end, where all functions stand.

    nbgrader restores the text of a check that was edited, and gives no points to one that is missing.
    """
    present = {grade_id(cell) for cell in notebook.cells}
    checks = [cell for cell in released.cells if mark(cell).get("grade")]
    notebook.cells += [check for check in checks if grade_id(check) not in present]
    return notebook


def write_grades(api, lab: str, folder: Path) -> None:
    """Write the table for a learning platform, in nbgrader's words, and a table of the points for each check."""
    checks = [grade_id(cell) for cell in Lab(lab).source().cells if mark(cell).get("grade")]
    grades = [["assignment", "student_id", "score", "max_score"]]
    points = [["student", "score", "max_score", *checks]]
    with api.gradebook as gradebook:
        for submission in sorted(gradebook.assignment_submissions(lab), key=lambda s: s.student.id):
            student, total = submission.student.id, [submission.score, submission.max_score]
            given = {grade.name: grade.score for nb in submission.notebooks for grade in nb.grades}
            grades.append([lab, student, *total])
            points.append([student, *total, *(given[check] for check in checks)])
    for name, rows in (("grades.csv", grades), ("points.csv", points)):
        with open(folder / name, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)


if __name__ == "__main__":
    typer.run(main)
