"""Plan slabs along the tilt axis so that a reconstruction stays within a limit of memory.

A worker holds a slab of the volume and the images that belong to it, times what its method needs (`methods.Traits`),
and Python with its libraries. Slabs are 64 slices wide, which is as fast as any width: the projector works in runs of
64. They are made narrower, and then fewer at a time, only where memory is short.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from etlab.pipeline.methods import Method
from etlab.pipeline.prepare import Prepared

WIDTH = 64  # slices
WIDTHS = (WIDTH, 32, 16, 8, 4, 2, 1)
NARROWEST = 16  # below which fewer at a time are better
LIBRARIES = 400e6  # bytes: Python and all that is loaded, in one process
READING = 150e6  # bytes: pieces of a file on their way into a slab
OVERHEAD = {  # bytes for the process that leads, and for each slab at a time, by who makes them
    "threads": (LIBRARIES, READING),
    "processes": (LIBRARIES, LIBRARIES + READING),
    "cluster": (0.0, LIBRARIES + READING),
}
NETWORK_BATCH = 8 * 64 * 128  # voxels that a network is given at a time, if a slice is smaller
SHARE = 0.6  # of a dask worker's limit, above which dask begins to write data to disk
CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # of older systems
)
COUPLED = (
    "allow that much, make the volume smaller, or allow slabs with an overlap, which is an approximation"
)
UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


@dataclass(frozen=True, order=True)
class Slab:
    """Slices x0 … x1 − 1 of the volume, from all tilts, or from every other one: ``half`` is "even" or "odd"."""

    x0: int
    x1: int
    half: str = ""

    @property
    def name(self) -> str:
        """A name for its files."""
        return f"{self.x0:06d}-{self.x1:06d}" + (self.half and f"-{self.half}")


@dataclass(frozen=True)
class Plan:
    """How a volume is cut into slabs.

    Parameters
    ----------
    columns
        Half-open range (first, stop) of the slices to reconstruct.
    width
        Slices of a slab.
    overlap
        Slices that are reconstructed on either side of a slab and discarded.
    at_once
        Slabs at a time.
    n_bytes
        Memory that they need together, libraries included.

    Examples
    --------
    >>> plan = Plan(columns=(0, 100), width=64, overlap=2, at_once=1, n_bytes=1e9)
    >>> [(slab.x0, slab.x1) for slab in plan.slabs]
    [(0, 64), (64, 100)]
    """

    columns: tuple[int, int]
    width: int
    overlap: int
    at_once: int
    n_bytes: float

    @property
    def slabs(self) -> list[Slab]:
        """The slabs of the whole volume."""
        first, stop = self.columns
        return [Slab(x, min(x + self.width, stop)) for x in range(first, stop, self.width)]

    @property
    def halves(self) -> list[Slab]:
        """The slab in the middle, from the even and from the odd tilts; 64 slices at most."""
        middle = self.slabs[len(self.slabs) // 2]
        width = min(WIDTH, middle.x1 - middle.x0)
        x0 = (middle.x0 + middle.x1 - width) // 2
        return [Slab(x0, x0 + width, half) for half in ("even", "odd")]


def slab_bytes(
    images: Prepared, volume_shape: tuple[int, int], method: Method, width: int, overlap: int
) -> float:
    """Return the bytes needed for ``width`` slices of a volume (nz, ny), with ``overlap`` more on either side."""
    n_tilts, n_rows, nx = images.shape
    wide = min(width + 2 * overlap, nx)
    slice_, traits = volume_shape[0] * volume_shape[1], method.traits
    solving = wide * (traits.volumes * slice_ + traits.stacks * n_tilts * n_rows)
    solving += traits.layers * max(slice_, min(NETWORK_BATCH, slice_ * wide))
    first, stop = images.reach((nx - wide) // 2, (nx - wide) // 2 + wide)
    raw = images.series.shape[1] * images.binning * (stop - first)
    reading = n_tilts * (2 * raw + 2 * n_rows * (stop - first))
    return 4.0 * max(solving, reading)


def plan_slabs(
    images: Prepared,
    volume_shape: tuple[int, int],
    method: Method,
    *,
    memory: float,
    workers: int,
    columns: tuple[int, int] | None = None,
    overlap: int | None = None,
    width: int | None = None,
    by: str = "threads",
) -> Plan:
    """Plan slabs of a volume that stay within a limit of memory.

    Parameters
    ----------
    images
        The series.
    volume_shape
        (nz, ny) in voxels.
    method
        The solver.
    memory
        Bytes for all workers together; of a cluster, for each slab.
    workers
        Slabs at a time, at most.
    columns
        Half-open range (first, stop) of the slices to reconstruct; default: all.
    overlap
        Slices on either side of a slab, for a method that couples all slices: an approximation.
    width
        Slices of the slabs that exist already.
    by
        Who makes them: "threads", "processes" or the workers of a "cluster".

    Returns
    -------
    Plan
        With the widest slabs that fit, up to 64 slices.

    Raises
    ------
    MemoryError
        If not one slab fits; the message says how much memory is needed.
    ValueError
        For columns out of range, or a negative overlap.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from etlab import open_series, write_mrc
    >>> path = Path(tempfile.mkdtemp(), "series.mrc")
    >>> write_mrc(path, np.ones((3, 8, 100), np.float32), voxel_nm=2, series=True)
    >>> images = Prepared(open_series(path, tilts=np.array([-60, 0, 60])))
    >>> plan_slabs(images, (8, 8), Method("sirt", {}), memory=1e9, workers=1).width
    64
    """
    nx = images.shape[2]
    first, stop = columns or (0, nx)
    if not 0 <= first < stop <= nx:
        raise ValueError(f"columns: got {first}:{stop}, expected a range within 0:{nx}")
    if overlap is not None and overlap < 0:
        raise ValueError(f"overlap: got {overlap}, expected a number of slices")
    whole = method.traits.overlap is None and overlap is None
    overlap = (overlap or 0) if method.traits.overlap is None else method.traits.overlap
    n_slices = stop - first
    proposed = (n_slices,) if whole else WIDTHS if width is None else (width,)
    widths = sorted({min(one, n_slices) for one in proposed}, reverse=True)
    at_least = min(NARROWEST, widths[0])
    base, each = OVERHEAD[by]

    def needed(width: int, at_once: int) -> float:
        held = each + slab_bytes(images, volume_shape, method, width, overlap)
        return base + held * (1 if by == "cluster" else at_once)

    several = [(one, n) for n in range(workers, 0, -1) for one in widths if one >= at_least]
    for one, n in several + [(one, 1) for one in widths]:
        if needed(one, n) <= memory:
            return Plan((first, stop), one, overlap, min(n, -(-n_slices // one)), needed(one, n))
    slice_ = f"{volume_shape[0]} × {volume_shape[1]} voxels a slice"
    raise MemoryError(
        f"memory: got {memory / 1e9:.2f} GB; {method.name} in slabs of width {widths[-1]}, {slice_}, needs "
        f"{needed(widths[-1], 1) / 1e9:.2f} GB; "
        + (f"{method.name} couples all slices: {COUPLED}" if whole else "allow that much, or bin the images")
    )


def bytes_of(text: str) -> float:
    """Return a size of memory, given as text, in bytes.

    Parameters
    ----------
    text
        A number, with a unit or in bytes: "4GB", "500 MB", "2GiB".

    Returns
    -------
    float
        Bytes.

    Raises
    ------
    ValueError
        For any other text.

    Examples
    --------
    >>> bytes_of("4GB"), bytes_of("2 KiB")
    (4000000000.0, 2048.0)
    """
    if found := re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]?i?)b?\s*", text.lower()):
        with suppress(ValueError, KeyError):
            return float(found[1]) * UNITS[found[2]]
    raise ValueError(f"memory: got {text!r}, expected a size such as 4GB or 500MB")


def size_in_words(n_bytes: float) -> str:
    """Return a number of bytes in the unit that it fills."""
    unit, name = next(
        (unit, name)
        for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "bytes"))
        if n_bytes >= unit or unit == 1
    )
    return f"{n_bytes / unit:.3g} {name}"


def half_of_memory() -> float:
    """Return half of the memory of this machine or container, in bytes; 4 GB if that is unknown."""
    limits = []
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for container in CONTAINER_LIMITS:
        if container.is_file() and (text := container.read_text().strip()).isdigit():
            limits.append(int(text))
    return min(limits) / 2 if limits else 4e9
