"""Reconstruct slabs in parallel: by threads, by processes of this machine, or by the workers of a dask cluster.

A worker reads the columns of the images that its slab needs, reconstructs, and saves the slab in a folder that all of
them see. Nothing large is sent about. dask gives a slab whose worker died to another one. Processes here talk through
pipes, which no other user of the machine can reach; a dask cluster without TLS runs the code of whoever reaches it.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from types import ModuleType

import numpy as np
from tqdm.auto import tqdm

from etlab.geometry import TiltGeometry
from etlab.pipeline.folder import Facts, SlabError, SlabFolder, code_digest
from etlab.pipeline.methods import Method
from etlab.pipeline.plan import SHARE, Slab
from etlab.pipeline.prepare import Prepared
from etlab.projector import Projector
from etlab.solvers.common import Status

STEPS = 1000  # of the progress bar, for one slab
PATIENCE = 60  # seconds in which a cluster is to have a worker


@dataclass(frozen=True, eq=False)
class Task:
    """What is done for each slab: ``task(slab)`` reconstructs it and saves it in ``folder``.

    ``code`` is the digest in the leading process: two versions of etlab must not make one volume.
    """

    images: Prepared
    method: Method
    overlap: int
    folder: SlabFolder
    code: str
    n_threads: int = 1

    def __call__(self, slab: Slab, stop: threading.Event | None = None, tell: Callable | None = None) -> None:
        """Make one slab, calling ``tell()`` in each iteration; raise CancelledError soon after ``stop`` is set."""
        if code_digest() != self.code:
            raise SlabError(
                "a worker runs another version of etlab, numpy, scipy or numba: install the same versions there"
            )
        first, last = max(slab.x0 - self.overlap, 0), min(slab.x1 + self.overlap, self.images.shape[2])
        images, tilts_deg = self.images.read(first, last), self.images.tilts_deg
        if slab.half:
            chosen = np.argsort(tilts_deg, kind="stable")[["even", "odd"].index(slab.half) :: 2]
            images, tilts_deg = images[chosen], tilts_deg[chosen]
        geometry = TiltGeometry(tilts_deg, (*self.folder.shape, last - first), images.shape[1])
        residuals: list[float] = []

        def callback(status: Status) -> bool:
            residuals.append(status.residual)
            if tell:
                tell()
            return bool(stop and stop.is_set())

        volume = self.method(Projector(geometry, n_threads=self.n_threads), images, callback)
        if stop and stop.is_set():
            raise CancelledError
        if not np.isfinite(np.vdot(volume, volume)) and not np.isfinite(volume).all():
            raise ValueError(f"{self.method}: the volume is not finite, expected numbers; check the options")
        norm = float(np.linalg.norm(images))
        del images
        facts = Facts(norm, tuple(residuals), peak_bytes())
        self.folder.save(slab, volume[:, :, slab.x0 - first : slab.x1 - first], facts)


@contextmanager
def executor(at_once: int, *, processes: bool = False, scheduler: str | None = None) -> Iterator[Executor]:
    """Yield threads of this process, processes of this machine, or the workers of a dask ``scheduler``.

    Raises SlabError if dask is needed and missing, OSError if no scheduler answers.
    """
    if scheduler is not None:
        with imported_distributed().Client(scheduler) as client:
            yield client.get_executor(pure=False)
    elif processes:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(at_once, context, initializer=_end_with_parent) as pool:
            yield pool
    else:
        with ThreadPoolExecutor(at_once) as pool:
            yield pool


def _end_with_parent() -> None:
    """End this process with the one that started it, even if that one is killed."""

    parent = multiprocessing.parent_process()
    assert parent is not None  # this runs in a child only

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def workers_of(scheduler: str) -> tuple[int, float | None]:
    """Return how many slabs a dask cluster makes at once, and the memory in bytes for each, if it is limited.

    Raises OSError if there is no such scheduler, or if it has no worker within a minute.
    """
    with imported_distributed().Client(scheduler) as client:
        client.wait_for_workers(1, timeout=PATIENCE)
        n_threads, some = client.nthreads(), client.scheduler_info()["workers"].values()
    limits = [SHARE * one["memory_limit"] / one["nthreads"] for one in some if one["memory_limit"]]
    return sum(n_threads.values()), min(limits, default=None)


def imported_distributed() -> ModuleType:
    """Return the module `distributed`. Raises SlabError, which says what to install, if it is missing."""
    try:
        import distributed
    except ImportError as error:
        raise SlabError("several machines need dask: pip install 'dask[distributed]' zarr") from error
    return distributed


def make_slabs(
    task: Task,
    slabs: Sequence[Slab],
    pool: Executor,
    *,
    there: dict[Slab, Facts] | None = None,
    progress: bool = False,
) -> dict[Slab, Facts]:
    """Make the slabs that are not ``there`` yet, verify each, and return the facts of all.

    Finished slabs are kept if an error or the user ends the run. A half set that fails is left out with a warning,
    because the volume does not need it.
    """
    facts = dict(there or {})
    todo = [slab for slab in slabs if slab not in facts]
    threads, stop = isinstance(pool, ThreadPoolExecutor), threading.Event()
    bar = _Bar(task.method, len(slabs), len(facts), shown=progress)
    futures = {}
    try:
        for slab in todo:
            more = (stop, partial(bar.iterate, slab)) if threads else ()
            futures[pool.submit(task, slab, *more)] = slab
        for future in as_completed(futures):
            slab = futures[future]
            try:
                wait_for(future, slab)
            except Exception as error:
                if not slab.half or isinstance(error, SlabError):
                    raise
                warnings.warn(f"no correlation of half sets: {error}", UserWarning, stacklevel=3)
                continue
            facts[slab] = saved_facts(task.folder, slab)
            bar.finish(slab, len(facts))
    except BaseException:
        stop.set()
        for future in futures:
            future.cancel()
        raise
    finally:
        bar.close()
    return facts


def saved_facts(folder: SlabFolder, slab: Slab) -> Facts:
    """Return the facts of a slab that was just written. Raises SlabError if it cannot be read back."""
    facts = folder.facts(slab)
    if facts is None:
        raise SlabError(
            f"{folder.path}: slab {slab.name} was written, but cannot be read back; check that all workers see this "
            "folder, and that the disk is sound"
        )
    return facts


class _Bar:
    """The progress of all slabs; each counts as `STEPS`, of which the last is its end."""

    def __init__(self, method: Method, n_slabs: int, n_there: int, *, shown: bool) -> None:
        self._n_iter, self._n_slabs = method.n_iter, n_slabs
        self._iterations: dict[Slab, int] = {}
        self._steps: dict[Slab, int] = {}  # whole steps: rounded shares would add up to more than there are
        self._tqdm = tqdm(
            total=STEPS * n_slabs,
            initial=STEPS * n_there,
            desc=str(method),
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}",
            mininterval=0.5,
            disable=not shown,
        )
        self.close = self._tqdm.close

    def _move(self, slab: Slab, steps: int) -> None:
        self._tqdm.update(steps - self._steps.get(slab, 0))
        self._steps[slab] = steps

    def iterate(self, slab: Slab) -> None:
        """Count an iteration."""
        self._iterations[slab] = n = self._iterations.get(slab, 0) + 1
        self._move(slab, min(STEPS * n // self._n_iter, STEPS - 1))

    def finish(self, slab: Slab, n_finished: int) -> None:
        """Count a slab as finished."""
        self._move(slab, STEPS)
        self._tqdm.set_postfix_str(f"{n_finished} of {self._n_slabs} slabs")


def wait_for(future: Future, slab: Slab) -> None:
    """Raise the error of a slab, if any; SlabError if it was lost with its workers or the whole cluster."""
    try:
        future.result()
    except CancelledError as error:
        raise SlabError(
            f"slab {slab.name}: cancelled by the cluster; is its scheduler still there?"
        ) from error
    except Exception as error:
        # the first is dask's, which need not be there
        if type(error).__name__ != "KilledWorker" and not isinstance(error, BrokenProcessPool):
            raise
        raise SlabError(
            f"slab {slab.name}: every worker that tried it died, perhaps for want of memory: lower the limit of "
            "memory, or give the workers more"
        ) from error


def peak_bytes() -> float:
    """Return the most memory that this process has held, in bytes; 0 where that is unknown (Windows)."""
    try:
        import resource
    except ImportError:
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
