"""The published leaderboard: four small tables, kept apart from everything that was measured here.

They are those of https://pwm.platformai.org/benchmark/electron_tomography, as this course received them, and describe a
protocol. How far they can be read as measurements is an exercise of the course; the facts it uses
are checked in ``tests/test_published.py``.
"""

from __future__ import annotations

import csv
from importlib.resources import files

TABLES = ("standard", "blind", "gallery", "spec_ranges")


def published(table: str) -> list[dict[str, str | float]]:
    """Return the rows of one of ``TABLES``, numbers as floats, in the published order.

    "standard": rank, method, psnr_db, ssim, score, source. "blind": rank, method, overall and, for each tier,
    score, psnr_db, ssim. "gallery": scene and PSNR [dB] and SSIM of scenarios I, II, III. "spec_ranges": tier,
    parameter, min, max, unit. Raises ValueError for any other name.
    """
    if table not in TABLES:
        raise ValueError(f"table: got {table!r}, expected one of {', '.join(TABLES)}")
    text = (files("etlab") / "tables" / f"published_{table}.csv").read_text(encoding="utf-8")
    return [{key: _number(value) for key, value in row.items()} for row in csv.DictReader(text.splitlines())]


def spec_ranges(tier: str) -> dict[str, tuple[float, float]]:
    """Return the range of each mismatch parameter in "public", "dev" or "hidden" [deg, deg, nm/µm].

    Raises ValueError for any other tier.
    """
    ranges = {
        str(row["parameter"]): (float(row["min"]), float(row["max"]))
        for row in published("spec_ranges")
        if row["tier"] == tier
    }
    if not ranges:
        raise ValueError(f"tier: got {tier!r}, expected public, dev or hidden")
    return ranges


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
