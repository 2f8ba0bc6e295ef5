"""Judge, before hours are spent and without a ground truth, whether a series can be what it is taken for.

The correlation of half sets praises wrong volumes, because both halves make the same mistake. What does tell:

* **The mass** of all images (`etlab.pipeline.mass`), and its centre, which runs on a sinusoid about the tilt axis.
* **The direction** along which all images share their sums (`etlab.alignment.direction`): that of the tilt axis.
* **Neighbours** in tilt, which look alike and lie in the same place (`etlab.pipeline.neighbours`).

Pixels and images that hold nothing of the specimen are found first, and have no part in what follows. A scale of the
angles that is wrong is not seen: stretched angles explain the images of a few pixels nearly as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from skimage.measure import block_reduce

from etlab.alignment.direction import SIZE, Direction, direction_seen
from etlab.alignment.outliers import despiked, limits_of
from etlab.pipeline.mass import FilmLaw, Mass, film_law, mass_of
from etlab.pipeline.neighbours import Neighbours, compare_neighbours
from etlab.pipeline.prepare import BLOCK, Prepared, Source, sample

AT_LEAST = 5  # tilts, and pixels along each side, below which nothing is judged
ALIKE = 0.2  # correlation of neighbours below which noise hides what they have in common
ACROSS = 70.0  # degrees beyond which the other axis is meant, and not one that leans
REORDERED = (
    0.95  # of neighbours' disagreement in tilt: if that in the file is less, the angles are in another order
)
JITTER = 0.3  # pixels of the small images by which a neighbour may be off
CLEAR, NOISY_JITTER = 0.3, 1.0  # disagreement of neighbours beyond which noise moves them, and how far
SWELLING = 0.015  # change of the magnification that noise feigns at most
SCATTER = 0.05  # of the mass, from image to image
SPREAD = 0.15  # of the mass, over all tilts
UNEVEN = 0.05  # median distance from the law of a film that is due to a few objects in it
BACKGROUND = 0.25  # of a film's brightness that may be left of a background
OFFSET = 0.03  # of the rows that the tilt axis may lie off the middle
TOO_MUCH = 0.15  # of the mass that may lack in the border for a background that is too large
CENTRED = 0.02  # standard deviations from 0: no mean of line integrals is that near
STANDS_OUT = 0.2  # standard deviations that a specimen is brighter or darker than the border
SURE = 5.0  # standard deviations
NAMED = 3  # images that are named one by one


class Sound:
    """A series whose outliers are replaced as it is read, and counted."""

    def __init__(self, series: Source, limits: tuple[float, float]) -> None:
        self.series, self.limits, self.n_outliers = series, limits, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.series, name)

    def read(self, x0: int, x1: int) -> np.ndarray:
        """Return columns x0 … x1 − 1 with outliers replaced, (n_tilts, n_rows, x1 − x0) float32."""
        images, places = despiked(self.series.read(x0, x1), self.limits)
        self.n_outliers += len(places)
        return images


@dataclass(frozen=True, eq=False)
class Verdict:
    """What was measured of a series, and what is suspicious about it, the likeliest cause first.

    Parameters
    ----------
    mass
        Brightness of the images.
    direction
        Where the tilt axis is seen, relative to the given one.
    neighbours
        How images differ from the next in tilt.
    reordered
        Disagreement of neighbours in the order of the file, relative to that in tilt; 1 if it is the same order.
    axis_offset
        Height of the tilt axis above the middle in pixels and its standard deviation; NaN for a film.
    suspicions
        A sentence each.

    Examples
    --------
    See `judge`, which returns one.

    >>> [one for one in Verdict.__dataclass_fields__ if one.startswith("n")]
    ['neighbours']
    """

    mass: Mass
    direction: Direction
    neighbours: Neighbours
    reordered: float
    axis_offset: tuple[float, float]
    suspicions: tuple[str, ...]

    def in_words(self) -> str:
        """Say in one line what is suspicious, or what supports the series."""
        if self.suspicions:
            return f"suspicious: {self.suspicions[0]}"
        law = "the same at all tilts" if self.mass.within else "that of a film, 1/cos θ,"
        aligned = f"neighbouring images aligned to {self.neighbours.jitter:.1f} pixels"
        summary = f"mass {law} to {100 * self.mass.spread:.1f} %, {aligned}"
        return f"verdict: nothing suspicious: {summary}"

    def numbers(self) -> dict:
        """Return the measurements as JSON can hold them."""
        measured = {
            "spread of the mass": self.mass.spread,
            "scatter of the mass": self.mass.scatter,
            "direction of the tilt axis [degrees]": self.direction.degrees,
            "change of the sums there, relative to the given direction": self.direction.to_expected,
            "jitter [pixels]": self.neighbours.jitter,
            "change of magnification": self.neighbours.swelling,
            "height of the axis [pixels]": self.axis_offset[0],
            "its standard deviation": self.axis_offset[1],
        }
        finite = {name: float(value) if math.isfinite(value) else None for name, value in measured.items()}
        return {"suspicious": list(self.suspicions), **finite}


def judge(images: Prepared) -> Verdict | None:
    """Judge whether a series can be what it is taken for, from images reduced to 96 pixels.

    Parameters
    ----------
    images
        The series as it would be reconstructed.

    Returns
    -------
    Verdict or None
        None if there are fewer than five tilts or pixels along a side.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from etlab import Projector, TiltGeometry, linear_tilts, open_series, write_mrc
    >>> tilts, x = linear_tilts(60, 5), np.zeros((32, 32, 32), np.float32)
    >>> x[10:20, 12:19, 9:22] = 1
    >>> path = Path(tempfile.mkdtemp(), "series.mrc")
    >>> write_mrc(path, 7 - Projector(TiltGeometry(tilts, x.shape))(x), voxel_nm=2)
    >>> print(judge(Prepared(open_series(path, tilts=tilts))).in_words()[:51])
    suspicious: the specimen is darker than what surrou
    """
    sound = None
    if images.outliers is None:
        sound = Sound(images.series, limits_of(sample(images.series)))
        images = replace(images, series=sound)
    small, factor = reduce_images(images)
    empty = np.ptp(small, axis=(1, 2)) == 0
    if min(*small.shape[1:], np.sum(~empty)) < AT_LEAST:
        return None
    small, tilts_deg = small[~empty], np.asarray(images.tilts_deg, float)[~empty]
    mass, near = mass_of(small, tilts_deg), compare_neighbours(small, tilts_deg)
    offset = axis_offset(small, tilts_deg) if mass.within else (math.nan, math.nan)
    found = Verdict(
        mass,
        direction_seen(small, tilts_deg),
        replace(near, jitter=near.jitter * factor),
        unlike_in_file_order(small, tilts_deg, near),
        (offset[0] * factor, offset[1] * factor),
        (),
    )
    sentences = suspicions(found, images, near.jitter, small.shape[1] * factor)
    sentences += [of_empty(np.flatnonzero(empty)), of_outliers(sound.n_outliers if sound else 0)]
    return replace(found, suspicions=tuple(one for one in sentences if one))


def suspicions(found: Verdict, images: Prepared, jitter: float, n_rows: int) -> list[str | None]:
    """Return what is suspicious, a sentence each, the likeliest cause first; None where there is nothing."""
    sentences = [
        of_angles(found.mass.tilts_deg),
        of_sign(found.mass, images),
        of_order(found),
        of_odd(found.mass),
        of_scale(found.mass),
        of_axis(found, images),
        of_neighbours(found, jitter),
    ]
    offset, std = found.axis_offset
    if not any(sentences) and abs(offset) > max(OFFSET * n_rows, SURE * std):
        sentences.append(
            f"the tilt axis seems to lie {abs(offset):.1f} pixels {'above' if offset > 0 else 'below'} the middle; "
            f"use --axis-offset {offset:.1f}"
        )
    return sentences


def of_empty(empty: np.ndarray) -> str | None:
    """Say that images are empty, if any are."""
    if not len(empty):
        return None
    named = ", ".join(str(number) for number in empty[:NAMED])
    more = f" and {len(empty) - NAMED} more" if len(empty) > NAMED else ""
    many = "image" if len(empty) == 1 else "images"
    return f"of one value throughout, empty: {many} {named}{more}; leave them out, and their angles"


def of_outliers(n_outliers: int) -> str | None:
    """Say that pixels stand out, if they do."""
    if not n_outliers:
        return None
    return "some pixels are far brighter or darker than the rest, and will draw streaks; use --despike"


def of_angles(tilts_deg: np.ndarray) -> str | None:
    """Say that the angles seem to be scaled wrongly, if they do."""
    if np.ptp(tilts_deg) == 0:
        return f"all tilt angles are {tilts_deg[0]:g}°; see --tilts"
    if np.abs(tilts_deg).max() < np.pi / 2:
        return "all tilt angles are below 1.6°, as if they were in radians; pass degrees (--tilts)"
    return None


def of_sign(mass: Mass, images: Prepared) -> str | None:
    """Say that the images seem to be negated, if they do."""
    remedy = (
        "leave out --bright-field" if images.bright_field else "use --bright-field, or the negative images"
    )
    if abs(np.median(mass.means)) < CENTRED * np.median(mass.deviations):
        return "the images have a mean of 0, as if the mean of each had been subtracted; use them as they were recorded"
    if np.median(mass.means) <= 0:
        return f"the specimen is darker than vacuum, as if the images were negated; {remedy}"
    steady = np.ptp(np.percentile(mass.rows, (10, 90))) < 0.1 * abs(np.median(mass.rows))
    if steady and mass.above < -STANDS_OUT:
        return f"the specimen is darker than what surrounds it, as if the images were negated; {remedy}"
    law, level = film_law(mass.means, mass.tilts_deg), abs(float(np.median(mass.means)))
    falls = law.film < 0 and np.ptp(law.curve) > max(0.1, 5 * law.misfit) * level
    if not mass.bounded and falls:
        return f"the images grow darker with the tilt where a film grows brighter, as if they were negated; {remedy}"
    return None


def of_odd(mass: Mass) -> str | None:
    """Say that single images are much brighter or darker than those beside them, if they are."""
    if not len(mass.odd):
        return None
    named = ", ".join(f"{mass.tilts_deg[n]:g}°" for n in mass.odd[:NAMED])
    return f"the image at {named} is scaled wrongly: much brighter or darker than those beside it in tilt"


def of_axis(found: Verdict, images: Prepared) -> str | None:
    """Say that the tilt axis seems to lie in another direction, if it does."""
    if not found.direction.differs:
        return None
    degrees = found.direction.degrees
    if abs(degrees) > ACROSS:
        axis = "y" if getattr(images.series, "axis", "x") == "x" else "x"
        return (
            "the tilt axis seems to be the wrong one, or the images transposed: what all images share lies along the "
            f"other axis; use --axis {axis}"
        )
    return (
        f"the tilt axis seems to be turned by about {degrees:.0f}°: what all images share lies in that direction; "
        f"use --tilt-axis {degrees:.0f}, or `etlab align`"
    )


def of_order(found: Verdict) -> str | None:
    """Say that the angles seem to belong to other images, if they do."""
    if found.reordered > REORDERED:
        return None
    return (
        "the tilt angles seem to belong to other images: in the order of the file neighbours are more alike than in "
        "the order of their tilts; see --tilts"
    )


def of_neighbours(found: Verdict, jitter: float) -> str | None:
    """Say that neighbours in tilt lie elsewhere or are magnified otherwise, if they are."""
    near = found.neighbours
    if near.unlike > 1 - ALIKE:
        return None
    if near.unlike < CLEAR and near.swelling > max(SWELLING, jitter / (SIZE / 4)):
        return (
            f"the magnification changes by {100 * near.swelling:.1f} % from one image to the next; scale the images to "
            "the same size of a pixel"
        )
    if jitter > (JITTER if near.unlike < CLEAR else NOISY_JITTER):
        return (
            f"the images are not aligned, neighbours are {near.jitter:.1f} pixels apart; use `etlab align`, or check "
            "that the angles are in the order of the images (--tilts)"
        )
    return None


def of_scale(mass: Mass) -> str | None:
    """Say that images seem to be scaled wrongly, or a background left, if they do."""
    if mass.bounded and np.median(mass.rows / mass.means) < -TOO_MUCH:
        return "vacuum around the specimen is below 0: too much background was subtracted; see --background"
    if mass.scatter > SCATTER:
        return (
            f"the images are scaled differently: their mass jumps by {100 * mass.scatter:.0f} % from one to the next; "
            "scale them to one exposure, or to one magnification"
        )
    if not mass.bounded and no_film(mass):
        if mass.above > STANDS_OUT:
            return (
                f"a background of about {mass.law.background:.3g} seems to be left around the specimen, the same at "
                "all tilts; see --background"
            )
        return (
            "a film's brightness should grow with the tilt as 1/cos θ, and that of these images does not: they were "
            "scaled one by one, vacuum is not 0 (--background), or the tilt angles are scaled (--tilts)"
        )
    if mass.spread > (SPREAD if mass.within else 2 * SPREAD):
        low, high = np.percentile(mass.levelled, (5, 95))
        what = "should be the same at all tilts" if mass.within else "should grow with the tilt as 1/cos θ"
        return (
            f"the images are scaled differently: their mass {what}, and is {low:.2f} to {high:.2f} of that; look for "
            "exposures not divided by, a background, or a shadow at high tilt"
        )
    return None


def no_film(mass: Mass) -> bool:
    """Return whether neither the border rows nor, if these are uneven, the whole images brighten as a film's do."""

    def violates(law: FilmLaw, allowed: float) -> bool:
        return law.film <= 0 or abs(law.background) > allowed * (law.film + law.background)

    if mass.law.misfit < UNEVEN:
        return violates(mass.law, BACKGROUND + SURE * mass.law.misfit)
    law = film_law(mass.means, mass.tilts_deg)
    return law.misfit < UNEVEN and violates(law, 2 * BACKGROUND + SURE * law.misfit)


def reduce_images(images: Prepared) -> tuple[np.ndarray, int]:
    """Return the aligned images averaged over blocks, to at most 96 pixels a side, and the edge of a block."""
    n_tilts, n_rows, nx = images.shape
    factor = math.ceil(max(n_rows, nx) / SIZE)
    rows, columns = n_rows // factor, nx // factor
    above, beside = (n_rows - rows * factor) // 2, (nx - columns * factor) // 2
    small = np.empty((n_tilts, rows, columns), np.float32)
    at_once = max(1, BLOCK // factor)
    for x in range(0, columns, at_once):
        stop = min(x + at_once, columns)
        block = images.read(beside + x * factor, beside + stop * factor)[:, above : above + rows * factor]
        small[:, :, x:stop] = block_reduce(block, (1, factor, factor), np.mean)
    return small, factor


def unlike_in_file_order(images: np.ndarray, tilts_deg: np.ndarray, near: Neighbours) -> float:
    """Return how unlike neighbours in the order of the file are, relative to those in tilt, ``near``."""
    in_order = np.sort(tilts_deg)
    if (in_order == tilts_deg).all() or (in_order == tilts_deg[::-1]).all():
        return 1.0
    return compare_neighbours(images, in_order).unlike / max(near.unlike, 1e-9)


def axis_offset(images: np.ndarray, tilts_deg: np.ndarray) -> tuple[float, float]:
    """Return the height of the tilt axis above the middle and its standard deviation, in rows, from centres of mass."""
    rows = np.arange(images.shape[1]) - (images.shape[1] - 1) / 2
    profiles = images.sum(axis=2, dtype=np.float64)
    centres = profiles @ rows / profiles.sum(axis=1)
    theta = np.deg2rad(tilts_deg)
    design = np.stack([np.ones_like(theta), np.cos(theta), np.sin(theta)], axis=1)
    fitted, *_ = np.linalg.lstsq(design, centres, rcond=None)
    left = centres - design @ fitted
    variance = left @ left / max(len(left) - 3, 1) * np.linalg.pinv(design.T @ design)[0, 0]
    return float(fitted[0]), float(np.sqrt(variance))
