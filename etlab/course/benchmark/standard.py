"""The standard benchmark: every method on every scene, measured, resumable, with its provenance.

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
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np

from etlab.course.benchmark import fingerprint, results
from etlab.course.scenes.simulation import DOSE, PUBLIC_SEEDS, Sample, simulate
from etlab.forward import Mismatch, TiltSeriesModel
from etlab.metrics import consistency, psnr, ssim, standard_score, wedge_filling
from etlab.phantoms import SCENES
from etlab.solvers.learned import network
from etlab.solvers.methods import LEARNED, METHODS, described

SCENARIOS = ("I", "II", "III")
TEST_SEEDS = (101, 102, 103)  # each draws a scene and its noise anew; none is among PUBLIC_SEEDS
MEASURED = Path(str(files("etlab") / "tables" / "measured_standard.json"))  # what `etlab leaderboard` shows
MEASURED_MISMATCH = MEASURED.with_name("measured_mismatch.json")  # the gallery, both presets
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
    """All combinations, sample by sample; ``methods`` by default all that can be run here.

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
    """``methods``, or all that can be run here. Raises ValueError for one that is no row of the board."""
    if methods is None:
        missing = not_runnable()
        return tuple(method for method in METHODS if method not in missing)
    if unknown := [one for one in methods if one not in METHODS]:
        raise ValueError(f"methods: got {', '.join(unknown)}, expected some of {', '.join(METHODS)}")
    return methods


def not_runnable() -> dict[str, str]:
    """The learned rows that cannot be run here, each with what to do about it in a line."""
    obstacles = {method: _obstacle(network.weight_file(name), name) for method, name in LEARNED.items()}
    return {method: obstacle for method, obstacle in obstacles.items() if obstacle}


def _obstacle(weights: Path, name: str) -> str:
    """Say why a network cannot be run; empty if it can."""
    return _why_not(name, weights, weights.stat().st_mtime_ns if weights.is_file() else None)


@functools.cache
def _why_not(name: str, weights: Path, modified: int | None) -> str:
    """Try a network once for each state of its file: to load all of them takes a second."""
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
    made, sample = None, None
    for cell in todo:
        mismatch = Mismatch() if cell.scenario == "I" else MISMATCH
        wanted = (cell.scene, cell.preset, cell.seed, mismatch)
        if made != wanted:
            made, sample = wanted, simulate(cell.scene, cell.preset, cell.seed, mismatch)
        known = sample.mismatch if cell.scenario == "III" else Mismatch()
        H = TiltSeriesModel(sample.geometry, mismatch=known, optics=sample.optics)
        clock, processor = time.perf_counter(), time.process_time()
        volume = METHODS[cell.method](H, sample.y)
        seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - processor
        yield Reconstruction(cell, sample, H, volume, seconds, cpu_seconds)


def measure(todo: list[Cell]) -> Iterator[tuple[Cell, Score]]:
    """Reconstruct and score one cell after the other."""
    return ((made.cell, made.score()) for made in reconstructions(todo))


def run(
    path: Path, todo: list[Cell], *, renew: bool = False, confirm: int = 0, progress: bool = True
) -> Results:
    """Measure what ``path`` (JSON) does not hold yet, saving after every cell; see `results.run`."""
    return results.run(
        path,
        todo,
        measure,
        (Cell, Score),
        lambda cell: cell.method,
        provenance,
        renew=renew,
        confirm=confirm,
        progress=progress,
        describe=lambda cell, score: f"{cell.method} {cell.scene} {score.psnr_db:.1f} dB",
    )


def provenance(method: str) -> dict[str, object]:
    """With what, when and where the results of a method were made.

    Raises WeightsError for a learned row that cannot be run here.
    """
    if method in LEARNED:
        network.load(LEARNED[method])
    origin = results.provenance(code_hash(method), dose=DOSE, **{"mismatch of II and III": asdict(MISMATCH)})
    if method in LEARNED:
        origin["packages"]["onnxruntime"] = version("onnxruntime")
    return origin


def code_hash(method: str) -> str:
    """Of all that decides a method's results: model, scenes, solvers, scores; its settings; weights, if it has any."""
    packages, weights = ["phantoms", "solvers"], b""
    if method in LEARNED:
        packages.append("solvers/learned")
        weights = network.weight_file(LEARNED[method]).read_bytes()
    return fingerprint.digest(fingerprint.source(packages), described(METHODS[method]), weights)


def load(path: Path) -> tuple[dict, Results]:
    """Provenance of each method and results of a file that `run` wrote. Raises ValueError if it is anything else."""
    return results.load(path, (Cell, Score))
