"""What a network is asked for: which pairs it sees, how its answer is scored while training, and how it is validated.

An objective holds its samples and offers

    prepare(step, progress, predict)   called before each step with the network as it is,
    batch(rng, n)                the inputs (n, channels, nz, ny) and the targets (n, 1, nz, ny) of one step,
    loss(answer, target, input)  what the step lowers,
    validate(predict)            mean PSNR in dB on samples that no network learns from; ``predict`` maps arrays,
    state(), restore(state)      what a checkpoint keeps of it,
    describe()                   what a model card says of the data.

Validation goes the way of inference, through `etlab.solvers.learned`, on the middle slices of each sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from etlab.forward import TiltSeriesModel
from etlab.metrics import psnr
from etlab.solvers.learned.slices import SliceNetwork, by_slices, with_neighbours
from training.data import Which, describe, load
from training.networks.diffusion import NEIGHBOURS as NEIGHBOURS_OF_PRIOR
from training.networks.diffusion import SIGMA_DATA

NEIGHBOURS = 5
SLAB = 32  # slices at a time, where volumes are worked on while training
KNEE = 0.05  # errors below are squared, errors above count by their size: noise is averaged, edges stay sharp

Batch = tuple[np.ndarray, np.ndarray]


class Supervised:
    """Back-projection -> truth."""

    kinds: tuple[str, ...] = ("wbp", "truth")
    learns_from = "pairs of weighted back-projection and truth"
    validated_by = "PSNR of the reconstruction [dB]"

    def __init__(self, training: list[Which], validation: list[Which], *, progress: bool = True):
        self.training, self.validation = training, validation
        self.samples = load(training, self.kinds, progress=progress)
        kept = tuple({*self.kinds, "truth"})
        self.held_out = [middle(one) for one in load(validation, kept, progress=progress)]

    def describe(self) -> dict[str, object]:
        """Return what a model card says of the data."""
        return {
            "training data": describe(self.training),
            "validation seeds": sorted({which.seed for which in self.validation}),
        }

    def prepare(self, step: int, progress: float, predict: SliceNetwork) -> None:
        """Nothing, where the pairs do not depend on the network."""

    def state(self) -> dict:
        """Nothing, where the objective does not change."""
        return {}

    def restore(self, state: dict) -> None:
        """Of what `state` gave."""

    def batch(self, rng: np.random.Generator, n: int) -> Batch:
        """Return random slices of random samples, flipped at random."""
        return stacked(self.pair(self.samples[rng.integers(len(self.samples))], rng) for _ in range(n))

    def pair(self, sample: dict[str, np.ndarray], rng: np.random.Generator) -> Batch:
        """One random slice with its neighbours, and what the network is to make of it."""
        at = rng.integers(sample["truth"].shape[2])
        return flipped(rng, slices_at(sample["wbp"], at, NEIGHBOURS), slices_at(sample["truth"], at, 1))

    def loss(self, answer: torch.Tensor, target: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """Squared small errors, absolute large ones; less than nothing is no error where there is nothing.

        Solvers clip there. Asked for zero itself, a network leaves a haze of both signs, of which half survives.
        """
        error = torch.where((target == 0) & (answer < 0), 0, answer - target)
        return F.smooth_l1_loss(error, torch.zeros_like(error), beta=KNEE)

    def validate(self, predict: SliceNetwork) -> float:
        """Return the mean PSNR of the reconstructions of the validation samples."""
        return mean_psnr(self.held_out, lambda sample: self.reconstruct(predict, sample))

    def reconstruct(self, predict: SliceNetwork, sample: dict[str, np.ndarray]) -> np.ndarray:
        """As the solver does it."""
        return by_slices(predict, [sample["wbp"]], n_neighbours=NEIGHBOURS)


class Noise2Noise(Supervised):
    """Back-projection of one half of the tilts -> that of the other half. No truth but for the validation curve."""

    kinds = ("even", "odd")
    learns_from = "back-projections of the even and of the odd tilts of the same series, no truth"

    def pair(self, sample: dict[str, np.ndarray], rng: np.random.Generator) -> Batch:
        """Either half may be the target."""
        names = ("even", "odd") if rng.random() < 0.5 else ("odd", "even")
        source, target = (sample[name] for name in names)
        at = rng.integers(target.shape[2])
        return flipped(rng, slices_at(source, at, NEIGHBOURS), slices_at(target, at, 1))

    def loss(self, answer: torch.Tensor, target: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """Squared: the mean of a noisy target is clean, no other average of it is."""
        return F.mse_loss(answer, target)

    def reconstruct(self, predict: SliceNetwork, sample: dict[str, np.ndarray]) -> np.ndarray:
        """Return the mean of both halves."""
        return (
            sum(by_slices(predict, [sample[half]], n_neighbours=NEIGHBOURS) for half in ("even", "odd")) / 2
        )


class Denoising(Supervised):
    """Clean slices with noise of any σ -> the clean slice. No tomography: the prior fits any tilts and dose."""

    kinds = ("truth",)
    learns_from = "clean slices, no tilt series"
    validated_by = "PSNR of slices denoised of σ = 0.05, 0.2 and 0.8, mean [dB]"
    neighbours = NEIGHBOURS_OF_PRIOR
    sigmas = (0.005, 1.5)  # log-uniform between these
    validation_sigmas = (0.05, 0.2, 0.8)

    def pair(self, sample: dict[str, np.ndarray], rng: np.random.Generator) -> Batch:
        """Three slices in the same σ, and a plane that says how much."""
        at = rng.integers(sample["truth"].shape[2])
        clean = slices_at(sample["truth"], at, self.neighbours)
        (clean,) = flipped(rng, clean)
        target = clean[:, self.neighbours // 2][:, None]
        sigma = np.float32(np.exp(rng.uniform(*np.log(self.sigmas))))
        return self.noisy(clean, sigma, rng), target

    def loss(self, answer: torch.Tensor, target: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """Squared error over its variance were nothing known but σ: all σ weigh alike."""
        sigma = inputs[:, -1:]
        weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
        return (weight * (answer - target) ** 2).mean()

    def validate(self, predict: SliceNetwork) -> float:
        """Return the mean PSNR over every fourth validation slice and three σ, always with the same noise."""
        rng = np.random.default_rng(0)
        scores = []
        for sample in self.held_out:
            at = np.arange(0, sample["truth"].shape[2], 4)
            clean = with_neighbours(sample["truth"], at, self.neighbours)
            for sigma in self.validation_sigmas:
                answer = predict(self.noisy(clean, np.float32(sigma), rng))
                scores.append(psnr(answer[:, 0], clean[:, self.neighbours // 2]))
        return float(np.mean(scores))

    @staticmethod
    def noisy(clean: np.ndarray, sigma: np.float32, rng: np.random.Generator) -> np.ndarray:
        """Noise of standard deviation σ added, and a plane of σ appended."""
        noise = rng.standard_normal(clean.shape, np.float32)
        return np.concatenate([clean + sigma * noise, np.full_like(clean[:, :1], sigma)], axis=1)


def middle(sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the middle ``SLAB`` slices of a sample, volumes and images alike: x is the last axis of all."""
    first = (sample["truth"].shape[2] - SLAB) // 2
    return {name: np.ascontiguousarray(array[..., first : first + SLAB]) for name, array in sample.items()}


def slab_of(whole: TiltSeriesModel) -> TiltSeriesModel:
    """Return the operator of ``SLAB`` slices. Only the blur mixes slices, so no more than the outermost two notice."""
    nz, ny, nx = whole.geometry.volume_shape
    geometry = replace(whole.geometry, volume_shape=(nz, ny, min(SLAB, nx)))
    return TiltSeriesModel(geometry, optics=whole.optics)


def mean_psnr(samples: list[dict[str, np.ndarray]], reconstruct: Callable) -> float:
    """Return the mean over samples of the PSNR between what ``reconstruct(sample)`` gives and the truth."""
    return float(np.mean([psnr(reconstruct(one), one["truth"].astype(np.float32)) for one in samples]))


def slices_at(volume: np.ndarray, at: int, n_neighbours: int) -> np.ndarray:
    """Return the slice ``at`` between its neighbours: (1, n_neighbours, nz, ny), float32."""
    return with_neighbours(volume, np.array([at]), n_neighbours)


def flipped(rng: np.random.Generator, *arrays: np.ndarray, symmetric: bool = True) -> tuple[np.ndarray, ...]:
    """Return all mirrored alike at random in z, in y, and along x, where the neighbours change places.

    A specimen as likely stands one way as the other, and tilts that reach as far to either side see its mirror image
    as the mirror image of what they saw. Tilts that do not (``symmetric=False``) see it so only if z and y are both
    mirrored, which is half a turn.
    """
    axes = tuple(axis for axis in (1, 2, 3) if rng.random() < 0.5)
    if not symmetric and (2 in axes) != (3 in axes):
        axes = tuple({*axes} ^ {3})
    return tuple(np.flip(array, axes) for array in arrays)


def stacked(pairs) -> Batch:
    """Pairs of one sample each as one batch."""
    inputs, targets = zip(*pairs, strict=True)
    return np.concatenate(inputs), np.concatenate(targets)
