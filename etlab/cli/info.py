"""``etlab info``: what a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from etlab.cli.common import errors_in_one_line, say
from etlab.cli.series import Dataset, Tilts


def info(
    file: Annotated[
        Path, typer.Argument(help="tilt series or volume: MRC, TIFF, HDF5 (.hspy, .emd), OME-Zarr (.zarr)")
    ],
    tilts: Tilts = None,
    dataset: Dataset = None,
) -> None:
    """Print what a file holds: shape, type, pixel, tilts, values, and what looks suspicious."""
    from etlab.pipeline.describe import describe

    with errors_in_one_line():
        for line in describe(file, tilts=tilts, dataset=dataset).lines():
            say(line)
