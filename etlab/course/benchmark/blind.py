"""The measured blind board: nine rows on three tiers, uncalibrated, calibrated and with the true mismatch.

The tiers are drawn from the key *demo*, so that anyone can measure the board again. The truth is used for scores, and
for the oracle's mismatch, which is its point.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby

from etlab.course.scenes.baselines import (
    ROWS,
    VARIANTS,
    checked_method,
    found_mismatch,
    reconstruct,
)
from etlab.course.scenes.draw import TIERS, draw, scene_name
from etlab.course.scenes.scoring import Score, score_answer
from etlab.forward import Mismatch

N_SCENES = 4  # in a tier


@dataclass(frozen=True)
class Cell:
    """One answer to be made and scored: a row, one of ``VARIANTS``, on scene number ``scene`` of a tier."""

    method: str
    variant: str
    tier: str
    scene: int
    preset: str = "standard"

    @property
    def scene_name(self) -> str:
        """Return its name in the tier's file."""
        return scene_name(self.scene)


@dataclass(frozen=True)
class Outcome(Score):
    """A score, and the seconds by the clock of calibration and of reconstruction."""

    calibration_seconds: float
    seconds: float


Results = dict[Cell, Outcome]


def cells(
    *,
    methods: tuple[str, ...] | None = None,
    variants: tuple[str, ...] = VARIANTS,
    tiers: tuple[str, ...] = TIERS,
    n_scenes: int = N_SCENES,
    preset: str = "standard",
) -> list[Cell]:
    """Return all combinations, scene by scene; ``methods`` by default the nine published rows.

    Raises ValueError for an unknown method, variant or tier.
    """
    for name, given, known in (("variants", variants, VARIANTS), ("tiers", tiers, TIERS)):
        if unknown := set(given) - set(known):
            raise ValueError(f"{name}: got {', '.join(unknown)}, expected some of {', '.join(known)}")
    rows = [checked_method(method) for method in (ROWS if methods is None else methods)]
    return [
        Cell(method, variant, tier, scene, preset)
        for tier in tiers
        for scene in range(n_scenes)
        for variant in variants
        for method in rows
    ]


def measure(todo: list[Cell]) -> Iterator[tuple[Cell, Outcome]]:
    """Answer and score one cell after the other; those of a scene share its images and its calibration."""

    def scene(cell: Cell) -> tuple[str, int, str]:
        return cell.tier, cell.scene, cell.preset

    for (tier, i, preset), cells_of_scene in groupby(todo, scene):
        problem, truth = draw(tier, i, preset)
        known = {"uncalibrated": (Mismatch(), 0.0), "oracle": (truth.mismatch, 0.0)}
        for cell in cells_of_scene:
            if cell.variant not in known:
                clock = time.perf_counter()
                found = found_mismatch(problem)
                known[cell.variant] = (found, time.perf_counter() - clock)
            mismatch, calibration_seconds = known[cell.variant]
            clock = time.perf_counter()
            volume = reconstruct(cell.method, problem, mismatch)
            seconds = time.perf_counter() - clock
            score = score_answer(problem, volume, mismatch, truth)
            yield cell, Outcome(**asdict(score), calibration_seconds=calibration_seconds, seconds=seconds)


def __getattr__(name: str) -> object:
    """Find ``load`` where it was in the last version: labs that were handed out then call it."""
    if name == "load":
        from etlab.course.benchmark.studies import BLIND

        return BLIND.load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
