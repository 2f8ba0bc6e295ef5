"""What all commands share: how they take options, print, and report errors in one line."""

from __future__ import annotations

import inspect
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TextIO, TypeVar, get_type_hints

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


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take each field of its arguments that are dataclasses as an option of its own."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    for one in inspect.signature(command).parameters.values():
        group = groups.get(one.name)
        known = get_type_hints(group, include_extras=True) if group else hints
        those = inspect.signature(group).parameters.values() if group else [one]
        parameters += [each.replace(kind=each.KEYWORD_ONLY, annotation=known[each.name]) for each in those]

    @wraps(command)
    def run(**given: Any) -> None:
        grouped = {
            name: kind(**{one.name: given.pop(one.name) for one in fields(kind)})
            for name, kind in groups.items()
        }
        command(**given, **grouped)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # as documented by `inspect`
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Report in one line what the user can correct; with ``etlab --debug``, as a traceback."""
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
    """Return what ``make()`` returns; report an error and return None, because only a side product is missing."""
    try:
        return make()
    except Exception as error:
        say(f"warning: no {what}: {type(error).__name__}: {error}", err=True)
        return None


def say(text: object, *, err: bool = False) -> None:
    """Print one line, with paths relative to the current folder and control characters escaped."""
    typer.echo(escaped(from_here(str(text))), err=err)


def say_table(text: str) -> None:
    """Print a text of several lines, each as `say` does."""
    for line in text.split("\n"):
        say(line)


def escaped(text: str) -> str:
    r"""Write line breaks, control characters, direction marks and odd bytes as in Python's strings: ``\x1b``."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def is_mendable(error: Exception) -> bool:
    """Return whether an error is about an argument, a file or memory, or of one of etlab's own kinds."""
    own = any(kind.__module__.partition(".")[0] == "etlab" for kind in type(error).__mro__)
    return own or isinstance(error, ValueError | OSError | MemoryError)


def _as_note(show: Callable[..., None]) -> Callable[..., None]:
    """Return a function that prints a `UserWarning` as a note, and passes others to ``show``."""

    def show_warning(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
        if category is UserWarning:
            say(f"note: {message}", err=True)
        else:
            show(message, category, *where, **options)

    return show_warning


def say_anything() -> None:
    """Let the standard streams accept everything, even if they are closed or cannot encode the name of a file."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell: a file opened later must not take its number
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        if hasattr(stream := getattr(sys, name), "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if not isinstance(sys.stderr, _Lossy):
        sys.stderr = _Lossy(sys.stderr)


class _Lossy:
    """Standard error whose reader may have gone: notes and progress are lost, and the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def in_options(message: str) -> str:
    """Replace the package's arguments in a message by options: ``rows: got …`` becomes ``--rows: got …``."""
    message = re.sub(r"^(\w+)(?=:)", lambda name: OPTIONS.get(name[1], name[1]), message)

    def option(found: re.Match) -> str:
        value = found[2].removeprefix("True")
        return f"use {OPTIONS.get(found[1], found[1])}" + (f" {value}" if value else "")

    return re.sub(r"pass (\w+)=([\w.-]*)", option, message)


def from_here(text: str) -> str:
    """Make paths below the current folder relative to it."""
    here = Path.cwd()
    return text if here == here.parent else text.replace(f"{here}{os.sep}", "")


def check_not_input(out: Path, inputs: Iterable[Path | None]) -> None:
    """Raise ValueError if ``out``, or a file that is written beside it, is one of the inputs."""
    for ending in (out.suffix, ".tlt", ".json", ".png"):
        path = out.with_suffix(ending)
        if any(path.exists() and one and one.exists() and path.samefile(one) for one in inputs):
            raise ValueError(
                f"--out: {path} is an input of this command and would be lost; choose another name"
            )
