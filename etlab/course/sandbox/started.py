"""A program that has been started and waits for the word: what every backend hands to the one that watches it."""

from __future__ import annotations

import contextlib
import select
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

from etlab.course.sandbox.enter import GO, READY
from etlab.course.sandbox.limits import Job, SandboxError

PATIENCE_S = 60.0  # a container engine may take long to start


class Started(ABC):
    """A sandbox in which `enter.py` waits.

    ``process`` is what was started here and ends with the program, ``own`` the number of threads below and with it
    that are not the program's (None where its processes are not below it), ``work`` an open folder: the program's.
    """

    process: subprocess.Popen
    own: int | None
    work: int

    @abstractmethod
    def written(self) -> tuple[int, int]:
        """Bytes and number of files that the program now has in its folder."""

    @abstractmethod
    def kept_in_memory(self) -> int:
        """Bytes of its temporary files, where these are kept in memory, and of its sockets' buffers."""

    @abstractmethod
    def kill(self) -> None:
        """End everything that belongs to it, and wait until it has ended. May be called again."""

    def go(self) -> None:
        """Let the program begin. Raises SandboxError if there is nothing left that could."""
        try:
            self.process.stdin.write(GO)
        except OSError as error:
            raise SandboxError("the sandbox ended before the program began") from error


class Backend(ABC):
    """A way to run programs, under its ``name``."""

    name: str

    @abstractmethod
    def start(self, job: Job) -> AbstractContextManager[Started]:
        """Start the sandbox of a job; when the context is left nothing of it is running, and nothing remains of it.

        Raises SandboxError if that does not work.
        """


def spawn(arguments: list[str], **options) -> subprocess.Popen:
    """Start a process, out of reach of the terminal, with pipes to it and from it. Raises SandboxError."""
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


def wait_until_ready(process: subprocess.Popen) -> None:
    """Return once `enter.py` has said that it is there. Raises SandboxError with what was said instead."""
    said = b""
    deadline = time.monotonic() + PATIENCE_S
    while not said.endswith(READY):
        left = deadline - time.monotonic()
        heard = select.select([process.stdout], [], [], max(left, 0))[0]
        more = process.stdout.read(4096) if heard else b""
        if not more:
            raise SandboxError(said.decode(errors="replace").strip() or "the sandbox did not start")
        said += more


def end(process: subprocess.Popen) -> None:
    """Kill a process of ours, wait for it and close its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            pipe.close()
