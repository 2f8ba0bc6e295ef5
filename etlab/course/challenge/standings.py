"""A class's board: the records of an evaluation as rows, best first, and as files, ``leaderboard.json`` and ``.html``.

The score of a tier is the mean over all its scenes, where a scene without a valid answer counts zero. The overall score
is the mean of dev and hidden, and there is none unless both are there. The public tier is practice: everybody has its
truth, so it stands apart and ranks nobody. Baselines are rows of the course's own (`etlab.course.scenes.baselines`),
run by the evaluator; only they have published values beside them.

A board must not give away what is sealed. Numbers are rounded to what is shown, and errors of the spec are those of the
public tier, since a few submissions and their errors are equations for the truth. A program that has seen hidden scenes
may put into its answers what it likes, so of the hidden tier the board shows a score of two digits and how many scenes
have a valid answer, and of such a submission no picture and no word that it wrote, on any tier.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etlab.atomic import replacing
from etlab.course.challenge import page
from etlab.course.challenge.evaluate import BEFORE_A_RUN
from etlab.course.challenge.own_rows import BASELINE
from etlab.course.challenge.records import ERRORS, Record, Records
from etlab.course.challenge.tiers import Tier
from etlab.course.scenes.draw import TIERS
from etlab.course.scenes.published import published
from etlab.course.scenes.scoring import Score

Row = dict[str, Any]
RANKED = ("dev", "hidden")  # tiers whose truth is sealed
SHOWN_OF_HIDDEN = {"score": 2, "scored": 0, "scenes": 0}  # of a submission; baselines are the course's own
DIGITS = {"score": 3, "psnr_db": 1, "ssim": 3, "consistency": 3} | dict.fromkeys(ERRORS, 2)


def standings(records: Iterable[Record], tiers: Iterable[Tier]) -> list[Row]:
    """Return a row for each submission, best first, as `etlab.course.challenge.page.page` takes it, without pictures.

    Records of other problems than those of ``tiers`` are left out; a scene that is not recorded yet counts zero.
    """
    problems = {tier.tier: {scene: tier.sha256(scene) for scene in tier} for tier in tiers}
    by_name: dict[str, list[Record]] = {}
    for record in records:
        if problems.get(record.tier, {}).get(record.scene) == record.problem_sha256:
            by_name.setdefault(record.submission, []).append(record)
    sizes = {tier: len(scenes) for tier, scenes in problems.items()}
    return ranked(_row(name, mine, sizes) for name, mine in by_name.items())


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Sort rows by overall score, those without one after them by the ranked tier that they have; equals by name."""

    def key(row: Row) -> tuple[bool, float, str]:
        scores = [row["tiers"][tier]["score"] for tier in RANKED if tier in row["tiers"]]
        return row["overall"] is None, -float(row["overall"] or np.mean(scores or [0])), row["name"]

    return sorted(rows, key=key)


def tier_summary(scores: Sequence[Score], n_scenes: int) -> dict[str, float | int | None]:
    """Return one tier of a row: the mean score, missing scenes counting zero; of the others, means and RMS errors."""

    def over(name: str, statistic: Callable[[list[float]], float]) -> float | None:
        values = [getattr(score, name) for score in scores]
        finite = [value for value in values if np.isfinite(value)]
        return statistic(finite) if finite else None

    return (
        {"score": float(sum(score.score for score in scores) / n_scenes)}
        | {name: over(name, lambda x: float(np.mean(x))) for name in ("psnr_db", "ssim", "consistency")}
        | {name: over(name, lambda x: float(np.sqrt(np.mean(np.square(x))))) for name in ERRORS}
        | {"scored": len(scores), "scenes": n_scenes}
    )


def overall(tiers: dict[str, dict]) -> float | None:
    """Return the mean of the scores of `RANKED`; None unless all of these tiers are there."""
    return float(np.mean([tiers[tier]["score"] for tier in RANKED])) if set(RANKED) <= set(tiers) else None


def published_beside(name: str) -> Row | None:
    """Return the published blind row of this name, nested by tier; None if there is none."""
    for row in published("blind"):
        if row["method"] == name:
            by_tier = {
                tier: {what: row[f"{tier}_{what}"] for what in ("score", "psnr_db", "ssim")} for tier in TIERS
            }
            return {"overall": row["overall"]} | by_tier
    return None


def write(results: Path, tiers: Iterable[Tier], *, note: str = "") -> list[Row]:
    """Write ``leaderboard.json`` and ``leaderboard.html`` into a folder of results, each whole or not at all.

    Returns the rows. ``note`` stands on the page.
    """
    records = Records(results)
    with records.locked_whole():
        for left in results.glob(".leaderboard.*.part"):
            left.unlink()  # by one that was killed: nobody else writes now
        rows = standings(records.all(), tiers)
        made = datetime.datetime.now(datetime.UTC).date().isoformat()
        content = {"format": "etlab leaderboard", "version": "1", "made": made, "note": note, "rows": rows}
        with replacing(results / "leaderboard.json") as part, part.open("x", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=1, allow_nan=False))
        with_pictures = [row | _picture(records, row) for row in rows]
        page.write_page(
            results / "leaderboard.html",
            with_pictures,
            title="Blind challenge: leaderboard",
            made=made,
            note=note,
        )
    return rows


def as_text(rows: list[Row]) -> str:
    """Return the rows as a table of plain text."""
    order = (*RANKED, "public")
    lines = [f"{'':44s}{'overall':>8s}" + "".join(f"{tier:>9s}" for tier in order) + "  (practice)"]
    for place, row in enumerate(rows, 1):
        numbers = [row["overall"], *(row["tiers"].get(tier, {}).get("score") for tier in order)]
        columns = "".join(f"{'–' if number is None else f'{number:.3f}':>9s}" for number in numbers)
        lines.append(f"{place:3d} {row['name']:<39.39s}{columns}")
    return "\n".join(lines)


def _row(name: str, records: list[Record], sizes: Mapping[str, int]) -> Row:
    """Return the row of one submission."""
    baseline = name.startswith(BASELINE)
    on_hidden = not baseline and any(record.tier == "hidden" for record in records)
    tiers, problems = {}, []
    for tier in TIERS:
        mine = [record for record in records if record.tier == tier]
        if mine:
            scored = [record.score for record in mine if record.status == "scored"]
            tiers[tier] = _shown(tier, tier_summary(scored, sizes[tier]), baseline)
        problems += _problems(tier, mine, on_hidden)
    score = overall(tiers)
    shown = name.removeprefix(BASELINE)
    return {
        "name": shown,
        "kind": "baseline" if baseline else "submission",
        "overall": None if score is None else round(score, DIGITS["score"]),
        "tiers": tiers,
        "published": published_beside(shown) if baseline else None,
        "problems": problems,
    }


def _shown(tier: str, summary: Mapping[str, float | int | None], baseline: bool) -> dict[str, float | None]:
    """Return a tier's numbers as a board may show them."""
    digits = {name: DIGITS.get(name, 0) for name in summary if tier == "public" or name not in ERRORS}
    if tier == "hidden" and not baseline:
        digits = SHOWN_OF_HIDDEN
    return {
        name: round(value, digits[name]) if name in digits and value is not None else None
        for name, value in summary.items()
    }


def _problems(tier: str, records: list[Record], on_hidden: bool) -> list[str]:
    """Return what went wrong, in words that may be shown. How a program ends on hidden data, it may have chosen."""
    wrong = [one for one in records if one.status != "scored"]
    told = [one for one in wrong if tier != "hidden" or one.status in BEFORE_A_RUN]
    said = [f"{tier} {one.scene}: {one.status}{_reason(one, on_hidden)}" for one in told]
    untold = len(wrong) - len(told)
    return said + [f"{tier}: no valid answer to {untold} of {len(records)} scenes"] * bool(untold)


def _reason(record: Record, on_hidden: bool) -> str:
    """Return the reason as it stands beside a status, if it may."""
    words_of_ours = record.status in BEFORE_A_RUN or not on_hidden
    return f": {record.reason}" if record.reason and words_of_ours else ""


def _picture(records: Records, row: Row) -> Row:
    """Return the first picture of the row, as the page takes it; none if the row's program has seen the hidden tier."""
    name = BASELINE * (row["kind"] == "baseline") + row["name"]
    seen_hidden = row["kind"] == "submission" and "hidden" in row["tiers"]
    for tier in () if seen_hidden else TIERS[:2]:
        for path in sorted((records.folder / name / tier).glob("scene_*.png")):
            record = records.read(name, tier, path.stem)
            if record and record.status == "scored":
                return {
                    "picture": "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode(),
                    "picture_alt": f"slice across the tilt axis of {tier} {path.stem} by {row['name']}",
                }
    return {"picture": None, "picture_alt": ""}
