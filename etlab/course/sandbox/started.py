"""A program that has been started and waits for the word to begin: what a backend hands to `supervise`."""

from __future__ import annotations

import contextlib
import select
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import IO, Any

from etlab.course.sandbox.enter import GO, READY
from etlab.course.sandbox.limits import Job, SandboxError

PATIENCE_S = 60.0


class Started(ABC):
    """A sandbox in which `enter.py` waits.

    ``process`` is what was started here and ends with the program, ``own`` the number of threads in it and below it
    that are not the program's, ``work`` the program's folder, open.
    """

    process: subprocess.Popen
    own: int
    work: int

    @abstractmethod
    def written(self) -> tuple[int, int]:
        """Return the bytes and the number of files that the program now has in its folder."""

    @abstractmethod
    def kept_in_memory(self) -> int:
        """Return the bytes of its temporary files, where memory holds them, and of its sockets' buffers."""

    @abstractmethod
    def kill(self) -> None:
        """End everything that belongs to it, and wait until it has ended. May be called again."""

    def go(self) -> None:
        """Let the program begin. Raises SandboxError if it has ended already."""
        try:
            pipes(self.process)[0].write(GO)
        except OSError as error:
            raise SandboxError("the sandbox ended before the program began") from error


class Backend(ABC):
    """A way to run programs, under its ``name``.

    Examples
    --------
    Those that there are, `find` returns.

    >>> Backend.__abstractmethods__
    frozenset({'start'})
    """

    name: str

    @abstractmethod
    def start(self, job: Job) -> AbstractContextManager[Started]:
        """Start the sandbox of a job; when the context is left nothing of it is running, and nothing remains of it.

        Raises SandboxError if that does not work.
        """


def spawn(arguments: list[str], **options: Any) -> subprocess.Popen:
    """Start a process, out of reach of the terminal, with `pipes` to it and from it. Raises SandboxError."""
    try:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            bufsize=0,
            **options,
        )
    except OSError as error:
        raise SandboxError(f"{arguments[0]} does not start: {error.strerror}") from error


def pipes(process: subprocess.Popen) -> tuple[IO[bytes], IO[bytes]]:
    """Return the pipes to and from a process that `spawn` started."""
    assert process.stdin is not None and process.stdout is not None
    return process.stdin, process.stdout


def wait_until_ready(process: subprocess.Popen) -> None:
    """Return once `enter.py` has said that it is there. Raises SandboxError with what was said instead."""
    said, told = b"", pipes(process)[1]
    deadline = time.monotonic() + PATIENCE_S
    while not said.endswith(READY):
        left = deadline - time.monotonic()
        heard = select.select([told], [], [], max(left, 0))[0]
        more = told.read(4096) if heard else b""
        if not more:
            raise SandboxError(said.decode(errors="replace").strip() or "the sandbox did not start")
        said += more


def end(process: subprocess.Popen) -> None:
    """Kill a process of ours, wait for it and close its pipes."""
    process.kill()
    process.wait()
    for pipe in pipes(process):
        with contextlib.suppress(OSError):
            pipe.close()
