"""What commands on a tilt series share: which series, and what is done to it before anything else."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etlab.cli.common import in_options, say

if TYPE_CHECKING:
    import numpy as np

    from etlab.alignment import Alignment
    from etlab.io import SeriesFile
    from etlab.pipeline import Prepared

Tilts = Annotated[
    Path | None,
    typer.Option(help="file of tilt angles: .tlt, .rawtlt or .mdoc; default: beside or inside the series"),
]
Dataset = Annotated[str | None, typer.Option(help="name of the data set in an HDF5 file")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace existing files")]


@dataclass(frozen=True)
class SeriesOptions:
    """Which series, and what is done to it before anything else."""

    series: Annotated[
        Path,
        typer.Argument(
            help="tilt series: MRC (.mrc, .st, .ali), TIFF or a folder of them, HDF5 (.h5, .hspy, .emd)"
        ),
    ]
    tilts: Tilts = None
    axis: Annotated[str, typer.Option(help="direction of the tilt axis in the file's images: x or y")] = "x"
    dataset: Dataset = None
    rows: Annotated[
        str | None,
        typer.Option(
            metavar="A:B", help="detector rows to use, across the tilt axis, which lies in their middle"
        ),
    ] = None
    binning: Annotated[
        int, typer.Option("--bin", min=1, help="average over blocks of this many pixels squared")
    ] = 1
    background: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|mode",
            help="intensity of vacuum; mode: the most frequent. Default: 0, or mode with --bright-field",
        ),
    ] = None
    bright_field: Annotated[
        bool,
        typer.Option(
            "--bright-field", help="dark specimen on bright vacuum: take the logarithm of the transmission"
        ),
    ] = False
    pixel_nm: Annotated[
        float | None, typer.Option(help="edge of a pixel of the file in nm; default: as recorded in the file")
    ] = None
    despike: Annotated[
        bool,
        typer.Option(
            "--despike",
            help="replace pixels, spots, columns and rows that cannot be the specimen's (X-ray hits, camera defects)",
        ),
    ] = False
    smooth: Annotated[
        bool, typer.Option("--smooth", help="let the alignment smooth all images alike, by 0.58 pixel RMS")
    ] = False


def prepare(options: SeriesOptions, *, positive: bool, tilt_axis: float | None) -> Prepared:
    """Open a series and print what it is, with everything suspicious that `etlab info` finds about it.

    A recorded direction of the tilt axis is not mentioned if ``tilt_axis`` is given.

    Raises ValueError or OSError; a ValueError, too, if the mean line integral must be ``positive`` and is not.
    """
    from etlab.io import open_series
    from etlab.pipeline.describe import describe, note_on_axis
    from etlab.pipeline.prepare import Prepared, sample
    from etlab.pipeline.vacuum import vacuum_of

    series = options.series
    file = open_series(series, tilts=options.tilts, axis=options.axis, dataset=options.dataset)
    say(in_a_line(file, series))
    known = {
        "pixel": options.pixel_nm,
        "vacuum": options.background or options.bright_field,
        "outliers": options.despike,
    }
    given = {name for name in known if known[name]}
    about = describe(series, tilts=options.tilts, dataset=options.dataset, known=given)
    for note in (None if tilt_axis else note_on_axis(file), *about.notes):
        if note:
            say(f"note: {note}", err=True)
    outliers = None
    if options.despike and about.outliers is not None:
        outliers = in_order_of(options.axis, about.outliers)
        say(f"--despike: {len(outliers)} values are replaced by the median of their neighbours")
    values = sample(Prepared(file, outliers=outliers))
    by_mode = options.background == "mode" or (options.bright_field and options.background is None)
    vacuum = vacuum_of(values) if by_mode else number("--background", options.background or "0")
    rows = range_of("--rows", options.rows)
    images = Prepared(
        file, rows, options.binning, vacuum, options.bright_field, smooth=options.smooth, outliers=outliers
    )
    if by_mode:
        say(background_in_words(vacuum, values, options.bright_field))
    mean = float(images.integrals(values).mean(dtype=float))
    if positive and mean <= 0:
        raise ValueError(no_specimen(series, vacuum, mean, options.bright_field, by_mode))
    return images


def in_a_line(file: SeriesFile, path: Path) -> str:
    """Describe a series: number and shape of its images, its tilts and the size of a pixel."""
    from etlab.io.angles import source_in_words

    n_tilts, n_rows, nx = file.shape
    source = source_in_words(file.tilts_deg, file.tilts_from)
    return (
        f"{path}: {n_tilts} images of {n_rows} × {nx} pixels, "
        f"{file.tilts_deg.min():g}° … {file.tilts_deg.max():g}° {source}, "
        + (f"{file.pixel_nm:g} nm a pixel" if file.pixel_nm else "size of pixels not known")
    )


def background_in_words(vacuum: float, values: np.ndarray, bright_field: bool) -> str:
    """Say where the intensity of vacuum comes from, and what is done with it."""
    from etlab.pipeline.vacuum import most_frequent

    usual = vacuum == most_frequent(values)
    name = "the most frequent intensity" if usual else "the mean of empty regions"
    use = "is that of vacuum; the logarithm of the transmission is taken" if bright_field else "is subtracted"
    return f"background {vacuum:g}, {name}, {use}"


def in_order_of(axis: str, places: np.ndarray) -> np.ndarray:
    """Return (image, row, column) in the file as (image, row, x) of the series."""
    return places if axis == "x" else places[:, [0, 2, 1]]


def no_specimen(series: Path, vacuum: float, mean: float, bright_field: bool, by_mode: bool) -> str:
    """Return the message for a mean line integral that is not positive, with possible causes."""
    expected = "a dark specimen on bright vacuum" if bright_field else "a bright specimen on vacuum near 0"
    causes = "the images are negated, or another background is needed"
    if by_mode:
        causes = "the images are negated, or show no vacuum: a film's most frequent intensity is the film's"
    return (
        f"{series}: with a background of {vacuum:g} the mean line integral is {mean:g}, expected {expected}; {causes}; "
        "see --background and --bright-field"
    )


def number(option: str, text: str) -> float:
    """Return an option's text as a number, or raise a ValueError that names the option."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{option}: got {text!r}, expected a number") from None


def range_of(option: str, text: str | None) -> tuple[int, int] | None:
    """Return "A:B" as two integers, or raise a ValueError that names the option; None for None."""
    if text is None:
        return None
    try:
        first, stop = (int(part) for part in text.split(":"))
    except ValueError:
        raise ValueError(f"{option}: got {text!r}, expected FIRST:STOP, e.g. 100:900") from None
    return first, stop


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Print each warning of the package as a note, once, when the block ends."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for text in dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, UserWarning)):
        say(f"note: {in_options(text)}", err=True)


def alignment_in_words(alignment: Alignment) -> str:
    """Describe an alignment in one line."""
    largest, gain = abs(alignment.shifts).max(), ""
    if alignment.misfits:
        start, best = f"{alignment.misfits[0]:.3f}", f"{min(alignment.misfits):.3f}"
        gain = ", half-set misfit " + (
            f"{start} → {best}" if best != start else f"{start}, which no round lowered"
        )
    return (
        f"aligned: shifts up to {largest:.1f} pixels, tilt axis at {alignment.tilt_axis_deg:.2f}°, "
        f"{alignment.tilt_axis_offset:.2f} pixels above the middle{gain}"
    )
