"""What decides a training run; a checkpoint of other settings is not resumed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training import data
from training.objectives import Supervised
from training.recipes import RECIPES, Recipe

# of products and convolutions while training. bfloat16 is twice as fast, but only on processors that have it in
# hardware; weights, normalisations and the exported network stay float32.
PRECISIONS = ("float32", "bfloat16")


class TrainingError(RuntimeError):
    """A run cannot be started or resumed. The message says why and what to do."""


@dataclass(frozen=True)
class Settings:
    """A run on simulated series. One of ``steps`` and ``minutes`` is set."""

    name: str
    seed: int = 0
    steps: int | None = None
    minutes: float | None = None
    samples: int = 96
    preset: str = "standard"
    without: str | None = None
    precision: str = "float32"

    start = None  # weights to begin with; on simulated series always new ones

    def __post_init__(self):
        if self.precision not in PRECISIONS:
            raise TrainingError(f"precision: got {self.precision!r}, expected one of {', '.join(PRECISIONS)}")
        if self.name not in RECIPES:
            raise TrainingError(f"name: got {self.name!r}, expected one of {', '.join(RECIPES)}")
        if (self.steps is None) == (self.minutes is None):
            raise TrainingError("give either --steps or --minutes, the length of the training")
        if not (self.steps or self.minutes) > 0:
            raise TrainingError(
                f"the length of the training: got {self.steps or self.minutes}, expected more"
            )

    @property
    def recipe(self) -> Recipe:
        """Return the row of the table."""
        return RECIPES[self.name]

    @property
    def limits(self) -> str:
        """Return what the card says of the network's limits."""
        return self.recipe.limits

    @property
    def checkpoint(self) -> Path:
        """In the user's cache folder, one for each name, seed, preset and scene left out."""
        parts = [self.name, f"seed{self.seed}", self.preset]
        parts += [f"without-{self.without}"] if self.without else []
        return data.cache_folder() / "runs" / ("-".join(parts) + ".pt")

    def objective(self, *, progress: bool = True) -> Supervised:
        """Return what the network is asked for, with its samples, simulated where they are missing."""
        training = data.training_samples(self.samples, preset=self.preset, without=self.without)
        return self.recipe.objective(training, data.validation_samples(preset=self.preset), progress=progress)
