"""The measured blind board as rows and as text, the published values in columns of their own beside it."""

from __future__ import annotations

from etlab.course.benchmark.blind import Results
from etlab.course.challenge.standings import RANKED, Row, overall, published_beside, ranked, tier_summary
from etlab.course.scenes.baselines import VARIANTS
from etlab.course.scenes.draw import TIERS


def rows(measured: Results, variant: str = "calibrated") -> list[Row]:
    """Return a row for each method in one of ``VARIANTS``, best first, as `etlab.course.challenge.page` takes it.

    Calibrated rows are named as the published ones, "… + gradient", and have these beside them.
    """
    methods = dict.fromkeys(cell.method for cell in measured if cell.variant == variant)
    return ranked(_row(measured, method, variant) for method in methods)


def as_text(measured: Results) -> str:
    """Score of each row, tier and variant, uncalibrated / calibrated / oracle, and the published overall score.

    Overall is the mean of dev and hidden; the published one that of all three tiers.
    """
    by_variant = {
        variant: {row["method"]: row for row in rows(measured, variant)}
        for variant in VARIANTS
        if any(cell.variant == variant for cell in measured)
    }
    order = next(iter(by_variant[one] for one in ("calibrated", *by_variant) if one in by_variant))
    order_of_tiers = (None, *RANKED, "public")
    heads = "".join(f"{tier or 'overall':>{7 * len(by_variant) + 3}s}" for tier in order_of_tiers)
    lines = [f"score: {' / '.join(by_variant)}", f"{'':10s}{heads}  published"]
    for method in order:
        columns = ""
        for tier in order_of_tiers:
            numbers = [
                row["overall"] if tier is None else row["tiers"].get(tier, {}).get("score")
                for row in (one.get(method) for one in by_variant.values())
                if row
            ]
            columns += "   " + "".join(
                f"{'–' if number is None else f'{number:.3f}':>7s}" for number in numbers
            )
        beside = order[method]["published"]
        published = "–" if beside is None else format(beside["overall"], ".3f")
        lines.append(f"{method:10s}{columns}{published:>11s}")
    return "\n".join(lines)


def _row(measured: Results, method: str, variant: str) -> Row:
    """Return the row of one method."""
    tiers = {}
    for tier in TIERS:
        scores = [
            outcome
            for cell, outcome in measured.items()
            if (cell.method, cell.variant, cell.tier) == (method, variant, tier)
        ]
        if scores:
            tiers[tier] = tier_summary(scores, len(scores))
    name = {"calibrated": f"{method} + gradient", "uncalibrated": method, "oracle": f"{method}, true spec"}[
        variant
    ]
    return {
        "name": name,
        "method": method,
        "kind": "baseline",
        "overall": overall(tiers),
        "tiers": tiers,
        "published": published_beside(name),
        "picture": None,
        "picture_alt": "",
        "problems": [],
    }
