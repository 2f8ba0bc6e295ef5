"""What commands on a tilt series have in common: which series, and what is done to it before anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SeriesArgument = Annotated[
    Path, typer.Argument(help="tilt series: MRC (.mrc, .st, .ali), TIFF, HDF5 (.h5, .hspy, .emd)")
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
    typer.Option(metavar="NUMBER|mode", help="intensity of vacuum to subtract; mode: the most frequent"),
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
    bright: bool,
):
    """Open a series and say what it is.

    Raises ValueError or OSError; a ValueError, too, if ``bright`` and its mean is not positive.
    """
    from etlab import slabs
    from etlab.io import open_series

    file = open_series(series, tilts=tilts, axis=axis, dataset=dataset)
    n_tilts, n_rows, nx = file.shape
    low, high = file.tilts_deg.min(), file.tilts_deg.max()
    typer.echo(
        f"{series}: {n_tilts} images of {n_rows} × {nx} pixels, {low:g}° … {high:g}° from {file.tilts_from}, "
        + (f"{file.pixel_nm:g} nm a pixel" if file.pixel_nm else "size of pixels not known")
    )
    values = slabs.sample(file)
    usual = slabs.most_frequent(values)
    vacuum = usual if background == "mode" else number("--background", background or "0")
    images = slabs.Prepared(file, range_of("--rows", rows), binning, vacuum)
    mean = float(values.mean(dtype=float)) - vacuum
    if background == "mode":
        typer.echo(f"background {vacuum:g}, the most frequent intensity, is subtracted")
    elif background is None and abs(usual) > 0.05 * abs(mean):
        typer.echo(
            f"note: the most frequent intensity is {usual:g}; if that is vacuum, use --background mode",
            err=True,
        )
    if bright and mean <= 0:
        raise ValueError(
            f"{series}: less a background of {vacuum:g} the images' mean is {mean:g}, expected a bright specimen on "
            "vacuum near 0; see --background"
        )
    return images


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


def said(alignment) -> str:
    """An alignment in a line."""
    largest = abs(alignment.shifts).max()
    misfits = alignment.misfits
    gain = f", half-set misfit {misfits[0]:.3f} → {min(misfits):.3f}" if misfits else ""
    return (
        f"aligned: shifts up to {largest:.1f} pixels, tilt axis at {alignment.tilt_axis_deg:.2f}°, "
        f"{alignment.tilt_axis_offset:.2f} pixels above the middle{gain}"
    )
