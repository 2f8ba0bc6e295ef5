"""A whole class: many submissions evaluated side by side, on this machine or on many.

Every worker takes one submission at a time, so as many sandboxes run at once as there are workers, and memory is
bounded by their limits. Workers of this machine cannot be reached by its other users
(`etlab.course.challenge.workers`). Those of a dask cluster must see the same folders and have the same sandbox; who may
reach them is the cluster's affair.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from types import ModuleType

from tqdm.auto import tqdm

from etlab.course.challenge import workers as local
from etlab.course.challenge.evaluate import Evaluator
from etlab.course.challenge.handin import HandInError, submission_name
from etlab.course.challenge.unpack import shown


class DaskError(RuntimeError):
    """dask is missing. The message says what to do, in a line."""


def found_submissions(folder: str | os.PathLike) -> tuple[dict[str, Path], dict[str, str]]:
    """Folders and zips in ``folder`` by the name of the submission; and what else is there, and why it is none.

    Of several with the same name, in capitals or not, none is taken. Hidden files are left out. Raises ValueError if
    there is nothing at all.
    """
    by_name: dict[str, list[Path]] = {}
    refused = {}
    for one in sorted(Path(folder).absolute().iterdir()):
        if one.name[0] == ".":
            continue
        try:
            if not one.is_dir() and one.suffix.lower() != ".zip":
                raise HandInError("expected a folder or a zip")
            by_name.setdefault(submission_name(one).casefold(), []).append(one)
        except HandInError as error:
            refused[shown(one.name)] = str(error)
    if not by_name and not refused:
        raise ValueError(f"{folder}: expected folders or zips, one for each submission, found none")
    for same in by_name.values():
        if len(same) > 1:
            names = " and ".join(one.name for one in same)
            refused |= {one.name: f"name: got {names}, expected one submission of this name" for one in same}
    return {submission_name(same[0]): same[0] for same in by_name.values() if len(same) == 1}, refused


def evaluate_all(
    evaluator: Evaluator,
    submissions: Mapping[str, Path],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    renew: bool = False,
    progress: bool = True,
) -> dict[str, str]:
    """Evaluate submissions, folders or zips by name, in parallel; returns those that could not be, and why.

    ``workers`` processes on this machine (default: one for each processor), or those of the dask ``scheduler`` at an
    address. What is recorded already is not run again, unless ``renew``. Whatever goes wrong with one submission, a
    worker killed or without a sandbox, costs only that one.

    Raises DaskError if dask is needed and missing, SandboxError if nothing can be run here, OSError if no scheduler
    answers.
    """
    distributed = None if scheduler is None else _imported_distributed()
    evaluator.warm()
    todo = list(submissions.items())
    random.shuffle(todo)  # two evaluators at work seldom wait for the same one
    work, failed = partial(_evaluate, evaluator, renew), {}
    if distributed is None or scheduler is None:
        ended = local.side_by_side(work, todo, workers or os.cpu_count() or 1)
    else:
        ended = _on_cluster(distributed, scheduler, work, todo)
    bar = tqdm(total=len(todo), desc="submissions", unit="submission", disable=not progress)
    with bar, closing(ended):
        for (name, _), reason in ended:
            if reason:
                failed[name] = shown(reason, 300)
            bar.update()
            bar.set_postfix_str(name)
    return failed


def _evaluate(evaluator: Evaluator, renew: bool, submission: tuple[str, Path]) -> str:
    """Evaluate a submission, and return why that failed; nothing if it did not."""
    name, source = submission
    try:
        evaluator(source, name=name, renew=renew)
    except HandInError as error:
        return str(error)
    return ""


def _imported_distributed() -> ModuleType:
    """Import dask's scheduler. Raises DaskError where there is none."""
    try:
        import distributed
    except ImportError as error:
        raise DaskError("a scheduler needs dask: pip install 'dask[distributed]'") from error
    return distributed


def _on_cluster(
    distributed: ModuleType, scheduler: str, work: Callable, todo: list
) -> Generator[tuple[tuple[str, Path], str], None, None]:
    """Return what `etlab.course.challenge.workers.side_by_side` yields, from the workers of a cluster."""
    with distributed.Client(scheduler) as client:
        futures = {client.submit(work, one, pure=False): one for one in todo}
        for future in distributed.as_completed(list(futures)):
            error = future.exception()
            yield futures.pop(future), f"{type(error).__name__}: {error}" if error else future.result()
            future.release()
