"""Numba kernels of the projector: Joseph's footprint as two taps a step, applied to whole runs along the tilt axis.

A step along a ray meets at most two voxels, and a voxel at most two detector rows; which two, and with what weights,
depends on the tilt, y and z only. So the weights are worked out once, in float64, and applied to runs of ``RUN``
neighbours along x, which lie next to each other in memory. The rest is order of work: ``BLOCK`` steps for ``TILE``
rows at a time, so that the lines in use stay in the processor's cache from one tilt to the next.

A is a gather along each ray, Aᵀ a gather at each voxel. Both evaluate the same weights, so the pair is matched.
A few slices make no runs along x; they have kernels of their own that run along rows instead.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numba import njit

from etlab.simd import BLOCK, RUN, gather_run

TILE = 64  # detector rows (A) or voxels along y (Aᵀ) whose weights are worked out together
GROUP = 8  # tilts for which one thread keeps a tile of the images in its cache

RAMP = np.arange(
    TILE, dtype=np.float64
)  # a float ramp, because converting a loop counter would not vectorise
FAST = {"contract", "nsz", "reassoc"}  # lets the compiler fuse multiply and add, and keeps NaN and infinity


@njit(cache=True, fastmath=FAST)
def footprint(start, step, n, height, slope, first, stride, line, near, far):
    """Compute weights max(0, height − slope·distance) at the positions start + i·step among n lines.

    Writes for each i the index of the lower line met, its weight (near) and that of the next line up (far). Clamping
    the lower line to 0 … n − 2 gives positions beyond the border the weight that still falls on it, or none.
    """
    top = max(n - 2.0, 0.0)
    far_height, far_slope = (height, slope) if n > 1 else (0.0, 0.0)
    first, stride = np.uint32(first), np.uint32(stride)
    for i in range(TILE):
        position = start + step * RAMP[i]
        lower = min(max(np.floor(position), 0.0), top)
        line[i] = first + stride * np.uint32(np.int32(lower))
        near[i] = max(0.0, height - slope * abs(position - lower))
        far[i] = max(0.0, far_height - far_slope * abs(position - lower - 1))


@njit(cache=True, fastmath=FAST)
def ray(cos, sin, n_rows, nz, ny):
    """Return the course of a tilt's rays: where the ray of a row is, among the lines across it, after k steps along it.

    A ray advances through z where |cos| ≥ |sin|, through y elsewhere. Returns the number of steps and of lines across;
    the strides, in lines of the volume, of either; and the position's value at row 0, step 0, its change per row and
    per step. The change per row is also the length of a step.
    """
    if abs(cos) >= abs(sin):
        steps, across, along, stride, major, minor = nz, ny, ny, min(1, ny - 1), cos, sin
    else:
        steps, across, along, stride, major, minor = ny, nz, 1, min(ny, (nz - 1) * ny), sin, cos
    per_row = 1 / major
    per_step = -minor * per_row
    origin = (across - 1) / 2 - per_row * (n_rows - 1) / 2 - per_step * (steps - 1) / 2
    return steps, across, along, stride, origin, per_row, per_step


@njit(cache=True, fastmath=FAST)
def shadow(cos, sin, t, z, y0, n_rows, nz, ny, weight, line, near, far):
    """Compute which rows the voxels y0 … y0 + TILE − 1 of plane z meet in image t, and how much, times ``weight``."""
    start = (y0 - (ny - 1) / 2) * cos + (z - (nz - 1) / 2) * sin + (n_rows - 1) / 2
    inverse = 1 / max(abs(cos), abs(sin))
    height, slope = weight * inverse, weight * inverse**2
    footprint(start, cos, n_rows, height, slope, t * n_rows, min(1, n_rows - 1), line, near, far)


@njit(cache=True, fastmath=FAST)
def gather(lines, stride, line, near, far, n, x0, run, total):
    """Add to total[i, :run], i < n, the ``BLOCK`` pairs of lines that the weights name, from column x0 on."""
    if run == RUN:
        for i in range(n):
            gather_run(lines, stride, line, near, far, i, x0, total[i])
    else:
        for i in range(n):
            for j in range(BLOCK):
                lower, upper = line[j, i], line[j, i] + stride
                for x in range(run):
                    total[i, x] += near[j, i] * lines[lower, x0 + x] + far[j, i] * lines[upper, x0 + x]


@njit(cache=True, fastmath=FAST, nogil=True)
def project(begin, end, volume, cos, sin, images):
    """Apply A: images[t, row, x] ← Σ over the ray's steps, for the work items begin … end − 1 of ``project_items``.

    Shapes (nz, ny, nx) and (n_tilts, n_rows, nx), float32. An item is ``GROUP`` tilts by ``TILE`` rows.
    """
    nz, ny, nx = volume.shape
    n_tilts, n_rows, _ = images.shape
    lines = volume.reshape(nz * ny, nx)
    line = np.zeros((BLOCK, TILE), np.uint32)
    near, far = np.zeros((BLOCK, TILE), np.float32), np.zeros((BLOCK, TILE), np.float32)
    total = np.empty((GROUP, TILE, RUN), np.float32)
    tiles = (n_rows + TILE - 1) // TILE
    for item in range(begin, end):
        t0, row0 = item // tiles * GROUP, item % tiles * TILE
        tilts, n_here = range(min(GROUP, n_tilts - t0)), min(TILE, n_rows - row0)
        for x0 in range(0, nx, RUN):
            run = min(RUN, nx - x0)
            total[: len(tilts)] = 0
            for k0 in range(0, max(nz, ny), BLOCK):
                for t in tilts:
                    steps, across, along, stride, origin, per_row, per_step = ray(
                        cos[t0 + t], sin[t0 + t], n_rows, nz, ny
                    )
                    if k0 >= steps:
                        continue
                    for j in range(BLOCK):
                        k = min(k0 + j, steps - 1)
                        start = origin + row0 * per_row + k * per_step
                        height = (
                            abs(per_row) if k0 + j < steps else 0.0
                        )  # a step beyond the volume weighs nothing
                        footprint(
                            start,
                            per_row,
                            across,
                            height,
                            height,
                            k * along,
                            stride,
                            line[j],
                            near[j],
                            far[j],
                        )
                    gather(lines, stride, line, near, far, n_here, x0, run, total[t])
            for t in tilts:
                for i in range(n_here):
                    for x in range(run):
                        images[t0 + t, row0 + i, x0 + x] = total[t, i, x]


def project_items(images_shape: tuple[int, int, int]) -> int:
    """Return the number of independent work items of ``project``."""
    return -(-images_shape[0] // GROUP) * -(-images_shape[1] // TILE)


@njit(cache=True, fastmath=FAST, nogil=True)
def backproject(begin, end, images, cos, sin, volume, scale, add, floor):
    """Apply Aᵀ: volume ← max(floor, [volume if add] + scale·Aᵀ images), for some work items.

    ``scale`` is (nz, ny). Doing the update here saves a second volume: that is all the memory SIRT would need.
    An item of ``backproject_items`` is ``BLOCK`` planes by ``TILE`` voxels along y.
    """
    nz, ny, nx = volume.shape
    n_tilts, n_rows, _ = images.shape
    lines = images.reshape(n_tilts * n_rows, nx)
    line = np.zeros((BLOCK, TILE), np.uint32)
    near, far = np.zeros((BLOCK, TILE), np.float32), np.zeros((BLOCK, TILE), np.float32)
    total = np.empty((BLOCK, TILE, RUN), np.float32)
    stride, tiles = min(1, n_rows - 1), (ny + TILE - 1) // TILE
    for item in range(begin, end):
        z0, y0 = item // tiles * BLOCK, item % tiles * TILE
        planes, n_here = range(min(BLOCK, nz - z0)), min(TILE, ny - y0)
        for x0 in range(0, nx, RUN):
            run = min(RUN, nx - x0)
            total[:] = 0
            for t0 in range(0, n_tilts, BLOCK):
                for z in planes:
                    for j in range(BLOCK):
                        t = min(t0 + j, n_tilts - 1)
                        weight = 1.0 if t0 + j < n_tilts else 0.0  # an image beyond the last weighs nothing
                        shadow(
                            cos[t], sin[t], t, z0 + z, y0, n_rows, nz, ny, weight, line[j], near[j], far[j]
                        )
                    gather(lines, stride, line, near, far, n_here, x0, run, total[z])
            for z in planes:
                for i in range(n_here):
                    for x in range(run):
                        value = scale[z0 + z, y0 + i] * total[z, i, x]
                        if add:
                            value += volume[z0 + z, y0 + i, x0 + x]
                        volume[z0 + z, y0 + i, x0 + x] = max(floor, value)


@njit(cache=True, fastmath=FAST, nogil=True)
def backproject_tilt(begin, end, images, cos, sin, volume, scale, add, floor):
    """Apply ``backproject`` for a single image, for the planes begin … end − 1.

    Eight images at a time, as above, would be seven too many; with one there is no sum to keep in registers.
    """
    nz, ny, nx = volume.shape
    n_rows = images.shape[1]
    lines = images.reshape(n_rows, nx)
    line, near, far = np.empty(TILE, np.uint32), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    stride = min(1, n_rows - 1)
    for z in range(begin, end):
        for y0 in range(0, ny, TILE):
            shadow(cos[0], sin[0], 0, z, y0, n_rows, nz, ny, 1.0, line, near, far)
            for i in range(min(TILE, ny - y0)):
                y, lower, upper = y0 + i, line[i], line[i] + stride
                lower_weight, upper_weight = scale[z, y] * near[i], scale[z, y] * far[i]
                if not add:
                    volume[z, y] = 0
                for x in range(nx):
                    value = volume[z, y, x] + lower_weight * lines[lower, x] + upper_weight * lines[upper, x]
                    volume[z, y, x] = max(floor, value)


def backproject_items(volume_shape: tuple[int, int, int]) -> int:
    """Return the number of independent work items of ``backproject``."""
    return -(-volume_shape[0] // BLOCK) * -(-volume_shape[1] // TILE)


@njit(cache=True, fastmath=FAST, nogil=True)
def project_slices(begin, end, slices, cos, sin, images):
    """Apply A to a few slices, for the tilts begin … end − 1: (n, nz, ny) to (n, n_tilts, n_rows), float32."""
    n, nz, ny = slices.shape
    n_rows = images.shape[2]
    voxels = slices.reshape(n, nz * ny)
    line, near, far = np.empty(TILE, np.uint32), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    total = np.empty((n, TILE), np.float32)
    for t in range(begin, end):
        steps, across, along, stride, origin, per_row, per_step = ray(cos[t], sin[t], n_rows, nz, ny)
        height, stride = abs(per_row), np.uint32(stride)
        for row0 in range(0, n_rows, TILE):
            total[:] = 0
            for k in range(steps):
                start = origin + row0 * per_row + k * per_step
                footprint(start, per_row, across, height, height, k * along, stride, line, near, far)
                for s in range(n):
                    sums, values = total[s], voxels[s]
                    for i in range(TILE):
                        sums[i] += near[i] * values[line[i]] + far[i] * values[line[i] + stride]
            here = min(TILE, n_rows - row0)
            images[:, t, row0 : row0 + here] = total[:, :here]


@njit(cache=True, fastmath=FAST, nogil=True)
def backproject_slices(begin, end, images, cos, sin, slices):
    """Apply Aᵀ for a few slices, for the planes begin … end − 1: (n, n_tilts, n_rows) to (n, nz, ny), float32."""
    n, nz, ny = slices.shape
    n_tilts, n_rows = images.shape[1:]
    bins = images.reshape(n, n_tilts * n_rows)
    line, near, far = np.empty(TILE, np.uint32), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    total = np.empty((n, TILE), np.float32)
    stride = np.uint32(min(1, n_rows - 1))
    for z in range(begin, end):
        for y0 in range(0, ny, TILE):
            total[:] = 0
            for t in range(n_tilts):
                shadow(cos[t], sin[t], t, z, y0, n_rows, nz, ny, 1.0, line, near, far)
                for s in range(n):
                    sums, values = total[s], bins[s]
                    for i in range(TILE):
                        sums[i] += near[i] * values[line[i]] + far[i] * values[line[i] + stride]
            here = min(TILE, ny - y0)
            slices[:, z, y0 : y0 + here] = total[:, :here]


def spread(kernel: Callable, n_items: int, n_threads: int, *arrays) -> None:
    """Run ``kernel(begin, end, *arrays)`` over all items, a few ranges for each thread so that none waits long.

    Threads are made for each call: a pool that is kept would be lost in a forked process.
    """
    n_ranges = min(n_items, 4 * n_threads if n_threads > 1 else 1)
    bounds = [n_items * i // n_ranges for i in range(n_ranges + 1)]
    if n_ranges == 1:
        kernel(0, n_items, *arrays)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        for done in [pool.submit(kernel, *pair, *arrays) for pair in pairwise(bounds)]:
            done.result()
