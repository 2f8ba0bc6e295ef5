"""The total-variation step of ``etlab.solvers.tv`` against scikit-image's ``denoise_tv_chambolle``, per iteration.

    .venv/bin/python benchmarks/tv_step.py

Both are one step of a primal-dual method for the same isotropic total variation in three dimensions: a step of the
dual field along ∇x, a projection, and a new x from its divergence. Ours also takes the gradient of a data term and the
bound x ≥ 0. Rounds are interleaved, so that a busy machine is busy for both; the smallest processor time of one thread
counts. Chambolle's time per iteration is the difference of two runs, so that its set-up does not count. Gate: ≥ 2 ×.
"""

from __future__ import annotations

import argparse

import numpy as np
from projector import fastest
from skimage.restoration import denoise_tv_chambolle

from etlab.solvers.tv_kernels import dual_step, primal_step

GATE = 2.0
SHAPES = ((64, 128, 128), (64, 256, 256))
FEW, MANY = 2, 8  # iterations of the two runs


def contest(shape: tuple[int, int, int], rounds: int) -> tuple[float, float]:
    """Seconds per iteration for a float32 volume of ``shape``: ours, scikit-image's."""
    rng = np.random.default_rng(0)
    volume, gradient = rng.random((2, *shape), dtype=np.float32)
    noisy = volume.copy()
    p, moved, size = np.zeros((3, *shape), np.float32), np.empty(shape[0]), np.empty(shape[0])
    step, bound, floor = (np.float32(value) for value in (0.1, 0.05, 0.0))

    def ours():
        dual_step(0, shape[0], volume, p, step, bound)
        primal_step(0, shape[0], volume, gradient, p, step, floor, moved, size)

    def chambolle(n_iter):
        return lambda: denoise_tv_chambolle(noisy, weight=0.1, eps=0, max_num_iter=n_iter)

    seconds = fastest({"ours": ours, "few": chambolle(FEW), "many": chambolle(MANY)}, rounds)
    return seconds["ours"], (seconds["many"] - seconds["few"]) / (MANY - FEW)


def main() -> None:
    """Measure both shapes and print the ratios."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=7, help="rounds of the interleaved measurement")
    rounds = options.parse_args().rounds
    for shape in SHAPES:
        ours, theirs = contest(shape, rounds)
        ratio = theirs / ours
        print(
            f"{'×'.join(map(str, shape)):12s} etlab {1e3 * ours:7.2f} ms   scikit-image {1e3 * theirs:7.2f} ms   "
            f"{ratio:4.1f} ×   ≥ {GATE} × {'passed' if ratio >= GATE else 'MISSED'}"
        )


if __name__ == "__main__":
    main()
