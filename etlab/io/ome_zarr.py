"""OME-Zarr 0.4: a volume as a folder of blocks, with coarser copies of it for viewers.

Version 0.4, which lies on Zarr 2, is what viewers read most widely. Level 0 is the volume itself; each level
after it halves every axis by means over 2 × 2 × 2 voxels, down to one that fits a screen. A position is that
of a voxel's centre, so the coarser levels begin half a coarse voxel later. Needs ``zarr`` (the extra
``scale``).

Source: https://ngff.openmicroscopy.org/0.4/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

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
        step = array.chunks[0]
        for start in range(0, self.shape[0], step):
            yield array[start : start + step, rows, columns]


def needs_zarr(path: Path):
    """Return the module zarr. Raises ValueError if it is not installed."""
    try:
        import zarr
    except ImportError as error:
        raise ValueError(f"{path}: OME-Zarr needs the package zarr: pip install 'etlab[scale]'") from error
    return zarr


def open_ome_zarr(path: Path) -> ZarrStack:
    """Open the finest level of the first image in an OME-Zarr folder."""
    zarr = needs_zarr(path)
    try:
        image = dict(zarr.open_group(path, mode="r").attrs)["multiscales"][0]
        level = image["datasets"][0]
        unit, scale = image["axes"][-1].get("unit"), level["coordinateTransformations"][0]["scale"][-1]
        array = zarr.open_array(path / level["path"], mode="r")
    except (OSError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: not an OME-Zarr image: {error!r}") from error
    if array.ndim != 3 or array.dtype.kind not in "biuf" or array.size == 0:
        raise ValueError(
            f"{path}: holds values of shape {array.shape} and type {array.dtype}, expected three axes of real "
            "numbers"
        )
    stored = sum(file.stat().st_size for file in (path / level["path"]).rglob("*") if file.is_file())
    if array.nbytes > MAX_COMPRESSION * stored:
        raise ValueError(f"{path}: announces {array.nbytes} bytes, but only {stored} are stored")
    return ZarrStack(path, array.shape, array.dtype, in_nm(scale, unit), None, level["path"])


@contextmanager
def ome_zarr_writer(
    path: Path, shape: tuple[int, int, int], voxel_nm: float, provenance: dict[str, str]
) -> Iterator[Callable[[np.ndarray], None]]:
    """Give a function that appends planes to a new OME-Zarr folder; the coarser levels are made at the end."""
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
    shapes = [tuple(shape)]
    while max(shapes[-1]) > SMALL:
        shapes.append(tuple(max(1, n // 2) for n in shapes[-1]))
    return shapes


def _new_array(zarr, path: Path, shape: tuple[int, int, int]):
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
    """Means over pairs along every axis that has more than one value; an odd one at the end is left out."""
    for axis, n in enumerate(planes.shape):
        if n > 1:
            pairs = planes.swapaxes(0, axis)[: n // 2 * 2]
            planes = ((pairs[::2] + pairs[1::2]) / 2).swapaxes(0, axis)
    return planes


def _metadata(path: Path, shapes: list, voxel_nm: float, provenance: dict[str, str]) -> dict:
    """What OME-NGFF 0.4 asks for, and the provenance where it leaves room for it."""
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
