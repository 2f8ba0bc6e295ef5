"""How much of a learned row is chance, and how much its training scenes: other seeds of training, and scenes left out.

The shipped weights are one training of each row. Here the same recipe is trained again, from other first weights and
other draws, and with one of the four scene families left out; each network then reconstructs samples of the standard
board's seeds. ``python -m training.study`` makes the weights, ``etlab benchmark training`` measures them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from etlab.course.benchmark.standard import TEST_SEEDS
from etlab.course.scenes.simulation import simulate
from etlab.forward import TiltSeriesModel
from etlab.metrics import psnr, ssim, wedge_filling
from etlab.phantoms import SCENES
from etlab.solvers.learned import network
from etlab.solvers.methods import LEARNED, METHODS

SUPERVISED = ("DnCNN-ET", "TransET", "SwinET", "PhysET", "DiffET")
FAMILIES = ("DnCNN-ET", "PhysET")  # one that sees the images once, and one that comes back to them
TRAINING_SEEDS = (0, 1, 2)  # 0 with all scenes is what etlab ships


@dataclass(frozen=True)
class Training:
    """One training of a row: its seed, and the scene family that it never saw ("" for none)."""

    method: str
    seed: int = 0
    without: str = ""

    def __str__(self) -> str:
        return f"{self.method}, seed {self.seed}" + (f", without {self.without}" if self.without else "")

    def weights(self, folder: Path) -> Path:
        """Return its weight file in ``folder``, or the one that etlab ships."""
        name = LEARNED[self.method]
        if not self.seed and not self.without:
            return network.weight_file(name)
        return folder / (
            f"{name}-seed{self.seed}" + f"-without-{self.without}" * bool(self.without) + ".onnx"
        )


@dataclass(frozen=True)
class Cell:
    """One reconstruction by one training of a row: of ``scene`` and ``seed`` of the standard board."""

    method: str
    training_seed: int
    without: str
    scene: str
    seed: int

    @property
    def training(self) -> Training:
        """Return the training that it tests."""
        return Training(self.method, self.training_seed, self.without)


@dataclass(frozen=True)
class Quality:
    """PSNR in dB, SSIM, and the energy in the missing wedge against the truth's and its correlation with it."""

    psnr_db: float
    ssim: float
    wedge_energy: float
    wedge_correlation: float


Results = dict[Cell, Quality]


def study() -> list[Training]:
    """Return all seeds of the ``SUPERVISED`` rows, then ``FAMILIES`` with each of the four scenes left out."""
    seeds = [Training(method, seed) for seed in TRAINING_SEEDS for method in SUPERVISED]
    return seeds + [Training(method, without=scene) for method in FAMILIES for scene in SCENES]


def cells(of: list[Training]) -> list[Cell]:
    """Return every sample of the standard board for trainings on all scenes, for others those of the missing scene."""
    return [
        Cell(one.method, one.seed, one.without, scene, seed)
        for one in of
        for scene in ((one.without,) if one.without else SCENES)
        for seed in TEST_SEEDS
    ]


def measure(todo: list[Cell], folder: Path) -> Iterator[tuple[Cell, Quality]]:
    """Reconstruct and score one cell after the other, sample by sample; weights are taken from ``folder``."""
    made = None
    for cell in sorted(todo, key=lambda cell: (cell.scene, cell.seed)):
        if made != (cell.scene, cell.seed):
            made = (cell.scene, cell.seed)
            sample = simulate(cell.scene, "standard", cell.seed)
            H = TiltSeriesModel(sample.geometry, optics=sample.optics)
        volume = METHODS[cell.method](H, sample.y, weights=cell.training.weights(folder))
        wedge = wedge_filling(volume, sample.x_true, sample.geometry.tilts_deg)
        yield cell, Quality(psnr(volume, sample.x_true), ssim(volume, sample.x_true), *wedge)


def by_seed(measured: Results, method: str) -> np.ndarray:
    """Return the mean PSNR [dB] over the samples by each training of a row on all scenes, in order of their seeds."""
    means = [_psnr(measured, method, training_seed=seed, without="") for seed in TRAINING_SEEDS]
    return np.array([mean for mean in means if np.isfinite(mean)])


def left_out(measured: Results, method: str) -> dict[str, tuple[float, float]]:
    """Return for each scene the mean PSNR [dB] by the training on all scenes and by the one that lacked it."""
    return {
        scene: (
            _psnr(measured, method, scene=scene, training_seed=0, without=""),
            _psnr(measured, method, scene=scene, training_seed=0, without=scene),
        )
        for scene in SCENES
    }


def _psnr(measured: Results, method: str, **where: object) -> float:
    """Return the mean PSNR [dB] over the cells of a method that have these values."""
    values = [
        quality.psnr_db
        for cell, quality in measured.items()
        if cell.method == method and all(getattr(cell, name) == value for name, value in where.items())
    ]
    return float(np.mean(values)) if values else float("nan")


def as_text(measured: Results) -> str:
    """Return both studies as tables: PSNR by seed of training, and by scene with and without it in the training."""
    lines = ["PSNR [dB] by training seed"]
    for method in dict.fromkeys(cell.method for cell in measured):
        means = by_seed(measured, method)
        spread = f"   sd {np.std(means, ddof=1):.2f}" if len(means) > 1 else ""
        lines.append(f"{method:12s}" + "".join(f"{mean:8.2f}" for mean in means) + spread)
    lines.append("PSNR [dB] on a scene by the training on all, by the training without it")
    for method in dict.fromkeys(cell.method for cell in measured if cell.without):
        for scene, (seen, unseen) in left_out(measured, method).items():
            lines.append(f"{method:12s}{scene:10s}{seen:8.2f}{unseen:8.2f}{unseen - seen:+8.2f}")
    return "\n".join(lines)
