"""Numba kernels of the projector: Joseph's footprint as two taps a step, applied to whole runs along the tilt axis.

A step along a ray meets at most two voxels, and a voxel at most two detector rows; which two, and with what weights,
depends on the tilt, y and z only. So the weights are worked out once, in float64, and applied to runs of ``RUN``
neighbours along x, which lie next to each other in memory. The rest is order of work: ``BLOCK`` steps for ``TILE``
rows at a time, so that the lines in use stay in the processor's cache from one tilt to the next.

A is a gather along each ray, Aᵀ a gather at each voxel. Both evaluate the same weights, so the pair is matched.
A lone slice has no runs along x; it has kernels of its own that run along rows instead.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from etlab.simd import BLOCK, RUN, gather_run

TILE = 64  # detector rows (A) or voxels along y (Aᵀ) whose weights are worked out together
GROUP = 8  # tilts for which one thread keeps a tile of the images in its cache

RAMP = np.arange(
    TILE, dtype=np.float64
)  # a float ramp, because converting a loop counter would not vectorise
FAST = {"contract", "nsz", "reassoc"}  # lets the compiler fuse multiply and add, and keeps NaN and infinity


@njit(cache=True, fastmath=FAST)
def footprint(start, step, n, height, slope, first, stride, line, near, far):
    """Weights max(0, height − slope·distance) at the positions start + i·step among n lines.

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
    """Course of the rays of one tilt: where the ray of a row is, among the lines across it, after k steps along it.

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
def shadow(cos, sin, t, z, y0, n_rows, nz, ny, line, near, far):
    """Detector rows that the voxels y0 … y0 + TILE − 1 of plane z meet in image t."""
    s = (y0 - (ny - 1) / 2) * cos + (z - (nz - 1) / 2) * sin
    height = 1 / max(abs(cos), abs(sin))
    footprint(
        s + (n_rows - 1) / 2, cos, n_rows, height, height**2, t * n_rows, min(1, n_rows - 1), line, near, far
    )


@njit(cache=True, fastmath=FAST)
def gather(lines, stride, line, near, far, n, x0, run, total):
    """Add to total[i, :run], i < n, the ``BLOCK`` pairs of lines that the weights name, from column x0 on."""
    if run == RUN:
        for i in range(n):
            gather_run(lines, stride, line, near, far, i, x0, total[i])
    else:
        for i in range(n):
            for j in range(BLOCK):
                near_line, far_line = lines[line[j, i], x0:], lines[line[j, i] + stride, x0:]
                for x in range(run):
                    total[i, x] += near[j, i] * near_line[x] + far[j, i] * far_line[x]


@njit(cache=True, parallel=True, fastmath=FAST)
def project(volume, cos, sin, images):
    """A: images[t, row, x] ← Σ over the ray's steps. Shapes (nz, ny, nx) and (n_tilts, n_rows, nx), float32."""
    nz, ny, nx = volume.shape
    n_tilts, n_rows, _ = images.shape
    lines = volume.reshape(nz * ny, nx)
    n_tiles = (n_rows + TILE - 1) // TILE
    for item in prange((n_tilts + GROUP - 1) // GROUP * n_tiles):
        line = np.empty((BLOCK, TILE), np.uint32)
        near, far = np.empty((BLOCK, TILE), np.float32), np.empty((BLOCK, TILE), np.float32)
        total = np.empty((GROUP, TILE, RUN), np.float32)
        t0, row0 = item // n_tiles * GROUP, item % n_tiles * TILE
        tilts, n_here = range(min(GROUP, n_tilts - t0)), min(TILE, n_rows - row0)
        for x0 in range(0, nx, RUN):
            run = min(RUN, nx - x0)
            total[:] = 0
            for k0 in range(0, max(nz, ny), BLOCK):
                for t in tilts:
                    steps, across, along, stride, origin, per_row, per_step = ray(
                        cos[t0 + t], sin[t0 + t], n_rows, nz, ny
                    )
                    for j in range(BLOCK):
                        k = k0 + j
                        if k < steps:
                            start = origin + row0 * per_row + k * per_step
                            height = abs(per_row)
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
                        else:
                            line[j], near[j], far[j] = 0, 0, 0
                    gather(lines, stride, line, near, far, n_here, x0, run, total[t])
            for t in tilts:
                for i in range(n_here):
                    images[t0 + t, row0 + i, x0 : x0 + run] = total[t, i, :run]


@njit(cache=True, parallel=True, fastmath=FAST)
def backproject(images, cos, sin, volume, scale, add, floor):
    """Aᵀ and what follows it: volume ← max(floor, [volume if add] + scale·Aᵀ images).

    ``scale`` is (nz, ny). Doing the update here saves a second volume: that is all the memory SIRT would need.
    """
    nz, ny, nx = volume.shape
    n_tilts, n_rows, _ = images.shape
    lines = images.reshape(n_tilts * n_rows, nx)
    stride = min(1, n_rows - 1)
    for slab in prange((nz + BLOCK - 1) // BLOCK):
        line = np.empty((BLOCK, TILE), np.uint32)
        near, far = np.empty((BLOCK, TILE), np.float32), np.empty((BLOCK, TILE), np.float32)
        total = np.empty((BLOCK, TILE, RUN), np.float32)
        z0 = slab * BLOCK
        planes = range(min(BLOCK, nz - z0))
        for x0 in range(0, nx, RUN):
            run = min(RUN, nx - x0)
            for y0 in range(0, ny, TILE):
                n_here = min(TILE, ny - y0)
                total[:] = 0
                for t0 in range(0, n_tilts, BLOCK):
                    for z in planes:
                        for j in range(BLOCK):
                            t = t0 + j
                            if t < n_tilts:
                                shadow(
                                    cos[t], sin[t], t, z0 + z, y0, n_rows, nz, ny, line[j], near[j], far[j]
                                )
                            else:
                                line[j], near[j], far[j] = 0, 0, 0
                        gather(lines, stride, line, near, far, n_here, x0, run, total[z])
                for z in planes:
                    for i in range(n_here):
                        for x in range(run):
                            value = scale[z0 + z, y0 + i] * total[z, i, x]
                            if add:
                                value += volume[z0 + z, y0 + i, x0 + x]
                            volume[z0 + z, y0 + i, x0 + x] = max(floor, value)


@njit(cache=True, parallel=True, fastmath=FAST)
def project_slice(slice_, cos, sin, images):
    """A for one slice: shapes (nz, ny) and (n_tilts, n_rows), float32."""
    nz, ny = slice_.shape
    n_tilts, n_rows = images.shape
    voxels = slice_.reshape(nz * ny)
    for t in prange(n_tilts):
        line, near, far = np.empty(TILE, np.uint32), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
        total = np.empty(TILE, np.float32)
        steps, across, along, stride, origin, per_row, per_step = ray(cos[t], sin[t], n_rows, nz, ny)
        height, stride = abs(per_row), np.uint32(stride)
        for row0 in range(0, n_rows, TILE):
            total[:] = 0
            for k in range(steps):
                start = origin + row0 * per_row + k * per_step
                footprint(start, per_row, across, height, height, k * along, stride, line, near, far)
                for i in range(TILE):
                    total[i] += near[i] * voxels[line[i]] + far[i] * voxels[line[i] + stride]
            for i in range(min(TILE, n_rows - row0)):
                images[t, row0 + i] = total[i]


@njit(cache=True, parallel=True, fastmath=FAST)
def backproject_slice(images, cos, sin, slice_):
    """Aᵀ for one slice: shapes (n_tilts, n_rows) and (nz, ny), float32."""
    nz, ny = slice_.shape
    n_tilts, n_rows = images.shape
    bins = images.reshape(n_tilts * n_rows)
    stride = np.uint32(min(1, n_rows - 1))
    for z in prange(nz):
        line, near, far = np.empty(TILE, np.uint32), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
        total = np.empty(TILE, np.float32)
        for y0 in range(0, ny, TILE):
            total[:] = 0
            for t in range(n_tilts):
                shadow(cos[t], sin[t], t, z, y0, n_rows, nz, ny, line, near, far)
                for i in range(TILE):
                    total[i] += near[i] * bins[line[i]] + far[i] * bins[line[i] + stride]
            for i in range(min(TILE, ny - y0)):
                slice_[z, y0 + i] = total[i]
