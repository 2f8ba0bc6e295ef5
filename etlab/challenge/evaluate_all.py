"""A whole class: many submissions evaluated side by side with dask, on this machine or on many.

Every worker takes one submission at a time, so as many sandboxes run at once as there are workers, and memory is
bounded by their limits. Workers on other machines must see the same folders and have the same sandbox.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from tqdm.auto import tqdm

from etlab.challenge.evaluate import Evaluator
from etlab.challenge.handin import HandInError, submission_name
from etlab.challenge.unpack import shown


class DaskError(RuntimeError):
    """dask is missing. The message says what to do, in a line."""


def found_submissions(folder: str | os.PathLike) -> tuple[dict[str, Path], dict[str, str]]:
    """Folders and zips in ``folder`` by the name of the submission; and what else is there, and why it is none.

    Hidden files are left out. Raises ValueError if there is nothing, or if two have the same name.
    """
    found, refused = {}, {}
    for one in sorted(Path(folder).absolute().iterdir()):
        if one.name[0] == ".":
            continue
        try:
            if not one.is_dir() and one.suffix.lower() != ".zip":
                raise HandInError("expected a folder or a zip")
            name = submission_name(one)
        except HandInError as error:
            refused[shown(one.name)] = str(error)
            continue
        if name in found:
            raise ValueError(f"{folder}: got two submissions called {name!r}, expected one for each name")
        found[name] = one
    if not found:
        raise ValueError(f"{folder}: expected folders or zips, one for each submission, found none")
    return found, refused


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

    Raises DaskError if dask is missing, SandboxError if nothing can be run here, OSError if no scheduler answers.
    """
    try:
        from distributed import Client, LocalCluster, as_completed
    except ImportError as error:
        raise DaskError("evaluating many submissions needs dask: pip install 'etlab[scale]'") from error
    evaluator.warm()
    todo = list(submissions.items())
    random.shuffle(todo)  # two evaluators at work seldom wait for the same one
    failed = {}
    with ExitStack() as stack:
        if scheduler is None:
            n_workers = min(workers or os.cpu_count() or 1, len(todo))
            # memory is bounded by the sandboxes; a dashboard would open a port on a machine full of secrets
            local = dict(n_workers=n_workers, threads_per_worker=1, memory_limit=0, dashboard_address=None)
            scheduler = stack.enter_context(LocalCluster(**local))
        client = stack.enter_context(Client(scheduler))
        futures = {
            client.submit(evaluator, source, name=name, renew=renew, pure=False): name
            for name, source in todo
        }
        bar = tqdm(total=len(todo), desc="submissions", unit="submission", disable=not progress)
        for future in as_completed(list(futures)):
            name = futures.pop(future)
            if error := future.exception():
                failed[name] = shown(f"{type(error).__name__}: {error}", 300)
            bar.update()
            bar.set_postfix_str(name)
            future.release()
        bar.close()
    return failed
