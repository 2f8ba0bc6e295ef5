"""OME-Zarr: a volume as a folder of blocks, with coarser copies of it for viewers.

Versions up to 0.5 are read. Version 0.4, which lies on Zarr 2, is written: it is what viewers read most widely. Level 0
is the volume itself; each level after it halves every axis by means over 2 × 2 × 2 voxels, down to one that fits a
screen. A position is that of a voxel's centre, so the coarser levels begin half a coarse voxel later. Needs ``zarr``
(the extra ``scale``).

Sources: https://ngff.openmicroscopy.org/0.4/, https://ngff.openmicroscopy.org/0.5/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from etlab.io.layers import CHUNK, Layers
from etlab.io.stack import ALL, MAX_COMPRESSION, Stack, in_nm

SMALL = 256  # voxels along the longest axis of the coarsest level
UNIT = "nanometer"


@dataclass(frozen=True, eq=False)
class ZarrStack(Stack):
    """The finest level of a multiscale image."""

    level: str

    def blocks(self, rows: slice = ALL, columns: slice = ALL) -> Iterator[np.ndarray]:  # noqa: D102
        array = needs_zarr(self.path).open_array(self.path / self.level, mode="r")
        alone = (0,) * (array.ndim - 3)  # of time and channel there is one
        step = array.chunks[-3]
        for start in range(0, self.shape[0], step):
            try:
                self._check_blosc(array, start // step)
                block = array[(*alone, slice(start, start + step), rows, columns)]
            except Exception as error:  # whatever a codec stumbles over
                raise ValueError(f"{self.path}: damaged: {self._damage(array, error)}") from error
            yield block

    def _check_blosc(self, array: Any, layer: int) -> None:
        """Raise ValueError if a chunk is shorter than Blosc noted: it would be read beyond its end."""
        if array.shards or not any(type(one).__name__.startswith("Blosc") for one in array.compressors):
            return
        for place in np.ndindex(array.cdata_shape[-2:]):
            alone = (0,) * (array.ndim - 3)
            key = array.metadata.encode_chunk_key((*alone, layer, *place))
            if (file := self.path / self.level / key).is_file():
                with file.open("rb") as opened:
                    noted = int.from_bytes(opened.read(16)[12:], "little")
                if file.stat().st_size < noted:
                    raise ValueError(
                        f"chunk {self.level}/{key} has {file.stat().st_size} bytes, expected {noted}"
                    )

    def _damage(self, array: Any, error: Exception) -> str:
        """Name the first chunk that cannot be read, and say why."""
        if str(error).startswith("chunk "):
            return f"{error}; copy the folder again"
        stored = array.shards or array.chunks
        grid = [-(-n // edge) for n, edge in zip(array.shape, stored, strict=True)]
        for place in np.ndindex(*grid):
            key = f"{self.level}/{array.metadata.encode_chunk_key(place)}"
            where = tuple(slice(n * edge, (n + 1) * edge) for n, edge in zip(place, stored, strict=True))
            try:
                array[where]
            except Exception as why:
                file = self.path / key
                size = f" ({file.stat().st_size} bytes)" if file.is_file() else ""
                return f"chunk {key}{size} cannot be read: {why}; copy the folder again"
        return str(error)  # such as a disk that is gone


def is_zarr(path: Path) -> bool:
    """Tell whether a folder is one of Zarr, by its name or by what is in it."""
    return path.suffix == ".zarr" or any(
        (path / name).is_file() for name in (".zgroup", ".zattrs", "zarr.json")
    )


def needs_zarr(path: Path) -> ModuleType:
    """Return the module zarr. Raises ValueError if it is not installed."""
    try:
        import zarr
    except ImportError as error:
        raise ValueError(f"{path}: OME-Zarr needs the package zarr: pip install zarr") from error
    return zarr


def open_ome_zarr(path: Path) -> ZarrStack:
    """Open the finest level of the first image in an OME-Zarr folder."""
    zarr = needs_zarr(path)
    try:
        attributes = dict(zarr.open_group(path, mode="r").attrs)
        attributes = attributes.get("ome", attributes)  # where version 0.5 keeps all of it
        _check_single(path, attributes)
        image = attributes["multiscales"][0]
        level = image["datasets"][0]["path"]
        array = zarr.open_array(path / level, mode="r")
    except (OSError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        if str(error).startswith(f"{path}:"):
            raise
        raise ValueError(f"{path}: not an OME-Zarr image of version 0.5 or earlier: {error!r}") from error
    shape = array.shape[-3:]
    if (
        array.ndim < 3
        or array.size != np.prod(shape, dtype=float)
        or array.dtype.kind not in "biuf"
        or not array.size
    ):
        raise ValueError(
            f"{path}: holds values of shape {array.shape} and type {array.dtype}, expected three axes of real "
            "numbers, and of time and channel at most one"
        )
    stored = sum(file.stat().st_size for file in (path / level).rglob("*") if file.is_file())
    if array.nbytes > MAX_COMPRESSION * stored:
        raise ValueError(f"{path}: announces {array.nbytes} bytes, but only {stored} are stored")
    return ZarrStack(path, shape, array.dtype, _pixel_nm(image), None, level)


def _check_single(path: Path, attributes: dict) -> None:
    """Raise ValueError if a folder is a collection of images: a plate, or what bioformats2raw makes."""
    if "multiscales" not in attributes and ("plate" in attributes or "bioformats2raw.layout" in attributes):
        inside = [one.parent for one in (*path.glob("*/.zattrs"), *path.glob("*/zarr.json"))]
        named = f", e.g. {sorted(inside)[0]}" if inside else ""
        raise ValueError(f"{path}: is a collection of OME-Zarr images, expected one of them{named}")


def _pixel_nm(image: dict) -> float | None:
    """Return the width of a pixel: the level's scale times that of all levels, in the unit of the last axis."""
    try:
        scales = [_scale(image["datasets"][0]), _scale(image)]
        return in_nm(scales[0] * scales[1], image["axes"][-1].get("unit"))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):  # as before version 0.4
        return None


def _scale(described: dict) -> float:
    """Return the product of all scales of the last axis in a list of transformations, 1 if there is none."""
    transformations = described.get("coordinateTransformations", [])
    return float(np.prod([one["scale"][-1] for one in transformations if one["type"] == "scale"]))


@contextmanager
def ome_zarr_writer(
    path: Path, shape: tuple[int, int, int], voxel_nm: float, provenance: dict[str, str]
) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that appends planes to a new OME-Zarr folder; the coarser levels are made at the end."""
    zarr = needs_zarr(path)
    shapes = _shapes(shape)
    levels = [_new_array(zarr, path / str(n), size) for n, size in enumerate(shapes)]

    def write(start: int, planes: np.ndarray) -> None:
        levels[0][start : start + len(planes)] = planes

    yield Layers(shape, levels[0].chunks[0], write).append
    for fine, coarse in pairwise(levels):
        for start in range(0, coarse.shape[0], CHUNK[0]):
            stop = min(start + CHUNK[0], coarse.shape[0])
            depth = 2 if fine.shape[0] > 1 else 1
            coarse[start:stop] = _halved(fine[depth * start : depth * stop])
    metadata = _metadata(path, shapes, voxel_nm, provenance)
    zarr.open_group(path, mode="a", zarr_format=2).attrs.update(metadata)


def _shapes(shape: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    shapes = [shape]
    while max(shapes[-1]) > SMALL:
        nz, ny, nx = (max(1, n // 2) for n in shapes[-1])
        shapes.append((nz, ny, nx))
    return shapes


def _new_array(zarr: ModuleType, path: Path, shape: tuple[int, int, int]) -> Any:
    return zarr.create_array(
        path,
        shape=shape,
        chunks=tuple(min(n, most) for n, most in zip(shape, CHUNK, strict=True)),
        dtype="<f4",
        fill_value=0.0,
        compressors=None,
        config={"write_empty_chunks": True},  # so that what is stored tells whether all was written
        zarr_format=2,
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )


def _halved(planes: np.ndarray) -> np.ndarray:
    """Average pairs along every axis that has more than one value; an odd value at the end is discarded."""
    for axis, n in enumerate(planes.shape):
        if n > 1:
            pairs = planes.swapaxes(0, axis)[: n // 2 * 2]
            planes = ((pairs[::2] + pairs[1::2]) / 2).swapaxes(0, axis)
    return planes


def _metadata(path: Path, shapes: list, voxel_nm: float, provenance: dict[str, str]) -> dict:
    """Return the metadata of OME-NGFF 0.4, with the provenance."""
    datasets, scale = [], 3 * [voxel_nm]
    for level, shape in enumerate(shapes):
        first = [(step - voxel_nm) / 2 for step in scale]
        transformations = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": first}]
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
        scale = [2 * step if n > 1 else step for step, n in zip(scale, shape, strict=True)]
    image = {
        "version": "0.4",
        "name": "volume",
        "axes": [{"name": name, "type": "space", "unit": UNIT} for name in "zyx"],
        "datasets": datasets,
        "type": "mean",
        "metadata": provenance,
    }
    return {"multiscales": [image]}
