"""Run programs in bubblewrap: namespaces of their own, a read-only view of a few folders, memory for a disk.

The program's folder is kept in memory, too, so that its size is the kernel's to limit. It is held open from here, and
what was left in it is read when nothing runs any more.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path, PurePosixPath

from etlab.course.sandbox import inside, seccomp
from etlab.course.sandbox.limits import MB, WORK, Job, SandboxError
from etlab.course.sandbox.started import Backend, Started, end, spawn, wait_until_ready
from etlab.course.sandbox.watch import socket_buffers

INODE = 1024  # bytes of memory that an empty file takes, about
SPARE = 1  # MB: a folder that is full to the brim must hold more than it may
PRIVATE = ("/tmp", "/dev/shm")
HOSTNAME = "sandbox"  # whatever the machine is called


@dataclass(frozen=True)
class Bubblewrap(Backend):
    """The program ``bwrap`` at ``path``."""

    path: str
    name: str = "bubblewrap"

    @contextlib.contextmanager
    def start(self, job: Job) -> Iterator[Started]:
        """See `Backend.start`."""
        uid = unused_uid() if os.geteuid() == 0 else None
        if uid is not None:
            inside.check_readable(job.visible)
        with contextlib.ExitStack() as stack:
            info, say = _pipe(stack)
            refused = _told(stack, _filter())
            options = [
                *arguments(job, uid),
                "--info-fd",
                str(say.fileno()),
                "--seccomp",
                str(refused.fileno()),
            ]
            # Everyone in there can read bwrap's command line, and these options name the teacher's folders.
            listed = _told(stack, b"".join(one.encode() + b"\0" for one in options))
            command = [self.path, "--args", str(listed.fileno()), "--", *enter(job, uid)]
            passed = tuple(one.fileno() for one in (say, refused, listed))
            process = spawn(command, pass_fds=passed, env={})
            stack.callback(end, process)
            say.close()
            wait_until_ready(process)
            first = json.loads(info.read())["child-pid"]
            started = _Inside(process, first, stack)
            stack.callback(started.kill)
            yield started


class _Inside(Started):
    """The processes of a namespace."""

    own = 2  # bwrap itself and the first process of the namespace

    def __init__(self, process: subprocess.Popen, first: int, stack: contextlib.ExitStack) -> None:
        self.process, self.first_pid = process, first
        self.first = os.pidfd_open(first)
        stack.callback(os.close, self.first)
        self.work, *self.private = (
            os.open(f"/proc/{first}/root{folder}", os.O_RDONLY | os.O_DIRECTORY)
            for folder in (WORK, *PRIVATE)
        )
        for folder in (self.work, *self.private):
            stack.callback(os.close, folder)

    def written(self) -> tuple[int, int]:
        """See `Started.written`."""
        return _filled(self.work)

    def kept_in_memory(self) -> int:
        """See `Started.kept_in_memory`."""
        files = sum(size + INODE * files for size, files in map(_filled, self.private))
        return files + socket_buffers(self.first_pid)

    def kill(self) -> None:
        """See `Started.kill`."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.first, signal.SIGKILL)
        # The first process of a namespace has ended only when all others in it have.
        select.select([self.first], [], [])
        self.process.wait()


def arguments(job: Job, uid: int | None) -> list[str]:
    """Return options of bwrap; with ``uid`` as root, who has no namespace of users.

    As root, bwrap must be started with root's rights, because the user that the program is to be may not be able to
    reach this Python (such as one below /root); and it must not make a namespace of users, because it would then map
    root into it, whose processes nothing limits and who owns the system's files. So the program begins with nothing
    but the right to become that user, and does so before anything else (`enter.py`).
    """
    limits = job.limits
    options = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    options += ["--hostname", HOSTNAME, "--die-with-parent", "--new-session", "--clearenv"]
    options += ["--cap-drop", "ALL"]
    if uid is None:
        options += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
    else:
        options += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    for name, value in inside.variables(job).items():
        options += ["--setenv", name, value]
    options += ["--proc", "/proc", "--dev", "/dev"]
    for folder, size in [(one, limits.memory_mb) for one in PRIVATE] + [(WORK, limits.output_mb + SPARE)]:
        options += ["--perms", "1777", "--size", str(size * MB), "--tmpfs", folder]
    options += shown(job)
    # What bwrap makes itself is writable, and without a limit.
    return [*options, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", WORK]


def shown(job: Job) -> list[str]:
    """Return options that show the system's folders, this Python, the package and the files of the job."""
    folders = {str(folder): folder for folder in inside.python_folders()}
    folders |= {inside.PACKAGE_INSIDE: inside.PACKAGE} | dict(job.visible)
    # bwrap makes missing folders above those shown, but as root for root alone.
    above = {str(folder) for part in (*folders, *inside.DETAILS) for folder in PurePosixPath(part).parents}
    options: list[str] = []
    for folder in sorted(above - {"/", *inside.SYSTEM}):
        options += ["--perms", "0755", "--dir", folder]
    for part in map(Path, (*inside.SYSTEM, *inside.DETAILS)):
        if part.is_symlink() and part.parent == Path("/"):
            options += ["--symlink", os.readlink(part), str(part)]
        elif part.exists():
            options += ["--ro-bind", str(part.resolve()), str(part)]
    for place, here in folders.items():
        options += ["--ro-bind", str(here.resolve()), place]
    return options


def enter(job: Job, uid: int | None) -> list[str]:
    """Return the command that sets limits and becomes the job's command."""
    rlimits = inside.rlimits(job, RLIMIT_NPROC=2 * job.limits.processes)
    settings = {"rlimits": rlimits, "uid": uid, "stay": False}
    command = [sys.executable if job.command[0] == "python" else job.command[0], *job.command[1:]]
    entry = f"{inside.PACKAGE_INSIDE}/{inside.ENTER}"
    return [sys.executable, "-I", "-S", entry, json.dumps(settings), *command]


def unused_uid() -> int:
    """Return a user without name or files, a new one for each run, since the kernel counts processes by user."""
    return 1_800_000_000 + secrets.randbelow(100_000_000)


def find_bubblewrap() -> Bubblewrap | None:
    """Return bubblewrap, if it is installed."""
    path = shutil.which("bwrap")
    return Bubblewrap(path) if path else None


def _pipe(stack: contextlib.ExitStack) -> tuple[FileIO, FileIO]:
    """Return both ends of a pipe, to read from and to write to."""
    read, write = os.pipe()
    return stack.enter_context(open(read, "rb", buffering=0)), stack.enter_context(
        open(write, "wb", buffering=0)
    )


def _told(stack: contextlib.ExitStack, content: bytes) -> FileIO:
    """Return the end to read from of a pipe that holds ``content``, which is short."""
    read, write = _pipe(stack)
    write.write(content)
    write.close()
    return read


def _filter() -> bytes:
    """Return the filter of system calls. Raises SandboxError where there is none."""
    if program := seccomp.program():
        return program
    raise SandboxError("the numbers of system calls are known for Linux on x86_64 and aarch64 only")


def _filled(folder: int) -> tuple[int, int]:
    """Return the bytes and the number of files in the file system of an open folder."""
    found = os.fstatvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_files - found.f_ffree
