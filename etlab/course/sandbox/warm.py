"""The compiled kernels that every run in the sandbox begins with: compiling costs many seconds.

Their folder is named after what they were compiled from and by, so that after an upgrade they are compiled anew.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

import etlab
from etlab.course import sandbox

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


def cache_folder(results: Path) -> Path:
    """Return the folder of the kernels that this etlab, this Python and these libraries make."""
    made_by = [platform.python_version(), platform.machine(), *map(version, ("numba", "llvmlite", "numpy"))]
    sources = sorted(Path(etlab.__file__).parent.rglob("*.py"))
    found = [
        (str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sources
    ]  # as numba looks at them
    return results / f".numba-{hashlib.sha256(repr((made_by, found)).encode()).hexdigest()[:12]}"


def compile_kernels(cache: Path, backend: sandbox.Backend) -> None:
    """Compile every kernel inside the sandbox and keep them in ``cache``, a new folder; do nothing if it exists.

    Kernels of other versions beside it are deleted. Whoever calls this holds a lock. Raises SandboxError if
    `etlab` does not run in there.
    """
    if cache.is_dir():
        return
    partial = cache.with_name(f"{cache.name}.part")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    outcome = sandbox.run(
        ["python", "-m", "etlab.course.sandbox.warm"],
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
    for old in cache.parent.glob(".numba*"):
        if old != cache:
            shutil.rmtree(old, ignore_errors=True)


def main() -> None:
    """Call every kernel: those of volumes, of a single tilt, of single slices and of total variation."""
    import numpy as np

    from etlab.geometry import TiltGeometry
    from etlab.projector import Projector
    from etlab.solvers import sart, sirt, tv

    for n_slices in (1, 16):
        images = np.ones((2, 8, n_slices), np.float32)
        A = Projector(TiltGeometry(np.array([0.0, 45.0]), (8, 8, n_slices)))
        for solve in (sart, sirt, tv):
            solve(A, images, n_iter=1)


if __name__ == "__main__":
    main()
