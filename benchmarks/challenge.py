"""A class of the blind challenge: how many submissions an hour two workers evaluate, and with how much memory.

    .venv/bin/python benchmarks/challenge.py --submissions 200

Makes a class (zeros, back-projections, SIRT written by hand, answers without code; some crash, some sleep beyond the
limit, some are no submission at all), evaluates it on small tiers of one scene each, and prints the throughput and the
largest sum of resident memory, looked at five times a second: of the evaluator with its workers, and of the sandboxes.
Memory that several processes share counts for each of them.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from etlab.course import sandbox
from etlab.course.challenge import make_tier, standings
from etlab.course.challenge.evaluate import Evaluator
from etlab.course.challenge.evaluate_all import evaluate_all, found_submissions
from etlab.course.challenge.records import Records
from etlab.course.scenes.draw import TIERS

ZEROS = """
import numpy as np
from etlab.forward import Mismatch
def solve(problem):
    return np.zeros(problem.geometry.volume_shape, np.float32), Mismatch()
"""
WBP = """
from etlab.forward import Mismatch
from etlab.solvers import wbp
def solve(problem):
    return wbp(problem.operator(), problem.y), Mismatch()
"""
SIRT = """
import numpy as np
from etlab.forward import Mismatch
def solve(problem):
    H, y = problem.operator(), problem.y
    R = 1 / np.maximum(H(np.ones(problem.geometry.volume_shape, np.float32)), 1e-3)
    C = 1 / np.maximum(H.T(np.ones_like(y)), 1e-3)
    x = np.zeros(problem.geometry.volume_shape, np.float32)
    for _ in range(30):
        x = np.maximum(x + C * H.T(R * (y - H(x))), 0).astype(np.float32)
    return x, Mismatch()
"""
CRASH = "def solve(problem):\n    raise ValueError('not finished yet')\n"
SLEEP = "import time\ntime.sleep(1e6)\n"
WRONG = ZEROS.replace("np.float32", "complex")
# In every twenty.
MIX = (
    ("zeros", 5),
    ("wbp", 5),
    ("sirt", 4),
    ("crash", 2),
    ("sleep", 1),
    ("wrong", 1),
    ("zip", 1),
    ("empty", 1),
)
CODE = {"zeros": ZEROS, "wbp": WBP, "sirt": SIRT, "crash": CRASH, "sleep": SLEEP, "wrong": WRONG}
PERIOD_S, MB = 0.2, 1 << 20


def hand_in(folder: Path, n: int) -> None:
    """Write ``n`` submissions."""
    kinds = [kind for kind, share in MIX for _ in range(share)]
    for i in range(n):
        kind = kinds[i % len(kinds)]
        made = folder / f"{kind} {i:04d}"
        if kind == "zip":
            made.with_name(made.name + ".zip").write_bytes(b"PK\3\4 and then nothing")
            continue
        made.mkdir(parents=True)
        if kind in CODE:
            (made / "solve.py").write_text(f"# submission {i}\n{CODE[kind]}", encoding="utf-8")


@contextmanager
def watched() -> Iterator[dict[str, int]]:
    """Look at the memory of this process and all below it; yields the peaks so far, in bytes."""
    peaks, done = {"evaluator and workers": 0, "sandboxes": 0}, threading.Event()

    def watch():
        while not done.wait(PERIOD_S):
            for name, used in zip(peaks, resident(), strict=True):
                peaks[name] = max(peaks[name], used)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield peaks
    finally:
        done.set()
        watching.join()


def resident() -> tuple[int, int]:
    """Bytes of resident memory: of this process and its workers, and of all that is in sandboxes."""
    here = psutil.Process()
    found, inside = {here.pid: here.memory_info().rss}, set()
    for one in here.children(recursive=True):
        try:
            found[one.pid] = one.memory_info().rss
            if one.name() == "bwrap" and one.pid not in inside:
                inside |= {one.pid, *(child.pid for child in one.children(recursive=True))}
        except psutil.NoSuchProcess:
            continue
    sandboxes = sum(rss for pid, rss in found.items() if pid in inside)
    return sum(found.values()) - sandboxes, sandboxes


def main() -> None:
    """Make a class, evaluate it, and print what it took."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--submissions", type=int, default=200)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--wall", type=float, default=30.0, help="seconds that one scene may take")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="etlab-") as folder:
        place = Path(folder)
        tiers = tuple(make_tier(place / f"{tier}.h5", tier, n_scenes=1, preset="small") for tier in TIERS)
        hand_in(place / "submissions", given.submissions)
        limits = sandbox.Limits(wall_s=given.wall)
        evaluator = Evaluator(tiers, place / "results", sandbox.find(), limits)
        begun = time.monotonic()
        evaluator.warm()
        print(f"kernels compiled in {time.monotonic() - begun:.0f} s")
        found, _ = found_submissions(place / "submissions")
        begun = time.monotonic()
        with watched() as peaks:
            failed = evaluate_all(evaluator, found, workers=given.workers)
        seconds = time.monotonic() - begun
        records = Records(place / "results").all()
        rows = standings.write(place / "results", tiers)
    print(f"{len(found)} submissions, {len(rows)} rows, {len(failed)} could not be evaluated: {failed or ''}")
    print(
        ", ".join(
            f"{n} scenes {status}" for status, n in Counter(one.status for one in records).most_common()
        )
    )
    print(f"{seconds:.0f} s: {len(found) / seconds * 3600:.0f} submissions an hour", end=", ")
    print(f"{sum(one.seconds > 0 for one in records) / seconds * 60:.0f} scenes run a minute")
    print(
        f"{np.nanmean([one.cpu_seconds for one in records if one.seconds > 0]):.1f} s of a core for a scene run"
    )
    for name, most in peaks.items():
        print(f"most memory of {name}: {most / MB:.0f} MB")


if __name__ == "__main__":
    main()
