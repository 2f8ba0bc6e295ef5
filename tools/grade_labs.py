"""Grade what students handed in, without a server.

    python tools/grade_labs.py lab-1-projector SUBMITTED RESULTS

SUBMITTED holds one folder per student, named after the student, with the lab's notebook somewhere in it.
RESULTS, which must not exist, gets ``grades.csv`` (nbgrader's export), ``points.csv`` (one column per check)
and ``feedback/STUDENT.html``.

nbgrader runs the students' code on this machine, as you. See labs/README.md.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
import typer
from release_labs import course, finish, labs


def main(lab: str, submitted: Path, results: Path) -> None:
    """Grade all submissions of one lab."""
    if lab not in labs():
        sys.exit(f"lab: got {lab}, expected one of {', '.join(labs())}")
    if results.exists():
        sys.exit(f"results: {results} exists; name a new folder")
    notebooks = find_submissions(lab, submitted)
    results.parent.mkdir(parents=True, exist_ok=True)
    with course() as api, tempfile.TemporaryDirectory(dir=results.parent, prefix="grading-") as scratch:
        made = Path(scratch) / "results"
        (made / "feedback").mkdir(parents=True)
        failed = grade(api, lab, notebooks)
        write_grades(api, lab, made)
        for student in notebooks:
            page = Path(api.coursedir.root) / "feedback" / student / lab / f"{lab}.html"
            if page.is_file():
                shutil.copyfile(page, made / "feedback" / f"{student}.html")
        os.replace(made, results)
    print(
        f"{len(notebooks) - len(failed)} of {len(notebooks)} graded: {results}/grades.csv, points.csv, feedback/"
    )
    if failed:
        sys.exit(f"could not be run, no points given, look at them by hand: {', '.join(failed)}")


def find_submissions(lab: str, submitted: Path) -> dict[str, Path]:
    """Student -> notebook. Stops if there is none, or if a student handed in several."""
    if not submitted.is_dir():
        sys.exit(f"submitted: {submitted} is not a folder")
    notebooks = {}
    for student in sorted(path for path in submitted.iterdir() if path.is_dir()):
        found = [path for path in student.rglob(f"{lab}.ipynb") if ".ipynb_checkpoints" not in path.parts]
        if len(found) != 1:
            sys.exit(f"submitted: {student} holds {len(found)} files {lab}.ipynb, expected one")
        notebooks[student.name] = found[0]
    if not notebooks:
        sys.exit(f"submitted: {submitted} holds no student's folder")
    return notebooks


def grade(api, lab: str, notebooks: dict[str, Path]) -> list[str]:
    """Run every submission and write its feedback; returns the students whose notebook could not be run."""
    finish(api.generate_assignment(lab), f"reading {lab}")
    root = Path(api.coursedir.root)
    released = nbformat.read(root / "release" / lab / f"{lab}.ipynb", as_version=4)
    failed = []
    for student, path in notebooks.items():
        print(f"running {student}", flush=True)
        try:
            notebook = with_all_checks(nbformat.read(path, as_version=4), released)
        except (ValueError, AttributeError, KeyError):  # not JSON, not a notebook
            failed.append(student)
            continue
        folder = root / "submitted" / student / lab
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / f"{lab}.ipynb")
        if not api.autograde(lab, student)["success"]:
            failed.append(student)
    if len(failed) < len(notebooks):
        finish(api.generate_feedback(lab), "writing feedback")
    return failed


def with_all_checks(
    notebook: nbformat.NotebookNode, released: nbformat.NotebookNode
) -> nbformat.NotebookNode:
    """The submission with the checks that its author deleted put back, at the end, where all functions stand.

    nbgrader restores the text of a check that was edited, and gives no points to one that is missing.
    """
    present = {cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells}
    checks = [cell for cell in released.cells if cell.metadata.get("nbgrader", {}).get("grade")]
    notebook.cells += [check for check in checks if check.metadata.nbgrader.grade_id not in present]
    return notebook


def write_grades(api, lab: str, folder: Path) -> None:
    """Write nbgrader's own export, and a table of the points for each check."""
    from nbgrader.plugins import CsvExportPlugin

    source = nbformat.read(Path(api.coursedir.root) / "source" / lab / f"{lab}.ipynb", as_version=4)
    marks = [cell.metadata.get("nbgrader", {}) for cell in source.cells]
    checks = [mark["grade_id"] for mark in marks if mark.get("grade")]
    with api.gradebook as gradebook:
        export = CsvExportPlugin(to=str(folder / "grades.csv"), assignment=[lab])
        export.export(gradebook)
        with open(folder / "points.csv", "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["student", "score", "max_score", *checks])
            for submission in sorted(gradebook.assignment_submissions(lab), key=lambda s: s.student.id):
                points = {grade.name: grade.score for nb in submission.notebooks for grade in nb.grades}
                row = [submission.student.id, submission.score, submission.max_score]
                table.writerow(row + [points[check] for check in checks])


if __name__ == "__main__":
    typer.run(main)
