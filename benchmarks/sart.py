"""SART, a sweep over all tilts, against ASTRA (CPU, 'linear') and scikit-image, per slice.

    .venv/bin/pip install -r benchmarks/requirements.txt
    .venv/bin/python benchmarks/sart.py

As in ``projector.py``: interleaved rounds, smallest processor time of one thread. The error of each result against the
volume is printed beside, so that what is compared is the same work. Gate: ≥ 20 × ASTRA.
"""

from __future__ import annotations

import argparse

import numpy as np
from projector import Astra, fastest
from skimage.transform import iradon_sart

from etlab.geometry import TiltGeometry, linear_tilts
from etlab.projector import Projector
from etlab.solvers import sart

GATE = 20.0
SWEEPS = 3  # per call, so that what is done once counts as in use


def phantom(n: int, nx: int) -> np.ndarray:
    """Discs of several densities, the same in every slice: (n, n, nx) float32."""
    rng = np.random.default_rng(0)
    y = np.arange(n) - (n - 1) / 2
    z = y[:, None]
    slice_ = np.zeros((n, n), np.float32)
    for _ in range(12):
        cz, cy = rng.uniform(-n / 5, n / 5, 2)
        slice_[np.hypot(z - cz, y - cy) < rng.uniform(n / 40, n / 10)] = rng.uniform(0.3, 1)
    return np.repeat(slice_[:, :, None], nx, axis=2)


def skimage_sart(sinogram: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """scikit-image makes one sweep a call and continues from what it is given."""
    found = None
    for _ in range(SWEEPS):
        found = iradon_sart(sinogram, theta=theta, image=found, relaxation=1, clip=(0, np.inf))
    return found


def main() -> None:
    """Measure each and print time per slice and sweep, ratio and error."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=5, help="rounds of the interleaved measurement")
    rounds, n, nx, tilts = options.parse_args().rounds, 256, 64, linear_tilts(70, 2)
    A, peer, truth = Projector(TiltGeometry(tilts, (n, n, nx)), n_threads=1), Astra(n, tilts), phantom(n, nx)
    images = A(truth)
    sinogram = np.ascontiguousarray(images[:, :, 0])
    calls = {
        "etlab": lambda: sart(A, images, n_iter=SWEEPS, relaxation=1)[:, :, 0],
        "ASTRA": lambda: peer.sart(sinogram, SWEEPS * tilts.size),  # ASTRA counts every tilt as an iteration
        # it turns the other way, and about a centre half a pixel off ours, which its error shows
        "skimage": lambda: skimage_sart(sinogram.T, -tilts),
    }
    seconds = {name: value / SWEEPS for name, value in fastest(calls, rounds).items()}
    seconds["etlab"] /= nx
    for name, call in calls.items():
        error = np.linalg.norm(call() - truth[:, :, 0]) / np.linalg.norm(truth[:, :, 0])
        ratio = seconds[name] / seconds["etlab"]
        print(f"{name:8s} {1e3 * seconds[name]:8.2f} ms per slice   {ratio:6.1f} ×   error {error:.3f}")
    ratio = seconds["ASTRA"] / seconds["etlab"]
    print(f"gate ≥ {GATE} × ASTRA: {'passed' if ratio >= GATE else 'MISSED'} ({ratio:.1f} ×)")


if __name__ == "__main__":
    main()
