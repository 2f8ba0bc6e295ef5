"""Watch a program until it ends or must end: its output, its time, its memory, its processes, its files."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable
from typing import IO

from etlab.course.sandbox.limits import MAX_FILES, MB, Limits, Outcome
from etlab.course.sandbox.started import Started, pipes
from etlab.course.sandbox.watch import Meter

PERIOD_S = 0.05
SHARE = 0.2  # of a core that watching may take: on a machine with many processes one look is slow
CHUNK = 1 << 16
PIPE_CHUNKS = 16  # no pipe holds more unless root made it


class Tail:
    """The end of a program's output; the beginning is discarded."""

    def __init__(self, pipe: IO[bytes], size: int) -> None:
        self.pipe, self.size = pipe, size
        self.open = True
        self._kept = bytearray()
        os.set_blocking(pipe.fileno(), False)

    def wait(self, seconds: float) -> None:
        """Take what is said next, or give up after ``seconds``."""
        if select.select([self.pipe], [], [], seconds)[0]:
            self.take()

    def take(self) -> bool:
        """Take what has been said, and return whether it was anything."""
        said = self.pipe.read(CHUNK)
        if said == b"":
            self.open = False
        elif said:
            self._kept += said
            del self._kept[: -self.size]
        return bool(said)

    def text(self) -> str:
        """Return what is kept, with what was said since."""
        for _ in range(PIPE_CHUNKS):
            if not self.take():
                break
        return self._kept.decode(errors="replace")


def supervise(started: Started, limits: Limits) -> Outcome:
    """Let the program run to its end or to its limits; nothing of it is running on return."""
    tail = Tail(pipes(started.process)[1], limits.log_kb * 1024)
    meter = Meter(started.process.pid, started.own)
    look = _look(started, limits, meter)
    begun = time.monotonic()
    try:
        started.go()
        status = _until_the_end(started.process, tail, look, begun + limits.wall_s)
        seconds = time.monotonic() - begun
    finally:
        started.kill()
    code = started.process.returncode if status is None else None
    return Outcome(
        status=status or ("failed" if code else "done"),
        returncode=code,
        log=tail.text(),
        seconds=seconds,
        cpu_seconds=meter.cpu_seconds,
    )


def _until_the_end(
    process: subprocess.Popen, tail: Tail, look: Callable[[], str | None], deadline: float
) -> str | None:
    """Wait until the program ends, or return the limit that must end it."""
    next_look = 0.0
    while True:
        ended = _has_ended(process)
        now = time.monotonic()
        if ended or now >= next_look:
            # A process that has ended but was not waited for still has its account of the processor's time.
            exceeded = look()
            next_look = time.monotonic() + max(PERIOD_S, (time.monotonic() - now) / SHARE)
            if ended or exceeded:
                return exceeded
        if now >= deadline:
            return "wall time"
        pause = max(min(next_look, deadline) - time.monotonic(), 0)
        if tail.open:
            tail.wait(pause)
        else:
            _wait_for(process, pause)


def _look(started: Started, limits: Limits, meter: Meter) -> Callable[[], str | None]:
    """Return a function that names the limit that is exceeded now, or None."""

    def look() -> str | None:
        size, files = started.written()
        if size > limits.output_mb * MB or files > MAX_FILES:
            return "output"
        temporary = started.kept_in_memory()
        use = meter.sample(limits.memory_mb * MB - temporary)
        if use.memory + temporary > limits.memory_mb * MB:
            return "memory"
        if use.processes > limits.processes:
            return "processes"
        return "processor time" if use.cpu_seconds > limits.cpu_s else None

    return look


def _has_ended(process: subprocess.Popen) -> bool:
    """Return whether it has, without taking note of it: until then its account can be read."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _wait_for(process: subprocess.Popen, seconds: float) -> None:
    """Wait until a process has ended, or ``seconds`` have passed."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not _has_ended(process):
        time.sleep(0.002)
