"""How the brightness of the images must change as the specimen tilts, and whether it does.

Of a specimen that lies within the field, every image holds the whole mass: the mean is the same at all tilts. Of a film
that reaches beyond the field, an image at tilt θ holds a path that is longer by 1/cos θ, and so much more mass. What is
left of a background adds a constant, images in bright field that are no logarithms fall where these grow, and images
that were scaled one by one follow neither law, or jump from one to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

BORDER = 1 / 16  # of the field, on either side, that tells whether the specimen lies within it
VACUUM = 0.3  # of the mean: a border darker than this is vacuum
STEEP = 2 / 3  # of the tilts are lower: a film of finite width shrinks into the field at the others
LEANS = np.arange(-12.0, 13.0, 2.0)  # degrees by which a film may lie askew in its holder
GROWS = 0.2  # standard deviations within an image by which the mean of a film changes over the tilts
STEADY = 0.3  # of the mean above vacuum, within which the means of a specimen on vacuum stay
FEWEST = 5  # images from which a law can be told
ODD = 0.3  # of its neighbours' mass: an image that differs by more is named


class FilmLaw(NamedTuple):
    """``background`` + ``film`` / cos(θ − lean), and how far the values lie from it, relative to their median."""

    background: float
    film: float
    curve: np.ndarray
    misfit: float


def film_law(values: np.ndarray, tilts_deg: np.ndarray) -> FilmLaw:
    """Fit the law of a film to one value per image: a film that lies straight, unless leaning explains more."""
    best, *others = (
        _fit(values, tilts_deg - lean) for lean in LEANS[np.argsort(np.abs(LEANS), kind="stable")]
    )
    for law in others:
        if law.misfit < 0.7 * best.misfit:
            best = law
    return best


def _fit(values: np.ndarray, tilts_deg: np.ndarray) -> FilmLaw:
    """Fit a film that lies straight; twice, the second time without outliers."""
    growth = 1 / np.maximum(np.cos(np.deg2rad(tilts_deg)), 0.05)
    design = np.stack([np.ones_like(growth), growth], axis=1)
    kept = np.ones(len(values), bool)
    for _ in range(2):
        fitted = np.linalg.lstsq(design[kept], values[kept], rcond=None)[0]
        off = np.abs(values - design @ fitted)
        kept = off <= max(4 * np.median(off), 1e-12 * np.abs(values).max())
    misfit = float(np.median(off) / max(abs(np.median(values)), 1e-30))
    return FilmLaw(float(fitted[0]), float(fitted[1]), design @ fitted, misfit)


def contrast_of(
    means: np.ndarray, tilts_deg: np.ndarray, vacuum: float, deviation: float
) -> tuple[str, str] | None:
    """Return what the specimen is, "bright" or "dark", and what surrounds it, "film" or "vacuum"; None if unclear.

    By how the raw ``means`` of the images change with the tilt: a film's as 1/cos θ, up or down, those of a specimen on
    vacuum, of intensity ``vacuum``, hardly. ``deviation`` is the standard deviation within an image.
    """
    known = np.isfinite(means)
    means, tilts_deg = means[known], np.asarray(tilts_deg)[known]
    if len(means) < FEWEST:
        return None
    law = film_law(means, tilts_deg)
    growth, above = float(np.ptp(law.curve)), float(np.median(means - vacuum))
    if growth > max(GROWS * deviation, 5 * law.misfit * abs(float(np.median(means)))):
        return ("bright" if law.film > 0 else "dark"), "film"
    if np.ptp(np.percentile(means, (10, 90))) < STEADY * abs(above):
        return ("bright" if above > 0 else "dark"), "vacuum"
    return None


@dataclass(frozen=True, eq=False)
class Mass:
    """Mean and standard deviation of each image, and the means of its border rows and columns, all (n_tilts,)."""

    tilts_deg: np.ndarray
    means: np.ndarray
    deviations: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    @property
    def within(self) -> bool:
        """Whether the first and last rows see vacuum at high tilt."""
        return self._border(self.rows) < VACUUM

    @property
    def bounded(self) -> bool:
        """Whether two opposite borders see vacuum at high tilt: all images then hold the same mass."""
        return self.within or self._border(self.columns) < VACUUM

    def _border(self, values: np.ndarray) -> float:
        steep = np.abs(self.tilts_deg) >= np.quantile(np.abs(self.tilts_deg), STEEP)
        return float(np.median(values[steep] / self.means[steep]))

    @property
    def above(self) -> float:
        """How much brighter than the border rows an image is, in standard deviations of its pixels."""
        return float(np.median((self.means - self.rows) / np.maximum(self.deviations, 1e-30)))

    @property
    def law(self) -> FilmLaw:
        """The law of a film, fitted to the border rows."""
        return film_law(self.rows, self.tilts_deg)

    @property
    def levelled(self) -> np.ndarray:
        """Means divided by what they should be, 1 in the middle: constant, or the law of a film."""
        level = self.means
        if not self.within and (fitted := film_law(self.means, self.tilts_deg)).film > 0:
            level = self.means / fitted.curve
        return level / np.median(level)

    @property
    def spread(self) -> float:
        """How far the means, without the most extreme, depart from what they should be, as a share."""
        return float(np.ptp(np.percentile(self.levelled, (5, 95))) / 2)

    @property
    def scatter(self) -> float:
        """How far an image departs from the mean of the two beside it in tilt, as a share; robust."""
        level = self.levelled[np.argsort(self.tilts_deg, kind="stable")]
        steps = level[1:-1] - (level[:-2] + level[2:]) / 2
        return float(1.2 * np.median(np.abs(steps)))  # of normal values their standard deviation

    @property
    def odd(self) -> np.ndarray:
        """Images much brighter or darker than those beside them in tilt."""
        order = np.argsort(self.tilts_deg, kind="stable")
        level = self.levelled[order]
        beside = np.array([np.median(level[max(n - 2, 0) : n + 3]) for n in range(len(level))])
        return np.sort(order[np.abs(level / beside - 1) > max(ODD, 6 * self.scatter)])


def mass_of(images: np.ndarray, tilts_deg: np.ndarray) -> Mass:
    """Measure the mass of images (n_tilts, n_rows, nx) and of their borders."""
    rows, columns = (max(1, round(BORDER * n)) for n in images.shape[1:])
    faces = images[:, np.r_[:rows, -rows:0]], images[:, :, np.r_[:columns, -columns:0]]
    means, *borders = (part.mean(axis=(1, 2), dtype=np.float64) for part in (images, *faces))
    return Mass(np.asarray(tilts_deg, float), means, images.std(axis=(1, 2), dtype=np.float64), *borders)
