"""What commands on a tilt series have in common: which series, and what is done to it before anything else."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from etlab.cli.common import in_options, say

SeriesArgument = Annotated[
    Path,
    typer.Argument(
        help="tilt series: MRC (.mrc, .st, .ali), TIFF or a folder of them, HDF5 (.h5, .hspy, .emd)"
    ),
]
Tilts = Annotated[
    Path | None,
    typer.Option(help="file of tilt angles: .tlt, .rawtlt or .mdoc; default: beside or inside the series"),
]
Axis = Annotated[str, typer.Option(help="direction of the tilt axis in the file's images: x or y")]
Dataset = Annotated[str | None, typer.Option(help="name of the data set in an HDF5 file")]
Rows = Annotated[
    str | None,
    typer.Option(
        metavar="A:B", help="detector rows to use, across the tilt axis, which is half-way up these"
    ),
]
Bin = Annotated[int, typer.Option("--bin", min=1, help="average over blocks of so many pixels squared")]
Background = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|mode",
        help="intensity of vacuum; mode: the most frequent. Default: 0, or mode with --bright-field",
    ),
]
BrightField = Annotated[
    bool,
    typer.Option(
        "--bright-field", help="a dark specimen on bright vacuum: take the logarithm of what is lost"
    ),
]
Despike = Annotated[
    bool,
    typer.Option(
        "--despike",
        help="replace pixels, spots, columns and rows that cannot be the specimen's (X-ray hits, camera defects)",
    ),
]
Smooth = Annotated[
    bool, typer.Option("--smooth", help="let the alignment smooth all images alike, by 0.58 pixel RMS")
]
PixelNm = Annotated[
    float | None, typer.Option(help="edge of a pixel of the file in nm; default: what the file says")
]


def prepared(
    series: Path,
    *,
    tilts: Path | None,
    axis: str,
    dataset: str | None,
    rows: str | None,
    binning: int,
    background: str | None,
    bright_field: bool,
    pixel_nm: float | None,
    bright: bool,
    despike: bool = False,
    smooth: bool = False,
    tilt_axis: float | None = None,
):
    """Open a series, say what it is, and all that `etlab info` finds suspicious about it.

    What is recorded of the direction of the tilt axis is not said where ``tilt_axis`` is told.

    Raises ValueError or OSError; a ValueError, too, if ``bright`` and the mean of its line integrals is not positive.
    """
    from etlab import pipeline
    from etlab.io import open_series
    from etlab.io.angles import source_in_words
    from etlab.pipeline.describe import describe, note_on_axis

    file = open_series(series, tilts=tilts, axis=axis, dataset=dataset)
    n_tilts, n_rows, nx = file.shape
    source = source_in_words(file.tilts_deg, file.tilts_from)
    say(
        f"{series}: {n_tilts} images of {n_rows} × {nx} pixels, "
        f"{file.tilts_deg.min():g}° … {file.tilts_deg.max():g}° {source}, "
        + (f"{file.pixel_nm:g} nm a pixel" if file.pixel_nm else "size of pixels not known")
    )
    known = {"pixel": pixel_nm, "vacuum": background or bright_field, "outliers": despike}
    about = describe(series, tilts=tilts, dataset=dataset, known={name for name in known if known[name]})
    for note in (None if tilt_axis else note_on_axis(file), *about.notes):
        if note:
            say(f"note: {note}", err=True)
    outliers = in_order_of(axis, about.outliers) if despike else None
    if despike:
        say(f"--despike: {len(outliers)} values are replaced by the medians of those around them")
    values = pipeline.sample(pipeline.Prepared(file, outliers=outliers))
    usual = pipeline.vacuum_of(values)
    by_mode = background == "mode" or (bright_field and background is None)
    vacuum = usual if by_mode else number("--background", background or "0")
    images = pipeline.Prepared(
        file, range_of("--rows", rows), binning, vacuum, bright_field, smooth=smooth, outliers=outliers
    )
    mean = float(images.integrals(values).mean(dtype=float))
    if by_mode:
        what = (
            "is that of vacuum; the logarithm of what is lost is taken" if bright_field else "is subtracted"
        )
        name = (
            "the most frequent intensity"
            if usual == pipeline.most_frequent(values)
            else "the mean of what is empty"
        )
        say(f"background {vacuum:g}, {name}, {what}")
    if bright and mean <= 0:
        raise ValueError(no_specimen(series, vacuum, mean, bright_field, by_mode))
    return images


def in_order_of(axis: str, places):
    """Return (image, row, column) in the file as (image, row, x) of the series."""
    return places if axis == "x" else places[:, [0, 2, 1]]


def no_specimen(series: Path, vacuum: float, mean: float, bright_field: bool, by_mode: bool) -> str:
    """Say that there is nothing brighter than vacuum, and what it may be."""
    expected = "a dark specimen on bright vacuum" if bright_field else "a bright specimen on vacuum near 0"
    causes = "the images are negated, or another background is needed"
    if by_mode:
        causes = "the images are negated, or show no vacuum: a film's most frequent intensity is the film's"
    return (
        f"{series}: with a background of {vacuum:g} the mean line integral is {mean:g}, expected {expected}; {causes}; "
        "see --background and --bright-field"
    )


def number(option: str, text: str) -> float:
    """A number from an option's text, or a ValueError that names the option."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{option}: got {text!r}, expected a number") from None


def range_of(option: str, text: str | None) -> tuple[int, int] | None:
    """ "A:B" as two integers, or a ValueError that names the option; None for None."""
    if text is None:
        return None
    try:
        first, stop = (int(part) for part in text.split(":"))
    except ValueError:
        raise ValueError(f"{option}: got {text!r}, expected FIRST:STOP, e.g. 100:900") from None
    return first, stop


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Print what the package warns of as notes, a line each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for text in dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, UserWarning)):
        say(f"note: {in_options(text)}", err=True)


def said(alignment) -> str:
    """An alignment in a line."""
    largest = abs(alignment.shifts).max()
    gain = f", half-set misfit {_gain(alignment.misfits)}" if alignment.misfits else ""
    return (
        f"aligned: shifts up to {largest:.1f} pixels, tilt axis at {alignment.tilt_axis_deg:.2f}°, "
        f"{alignment.tilt_axis_offset:.2f} pixels above the middle{gain}"
    )


def _gain(misfits):
    start, best = f"{misfits[0]:.3f}", f"{min(misfits):.3f}"
    return f"{start} → {best}" if best != start else f"{start}, which no round lowered"
