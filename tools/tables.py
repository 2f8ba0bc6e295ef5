"""Tables as CSV files that spreadsheets open: names of folders and comments are text in them, never formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from etlab.course.challenge.records import new_private

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
QUOTE = "'"  # in front of a text that a spreadsheet would take for a formula, or that begins with one


def write_table(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write a table that only its owner can read; numbers stay numbers, texts become harmless."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([[_harmless(value) for value in row] for row in rows])
    with new_private(path) as file:
        file.write(text.getvalue().encode("utf-8", "backslashreplace"))


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table, with texts as they were before `write_table`, by the names of the columns."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        return [{key: as_written(value) for key, value in row.items()} for row in csv.DictReader(file)]


def as_written(value: object) -> object:
    """Undo what `write_table` did to a text."""
    quoted = isinstance(value, str) and value.startswith(QUOTE) and _dangerous(value[1:])
    return value[1:] if quoted else value


def _harmless(value):
    return QUOTE + value if isinstance(value, str) and _dangerous(value) else value


def _dangerous(text):
    return text.startswith(QUOTE) or text.lstrip(" ").startswith(FORMULA)
