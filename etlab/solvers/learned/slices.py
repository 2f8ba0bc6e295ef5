"""Volumes as networks take them: slices across the tilt axis, each with its neighbours as channels.

Slices across the tilt axis, ``volume[:, :, i]``, do not mix when projected, but neighbours show the same specimen with
another noise. So a network sees a slice and its neighbours and answers for the slice in the middle.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tqdm.auto import tqdm

VOXELS = 8 * 64 * 128  # at a time: more are no faster on a processor and take more memory

# (n, channels, nz, ny) -> (n, 1, nz, ny), float32
SliceNetwork = Callable[[np.ndarray], np.ndarray]


def with_neighbours(volume: np.ndarray, indices: np.ndarray, n_neighbours: int) -> np.ndarray:
    """Return slices at ``indices`` along x, each between its neighbours: (n, n_neighbours, nz, ny).

    ``n_neighbours`` is odd and counts the slice itself. Beyond its ends the volume is continued by its last slices.
    """
    offsets = np.arange(n_neighbours) - n_neighbours // 2
    wanted = np.clip(np.asarray(indices)[:, None] + offsets, 0, volume.shape[2] - 1)
    return np.ascontiguousarray(np.moveaxis(volume[:, :, wanted], (2, 3), (0, 1)), dtype=np.float32)


def by_slices(
    network: SliceNetwork,
    volumes: list[np.ndarray],
    *,
    n_neighbours: int = 5,
    planes: tuple[float, ...] = (),
    progress: bool = False,
) -> np.ndarray:
    """Apply a network to every slice of ``volumes``, all (nz, ny, nx), and stack its answers: (nz, ny, nx), float32.

    The channels are the neighbours of the first volume, then of the next, then one constant plane for each of
    ``planes``.
    """
    out: np.ndarray = np.empty(volumes[0].shape, np.float32)
    nz, ny, n_slices = out.shape
    batch = max(1, VOXELS // (nz * ny))
    for first in tqdm(range(0, n_slices, batch), desc="network", unit="batch", disable=not progress):
        indices = np.arange(first, min(first + batch, n_slices))
        channels = [with_neighbours(volume, indices, n_neighbours) for volume in volumes]
        size = (len(indices), 1, nz, ny)
        channels += [np.full(size, value, np.float32) for value in planes]
        out[:, :, indices] = np.moveaxis(network(np.concatenate(channels, axis=1))[:, 0], 0, 2)
    return out


def padded_to(slices: np.ndarray, multiple: int) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Continue slices (n, c, nz, ny) by their border values to multiples of ``multiple``; tell where they lie."""
    nz, ny = slices.shape[2:]
    before = [(-n % multiple) // 2 for n in (nz, ny)]
    after = [-n % multiple - b for n, b in zip((nz, ny), before, strict=True)]
    widths = [(0, 0), (0, 0), *zip(before, after, strict=True)]
    inside = (slice(before[0], before[0] + nz), slice(before[1], before[1] + ny))
    return np.pad(slices, widths, mode="edge") if any(before + after) else slices, inside
