"""What the networks learn from: tilt series of the benchmark's kind, simulated once and kept in the user's cache.

Sample i shows scene i mod 4. Its seed is none on which anything is tuned, tested or accepted: training uses seeds from
1000, validation from 9000. ``python -m training.data --samples 96`` simulates what is not there yet, two to three
seconds a sample; it can be interrupted at any time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import platformdirs
import typer
from tqdm.auto import tqdm

from etlab.atomic import replacing
from etlab.course.scenes.simulation import DOSE, PRESETS, Sample, simulate
from etlab.forward import TiltSeriesModel
from etlab.phantoms import SCENES
from etlab.solvers._wbp import wbp
from etlab.solvers.learned._cryocare import half_reconstructions

FIRST_SEED = 1000  # below lie the seeds of tuning (0–3), of the board (101–103) and of acceptance (200–999)
FIRST_VALIDATION_SEED = 9000
N_VALIDATION = 4  # samples, one of each scene
KINDS = (
    "truth",
    "images",
    "wbp",
    "even",
    "odd",
)  # kept of a sample; volumes as float16, at 5e-4 of the value


class CacheError(RuntimeError):
    """The cached samples cannot be used. The message says why and what to do."""


@dataclass(frozen=True)
class Which:
    """One training sample: scene, seed and preset."""

    scene: str
    seed: int
    preset: str = "standard"

    @property
    def path(self) -> Path:
        """Return where it is kept."""
        return cache_folder() / self.preset / f"{self.scene}-{self.seed}.npz"


def training_samples(n: int, *, preset: str = "standard", without: str | None = None) -> list[Which]:
    """Return the first ``n`` training samples; ``without`` leaves one scene family out, the others filling its place.

    Raises ValueError for an unknown scene, or a number that would reach into the seeds of validation.
    """
    if without is not None and without not in SCENES:
        raise ValueError(f"without: got {without!r}, expected one of {', '.join(SCENES)}")
    scenes = [scene for scene in SCENES if scene != without]
    most = (FIRST_VALIDATION_SEED - FIRST_SEED) * len(scenes)
    if not 1 <= n <= most:
        raise ValueError(f"samples: got {n}, expected 1 to {most}")
    return [Which(scenes[i % len(scenes)], FIRST_SEED + i // len(scenes), preset) for i in range(n)]


def validation_samples(n: int = N_VALIDATION, *, preset: str = "standard") -> list[Which]:
    """Samples of the same kind that no network learns from, all scenes in turn."""
    return [
        Which(SCENES[i % len(SCENES)], FIRST_VALIDATION_SEED + i // len(SCENES), preset) for i in range(n)
    ]


def cache_folder() -> Path:
    """Return where samples are kept: ``$ETLAB_CACHE/training``, or else in the user's cache folder."""
    return Path(os.environ.get("ETLAB_CACHE") or platformdirs.user_cache_dir("etlab")) / "training"


def model(preset: str) -> TiltSeriesModel:
    """Return the operator of all samples: nominal geometry, the benchmark's blur, no mismatch."""
    return TiltSeriesModel(PRESETS[preset])


def make(which: Which) -> dict[str, np.ndarray]:
    """Simulate one sample: its tilt series, the truth, and the back-projections that networks take."""
    sample: Sample = simulate(which.scene, which.preset, which.seed)
    H = model(which.preset)
    even, odd = half_reconstructions(H, sample.y)
    volumes = dict(truth=sample.x_true, wbp=wbp(H, sample.y), even=even, odd=odd)
    return {name: volume.astype(np.float16) for name, volume in volumes.items()} | {"images": sample.y}


def fill(samples: Iterable[Which], *, progress: bool = True) -> int:
    """Simulate and keep those samples that are not there yet; returns how many."""
    missing = [which for which in samples if not which.path.exists()]
    for which in tqdm(missing, desc="simulating", unit="sample", disable=not progress or not missing):
        which.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(which.path) as part, part.open("wb") as file:
            np.savez(file, **make(which))
    return len(missing)


def load(
    samples: list[Which], kinds: tuple[str, ...], *, progress: bool = True
) -> list[dict[str, np.ndarray]]:
    """Return the named ``kinds`` of all samples, in memory; what is missing is simulated first.

    Raises CacheError if what was kept is not what the code of today simulates: the first sample is made anew.
    """
    fill(samples, progress=progress)
    fresh = make(samples[0])
    with np.load(samples[0].path) as kept:
        # by the mean: where rounding differs, a count may tip in some pixel
        if any(np.abs(kept[name] - fresh[name].astype(np.float32)).mean() > 1e-3 for name in kinds):
            raise CacheError(
                f"{samples[0].path.parent}: holds samples that other code simulated; delete the folder"
            )
    loaded = []
    for which in samples:
        with np.load(which.path) as kept:
            loaded.append({name: kept[name] for name in kinds})
    return loaded


def describe(samples: list[Which]) -> dict[str, object]:
    """Return what a model card says of the training data."""
    preset = PRESETS[samples[0].preset]
    seeds = sorted({which.seed for which in samples})
    return {
        "scenes": sorted({which.scene for which in samples}, key=SCENES.index),
        "samples": len(samples),
        "seeds": f"{seeds[0]}–{seeds[-1]}",
        "volume": list(preset.volume_shape),
        "tilts": f"{preset.n_tilts}, {preset.tilts_deg.min():g}° to {preset.tilts_deg.max():g}°",
        "counts per unit line integral": DOSE,
        "mismatch": "none",
    }


def main(
    samples: Annotated[int, typer.Option(help="training samples to have in the cache")] = 96,
    preset: Annotated[str, typer.Option(help="standard (64×128×128) or small (32×64×64)")] = "standard",
) -> None:
    """Simulate the samples that training and validation need and keep them; resumable."""
    made = fill(training_samples(samples, preset=preset) + validation_samples(preset=preset))
    typer.echo(f"{made} made, {samples} + {N_VALIDATION} in {cache_folder() / preset}")


if __name__ == "__main__":
    typer.run(main)
