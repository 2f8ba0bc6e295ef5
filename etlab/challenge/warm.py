"""Use every kernel once, so that what numba compiles is in its cache; ``python -m etlab.challenge.warm``."""

from etlab.challenge import baselines
from etlab.challenge.draw import draw


def main() -> None:
    """Calibrate and reconstruct the smallest scene there is."""
    problem, _ = draw("public", 0, "small")
    mismatch = baselines.found_mismatch(problem)
    for method in ("WBP-ET", "SIRT-ET", "CS-ET", "SART", "GENFIRE"):
        baselines.reconstruct(method, problem, mismatch)


if __name__ == "__main__":
    main()
