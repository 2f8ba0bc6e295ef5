"""The measured tables that come with etlab, in ``etlab/tables``, and the code and weights that decide each.

`etlab.course.benchmark.standard` measures `STANDARD` and `GALLERY`; a module of its name measures each of the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from importlib.resources import files
from operator import attrgetter
from pathlib import Path

from etlab.course.benchmark import blind, calibration, hallucination, standard, training
from etlab.course.benchmark.fingerprint import code_of, digest, source
from etlab.course.benchmark.study import PACKAGES, CellT, OutcomeT, Study
from etlab.course.scenes.baselines import AS_RECORDED
from etlab.course.scenes.simulation import DOSE
from etlab.solvers.learned import network
from etlab.solvers.methods import LEARNED, METHODS, described

ETLAB = Path(str(files("etlab")))
TABLES = ETLAB / "tables"
BLIND_CODE = tuple(f"course/scenes/{name}" for name in ("baselines", "draw", "keys", "scoring"))
FROM_CARD = ("steps", "batch", "minutes of training", "machine", "date", "validation after")


def standard_code(method: str) -> str:
    """Hash what decides a row: model, scenes, solvers and scores; its settings; its weights, if it has any."""
    return digest(_source(method), described(METHODS[method]), _weights(method))


def blind_code(method: str) -> str:
    """Hash what decides a row: that of the standard board, draws and calibration."""
    modules = BLIND_CODE if method in AS_RECORDED else (*BLIND_CODE, "refocus")
    own = "".join(code_of(ETLAB / f"{name}.py") for name in modules)
    return digest(_source(method, "calibration"), own, described(METHODS[method]), _weights(method))


def calibration_code(part: str) -> str:
    """Hash what decides all draws: model, scenes, solvers, calibration."""
    return digest(source(["phantoms", "solvers", "calibration"]), described(METHODS[calibration.METHOD]))


def hallucination_code(method: str) -> str:
    """Hash what decides a row: that of the standard board, and how fringes are made and found."""
    return digest(standard_code(method), code_of(Path(hallucination.__file__)))


def training_code(method: str, sha256: str) -> str:
    """Hash what decides the results of a training; ``sha256`` is that of its weights."""
    return digest(source(["phantoms", "solvers", "solvers/learned"]), described(METHODS[method]), sha256)


def _source(method: str, *packages: str) -> str:
    """Return the code of a row's model and solver, and of ``packages``."""
    return source(["phantoms", "solvers", *packages, *(["solvers/learned"] if method in LEARNED else [])])


def _weights(method: str) -> bytes:
    """Return the weights of a row, empty if it is not learned."""
    return network.weight_file(LEARNED[method]).read_bytes() if method in LEARNED else b""


def _board(
    name: str,
    cell: type[CellT],
    outcome: type[OutcomeT],
    measure: Callable[[list[CellT]], Iterator[tuple[CellT, OutcomeT]]],
    code: Callable[[str], str],
    settings: Callable[[str], dict[str, object]],
    describe: Callable[[CellT, OutcomeT], str],
) -> Study[CellT, OutcomeT]:
    """Return a study whose parts are the rows of a board."""
    return Study(
        TABLES / f"measured_{name}.json",
        cell,
        outcome,
        measure,
        part=attrgetter("method"),
        code=code,
        settings=settings,
        packages=lambda method: (*PACKAGES, "onnxruntime") if method in LEARNED else PACKAGES,
        check=lambda method: network.load(LEARNED[method]) if method in LEARNED else None,
        describe=describe,
    )


STANDARD = _board(
    "standard",
    standard.Cell,
    standard.Score,
    standard.measure,
    standard_code,
    lambda method: {"dose": DOSE, "mismatch of II and III": asdict(standard.MISMATCH)},
    lambda cell, score: f"{cell.method} {cell.scene} {score.psnr_db:.1f} dB",
)
GALLERY = replace(STANDARD, path=TABLES / "measured_mismatch.json")
HALLUCINATION = _board(
    "hallucination",
    hallucination.Cell,
    hallucination.Shown,
    hallucination.measure,
    hallucination_code,
    STANDARD.settings,
    lambda cell, shown: f"{cell.method} invents {shown.invented:.2f}, shows {shown.measured:.2f}",
)
BLIND = _board(
    "blind",
    blind.Cell,
    blind.Outcome,
    blind.measure,
    blind_code,
    lambda method: {"dose": DOSE, "key": "demo"},
    lambda cell, outcome: f"{cell.method} {cell.variant} {cell.tier} {outcome.score:.3f}",
)
CALIBRATION = Study(
    TABLES / "measured_calibration.json",
    calibration.Draw,
    calibration.Outcome,
    calibration.measure,
    part=lambda draw: f"{draw.preset}, {'with' if draw.fiducials else 'without'} beads",
    code=calibration_code,
    settings=lambda part: {"dose": DOSE},
    describe=calibration.errors,
)


def trainings(folder: Path) -> Study[training.Cell, training.Quality]:
    """Return the study of other trainings, whose weights are in ``folder``; a part is one of them."""
    every = {str(one): one for one in training.study()}

    def weights(part: str) -> Path:
        return every[part].weights(folder)

    def sha256(part: str) -> str:
        return hashlib.sha256(weights(part).read_bytes()).hexdigest()

    def settings(part: str) -> dict[str, object]:
        """Record the weights, and what their model card says."""
        card = json.loads(weights(part).with_suffix(".json").read_text(encoding="utf-8"))
        return {"sha256": sha256(part), "card": {key: card[key] for key in FROM_CARD}}

    return Study(
        TABLES / "measured_training.json",
        training.Cell,
        training.Quality,
        partial(training.measure, folder=folder),
        part=lambda cell: str(cell.training),
        code=lambda part: training_code(every[part].method, sha256(part)),
        settings=settings,
        check=lambda part: network.load(LEARNED[every[part].method], weights(part)),
        describe=lambda cell, quality: f"{cell.training} {cell.scene} {quality.psnr_db:.1f} dB",
    )


TRAINING = trainings(network.WEIGHTS)
