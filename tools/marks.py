"""Points that a person gives: a table of the answers to be read, filled in and taken back."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from tables import read_table, write_table

COLUMNS = ["student", "cell", "points", "of", "comment"]
BLANK = "left as it was handed out"
Marks = dict[tuple[str, str], tuple[float, str]]  # student and cell -> points and comment


def read_marks(path: Path) -> Marks:
    """Return the rows that have points. Stops with the line's number at one that makes no sense."""
    try:
        rows = read_table(path)
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


def set_marks(api, lab: str, marks: Marks, keys: dict[str, str]) -> None:
    """Put points into nbgrader's book, where students have ``keys``. Stops at a student or cell that it lacks."""
    with api.gradebook as book:
        for (student, cell), (points, comment) in marks.items():
            answers = _to_read(book, lab, keys[student]) if student in keys else []
            grade = next((grade for grade in answers if grade.name == cell), None)
            if grade is None:
                sys.exit(f"marks: {student} has no answer {cell} to be marked in {lab}")
            grade.manual_score, grade.needs_manual_grade = min(points, grade.max_score), False
            book.find_comment(cell, lab, lab, keys[student]).manual_comment = comment
        book.db.commit()


def write_marks(api, lab: str, path: Path, marks: Marks, keys: dict[str, str]) -> int:
    """Write the table of all answers that a person reads, with the points that are known; returns how many are not.

    An answer that nobody wrote has 0 points and says why, so that it can be given some nevertheless.
    """
    rows = []
    with api.gradebook as book:
        for student, key in sorted(keys.items()):
            for grade in _to_read(book, lab, key):
                unknown = ("", "") if grade.auto_score is None else (0, BLANK)
                points, comment = marks.get((student, grade.name), unknown)
                rows.append([student, grade.name, points, grade.max_score, comment])
    if rows:
        write_table(path, [COLUMNS, *rows])
    return sum(row[2] == "" for row in rows)


def _to_read(book, lab, key):
    """Answers in words."""
    submission = book.find_submission(lab, key)
    grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
    return [grade for grade in grades if grade.cell.cell_type == "markdown"]


def _points(text, of, where):
    try:
        points, most = float(text.replace(",", ".")), float(of)
    except ValueError:
        points, most = math.nan, 0
    if not 0 <= points <= most:
        sys.exit(f"marks: {where}: got {text!r} points, expected a number from 0 to {of}")
    return points
