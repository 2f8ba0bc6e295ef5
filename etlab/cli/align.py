"""``etlab align``: an aligned tilt series from a raw one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
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
    said,
    warnings_as_notes,
)


def align(
    series: SeriesArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="aligned series to write: .mrc, .h5 or .zarr")],
    tilts: Tilts = None,
    axis: Axis = "x",
    dataset: Dataset = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            help="centre-of-mass: an isolated specimen; correlation: any; fiducials: beads, needs --bead-radius",
        ),
    ] = "centre-of-mass",
    thickness: Annotated[
        float | None, typer.Option(help="of a flat specimen, in pixels; with correlation")
    ] = None,
    bead_radius: Annotated[float | None, typer.Option(help="in pixels; with fiducials")] = None,
    tilt_axis: Annotated[
        float | None,
        typer.Option(
            help="degrees the tilt axis leans from +x (right) to +row (up), after --axis: where the search begins; "
            "default: as recorded, or as the images show"
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=0, help="of projection matching, at most")] = 10,
    rows: Rows = None,
    bin_: Bin = 1,
    background: Background = None,
    bright_field: BrightField = False,
    pixel_nm: PixelNm = None,
    despike: Despike = False,
    smooth: Smooth = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace files that are already there")
    ] = False,
) -> None:
    """Align SERIES into OUT, with its angles (.tlt) and what was found (.json) beside it.

    Shifts and tilt axis are estimated from images binned to at most 512 pixels. Lengths are in pixels of OUT.
    """
    from etlab import pipeline
    from etlab.io import check_output
    from etlab.pipeline.describe import lean_of

    with errors_in_one_line():
        check_output(out, overwrite=overwrite)
        angles, found_file = out.with_suffix(".tlt"), out.with_suffix(".json")
        for path in (angles, found_file):
            if path.is_dir():
                raise FileExistsError(f"{path} is a folder, which is not replaced")
            if path.exists() and not overwrite:
                raise FileExistsError(f"{path} exists; pass overwrite=True to replace it")
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
            bright=True,
            despike=despike,
            smooth=smooth,
            tilt_axis=tilt_axis,
        )
        edge = pixel_nm * bin_ if pixel_nm else images.pixel_nm
        if edge is None:
            raise ValueError(f"{series}: does not say how large its pixels are; use --pixel-nm")
        how = {"thickness": thickness, "bead_radius": bead_radius, "n_rounds": rounds, "progress": True}
        start = lean_of(images.series) if tilt_axis is None else tilt_axis
        with warnings_as_notes():
            found = pipeline.estimate_alignment(
                images, method=method.replace("-", " "), tilt_axis_deg=start, **how
            )
        say(said(found))
        verdict = spared("verdict", lambda: pipeline.judge(replace(images, alignment=found)))
        if verdict:
            say(verdict.in_words())
        about = {
            "series": str(series.absolute()),
            "rows": images.rows,
            "binning": bin_,
            "background": images.background,
            "bright field": bright_field,
            "method": method,
            "pixel_nm": edge,
            "tilts_deg": found.tilts_deg.tolist(),
            "shifts (rows, columns)": found.shifts.tolist(),
            "tilt_axis_deg": found.tilt_axis_deg,
            "tilt_axis_offset": found.tilt_axis_offset,
            "residuals": [float(one) if np.isfinite(one) else None for one in found.residuals],
            "half-set misfits": list(found.misfits),
            "verdict": verdict and verdict.numbers(),
        }

        def write_beside():
            np.savetxt(angles, found.tilts_deg, fmt="%.6f")
            text = json.dumps(about, indent=1)
            spared(str(found_file), lambda: found_file.write_text(text, encoding="utf-8"))

        pipeline.write_prepared(
            replace(images, alignment=found),
            out,
            pixel_nm=edge,
            provenance={"aligned": method, "from": str(series)},
            overwrite=overwrite,
            finish=write_beside,
        )
        say(f"{out}: aligned; {angles}: its angles; {found_file}: what was found")
