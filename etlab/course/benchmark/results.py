"""Files of measured results: a list of cells, each with what was measured, and where the numbers come from.

A cell (a frozen dataclass) says what is measured, an outcome (another) what came out. Cells belong to parts, such as
the rows of a board, and each part has its own provenance: code, versions, date, kind of machine. So a part can be
measured again, when its code or its weights have changed, without the others.
"""

from __future__ import annotations

import csv
import datetime
import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

Results = dict[Any, Any]  # from cell to outcome
SAME = 1e-4  # relative and absolute; another processor rounds otherwise, and iterations carry it on
PACKAGES = ("numpy", "scipy", "numba", "scikit-image")


def run(
    path: Path,
    todo: list,
    measure: Callable[[list], Iterator[tuple[Any, Any]]],
    kinds: tuple[type, type],
    part: Callable[[Any], str],
    origin: Callable[[str], dict[str, object]],
    *,
    renew: bool = False,
    confirm: int = 0,
    progress: bool = True,
    describe: Callable[[Any, Any], str] = lambda cell, outcome: "",
) -> Results:
    """Measure what ``path`` (JSON) does not hold yet, saving after every cell; returns all that was asked for.

    At the end all that the file holds is written beside it as a table (CSV).

    ``measure(cells)`` yields cells with their outcomes, ``kinds`` are the two dataclasses; ``part(cell)`` names the
    part that a cell belongs to and ``origin(part)`` is its provenance today. A run that was interrupted goes on where
    it stopped. Raises ValueError if the file holds results of one of these parts that other code made, unless
    ``renew`` measures those parts again, or ``confirm`` of the cells of each give the same once more.
    """
    origins, results = load(path, kinds) if path.exists() else ({}, {})
    today = {name: origin(name) for name in dict.fromkeys(map(part, todo))}
    stale = [name for name in today if name in origins and origins[name]["code"] != today[name]["code"]]
    if stale and confirm and not renew:
        again = [
            cell for name in stale for cell in _some([one for one in results if part(one) == name], confirm)
        ]
        _compare(path, results, tqdm(measure(again), total=len(again), unit="cell", disable=not progress))
        for name in stale:
            origins[name] = _confirmed(origins[name], today[name], confirm)
        save(path, results, origins)
        stale = []
    if stale and not renew:
        raise ValueError(
            f"{path}: other code made the results of {', '.join(stale)}; use --renew to measure them again, "
            "--confirm 3 if they should be the same, or another file"
        )
    results = {cell: outcome for cell, outcome in results.items() if part(cell) not in stale}
    missing = [cell for cell in todo if cell not in results]
    bar = tqdm(measure(missing), total=len(missing), unit="cell", disable=not progress or not missing)
    for cell, outcome in bar:
        results[cell] = outcome
        origins[part(cell)] = today[part(cell)]
        save(path, results, {name: origins[name] for name in dict.fromkeys(map(part, results))})
        bar.set_postfix_str(describe(cell, outcome))
    if results:
        write_csv(path.with_suffix(".csv"), results)
    return {cell: results[cell] for cell in todo}


def _some(cells: list, n: int) -> list:
    """Choose ``n`` cells, always the same, in their order: neighbours may share a simulation."""
    chosen = np.random.default_rng(0).choice(len(cells), min(n, len(cells)), replace=False)
    return [cells[index] for index in sorted(chosen)]


def _compare(path: Path, results: Results, again: Iterable[tuple[Any, Any]]) -> None:
    """Raise ValueError unless what is measured ``again`` gives the same numbers, times aside."""
    for cell, outcome in again:
        before, after = (
            {name: value for name, value in asdict(one).items() if "seconds" not in name}
            for one in (results[cell], outcome)
        )
        differ = [
            name
            for name in before
            if not np.isclose(before[name], after[name], rtol=SAME, atol=SAME, equal_nan=True)
        ]
        if differ:
            told = ", ".join(f"{name} {before[name]:.6g} is now {after[name]:.6g}" for name in differ)
            raise ValueError(f"{path}: {cell}: {told}; use --renew to measure again")


def _confirmed(origin: dict, today: dict, n: int) -> dict[str, object]:
    """Return the provenance of results that today's code was seen to give again in ``n`` cells."""
    seen = {"cells": n, "code before": origin["code"], "date": today["date"], "packages": today["packages"]}
    return origin | {"code": today["code"], "confirmed": seen}


def provenance(code: str, **settings: object) -> dict[str, object]:
    """With what, when and where results were made; enough to make them again, nothing that names a person or host."""
    return {
        "etlab": version("etlab"),
        "code": code,
        **settings,
        "packages": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def save(path: Path, results: Results, origins: dict[str, dict]) -> None:
    """Write results and the provenance of each part as JSON, whole or not at all."""
    rows = [asdict(cell) | asdict(outcome) for cell, outcome in results.items()]
    text = json.dumps({"provenance": origins, "cells": rows}, indent=1)
    partial = path.with_suffix(path.suffix + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def load(path: Path, kinds: tuple[type, type]) -> tuple[dict, Results]:
    """Provenance of each part, and results, of a file that `save` wrote. Raises ValueError if it is anything else."""
    cell_kind, outcome_kind = kinds
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        keys = tuple(cell_kind.__dataclass_fields__)
        results = {
            cell_kind(**{key: row[key] for key in keys}): outcome_kind(
                **{key: value for key, value in row.items() if key not in keys}
            )
            for row in content["cells"]
        }
        origins = content["provenance"]
        if unknown := {key for key, origin in origins.items() if "code" not in origin}:
            raise ValueError(f"no provenance of {', '.join(unknown)}")
        return origins, results
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected results written by `etlab benchmark`, got something else ({error})"
        ) from error


def write_csv(path: Path, results: Results) -> None:
    """The same results as a table, a row for each cell, whole or not at all."""
    rows = [asdict(cell) | asdict(outcome) for cell, outcome in results.items()]
    partial = path.with_suffix(path.suffix + ".part")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)
