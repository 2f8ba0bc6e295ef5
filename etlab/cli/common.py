"""What every command does alike: how it prints, and which errors it explains in one line."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import typer

Made = TypeVar("Made")

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
            say(f"error: {in_options(str(error))}", err=True)
            raise typer.Exit(1) from error


def spared(what: str, make: Callable[[], Made]) -> Made | None:
    """Return what ``make()`` returns. If that side product fails, say so and return None: the product counts."""
    try:
        return make()
    except Exception as error:
        say(f"warning: no {what}: {type(error).__name__}: {error}", err=True)
        return None


def say(text: object, *, err: bool = False) -> None:
    """Print one line, paths as one would type them, with what a terminal would interpret written as an escape."""
    typer.echo(escaped(from_here(str(text))), err=err)


def say_table(text: str) -> None:
    """Print a text of several lines, each as `say` does."""
    for line in text.split("\n"):
        say(line)


def escaped(text: str) -> str:
    r"""Write line breaks, control characters, direction marks and odd bytes as in Python's strings: ``\x1b``."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def is_mendable(error: Exception) -> bool:
    """Tell whether an error speaks to the user: about an argument, a file or memory, or one of etlab's own kinds."""
    own = any(kind.__module__.partition(".")[0] == "etlab" for kind in type(error).__mro__)
    return own or isinstance(error, ValueError | OSError | MemoryError)


def _as_note(show):
    """Return a function that prints warnings as a note, and hands all but plain ones to ``show``."""

    def show_warning(message, category, *where, **options):
        if category is UserWarning:
            say(f"note: {message}", err=True)
        else:
            show(message, category, *where, **options)

    return show_warning


def say_anything() -> None:
    """Have the standard streams take everything: also where they are closed, or cannot encode the name of a file."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell: a file opened later must not take its number
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        if hasattr(stream := getattr(sys, name), "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if not isinstance(sys.stderr, _Lossy):
        sys.stderr = _Lossy(sys.stderr)


class _Lossy:
    """Standard error at whose other end nobody may be any more: notes and progress get lost, and the work goes on."""

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text):
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self):
        with suppress(OSError):
            self._stream.flush()


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
