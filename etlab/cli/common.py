"""What every command does alike: say in one line, and in its own words, what the user can mend."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

DEBUG = "ETLAB_DEBUG"  # the variable that asks for tracebacks
ALIKE = (
    "axis background columns dataset memory method only overlap overwrite rows thickness tilts width workers"
)
OTHERWISE = {
    "bead_radius": "--bead-radius",
    "binning": "--bin",
    "n_iter": "--iterations",
    "n_rounds": "--rounds",
    "tilt_axis_deg": "--tilt-axis",
    "voxel_nm": "--pixel-nm",
}
OPTIONS = {name: f"--{name}" for name in ALIKE.split()} | OTHERWISE  # the package's arguments


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Say in one line what the user can mend; with ``etlab --debug``, with the traceback."""
    with warnings.catch_warnings():
        warnings.showwarning = _as_note(warnings.showwarning)
        try:
            yield
        except Exception as error:
            if os.environ.get(DEBUG) or not is_mendable(error):
                raise
            typer.echo(f"error: {in_options(from_here(str(error)))}", err=True)
            raise typer.Exit(1) from error


def is_mendable(error: Exception) -> bool:
    """Tell whether an error speaks to the user: about an argument, a file or memory, or one of etlab's own kinds."""
    own = any(kind.__module__.partition(".")[0] == "etlab" for kind in type(error).__mro__)
    return own or isinstance(error, ValueError | OSError | MemoryError)


def _as_note(show):
    """Return a function that prints warnings as a note, and hands all but plain ones to ``show``."""

    def show_warning(message, category, *where, **options):
        if category is UserWarning:
            typer.echo(f"note: {from_here(str(message))}", err=True)
        else:
            show(message, category, *where, **options)

    return show_warning


def say_anything() -> None:
    """Have the standard streams escape what they cannot encode, such as odd bytes in the name of a file."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def in_options(message: str) -> str:
    """What the package says of its arguments, said of options: ``rows: got …``, of --rows."""
    message = re.sub(r"^(\w+)(?=:)", lambda name: OPTIONS.get(name[1], name[1]), message)

    def option(told: re.Match) -> str:
        value = told[2].removeprefix("True")
        return f"use {OPTIONS.get(told[1], told[1])}" + (f" {value}" if value else "")

    return re.sub(r"pass (\w+)=([\w.-]*)", option, message)


def from_here(text: str) -> str:
    """Full paths of what is below the current folder as one would type them."""
    here = Path.cwd()
    return text if here == here.parent else text.replace(f"{here}{os.sep}", "")
