"""Measured tables: what is measured cell by cell, kept in a file, and resumed; and where its numbers come from.

A cell (a frozen dataclass) names one measurement, an outcome (another) is its result. Cells belong to parts, such as
the rows of a board, and each part has its own provenance: code, versions, date, kind of machine. So when its code or
its weights have changed, a part can be measured again without the others.
"""

from __future__ import annotations

import csv
import datetime
import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from tqdm.auto import tqdm

from etlab.atomic import replacing

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CellT = TypeVar("CellT", bound="DataclassInstance")
OutcomeT = TypeVar("OutcomeT", bound="DataclassInstance")
Provenance = dict[str, Any]

SAME = 1e-4  # relative and absolute; another processor rounds differently, and iterations amplify it
PACKAGES = ("numpy", "scipy", "numba", "scikit-image")


@dataclass(frozen=True)
class Study(Generic[CellT, OutcomeT]):
    """One measured table.

    Parameters
    ----------
    path
        The committed results (JSON).
    cell, outcome
        Dataclasses of what is measured and of what came out. Fields of an outcome with "seconds" in their names are
        times, which are not compared.
    measure
        Yield cells with their outcomes.
    part
        Name the part that a cell belongs to.
    code
        Return the hash of all code, settings and weights that decide the results of a part.
    settings
        Return what else the provenance of a part records.
    packages
        Return the packages whose versions the provenance of a part records.
    check
        Raise an error if a part cannot be measured here.
    describe
        Return a few words on an outcome for the progress bar.
    """

    path: Path
    cell: type[CellT]
    outcome: type[OutcomeT]
    measure: Callable[[list[CellT]], Iterator[tuple[CellT, OutcomeT]]]
    part: Callable[[CellT], str]
    code: Callable[[str], str]
    settings: Callable[[str], dict[str, object]] = lambda part: {}
    packages: Callable[[str], tuple[str, ...]] = lambda part: PACKAGES
    check: Callable[[str], object] = lambda part: None
    describe: Callable[[CellT, OutcomeT], str] = lambda cell, outcome: ""

    def run(
        self, path: Path, todo: list[CellT], *, renew: bool = False, confirm: int = 0, progress: bool = True
    ) -> dict[CellT, OutcomeT]:
        """Measure what ``path`` (JSON) does not hold yet, saving after every cell, and return all that was asked for.

        An interrupted run resumes. At the end everything that the file holds is also written as a table (CSV).

        Raises ValueError if the file holds results of a part of ``todo`` that other code made, unless ``renew``
        measures these parts again, or ``confirm`` of the cells of each give the same numbers once more.
        """
        origins, results = self.load(path) if path.exists() else ({}, {})
        today = self._today(todo)
        stale = [part for part in today if part in origins and origins[part]["code"] != today[part]["code"]]
        if stale and not renew:
            if not confirm:
                raise ValueError(
                    f"{path}: other code made the results of {', '.join(stale)}; use --renew to measure them again, "
                    "--confirm 3 if they should be the same, or another file"
                )
            cells = [[cell for cell in results if self.part(cell) == part] for part in stale]
            again = [cell for of_part in cells for cell in _some(of_part, confirm)]
            _compare(path, results, self._measured(again, progress))
            origins |= {part: _confirmed(origins[part], today[part], confirm) for part in stale}
            save(path, results, origins)
            stale = []
        results = {cell: outcome for cell, outcome in results.items() if self.part(cell) not in stale}
        for cell, outcome in self._measured([cell for cell in todo if cell not in results], progress):
            results[cell] = outcome
            origins[self.part(cell)] = today[self.part(cell)]
            save(path, results, {part: origins[part] for part in dict.fromkeys(map(self.part, results))})
        if results:
            write_csv(path.with_suffix(".csv"), results)
        return {cell: results[cell] for cell in todo}

    def _today(self, todo: list[CellT]) -> dict[str, Provenance]:
        """Return today's provenance of each part that is measured. Raises an error if one cannot be."""
        parts = list(dict.fromkeys(map(self.part, todo)))
        for part in parts:
            self.check(part)
        return {part: self.provenance(part) for part in parts}

    def _measured(self, todo: list[CellT], progress: bool) -> Iterator[tuple[CellT, OutcomeT]]:
        """Measure cells under a progress bar."""
        hidden = not progress or not todo
        with tqdm(self.measure(todo), total=len(todo), unit="cell", disable=hidden) as bar:
            for cell, outcome in bar:
                yield cell, outcome
                bar.set_postfix_str(self.describe(cell, outcome))

    def provenance(self, part: str) -> Provenance:
        """Return with what, when and where results of a part are made today."""
        return provenance(self.code(part), packages=self.packages(part), **self.settings(part))

    def load(self, path: Path | None = None) -> tuple[dict[str, Provenance], dict[CellT, OutcomeT]]:
        """Return the provenance of each part, and the results; by default the committed ones.

        Raises ValueError for a file that `run` did not write.
        """
        path = path or self.path
        keys = tuple(self.cell.__dataclass_fields__)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            results = {
                self.cell(**{key: row[key] for key in keys}): self.outcome(
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


def _some(cells: list[CellT], n: int) -> list[CellT]:
    """Choose ``n`` cells, always the same, in their order: neighbours may share a simulation."""
    chosen = np.random.default_rng(0).choice(len(cells), min(n, len(cells)), replace=False)
    return [cells[index] for index in sorted(chosen)]


def _compare(path: Path, results: dict[CellT, OutcomeT], again: Iterable[tuple[CellT, OutcomeT]]) -> None:
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


def _confirmed(origin: Provenance, today: Provenance, n: int) -> Provenance:
    """Return the provenance of results that today's code reproduced in ``n`` cells."""
    seen = {"cells": n, "code before": origin["code"], "date": today["date"], "packages": today["packages"]}
    return origin | {"code": today["code"], "confirmed": seen}


def provenance(code: str, *, packages: tuple[str, ...] = PACKAGES, **settings: object) -> Provenance:
    """Return with what, when and where results are made: enough to reproduce them, nothing that names a person or host.

    ``code`` is the hash of what decides them, ``packages`` are those whose versions are recorded.
    """
    return {
        "etlab": version("etlab"),
        "code": code,
        **settings,
        "packages": {name: version(name) for name in packages},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def save(path: Path, results: dict[CellT, OutcomeT], origins: dict[str, Provenance]) -> None:
    """Write results and the provenance of each part as JSON, whole or not at all."""
    rows = [asdict(cell) | asdict(outcome) for cell, outcome in results.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(json.dumps({"provenance": origins, "cells": rows}, indent=1), encoding="utf-8")


def write_csv(path: Path, results: dict[CellT, OutcomeT]) -> None:
    """Write the same results as a table, one row per cell, whole or not at all."""
    rows = [asdict(cell) | asdict(outcome) for cell, outcome in results.items()]
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
