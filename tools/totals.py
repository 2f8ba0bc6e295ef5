"""Add up what students got in several labs.

    python tools/totals.py RESULTS RESULTS … --to totals.csv

RESULTS are folders that ``tools/grade_labs.py`` made. A lab that was not handed in, or could not be graded, is empty
and counts nothing; the column ``not graded`` names the latter.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from tables import read_table, write_table


def main(
    results: list[Path],
    to: Annotated[Path, typer.Option(help="the table to write, a new file")] = Path("totals.csv"),
) -> None:
    """Write one line a student, one column a lab."""
    if to.exists():
        sys.exit(f"to: {to} exists; name a new file")
    labs, students = {}, {}
    for folder in results:
        for row in read(folder / "grades.csv"):
            lab, student = row["assignment"], row["student_id"]
            if labs.setdefault(lab, folder) != folder:
                sys.exit(f"results: {lab} is in {labs[lab]} and in {folder}; give one of them")
            students.setdefault(student, {})[lab] = float(row["score"]) if row["score"] else None
    rows = [line(name, got, sorted(labs)) for name, got in sorted(students.items())]
    write_table(to, [["student", *sorted(labs), "total", "not graded"], *rows])
    print(f"{len(rows)} students, {len(labs)} labs: {to}")
    if waiting := [row[0] for row in rows if row[-1]]:
        print(f"not graded, so without points in the total: {', '.join(map(repr, waiting))}")


def line(name: str, got: dict[str, float | None], labs: list[str]) -> list[object]:
    """Return a student's row; ``got`` is None for what could not be graded."""
    graded = {lab: points for lab, points in got.items() if points is not None}
    missing = " ".join(lab for lab in labs if lab in got and lab not in graded)
    total = sum(graded.values()) if graded else ""
    return [name, *(graded.get(lab, "") for lab in labs), total, missing]


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table of grades."""
    try:
        return read_table(path)
    except OSError as error:
        sys.exit(f"results: {error}; expected a folder that tools/grade_labs.py made")


if __name__ == "__main__":
    typer.run(main)
