"""``etlab reconstruct``: a tilt series to a volume, in slabs along the tilt axis."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etlab.cli.common import check_not_input, errors_in_one_line, say, spared, with_options
from etlab.cli.series import (
    Overwrite,
    SeriesOptions,
    alignment_in_words,
    prepare,
    range_of,
    warnings_as_notes,
)
from etlab.solvers.methods import ROWS

if TYPE_CHECKING:
    from etlab.pipeline import Method, Plan, Prepared, Reconstruction, Verdict


@dataclass(frozen=True)
class MethodOptions:
    """The solver and its options."""

    method: Annotated[
        str, typer.Option("--method", "-m", help=", ".join(one.name for one in ROWS.values()))
    ] = "sirt"
    iterations: Annotated[int | None, typer.Option(min=1, help="of methods that iterate")] = None
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", metavar="NAME=VALUE", help="an option of the method, e.g. lam=0.1; may be repeated"
        ),
    ] = None


@dataclass(frozen=True)
class VolumeOptions:
    """Which part of the volume is reconstructed."""

    thickness: Annotated[
        int | None, typer.Option(min=1, help="of the volume in voxels; default: the number of rows")
    ] = None
    width: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="of the volume across the tilt axis in voxels; for a film, more than the rows; default: the rows",
        ),
    ] = None
    columns: Annotated[
        str | None,
        typer.Option(metavar="A:B", help="columns of the images to use: slices along the tilt axis"),
    ] = None


@dataclass(frozen=True)
class AxisOptions:
    """Where the tilt axis lies."""

    align: Annotated[
        bool, typer.Option("--align", help="find shifts and tilt axis first; `etlab align` has more options")
    ] = False
    tilt_axis: Annotated[
        float,
        typer.Option(help="angle of the tilt axis in degrees from +x (right) to +row (up), after --axis"),
    ] = 0.0
    axis_offset: Annotated[
        float,
        typer.Option(help="height of the tilt axis above the middle of the rows, in pixels of the file"),
    ] = 0.0


@dataclass(frozen=True)
class ComputingOptions:
    """How the work is divided."""

    memory: Annotated[
        str | None,
        typer.Option(help="limit, e.g. 4GB; with --scheduler, for each slab; default: half of the memory"),
    ] = None
    workers: Annotated[
        int | None, typer.Option(min=1, help="slabs at a time; default: the number of cores")
    ] = None
    processes: Annotated[bool, typer.Option("--processes", help="use processes instead of threads")] = False
    scheduler: Annotated[str | None, typer.Option(help="address of a dask scheduler, tcp://…")] = None
    overlap: Annotated[
        int | None,
        typer.Option(min=0, help="allow slabs for tv and diffusion, overlapping by this many slices"),
    ] = None
    fsc: Annotated[bool, typer.Option(help="also correlate even with odd tilts, in the middle slab")] = True


@with_options
def reconstruct(
    chosen: SeriesOptions,
    out: Annotated[Path, typer.Option("--out", "-o", help="volume to write: .mrc, .rec, .map, .h5 or .zarr")],
    solver: MethodOptions,
    volume: VolumeOptions,
    where: AxisOptions,
    computing: ComputingOptions,
    overwrite: Overwrite = False,
) -> None:
    """Reconstruct a tilt series into OUT, with a report (.png, .json) beside it. To resume, repeat the command."""
    from etlab import pipeline
    from etlab.pipeline import report

    with errors_in_one_line(), kept_when_interrupted():
        check_not_input(out, (chosen.series, chosen.tilts))
        report.check(out, overwrite=overwrite)
        options = options_of(solver)
        method = pipeline.Method(solver.method, options)
        images = prepare(chosen, positive=method.name != "wbp", tilt_axis=where.tilt_axis)
        images = with_axis(images, where)
        verdict = spared("verdict on the series", lambda: judge_first(images, volume))
        if "n_iter" not in options:
            method = method.for_tilts(len(images.tilts_deg))
        method = in_densities(method, images, volume)
        used = range_of("--columns", volume.columns)
        done = pipeline.reconstruct(
            images,
            out,
            method,
            thickness=volume.thickness,
            width=volume.width,
            columns=used and (used[0] // chosen.binning, used[1] // chosen.binning),
            overlap=computing.overlap,
            voxel_nm=chosen.pixel_nm and chosen.pixel_nm * chosen.binning,
            memory=pipeline.bytes_of(computing.memory) if computing.memory else None,
            workers=computing.workers,
            processes=computing.processes,
            scheduler=computing.scheduler,
            fsc=computing.fsc,
            overwrite=overwrite,
            begin=say_plan,
            progress=True,
        )
        say_result(done, out, report.write(done, out, f"{chosen.series.name}: {method}", verdict), verdict)


def say_result(done: Reconstruction, out: Path, failures: list[str], verdict: Verdict | None) -> None:
    """Print what was written and measured, and what is missing of the report."""
    from etlab.pipeline import report

    nz, ny, nx = done.shape
    drawn = "" if failures else f"; report: {out.with_suffix('.png')}"
    say(f"{out}: {nz} × {ny} × {nx} voxels of {done.voxel_nm:g} nm{drawn}")
    for failure in failures:
        say(f"warning: the volume is whole, but its report is not: {failure}", err=True)
    for line in spared("summary", lambda: report.in_words(done, verdict)) or ():
        say(line)
    if (left := Path(f"{out}.slabs")).exists():
        say(f"note: {left} holds slabs of unfinished runs with other settings", err=True)


def in_densities(chosen: Method, images: Prepared, volume: VolumeOptions) -> Method:
    """Convert the method's options from units of the specimen's density, and print that density."""
    from etlab.pipeline import estimate_density

    if not chosen.knows_density:
        return chosen
    n_rows = images.shape[1]
    shape = volume.thickness or n_rows, volume.width or n_rows
    density: float = chosen.options.get("scale") or estimate_density(images, shape)
    if "scale" in chosen.allowed:
        say(f"density that the network takes for 1: {density:.4g}")
    if "lam" in chosen.allowed:
        say(f"density of the specimen: {density:.4g}; lam = {chosen.options['lam']:g} is a share of it")
    return chosen.in_units_of(density)


def judge_first(images: Prepared, volume: VolumeOptions) -> Verdict | None:
    """Judge a series before hours are spent; print what is suspicious, or the width that a film needs."""
    from etlab.pipeline import judge

    verdict = judge(images)
    if verdict and verdict.suspicions:
        say(verdict.in_words(), err=True)
    elif verdict and volume.width is None:
        propose_width(verdict, images, volume.thickness)
    return verdict


def propose_width(verdict: Verdict, images: Prepared, thickness: int | None) -> None:
    """Print how wide the volume must be to hold all that the rays meet, if the specimen fills the field."""
    from etlab.alignment.refine import specimen_shape

    if verdict.mass.bounded:
        return
    n_rows = images.shape[1]
    wide = specimen_shape(images.shape[1:], images.tilts_deg, thickness or n_rows)[1]
    say(
        "note: the specimen fills the field, and rays of high tilts meet some of it outside; "
        f"--width {wide} (the images have {n_rows} rows) makes room for it"
        + ("" if thickness else ", less with its --thickness"),
        err=True,
    )


@contextmanager
def kept_when_interrupted() -> Iterator[None]:
    """If the user interrupts the run, say that finished slabs are kept."""
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo(err=True)
        say("stopped; finished slabs are kept: repeat the command to resume", err=True)
        raise typer.Exit(130) from error


def options_of(solver: MethodOptions) -> dict[str, Any]:
    """Return ``NAME=VALUE`` texts as options: numbers, True, False and None as in Python, all else as text."""
    options: dict[str, Any] = {}
    for text in solver.option or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--option: got {text!r}, expected NAME=VALUE")
        try:
            options[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[name] = str(Path(value).absolute()) if name == "weights" else value
    return options if solver.iterations is None else options | {"n_iter": solver.iterations}


def with_axis(images: Prepared, where: AxisOptions) -> Prepared:
    """Move the tilt axis, estimated or given, to the middle; interpolate only where that is needed."""
    import numpy as np

    from etlab.alignment import Alignment
    from etlab.pipeline import estimate_alignment
    from etlab.pipeline.describe import lean_of

    turn, axis_offset = where.tilt_axis, where.axis_offset
    if where.align:
        if turn != 0 or axis_offset != 0:
            raise ValueError(
                "--align finds direction and offset of the tilt axis: pass --align, or --tilt-axis and --axis-offset, "
                "not both"
            )
        with warnings_as_notes():
            found = estimate_alignment(images, tilt_axis_deg=lean_of(images.series))
        say(alignment_in_words(found))
        return replace(images, alignment=found)
    if turn == 0 and images.binning == 1 and axis_offset % 1 == 0.5:
        images, axis_offset = without_a_row(images, axis_offset)
    if turn == 0 and axis_offset == 0:
        return images
    n_tilts = len(images.tilts_deg)
    shifts, residuals = np.zeros((n_tilts, 2)), np.zeros(n_tilts)
    offset = axis_offset / images.binning
    return replace(images, alignment=Alignment(images.tilts_deg, shifts, turn, offset, residuals))


def without_a_row(images: Prepared, axis_offset: float) -> tuple[Prepared, float]:
    """Leave out the first or the last row, which moves the middle by half a pixel; return the remaining offset, too.

    An axis at pixel N/2, as in data made by FFT, is then in the middle without interpolation.
    """
    first, stop = images.rows or (0, images.series.shape[1])
    rows = (first + 1, stop) if axis_offset > 0 else (first, stop - 1)
    say(f"rows {rows[0]}:{rows[1]} are used: the tilt axis lies in their middle, without interpolation")
    return replace(images, rows=rows), axis_offset - (0.5 if axis_offset > 0 else -0.5)


def say_plan(plan: Plan, n_there: int) -> None:
    """Print how the work is divided, and how many slabs exist from an earlier run."""
    from etlab.pipeline.plan import NARROWEST

    first, stop = plan.columns
    held = f"{plan.n_bytes / 1e9:.2f} GB of memory"
    say(f"slabs: {len(plan.slabs)} of width {plan.width}, {plan.at_once} at a time, {held}")
    if n_there:
        say(f"slabs kept from an earlier run: {n_there}")
    if plan.width < min(NARROWEST, stop - first):
        say("note: slabs this narrow are slow; more --memory makes them wider", err=True)
