"""Arrays as the kernels want them: float32, contiguous, finite, of the right shape, starting on a cache line."""

from __future__ import annotations

import numpy as np


def aligned_empty(shape: tuple[int, ...]) -> np.ndarray:
    """Uninitialised float32 array that starts on a cache line (64 bytes), where vector loads are fastest."""
    n_bytes = 4 * int(np.prod(shape))
    buffer = np.empty(n_bytes + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + n_bytes].view(np.float32).reshape(shape)


def checked(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``array`` as contiguous float32, or an error that says what came and what was expected.

    Raises TypeError for a dtype that is not floating, ValueError for a wrong shape, NaN or infinity.
    """
    array = np.asarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(
            f"{name}: got dtype {array.dtype}, expected a floating one; use {name}.astype(np.float32)"
        )
    if array.shape != shape:
        raise ValueError(f"{name}: got shape {array.shape}, expected {shape}")
    array = np.ascontiguousarray(array, dtype=np.float32)
    # A sum meets every NaN and infinity in one pass and, unlike isfinite, needs no temporary array.
    if not np.isfinite(array.sum()) and not np.isfinite(array).all():
        bad = int(np.sum(~np.isfinite(array)))
        raise ValueError(f"{name}: got {bad} NaN or infinite values (float32), expected finite ones")
    return array
