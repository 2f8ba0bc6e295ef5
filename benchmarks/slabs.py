"""A volume larger than its memory limit: `etlab reconstruct` in slabs, what it holds, and how long it takes.

    .venv/bin/pip install -r benchmarks/requirements.txt
    .venv/bin/python benchmarks/slabs.py

A synthetic series, 61 tilts of 1024 × 1024 pixels, is written to disk slab by slab. WBP and SIRT-20 then make a volume
512 × 1024 × 1024 (2.1 GB) of it, each by one worker and by two, under a hard limit of the address space (RLIMIT_AS);
the resident memory of all processes together is sampled. On a busy machine the clock says little, so the speed-up of
two workers is also given by the processor time of the slowest path: what the main thread did and the longer of the two
workers. Beside it: the difference from the solver in memory, across a border between slabs, and SIRT on a slab
against ASTRA (CPU, 'linear') on one of its slices. Gates: within 4 GB, ≤ 1e-6, ≥ 25 × ASTRA, two workers ≥ 1.7 ×.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from projector import Astra, fastest

from etlab.geometry import TiltGeometry, linear_tilts
from etlab.io import open_series, open_stack
from etlab.pipeline import bytes_of, write_prepared
from etlab.projector import Projector
from etlab.solvers import sirt, wbp

TILTS = linear_tilts(60, 2)
N_PARTICLES = 400
ITERATIONS = 20
GATES = {"ASTRA": 25.0, "two workers": 1.7, "difference": 1e-6}
COLUMNS = 128  # compared with the solver in memory


@dataclass(frozen=True)
class Ellipsoids:
    """A series that is projected where it is read: ellipsoids all over a volume (nz, n, n)."""

    nz: int
    n: int
    tilts_deg = TILTS
    pixel_nm = 1.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_tilts, n_rows, nx)."""
        return TILTS.size, self.n, self.n

    def volume(self, x0: int, x1: int) -> np.ndarray:
        """Slices x0 … x1 − 1 of the truth, [z, y, x]."""
        rng, size = np.random.default_rng(0), np.array([self.nz, self.n, self.n])
        volume = np.zeros((self.nz, self.n, x1 - x0), np.float32)
        for _ in range(N_PARTICLES):
            radii = rng.uniform(0.01, 0.06, 3) * self.n
            centre, density = rng.uniform(radii, size - 1 - radii), rng.uniform(0.2, 1)
            if centre[2] + radii[2] < x0 or centre[2] - radii[2] > x1:
                continue
            z, y, x = (
                ((np.arange(first, stop) - c) / r) ** 2
                for first, stop, c, r in zip((0, 0, x0), (self.nz, self.n, x1), centre, radii, strict=True)
            )
            rows, planes = np.flatnonzero(y < 1), np.flatnonzero(z < 1)
            box = np.s_[planes[0] : planes[-1] + 1, rows[0] : rows[-1] + 1]
            volume[box] += density * (z[box[0], None, None] + y[box[1], None] + x < 1)
        return volume

    def read(self, x0: int, x1: int) -> np.ndarray:
        """Columns x0 … x1 − 1 of the noisy images."""
        geometry = TiltGeometry(TILTS, (self.nz, self.n, x1 - x0), self.n)
        images = Projector(geometry)(self.volume(x0, x1))
        return images + np.random.default_rng(x0).normal(0, 1, images.shape).astype(np.float32)


@dataclass
class Measured:
    """A run: seconds by the clock, of the processor, and on its slowest path; most memory of all its processes."""

    wall: float
    cpu: float
    slowest: float
    n_bytes: float


def measured(command: list[str], workers: int, limit: float) -> Measured:
    """Run a command under a hard limit of memory and watch it and its children."""
    environment = {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": str(workers),
    }
    started, most, threads = time.monotonic(), 0.0, {}
    with subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit))),
    ) as child:
        watched = psutil.Process(child.pid)
        while child.poll() is None:
            try:
                family = [watched, *watched.children(recursive=True)]
                most = max(most, sum(one.memory_info().rss for one in family))
                for thread in watched.threads():
                    threads[thread.id] = thread.user_time + thread.system_time
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.02)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    main = threads.pop(child.pid)
    return Measured(
        time.monotonic() - started, main + sum(threads.values()), main + max(threads.values()), most
    )


def compare(series: Path, volume: Path, method: str, nz: int) -> float:
    """Largest difference from the solver in memory, over columns on both sides of a border between slabs."""
    file = open_series(series)
    x0 = file.shape[2] // 2 - COLUMNS // 2
    images = file.read(x0, x0 + COLUMNS)
    A = Projector(TiltGeometry(file.tilts_deg, (nz, file.shape[1], COLUMNS), file.shape[1]), n_threads=1)
    expected = wbp(A, images) if method == "wbp" else sirt(A, images, n_iter=ITERATIONS)
    found = open_stack(volume).read(columns=slice(x0, x0 + COLUMNS))
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def against_astra(series: Path, nz: int, rounds: int) -> float:
    """How many times longer ASTRA takes for a slice of SIRT-20 than etlab does for one of a slab."""
    file = open_series(series)
    x0 = file.shape[2] // 2
    images = file.read(x0, x0 + 64)
    A = Projector(TiltGeometry(file.tilts_deg, (nz, file.shape[1], 64), file.shape[1]), n_threads=1)
    peer, sinogram = Astra(file.shape[1], file.tilts_deg, nz), np.ascontiguousarray(images[:, :, 32])
    seconds = fastest(
        {
            "etlab": lambda: sirt(A, images, n_iter=ITERATIONS),
            "ASTRA": lambda: peer.sirt(sinogram, ITERATIONS),
        },
        rounds,
    )
    ours, theirs = sirt(A, images, n_iter=ITERATIONS)[:, :, 32], peer.sirt(sinogram, ITERATIONS)
    apart = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    print(
        f"SIRT-{ITERATIONS}, a slice: etlab {seconds['etlab'] / 64:.3f} s, ASTRA {seconds['ASTRA']:.2f} s of the "
        f"processor; results {apart:.1%} apart"
    )
    return 64 * seconds["ASTRA"] / seconds["etlab"]


def main() -> None:
    """Measure and print, and say of each gate whether it was passed."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--size", type=int, default=1024, help="pixels along each side of the images")
    options.add_argument("--thickness", type=int, default=512, help="voxels")
    options.add_argument("--memory", default="4GB", help="limit, planned for and enforced")
    options.add_argument("--method", choices=("wbp", "sirt"), action="append", help="default: both")
    options.add_argument("--rounds", type=int, default=2, help="of the comparison with ASTRA")
    options.add_argument("--folder", type=Path, help="for series and volumes, 7 GB; default: a temporary one")
    options = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="etlab-") as temporary:
        folder = options.folder or Path(temporary)
        series, limit, nz = folder / "series.mrc", bytes_of(options.memory), options.thickness
        if not series.exists():
            np.savetxt(series.with_suffix(".tlt"), TILTS)
            write_prepared(
                Ellipsoids(nz, options.size), series, pixel_nm=1.0, provenance={"synthetic": "ellipsoids"}
            )
        gates = {}
        for method in options.method or ("wbp", "sirt"):
            runs = {}
            for workers in (1, 2):
                out = folder / f"{method}.mrc"
                command = [
                    str(Path(sys.executable).with_name("etlab")),
                    "reconstruct",
                    str(series),
                    "-o",
                    str(out),
                ]
                command += ["-m", method, "--thickness", str(nz), "--memory", options.memory]
                command += ["--workers", str(workers), "--no-fsc", "--overwrite"]
                command += ["--iterations", str(ITERATIONS)] if method == "sirt" else []
                run = runs[workers] = measured(command, workers, limit)
                load = os.getloadavg()[0]
                print(
                    f"{method}, {workers} at a time: {run.wall:.0f} s by the clock, {run.cpu:.0f} s of processor, "
                    f"{run.n_bytes / 1e9:.2f} GB held at most; load {load:.1f}",
                    flush=True,
                )
                gates[f"{method}, {workers} at a time, within {options.memory}"] = run.n_bytes <= limit
            gain = runs[1].cpu / runs[2].slowest
            difference = compare(series, out, method, nz)
            print(
                f"{method}: two workers {runs[1].wall / runs[2].wall:.2f} × by the clock, {gain:.2f} × by the "
                f"processor; {difference:.1e} from the solver in memory",
                flush=True,
            )
            if method == "sirt":  # of WBP, reading, checking and writing, by one, are half
                gates[f"{method}, two workers ≥ {GATES['two workers']}"] = gain >= GATES["two workers"]
            gates[f"{method}, difference ≤ {GATES['difference']}"] = difference <= GATES["difference"]
        ratio = against_astra(series, nz, options.rounds)
        print(f"SIRT-{ITERATIONS} on a slab: {ratio:.1f} × ASTRA")
        gates[f"≥ {GATES['ASTRA']} × ASTRA"] = ratio >= GATES["ASTRA"]
    for gate, passed in gates.items():
        print(f"{gate}: {'passed' if passed else 'MISSED'}")


if __name__ == "__main__":
    main()
