"""The measured blind board: nine rows on three tiers, uncalibrated, calibrated and with the true mismatch; resumable.

The tiers are drawn from the key *demo*, so that anyone can measure the board again. The truth is used for scores, and
for the oracle's mismatch, which is its point.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.resources import files
from itertools import groupby
from pathlib import Path

from etlab.course.benchmark import fingerprint, results
from etlab.course.scenes.baselines import (
    AS_RECORDED,
    ROWS,
    VARIANTS,
    checked_method,
    found_mismatch,
    reconstruct,
)
from etlab.course.scenes.draw import TIERS, draw, scene_name
from etlab.course.scenes.scoring import Score, score_answer
from etlab.course.scenes.simulation import DOSE
from etlab.forward import Mismatch
from etlab.solvers.learned import network
from etlab.solvers.methods import LEARNED, METHODS, described

MEASURED = Path(str(files("etlab") / "tables" / "measured_blind.json"))
N_SCENES = 4  # in a tier
OWN_CODE = tuple(f"course/scenes/{name}" for name in ("baselines", "draw", "keys", "scoring"))


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
        """As in the tier's file."""
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
    """All combinations, scene by scene; ``methods`` by default the nine published rows.

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

    def scene(cell):
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


def run(
    path: Path, todo: list[Cell], *, renew: bool = False, confirm: int = 0, progress: bool = True
) -> Results:
    """Measure what ``path`` (JSON) does not hold yet, saving after every cell; see `results.run`."""
    return results.run(
        path,
        todo,
        measure,
        (Cell, Outcome),
        lambda cell: cell.method,
        provenance,
        renew=renew,
        confirm=confirm,
        progress=progress,
        describe=lambda cell, outcome: f"{cell.method} {cell.variant} {cell.tier} {outcome.score:.3f}",
    )


def provenance(method: str) -> dict[str, object]:
    """With what, when and where the results of a row were made. Raises WeightsError if it cannot be run here."""
    if method in LEARNED:
        network.load(LEARNED[method])
    origin = results.provenance(code_hash(method), dose=DOSE, key="demo")
    if method in LEARNED:
        origin["packages"]["onnxruntime"] = version("onnxruntime")
    return origin


def code_hash(method: str) -> str:
    """Of all that decides a row's results: model, scenes, draws, calibration, solvers, scores, settings, weights."""
    packages, weights = ["phantoms", "solvers", "calibration"], b""
    if method in LEARNED:
        packages.append("solvers/learned")
        weights = network.weight_file(LEARNED[method]).read_bytes()
    root = files("etlab")
    modules = OWN_CODE if method in AS_RECORDED else (*OWN_CODE, "refocus")
    own = "".join(fingerprint.code_of(root / f"{name}.py") for name in modules)
    return fingerprint.digest(fingerprint.source(packages), own, described(METHODS[method]), weights)


def load(path: Path = MEASURED) -> tuple[dict, Results]:
    """Provenance of each row and results of a file that `run` wrote. Raises ValueError if it is anything else."""
    return results.load(path, (Cell, Outcome))
