"""``etlab reconstruct``: a tilt series to a volume, in slabs along the tilt axis."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from etlab.cli.common import errors_in_one_line, say, spared
from etlab.cli.series import (
    Axis,
    Background,
    Bin,
    BrightField,
    Dataset,
    Despike,
    PixelNm,
    Rows,
    SeriesArgument,
    Smooth,
    Tilts,
    prepared,
    range_of,
    said,
    warnings_as_notes,
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
    width: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="of the volume across the tilt axis in voxels; more than rows for a film; default: the rows",
        ),
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
    despike: Despike = False,
    smooth: Smooth = False,
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
    from etlab import pipeline
    from etlab.io import check_output
    from etlab.pipeline import report

    with errors_in_one_line(), kept_when_interrupted():
        check_output(out, overwrite=overwrite)
        report.check(out, overwrite=overwrite)
        options = options_of(option)
        if iterations is not None:
            options["n_iter"] = iterations
        chosen = pipeline.Method(method, options)
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
            despike=despike,
            smooth=smooth,
            tilt_axis=tilt_axis,
        )
        images = with_axis(images, align, tilt_axis, axis_offset)
        verdict = spared("verdict on the series", lambda: judged(images, thickness, width))
        if iterations is None and "n_iter" not in options:
            chosen = chosen.for_tilts(len(images.tilts_deg))
        if chosen.knows_density:
            n_rows = images.shape[1]
            chosen = in_densities(chosen, images, (thickness or n_rows, width or n_rows))
        used = range_of("--columns", columns)
        done = pipeline.reconstruct(
            images,
            out,
            chosen,
            thickness=thickness,
            width=width,
            columns=used and (used[0] // bin_, used[1] // bin_),
            overlap=overlap,
            voxel_nm=pixel_nm and pixel_nm * bin_,
            memory=memory and pipeline.bytes_of(memory),
            workers=workers,
            processes=processes,
            scheduler=scheduler,
            fsc=fsc,
            overwrite=overwrite,
            begin=say_plan,
            progress=True,
        )
        failures = report.write(done, out, f"{series.name}: {chosen}", verdict)
        nz, ny, nx = done.shape
        drawn = "" if failures else f"; report: {out.with_suffix('.png')}"
        say(f"{out}: {nz} × {ny} × {nx} voxels of {done.voxel_nm:g} nm{drawn}")
        for failure in failures:
            say(f"warning: the volume is whole, but of its report, {failure}", err=True)
        for line in spared("summary", lambda: report.in_words(done, verdict)) or ():
            say(line)
        if (left := Path(f"{out}.slabs")).exists():
            say(f"note: {left} holds slabs of runs with other settings that were not finished", err=True)


def in_densities(chosen, images, shape: tuple[int, int]):
    """Convert the method's options from units of the specimen's density, and say so."""
    from etlab import pipeline

    given = chosen.options.get("scale")
    density = given or pipeline.estimate_density(images, shape)
    if "scale" in chosen.allowed:
        say(f"density that the network takes for 1: {density:.4g}")
    if "lam" in chosen.allowed:
        say(f"density of the specimen: {density:.4g}; lam = {chosen.options['lam']:g} is a share of it")
    return chosen.in_units_of(density)


def judged(images, thickness: int | None, width: int | None):
    """Judge a series before hours are spent, and say what is suspicious or what a film wants."""
    from etlab import pipeline

    verdict = pipeline.judge(images)
    if verdict and verdict.suspicions:
        say(verdict.in_words(), err=True)
    elif verdict and width is None:
        propose_width(verdict, images, thickness)
    return verdict


def propose_width(verdict, images, thickness: int | None) -> None:
    """Say how wide a volume holds all that the rays of a film meet, if the series is one that fills the field."""
    from etlab.alignment.refine import specimen_shape

    if verdict.mass.bounded:
        return
    n_rows = images.shape[1]
    wide = specimen_shape(images.shape[1:], images.tilts_deg, thickness or n_rows)[1]
    say(
        "note: the specimen fills the field, and rays of high tilts meet some of it outside; "
        f"--width {wide} (the images have {n_rows} rows) gives that a place in the volume"
        + ("" if thickness else ", less with its --thickness"),
        err=True,
    )


@contextmanager
def kept_when_interrupted() -> Iterator[None]:
    """Say, when the user ends it, that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo(err=True)
        say("stopped; finished slabs are kept: repeat the command to go on", err=True)
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


def with_axis(images, align: bool, tilt_axis: float, axis_offset: float):
    """Move the tilt axis to where a solver expects it: found, or told. Nothing is interpolated that need not be."""
    import numpy as np

    from etlab.alignment import Alignment
    from etlab.pipeline import estimate_alignment
    from etlab.pipeline.describe import lean_of

    told = tilt_axis != 0 or axis_offset != 0
    if align and told:
        raise ValueError(
            "--align: finds direction and offset of the tilt axis, expected it or these, not both"
        )
    if align:
        with warnings_as_notes():
            found = estimate_alignment(images, tilt_axis_deg=lean_of(images.series))
        say(said(found))
        return replace(images, alignment=found)
    if tilt_axis == 0 and images.binning == 1 and axis_offset % 1 == 0.5:
        images, axis_offset = without_a_row(images, axis_offset)
    if tilt_axis == 0 and axis_offset == 0:
        return images
    n_tilts = len(images.tilts_deg)
    shifts, residuals = np.zeros((n_tilts, 2)), np.zeros(n_tilts)
    offset = axis_offset / images.binning
    return replace(images, alignment=Alignment(images.tilts_deg, shifts, tilt_axis, offset, residuals))


def without_a_row(images, axis_offset: float):
    """Leave out the first or the last row, which moves the middle by half a pixel, and return the offset that is left.

    An axis at pixel N/2, as in data made by FFT, is then in the middle without interpolation.
    """
    first, stop = images.rows or (0, images.series.shape[1])
    rows = (first + 1, stop) if axis_offset > 0 else (first, stop - 1)
    say(f"rows {rows[0]}:{rows[1]} are used: their middle is on the tilt axis, and none is interpolated")
    return replace(images, rows=rows), axis_offset - (0.5 if axis_offset > 0 else -0.5)


def say_plan(plan, n_there: int) -> None:
    """How the work is divided, and what is there of an earlier run."""
    from etlab.pipeline.plan import NARROWEST

    first, stop = plan.columns
    held = f"{plan.n_bytes / 1e9:.2f} GB of memory"
    say(f"slabs: {len(plan.slabs)} of width {plan.width}, {plan.at_once} at a time, {held}")
    if n_there:
        say(f"slabs kept from an earlier run: {n_there}")
    if plan.width < min(NARROWEST, stop - first):
        say("note: slabs this narrow are slow; more --memory makes them wider", err=True)
