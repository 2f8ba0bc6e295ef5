"""``etlab reconstruct``: a tilt series to a volume, in slabs along the tilt axis."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from etlab.cli.common import errors_in_one_line
from etlab.cli.series import (
    Axis,
    Background,
    Bin,
    BrightField,
    Dataset,
    PixelNm,
    Rows,
    SeriesArgument,
    Tilts,
    prepared,
    range_of,
    said,
)


def reconstruct(
    series: SeriesArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="volume to write: .mrc, .rec, .map, .h5 or .zarr")],
    tilts: Tilts = None,
    axis: Axis = "x",
    dataset: Dataset = None,
    method: Annotated[
        str,
        typer.Option("--method", "-m", help="wbp, sirt, sart, tv, genfire, isonet, dncnn, … (any solver)"),
    ] = "sirt",
    iterations: Annotated[int | None, typer.Option(min=1, help="of methods that iterate")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", metavar="NAME=VALUE", help="an option of the method, e.g. lam=0.1; may be repeated"
        ),
    ] = None,
    thickness: Annotated[
        int | None, typer.Option(min=1, help="of the volume in voxels; default: as many as it has rows")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="A:B", help="columns of the images to use: slices along the tilt axis"),
    ] = None,
    rows: Rows = None,
    bin_: Bin = 1,
    background: Background = None,
    bright_field: BrightField = False,
    align: Annotated[
        bool, typer.Option("--align", help="find shifts and tilt axis first; `etlab align` has more options")
    ] = False,
    tilt_axis: Annotated[
        float, typer.Option(help="degrees the tilt axis leans from +x (right) to +row (up), after --axis")
    ] = 0.0,
    axis_offset: Annotated[
        float,
        typer.Option(help="height of the tilt axis above the middle of the rows, in pixels of the file"),
    ] = 0.0,
    pixel_nm: PixelNm = None,
    memory: Annotated[
        str | None,
        typer.Option(help="limit, e.g. 4GB; with --scheduler of each slab; default: half of what there is"),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="slabs at a time; default: one a core")] = None,
    processes: Annotated[bool, typer.Option("--processes", help="processes in place of threads")] = False,
    scheduler: Annotated[str | None, typer.Option(help="address of a dask scheduler, tcp://…")] = None,
    overlap: Annotated[
        int | None,
        typer.Option(min=0, help="allow slabs for tv and diffusion, with so many slices of overlap"),
    ] = None,
    fsc: Annotated[
        bool, typer.Option(help="also compare even and odd tilts, in the slab in the middle")
    ] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace files that are already there")
    ] = False,
) -> None:
    """Reconstruct a tilt series into OUT, with a report (.png, .json) beside it. Resumable: repeat the command."""
    from etlab import report, slabs
    from etlab.io import check_output

    with errors_in_one_line(), kept_when_interrupted():
        check_output(out, overwrite=overwrite)
        report.check(out, overwrite=overwrite)
        options = options_of(option)
        if iterations is not None:
            options["n_iter"] = iterations
        chosen = slabs.Method(method, options)
        images = prepared(
            series,
            tilts=tilts,
            axis=axis,
            dataset=dataset,
            rows=rows,
            binning=bin_,
            background=background,
            bright_field=bright_field,
            pixel_nm=pixel_nm,
            bright=method != "wbp",
        )
        images = replace(images, alignment=alignment_of(images, align, tilt_axis, axis_offset))
        if "scale" in chosen.allowed and "scale" not in options:
            options["scale"] = slabs.density_in(images, (thickness or images.shape[1], images.shape[1]))
            chosen = slabs.Method(method, options)
            typer.echo(f"density that the network takes for 1: {options['scale']:.4g}")
        used = range_of("--columns", columns)
        done = slabs.reconstruct(
            images,
            out,
            chosen,
            thickness=thickness,
            columns=used and (used[0] // bin_, used[1] // bin_),
            overlap=overlap,
            voxel_nm=pixel_nm and pixel_nm * bin_,
            memory=memory and slabs.bytes_of(memory),
            workers=workers,
            processes=processes,
            scheduler=scheduler,
            fsc=fsc,
            overwrite=overwrite,
            begin=say_plan,
            finish=lambda result: report.write(result, out, f"{series.name}: {chosen}"),
            progress=True,
        )
        nz, ny, nx = done.shape
        typer.echo(
            f"{out}: {nz} × {ny} × {nx} voxels of {done.voxel_nm:g} nm; report: {out.with_suffix('.png')}"
        )
        for line in report.in_words(done):
            typer.echo(line)
        if (left := Path(f"{out}.slabs")).exists():
            typer.echo(
                f"note: {left} holds slabs of runs with other settings that were not finished", err=True
            )


@contextmanager
def kept_when_interrupted() -> Iterator[None]:
    """Say, when the user ends it, that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo("\nstopped; finished slabs are kept: repeat the command to go on", err=True)
        raise typer.Exit(130) from error


def options_of(given: list[str] | None) -> dict[str, object]:
    """``NAME=VALUE`` texts as options: numbers, True, False and None as in Python, all else as text."""
    options = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--option: got {text!r}, expected NAME=VALUE")
        try:
            options[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[name] = str(Path(value).absolute()) if name == "weights" else value
    return options


def alignment_of(images, align: bool, tilt_axis: float, axis_offset: float):
    """What moves the tilt axis to where a solver expects it: found, or told; None if nothing is to be moved."""
    import numpy as np

    from etlab.align import Alignment
    from etlab.slabs import estimated

    told = tilt_axis != 0 or axis_offset != 0
    if align and told:
        raise ValueError(
            "--align: finds direction and offset of the tilt axis, expected it or these, not both"
        )
    if align:
        found = estimated(images)
        typer.echo(said(found))
        return found
    if not told:
        return None
    n_tilts = len(images.tilts_deg)
    shifts, residuals = np.zeros((n_tilts, 2)), np.zeros(n_tilts)
    return Alignment(images.tilts_deg, shifts, tilt_axis, axis_offset / images.binning, residuals)


def say_plan(plan, n_there: int) -> None:
    """How the work is divided, and what is there of an earlier run."""
    from etlab.slabs.plan import NARROWEST

    first, stop = plan.columns
    held = f"{plan.n_bytes / 1e9:.2f} GB of memory"
    typer.echo(f"slabs: {len(plan.slabs)} of width {plan.width}, {plan.at_once} at a time, {held}")
    if n_there:
        typer.echo(f"slabs kept from an earlier run: {n_there}")
    if plan.width < min(NARROWEST, stop - first):
        typer.echo("note: slabs this narrow are slow; more --memory makes them wider", err=True)
