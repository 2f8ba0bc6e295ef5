"""A tilt series or a volume from a file of whatever format, at once or piece by piece along the tilt axis."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from etlab.io.angles import mdoc_pixel_nm, tilts_of
from etlab.io.hdf5 import open_hdf5
from etlab.io.mrc import open_mrc
from etlab.io.ome_zarr import open_ome_zarr
from etlab.io.stack import Stack
from etlab.io.tiff import is_tiff, open_tiff


@dataclass(frozen=True, eq=False)
class Series:
    """A tilt series as read: ``images`` float32 (n_tilts, n_rows, nx) in the file's own units of intensity.

    ``tilts_deg`` (n_tilts,) comes from the source named in ``tilts_from``. ``pixel_nm`` is None where the
    file does not say. The background is not subtracted.
    """

    images: np.ndarray
    tilts_deg: np.ndarray
    pixel_nm: float | None
    tilts_from: str


@dataclass(frozen=True, eq=False)
class SeriesFile:
    """A tilt series that stays on the disk but for what is read of it. Can be sent to another process.

    ``tilts_deg`` (n_tilts,) comes from the source named in ``tilts_from``; ``axis`` is the direction of the
    tilt axis in the file's images, which `shape` and `read` have turned into our own order of axes.
    """

    stack: Stack
    tilts_deg: np.ndarray
    tilts_from: str
    axis: str

    @property
    def path(self) -> Path:
        """The file, with its full path."""
        return self.stack.path

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_tilts, n_rows, nx), the tilt axis along the last."""
        n_tilts, n_rows, n_columns = self.stack.shape
        return (n_tilts, n_rows, n_columns) if self.axis == "x" else (n_tilts, n_columns, n_rows)

    @property
    def dtype(self) -> np.dtype:
        """Type of the values in the file."""
        return self.stack.dtype

    @property
    def pixel_nm(self) -> float | None:
        """Edge of a pixel in nm, None where the file does not say."""
        return self.stack.pixel_nm

    def read(self, x0: int, x1: int) -> np.ndarray:
        """Read the columns x0 ≤ x < x1 of all images: float32 (n_tilts, n_rows, x1 − x0).

        Raises IndexError if there are no such columns; ValueError if they hold NaN or infinity, or if the file
        turns out to be damaged.
        """
        if not 0 <= x0 < x1 <= self.shape[2]:
            raise IndexError(f"x0, x1: got {x0}, {x1}, expected 0 ≤ x0 < x1 ≤ {self.shape[2]}")
        if self.axis == "x":
            return self.stack.read(columns=slice(x0, x1))
        return np.ascontiguousarray(self.stack.read(rows=slice(x0, x1)).swapaxes(1, 2))


def open_series(
    path: str | os.PathLike,
    *,
    tilts: str | os.PathLike | np.ndarray | None = None,
    axis: str = "x",
    dataset: str | None = None,
) -> SeriesFile:
    """Open a tilt series in an MRC, TIFF or HDF5 file: its header and angles are read, not its images.

    Parameters
    ----------
    path
        MRC (.mrc, .st, .ali, …), TIFF or HDF5 (.h5, .hspy, .emd, …); told apart by content, not by name.
    tilts
        The angles in degrees, or a file of them. Default: ``.tlt``, ``.rawtlt`` or ``.mdoc`` of the same name
        beside the images, in this order; if there is none, the images' own file. An ``.mdoc`` also gives the
        size of a pixel where the images' file does not.
    axis
        Direction of the tilt axis in the file's images: "x" horizontal, "y" vertical.
    dataset
        Name of the HDF5 data set. Default: the only one with three axes.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is foreign or truncated, if there are no angles or not one per image, or if the HDF5 file has
        no such data set.
    """
    if axis not in ("x", "y"):
        raise ValueError(f'axis: got {axis!r}, expected "x" (tilt axis along rows) or "y" (along columns)')
    stack = open_stack(path, dataset=dataset)
    tilts_deg, tilts_from = tilts_of(stack.path, tilts, stack.tilts_deg)
    if not np.isfinite(tilts_deg).all():
        raise ValueError(f"tilts: {tilts_from} gives {tilts_deg}, expected finite angles")
    if tilts_deg.shape != stack.shape[:1]:
        raise ValueError(
            f"tilts: {tilts_from} gives {tilts_deg.size} angles (shape {tilts_deg.shape}), but {path} holds "
            f"{stack.shape[0]} images; expected one angle per image"
        )
    if stack.pixel_nm is None:  # as in SerialEM's TIFF files
        stack = replace(stack, pixel_nm=mdoc_pixel_nm(tilts_from))
    return SeriesFile(stack, tilts_deg, tilts_from, axis)


def read_series(
    path: str | os.PathLike,
    *,
    tilts: str | os.PathLike | np.ndarray | None = None,
    axis: str = "x",
    dataset: str | None = None,
) -> Series:
    """Read a whole tilt series; arguments and errors as of `open_series`.

    Raises ValueError also if the images hold NaN or infinity.
    """
    file = open_series(path, tilts=tilts, axis=axis, dataset=dataset)
    return Series(file.read(0, file.shape[2]), file.tilts_deg, file.pixel_nm, file.tilts_from)


def read_volume(path: str | os.PathLike, *, dataset: str | None = None) -> tuple[np.ndarray, float | None]:
    """Read (volume float32 ``[z, y, x]``, voxel in nm or None) from a file of any format, sections along z.

    Raises FileNotFoundError and ValueError as `read_series` does.
    """
    stack = open_stack(path, dataset=dataset)
    return stack.read(), stack.pixel_nm


def open_stack(path: str | os.PathLike, *, dataset: str | None = None) -> Stack:
    """Open a series or a volume, whichever it is: shape, type, pixel and, where recorded, the tilts.

    Raises FileNotFoundError and ValueError as `open_series` does.
    """
    path = Path(path).absolute()  # another process may have another current folder
    if path.is_dir() and path.suffix == ".zarr":
        return open_ome_zarr(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if h5py.is_hdf5(path):
        return open_hdf5(path, dataset)
    if dataset is not None:
        raise ValueError(f"dataset: got {dataset!r}, but {path} is not an HDF5 file")
    return open_tiff(path) if is_tiff(path) else open_mrc(path)
