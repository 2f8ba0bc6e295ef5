"""Evaluating submissions: every scene in a sandbox of its own, scored out here, recorded at once.

A scene that crashes, hangs, asks for too much or gives a wrong answer scores zero, says why, and costs no other scene.

A program is not told which tier or scene it is given: every problem stands under the same name, and the scenes of all
tiers are run in a random order. The record of a hidden scene holds no errors of the spec, and what the program says
about it stands in the log only, which no board shows.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etlab.course import sandbox
from etlab.course.challenge import attempts, handin
from etlab.course.challenge.handin import HandIn, HandInError
from etlab.course.challenge.records import Record, Records, without_errors
from etlab.course.challenge.run_scene import SCENE
from etlab.course.challenge.tiers import Tier
from etlab.course.challenge.unpack import shown
from etlab.course.sandbox import Limits, SandboxError, warm
from etlab.course.scenes import hdf5
from etlab.course.scenes.problem import Problem, write_problem
from etlab.course.scenes.scoring import AnswerError, score_answer

MAX_SPEC_BYTES = 4096
BEFORE_A_RUN = ("missing", "refused")  # statuses that no hidden scene had a part in


@dataclass(frozen=True)
class Evaluator:
    """Runs submissions on ``tiers`` and records what came of it in the folder ``results``.

    `etlab.course.sandbox.find` finds a ``backend``; ``limits`` hold for each scene. ``attempts`` is how many
    versions of a submission may be run on the hidden tier.
    """

    tiers: tuple[Tier, ...]
    results: Path
    backend: sandbox.Backend
    limits: Limits = Limits()
    attempts: int = attempts.DEFAULT

    def __call__(
        self,
        source: str | os.PathLike,
        *,
        name: str | None = None,
        report: Callable[[Record], None] = lambda record: None,
        renew: bool = False,
    ) -> list[Record]:
        """Evaluate a folder or zip on every scene; what is recorded of it already is not run again, unless ``renew``.

        ``name`` is that on the board, by default that of the folder or zip. ``report(record)`` is called for each
        scene, in the order in which they are run; what is returned is in the order of the tiers. A submission that is
        refused as a whole has zero on every scene.

        Raises HandInError if not even its name can be shown or it has used up its attempts, FileNotFoundError if there
        is nothing, SandboxError if nothing can be run here, or if programs would see what they must not.
        """
        source, records = Path(source), Records(self.results)
        name = name or handin.submission_name(source)
        if not os.path.lexists(source):
            raise FileNotFoundError(f"{source}: expected a folder or a zip, found nothing")
        self._check_out_of_sight(source)
        with records.locked(name) as private:
            submitted, refusal = _copied(source, private, name)
            todo = [(tier, scene) for tier in self.tiers for scene in tier]
            kept = [_if_holds(records.read(name, tier.tier, scene), submitted, tier) for tier, scene in todo]
            if submitted.program and not refusal:
                hidden = [one for one, (tier, _) in zip(kept, todo, strict=True) if tier.tier == "hidden"]
                if not all(hidden) or (hidden and renew):
                    attempts.begin(private.parent, submitted.sha256, self.attempts)
            for record, (tier, scene) in zip(kept, todo, strict=True):
                if not record:  # or a board made meanwhile would mix two versions of a submission
                    records.remove(name, tier.tier, scene)
            made: dict[int, Record] = {}
            # In order, the time since the submission was copied would tell a program which tier it is given.
            for i in random.sample(range(len(todo)), len(todo)):
                record = None if renew else kept[i]
                if not record:
                    record, volume = _record(submitted, *todo[i], "refused", refusal), None
                    if not refusal:
                        record, volume = self._evaluated(submitted, *todo[i], private)
                    records.save(record, volume)
                made[i] = record
                report(record)
            attempts.end(private.parent)
        return [made[i] for i in range(len(todo))]

    def warm(self) -> None:
        """Compile the kernels once, inside the sandbox, for every run to begin with: it saves each many seconds."""
        self._check_out_of_sight()
        with Records(self.results).locked_whole():
            warm.compile_kernels(self._cache, self.backend)

    @property
    def _cache(self) -> Path:
        """Return the folder of compiled kernels."""
        return warm.cache_folder(self.results)

    def _check_out_of_sight(self, *submission: Path) -> None:
        """Raise SandboxError for a file that is to stay secret and lies where every program can read it."""
        if isinstance(self.backend, sandbox.Unsafe):
            return
        secret = [path for tier in self.tiers if tier.tier != "public" for path in (tier.path, tier.sealed)]
        for path in (self.results, *submission, *secret):
            if path and sandbox.exposed(path):
                raise SandboxError(
                    f"{path} lies in a folder of Python, of the system or of etlab, which every submission can read: "
                    "move it elsewhere"
                )

    def _evaluated(
        self, submitted: HandIn, tier: Tier, scene: str, private: Path
    ) -> tuple[Record, np.ndarray | None]:
        """Evaluate one scene and return its record and, if it was scored, its volume."""
        if not submitted.program and not submitted.answers(tier.tier):
            return _record(submitted, tier, scene, "missing", "neither code nor answers were handed in"), None
        problem = tier[scene]
        with tempfile.TemporaryDirectory(dir=private) as folder:
            outcome, work = self._run(submitted, tier, scene, problem, Path(folder))
            measured: dict[str, Any] = dict(
                seconds=outcome.seconds, cpu_seconds=outcome.cpu_seconds, log=outcome.log
            )
            if not outcome.ok:
                reason = _last_line(outcome.log)
                return _record(submitted, tier, scene, outcome.status, reason, **measured), None
            try:
                x_hat, spec = read_raw(work, problem)
                truth = tier.truth(scene) if tier.has_truth else None
                score = score_answer(problem, x_hat, spec, truth)
            except AnswerError as error:
                return _record(submitted, tier, scene, "wrong answer", str(error), **measured), None
        return _record(submitted, tier, scene, "scored", score=score, **measured), x_hat

    def _run(
        self, submitted: HandIn, tier: Tier, scene: str, problem: Problem, private: Path
    ) -> tuple[sandbox.Outcome, Path]:
        """Run a submission on a problem, and return what became of it and the folder that it left."""
        problem_file, work = private / "problem.h5", private / "work"
        work.mkdir()
        with hdf5.new_file(problem_file) as file:
            write_problem(file.create_group(SCENE), problem)
        problem_file.chmod(0o644)  # whatever the umask: in the sandbox root is another user
        visible = {"/submission": submitted.folder, "/problem.h5": problem_file}
        if self._cache.is_dir():
            visible["/numba"] = self._cache
        arguments = ["/problem.h5", "/submission", "/answer", "/numba"]
        if not submitted.program:  # answers are looked up, and nobody could make use of their place
            arguments += [f"{tier.tier}.h5", scene]
        outcome = sandbox.run(
            ["python", "-m", "etlab.course.challenge.run_scene", *arguments],
            folder=work,
            visible=visible,
            limits=self.limits,
            backend=self.backend,
            environment=warm.ONE_THREAD,
        )
        return outcome, work


def _copied(source: Path, private: Path, name: str) -> tuple[HandIn, str]:
    """Copy a submission, and return it and why it is refused; nothing if it is not."""
    try:
        return handin.copied(source, private / "submission", name), ""
    except HandInError as error:
        identity = hashlib.sha256(f"refused: {error}".encode()).hexdigest()
        return HandIn(name, source, identity), str(error)


def read_raw(work: Path, problem: Problem) -> tuple[np.ndarray, dict[str, float]]:
    """Read what a run left in its folder: ``x_hat.f32`` and ``spec.json``. Raises AnswerError for anything else."""
    shape = problem.geometry.volume_shape
    n_bytes = 4 * int(np.prod(shape))
    values, numbers = (
        _plain_bytes(work / "x_hat.f32", n_bytes),
        _plain_bytes(work / "spec.json", MAX_SPEC_BYTES),
    )
    if len(values) != n_bytes:
        raise AnswerError(f"x_hat: got {len(values):,} bytes, expected {n_bytes:,}")
    x_hat = np.frombuffer(values, "<f4")
    if not (np.abs(x_hat) <= hdf5.LARGEST).all():  # false for NaN too
        raise AnswerError(
            f"x_hat: got NaN, infinite or huge values, expected finite ones up to {hdf5.LARGEST:g}"
        )
    try:
        # a whole number of 4000 digits is one too large for a float
        spec = json.loads(numbers, parse_int=float)
    except (ValueError, RecursionError) as error:
        raise AnswerError("corrected_spec: expected three numbers, got something else") from error
    if not isinstance(spec, dict) or not all(isinstance(value, float) for value in spec.values()):
        raise AnswerError("corrected_spec: expected three numbers, got something else")
    return x_hat.reshape(shape), spec


def _plain_bytes(path: Path, at_most: int) -> bytes:
    """Return the contents of a file that a stranger left; a link is not followed, and a pipe does not block."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise AnswerError(f"{path.stem}: the program left none") from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > at_most:
            raise AnswerError(
                f"{path.stem}: expected a file of at most {at_most:,} bytes, got something else"
            )
        return file.read(at_most)


def _if_holds(record: Record | None, submitted: HandIn, tier: Tier) -> Record | None:
    """Return the record if it is of this very submission and this very problem, else None."""
    if record is None or record.submission_sha256 != submitted.sha256:
        return None
    return record if record.problem_sha256 == tier.sha256(record.scene) else None


def _record(
    submitted: HandIn, tier: Tier, scene: str, status: str, reason: str = "", **measured: Any
) -> Record:
    """Return a record; that of a hidden scene that was run holds no errors, and of the program only its log."""
    if tier.tier == "hidden" and status not in BEFORE_A_RUN:
        reason = ""
        if "score" in measured:
            measured["score"] = without_errors(measured["score"])
    identity = submitted.sha256, tier.sha256(scene)
    return Record(submitted.name, tier.tier, scene, *identity, status, reason, **measured)


def _last_line(log: str) -> str:
    """Return the last line of a log that is not empty."""
    lines = [line for line in log.splitlines() if line.strip()]
    return shown(lines[-1], 300) if lines else ""
