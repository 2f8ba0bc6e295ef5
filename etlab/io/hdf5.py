"""HDF5 files: our own, and those of HyperSpy (.hspy), Velox (.emd) and the Berkeley EMD format.

HyperSpy describes each axis of the images in a group beside them (``axis-0`` …). The Berkeley format has a
data set for each axis (``dim1`` …) with its values. Velox counts its frames along the *last* axis and keeps a
column of JSON for each.

Sizes and layout are checked before anything is read. That the HDF5 library itself may crash or run for ever on a
file whose inside is damaged (its heap of texts, above all) cannot be helped here.

Sources: https://hyperspy.org/rosettasciio/file_specification/hspy.html, https://emdatasets.com/format; for
Velox, whose maker has published nothing, what https://hyperspy.org/rosettasciio reads.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from etlab.io.layers import CHUNK, Layers
from etlab.io.stack import ALL, BLOCK_BYTES, MAX_COMPRESSION, Stack, in_nm

DEGREES = ("degrees", "degree", "deg", "°", "[deg]", "[degrees]")
VOLUME, VOXEL = "volume", "voxel_nm"  # names in the files that we write
VELOX_IMAGES = "/Data/Image/"


@dataclass(frozen=True, eq=False)
class Hdf5Stack(Stack):
    """A data set with three axes; in Velox's files sections are counted along the last one."""

    dataset: str
    sections_last: bool

    def blocks(self, rows: slice = ALL, columns: slice = ALL) -> Iterator[np.ndarray]:  # noqa: D102
        with _opened(self.path) as file:
            node = file[self.dataset]
            for start in range(0, self.shape[0], self._n_together(node)):
                sections = slice(start, start + self._n_together(node))
                if self.sections_last:
                    yield np.moveaxis(node[rows, columns, sections], 2, 0)
                else:
                    yield node[sections, rows, columns]

    def _n_together(self, node: h5py.Dataset) -> int:
        """How many sections to read at a time: those that are stored together, so that none is read twice."""
        _, n_rows, n_columns = self.shape
        at_most = BLOCK_BYTES // (n_rows * n_columns * self.dtype.itemsize)
        together = node.chunks[2 if self.sections_last else 0] if node.chunks else 1
        return max(1, min(together, at_most))


def open_hdf5(path: Path, dataset: str | None) -> Hdf5Stack:
    """Open the data set of this name, or the only one with three axes, with what stands beside it."""
    with _opened(path) as file:
        node = _find_dataset(file, dataset, path)
        velox = node.name.startswith(VELOX_IMAGES)
        shape = (node.shape[2], *node.shape[:2]) if velox else node.shape
        pixel_nm, tilts_deg = _velox(node) if velox else _described(node)
        return Hdf5Stack(path, shape, node.dtype, pixel_nm, tilts_deg, node.name, velox)


@contextmanager
def hdf5_writer(
    path: Path, shape: tuple[int, int, int], voxel_nm: float, provenance: dict[str, str]
) -> Iterator[Callable[[np.ndarray], None]]:
    """Give a function that appends planes to the data set ``volume`` [z, y, x] of a new HDF5 file."""
    with _PatientFile(path, "x+") as disk:
        with h5py.File(disk, "w") as file:
            chunk = tuple(min(n, most) for n, most in zip(shape, CHUNK, strict=True))
            node = file.create_dataset(VOLUME, shape, np.float32, chunks=chunk)
            node.attrs.update({VOXEL: voxel_nm, "axes": "z y x"})
            file.create_group("provenance").attrs.update(provenance)

            def write(start: int, planes: np.ndarray) -> None:
                node[start : start + len(planes)] = planes
                disk.raise_error()

            yield Layers(shape, chunk[0], write).append
        disk.raise_error()


class _PatientFile(io.FileIO):
    """A file that tells HDF5 that all is well and keeps the error for us.

    HDF5 that meets a full disk cannot close its file, and takes the whole process with it when it ends.
    """

    error: OSError | None = None

    def write(self, data: memoryview) -> int:
        done = 0
        try:
            while done < len(data):
                done += super().write(data[done:])
        except OSError as error:
            self.error = error
        return len(data)

    def truncate(self, size: int) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = error
            return size

    def raise_error(self) -> None:
        if self.error:
            raise self.error


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:  # HDF5's words for truncated files and missing filters
        raise ValueError(f"{path}: damaged HDF5 file, or one that needs a plug-in: {error}") from error


def _find_dataset(file: h5py.File, dataset: str | None, path: Path) -> h5py.Dataset:
    candidates = []

    def collect(name, node):
        if isinstance(node, h5py.Dataset) and node.ndim == 3 and node.dtype.kind in "biuf":
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
    if not _is_filled(node):
        raise ValueError(
            f"{path}: data set {dataset!r} announces {node.nbytes} bytes (shape {node.shape}), but only "
            f"{node.id.get_storage_size()} are stored: it was never filled"
        )
    return node


def _is_filled(node: h5py.Dataset) -> bool:
    """Can what is stored be all that the data set announces?"""
    return node.nbytes <= MAX_COMPRESSION * node.id.get_storage_size()


def _described(node: h5py.Dataset) -> tuple[float | None, np.ndarray | None]:
    """Return (pixel in nm, tilts in degrees) of a data set from its own attributes and what lies beside it."""
    group = node.parent
    if VOXEL in node.attrs:
        pixel_nm = in_nm(node.attrs[VOXEL], "nm")
    elif "axis-1" in group:
        axis = group["axis-1"].attrs
        pixel_nm = in_nm(axis.get("scale"), _text(axis.get("units")))
    else:
        pixel_nm = _dimension_step_nm(group.get("dim2"))
    if isinstance(group.get("tilts_deg"), h5py.Dataset):
        return pixel_nm, _numbers(group["tilts_deg"])
    if "axis-0" in group:
        return pixel_nm, _hyperspy_tilts(group["axis-0"], len(node))
    dimension = group.get("dim1")
    in_degrees = isinstance(dimension, h5py.Dataset) and _text(dimension.attrs.get("units")) in DEGREES
    return pixel_nm, _numbers(dimension) if in_degrees else None


def _hyperspy_tilts(axis: h5py.Group, n_images: int) -> np.ndarray | None:
    """Tilts of HyperSpy's first axis: evenly spaced ones, or a list of them."""
    if _text(axis.attrs.get("units")) not in DEGREES:
        return None
    if isinstance(axis.get("axis"), h5py.Dataset):
        return _numbers(axis["axis"])
    if "scale" not in axis.attrs:
        return None
    return axis.attrs.get("offset", 0.0) + axis.attrs["scale"] * np.arange(n_images)


def _dimension_step_nm(dimension: h5py.Dataset | None) -> float | None:
    """Length of a step of a Berkeley axis, which holds the position of each pixel."""
    if not isinstance(dimension, h5py.Dataset) or dimension.ndim != 1 or dimension.size < 2:
        return None
    first, second = dimension[:2]
    return in_nm(second - first, _text(dimension.attrs.get("units")))


def _velox(node: h5py.Dataset) -> tuple[float | None, np.ndarray | None]:
    """Return (pixel in nm, tilts in degrees) from the JSON that Velox keeps for each frame."""
    metadata = node.parent.get("Metadata")
    if not isinstance(metadata, h5py.Dataset) or metadata.ndim != 2 or not _is_filled(metadata):
        return None, None
    try:
        frames = [json.loads(metadata[:, i].tobytes().split(b"\0")[0]) for i in range(metadata.shape[1])]
        size = frames[0]["BinaryResult"]
        pixel_nm = in_nm(size["PixelSize"]["width"], size["PixelUnitX"])
        tilts_deg = np.rad2deg([float(frame["Stage"]["AlphaTilt"]) for frame in frames])
    except (IndexError, KeyError, TypeError, ValueError):  # as in a file of another version of Velox
        return None, None
    return pixel_nm, tilts_deg if len(tilts_deg) == node.shape[2] else None


def _numbers(node: h5py.Dataset) -> np.ndarray | None:
    """The values of a data set if they can be a list of angles."""
    is_list = node.ndim == 1 and node.dtype.kind in "iuf" and _is_filled(node)
    return node[()].astype(np.float64) if is_list else None


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
