"""The objective of PhysET: each step of the descent learns from what the steps before it made.

A pool of slabs is under way, each at some step of its descent. Now and then one of them takes its next step with the
network as it is, or, at its end, gives place to a new one. The network learns from random slices of the pool. Nothing
is differentiated through the projector, and a step costs no more than one of DnCNN (Hauptmann et al., IEEE Trans. Med.
Imaging 37 (2018) 1382).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etlab.solvers.learned._unrolled import NEIGHBOURS, STEPS, advanced, descent
from etlab.solvers.learned.slices import SliceNetwork
from training.data import Which, model
from training.objectives import SLAB, Batch, Supervised, flipped, slab_of, slices_at, stacked

POOL = 16
ADVANCE_EVERY = 4  # training steps


@dataclass(eq=False)
class UnderWay:
    """A slab at ``step`` of its descent."""

    states: object
    truth: np.ndarray
    volume: np.ndarray
    gradient: np.ndarray
    step: int = 0


class StepByStep(Supervised):
    """Volume and filtered gradient at any step -> truth."""

    kinds = ("images", "truth")
    learns_from = "the descent's own states, with the truth as target"

    def __init__(self, training: list[Which], validation: list[Which], *, progress: bool = True):
        super().__init__(training, validation, progress=progress)
        self.operator = slab_of(model(training[0].preset))
        self.rng = np.random.default_rng(0)
        self.pool: list[UnderWay] = []

    def prepare(self, step: int, progress: float, predict: SliceNetwork) -> None:
        """Fill the pool at the start; then one slab takes a step from time to time."""
        while len(self.pool) < POOL:
            slab = self.fresh()
            for _ in range(
                self.rng.integers(STEPS) if step else 0
            ):  # a resumed run has slabs at all steps at once
                self.advance(slab, predict)
            self.pool.append(slab)
        if step and step % ADVANCE_EVERY == 0:
            slab = self.pool.pop(0)
            if slab.step == STEPS - 1:
                slab = self.fresh()
            else:
                self.advance(slab, predict)
            self.pool.append(slab)

    def fresh(self) -> UnderWay:
        """Return random neighbouring slices of a random sample, at the start of the descent."""
        sample = self.samples[self.rng.integers(len(self.samples))]
        first = self.rng.integers(sample["truth"].shape[2] - SLAB + 1)
        images, truth = (
            np.ascontiguousarray(sample[name][..., first : first + SLAB]) for name in ("images", "truth")
        )
        states = descent(self.operator, images)
        volume, gradient, _ = next(states)
        return UnderWay(states, truth, volume, gradient)

    @staticmethod
    def advance(slab: UnderWay, predict: SliceNetwork) -> None:
        """One step of the descent."""
        volume = advanced(predict, slab.volume, slab.gradient, slab.step)
        slab.volume, slab.gradient, _ = slab.states.send(volume)
        slab.step += 1

    def batch(self, rng: np.random.Generator, n: int) -> Batch:
        """Return random slices of random slabs of the pool."""
        return stacked(self.pair_of(self.pool[rng.integers(len(self.pool))], rng) for _ in range(n))

    def pair_of(self, slab: UnderWay, rng: np.random.Generator) -> Batch:
        """One slice of the volume and of the gradient with their neighbours, the step as a plane, and the truth."""
        at = rng.integers(slab.volume.shape[2])
        volume, gradient, truth = flipped(
            rng,
            slices_at(slab.volume, at, NEIGHBOURS),
            slices_at(slab.gradient, at, NEIGHBOURS),
            slices_at(slab.truth, at, 1),
        )
        return np.concatenate([volume, gradient, np.full_like(truth, slab.step / STEPS)], axis=1), truth

    def reconstruct(self, predict: SliceNetwork, sample: dict[str, np.ndarray]) -> np.ndarray:
        """Return the whole descent."""
        states = descent(self.operator, sample["images"])
        volume, gradient, _ = next(states)
        for step in range(STEPS):
            volume = advanced(predict, volume, gradient, step)
            if step < STEPS - 1:
                volume, gradient, _ = states.send(volume)
        return volume
