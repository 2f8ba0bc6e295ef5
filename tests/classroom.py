"""A teacher's folders as several tests need them: tiers, truth, key, submissions, results; and who is still running."""

import contextlib
import faulthandler
import functools
import hashlib
import json
import os
import signal
import socket
import sys
import tempfile
import textwrap
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from etlab.course import sandbox
from etlab.course.challenge import evaluate as evaluation
from etlab.course.challenge import make_tier, run_scene
from etlab.course.challenge.evaluate import Evaluator
from etlab.course.challenge.tiers import Tier, found_tiers
from etlab.course.sandbox import Limits, Outcome, find
from etlab.course.sandbox.bubblewrap import find_bubblewrap
from etlab.course.sandbox.warm import cache_folder
from etlab.course.sandbox.watch import family, processes
from etlab.course.scenes import keys, score_answer
from etlab.course.scenes.draw import TIERS
from etlab.course.scenes.problem import Problem, Truth
from tests.checks import few_tilts
from tools.sandbox import MISSING

ZEROS = """
import numpy as np
from etlab.forward import Mismatch

def zeros(problem):
    return np.zeros(problem.geometry.volume_shape, np.float32), Mismatch()

solve = zeros
"""
IN_SANDBOX = sandbox.run
LIMITS = Limits(wall_s=120, cpu_s=120, memory_mb=1024)


class Kept(Tier):
    """A tier of which each problem, by the SHA-256 in its file, is read, checked and unpacked once."""

    read: ClassVar[dict[tuple[str, str], Problem | Truth]] = {}

    def _once(self, what, name):
        key = what.__name__, self.sha256(name)
        if key not in self.read:
            self.read[key] = what(name)
        return self.read[key]

    def __getitem__(self, name: str) -> Problem:
        return self._once(super().__getitem__, name)

    def truth(self, name: str) -> Truth:
        return self._once(super().truth, name)


def score_each_answer_once(monkeypatch) -> None:
    """Let evaluators score equal answers to a problem once; a score depends on nothing else."""
    monkeypatch.setattr(evaluation, "score_answer", scored_once)


def scored_once(problem, x_hat, spec, truth=None):
    key = hashlib.sha256(problem.y).digest(), hashlib.sha256(x_hat).digest(), repr(spec), truth is None
    if key not in SCORES:
        SCORES[key] = score_answer(problem, x_hat, spec, truth)
    return SCORES[key]


SCORES = {}


@dataclass(frozen=True)
class Classroom:
    """The folders, all in one."""

    folder: Path

    @property
    def token(self) -> str:
        """What the commands of its processes, or the folders shown to them, hold, wherever /tmp is mounted."""
        return "/".join(self.folder.parts[-2:])

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
        return {tier.tier: Kept(tier.path, tier.sealed) for tier in found_tiers(self.challenge)}

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
        cache_folder(self.results).mkdir(parents=True, exist_ok=True)
        cache_folder(self.results).chmod(0o755)
        found = self.tiers
        return kind(tuple(found[tier] for tier in tiers), self.results, backend, limits)


@functools.cache
def made_once(base: Path, n_public: int) -> Path:
    """A folder with tiers of small scenes at few tilts, and their key; ``n_public`` scenes in the public one."""
    folder = base / f"course-{n_public}"
    folder.mkdir(mode=0o700)
    keys.new_key(folder / "key.txt")
    with few_tilts():
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
    if not find_bubblewrap():
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(MISSING)
    return find()


LIGHT = f"""
import sys, time
time.sleep(0.1)
with open("/submission/solve.py") as file:
    if "raise" in file.read():
        sys.exit("it cannot do it")
open("x_hat.f32", "wb").write(bytes({4 * 32 * 64 * 64}))
open("spec.json", "w").write('{{"tilt_angle": 0, "tilt_axis": 0, "defocus_gradient": 0}}')
"""


def light(command, **options) -> Outcome:
    """Do what `sandbox.run` does with a scene, with a program that imports nothing and answers zeros."""
    return IN_SANDBOX(["python", "-I", "-S", "-c", LIGHT], **options)


@dataclass(frozen=True)
class Breaking(Evaluator):
    """One that breaks with some submissions, by their names; others are light. For workers only."""

    def _evaluated(self, submitted, *rest):
        sandbox.run = light
        broken = self.results / f".broken-{submitted.name}"
        if submitted.name == "raises":
            raise ArithmeticError("\x1b[31mnobody thought of that")
        if submitted.name == "dies once" and not broken.exists():
            broken.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._evaluated(submitted, *rest)


def forked(command, *, folder, visible, **_) -> Outcome:
    """Do what `sandbox.run` does with a scene, without a sandbox, in a copy of this process: no Python is started."""
    here = {"/answer": folder} | dict(visible) | {"/numba": folder / "none"}
    arguments = [str(here.get(one, one)) for one in command[3:]]
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        log.flush()
        if not (child := os.fork()):
            code = 1
            try:
                faulthandler.disable()  # pytest's, which would tell the terminal of a crash
                os.chdir(folder)
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                sys.stdout, sys.stderr = (
                    os.fdopen(fd, "w", buffering=1, errors="replace", closefd=False) for fd in (1, 2)
                )
                run_scene.main(*arguments)
                code = 0
            except SystemExit as error:
                print(*[error.code] * isinstance(error.code, str))
                code = error.code if isinstance(error.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        log.seek(0)
        return Outcome("failed" if code else "done", code, log.read(), 0.1, 0.1)


def lightly(command, *, visible, **options) -> Outcome:
    """Do what `sandbox.run` does, but with ``solve.py`` as a program that imports nothing: its start takes no time."""
    code = (visible["/submission"] / "solve.py").read_text()
    return IN_SANDBOX(["python", "-I", "-S", "-c", code], visible=visible, **options)


def reached_by_an_outsider(addresses: list, files: list) -> list:
    """Those of the addresses and files that a process of another user can connect to or open."""
    ours, theirs = os.pipe()
    if not os.fork():
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os.write(theirs, json.dumps(_reached(addresses, files)).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        said = json.loads(pipe.read())
    os.wait()
    return said


def _reached(addresses, files):
    reached = []
    for one in addresses:
        local = isinstance(one, str)
        kind = socket.AF_UNIX if local else socket.AF_INET6 if ":" in one[0] else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(kind) as tried:
            tried.connect(one)
            reached.append(one)
    for one in files:
        with contextlib.suppress(OSError), open(one, "rb"):
            reached.append(str(one))
    return reached


def contents(folder: Path) -> dict[str, str]:
    """What is in a folder, to see whether it has changed."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }


def alive(token: str) -> list[int]:
    """Processes of this machine, but this one, that have ``token`` in their command or among what they are shown."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            files = [process / name for name in ("cmdline", "mountinfo")] if process.name.isdecimal() else []
            if any(token.encode() in one.read_bytes() for one in files):
                found.append(int(process.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def descendants() -> list[str]:
    """Programs that this process has started, and that still run; Python's own helper of earlier tests is not one."""
    found = family(os.getpid(), dict(processes()))
    commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in found if pid != os.getpid()]
    return [command for command in commands if command and "multiprocessing.resource_tracker" not in command]
