"""The standard benchmark: every method on every scene, measured.

A cell is one method on one sample in one of three scenarios:

    I    the data were recorded with the nominal operator, and reconstructed with it;
    II   they were recorded with a mismatch, and reconstructed with the nominal operator;
    III  they were recorded with that mismatch, and reconstructed with the operator that made them.

The standard board is scenario I. The gallery sets the three side by side: II shows what a mismatch costs, III what
knowing it would give back. The truth is used for scores only, and for the mismatch of III, which is its point.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from etlab.course.scenes.simulation import PUBLIC_SEEDS, Sample, simulate
from etlab.forward import Mismatch, TiltSeriesModel
from etlab.metrics import consistency, psnr, ssim, standard_score, wedge_filling
from etlab.phantoms import SCENES
from etlab.solvers.learned import network
from etlab.solvers.methods import LEARNED, METHODS

SCENARIOS = ("I", "II", "III")
TEST_SEEDS = (101, 102, 103)  # each draws a scene and its noise anew; none is among PUBLIC_SEEDS
MISMATCH = Mismatch(tilt_angle=1.0, tilt_axis=0.6, defocus_gradient=20.0)  # of scenarios II and III


@dataclass(frozen=True)
class Cell:
    """One reconstruction to be made and scored."""

    method: str
    scene: str
    seed: int
    scenario: str = "I"
    preset: str = "standard"


@dataclass(frozen=True)
class Score:
    """What one cell gave: PSNR in dB, SSIM, standard score, data consistency, the energy in the missing wedge against
    the truth's and its correlation with it, seconds by the clock and of processor.
    """

    psnr_db: float
    ssim: float
    score: float
    consistency: float
    wedge_energy: float
    wedge_correlation: float
    seconds: float
    cpu_seconds: float


Results = dict[Cell, Score]


def cells(
    *,
    methods: tuple[str, ...] | None = None,
    scenes: tuple[str, ...] = SCENES,
    seeds: tuple[int, ...] = TEST_SEEDS,
    scenarios: tuple[str, ...] = ("I",),
    preset: str = "standard",
) -> list[Cell]:
    """Return all combinations, sample by sample; ``methods`` by default all that can be run here.

    Raises ValueError for an unknown method or scenario or a public seed.
    """
    methods = known_methods(methods)
    if unknown := [one for one in scenarios if one not in SCENARIOS]:
        raise ValueError(f"scenarios: got {', '.join(unknown)}, expected some of {', '.join(SCENARIOS)}")
    if tuned := set(seeds) & set(PUBLIC_SEEDS):
        raise ValueError(f"seeds: got {sorted(tuned)}, on which parameters were chosen; expected others")
    return [
        Cell(method, scene, seed, scenario, preset)
        for scene in scenes
        for seed in seeds
        for scenario in scenarios
        for method in methods
    ]


def known_methods(methods: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return ``methods``, or all that can be run here. Raises ValueError for one that is no row of the board."""
    if methods is None:
        missing = not_runnable()
        return tuple(method for method in METHODS if method not in missing)
    if unknown := [one for one in methods if one not in METHODS]:
        raise ValueError(f"methods: got {', '.join(unknown)}, expected some of {', '.join(METHODS)}")
    return methods


def not_runnable() -> dict[str, str]:
    """Return the learned rows that cannot be run here, each with a line on what to do about it."""
    obstacles = {method: _obstacle(network.weight_file(name), name) for method, name in LEARNED.items()}
    return {method: obstacle for method, obstacle in obstacles.items() if obstacle}


def _obstacle(weights: Path, name: str) -> str:
    """Return why a network cannot be run; empty if it can."""
    return _why_not(name, weights, weights.stat().st_mtime_ns if weights.is_file() else None)


@functools.cache
def _why_not(name: str, weights: Path, modified: int | None) -> str:
    """Try a network once for each state of its file, since loading all of them takes a second."""
    try:
        network.load(name)
    except network.WeightsError as error:
        return str(error)
    return ""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What a method made of its sample, with which operator, in how many seconds by the clock and of processor."""

    cell: Cell
    sample: Sample
    operator: TiltSeriesModel
    volume: np.ndarray
    seconds: float
    cpu_seconds: float

    def score(self) -> Score:
        """Compare with the truth and with the images."""
        quality = psnr(self.volume, self.sample.x_true)
        similarity = ssim(self.volume, self.sample.x_true)
        explained = consistency(self.operator, self.sample.y, self.volume)
        score = standard_score(quality, similarity)
        wedge = wedge_filling(self.volume, self.sample.x_true, self.sample.geometry.tilts_deg)
        return Score(quality, similarity, score, explained, *wedge, self.seconds, self.cpu_seconds)


def reconstructions(todo: list[Cell]) -> Iterator[Reconstruction]:
    """Reconstruct one cell after the other; neighbours on the same sample share its simulation."""
    made = None
    for cell in todo:
        mismatch = Mismatch() if cell.scenario == "I" else MISMATCH
        wanted = (cell.scene, cell.preset, cell.seed, mismatch)
        if made != wanted:
            made = wanted
            sample = simulate(cell.scene, cell.preset, cell.seed, mismatch)
        known = sample.mismatch if cell.scenario == "III" else Mismatch()
        H = TiltSeriesModel(sample.geometry, mismatch=known, optics=sample.optics)
        clock, processor = time.perf_counter(), time.process_time()
        volume = METHODS[cell.method](H, sample.y)
        seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - processor
        yield Reconstruction(cell, sample, H, volume, seconds, cpu_seconds)


def measure(todo: list[Cell]) -> Iterator[tuple[Cell, Score]]:
    """Reconstruct and score one cell after the other."""
    return ((made.cell, made.score()) for made in reconstructions(todo))
