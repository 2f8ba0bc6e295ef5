"""All trainings behind the course's learned rows: ``python -m training.study FOLDER``, hours on a processor.

First the nine networks that etlab ships, into ``etlab/weights``; then the same recipes from other seeds and without one
scene family each, into FOLDER, for ``etlab benchmark training FOLDER``. What is there is not made again, and a training
that was interrupted goes on where it was, so the command may be stopped at any time; ``--part 1 --of 2`` and
``--part 2 --of 2`` share the work between two processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from etlab.course.benchmark.training import Training, study
from etlab.solvers.methods import LEARNED
from training.data import CacheError
from training.export import ExportError, export, write_card
from training.recipes import PRECISION, RECIPES
from training.run import card, train
from training.settings import Settings, TrainingError


def everything() -> list[Training]:
    """Return the shipped trainings, then those of the study that are not among them."""
    shipped = [Training(method) for method in LEARNED]
    return shipped + [one for one in study() if one not in shipped]


def main(
    folder: Annotated[Path, typer.Argument(help="where weights go that etlab does not ship")],
    part: Annotated[int, typer.Option(min=1, help="which part of the work to do")] = 1,
    of: Annotated[int, typer.Option(min=1, help="number of parts")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """Train what is not there yet, one after the other."""
    torch.set_num_threads(1)  # for such small networks best; two parts use two processors
    try:
        for one in everything()[part - 1 :: of]:
            out = one.weights(folder)
            if out.with_suffix(".json").exists():  # the card is written last
                continue
            name = LEARNED[one.method]
            settings = Settings(
                name, one.seed, RECIPES[name].steps, without=one.without or None, precision=PRECISION
            )
            run = train(settings, device=device)
            write_card(out, card(run, export(run.average.module, out), threads=1))
            typer.echo(f"{out}: validation {run.curve[0][2]:.2f} -> {run.curve[-1][2]:.2f}")
    except (TrainingError, CacheError, ExportError, OSError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
