"""``etlab fetch``: the course's needle, and public tilt series."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etlab.cli.common import errors_in_one_line, say

if TYPE_CHECKING:
    from etlab.pipeline.archives import Archive


def fetch(
    name: Annotated[str | None, typer.Argument(help="needle, or a data set; default: list them")] = None,
    only: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="files to download, e.g. '*_011.*', or '*' for all")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="folder for the files; default: one of the set's name")
    ] = None,
) -> None:
    """Download the needle or a public tilt series; without a name, list them. To resume, repeat the command."""
    from etlab.pipeline.archives import ARCHIVES, download, matching

    with errors_in_one_line():
        if name is None:
            typer.echo("needle\n  The course's own tilt series, 67 MB; free to use with its notice (NIST).")
            for key in ARCHIVES:
                _say(key, ARCHIVES[key])
            typer.echo(
                "elsewhere\n  https://etdb.caltech.edu/: series of cells, each with a licence of its own."
            )
        elif name == "needle":
            if only is not None:
                raise ValueError(f"only: got {only!r}, but the needle comes as a whole")
            _needle(out)
        elif name not in ARCHIVES:
            raise ValueError(f"name: got {name!r}, expected needle or one of {', '.join(ARCHIVES)}")
        else:
            _say(name, ARCHIVES[name])
            files = ARCHIVES[name].files()
            if only is None:
                for file in files:
                    say(f"  {file.name}" + (f"  {file.size / 1e6:.1f} MB" if file.size else ""))
                say("Nothing is downloaded yet: choose with --only PATTERN.")
                return
            for file in matching(files, only):
                say(download(file, out or Path(name)))


def _say(name: str, archive: Archive) -> None:
    typer.echo(
        f"{name}\n  {archive.about}\n  {archive.page}; licence: {archive.licence}\n  {archive.careful}"
    )


def _needle(folder: Path | None) -> None:
    from etlab.data import CITATION, fetch_needle

    there = fetch_needle(folder)
    say(f"{there / 'HAADF.mrc'}: the raw series, with its angles in HAADF.rawtlt beside it")
    say(f"cite: {CITATION}")
