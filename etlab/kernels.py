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

RUN = 64  # neighbours along x handled together: 256 bytes, four cache lines
TILE = 64  # detector rows (A) or voxels along y (Aᵀ) whose weights are worked out together
BLOCK = 8  # steps along the ray (A), or tilts (Aᵀ), gathered together
GROUP = 4  # tilts for which one thread keeps a block of the volume in its cache

RAMP = np.arange(
    TILE, dtype=np.float64
)  # a float ramp, because converting a loop counter would not vectorise
FAST = {"contract", "nsz", "reassoc"}  # lets the compiler fuse multiply and add, and keeps NaN and infinity


@njit(cache=True, fastmath=FAST)
def footprint(start, step, n, width, height, first, stride, line, near, far):
    """Weights of a triangle of half-``width`` and ``height`` at the positions start + i·step among n lines.

    Writes for each i the index of the lower line met, its weight (near) and that of the next line up (far). Clamping
    the lower line to 0 … n − 2 gives positions beyond the border the weight that still falls on it, or none.
    """
    top = max(n - 2.0, 0.0)
    slope = height / width
    far_height = height if n > 1 else 0.0
    far_slope = slope if n > 1 else 0.0
    for i in range(TILE):
        position = start + step * RAMP[i]
        lower = min(max(np.floor(position), 0.0), top)
        line[i] = first + stride * np.int32(lower)
        near[i] = max(0.0, height - slope * abs(position - lower))
        far[i] = max(0.0, far_height - far_slope * abs(position - lower - 1))


@njit(cache=True, fastmath=FAST)
def ray_steps(cos, sin, nz, ny):
    """How rays of one tilt cross the volume: steps along the ray, lines across it, and both strides in lines.

    A ray advances through z where |cos| ≥ |sin|, through y elsewhere. Returns also cos and sin in those roles.
    """
    if abs(cos) >= abs(sin):
        return nz, ny, ny, min(1, ny - 1), cos, sin
    return ny, nz, 1, min(ny, (nz - 1) * ny), sin, cos


@njit(cache=True, fastmath=FAST)
def gather(lines, stride, line, near, far, i, x0, total):
    """Add to ``total`` the ``BLOCK`` pairs of lines that entry i of the weights names, from column x0 on."""
    for j in range(0, BLOCK, 2):  # two pairs at a time: half the traffic through ``total``
        a, b = line[j, i], line[j + 1, i]
        a0, a1 = lines[a, x0:], lines[a + stride, x0:]
        b0, b1 = lines[b, x0:], lines[b + stride, x0:]
        wa0, wa1, wb0, wb1 = near[j, i], far[j, i], near[j + 1, i], far[j + 1, i]
        for x in range(total.size):
            total[x] += wa0 * a0[x] + wa1 * a1[x] + wb0 * b0[x] + wb1 * b1[x]


@njit(cache=True, parallel=True, fastmath=FAST)
def project(volume, cos, sin, images):
    """A: images[t, row, x] ← Σ over the ray's steps. Shapes (nz, ny, nx) and (n_tilts, n_rows, nx), float32."""
    nz, ny, nx = volume.shape
    n_tilts, n_rows, _ = images.shape
    lines = volume.reshape(nz * ny, nx)
    for group in prange((n_tilts + GROUP - 1) // GROUP):
        line = np.zeros((BLOCK, TILE), np.int64)
        near = np.zeros((BLOCK, TILE), np.float32)
        far = np.zeros((BLOCK, TILE), np.float32)
        tilts = range(group * GROUP, min((group + 1) * GROUP, n_tilts))
        for t in tilts:
            images[t] = 0
        for x0 in range(0, nx, RUN):
            x1 = min(x0 + RUN, nx)
            for k0 in range(0, max(nz, ny), BLOCK):
                for t in tilts:
                    steps, across, along, stride, major, minor = ray_steps(cos[t], sin[t], nz, ny)
                    for row0 in range(0, n_rows if k0 < steps else 0, TILE):
                        for j in range(BLOCK):
                            k = k0 + j
                            if k < steps:
                                s = row0 - (n_rows - 1) / 2 - (k - (steps - 1) / 2) * minor
                                start = s / major + (across - 1) / 2
                                height = 1 / abs(major)
                                footprint(
                                    start,
                                    1 / major,
                                    across,
                                    1.0,
                                    height,
                                    k * along,
                                    stride,
                                    line[j],
                                    near[j],
                                    far[j],
                                )
                            else:
                                line[j], near[j], far[j] = 0, 0, 0
                        for i in range(min(TILE, n_rows - row0)):
                            gather(lines, stride, line, near, far, i, x0, images[t, row0 + i, x0:x1])


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
        line = np.zeros((BLOCK, TILE), np.int64)
        near = np.zeros((BLOCK, TILE), np.float32)
        far = np.zeros((BLOCK, TILE), np.float32)
        total = np.empty((BLOCK, TILE, RUN), np.float32)
        z0 = slab * BLOCK
        planes = range(z0, min(z0 + BLOCK, nz))
        for x0 in range(0, nx, RUN):
            x1 = min(x0 + RUN, nx)
            for y0 in range(0, ny, TILE):
                voxels = range(min(TILE, ny - y0))
                total[:] = 0
                for t0 in range(0, n_tilts, BLOCK):
                    for z in planes:
                        for j in range(BLOCK):
                            t = t0 + j
                            if t < n_tilts:
                                s = (y0 - (ny - 1) / 2) * cos[t] + (z - (nz - 1) / 2) * sin[t]
                                width = max(abs(cos[t]), abs(sin[t]))
                                start = s + (n_rows - 1) / 2
                                footprint(
                                    start,
                                    cos[t],
                                    n_rows,
                                    width,
                                    1 / width,
                                    t * n_rows,
                                    stride,
                                    line[j],
                                    near[j],
                                    far[j],
                                )
                            else:
                                line[j], near[j], far[j] = 0, 0, 0
                        for i in voxels:
                            gather(lines, stride, line, near, far, i, x0, total[z - z0, i, : x1 - x0])
                for z in planes:
                    for i in voxels:
                        for x in range(x0, x1):
                            value = scale[z, y0 + i] * total[z - z0, i, x - x0]
                            if add:
                                value += volume[z, y0 + i, x]
                            volume[z, y0 + i, x] = max(floor, value)


@njit(cache=True, parallel=True, fastmath=FAST)
def project_slice(slice_, cos, sin, images):
    """A for one slice: shapes (nz, ny) and (n_tilts, n_rows), float32."""
    nz, ny = slice_.shape
    n_tilts, n_rows = images.shape
    voxels = slice_.reshape(nz * ny)
    for t in prange(n_tilts):
        line, near, far = np.empty(TILE, np.int64), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
        total = np.empty(TILE, np.float32)
        steps, across, along, stride, major, minor = ray_steps(cos[t], sin[t], nz, ny)
        height = 1 / abs(major)
        for row0 in range(0, n_rows, TILE):
            total[:] = 0
            for k in range(steps):
                s = row0 - (n_rows - 1) / 2 - (k - (steps - 1) / 2) * minor
                start = s / major + (across - 1) / 2
                footprint(start, 1 / major, across, 1.0, height, k * along, stride, line, near, far)
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
    stride = min(1, n_rows - 1)
    for z in prange(nz):
        line, near, far = np.empty(TILE, np.int64), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
        total = np.empty(TILE, np.float32)
        for y0 in range(0, ny, TILE):
            total[:] = 0
            for t in range(n_tilts):
                s = (y0 - (ny - 1) / 2) * cos[t] + (z - (nz - 1) / 2) * sin[t]
                width = max(abs(cos[t]), abs(sin[t]))
                start = s + (n_rows - 1) / 2
                footprint(start, cos[t], n_rows, width, 1 / width, t * n_rows, stride, line, near, far)
                for i in range(TILE):
                    total[i] += near[i] * bins[line[i]] + far[i] * bins[line[i] + stride]
            for i in range(min(TILE, ny - y0)):
                slice_[z, y0 + i] = total[i]
