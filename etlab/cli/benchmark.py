"""``etlab benchmark …``: measure every method, the calibration and the trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from tqdm.auto import tqdm

from etlab.atomic import replacing
from etlab.cli.common import errors_in_one_line, say

app = typer.Typer(no_args_is_help=True, help="Measure every method on the benchmark's scenes.")

Out = Annotated[Path, typer.Option("--out", "-o", help="results file (JSON); a CSV is written beside it")]
Methods = Annotated[
    list[str] | None, typer.Option("--method", "-m", help="a row name, may be repeated; default all")
]
Preset = Annotated[str, typer.Option(help="standard (64×128×128) or small (32×64×64)")]
Renew = Annotated[bool, typer.Option("--renew", help="measure again the results of other code or weights")]
Confirm = Annotated[
    int,
    typer.Option(
        min=0,
        help="accept results of other code if this many of each row come out the same again",
    ),
]


@app.command()
def standard(
    out: Out = Path("standard.json"),
    method: Methods = None,
    preset: Preset = "standard",
    renew: Renew = False,
    confirm: Confirm = 0,
) -> None:
    """Measure all methods on four scenes and three seeds, with the exact operator. Resumable."""
    from etlab.course.benchmark import board
    from etlab.course.benchmark.standard import cells
    from etlab.course.benchmark.studies import STANDARD

    with errors_in_one_line():
        todo = cells(methods=_or_all(method), preset=preset)
        results = STANDARD.run(out, todo, renew=renew, confirm=confirm)
    typer.echo(board.as_text(board.standard_board(results)))


@app.command()
def mismatch(
    out: Out = Path("mismatch.json"),
    method: Methods = None,
    preset: Preset = "standard",
    renew: Renew = False,
    confirm: Confirm = 0,
) -> None:
    """Measure the gallery: nominal operator (I), unknown mismatch (II), known mismatch (III). Resumable."""
    from etlab.course.benchmark import board
    from etlab.course.benchmark.standard import SCENARIOS, TEST_SEEDS, cells
    from etlab.course.benchmark.studies import GALLERY

    with errors_in_one_line():
        todo = cells(methods=_or_all(method), preset=preset, scenarios=SCENARIOS, seeds=TEST_SEEDS[:1])
        results = GALLERY.run(out, todo, renew=renew, confirm=confirm)
    typer.echo(board.gallery_text(board.gallery(results)))


@app.command()
def calibration(
    out: Out = Path("calibration.json"),
    preset: Preset = "standard",
    fiducials: Annotated[bool, typer.Option(help="with gold beads on the film, or without")] = True,
    renew: Renew = False,
    confirm: Confirm = 0,
) -> None:
    """Measure blind calibration on fresh draws of the mismatch in the public ranges. Resumable."""
    from etlab.course.benchmark.calibration import as_text, draws
    from etlab.course.benchmark.studies import CALIBRATION

    with errors_in_one_line():
        todo = draws(preset=preset, fiducials=fiducials)
        results = CALIBRATION.run(out, todo, renew=renew, confirm=confirm)
    typer.echo(as_text(results))


@app.command()
def hallucination(
    out: Out = Path("hallucination.json"),
    method: Methods = None,
    preset: Preset = "standard",
    renew: Renew = False,
    confirm: Confirm = 0,
) -> None:
    """Measure how much of fringes inside and outside the missing wedge each method shows. Resumable."""
    from etlab.course.benchmark.hallucination import cells
    from etlab.course.benchmark.studies import HALLUCINATION

    with errors_in_one_line():
        todo = cells(methods=_or_all(method), preset=preset)
        results = HALLUCINATION.run(out, todo, renew=renew, confirm=confirm)
    for cell, shown in results.items():
        typer.echo(
            f"{cell.method:12s}{cell.scene:10s} invented {shown.invented:.3f} (by chance {shown.chance:.3f})   "
            f"hidden {shown.hidden:+.3f}   measured {shown.measured:+.3f}"
        )


@app.command()
def training(
    weights: Annotated[
        Path, typer.Argument(help="folder of the weights that `python -m training.study` made")
    ],
    out: Out = Path("training.json"),
    renew: Renew = False,
    confirm: Confirm = 0,
) -> None:
    """Measure other trainings of the learned rows: other seeds, and scene families left out. Resumable."""
    from etlab.course.benchmark.studies import trainings
    from etlab.course.benchmark.training import as_text, cells, study

    with errors_in_one_line():
        results = trainings(weights).run(out, cells(study()), renew=renew, confirm=confirm)
    typer.echo(as_text(results))


@app.command()
def blind(
    out: Out = Path("blind.json"),
    method: Methods = None,
    preset: Preset = "standard",
    scenes: Annotated[int, typer.Option(min=1, help="scenes in each tier")] = 4,
    renew: Renew = False,
    confirm: Confirm = 0,
) -> None:
    """Measure the blind board: nine rows on three tiers, calibrated, uncalibrated and with the truth. Resumable."""
    from etlab.cli.challenge import DEMO_NOTICE
    from etlab.course.benchmark import blind_board
    from etlab.course.benchmark.blind import cells
    from etlab.course.benchmark.studies import BLIND

    typer.echo(DEMO_NOTICE, err=True)
    with errors_in_one_line():
        todo = cells(methods=tuple(method) if method else None, preset=preset, n_scenes=scenes)
        results = BLIND.run(out, todo, renew=renew, confirm=confirm)
    typer.echo(blind_board.as_text(results))


@app.command()
def gallery(
    out: Annotated[Path, typer.Option("--out", "-o", help="picture to write (PNG, SVG or PDF)")] = Path(
        "gallery.png"
    ),
    method: Annotated[str, typer.Option("--method", "-m", help="a row name")] = "CS-ET",
    preset: Preset = "standard",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace a picture that is already there")
    ] = False,
) -> None:
    """Draw four scenes by one method: truth, nominal operator (I), unknown mismatch (II), known mismatch (III)."""
    from etlab import plot
    from etlab.course.benchmark.standard import SCENARIOS, TEST_SEEDS, cells, reconstructions

    with errors_in_one_line():
        if out.exists() and not overwrite:
            raise FileExistsError(f"{out} is already there; use --overwrite to replace it, or another name")
        todo = cells(methods=(method,), preset=preset, scenarios=SCENARIOS, seeds=TEST_SEEDS[:1])
        rows: dict[str, dict[str, np.ndarray]] = {}
        for made in tqdm(reconstructions(todo), total=len(todo), unit="reconstruction"):
            middle = made.volume.shape[2] // 2
            row = rows.setdefault(made.cell.scene, {"truth": made.sample.x_true[:, :, middle]})
            row[f"{made.cell.scenario}: {made.score().psnr_db:.1f} dB"] = made.volume[:, :, middle]
        plot.use_style()
        with replacing(out) as part:
            plot.gallery(rows).savefig(part, format=out.suffix[1:])


def _or_all(method: list[str] | None) -> tuple[str, ...] | None:
    """Return the methods asked for; if none, those that can be run here, naming the others."""
    from etlab.course.benchmark.standard import not_runnable

    if method:
        return tuple(method)
    for row, reason in not_runnable().items():
        say(f"left out: {row}: {reason}", err=True)
    return None
