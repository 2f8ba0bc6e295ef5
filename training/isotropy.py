"""The objective of IsoNet: learn to undo the missing wedge from the tilt series alone, without any truth.

Volumes reconstructed from the series stand in for the truth. A piece of one is turned at random, its z axis by 50° to
130°, so that its own wedge lies where the next is not; it is recorded anew by the model of the microscope, noise
included, and reconstructed. The network learns the way back. After a third and two thirds of the way the network's
answers take the place of the volumes, wedge filled and noise removed, and it learns from them (Liu et al., Nat. Commun.
13 (2022) 6482; there, the wedge is cut out in Fourier space, and what was measured is put back between rounds).
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation
from tqdm.auto import tqdm

from etlab.course.scenes.simulation import DOSE
from etlab.forward import Detector, TiltSeriesModel
from etlab.solvers._sirt import sirt
from etlab.solvers._wbp import wbp
from etlab.solvers.learned._isonet import SIRT_ITERATIONS
from etlab.solvers.learned.slices import SliceNetwork
from training.data import Which, model
from training.objectives import (
    NEIGHBOURS,
    Batch,
    Supervised,
    flipped,
    slab_of,
    slices_at,
    stacked,
)

SERIES = 16  # tilt series that it learns from
POOL = 32  # turned pieces at hand
RENEW_EVERY = 2  # training steps
ROUNDS = 3
TURNED_BY = (50.0, 130.0)  # degrees, the z axis
LOPSIDED = 1.0  # degrees by which tilts may reach further to one side before that counts

Pair = tuple[np.ndarray, np.ndarray]  # what is seen of a piece, and the piece


class Isotropy(Supervised):
    """Back-projection of a turned piece, recorded anew -> the turned piece. No truth but for the validation curve."""

    kinds = ("images", "wbp")
    learns_from = f"{SERIES} tilt series, no truth: their reconstructions, turned and recorded anew"

    def __init__(self, training: list[Which], validation: list[Which], *, progress: bool = True):
        super().__init__(training[:SERIES], validation, progress=progress)
        self.begin(model(training[0].preset), Detector(dose=DOSE))
        for sample in tqdm(self.samples, desc="SIRT", unit="series", disable=not progress):
            sample["sirt"] = sirt(self.operator, sample.pop("images"), n_iter=SIRT_ITERATIONS)

    def begin(self, operator: TiltSeriesModel, detector: Detector) -> None:
        """The microscope that records the turned pieces anew, and an empty pool."""
        self.operator, self.slab, self.detector = operator, slab_of(operator), detector
        tilts_deg = operator.geometry.tilts_deg
        self.symmetric = bool(abs(tilts_deg.min() + tilts_deg.max()) < LOPSIDED)
        self.rng = np.random.default_rng(0)
        self.round, self.stale = 0, True
        self.pool: list[Pair] = []

    def prepare(self, step: int, progress: float, predict: SliceNetwork) -> None:
        """The volumes that stand in for the truth, anew in every round; turned pieces, one every few steps."""
        if progress >= (self.round + 1) / ROUNDS and self.round < ROUNDS - 1:
            self.round, self.stale = self.round + 1, True
        if self.stale:
            for sample in self.samples:
                sample["stand-in"] = self.stand_in(sample, predict)
            self.pool.clear()
            self.stale = False
        while len(self.pool) < POOL:
            self.pool.append(self.turned_pair(self.rng))
        if step % RENEW_EVERY == 0:
            self.pool[self.rng.integers(POOL)] = self.turned_pair(self.rng)

    def stand_in(self, sample: dict[str, np.ndarray], predict: SliceNetwork) -> np.ndarray:
        """SIRT in the first round, then the network's answer."""
        if self.round == 0:
            return sample["sirt"]
        return np.clip(self.reconstruct(predict, sample), 0, 1)

    def turned_pair(self, rng: np.random.Generator, kind: str = "stand-in") -> Pair:
        """Return a turned piece of a random volume, as it would be reconstructed, and as it is."""
        volume = self.samples[rng.integers(len(self.samples))][kind]
        turned = turned_piece(volume, self.slab.geometry.volume_shape, rng)
        return wbp(self.slab, recorded(self.slab(turned), self.detector, rng)), turned

    def batch(self, rng: np.random.Generator, n: int) -> Batch:
        """Return random slices of random pieces."""
        return stacked(self.pair_of(*self.pool[rng.integers(len(self.pool))], rng) for _ in range(n))

    def pair_of(self, seen: np.ndarray, turned: np.ndarray, rng: np.random.Generator) -> Batch:
        """One random slice with its neighbours, and the slice of the turned piece."""
        at = rng.integers(turned.shape[2])
        pair = slices_at(seen, at, NEIGHBOURS), slices_at(turned, at, 1)
        return flipped(rng, *pair, symmetric=self.symmetric)

    def state(self) -> dict:
        """Return which round it is."""
        return {"round": self.round}

    def restore(self, state: dict) -> None:
        """Of what `state` gave; the volumes of that round are made anew with the network as it is."""
        self.round = state.get("round", 0)


def recorded(images: np.ndarray, detector: Detector, rng: np.random.Generator) -> np.ndarray:
    """Return images with the noise of ``detector.expose``, though for a seed not the same on every machine.

    The inverse of the Poisson distribution, which that takes, costs thirty times as much and would be most of a run.
    """
    noisy = images.astype(np.float64)
    if detector.dose is not None:
        noisy = rng.poisson(np.maximum(noisy, 0) * detector.dose) / detector.dose
    return (noisy + rng.normal(0, detector.read_noise, noisy.shape)).astype(np.float32)


def turned_piece(volume: np.ndarray, shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a piece (nz, ny, nx) of ``volume``, turned at random about a random point of its inner half."""
    about_z = Rotation.from_euler("z", rng.uniform(0, 360), degrees=True)
    over = Rotation.from_euler("x", rng.uniform(*TURNED_BY), degrees=True)
    first = Rotation.from_euler("z", rng.uniform(0, 360), degrees=True)
    matrix = (about_z * over * first).as_matrix()[::-1, ::-1]  # scipy turns (x, y, z), arrays are (z, y, x)
    centre = np.array(volume.shape) / 2 + rng.uniform(-0.25, 0.25, 3) * volume.shape
    offset = centre - matrix @ ((np.array(shape) - 1) / 2)
    return affine_transform(volume, matrix, offset, output_shape=shape, order=1, output=np.float32)
