"""Tilt series that the checks of an alignment judge by: specimens drawn from a formula, and the real needle moved anew.

Images are ``images[tilt, row, x]``; shifts (n_tilts, 2) say how far the content of each must be moved, up and to the
right. Drawn images need no interpolation: a blob stands exactly where the convention puts it.
"""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from etlab.alignment import Alignment
from etlab.alignment.alignment import turned
from etlab.data import Needle, needle

BINNING = 2
COLUMNS = 96  # of the binned field's 128: enough for the needle, and room to choose


@dataclass(frozen=True, eq=False)
class Blobs:
    """A specimen of Gaussian blobs at (z, y, x) in pixels from its centre, (n, 3); standard deviation in pixels."""

    positions: np.ndarray
    heights: np.ndarray
    sigma: float = 2.0

    def images(
        self,
        shape: tuple[int, int],
        tilts_deg: ArrayLike = (0.0,),
        shifts: ArrayLike = 0.0,
        *,
        axis_deg: float = 0.0,
        axis_height: float = 0.0,
    ) -> np.ndarray:
        """Raw images (n_tilts, *shape) that ``shifts``, a turn by −axis_deg and lowering by axis_height would align."""
        theta = np.deg2rad(tilts_deg)[:, None]
        z, y, x = self.positions.T
        s = y * np.cos(theta) + z * np.sin(theta) + axis_height
        places = turned(np.stack(np.broadcast_arrays(s, x), axis=-1), np.deg2rad(axis_deg))
        places -= np.broadcast_to(shifts, (len(theta), 2))[:, None]
        up, right = (
            np.exp(-((np.arange(n) - (n - 1) / 2 - at[..., None]) ** 2) / (2 * self.sigma**2))
            for n, at in zip(shape, np.moveaxis(places, -1, 0), strict=True)
        )
        return np.einsum("tbr,tbx,b->trx", up, right, self.heights)

    def volume(self, shape: tuple[int, int, int]) -> np.ndarray:
        """Return the blobs as a volume (nz, ny, nx)."""
        bells = (
            np.exp(-((np.arange(n) - (n - 1) / 2 - at[:, None]) ** 2) / (2 * self.sigma**2))
            for n, at in zip(shape, self.positions.T, strict=True)
        )
        return np.einsum("bz,by,bx,b->zyx", *bells, self.heights)


def particle(
    rng: np.random.Generator, *, n: int = 40, spread: tuple[float, float, float] = (6, 6, 9)
) -> Blobs:
    """Draw ``n`` blobs around the centre, none further out than twice ``spread`` (z, y, x)."""
    places = np.clip(rng.standard_normal((n, 3)), -2, 2) * spread
    return Blobs(places, rng.uniform(0.3, 1, n))


def fractional(rng: np.random.Generator, size: tuple[int, ...], largest: int) -> np.ndarray:
    """Return shifts of at most ``largest`` pixels, none of them near a whole number."""
    return rng.integers(-largest, largest, size) + rng.uniform(0.35, 0.65, size)


def noisy(rng: np.random.Generator, images: np.ndarray, share: float) -> np.ndarray:
    """Return images with Gaussian noise of ``share`` of their maximum."""
    return images + share * images.max() * rng.standard_normal(images.shape)


@dataclass(frozen=True, eq=False)
class NeedleCase:
    """The needle as no one has recorded it: every image displaced anew, a part of the field, perhaps upside down.

    ``shifts`` are those of the answer key less the displacements, in binned pixels, with the tilt axis brought to the
    middle of this part of the field; ``old_shifts`` are the answer key's own.
    """

    images: np.ndarray
    tilts_deg: np.ndarray
    shifts: np.ndarray
    old_shifts: np.ndarray
    axis_deg: float


@lru_cache(maxsize=1)
def recorded_needle() -> Needle:
    """Read the needle once, silently: nbgrader gives no points to a cell that writes to stderr, as downloads do."""
    with redirect_stderr(io.StringIO()):
        return needle()


def needle_case(rng: np.random.Generator) -> NeedleCase:
    """Return every second image of the raw needle, (38 or 39, 128, 96), binned twofold, with drift and jumps added."""
    series = recorded_needle()
    every_second = slice(int(rng.integers(2)), None, 2)
    images, tilts, key = (a[every_second] for a in (series.images, series.tilts_deg, series.shifts))
    drift = np.cumsum(rng.standard_normal(key.shape), axis=0)
    added = drift - drift.mean(axis=0) + rng.uniform(-4, 4, key.shape)
    added *= 9 / np.abs(added).max()
    moved = Alignment(tilts, added, 0.0, 0.0, tilts).apply(images, binning=BINNING)
    first = int(rng.integers(12, moved.shape[2] - COLUMNS))
    moved = moved[:, :, first : first + COLUMNS]
    # the axis is slanted: seen from the middle of this part, it stands higher or lower
    off_centre = first + (COLUMNS - 1) / 2 - (images.shape[2] / BINNING - 1) / 2
    phi = np.deg2rad(series.tilt_axis_deg)
    height = (series.tilt_axis_offset - 0.5) / BINNING + off_centre * np.sin(phi)
    lowered = turned(np.array([-height, 0.0]), phi)
    upside_down = [-1, 1] if rng.random() < 0.5 else [1, 1]
    return NeedleCase(
        np.ascontiguousarray(moved[:, :: upside_down[0]]),
        tilts,
        ((key - added) / BINNING + lowered) * upside_down,
        (key / BINNING + lowered) * upside_down,
        series.tilt_axis_deg * upside_down[0],
    )
