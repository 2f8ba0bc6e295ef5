"""Programs in a container of Docker, Podman or Apptainer, from the image that ``Containerfile`` describes.

The engine limits memory, processes and cores; what the program writes lies on the disk and is watched from here.
A program that is ended for its memory has "failed", with 137, since an engine's client does not say more.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from etlab.course.sandbox import inside
from etlab.course.sandbox.bubblewrap import unused_uid
from etlab.course.sandbox.limits import MB, WORK, Job
from etlab.course.sandbox.plain import Group, scratch
from etlab.course.sandbox.started import Backend, Started, end, spawn, wait_until_ready

IMAGE = "etlab-challenge"
IMAGE_FILE = "etlab-challenge.sif"  # Apptainer's, in the current folder
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Engine(Backend):
    """Docker, Podman or Apptainer, by the name of its program."""

    name: str

    @contextlib.contextmanager
    def start(self, job: Job) -> Iterator[Started]:
        """See `Backend.start`."""
        with contextlib.ExitStack() as stack:
            work, uid, container = scratch(stack), os.getuid(), f"etlab-{secrets.token_hex(8)}"
            if uid == 0:
                inside.check_readable(job.visible)
                uid = unused_uid()
                os.chown(work, uid, uid)
            options = self._options(job, work, uid, container)
            # Podman leaves a file of its own in the current folder when memory runs out.
            process = spawn([self.name, *options, *enter(job)], cwd=scratch(stack))
            stack.callback(end, process)
            started = _Container(process, work, stack, self.name, container)
            wait_until_ready(process)
            yield started

    def _options(self, job, work, uid, container):
        if self.name == "apptainer":
            return apptainer(job, work)
        return oci(self.name, job, work, uid, container)


class _Container(Group):
    own = None  # its processes are the engine's, not below the client

    def __init__(self, process, work, stack, engine, container):
        # Podman's rm alone would first ask the program to end, and wait ten seconds for it.
        ends = () if engine == "apptainer" else (["kill"], ["rm", "--force"])
        self._ends = [[engine, *how, container] for how in ends]
        super().__init__(process, work, stack)

    def kill(self):
        while self._ends:
            subprocess.run(self._ends[0], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            del self._ends[0]
        super().kill()


def find_engines() -> Iterator[Engine]:
    """Those engines that answer and have the image."""
    for name in ("docker", "podman"):
        if _works(name, "image", "inspect", IMAGE):
            yield Engine(name)
    # Apptainer runs a program as whoever starts it, and as root that is too much.
    if os.getuid() != 0 and Path(IMAGE_FILE).is_file() and _works("apptainer", "inspect", IMAGE_FILE):
        yield Engine("apptainer")


def _works(*command):
    if shutil.which(command[0]) is None:
        return False
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):
        return subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False).returncode == 0
    return False


def oci(engine: str, job: Job, work: Path, uid: int, container: str) -> list[str]:
    """Options of ``docker`` or ``podman``, up to the image."""
    limits = job.limits
    options = ["run", "--rm", "--interactive", "--name", container, "--pull", "never"]
    options += ["--network", "none", "--ipc", "private", "--read-only", "--cap-drop", "ALL"]
    options += ["--security-opt", "no-new-privileges", "--user", f"{uid}:{uid}", "--workdir", WORK]
    if engine == "podman":
        options += ["--security-opt", "label=disable", "--read-only-tmpfs=false"]
        options += ["--userns", "keep-id"] if os.getuid() != 0 else []
    memory = f"{limits.memory_mb}m"
    options += ["--memory", memory, "--memory-swap", memory, "--shm-size", memory]
    options += ["--tmpfs", f"/tmp:rw,mode=1777,size={memory}"]
    options += ["--pids-limit", str(limits.processes + 1)]  # enter.py stays beside the program
    options += ["--cpus", f"{cores(job):.2f}"]
    for here, part, mode in mounts(job, work):
        options += ["--volume", f"{here}:{part}:{mode}"]
    for name, value in inside.variables(job).items():
        options += ["--env", f"{name}={value}"]
    return [*options, IMAGE]


def apptainer(job: Job, work: Path) -> list[str]:
    """Options of ``apptainer``, up to the image."""
    limits = job.limits
    options = ["exec", "--containall", "--cleanenv", "--no-home", "--net", "--network", "none"]
    options += ["--no-privs", "--pwd", WORK, "--memory", f"{limits.memory_mb}M"]
    options += ["--pids-limit", str(limits.processes + 1), "--cpus", f"{cores(job):.2f}"]
    for here, part, mode in mounts(job, work):
        options += ["--bind", f"{here}:{part}:{mode}"]
    for name, value in inside.variables(job).items():
        options += ["--env", f"{name}={value}"]
    return [*options, str(Path(IMAGE_FILE).resolve())]


def mounts(job: Job, work: Path) -> list[tuple[Path, str, str]]:
    """What is shown: path here, path inside, and whether to read ("ro") or to write ("rw"), too."""
    shown = {inside.PACKAGE_INSIDE: inside.PACKAGE} | dict(job.visible)
    return [(work, WORK, "rw")] + [(here.resolve(), part, "ro") for part, here in shown.items()]


def cores(job: Job) -> float:
    """So many that the processor's time cannot exceed its limit before the wall time does."""
    return min(max(job.limits.cpu_s / job.limits.wall_s, 0.01), os.cpu_count() or 1)


def enter(job: Job) -> list[str]:
    """The command that sets limits, stays beside the program and ends with this process."""
    rlimits = inside.rlimits(job, RLIMIT_FSIZE=job.limits.output_mb * MB)
    settings = json.dumps({"rlimits": rlimits, "uid": None, "stay": True})
    return ["python", "-I", "-S", f"{inside.PACKAGE_INSIDE}/{inside.ENTER}", settings, *job.command]
