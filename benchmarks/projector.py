"""The projector and its two first solvers against ASTRA (CPU, 'linear'), scikit-image and a sparse matrix.

    .venv/bin/pip install -r benchmarks/requirements.txt
    .venv/bin/python benchmarks/projector.py

One run, interleaved: each round measures every contestant once, so that a busy machine is busy for all; the smallest
of the rounds counts. One thread on all sides, because an ASTRA CPU algorithm uses one. Times are processor times of
that thread for one slice; what the table is for is their ratios. Accuracy is measured against exact projections of
Gaussians and ellipses, memory as the largest growth while SIRT runs, and the processor's own speed by two loops.
"""

from __future__ import annotations

import argparse
import os
import time
import tracemalloc
from collections.abc import Callable

os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")  # before numpy: one thread on all sides
import astra
import numba
import numpy as np
from skimage.transform import iradon, radon
from tqdm import tqdm

from etlab.arrays import aligned_empty
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.projector import Projector
from etlab.reference import sparse_matrix
from etlab.solvers import sirt, wbp

GATES = {  # at least this many times faster than ASTRA linear
    "stack": {"A": 40, "Aᵀ": 20, "WBP": 10, "SIRT-20": 25},
    "lone slice": {"A": 3, "Aᵀ": 1.3},
}


class Astra:
    """ASTRA's CPU 'linear' projector for one slice (nz, n), square by default, in our convention."""

    def __init__(self, n: int, tilts_deg: np.ndarray, nz: int | None = None):
        volume = astra.create_vol_geom(nz or n, n)
        # ASTRA's angle turns the other way and its rows count downwards in y.
        detector = astra.create_proj_geom("parallel", 1.0, n, np.deg2rad(tilts_deg))
        self._projector = astra.create_projector("linear", detector, volume)
        self._volume = astra.data2d.create("-vol", volume, 0)
        self._sinogram = astra.data2d.create("-sino", detector, 0)

    def _run(self, name: str, n_iter: int = 1) -> None:
        settings = astra.astra_dict(name)
        target = "VolumeDataId" if name == "FP" else "ReconstructionDataId"
        settings |= {"ProjectorId": self._projector, "ProjectionDataId": self._sinogram, target: self._volume}
        if name in ("SIRT", "SART"):
            settings["option"] = {"MinConstraint": 0}
        algorithm = astra.algorithm.create(settings)
        astra.algorithm.run(algorithm, n_iter)
        astra.algorithm.delete(algorithm)

    def project(self, slice_: np.ndarray) -> np.ndarray:
        """A of one slice (nz, ny) -> (n_tilts, n_rows)."""
        astra.data2d.store(self._volume, slice_[::-1])
        self._run("FP")
        return astra.data2d.get(self._sinogram)

    def backproject(self, sinogram: np.ndarray) -> np.ndarray:
        """Aᵀ of one sinogram."""
        return self._reconstruct("BP", sinogram)

    def fbp(self, sinogram: np.ndarray) -> np.ndarray:
        """Filtered back-projection."""
        return self._reconstruct("FBP", sinogram)

    def sirt(self, sinogram: np.ndarray, n_iter: int) -> np.ndarray:
        """SIRT from zeros, non-negative."""
        astra.data2d.store(self._volume, 0)
        return self._reconstruct("SIRT", sinogram, n_iter)

    def sart(self, sinogram: np.ndarray, n_iter: int) -> np.ndarray:
        """SART from zeros, non-negative; an iteration is one tilt."""
        astra.data2d.store(self._volume, 0)
        return self._reconstruct("SART", sinogram, n_iter)

    def _reconstruct(self, name: str, sinogram: np.ndarray, n_iter: int = 1) -> np.ndarray:
        astra.data2d.store(self._sinogram, sinogram)
        self._run(name, n_iter)
        return astra.data2d.get(self._volume)[::-1]


def fastest(contestants: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Smallest processor time of this thread, in seconds, over rounds that call each contestant once."""
    for call in contestants.values():
        call()  # compiled, in cache
    best = dict.fromkeys(contestants, np.inf)
    for _ in tqdm(range(rounds), desc="rounds", leave=False):
        for name, call in contestants.items():
            start = time.thread_time()
            call()
            best[name] = min(best[name], time.thread_time() - start)
    return best


def contest(
    n: int, nx: int, tilts_deg: np.ndarray, rounds: int, *, iterative: bool
) -> dict[str, dict[str, float]]:
    """Seconds per slice of every task for every contestant."""
    rng = np.random.default_rng(0)
    A = Projector(TiltGeometry(tilts_deg, (n, n, nx)), n_threads=1)
    volume = aligned_empty((n, n, nx))
    volume[:] = rng.random(volume.shape)
    images = A(volume)
    peer, matrix = Astra(n, tilts_deg), sparse_matrix(A.geometry).astype(np.float32)
    transposed = matrix.T.tocsr()
    slice_, sinogram = np.ascontiguousarray(volume[:, :, 0]), np.ascontiguousarray(images[:, :, 0])
    coordinate = np.arange(n) - n // 2
    disc = slice_ * (
        np.hypot(coordinate[:, None], coordinate) < n / 2 - 1
    )  # what scikit-image's projector asks for
    columns, rows = volume.reshape(-1, nx), images.reshape(-1, nx)
    calls = {
        ("A", "etlab"): lambda: A(volume),
        ("A", "ASTRA"): lambda: peer.project(slice_),
        ("A", "CSR"): lambda: matrix @ columns,
        ("Aᵀ", "etlab"): lambda: A.T(images),
        ("Aᵀ", "ASTRA"): lambda: peer.backproject(sinogram),
        ("Aᵀ", "CSR"): lambda: transposed @ rows,
    }
    if iterative:
        calls |= {
            ("A", "skimage"): lambda: radon(disc, tilts_deg, circle=True),
            ("WBP", "etlab"): lambda: wbp(A, images),
            ("WBP", "ASTRA"): lambda: peer.fbp(sinogram),
            ("WBP", "skimage"): lambda: iradon(sinogram.T, tilts_deg, circle=True),
            ("SIRT-20", "etlab"): lambda: sirt(A, images, n_iter=20),
            ("SIRT-20", "ASTRA"): lambda: peer.sirt(sinogram, 20),
        }
    per_slice = {key: 1.0 if key[1] in ("ASTRA", "skimage") else 1.0 / nx for key in calls}
    seconds = fastest(calls, rounds)
    table: dict[str, dict[str, float]] = {}
    for (task, who), value in seconds.items():
        table.setdefault(task, {})[who] = value * per_slice[task, who]
    return table


def report(title: str, table: dict[str, dict[str, float]], gates: dict[str, float]) -> None:
    """Print times per slice and ratios to etlab, with the gate that each task has to pass."""
    peers = ("ASTRA", "skimage", "CSR")
    print(f"\n{title}\n{'':9s}{'etlab':>12s}" + "".join(f"{peer:>22s}" for peer in peers) + "   gate (ASTRA)")
    for task, times in table.items():
        cells = "".join(
            f"{1e3 * times[peer]:10.2f} ms {times[peer] / times['etlab']:6.1f} ×"
            if peer in times
            else f"{'–':>22s}"
            for peer in peers
        )
        passed = times["ASTRA"] / times["etlab"] >= gates[task]
        print(
            f"{task:9s}{1e3 * times['etlab']:9.2f} ms{cells}   ≥ {gates[task]} × {'passed' if passed else 'MISSED'}"
        )


def accuracy(n: int, tilts_deg: np.ndarray) -> dict[str, tuple[float, float]]:
    """Relative error of A (etlab, ASTRA) on objects whose projections are known exactly."""
    rng = np.random.default_rng(1)
    z, y = np.meshgrid(*2 * [np.arange(n) - (n - 1) / 2], indexing="ij")
    s, theta = np.arange(n) - (n - 1) / 2, np.deg2rad(tilts_deg)[:, None]
    objects = {"Gaussians": [np.zeros((n, n)), 0.0], "ellipses": [np.zeros((n, n)), 0.0]}
    fine = (np.arange(4) - 1.5) / 4  # 4 × 4 samples in each voxel of an ellipse
    for _ in range(12):
        cz, cy = rng.uniform(-n / 5, n / 5, 2)
        along, across, turn = rng.uniform(n / 40, n / 8), rng.uniform(n / 40, n / 8), rng.uniform(0, np.pi)
        centre = cy * np.cos(theta) + cz * np.sin(theta)
        sigma = across / 2
        objects["Gaussians"][0] += np.exp(-((z - cz) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
        exact = np.sqrt(2 * np.pi) * sigma * np.exp(-((s - centre) ** 2) / (2 * sigma**2))
        objects["Gaussians"][1] = objects["Gaussians"][1] + exact
        for dz in fine:
            for dy in fine:
                u = (y + dy - cy) * np.cos(turn) + (z + dz - cz) * np.sin(turn)
                v = (z + dz - cz) * np.cos(turn) - (y + dy - cy) * np.sin(turn)
                objects["ellipses"][0] += ((u / along) ** 2 + (v / across) ** 2 < 1) / 16
        half = np.hypot(along * np.cos(theta - turn), across * np.sin(theta - turn))
        chord = 2 * along * across * np.sqrt(np.maximum(half**2 - (s - centre) ** 2, 0)) / half**2
        objects["ellipses"][1] = objects["ellipses"][1] + chord
    A, peer = Projector(TiltGeometry(tilts_deg, (n, n, 1))), Astra(n, tilts_deg)
    errors = {}
    for name, (slice_, exact) in objects.items():
        slice_ = slice_.astype(np.float32)
        ours, theirs = A(slice_[:, :, None])[:, :, 0], peer.project(slice_)
        errors[name] = tuple(np.linalg.norm(p - exact) / np.linalg.norm(exact) for p in (ours, theirs))
    return errors


def sirt_memory(n: int, nx: int, tilts_deg: np.ndarray) -> tuple[float, float]:
    """Largest growth of memory during SIRT, and the size of volume plus one residual, in bytes."""
    A = Projector(TiltGeometry(tilts_deg, (n, n, nx)))
    images = np.ones(A.geometry.images_shape, np.float32)
    tracemalloc.start()
    sirt(A, images, n_iter=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, 4.0 * np.prod(A.geometry.volume_shape) + images.nbytes


@numba.njit(fastmath=True)
def multiply_add(values, n_repeats):
    """Multiply-adds on 64 values that stay in registers or the nearest cache: the processor's arithmetic limit."""
    for _ in range(n_repeats):
        for i in range(64):
            values[i] = values[i] * np.float32(0.999) + np.float32(0.001)


def machine_rates() -> tuple[float, float]:
    """Multiply-adds per second of one thread as numba compiles them, and bytes read per second from memory."""
    values, large = np.ones(64, np.float32), np.ones(64 << 20, np.float32)
    seconds = fastest({"fma": lambda: multiply_add(values, 100_000), "read": large.sum}, 5)
    return 64 * 100_000 / seconds["fma"], large.nbytes / seconds["read"]


def main() -> None:
    """Run everything and print it."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=7, help="rounds of the interleaved measurement")
    rounds = options.parse_args().rounds
    tilts, fine_tilts = linear_tilts(70, 2), linear_tilts(60, 1)
    stack = contest(256, 64, tilts, rounds, iterative=True)
    report("stack of 64 slices of 256², 71 tilts, per slice", stack, GATES["stack"])
    lone = contest(512, 1, fine_tilts, rounds, iterative=False)
    report("one lone slice of 512², 121 tilts", lone, GATES["lone slice"])
    print("\naccuracy: relative error against exact projections")
    for name, (ours, theirs) in accuracy(256, tilts).items():
        print(
            f"  {name:10s} etlab {ours:.5f}  ASTRA linear {theirs:.5f}  ratio {ours / theirs:.3f} (gate ≤ 1.05)"
        )
    peak, data = sirt_memory(256, 64, tilts)
    print(f"\nmemory: SIRT's peak is {peak / data:.3f} × (volume + one residual)")
    fma, memory = machine_rates()
    work = 2 * tilts.size * 256 * 256
    print(f"this thread: {fma / 1e9:.1f} G multiply-adds/s, {memory / 1e9:.1f} GB/s read from memory")
    for task in ("A", "Aᵀ"):
        print(f"  {task}: {work / stack[task]['etlab'] / fma:.0%} of that arithmetic rate")
        moved = 4 * (256 * 256 + tilts.size * 256)
        print(
            f"  {task}: volume and images once each are {moved / stack[task]['etlab'] / memory:.1%} of the memory rate"
        )


if __name__ == "__main__":
    main()
