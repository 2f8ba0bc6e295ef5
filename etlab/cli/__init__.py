"""The command line: `etlab` and its commands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from etlab.cli import align, benchmark, challenge, fetch, info, reconstruct
from etlab.cli.common import DEBUG, errors_in_one_line, say_anything

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Electron tomography, small enough to be read.",
)
app.add_typer(benchmark.app, name="benchmark")
app.add_typer(challenge.app, name="challenge")
app.command()(align.align)
app.command()(fetch.fetch)
app.command()(info.info)
app.command()(reconstruct.reconstruct)


@app.callback()
def about(
    debug: Annotated[
        bool, typer.Option("--debug", help=f"show the traceback of an error; or set {DEBUG}=1")
    ] = False,
) -> None:
    """Electron tomography, small enough to be read."""
    say_anything()
    if debug:
        os.environ[DEBUG] = "1"


@app.command()
def leaderboard(
    results: Annotated[
        Path | None, typer.Argument(help="results file; default: the one that comes with etlab")
    ] = None,
) -> None:
    """Print the measured boards, standard and blind, with the published values beside, and what the methods invent."""
    from etlab.course.benchmark import blind_board, board
    from etlab.course.benchmark.studies import BLIND, GALLERY, HALLUCINATION, STANDARD

    with errors_in_one_line():
        provenance, measured = STANDARD.load(results)
    typer.echo(board.as_text(board.standard_board(measured)))
    typer.echo(board.measured_when(provenance) + "\n")
    mismatch, shown = GALLERY.load()[1], HALLUCINATION.load()[1]
    typer.echo(board.inventions_text(board.inventions(measured, mismatch, shown)))
    provenance, measured_blind = BLIND.load()
    typer.echo("\n" + blind_board.as_text(measured_blind))
    typer.echo(board.measured_when(provenance))
