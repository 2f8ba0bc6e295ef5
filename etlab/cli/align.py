"""``etlab align``: an aligned tilt series from a raw one."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etlab.cli.common import check_not_input, errors_in_one_line, say, spared, with_options
from etlab.cli.series import Overwrite, SeriesOptions, alignment_in_words, prepare, warnings_as_notes

if TYPE_CHECKING:
    from etlab.alignment import Alignment
    from etlab.pipeline import Prepared, Verdict


@dataclass(frozen=True)
class AlignmentOptions:
    """How shifts and tilt axis are estimated."""

    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            help="centre-of-mass: an isolated specimen; correlation: any; fiducials: beads, needs --bead-radius",
        ),
    ] = "centre-of-mass"
    thickness: Annotated[
        float | None, typer.Option(help="of a flat specimen, in pixels; with correlation")
    ] = None
    bead_radius: Annotated[float | None, typer.Option(help="in pixels; with fiducials")] = None
    tilt_axis: Annotated[
        float | None,
        typer.Option(
            help="angle in degrees from +x (right) to +row (up), after --axis, at which the search for the tilt axis "
            "begins; default: as recorded, or as the images show"
        ),
    ] = None
    rounds: Annotated[int, typer.Option(min=0, help="largest number of rounds of projection matching")] = 10


@with_options
def align(
    chosen: SeriesOptions,
    out: Annotated[Path, typer.Option("--out", "-o", help="aligned series to write: .mrc, .h5 or .zarr")],
    how: AlignmentOptions,
    overwrite: Overwrite = False,
) -> None:
    """Align SERIES and write it to OUT, with its angles (.tlt) and what was found (.json) beside it.

    Shifts and tilt axis are estimated from images binned to at most 512 pixels. Lengths are in pixels of OUT.
    """
    from etlab import pipeline
    from etlab.atomic import replacing
    from etlab.io.volumes import check_free, check_output

    with errors_in_one_line():
        check_not_input(out, (chosen.series, chosen.tilts))
        check_output(out, overwrite=overwrite)
        angles, found_file = out.with_suffix(".tlt"), out.with_suffix(".json")
        for path in (angles, found_file):
            check_free(path, overwrite)
        images = prepare(chosen, positive=True, tilt_axis=how.tilt_axis)
        edge = chosen.pixel_nm * chosen.binning if chosen.pixel_nm else images.pixel_nm
        if edge is None:
            raise ValueError(f"{chosen.series}: does not record the size of its pixels; use --pixel-nm")
        found = estimate(images, how)
        images = replace(images, alignment=found)
        verdict = spared("verdict", lambda: pipeline.judge(images))
        if verdict:
            say(verdict.in_words())
        about = json.dumps(record(chosen, how.method, images, found, edge, verdict), indent=1)

        def write_beside() -> None:
            with replacing(angles) as part:
                part.write_text("".join(f"{one:.6f}\n" for one in found.tilts_deg), encoding="utf-8")
            with replacing(found_file) as part:
                part.write_text(about, encoding="utf-8")

        origin = {"aligned": how.method, "from": str(chosen.series)}
        pipeline.write_prepared(
            images, out, pixel_nm=edge, provenance=origin, overwrite=overwrite, finish=write_beside
        )
        say(f"{out}: aligned; {angles}: its angles; {found_file}: what was found")


def estimate(images: Prepared, how: AlignmentOptions) -> Alignment:
    """Estimate the alignment, and print it."""
    from etlab.pipeline import estimate_alignment
    from etlab.pipeline.describe import lean_of

    with warnings_as_notes():
        found = estimate_alignment(
            images,
            method=how.method.replace("-", " "),
            tilt_axis_deg=lean_of(images.series) if how.tilt_axis is None else how.tilt_axis,
            thickness=how.thickness,
            bead_radius=how.bead_radius,
            n_rounds=how.rounds,
            progress=True,
        )
    say(alignment_in_words(found))
    return found


def record(
    chosen: SeriesOptions,
    method: str,
    images: Prepared,
    found: Alignment,
    pixel_nm: float,
    verdict: Verdict | None,
) -> dict[str, Any]:
    """Return what was done and found, as JSON can hold it."""
    return {
        "series": str(chosen.series.absolute()),
        "rows": images.rows,
        "binning": images.binning,
        "background": images.background,
        "bright field": images.bright_field,
        "method": method,
        "pixel_nm": pixel_nm,
        "tilts_deg": found.tilts_deg.tolist(),
        "shifts (rows, columns)": found.shifts.tolist(),
        "tilt_axis_deg": found.tilt_axis_deg,
        "tilt_axis_offset": found.tilt_axis_offset,
        "residuals": [float(one) if abs(one) < float("inf") else None for one in found.residuals],
        "half-set misfits": list(found.misfits),
        "verdict": verdict and verdict.numbers(),
    }
