"""Run processes of this machine side by side, which end with the process that started them.

They talk through pipes alone. A pipe has no name and no port, so no other user of the machine can reach a worker.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from multiprocessing import connection
from typing import Any, TypeVar

# "fork" copies locks that threads hold, and "forkserver" listens on a socket.
CONTEXT = multiprocessing.get_context("spawn")
T = TypeVar("T")
DIED = "its worker was killed twice, for want of memory perhaps: evaluate it again, with fewer workers"


def side_by_side(
    work: Callable[[T], str], items: Sequence[T], n_workers: int
) -> Generator[tuple[T, str], None, None]:
    """Yield each item with what ``work(item)`` returns, as soon as it is done; an exception becomes a text.

    An item whose worker dies is given to another one, once.
    """
    waiting = deque((item, True) for item in items)
    idle: list[_Worker] = []
    busy: dict[object, _Worker] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < n_workers:
                worker = idle.pop() if idle else _Worker(work)
                worker.begin(*waiting.popleft())
                busy[worker.pipe] = worker
            for pipe in connection.wait([worker.pipe for worker in busy.values()]):
                worker = busy.pop(pipe)
                try:
                    said = worker.pipe.recv()
                    idle.append(worker)
                except (EOFError, OSError):
                    worker.end()
                    if worker.once_more:
                        waiting.append((worker.item, False))
                        continue
                    said = DIED
                yield worker.item, said
    finally:
        for worker in (*idle, *busy.values()):
            worker.end()


class _Worker:
    """A process, our end of the pipe to it, and the item that it was given."""

    def __init__(self, work: Callable[[Any], str]) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_serve, args=(theirs, work), daemon=True)
        self.process.start()
        theirs.close()

    def begin(self, item: Any, once_more: bool) -> None:
        """Give the process an item."""
        self.item, self.once_more = item, once_more
        with contextlib.suppress(OSError):  # it has died: then there is nothing to receive from it, either
            self.pipe.send(item)

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: connection.Connection, work: Callable[[Any], str]) -> None:
    """Do what comes through the pipe, until the other process ends."""
    # Ctrl-C reaches us, too, but whoever started us ends us. Programs would inherit that a signal is ignored.
    signal.signal(signal.SIGINT, lambda *_: None)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(_said(work, pipe.recv()))


def _end_with_parent() -> None:
    """End this process when the one that started it has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _said(work: Callable[[Any], str], item: Any) -> str:
    """Return what ``work`` returns for an item, or the error that it raised."""
    try:
        return work(item)
    except Exception as error:  # whatever it is, it costs this item alone
        return f"{type(error).__name__}: {error}"
