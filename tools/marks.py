"""Points that a person gives: a table of the answers to be read, filled in and taken back."""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

COLUMNS = ["student", "cell", "points", "of", "comment"]
Marks = dict[tuple[str, str], tuple[float, str]]  # student and cell -> points and comment


def read_marks(path: Path) -> Marks:
    """The rows that have points. Stops with the line's number at one that makes no sense."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        sys.exit(f"marks: {error}")
    marks = {}
    for line, row in enumerate(rows, 2):
        if not set(COLUMNS) <= row.keys():
            sys.exit(f"marks: {path} has columns {', '.join(map(str, row))}, expected {', '.join(COLUMNS)}")
        if text := (row["points"] or "").strip():
            marks[row["student"], row["cell"]] = (
                _points(text, row["of"], f"{path}, line {line}"),
                row["comment"] or "",
            )
    return marks


def set_marks(api, lab: str, marks: Marks) -> None:
    """Put the points into nbgrader's book. Stops at a student or cell that it does not hold."""
    with api.gradebook as book:
        for (student, cell), (points, comment) in marks.items():
            grade = next((grade for grade in _to_read(book, lab, student) if grade.name == cell), None)
            if grade is None:
                sys.exit(f"marks: {student} has no answer {cell} to be marked in {lab}")
            grade.manual_score, grade.needs_manual_grade = min(points, grade.max_score), False
            book.find_comment(cell, lab, lab, student).manual_comment = comment
        book.db.commit()


def write_marks(api, lab: str, path: Path, marks: Marks) -> int:
    """Write the table of all answers that a person reads, with the points that are known; returns how many are not."""
    with api.gradebook as book:
        rows = []
        for submission in sorted(book.assignment_submissions(lab), key=lambda one: one.student.id):
            for grade in _to_read(book, lab, submission.student.id):
                points, comment = marks.get((submission.student.id, grade.name), ("", ""))
                rows.append([submission.student.id, grade.name, points, grade.max_score, comment])
    if rows:
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
    return sum(row[2] == "" for row in rows)


def _to_read(book, lab, student):
    """Answers in words that were written; one that was left as handed out has 0 points already."""
    submission = book.find_submission(lab, student)
    grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
    return [grade for grade in grades if grade.cell.cell_type == "markdown" and grade.auto_score is None]


def _points(text, of, where):
    try:
        points, most = float(text.replace(",", ".")), float(of)
    except ValueError:
        points, most = math.nan, 0
    if not 0 <= points <= most:
        sys.exit(f"marks: {where}: got {text!r} points, expected a number from 0 to {of}")
    return points
