"""What a method makes of a feature that the data do not show: fringes that lie wholly inside the missing wedge.

In the middle of a scene stands a patch of even density, fading into the specimen. It is recorded three times with the
same noise: as it is; with fringes across z, whose frequencies no tilt measures; and with the same fringes across y,
which all tilts measure. Two different questions follow.

* Does the method *invent*? The answer to the specimen without fringes is projected on the hidden ones, of any phase.
  A method that always paints fringes has 1 here, one that never does has what the specimen itself has by chance.
* Does it *show* fringes that are there? What they change in the reconstruction is projected on them: the share shown.
  Whatever a method paints regardless of the images cancels in this difference, so it says nothing about inventions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from etlab.course.benchmark.standard import TEST_SEEDS, known_methods
from etlab.course.scenes.simulation import Sample, simulate
from etlab.forward import TiltSeriesModel
from etlab.phantoms import SCENES
from etlab.solvers import METHODS

DENSITY = 0.5  # of the patch
CONTRAST = 0.4  # of the fringes, at the middle of the patch
N_FRINGES = 8  # over the depth of the volume
NEARBY = range(6, 11)  # numbers of fringes that are as well hidden, to know what a specimen has by chance
INVENTED = 0.4  # amplitude above which fringes are invented; 24 specimens have up to 0.26 by chance
WIDTHS = (9, 8, 12)  # the patch's standard deviation along z, y, x is the volume's side over this


@dataclass(frozen=True)
class Cell:
    """One method on one scene."""

    method: str
    scene: str
    seed: int
    preset: str = "standard"


@dataclass(frozen=True)
class Shown:
    """How much of the fringes a reconstruction shows, 1 being all of them.

    ``invented`` is the amplitude of hidden fringes in the answer to the specimen that has none, ``chance`` the largest
    amplitude of such fringes in that specimen itself. ``hidden`` and ``measured`` are the shares of the hidden and of
    the measured fringes that the reconstruction shows of those that are there.
    ``detectability_hidden`` and ``detectability_measured`` are what the images hold of them, in standard deviations of
    their noise: an observer who knew exactly what to look for would be right 69 % of the time at 1 and 99.9 % at 6.
    """

    invented: float
    chance: float
    hidden: float
    measured: float
    detectability_hidden: float
    detectability_measured: float

    @property
    def invents(self) -> bool:
        """Return whether the method paints fringes where there are none."""
        return self.invented > INVENTED


Results = dict[Cell, Shown]


def cells(
    *, methods: tuple[str, ...] | None = None, preset: str = "standard", seed: int = TEST_SEEDS[0]
) -> list[Cell]:
    """Return all methods on all scenes, scene by scene; ``methods`` by default all that can be run here.

    Raises ValueError for an unknown method.
    """
    return [Cell(method, scene, seed, preset) for scene in SCENES for method in known_methods(methods)]


def patch(shape: tuple[int, int, int]) -> np.ndarray:
    """Return a Gaussian of height 1 in the middle of a volume (nz, ny, nx), float32."""
    profiles = [
        np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / width)) ** 2)
        for n, width in zip(shape, WIDTHS, strict=True)
    ]
    return np.einsum("i,j,k", *profiles).astype(np.float32)


def fringes(
    shape: tuple[int, int, int], axis: int, n_fringes: int = N_FRINGES, phase: float = 0.0
) -> np.ndarray:
    """Return fringes of height ``CONTRAST`` across ``axis`` within the patch, (nz, ny, nx), float32.

    ``phase`` [rad] moves them along the axis; at 0 a crest lies in the middle.
    """
    n = shape[axis]
    turns = 2 * np.pi * n_fringes / shape[0] * (np.arange(n) - (n - 1) / 2)
    along = np.cos(turns - phase).astype(np.float32)
    return CONTRAST * patch(shape) * along[tuple(slice(None) if i == axis else None for i in range(3))]


def with_patch(volume: np.ndarray) -> np.ndarray:
    """Return the specimen, fading into even ``DENSITY`` towards its middle; with fringes it stays between 0 and 1."""
    share = patch(volume.shape)
    return volume * (1 - share) + DENSITY * share


def share(volume: np.ndarray, added: np.ndarray) -> float:
    """Return how often ``added`` is contained in a volume: its projection on ``added``."""
    return float(np.vdot(volume, added) / np.vdot(added, added))


def amplitude(volume: np.ndarray, n_fringes: int = N_FRINGES) -> float:
    """Return the amplitude of fringes across z within the patch, of any phase; 1 is that of `fringes`."""
    cosine, sine = (share(volume, fringes(volume.shape, 0, n_fringes, phase)) for phase in (0, np.pi / 2))
    return float(np.hypot(cosine, sine))


def chance(volume: np.ndarray) -> float:
    """Return the largest amplitude of fringes, of `NEARBY` numbers, in a specimen to which none were added."""
    return max(amplitude(volume, n_fringes) for n_fringes in NEARBY)


def measure(todo: list[Cell]) -> Iterator[tuple[Cell, Shown]]:
    """Reconstruct each cell three times; neighbours on the same scene share its images."""
    made = None
    for cell in todo:
        if made != (cell.scene, cell.seed, cell.preset):
            made = (cell.scene, cell.seed, cell.preset)
            sample = simulate(cell.scene, cell.preset, cell.seed)
            H = TiltSeriesModel(sample.geometry, optics=sample.optics)
            hidden, measured = (fringes(sample.x_true.shape, axis) for axis in (0, 1))
            plain = with_patch(sample.x_true)
            images = [exposed(H(plain + added), sample) for added in (np.float32(0), hidden, measured)]
            found = [detectability(H, plain, added, sample) for added in (hidden, measured)]
            by_chance = chance(plain)
        without, *others = (METHODS[cell.method](H, one) for one in images)
        shown = [
            share(other - without, added) for other, added in zip(others, (hidden, measured), strict=True)
        ]
        yield cell, Shown(amplitude(without), by_chance, *shown, *found)


def exposed(images: np.ndarray, sample: Sample) -> np.ndarray:
    """Record images with always the same noise: pixel by pixel the same random number, whatever the images."""
    return sample.detector.expose(images, 0)


def detectability(H: TiltSeriesModel, volume: np.ndarray, added: np.ndarray, sample: Sample) -> float:
    """Return √(Σ (H added)² / variance): the signal of ``added`` over the noise, d′ of an ideal observer.

    Source: Barrett & Myers, Foundations of Image Science (2004), section 13.2; the variance is that of ``volume``.
    """
    dose = sample.detector.dose or np.inf  # without a dose there is no noise
    variance = np.maximum(H(volume), 1 / dose) / dose
    return float(np.sqrt(np.sum(H(added) ** 2 / variance)))
