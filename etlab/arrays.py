"""Arrays as the kernels want them: float32, contiguous, finite, of the right shape, starting on a cache line."""

from __future__ import annotations

import os

import numpy as np


def aligned_empty(shape: tuple[int, ...]) -> np.ndarray:
    """Return an uninitialised float32 array that starts on a cache line (64 bytes), where vector loads are fastest."""
    n_bytes = 4 * int(np.prod(shape))
    buffer = np.empty(n_bytes + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + n_bytes].view(np.float32).reshape(shape)


def checked(name: str, array: np.ndarray, shape: tuple[int, ...], *, finite: bool = True) -> np.ndarray:
    """Return ``array`` as contiguous float32, or raise an error that says what came and what was expected.

    Raises TypeError for a dtype that is not floating, ValueError for a wrong shape, NaN or infinity (the last two
    only with ``finite``: looking for them takes a pass over the array).
    """
    array = np.asarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(
            f"{name}: got dtype {array.dtype}, expected a floating one; use {name}.astype(np.float32)"
        )
    if array.shape != shape:
        raise ValueError(f"{name}: got shape {array.shape}, expected {shape}")
    array = np.ascontiguousarray(array, dtype=np.float32)
    # A sum of squares meets every NaN and infinity in one quick pass and, unlike isfinite, needs no temporary array.
    if finite and not np.isfinite(np.vdot(array, array)) and not np.isfinite(array).all():
        bad = int(np.sum(~np.isfinite(array)))
        raise ValueError(f"{name}: got {bad} NaN or infinite values (float32), expected finite ones")
    return array


def require_memory(n_bytes: float, what: str) -> None:
    """Raise MemoryError, saying how much ``what`` needs, if that is more than the machine has.

    The whole memory is the measure, not what is free now: caches make that number too small. Where the operating
    system does not say how much there is (Windows), nothing is checked.
    """
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return
    present = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if n_bytes > present:
        raise MemoryError(
            f"{what} needs {n_bytes / 2**30:.1f} GiB of memory, this machine has {present / 2**30:.1f} GiB"
        )
