"""HDF5 files: our own, and those of HyperSpy (.hspy), Velox and Berkeley (.emd), Data Exchange (.h5), MATLAB (.mat).

Their metadata are read by `etlab.io.hdf5_metadata`. Sizes and layout are checked before anything is read. The HDF5
library itself may still crash or never return on a file that is damaged inside, above all in its heap of texts.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from etlab.io.hdf5_metadata import FIELDS, VOXEL, is_filled, read_metadata
from etlab.io.layers import CHUNK, Layers
from etlab.io.stack import ALL, BLOCK_BYTES, Stack

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

VOLUME = "volume"  # name in the files that we write
ELSEWHERE = ("metadata/", "original_metadata/", "#refs#/")  # of HyperSpy and MATLAB, where no images are


@dataclass(frozen=True, eq=False)
class Hdf5Stack(Stack):
    """A data set with three axes; ``order`` says which of them are sections, rows and columns."""

    dataset: str
    order: tuple[int, int, int]

    def blocks(self, rows: slice = ALL, columns: slice = ALL) -> Iterator[np.ndarray]:  # noqa: D102
        section, row, column = self.order
        with _opened(self.path) as file:
            node = file[self.dataset]
            step = self._n_together(node)
            for start in range(0, self.shape[0], step):
                wanted = {section: slice(start, start + step), row: rows, column: columns}
                yield node[wanted[0], wanted[1], wanted[2]].transpose(self.order)

    def _n_together(self, node: h5py.Dataset) -> int:
        """Return how many sections to read at a time: those that are stored together, so that none is read twice."""
        _, n_rows, n_columns = self.shape
        at_most = BLOCK_BYTES // (n_rows * n_columns * self.dtype.itemsize)
        together = at_most if self.order[0] else 1
        if node.chunks:
            together = node.chunks[self.order[0]]
        return max(1, min(together, at_most))


def open_hdf5(path: Path, dataset: str | None) -> Hdf5Stack:
    """Open the data set of this name, or the only one with three axes, with its metadata."""
    with _opened(path) as file:
        node = _find_dataset(file, dataset, path)
        found = read_metadata(node)
        shape = tuple(node.shape[axis] for axis in found.order)
        about = (path, shape, node.dtype, found.pixel_nm, found.tilts_deg, node.name, found.order)
        return Hdf5Stack(*about, notes=found.notes)


@contextmanager
def hdf5_writer(
    path: Path,
    shape: tuple[int, int, int],
    voxel_nm: float,
    provenance: dict[str, str],
    series: bool = False,
) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that appends planes to the data set ``volume`` [z, y, x] of a new HDF5 file."""
    with _PatientFile(path, "x+") as disk:
        with h5py.File(disk, "w") as file:
            chunk = tuple(min(n, most) for n, most in zip(shape, CHUNK, strict=True))
            node = file.create_dataset(VOLUME, shape, np.float32, chunks=chunk)
            node.attrs.update({VOXEL: voxel_nm, "axes": "tilt row x" if series else "z y x"})
            file.create_group("provenance").attrs.update(provenance)

            def write(start: int, planes: np.ndarray) -> None:
                node[start : start + len(planes)] = planes
                disk.raise_error()

            yield Layers(shape, chunk[0], write).append
        disk.raise_error()


class _PatientFile(io.FileIO):
    """A file that hides errors from HDF5 and keeps them for `raise_error`.

    On a full disk HDF5 cannot close its file, and crashes the process when it ends.
    """

    error: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        view, done = memoryview(data), 0
        try:
            while done < len(view):
                done += super().write(view[done:])
        except OSError as error:
            self.error = error
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = error
            return size or 0

    def raise_error(self) -> None:
        if self.error:
            raise self.error


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            yield file
    except BlockingIOError as error:
        raise ValueError(
            f"{path}: another program has this HDF5 file open for writing; close it there, or take a copy"
        ) from error
    except (OSError, RuntimeError, KeyError) as error:  # HDF5's words for truncated files and missing filters
        raise ValueError(f"{path}: damaged HDF5 file, or one that needs a plug-in: {error}") from error


def _find_dataset(file: h5py.File, dataset: str | None, path: Path) -> h5py.Dataset:
    candidates: list[str] = []

    def collect(name: str, node: h5py.HLObject) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim == 3 and node.dtype.kind in "biuf":
            aside = any(f"/{part}" in f"/{name}" for part in ELSEWHERE) or name.endswith(FIELDS)
            if not aside:
                candidates.append(name)

    file.visititems(collect)
    listing = f"its data sets of numbers with three axes: {', '.join(sorted(candidates)) or 'none'}"
    if dataset is None:
        if not candidates:
            raise ValueError(f"{path}: no images; {listing}")
        if len(candidates) > 1:
            raise ValueError(f"{path}: more than one candidate; pass dataset=; {listing}")
        dataset = candidates[0]
    node = file.get(dataset)
    if not isinstance(node, h5py.Dataset):
        raise ValueError(f"{path}: no data set {dataset!r}; {listing}")
    if node.ndim != 3 or node.dtype.kind not in "biuf":
        raise ValueError(
            f"{path}: data set {dataset!r} has shape {node.shape} and type {node.dtype}, expected three axes "
            f"of real numbers; {listing}"
        )
    if node.size == 0:
        raise ValueError(f"{path}: data set {dataset!r} is empty: shape {node.shape}")
    if node.is_virtual or node.external:
        raise ValueError(f"{path}: the values of data set {dataset!r} lie in other files; copy them into one")
    if not is_filled(node):
        raise ValueError(
            f"{path}: data set {dataset!r} announces {node.nbytes} bytes (shape {node.shape}), but only "
            f"{node.id.get_storage_size()} are stored: it was never filled"
        )
    return node
