"""Whether a prepared series can be what it is taken for, judged before hours are spent and without an answer key.

The correlation of half sets praises wrong volumes, because both halves make the same mistake. What does tell:

* **Neighbours.** An image stretched across the tilt axis by the ratio of the cosines looks like the next one. Along the
  wrong axis it does so less; and where it lies elsewhere than the next one, the series is not aligned.
* **The axis.** The sum of each column is the mass of a slice, and changes little with the tilt; that of each row does.
* **The mass** of all images (`etlab.slabs.mass`), and its centre, which runs on a sinusoid about the tilt axis.
* **The noise**, below which no residual can fall.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from skimage.measure import block_reduce

from etlab.align.alignment import without_gauge
from etlab.align.correlate import best_shift, faded, neighbours, stretched
from etlab.align.moments import sums_change
from etlab.align.refine import AT_LEAST as MATCHING
from etlab.align.refine import half_set_misfit
from etlab.slabs.mass import Mass, film_law, mass_of
from etlab.slabs.prepare import BLOCK, Prepared

SIZE = 64  # pixels along the longer side of the images that are judged
AT_LEAST = 5  # tilts, and pixels along each side, below which nothing is judged
ALIKE = 0.2  # correlation of neighbours below which noise hides what they have in common
TURNED = 0.7  # of the given axis' disagreement: the other axis is the right one
JITTER = 0.3  # pixels of the small images by which a neighbour may be off
CLEAR, NOISY_JITTER = (
    0.3,
    1.0,
)  # disagreement of neighbours from which on noise moves their correlation, and how far
SCATTER = 0.05  # of the mass, from image to image
SPREAD = 0.15  # of the mass, over all tilts
UNEVEN = 0.05  # median distance from the law of a film that is due to a few objects in it
BACKGROUND = 0.25  # of a film's brightness that may be left of a background
OFFSET = 0.03  # of the rows that the tilt axis may lie off the middle
TOO_MUCH = 0.15  # of the mass that may lack in the border for a background that is too large
CENTRED = 0.02  # standard deviations from 0: no mean of line integrals is that near
STANDS_OUT = 0.2  # standard deviations that a specimen is brighter or darker than the border
UNDECIDED = (0.5, 2.0)  # ratios between which the axes are compared by reconstruction, too
N_TILTS = (
    24  # from which they are reconstructed: few, as images close in tilt predict each other about any axis
)
BETTER = 0.9  # of the given axis' misfit
NOISELESS = 1e-4  # of the images: less is that of rounding
SURE = 5.0  # standard deviations


@dataclass(frozen=True, eq=False)
class Verdict:
    """What was measured of a series, and what is suspicious about it, the likeliest cause first.

    Parameters
    ----------
    mass
        Brightness of the images.
    disagreement
        1 − correlation of neighbouring images, stretched across the axis as given and across the other one, and the
        change of the column sums and of the row sums with the tilt; (2, 2).
    other_axis
        How badly images fit about the other axis, relative to the given one; below 1 where the other one is likelier.
    jitter
        How far neighbours lie off each other, in pixels.
    axis_offset
        Height of the tilt axis above the middle in pixels and its standard deviation; NaN for a film.
    noise
        Norm of the noise relative to that of the images.
    suspicions
        A sentence each.
    """

    mass: Mass
    disagreement: np.ndarray
    other_axis: float
    jitter: float
    axis_offset: tuple[float, float]
    noise: float
    suspicions: tuple[str, ...]

    def in_words(self, residual: float | None = None) -> str:
        """Say in one line what is suspicious, or what speaks for the series; with the last residual of a solver."""
        if self.suspicions:
            return f"suspicious: {self.suspicions[0]}"
        law = "the same at all tilts" if self.mass.within else "that of a film, 1/cos θ,"
        said = f"mass {law} to {100 * self.mass.spread:.1f} %, neighbouring images aligned to {self.jitter:.1f} pixels"
        if residual and self.noise > NOISELESS:
            said += f", residual {residual / self.noise:.1f} times the noise"
        return f"verdict: nothing suspicious: {said}"

    def numbers(self) -> dict:
        """Return the same as JSON can hold it."""
        measured = {
            "spread of the mass": self.mass.spread,
            "scatter of the mass": self.mass.scatter,
            "misfit about the other axis": self.other_axis,
            "jitter [pixels]": self.jitter,
            "height of the axis [pixels]": self.axis_offset[0],
            "its standard deviation": self.axis_offset[1],
            "noise": self.noise,
        }
        finite = {name: float(value) if math.isfinite(value) else None for name, value in measured.items()}
        return {"suspicious": list(self.suspicions), **finite}


def judge(images: Prepared) -> Verdict | None:
    """Judge a series as it would be reconstructed; None where it is too small to be judged.

    Reads all columns once and holds images of 64 pixels.
    """
    small, factor = reduced(images)
    if min(small.shape) < AT_LEAST:
        return None
    mass, tilts_deg = mass_of(small, images.tilts_deg), np.asarray(images.tilts_deg, float)
    across = np.ascontiguousarray(small.swapaxes(1, 2))
    (unlike, steps), (unlike_other, _) = (compared(one, tilts_deg) for one in (small, across))
    changes = [sums_change(one) for one in (small, across)]
    disagreement = np.array([[unlike, unlike_other], changes])
    jitter = jitter_of(steps, tilts_deg)
    offset = axis_offset(small, tilts_deg) if mass.within else (math.nan, math.nan)
    found = Verdict(
        mass,
        disagreement,
        other_axis(disagreement, small, tilts_deg),
        jitter * factor,
        (offset[0] * factor, offset[1] * factor),
        noise_in(images),
        (),
    )
    return replace(found, suspicions=tuple(suspicions(found, images, jitter, small.shape[1] * factor)))


def suspicions(found: Verdict, images: Prepared, jitter: float, n_rows: int) -> list[str]:
    """Return what is suspicious, a sentence each, the likeliest cause first."""
    said = [of_angles(found.mass.tilts_deg), of_sign(found.mass, images), of_axis(found, images)]
    unlike = found.disagreement[0].min()
    if jitter > (JITTER if unlike < CLEAR else NOISY_JITTER) and unlike < 1 - ALIKE:
        said.append(
            f"the images are not aligned, neighbours lie {found.jitter:.1f} pixels off each other; use `etlab align`"
        )
    said.append(of_scale(found.mass))
    offset, std = found.axis_offset
    if not any(said) and abs(offset) > max(OFFSET * n_rows, SURE * std):
        said.append(
            f"the tilt axis seems to lie {abs(offset):.1f} pixels {'above' if offset > 0 else 'below'} the middle; "
            f"use --axis-offset {offset:.1f}"
        )
    return [one for one in said if one]


def of_angles(tilts_deg: np.ndarray) -> str | None:
    """Say that the angles seem to be scaled wrongly, if they do."""
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


def of_axis(found: Verdict, images: Prepared) -> str | None:
    """Say that the other axis fits better, if it does."""
    if found.disagreement[0].min() > 1 - ALIKE or found.other_axis > 1:
        return None
    axis = "y" if getattr(images.series, "axis", "x") == "x" else "x"
    return (
        "the tilt axis seems to be the wrong one, or the images transposed: they fit together better about the other "
        f"axis; use --axis {axis}"
    )


def of_scale(mass: Mass) -> str | None:
    """Say that images seem to be scaled wrongly, or a background left, if they do."""
    if mass.bounded and np.median(mass.rows / mass.means) < -TOO_MUCH:
        return "vacuum around the specimen is below 0: too much background was subtracted; see --background"
    if len(mass.odd):
        named = ", ".join(f"{n} (at {mass.tilts_deg[n]:g}°)" for n in mass.odd[:3])
        return f"image {named} is scaled wrongly: much brighter or darker than those beside it in tilt"
    if mass.scatter > SCATTER:
        return (
            f"the images are scaled differently: their mass jumps by {100 * mass.scatter:.0f} % from one to the next; "
            "scale them to one exposure"
        )
    if not mass.bounded and no_film(mass):
        if mass.above > STANDS_OUT:
            return (
                f"a background of about {mass.law.background:.3g} seems to be left around the specimen, the same at "
                "all tilts; see --background"
            )
        return (
            "a film's brightness should grow with the tilt as 1/cos θ, and that of these images does not: they were "
            "scaled one by one, or vacuum is not 0; see --background"
        )
    if mass.spread > (SPREAD if mass.within else 2 * SPREAD):
        low, high = np.percentile(mass.levelled, (5, 95))
        what = "should be the same at all tilts" if mass.within else "should grow with the tilt as 1/cos θ"
        return (
            f"the images are scaled differently: their mass {what}, and is {low:.2f} to {high:.2f} of that; look for "
            "exposures not divided by, a background, or a shadow at high tilt"
        )
    return None


def other_axis(disagreement: np.ndarray, images: np.ndarray, tilts_deg: np.ndarray) -> float:
    """Return how badly images fit about the other axis, relative to the given one, less than 1 for suspicious.

    By neighbours and column sums where these tell; else by the half-set misfit of reconstructions about either axis.
    """
    (given, other), (columns, rows) = np.maximum(disagreement, 1e-9)
    ratio = other / given * np.clip(rows / columns, 0.5, 1.5)
    if not UNDECIDED[0] < ratio < UNDECIDED[1]:
        return float(ratio / TURNED)
    some = np.argsort(tilts_deg, kind="stable")[:: max(1, math.ceil(len(tilts_deg) / N_TILTS))]
    if len(some) < MATCHING or not all(np.ptp(image) > 0 for image in images[some]):
        return float(ratio / TURNED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # outliers are named elsewhere
        about = [
            half_set_misfit(np.ascontiguousarray(one), tilts_deg[some])
            for one in (images[some], images[some].swapaxes(1, 2))
        ]
    return float(about[1] / about[0] / BETTER)


def no_film(mass: Mass) -> bool:
    """Whether neither the border rows nor, where they are uneven, the whole images brighten as a film's."""

    def violates(law, allowed):
        return law.film <= 0 or abs(law.background) > allowed * (law.film + law.background)

    if mass.law.misfit < UNEVEN:
        return violates(mass.law, BACKGROUND + SURE * mass.law.misfit)
    law = film_law(mass.means, mass.tilts_deg)
    return law.misfit < UNEVEN and violates(law, 2 * BACKGROUND + SURE * law.misfit)


def reduced(images: Prepared, size: int = SIZE) -> tuple[np.ndarray, int]:
    """Return the aligned images averaged over blocks, to at most ``size`` pixels a side, and the edge of a block."""
    n_tilts, n_rows, nx = images.shape
    factor = math.ceil(max(n_rows, nx) / size)
    rows, columns = n_rows // factor, nx // factor
    above, beside = (n_rows - rows * factor) // 2, (nx - columns * factor) // 2
    small = np.empty((n_tilts, rows, columns), np.float32)
    at_once = max(1, BLOCK // factor)
    for x in range(0, columns, at_once):
        stop = min(x + at_once, columns)
        block = images.read(beside + x * factor, beside + stop * factor)[:, above : above + rows * factor]
        small[:, :, x:stop] = block_reduce(block, (1, factor, factor), np.mean)
    return small, factor


def compared(images: np.ndarray, tilts_deg: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the median of 1 − correlation of neighbours, stretched and registered, and the shifts of all images."""
    cosines = np.maximum(np.cos(np.deg2rad(tilts_deg)), 0.05)
    shifts, unlike = np.zeros((len(images), 2)), []
    for near, far in neighbours(tilts_deg):
        ratio = cosines[far] / cosines[near]
        moved = stretched(images[far], ratio) if 0.3 < ratio < 3 else images[far]
        step = best_shift(moved, images[near], upsampling=10)
        moved = ndimage.shift(moved, step, order=1, mode="nearest") if step.any() else moved
        one, other = faded(moved), faded(images[near])
        norms = np.linalg.norm(one) * np.linalg.norm(other)
        unlike.append(1 - float(np.vdot(one, other)) / norms if norms > 0 else 1.0)
        shifts[far] = (step + shifts[near]) * [ratio, 1]
    return float(np.mean(unlike)), shifts


def jitter_of(shifts: np.ndarray, tilts_deg: np.ndarray) -> float:
    """Return how far images lie off the two beside them in tilt, in pixels, less what displaces the specimen."""
    left = without_gauge(shifts, tilts_deg, offset=True)[np.argsort(tilts_deg, kind="stable")]
    steps = left[1:-1] - (left[:-2] + left[2:]) / 2
    return float(np.sqrt((steps**2).sum(axis=1).mean() / 1.5))


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


def noise_in(images: Prepared) -> float:
    """Return the norm of the noise relative to that of the images, from columns in the middle.

    Of what a second difference along rows and columns leaves, half lies within 0.6745 standard deviations.
    Source: Immerkær, Comput. Vis. Image Underst. 64 (1996) 300.
    """
    n_rows, nx = images.shape[1:]
    some = images.read(max(0, nx // 2 - BLOCK // 2), min(nx, nx // 2 + BLOCK // 2))
    if min(n_rows, some.shape[2]) < AT_LEAST:
        return 0.0
    left = np.diff(np.diff(some, n=2, axis=1), n=2, axis=2) / 6
    norm = float(np.linalg.norm(some))
    return float(np.median(np.abs(left)) / 0.6745 * np.sqrt(some.size) / norm) if norm else 0.0
