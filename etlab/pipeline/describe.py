"""Describe a file of images in words, and say what is suspicious about it before hours are spent on it."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from etlab.alignment.direction import folded
from etlab.alignment.outliers import Search, outliers_in_words
from etlab.io import open_series, open_stack
from etlab.io.angles import NoTiltsError, source_in_words
from etlab.io.series import SeriesFile
from etlab.io.stack import Stack
from etlab.io.statistics import Statistics
from etlab.pipeline.mass import contrast_of, film_law
from etlab.pipeline.vacuum import COUNTED, EDGE, block_means, mean_of_empty, most_frequent

if TYPE_CHECKING:
    from etlab.pipeline.prepare import Source

SAMPLE = 10**6  # values from which the most frequent one is estimated
LARGE = 0.1  # standard deviations that the most frequent value may be away from 0
SATURATED = 0.002  # share of the largest value from which on it is called a limit of the detector
LEFT = 0.25  # of a film's brightness that may be left of a background before it is noted
OTHERWISE = 0.5  # how much, as a share, an image's mean may differ from that of the others
UPRIGHT = 0.5  # degrees by which an axis may lean and need no note
UNKNOWN_PIXEL_NM = 0.1  # 1 Å, which much software writes for want of something better
NAMED = 5  # images that are named one by one


@dataclass(frozen=True, eq=False)
class Description:
    """A file's header, its angles (None: no tilt series) and their source, and statistics of its values.

    ``most_frequent`` is estimated from a sample; ``notes`` are sentences on what is suspicious. ``recorded_axis`` is
    the recorded direction of the tilt axis, in words. ``outliers`` are the (section, row,
    column) of values that cannot belong to the specimen, (n, 3), see `etlab.alignment.outliers`.
    """

    stack: Stack
    tilts_deg: np.ndarray | None
    tilts_from: str | None
    statistics: Statistics
    most_frequent: float
    notes: tuple[str, ...]
    recorded_axis: str | None = None
    outliers: np.ndarray | None = None

    def __str__(self) -> str:
        """Return all lines."""
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Return the path, a line for each fact, and one for each note."""
        n, rows, columns = self.stack.shape
        sections = "planes" if self.tilts_deg is None else "images"
        pixel_nm, values = self.stack.pixel_nm, self.statistics
        facts = {
            "shape": f"{n} {sections} of {rows} rows × {columns} columns",
            "type": f"{self.stack.dtype.name}, {n * rows * columns * self.stack.dtype.itemsize / 1e6:.1f} MB",
            "pixel": f"{pixel_nm:.6g} nm" if pixel_nm else "not recorded",
            "tilts": "none: a volume, or the angles are elsewhere",
            "values": f"{values.min:.6g} to {values.max:.6g}, mean {values.mean:.6g} ± {values.std:.6g}, "
            f"most frequent {self.most_frequent:.6g}",
        }
        if self.tilts_deg is not None and self.tilts_from is not None:
            source = source_in_words(self.tilts_deg, self.tilts_from)
            facts["tilts"] = f"{_tilts_in_words(self.tilts_deg)}; {source}"
        if self.recorded_axis:
            facts["axis"] = self.recorded_axis
        lines = [f"{name:8s}{text}" for name, text in facts.items()]
        return [str(self.stack.path), *lines, *(f"note:   {note}" for note in self.notes)]


def describe(
    path: str | os.PathLike,
    *,
    tilts: str | os.PathLike | None = None,
    dataset: str | None = None,
    known: Collection[str] = (),
) -> Description:
    """Describe a series or a volume, reading a few sections at a time; arguments as of `open_series`.

    Angles that cannot be read or do not fit become a note, so that the rest is still reported. ``known`` lists what the
    user has given, which needs no note: "pixel", "vacuum", "outliers".

    Raises FileNotFoundError or ValueError if the file itself cannot be read.
    """
    stack = open_stack(path, dataset=dataset)
    notes: list[str] = []
    tilts_deg = tilts_from = axis = None
    try:
        series = open_series(path, tilts=tilts, dataset=dataset)
        stack, tilts_deg, tilts_from = series.stack, series.tilts_deg, series.tilts_from
        notes += series.notes
        axis = recorded_axis(series)
    except NoTiltsError:
        notes += stack.notes
    except (OSError, ValueError) as error:
        notes.append(str(error))
    values = _read_once(stack, notes)
    notes += _notes_on_header(stack, known)
    if tilts_deg is not None:
        notes += _notes_on_tilts(tilts_deg) + _notes_on_values(values, tilts_deg, known)
    about = (values.statistics, values.usual, tuple(notes), axis, values.outliers[0])
    return Description(stack, tilts_deg, tilts_from, *about)


def order_of(tilts_deg: np.ndarray) -> str:
    """Name the order of the angles."""
    steps = np.diff(tilts_deg)
    if (steps > 0).all():
        return "ascending"
    if (steps < 0).all():
        return "descending"
    if (np.diff(np.abs(tilts_deg - tilts_deg[0])) > -np.abs(steps).min() / 2).all():
        return "dose-symmetric"
    turns = np.flatnonzero(np.diff(np.sign(steps)))
    if len(turns) == 1 and np.sign(tilts_deg[-1] - tilts_deg[0]) == np.sign(steps[-1]):
        return "bidirectional"
    return "in no simple order"


def _tilts_in_words(tilts_deg: np.ndarray) -> str:
    low, high = tilts_deg.min(), tilts_deg.max()
    steps = np.diff(np.sort(tilts_deg))
    if len(steps) == 0:
        return f"{low:g}°"
    even = np.ptp(steps) < 0.05 * steps.mean()
    step = f"step {np.median(steps):.3g}°" if even else f"steps {steps.min():.3g}° to {steps.max():.3g}°"
    return (
        f"{low:g}° to {high:g}°, {step}, {order_of(tilts_deg)}, missing wedge {max(0, 180 - high + low):g}°"
    )


@dataclass(eq=False)
class _Values:
    """The result of one pass over the sections: statistics, a sample, and means of blocks and sections."""

    statistics: Statistics = field(default_factory=Statistics)
    samples: list[np.ndarray] = field(default_factory=list)
    blocks: list[np.ndarray] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    deviations: list[float] = field(default_factory=list)
    search: Search = field(default_factory=Search)

    def add(self, section: np.ndarray, every: int) -> None:
        """Add a section; one value in ``every`` becomes part of the sample."""
        values = section[np.isfinite(section)]
        number = len(self.means)
        self.means.append(values.mean(dtype=np.float64) if values.size else np.nan)
        self.deviations.append(values.std(dtype=np.float64) if values.size else np.nan)
        if values.size:
            self.statistics.add(values)
            self.samples.append(values[number % every :: every].copy())  # a view would keep all of them
        if values.size == section.size and min(section.shape) >= EDGE:
            self.blocks.append(block_means(section[None].astype(np.float32)).ravel())
            self.search.add(section, number, every)

    @cached_property
    def sample(self) -> np.ndarray:
        return np.concatenate(self.samples).astype(np.float64)

    @cached_property
    def usual(self) -> float:
        return most_frequent(self.sample)

    @cached_property
    def vacuum(self) -> float:
        """The most frequent value or, of counts, the mean of empty regions."""
        counted = self.blocks and np.mean(self.sample == self.usual) > COUNTED
        return mean_of_empty(np.concatenate(self.blocks)) if counted else self.usual

    @cached_property
    def outliers(self) -> tuple[np.ndarray, np.ndarray]:
        """Places (n, 3) and values of outliers."""
        return self.search.found()


def _read_once(stack: Stack, notes: list[str]) -> _Values:
    """Read all sections, and note those that are empty or not finite."""
    found, constant, n_bad = _Values(), [], 0
    every = max(1, int(np.prod(stack.shape, dtype=float) // SAMPLE))
    for block in stack.blocks():
        for section in block:
            finite = np.isfinite(section)
            n_bad += section.size - np.count_nonzero(finite)
            if finite.any() and np.ptp(section[finite]) == 0:
                constant.append(len(found.means))
            found.add(section, every)
    if n_bad:
        notes.append(f"{n_bad} values are NaN or infinite; nothing can be reconstructed from them")
    if found.statistics.count == 0:
        raise ValueError(f"{stack.path}: all values are NaN or infinite")
    if constant:
        notes.append(f"{_sections(constant)} of one value throughout: empty")
    return found


def recorded_axis(series: SeriesFile) -> str | None:
    """Say which direction of the tilt axis is recorded, and the options for it; None if none is."""
    degrees = series.recorded_axis_deg
    if degrees is None:
        return None
    axis, lean = axis_of(degrees)
    return (
        f"{abs(degrees):.1f}° from the vertical, recorded in {series.recorded_axis_from}: --axis {axis}, and "
        f"--tilt-axis {lean:.1f} unless the images are aligned"
    )


def axis_of(degrees: float) -> tuple[str, float]:
    """Return the axis, "x" or "y", and the lean from it as --tilt-axis counts, of a direction as SerialEM counts it."""
    if abs(degrees) < 45:
        return "y", -degrees
    return "x", degrees - 90 if degrees > 0 else degrees + 90


def lean_of(series: Source) -> float | None:
    """Return how far the recorded tilt axis leans from the one in use, as --tilt-axis counts; None without a record."""
    degrees = series.recorded_axis_deg
    return None if degrees is None else float(folded(degrees - 90 if series.axis == "x" else -degrees))


def note_on_axis(series: SeriesFile) -> str | None:
    """Say that the axis in use contradicts what the file records, or leans from it; None if neither."""
    degrees = series.recorded_axis_deg
    if degrees is None:
        return None
    right, lean = axis_of(degrees)
    if right == series.axis:
        return f"the tilt axis lies {recorded_axis(series)}" if abs(lean) > UPRIGHT else None
    way = "vertical" if right == "y" else "horizontal"
    return (
        f"{series.recorded_axis_from} records a {way} tilt axis, {abs(degrees):.1f}° from the vertical, but --axis "
        f"{series.axis} is used; if the images were not turned since, use --axis {right}"
    )


def note_on_pixel(pixel_nm: float | None) -> str | None:
    """Say what is suspicious about the recorded size of a pixel; None if nothing is."""
    if pixel_nm is None:
        return "no size of a pixel is recorded; pass --pixel-nm"
    if np.isclose(pixel_nm, UNKNOWN_PIXEL_NM, rtol=1e-6):
        return "a pixel of exactly 1 Å is what much software writes if the size is unknown; see --pixel-nm"
    return None


def _notes_on_header(stack: Stack, known: Collection[str]) -> list[str]:
    notes = []
    if "pixel" not in known and (note := note_on_pixel(stack.pixel_nm)):
        notes.append(note)
    if stack.dtype.itemsize == 1:
        notes.append(f"{stack.dtype.name}: 256 grey values; if it was converted, use the original")
    if stack.dtype == np.int8:
        notes.append("bytes are taken to be signed; if they are not, bright and dark are in the wrong order")
    return notes


def _notes_on_tilts(tilts_deg: np.ndarray) -> list[str]:
    notes = []
    in_order = np.sort(tilts_deg)
    steps = np.diff(in_order)
    if len(steps) > 2 and 0 < np.abs(tilts_deg).max() < np.pi / 2:
        notes.append("all angles are below 1.6: are they in radians?")
    if np.abs(tilts_deg).max() > 90:
        notes.append("some angles are beyond 90°, where the specimen is seen from behind")
    if (steps < 1e-3).any():
        notes.append(f"{_degrees(in_order[:-1][steps < 1e-3])} there more than once")
    for n, step in enumerate(steps):
        beside = steps[max(0, n - 1) : n + 2]
        if len(beside) > 1 and step > 1.6 * np.sort(beside)[-2] > 0:
            notes.append(f"a gap of {step:.3g}° after {in_order[n]:g}°: is an image missing?")
    return notes


def _notes_on_values(values: _Values, tilts_deg: np.ndarray, known: Collection[str]) -> list[str]:
    notes, statistics, (places, spikes) = [], values.statistics, values.outliers
    means = np.array(values.means)
    np.subtract.at(means, places[:, 0], (spikes - values.usual) * len(means) / statistics.count)
    deviation = float(np.nanmedian(values.deviations))
    seen = contrast_of(means, tilts_deg, values.vacuum, deviation)
    if "vacuum" not in known and (note := _note_on_vacuum(values, tilts_deg, seen)):
        notes.append(note)
    share = np.mean(values.sample == statistics.max)
    if (
        share > SATURATED
        and statistics.std > 0
        and statistics.max > max(values.usual, spikes.max(initial=-np.inf))
    ):
        notes.append(f"{100 * share:.2g} % of the values are the largest, {statistics.max:g}: saturated")
    if len(places) and "outliers" not in known:
        notes.append(f"{outliers_in_words(places, list(spikes))}; --despike replaces them")
    if len(odd := _odd(means, tilts_deg, values.vacuum, seen)):
        notes.append(f"{_sections(odd)} much brighter or darker than the others")
    return notes


def _note_on_vacuum(values: _Values, tilts_deg: np.ndarray, seen: tuple[str, str] | None) -> str | None:
    """Say what to do about an intensity of vacuum that is not 0, as far as the images tell."""
    vacuum = values.vacuum
    if abs(vacuum) <= LARGE * values.statistics.std:
        return None
    what = "most frequent value" if vacuum == values.usual else "mean of what is empty"
    remedies = {"bright": "subtract it (--background mode)"}
    remedies["dark"] = "take the logarithm of what is lost (--bright-field)"
    if seen and seen[1] == "vacuum":
        return f"the {what} is {vacuum:.6g}, not 0; if that is vacuum, {remedies[seen[0]]}"
    beside = "measure the intensity of vacuum beside the specimen"
    if seen == ("dark", "film"):
        return (
            "the images grow darker with the tilt, as those of a film in bright field; no vacuum is in sight: "
            f"{beside} and use --bright-field --background NUMBER"
        )
    if seen == ("bright", "film"):
        law = film_law(np.array(values.means), tilts_deg)
        if abs(law.background) < LEFT * abs(law.film + law.background):
            return None
        return (
            "the images grow brighter with the tilt, as those of a film; no vacuum is in sight, and without specimen "
            f"they would have about {law.background:.3g}: {beside} and use --background NUMBER"
        )
    return (
        f"the most frequent value is {values.usual:.6g}, not 0, and the images do not tell whether that is vacuum; "
        f"{beside} (--background NUMBER)"
    )


def _odd(means: np.ndarray, tilts_deg: np.ndarray, vacuum: float, seen: tuple[str, str] | None) -> np.ndarray:
    """Return the images whose mean departs from that of the others, or from the law of a film."""
    level = float(np.nanmedian(means - vacuum))
    expected = np.full(len(means), np.nanmedian(means))
    if seen and seen[1] == "film":
        finite = np.isfinite(means)
        law = film_law(means[finite], tilts_deg[finite])
        expected[finite] = law.curve
        level = law.film
    return np.flatnonzero(np.abs(means - expected) > OTHERWISE * abs(level))


def _sections(numbers: Sequence[int] | np.ndarray) -> str:
    named = ", ".join(str(number) for number in numbers[:NAMED])
    more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
    return f"section {named} is" if len(numbers) == 1 else f"sections {named}{more} are"


def _degrees(angles: np.ndarray) -> str:
    named = ", ".join(f"{angle:g}°" for angle in angles[:NAMED])
    return f"{named} is" if len(angles) == 1 else f"{named} are"
