"""Train one network: ``python -m training.train dncnn --minutes 12 --seed 0``, or refine IsoNet on one's own series.

At the end the network is exported to ``etlab/weights``, compared with PyTorch, and its model card written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from etlab.data import DataError
from etlab.solvers.learned.network import WEIGHTS
from training.data import CacheError
from training.export import ExportError, export, write_card
from training.own_series import NEEDLE, NEEDLE_BIN, OwnSeries, Refinement, predictions
from training.recipes import RECIPES
from training.run import card, train
from training.settings import Settings, TrainingError

SHIPPED = WEIGHTS / "isonet.onnx"
SIMULATED_OPTIONS = ("samples", "preset", "without")
OWN_OPTIONS = ("tilts", "axis", "bin", "thickness", "background", "dose", "up_to", "start", "new")
SIMULATED = "Simulated series"
OWN = "One's own series (isonet only)"


def option(text: str, panel: str | None = None):
    """Return what ``--help`` says of an option, and under which heading."""
    return typer.Option(help=text, rich_help_panel=panel)


def main(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help=f"one of {', '.join(RECIPES)}")],
    seed: Annotated[int, option("of the first weights, the order of the slices, the noise")] = 0,
    steps: Annotated[int | None, option("length of the training in batches of eight slices")] = None,
    minutes: Annotated[float | None, option("length in minutes instead, on a CPU of processor time")] = None,
    samples: Annotated[int, option("how many simulated tilt series to learn from", SIMULATED)] = 96,
    preset: Annotated[str, option("standard (64×128×128) or small (32×64×64)", SIMULATED)] = "standard",
    without: Annotated[str | None, option("a scene family to leave out", SIMULATED)] = None,
    on: Annotated[
        str | None, option("an aligned series (MRC, HDF5) to learn from instead, or: needle", OWN)
    ] = None,
    tilts: Annotated[str | None, option("file of its angles; default: beside or in it", OWN)] = None,
    axis: Annotated[str, option("tilt axis in the file's images: x horizontal, y vertical", OWN)] = "x",
    bin: Annotated[
        int | None, option(f"pixels to make one of, default 1, {NEEDLE_BIN} for the needle", OWN)
    ] = None,
    thickness: Annotated[
        int | None, option("of a flat specimen in binned pixels; default: as thick as the image is high", OWN)
    ] = None,
    background: Annotated[float, option("intensity of vacuum in the file", OWN)] = 0.0,
    dose: Annotated[
        float | None, option("counts per unit line integral; default: estimated from the images", OWN)
    ] = None,
    up_to: Annotated[
        float | None,
        option("learn from tilts up to this angle, and measure how well the others are predicted", OWN),
    ] = None,
    start: Annotated[
        Path | None, option("weights to begin with; default: etlab/weights/isonet.onnx, if it is there", OWN)
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="begin with new weights", rich_help_panel=OWN)] = False,
    device: Annotated[str, option("cpu or cuda")] = "cpu",
    precision: Annotated[
        str, option("float32, or bfloat16, twice as fast where the processor has it in hardware")
    ] = "float32",
    threads: Annotated[int, option("of PyTorch; for such small networks one is best")] = 1,
    out: Annotated[
        Path | None, option("weight file; default etlab/weights/NAME.onnx, with --on isonet-SERIES.onnx here")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="replace the weight file if it exists")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="throw the checkpoint away")] = False,
) -> None:
    """Train a network, export it, check it and write its model card. Resumable."""
    try:
        if on is None:
            refuse(context, OWN_OPTIONS, "means nothing without --on SERIES")
            settings = Settings(name, seed, steps, minutes, samples, preset, without, precision)
        else:
            refuse(context, SIMULATED_OPTIONS, "means nothing with --on, which simulates no series")
            if new and start is not None:
                raise TrainingError("--new, --start: give one of them, the weights to begin with")
            bin = bin if bin is not None else NEEDLE_BIN if on == NEEDLE else 1
            series = OwnSeries(on, tilts, axis, bin, thickness, background, dose, up_to)
            if start is None and not new and SHIPPED.is_file():
                start = SHIPPED
            settings = Refinement(
                name,
                seed,
                steps,
                minutes,
                precision=precision,
                series=series,
                start=str(start) if start else None,
            )
        out = out or (WEIGHTS / f"{name}.onnx" if on is None else Path(f"{settings.stem}.onnx"))
        if out.exists() and not replace:
            raise TrainingError(f"{out} exists; --replace replaces it, --out writes elsewhere")
        if device == "cuda" and not torch.cuda.is_available():
            raise TrainingError("device: got cuda, but PyTorch finds none here; use --device cpu")
        torch.set_num_threads(threads)
        run = train(settings, device=device, restart=restart)
        about = card(run, export(run.average.module, out), threads=threads)
        if on is not None and up_to is not None:
            compared = {"IsoNet": out} | ({"IsoNet before": start} if start else {})
            about["images beyond, predicted"] = predictions(series, compared, run.objective.scale)
            for row, numbers in about["images beyond, predicted"].items():
                typer.echo(f"{row}: " + ", ".join(f"{what} {number}" for what, number in numbers.items()))
        write_card(out, about)
    except (TrainingError, CacheError, DataError, ExportError, ValueError, OSError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{out}: {run.step} steps, validation {run.curve[0][2]:.2f} -> {run.curve[-1][2]:.2f}")


def refuse(context: typer.Context, options: tuple[str, ...], why: str) -> None:
    """Raises TrainingError if one of ``options`` was given."""
    for name in options:
        if context.get_parameter_source(name).name != "DEFAULT":
            raise TrainingError(f"--{name.replace('_', '-')}: {why}")


if __name__ == "__main__":
    typer.run(main)
