"""Boards: measured results as a ranking, with the published values in columns of their own beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from etlab.course.benchmark import hallucination
from etlab.course.benchmark.standard import Results
from etlab.course.scenes.published import published


@dataclass(frozen=True)
class Row:
    """One method of the standard board: mean and standard deviation over scenes and seeds, and what was published.

    ``published`` is (PSNR in dB, SSIM, score), or None for a method that is not on the published board.
    """

    method: str
    psnr_db: tuple[float, float]
    ssim: tuple[float, float]
    score: tuple[float, float]
    consistency: tuple[float, float]
    seconds: float
    n_cells: int
    published: tuple[float, float, float] | None


def standard_board(results: Results) -> list[Row]:
    """Return the methods in the order of their measured scores, from the cells of scenario I."""
    known = {_row_name(str(row["method"])): row for row in published("standard")}
    scores: dict[str, list] = {}
    for cell, score in results.items():
        if cell.scenario == "I":
            scores.setdefault(cell.method, []).append(score)
    rows = []
    for method, measured in scores.items():
        columns = {
            name: (float(np.mean(values)), float(np.std(values, ddof=1) if len(values) > 1 else 0.0))
            for name in ("psnr_db", "ssim", "score", "consistency")
            for values in [[getattr(one, name) for one in measured]]
        }
        entry = known.get(_row_name(method))
        beside = (float(entry["psnr_db"]), float(entry["ssim"]), float(entry["score"])) if entry else None
        seconds = float(np.median([one.seconds for one in measured]))
        rows.append(Row(method, **columns, seconds=seconds, n_cells=len(measured), published=beside))
    return sorted(rows, key=lambda row: -row.score[0])


def rank_agreement(board: list[Row]) -> tuple[float, int]:
    """Return Spearman's ρ of measured against published score over the methods that have both, and their number."""
    both = [(row.score[0], row.published[2]) for row in board if row.published]
    if len(both) < 3:
        return float("nan"), len(both)
    return float(spearmanr(*zip(*both, strict=True)).statistic), len(both)


def as_text(board: list[Row]) -> str:
    """Return the board as a table of plain text."""
    lines = [
        f"{'':14s}{'— measured: mean ± sd over scenes and seeds ':—<58s}  {'— published ':—<22s}",
        f"{'method':14s}{'PSNR [dB]':>14s}{'SSIM':>16s}{'score':>16s}{'s/volume':>10s}"
        f"    {'PSNR':>5s}{'SSIM':>8s}{'score':>8s}",
    ]
    for row in board:
        beside = (
            "{:5.1f}{:8.3f}{:8.3f}".format(*row.published)
            if row.published
            else f"{'–':>5s}{'–':>8s}{'–':>8s}"
        )
        lines.append(
            f"{row.method:14s}{row.psnr_db[0]:8.2f} ± {row.psnr_db[1]:4.2f}{row.ssim[0]:9.3f} ± {row.ssim[1]:5.3f}"
            f"{row.score[0]:8.3f} ± {row.score[1]:5.3f}{row.seconds:10.1f}    {beside}"
        )
    rho, n = rank_agreement(board)
    lines.append(f"Spearman's ρ of measured and published score: {rho:.2f} over {n} methods")
    return "\n".join(lines)


@dataclass(frozen=True)
class Invention:
    """One method's answers to what the data do not show; each a mean over scenes.

    ``wedge_energy`` and ``wedge_correlation`` compare the missing wedge of its reconstructions with the truth's.
    ``invented`` is the amplitude of fringes in its wedge where the specimen has none; ``hidden`` and ``measured`` are
    the shares that it shows of fringes inside and outside the wedge. ``mismatch_db`` is what a mismatch that it is not
    told of costs in PSNR (I − II). NaN where nothing was measured.
    """

    method: str
    wedge_energy: float
    wedge_correlation: float
    invented: float
    hidden: float
    measured: float
    mismatch_db: float


def inventions(
    standard: Results, mismatch: Results, shown: hallucination.Results, preset: str = "standard"
) -> list[Invention]:
    """Return a line for each method on the standard board, in its order."""

    def mean(results: Mapping[Any, object], field: str, method: str, **where: str) -> float:
        wanted = {"method": method, "preset": preset} | where
        values = [
            getattr(outcome, field)
            for cell, outcome in results.items()
            if all(getattr(cell, key) == value for key, value in wanted.items())
        ]
        return float(np.mean(values)) if values else float("nan")

    return [
        Invention(
            method,
            wedge_energy=mean(standard, "wedge_energy", method, scenario="I"),
            wedge_correlation=mean(standard, "wedge_correlation", method, scenario="I"),
            invented=mean(shown, "invented", method),
            hidden=mean(shown, "hidden", method),
            measured=mean(shown, "measured", method),
            mismatch_db=mean(mismatch, "psnr_db", method, scenario="I")
            - mean(mismatch, "psnr_db", method, scenario="II"),
        )
        for method in (row.method for row in standard_board(standard))
    ]


def inventions_text(lines: list[Invention]) -> str:
    """Return the inventions as a table of plain text."""
    head = [
        f"{'':14s}{'— missing wedge —':^21s}{'fringes':>10s}{'— fringes shown —':^21s}{'PSNR lost':>12s}",
        f"{'method':14s}{'energy':>10s}{'corr.':>11s}{'invented':>10s}{'in wedge':>11s}{'outside':>10s}"
        f"{'to mismatch':>12s}",
    ]
    return "\n".join(
        head
        + [
            f"{line.method:14s}{line.wedge_energy:10.2f}{line.wedge_correlation:11.2f}{line.invented:10.2f}"
            f"{round(line.hidden, 3) + 0.0:11.3f}{line.measured:10.2f}{line.mismatch_db:9.2f} dB"
            for line in lines
        ]
    )


def measured_when(provenance: dict[str, dict]) -> str:
    """Return a line on when, with what and where the parts of a results file were measured."""
    said = {
        key: sorted({origin[key] for origin in provenance.values()}) for key in ("date", "etlab", "machine")
    }
    dates = said["date"][0] if len(said["date"]) == 1 else f"{said['date'][0]} to {said['date'][-1]}"
    return f"measured {dates} with etlab {', '.join(said['etlab'])} on {'; '.join(said['machine'])}"


def gallery(results: Results) -> list[dict[str, str | float]]:
    """Return mean PSNR [dB] and SSIM by method, scene and scenario: keys method, scene, I_psnr, I_ssim, …"""
    grouped: dict[tuple[str, str], dict[str, list]] = {}
    for cell, score in results.items():
        grouped.setdefault((cell.method, cell.scene), {}).setdefault(cell.scenario, []).append(score)
    return [
        {"method": method, "scene": scene}
        | {
            f"{scenario}_psnr": float(np.mean([one.psnr_db for one in scores]))
            for scenario, scores in parts.items()
        }
        | {
            f"{scenario}_ssim": float(np.mean([one.ssim for one in scores]))
            for scenario, scores in parts.items()
        }
        for (method, scene), parts in grouped.items()
    ]


def gallery_text(rows: list[dict[str, str | float]]) -> str:
    """Return the gallery as a table of plain text, with the mean loss of each method when the mismatch is not known."""
    lines = [f"{'method':10s}{'scene':12s}{'I':>16s}{'II':>16s}{'III':>16s}   PSNR [dB] / SSIM"]
    for row in sorted(rows, key=lambda row: row["method"]):
        columns = "".join(f"{row[f'{s}_psnr']:8.2f} / {row[f'{s}_ssim']:.3f}" for s in ("I", "II", "III"))
        lines.append(f"{row['method']:10s}{row['scene']:12s}{columns}")
    for method in sorted({row["method"] for row in rows}):
        loss = [float(row["III_psnr"]) - float(row["II_psnr"]) for row in rows if row["method"] == method]
        lines.append(
            f"{method}: not knowing the mismatch costs {np.mean(loss):.2f} dB (III − II, mean over scenes)"
        )
    return "\n".join(lines)


def _row_name(method: str) -> str:
    """Return the name that measured and published rows have in common."""
    return method.removesuffix("-ET")
