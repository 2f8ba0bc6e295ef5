"""Add up what students got in several labs.

    python tools/totals.py RESULTS RESULTS … --to totals.csv

RESULTS are folders that ``tools/grade_labs.py`` made. A lab that was not handed in is empty and counts nothing.
"""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path
from typing import Annotated

import typer


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
            students.setdefault(student, {})[lab] = float(row["score"])
    rows = [
        [name, *(got.get(lab, "") for lab in sorted(labs)), sum(got.values())]
        for name, got in sorted(students.items())
    ]
    part = to.with_name(f".{to.name}.part")
    with open(part, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["student", *sorted(labs), "total"], *rows])
    os.replace(part, to)
    print(f"{len(rows)} students, {len(labs)} labs: {to}")


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table of grades."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        sys.exit(f"results: {error}; expected a folder that tools/grade_labs.py made")


if __name__ == "__main__":
    typer.run(main)
