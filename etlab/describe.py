"""What is in a file of images, in words, and what about it should make one suspicious before hours are spent on it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from etlab.io import open_series, open_stack
from etlab.io.angles import NoTiltsError
from etlab.io.stack import Stack
from etlab.io.statistics import Statistics
from etlab.slabs import most_frequent

SAMPLE = 10**6  # values from which the most frequent one is estimated
LARGE = 0.1  # standard deviations that the most frequent value may be away from 0
SATURATED = 0.002  # share of the largest value from which on it is called a limit of the detector
OTHERWISE = 0.5  # how much, as a share, an image's mean may differ from that of the others
UNKNOWN_PIXEL_NM = 0.1  # 1 Å, which much software writes for want of something better
NAMED = 5  # images that are named one by one


@dataclass(frozen=True, eq=False)
class Description:
    """A file's header, its angles (None: no tilt series) and their source, and its values in numbers.

    ``most_frequent`` is estimated from a sample; ``notes`` say what is suspicious, a sentence each.
    """

    stack: Stack
    tilts_deg: np.ndarray | None
    tilts_from: str | None
    statistics: Statistics
    most_frequent: float
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """A line for each fact, and one for each note."""
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
        if self.tilts_deg is not None:
            facts["tilts"] = f"{_tilts_in_words(self.tilts_deg)}; from {self.tilts_from}"
        lines = [f"{name:8s}{text}" for name, text in facts.items()]
        return "\n".join([str(self.stack.path), *lines, *(f"note:   {note}" for note in self.notes)])


def describe(
    path: str | os.PathLike, *, tilts: str | os.PathLike | None = None, dataset: str | None = None
) -> Description:
    """Read a series or a volume once, a few sections at a time, and say what it is; arguments as of `open_series`.

    Angles that cannot be read or do not fit become a note, so that the rest is still told.

    Raises FileNotFoundError or ValueError if the file itself cannot be read.
    """
    stack, notes = open_stack(path, dataset=dataset), []
    tilts_deg = tilts_from = None
    try:
        series = open_series(path, tilts=tilts, dataset=dataset)
        stack, tilts_deg, tilts_from = series.stack, series.tilts_deg, series.tilts_from
        notes += series.notes
    except NoTiltsError:
        pass
    except (OSError, ValueError) as error:
        notes.append(str(error))
    statistics, sample, means = _read_once(stack, notes)
    usual = most_frequent(sample)
    notes += _notes_on_header(stack)
    if tilts_deg is not None:
        notes += _notes_on_tilts(tilts_deg) + _notes_on_values(statistics, sample, means, usual)
    return Description(stack, tilts_deg, tilts_from, statistics, usual, tuple(notes))


def order_of(tilts_deg: np.ndarray) -> str:
    """Name the order in which the angles come."""
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


def _read_once(stack: Stack, notes: list[str]) -> tuple[Statistics, np.ndarray, np.ndarray]:
    """Return statistics of all values, a sample of them, and the mean of each section."""
    statistics, sample, means, constant, n_bad = Statistics(), [], [], [], 0
    every = max(1, int(np.prod(stack.shape, dtype=float) // SAMPLE))
    for block in stack.blocks():
        for section in block:
            values = section[np.isfinite(section)]
            n_bad += section.size - values.size
            if values.size == 0 or values.min() == values.max():
                constant.append(len(means))
            if values.size:
                statistics.add(values)
                sample.append(values[len(means) % every :: every].copy())  # a view would keep all of them
            means.append(values.mean(dtype=np.float64) if values.size else np.nan)
    if n_bad:
        notes.append(f"{n_bad} values are NaN or infinite; nothing can be reconstructed from them")
    if statistics.count == 0:
        raise ValueError(f"{stack.path}: all values are NaN or infinite")
    if constant:
        notes.append(f"{_sections(constant)} of one value throughout: empty")
    return statistics, np.concatenate(sample).astype(np.float64), np.array(means)


def note_on_pixel(pixel_nm: float | None) -> str | None:
    """What is suspicious about the size of a pixel that a file records; None if nothing is."""
    if pixel_nm is None:
        return "no size of a pixel is recorded; say it with --pixel-nm"
    if np.isclose(pixel_nm, UNKNOWN_PIXEL_NM, rtol=1e-6):
        return "a pixel of exactly 1 Å is what much software writes when it does not know; see --pixel-nm"
    return None


def _notes_on_header(stack: Stack) -> list[str]:
    notes = []
    if note := note_on_pixel(stack.pixel_nm):
        notes.append(note)
    if stack.dtype.itemsize == 1:
        notes.append(f"{stack.dtype.name}: 256 grey values; if this was converted, use what it was made from")
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


def _notes_on_values(
    statistics: Statistics, sample: np.ndarray, means: np.ndarray, usual: float
) -> list[str]:
    notes = []
    if abs(usual) > LARGE * statistics.std:
        darker = usual > 0 and statistics.mean < usual
        remedy = (
            "take the logarithm of what is lost (--bright-field)"
            if darker
            else "subtract it (--background mode)"
        )
        notes.append(f"the most frequent value is {usual:.6g}, not 0; if that is vacuum, {remedy}")
    share = np.mean(sample == statistics.max)
    if share > SATURATED and statistics.std > 0:
        notes.append(f"{100 * share:.2g} % of the values are the largest, {statistics.max:g}: saturated")
    above = means - usual
    others = np.nanmedian(above)
    odd = np.flatnonzero(np.abs(above - others) > OTHERWISE * abs(others))
    if len(odd):
        notes.append(f"{_sections(odd)} much brighter or darker than the others")
    return notes


def _sections(numbers) -> str:
    named = ", ".join(str(number) for number in numbers[:NAMED])
    more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
    return f"section {named} is" if len(numbers) == 1 else f"sections {named}{more} are"


def _degrees(angles) -> str:
    named = ", ".join(f"{angle:g}°" for angle in angles[:NAMED])
    return f"{named} is" if len(angles) == 1 else f"{named} are"
