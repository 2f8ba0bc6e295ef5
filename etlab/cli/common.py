"""What every command does alike: say in one line, and in its own words, what the user can mend."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

ALIKE = "axis background columns dataset memory method only overlap overwrite rows thickness tilts workers"
OTHERWISE = {"binning": "--bin", "n_iter": "--iterations", "n_rounds": "--rounds", "voxel_nm": "--pixel-nm"}
OPTIONS = {name: f"--{name}" for name in ALIKE.split()} | OTHERWISE  # the package's arguments


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """What the user can mend is said in one line, without a traceback."""
    from etlab.challenge.evaluate_all import DaskError
    from etlab.challenge.sandbox import SandboxError
    from etlab.data import DataError
    from etlab.slabs import SlabError
    from etlab.solvers.learned import WeightsError

    try:
        yield
    except (
        ValueError,
        OSError,
        MemoryError,
        WeightsError,
        SandboxError,
        DaskError,
        SlabError,
        DataError,
    ) as error:
        typer.echo(f"error: {in_options(from_here(str(error)))}", err=True)
        raise typer.Exit(1) from error


def in_options(message: str) -> str:
    """What the package says of its arguments, said of options: ``rows: got …``, of --rows."""
    message = re.sub(r"^(\w+)(?=:)", lambda name: OPTIONS.get(name[1], name[1]), message)
    return re.sub(r"pass (\w+)=(?:True)?", lambda name: f"use {OPTIONS.get(name[1], name[1])}", message)


def from_here(text: str) -> str:
    """Full paths of what is below the current folder as one would type them."""
    here = Path.cwd()
    return text if here == here.parent else text.replace(f"{here}{os.sep}", "")
