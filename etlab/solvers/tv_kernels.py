"""Numba kernels of a total-variation step: the dual and the primal half, each one pass over the volume.

∇ takes forward differences along z, y and x, none across the border; ∇ᵀ is its transpose, minus the divergence. The
three components are one array ``p`` of shape (3, nz, ny, nx), all float32. A work item is a plane of constant z.
Neither kernel writes what other planes read, so the planes are independent.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from etlab.kernels import FAST


@njit(cache=True, fastmath=FAST, error_model="numpy", nogil=True)
def dual_step(begin, end, volume, p, step, bound):
    """Update p ← p + step·∇volume, each vector then shortened to ``bound`` where it is longer."""
    nz, ny, nx = volume.shape
    for z in range(begin, end):
        next_z, has_z = min(z + 1, nz - 1), np.float32(step if z + 1 < nz else 0.0)
        for y in range(ny):
            next_y, has_y = min(y + 1, ny - 1), np.float32(step if y + 1 < ny else 0.0)
            for x in range(nx - 1):
                here = volume[z, y, x]
                along_z = p[0, z, y, x] + has_z * (volume[next_z, y, x] - here)
                along_y = p[1, z, y, x] + has_y * (volume[z, next_y, x] - here)
                along_x = p[2, z, y, x] + step * (volume[z, y, x + 1] - here)
                length = np.sqrt(along_z * along_z + along_y * along_y + along_x * along_x)
                shorter = bound / max(bound, length)
                p[0, z, y, x] = along_z * shorter
                p[1, z, y, x] = along_y * shorter
                p[2, z, y, x] = along_x * shorter
            x = nx - 1  # no neighbour along x: p[2] stays zero
            here = volume[z, y, x]
            along_z = p[0, z, y, x] + has_z * (volume[next_z, y, x] - here)
            along_y = p[1, z, y, x] + has_y * (volume[z, next_y, x] - here)
            shorter = bound / max(bound, np.sqrt(along_z * along_z + along_y * along_y))
            p[0, z, y, x] = along_z * shorter
            p[1, z, y, x] = along_y * shorter


@njit(cache=True, fastmath=FAST, error_model="numpy", nogil=True)
def primal_step(begin, end, volume, gradient, p, step, floor, moved, size):
    """Update volume ← max(floor, volume − step·(gradient + ∇ᵀp)); gradient ← twice the new volume less the old.

    Sums of squares of each plane go to ``moved`` (new less old) and ``size`` (new), float64 (nz,). Relies on p being
    zero where ∇ has no neighbour, as `dual_step` leaves it.
    """
    _, ny, nx = volume.shape
    for z in range(begin, end):
        before_z, has_z = max(z - 1, 0), np.float32(1.0 if z > 0 else 0.0)
        moved[z] = size[z] = 0
        for y in range(ny):
            before_y, has_y = max(y - 1, 0), np.float32(1.0 if y > 0 else 0.0)
            row_moved, row_size = np.float32(0), np.float32(0)
            for x in range(nx):
                before_x = p[2, z, y, max(x - 1, 0)] * np.float32(x > 0)
                transposed = has_z * p[0, before_z, y, x] + has_y * p[1, z, before_y, x] + before_x
                transposed -= p[0, z, y, x] + p[1, z, y, x] + p[2, z, y, x]
                old = volume[z, y, x]
                new = max(floor, old - step * (gradient[z, y, x] + transposed))
                row_moved += (new - old) * (new - old)
                row_size += new * new
                volume[z, y, x] = new
                gradient[z, y, x] = 2 * new - old
            moved[z] += row_moved
            size[z] += row_size
