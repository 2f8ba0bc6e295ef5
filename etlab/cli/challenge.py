"""``etlab challenge …``: make tiers, score answers, run submissions, make a class's board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etlab.atomic import replacing
from etlab.cli.common import errors_in_one_line, say, say_table

if TYPE_CHECKING:  # for a command that needs none of them starts sooner
    from etlab.course.challenge import Report, Tier
    from etlab.course.challenge.evaluate import Evaluator
    from etlab.course.challenge.records import Record

app = typer.Typer(
    no_args_is_help=True, help="The blind challenge: reconstruct without knowing the microscope exactly."
)

DEMO_NOTICE = (
    "note: the key is 'demo', which everybody has, so the truth of these tiers is no secret. "
    "For a class, make your own with `etlab challenge key FILE` and pass --key FILE."
)

Folder = Annotated[
    Path, typer.Option("--challenge", "-c", help="folder of the tier files, their truth in sealed/ within it")
]
Results = Annotated[Path, typer.Option("--results", "-o", help="folder of the results")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace a file that is already there")]
Unsafe = Annotated[
    bool,
    typer.Option(
        "--unsafe",
        help="if no sandbox is found, run the code without one: it can then read and change everything that you can, "
        "truth and key included",
    ),
]
Renew = Annotated[bool, typer.Option("--renew", help="evaluate again what is recorded already")]
Wall = Annotated[float, typer.Option("--wall", help="seconds that one scene may take")]
Memory = Annotated[int, typer.Option("--memory", help="MB of memory that one scene may take")]
Attempts = Annotated[
    int,
    typer.Option(
        "--attempts",
        min=1,
        help="versions of one submission that may be run on the hidden tier; logged in RESULTS/NAME/attempts.json",
    ),
]
TCP_NOTICE = (
    "WARNING: a dask scheduler without TLS authenticates nobody: whoever can reach it runs code as you and reads the "
    "truth and the key. Start it with TLS and use tls://…, see https://distributed.dask.org/en/stable/tls.html"
)


@app.command()
def key(file: Annotated[Path, typer.Argument(help="file to write, for its owner only")]) -> None:
    """Make a secret key, from which dev and hidden tiers are drawn."""
    from etlab.course.scenes.keys import new_key

    with errors_in_one_line():
        new_key(file)
    say(f"{file} holds a new key. Keep it, and keep it secret: whoever has it can draw the truth again.")


@app.command()
def make(
    tier: Annotated[str, typer.Option(help="public, dev or hidden")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for the tier's file")] = Path("challenge"),
    scenes: Annotated[int, typer.Option(min=1, help="how many")] = 4,
    preset: Annotated[str, typer.Option(help="standard (64×128×128) or small (32×64×64)")] = "standard",
    key: Annotated[Path | None, typer.Option(help="file of the secret key; default: demo")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw a tier: TIER.h5, and the truth of dev and hidden in sealed/TIER.h5."""
    from etlab.course.challenge.tiers import make_tier
    from etlab.course.scenes.keys import read_key

    with errors_in_one_line():
        secret = read_key(key) if key else None
        made = make_tier(
            out / f"{tier}.h5",
            tier,
            n_scenes=scenes,
            preset=preset,
            key=secret,
            overwrite=overwrite,
            progress=True,
        )
    say(f"{made.path}: {len(made)} scenes, {preset}")
    if made.sealed:
        say(f"{made.sealed}: their truth; keep it")
    if tier == "hidden":
        say(f"do not hand out {made.path}: students send code")
    _say_if_demo(made)


@app.command()
def score(
    submission: Annotated[Path, typer.Argument(help="answers (HDF5), as write_submission makes them")],
    tier: Annotated[
        Path, typer.Argument(help="the tier's file; public: with a score, dev: consistency only")
    ],
    sealed: Annotated[Path | None, typer.Option(help="the evaluator's file of the truth")] = None,
    report: Annotated[Path | None, typer.Option(help="picture to write (PNG, SVG or PDF)")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Score answers that you made yourself."""
    from etlab.course.challenge.submission import score_submission
    from etlab.course.challenge.tiers import load_tier

    with errors_in_one_line():
        if report and report.exists() and not overwrite:
            raise FileExistsError(
                f"{report} is already there; use --overwrite to replace it, or another name"
            )
        opened = load_tier(tier, sealed)
        scored = score_submission(submission, opened)
        say_table(str(scored))
        if report and opened.has_truth:
            _draw(report, submission, opened, scored)
            say(f"{report} shows truth, answer and difference of each scene")
        elif report:
            raise ValueError(f"{tier}: its truth is sealed, there is nothing to draw an answer beside")
    _say_if_demo(opened)


def _draw(path: Path, submission: Path, tier: Tier, scored: Report) -> None:
    """Draw the middle slices of truth, answer and their difference, a row for each scene."""
    from etlab import plot
    from etlab.course.challenge.submission import read_answer

    rows = {}
    for name, score in scored.scenes.items():
        answer, truth = (
            volume[:, :, volume.shape[2] // 2]
            for volume in (read_answer(submission, name, tier[name])[0], tier.truth(name).x_true)
        )
        found = f"answer: {score.psnr_db:.1f} dB, SSIM {score.ssim:.2f}"
        rows[name] = {"truth": truth, found: answer, "|answer − truth|": abs(answer - truth)}
    plot.use_style()
    with replacing(path) as part:
        plot.gallery(rows).savefig(part, format=path.suffix[1:])


@app.command()
def evaluate(
    submission: Annotated[Path, typer.Argument(help="folder or zip with solve.py, solve, or answers")],
    folder: Folder = Path("challenge"),
    results: Results = Path("results"),
    wall: Wall = 600,
    memory: Memory = 4096,
    attempts: Attempts = 10,
    renew: Renew = False,
    unsafe: Unsafe = False,
) -> None:
    """Run one submission in a sandbox on every tier that is there, scene by scene. Resumable."""
    from etlab.course.challenge import standings

    with errors_in_one_line():
        evaluator = _evaluator(folder, results, wall, memory, attempts, unsafe)
        evaluator.warm()
        evaluator(submission, report=_say_record, renew=renew)
        say_table(standings.as_text(standings.write(results, evaluator.tiers)))


@app.command("evaluate-all")
def evaluate_all(
    submissions: Annotated[Path, typer.Argument(help="folder of folders and zips, one per submission")],
    folder: Folder = Path("challenge"),
    results: Results = Path("results"),
    baselines: Annotated[bool, typer.Option(help="also evaluate the course's own nine rows")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="submissions at a time; default: one per processor")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="address of your own dask scheduler, tls://…")] = None,
    wall: Wall = 600,
    memory: Memory = 4096,
    attempts: Attempts = 10,
    renew: Renew = False,
    unsafe: Unsafe = False,
) -> None:
    """Run every submission of a class in parallel and write leaderboard.json and leaderboard.html. Resumable."""
    from tempfile import TemporaryDirectory

    from etlab.course.challenge import own_rows, standings
    from etlab.course.challenge.evaluate_all import evaluate_all as run
    from etlab.course.challenge.evaluate_all import found_submissions

    if scheduler and not scheduler.startswith("tls://"):
        say(TCP_NOTICE, err=True)
    with errors_in_one_line(), TemporaryDirectory(prefix="etlab-") as private:
        evaluator = _evaluator(folder, results, wall, memory, attempts, unsafe)
        found, refused = found_submissions(submissions)
        if baselines:
            found |= own_rows.write_submissions(Path(private))
        refused |= run(evaluator, found, workers=workers, scheduler=scheduler, renew=renew)
        say_table(standings.as_text(standings.write(results, evaluator.tiers)))
        say(f"{results / 'leaderboard.html'} shows it")
        for name, reason in refused.items():
            say(f"not evaluated: {name}: {reason}", err=True)
    if refused:
        raise typer.Exit(1)


def _evaluator(
    folder: Path, results: Path, wall: float, memory: int, attempts: int, unsafe: bool
) -> Evaluator:
    """Return an evaluator of the tiers in a folder, and warn of a demo key and of a missing sandbox."""
    from etlab.course import sandbox
    from etlab.course.challenge.evaluate import Evaluator
    from etlab.course.challenge.tiers import found_tiers

    tiers = found_tiers(folder.absolute())  # workers may have another current folder
    _say_if_demo(*tiers)
    backend = sandbox.find(unsafe=unsafe)
    if isinstance(backend, sandbox.Unsafe):
        say("WARNING: no sandbox: the submissions can read and change everything that you can", err=True)
    limits = sandbox.Limits(wall_s=wall, memory_mb=memory)
    return Evaluator(tiers, results.absolute(), backend, limits, attempts)


def _say_record(record: Record) -> None:
    """Print a line on a scene."""
    if record.status == "scored":
        outcome = f"{record.score.score:.3f}"
    else:
        outcome = f"{record.status}: {record.reason}" if record.reason else record.status
    say(f"{record.tier:8s}{record.scene}  {outcome}  ({record.seconds:.0f} s)")


def _say_if_demo(*tiers: Tier) -> None:
    """Warn if anyone could draw a tier again."""
    if any(tier.key == "demo" for tier in tiers):
        say(DEMO_NOTICE, err=True)
