"""A teacher's folders as several tests need them: tiers, truth, key, submissions, results; and who is still running."""

import functools
import hashlib
import os
import signal
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from etlab.challenge import keys, make_tier
from etlab.challenge.draw import TIERS
from etlab.challenge.evaluate import Evaluator
from etlab.challenge.sandbox import Limits, find
from etlab.challenge.sandbox.bubblewrap import find_bubblewrap
from etlab.challenge.sandbox.watch import family, processes
from etlab.challenge.tiers import Tier, found_tiers
from tools.sandbox import MISSING

ZEROS = """
import numpy as np
from etlab.forward import Mismatch

def zeros(problem):
    return np.zeros(problem.geometry.volume_shape, np.float32), Mismatch()

solve = zeros
"""
LIMITS = Limits(wall_s=120, cpu_s=120, memory_mb=1024)


@dataclass(frozen=True)
class Classroom:
    """The folders, all in one."""

    folder: Path

    @property
    def challenge(self) -> Path:
        return self.folder / "challenge"

    @property
    def key(self) -> Path:
        return self.folder / "key.txt"

    @property
    def submissions(self) -> Path:
        return self.folder / "submissions"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def tiers(self) -> dict[str, Tier]:
        return {tier.tier: tier for tier in found_tiers(self.challenge)}

    def hand_in(self, name: str, files: str | dict[str, str | bytes]) -> Path:
        """A submission of these files, or of a solve.py; whatever is called ``solve`` can be executed."""
        folder = self.submissions / name
        for file, content in ({"solve.py": files} if isinstance(files, str) else files).items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else textwrap.dedent(content).encode())
            path.chmod(0o755 if file == "solve" else 0o644)
        return folder

    def evaluator(self, backend, tiers=TIERS, limits: Limits = LIMITS, kind=Evaluator) -> Evaluator:
        """One that does not compile anything first: nothing in these tests needs it."""
        (self.results / ".numba").mkdir(parents=True, exist_ok=True)
        (self.results / ".numba").chmod(0o755)
        found = self.tiers
        return kind(tuple(found[tier] for tier in tiers), self.results, backend, limits)


@functools.cache
def made_once(base: Path, n_public: int) -> Path:
    """A folder with tiers of the small preset and their key; ``n_public`` scenes in the public one."""
    folder = base / f"course-{n_public}"
    folder.mkdir(mode=0o700)
    keys.new_key(folder / "key.txt")
    for tier, n in zip(TIERS, (n_public, 1, 1), strict=True):
        path, key = folder / "challenge" / f"{tier}.h5", keys.read_key(folder / "key.txt")
        make_tier(path, tier, n_scenes=n, preset="small", key=key)
    return folder


def classroom(tmp_path_factory, folder: Path, n_public: int = 1) -> Classroom:
    """A classroom in ``folder``; the tiers are drawn once and shared, as links to the same files."""
    made = made_once(tmp_path_factory.getbasetemp(), n_public)
    for path in (*made.rglob("*.h5"), made / "key.txt"):
        to = folder / path.relative_to(made)
        to.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, to)
    (folder / "submissions").mkdir()
    return Classroom(folder)


def found_backend():
    """The sandbox; without one, a clean machine's checks fail and others are left out."""
    if not any(find_bubblewrap()):
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(MISSING)
    return find()


@dataclass(frozen=True)
class Breaking(Evaluator):
    """One that breaks with some submissions, by their names."""

    def _evaluated(self, submitted, *rest):
        broken = self.results / f".broken-{submitted.name}"
        if submitted.name == "raises":
            raise ArithmeticError("\x1b[31mnobody thought of that")
        if submitted.name == "dies once" and not broken.exists():
            broken.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._evaluated(submitted, *rest)


def contents(folder: Path) -> dict[str, str]:
    """What is in a folder, to see whether it has changed."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }


def alive(token: str) -> list[int]:
    """Processes of this machine, but this one, that have ``token`` in their command."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal() and token.encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def descendants() -> list[str]:
    """Programs that this process has started, and that still run; Python's own helper of earlier tests is not one."""
    found = family(os.getpid(), dict(processes()))
    commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in found if pid != os.getpid()]
    return [command for command in commands if command and "multiprocessing.resource_tracker" not in command]
