"""The compiled kernels that every run in the sandbox begins with: compiling costs many seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

from etlab.challenge import sandbox

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


def compile_kernels(cache: Path, backend: sandbox.Backend) -> None:
    """Compile every kernel inside the sandbox and keep them in ``cache``, a new folder; nothing if it is there.

    Whoever calls this holds a lock. Raises SandboxError if `etlab` does not run in there.
    """
    if cache.is_dir():
        return
    partial = cache.with_name(f"{cache.name}.part")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    outcome = sandbox.run(
        ["python", "-m", "etlab.challenge.warm"],
        folder=partial,
        visible={},
        backend=backend,
        environment=ONE_THREAD | {"NUMBA_CACHE_DIR": "/answer"},
    )
    if not outcome.ok:
        shutil.rmtree(partial)
        raise sandbox.SandboxError(f"etlab itself does not run in {backend.name}: {outcome.log[-300:]}")
    for one in (partial, *partial.rglob("*")):
        one.chmod(0o755 if one.is_dir() else 0o644)
    partial.rename(cache)


def main() -> None:
    """Calibrate and reconstruct the smallest scene there is."""
    from etlab.challenge import baselines
    from etlab.challenge.draw import draw

    problem, _ = draw("public", 0, "small")
    mismatch = baselines.found_mismatch(problem)
    for method in ("WBP-ET", "SIRT-ET", "CS-ET", "SART", "GENFIRE"):
        baselines.reconstruct(method, problem, mismatch)


if __name__ == "__main__":
    main()
