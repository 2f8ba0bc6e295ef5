"""Measure how much of the machine a program uses, from Linux' ``/proc``; elsewhere it is not known."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
# Not the files it has mapped, which are libraries; but the tables of its memory, which can be larger than the memory.
OWN = re.compile(rb"^(?:RssAnon|RssShmem|VmSwap|VmPTE):\s+(\d+) kB", re.MULTILINE)
# Memory that processes share without a file stays when a process drops or unmaps its pages, and is then in nobody's
# account: begin and end of a mapping, where it begins in that memory, and the number of the memory.
SHARED = re.compile(
    rb"^(\w+)-(\w+) ...s (\w+) \S+ (\d+) +(?:/dev/zero \(deleted\)|\[anon_shmem:.*\])$", re.MULTILINE
)
SHARE = re.compile(rb"^(?:Pss_Anon|Pss_Shmem|SwapPss):\s+(\d+) kB", re.MULTILINE)
USUAL_BUFFER = 212_992  # bytes
TCP, OTHER = ("ipv4/tcp_wmem", "ipv4/tcp_rmem"), ("core/wmem_default", "core/rmem_default")
BUFFERS = dict.fromkeys(("tcp", "tcp6"), TCP) | dict.fromkeys(
    ("udp", "udp6", "udplite", "udplite6", "icmp", "icmp6", "raw", "raw6"), OTHER
)


@dataclass(frozen=True)
class Process:
    """A line of the list of processes: times in seconds, that of its waited-for children apart."""

    parent: int
    threads: int
    seconds: float
    children_seconds: float


@dataclass(frozen=True)
class Use:
    """What all processes of a program use at the moment, memory in bytes; the processor since it began."""

    processes: int
    memory: int
    cpu_seconds: float


class Meter:
    """Measures the processes below one, of which ``own`` threads are the sandbox's."""

    def __init__(self, root: int, own: int):
        self.root, self.own = root, own
        self._before: dict[int, float] = {}
        self._ended = 0.0
        self._shared: dict[int, int] = {}
        self.cpu_seconds = 0.0  # used so far

    def sample(self, memory_limit: int) -> Use:
        """Measure now. Shared memory counts for each process, unless all would then exceed ``memory_limit``."""
        tree = family(self.root, dict(processes()))
        memory = sum(_kilobytes(pid, "status", OWN) for pid in tree) * 1024
        if memory > memory_limit:
            shares = {pid: _kilobytes(pid, "smaps_rollup", SHARE) for pid in tree}
            memory = sum(share or _kilobytes(pid, "status", OWN) for pid, share in shares.items()) * 1024
        shared = shared_memory(tree)
        self._shared = {number: max(size, self._shared.get(number, 0)) for number, size in shared.items()}
        memory = max(memory, sum(self._shared.values()))
        threads = sum(one.threads for one in tree.values()) - self.own
        self._account(tree)
        return Use(max(threads, 0), memory, self.cpu_seconds)

    def _account(self, tree: Mapping[int, Process]) -> None:
        """Add up the processor's time."""
        # A process that ended is in its parent's account, unless the parent does not wait for it: then it is in ours.
        now = {pid: one.seconds for pid, one in tree.items()}
        self._ended += sum(seconds for pid, seconds in self._before.items() if pid not in now)
        self._before = now
        waited_for = sum(one.seconds + one.children_seconds for one in tree.values())
        self.cpu_seconds = max(self.cpu_seconds, waited_for, self._ended + sum(now.values()))


def processes() -> Iterator[tuple[int, Process]]:
    """Yield all processes of the machine."""
    for name in os.listdir(PROC) if PROC.is_dir() else ():
        if name.isdecimal() and (line := _read(f"{name}/stat")):
            # The name, in brackets, is the program's choice and may hold brackets and spaces.
            values = line[line.rindex(b")") + 2 :].split()
            own, children = (
                (int(user) + int(system)) / TICKS for user, system in (values[11:13], values[13:15])
            )
            yield int(name), Process(int(values[1]), int(values[17]), own, children)


def family(root: int, everyone: dict[int, Process]) -> dict[int, Process]:
    """Return a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for pid, one in everyone.items():
        children.setdefault(one.parent, []).append(pid)
    found, waiting = {}, [root] if root in everyone else []
    while waiting:
        pid = waiting.pop()
        found[pid] = everyone[pid]
        waiting += children.get(pid, [])
    return found


def shared_memory(pids: Iterable[int]) -> dict[int, int]:
    """Return the sizes in bytes of memory that processes share without a file, if mapped, by its number."""
    sizes: dict[int, int] = {}
    for pid in pids:
        for begin, end, offset, number in SHARED.findall(_read(f"{pid}/maps")):
            size = int(end, 16) - int(begin, 16) + int(offset, 16)
            sizes[int(number)] = max(sizes.get(int(number), 0), size)
    return sizes


def socket_buffers(pid: int) -> int:
    """Return the most bytes that sockets in the network namespace of a process can hold.

    A local socket counts with its whole buffer, one of the internet with its buffers if there is anything in them. No
    buffer can be made larger, since `seccomp` refuses that.
    """
    n_local = max(len(_read(f"{pid}/net/unix").splitlines()) - 1, 0)
    total = n_local * _largest("core/wmem_default")
    for protocol, (send, receive) in BUFFERS.items():
        for line in _read(f"{pid}/net/{protocol}").splitlines()[1:]:
            to_send, received = (int(one, 16) for one in line.split()[4].split(b":"))
            total += (_largest(send) if to_send else 0) + (_largest(receive) if received else 0)
    return total


def _largest(setting: str) -> int:
    """Return the last number of one of the kernel's network settings: minimum, default and maximum, or one alone."""
    sizes = _read(f"sys/net/{setting}").split()
    return int(sizes[-1]) if sizes else USUAL_BUFFER


def _kilobytes(pid: int, file: str, pattern: re.Pattern[bytes]) -> int:
    """Add up the numbers that a pattern finds in a file of a process."""
    return sum(map(int, pattern.findall(_read(f"{pid}/{file}"))))


def _read(name: str) -> bytes:
    """Read a file of the kernel's; empty if that is not possible."""
    try:
        return (PROC / name).read_bytes()
    except OSError:  # it has just ended, or it is not ours to look at
        return b""
