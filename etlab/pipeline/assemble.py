"""Assemble finished slabs into one volume, plane by plane, and measure it on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft

from etlab.fsc import fourier_shell_correlation
from etlab.pipeline.folder import Facts, SlabFolder
from etlab.pipeline.plan import Slab

PLANES = 4e6  # bytes of whole planes held at a time: few, so that they stay in the cache
SPECTRA = 16  # slices whose power is averaged
BOX = 256  # voxels along each side of what the shells are taken from


@dataclass(frozen=True, eq=False)
class Sections:
    """The three planes through the middle of a volume: ``z`` is [y, x], ``y`` is [z, x], ``x`` is [z, y]."""

    z: np.ndarray
    y: np.ndarray
    x: np.ndarray


def assemble(folder: SlabFolder, slabs: Sequence[Slab], write: Callable[[int, np.ndarray], None]) -> Sections:
    """Pass all planes [z, y, x], in order, to ``write(z0, planes)``; return those through the middle."""
    (nz, ny), first, nx = folder.shape, slabs[0].x0, slabs[-1].x1 - slabs[0].x0
    sections = Sections(*(np.empty(shape, np.float32) for shape in ((ny, nx), (nz, nx), (nz, ny))))
    step = max(1, int(PLANES / (4 * ny * nx)))
    for z0 in range(0, nz, step):
        z1 = min(z0 + step, nz)
        planes = np.empty((z1 - z0, ny, nx), np.float32)
        for slab in slabs:
            planes[:, :, slab.x0 - first : slab.x1 - first] = folder.read(slab, z0, z1)
        write(z0, planes)
        if z0 <= nz // 2 < z1:
            sections.z[:] = planes[nz // 2 - z0]
        sections.y[z0:z1] = planes[:, ny // 2]
        sections.x[z0:z1] = planes[:, :, nx // 2]
    return sections


def residual_curve(facts: Sequence[Facts]) -> np.ndarray:
    """Return the relative residual of the whole volume in each iteration, (n_iter,), from those of its slabs.

    Squares add up: ‖A x − y‖² is the sum over the slabs. A slab that stopped early stays at its last value.
    """
    n_iter = max((len(one.residuals) for one in facts), default=0)
    total = sum(one.norm**2 for one in facts)
    if not n_iter or not total:
        return np.zeros(n_iter)
    squares = np.zeros(n_iter)
    for one in facts:
        if one.residuals:
            curve = np.pad(one.residuals, (0, n_iter - len(one.residuals)), mode="edge")
            squares += (one.norm * curve) ** 2
    return np.sqrt(squares / total)


def power_spectrum(folder: SlabFolder, slab: Slab) -> np.ndarray:
    """Return the mean power |F|² of slices in the middle of a slab, (nz, ny), zero frequency in the middle.

    A Hann window keeps the border of the volume from dominating.
    """
    nz, ny = folder.shape
    window = np.hanning(nz)[:, None] * np.hanning(ny)
    volume = folder.read(slab, 0, nz)
    middle, few = volume.shape[2] // 2, min(SPECTRA, volume.shape[2])
    first = max(0, middle - few // 2)
    power = np.zeros((nz, ny))
    for x in range(first, first + few):
        power += np.abs(scipy.fft.fft2(volume[:, :, x] * window)) ** 2
    return scipy.fft.fftshift(power / few)


def half_set_correlation(folder: SlabFolder, halves: Sequence[Slab]) -> tuple[np.ndarray, np.ndarray]:
    """Return (frequencies in cycles per voxel, Fourier shell correlation) of the slabs from even and odd tilts.

    A box in the middle of the slices, of at most 256 voxels a side, is compared.
    """
    nz, ny = folder.shape
    z0, y0 = max(0, (nz - BOX) // 2), max(0, (ny - BOX) // 2)
    even, odd = (folder.read(half, z0, min(z0 + BOX, nz))[:, y0 : y0 + BOX] for half in halves)
    return fourier_shell_correlation(even, odd)
