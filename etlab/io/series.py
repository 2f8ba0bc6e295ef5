"""A tilt series or a volume from a file of whatever format, at once or piece by piece along the tilt axis."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from etlab.io.angles import Tilts, beside, mdoc_pixel_nm, tilts_of
from etlab.io.foreign import folder, foreign
from etlab.io.hdf5 import open_hdf5
from etlab.io.mdoc import axis_deg_in_mdoc, is_mdoc
from etlab.io.mrc import open_mrc
from etlab.io.ome_zarr import is_zarr, open_ome_zarr
from etlab.io.stack import Stack
from etlab.io.tiff import is_tiff, open_tiff
from etlab.io.tiff_folder import open_tiff_folder, tiffs_in

ALIGNED = (".ali", ".preali")  # IMOD's: the images were moved since their axis was recorded


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

    ``recorded_axis_deg`` is the direction of the tilt axis that SerialEM left in an .mdoc or in a label of the MRC
    header, None where there is none. It counts as SerialEM and IMOD do: degrees counter-clockwise from the *vertical*
    of an image with row 0 at the bottom, within [−90, 90]. So about 0 is ``axis="y"``, and about ±90 is ``axis="x"``.
    ``recorded_axis_from`` names the file.

    ``notes`` say, a sentence each, which sources contradict each other and what of the file is not used.
    """

    stack: Stack
    tilts_deg: np.ndarray
    tilts_from: str
    axis: str
    recorded_axis_deg: float | None = None
    recorded_axis_from: str | None = None
    notes: tuple[str, ...] = ()

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
        MRC (.mrc, .st, .ali, …), TIFF or HDF5 (.h5, .hspy, .emd, …), told apart by content, not by name; OME-Zarr; or
        a folder of TIFF files with an image in each, in the order of the numbers in their names.
    tilts
        The angles in degrees, or a file of them. Default: ``.tlt``, ``.rawtlt`` or ``.mdoc`` of the same name
        beside the images, else those in the images' own file, in this order; but angles that were measured come
        before nominal ones, which lie on an even grid. An ``.mdoc`` also gives the size of a pixel where the images'
        file does not.
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
    found = tilts_of(stack.path, tilts, stack.tilts_deg, stack.shape[0])
    _check_tilts(found, stack)
    mdocs = [Path(found.source), *beside(stack.path)]
    mdoc = next((file for file in mdocs if is_mdoc(file) and file.is_file()), None)
    if stack.pixel_nm is None and mdoc:  # as in SerialEM's TIFF files
        stack = replace(stack, pixel_nm=mdoc_pixel_nm(mdoc))
    axis_deg, axis_from = _recorded_axis(stack, mdoc)
    notes = (*stack.notes, *found.notes)
    return SeriesFile(stack, found.tilts_deg, found.source, axis, axis_deg, axis_from, notes)


def _check_tilts(found: Tilts, stack: Stack) -> None:
    """Raise ValueError unless there is a finite angle for each image."""
    tilts_deg, n_images = found.tilts_deg, stack.shape[0]
    if not np.isfinite(tilts_deg).all():
        raise ValueError(f"tilts: {found.source} gives {tilts_deg}, expected finite angles")
    if tilts_deg.shape != (n_images,):
        transposed = tilts_deg.ndim == 1 and tilts_deg.size in stack.shape[1:]
        raise ValueError(
            f"tilts: {found.source} gives {tilts_deg.size} angles (shape {tilts_deg.shape}), but {stack.path} holds "
            f"{n_images} images of {stack.shape[1]} × {stack.shape[2]}; expected one angle per image"
            + ("; are the axes in another order? Save them as [image, row, column]" if transposed else "")
        )


def _recorded_axis(stack: Stack, mdoc: Path | None) -> tuple[float | None, str | None]:
    """Return the direction of the tilt axis that was recorded with the images, and the file that says so."""
    if stack.path.suffix.lower() in ALIGNED:
        return None, None
    if mdoc and (angle := axis_deg_in_mdoc(mdoc)) is not None:
        return angle, str(mdoc)
    if stack.recorded_axis_deg is not None:
        return stack.recorded_axis_deg, str(stack.path)
    return None, None


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
    if path.is_dir():
        if is_zarr(path):
            return open_ome_zarr(path)
        if tiffs_in(path):
            return open_tiff_folder(path)
        raise ValueError(f"{path}: {folder(path)}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if h5py.is_hdf5(path):
        return open_hdf5(path, dataset)
    if dataset is not None:
        raise ValueError(f"dataset: got {dataset!r}, but {path} is not an HDF5 file")
    if is_tiff(path):
        return open_tiff(path)
    try:
        return open_mrc(path)
    except ValueError as error:
        if reason := foreign(path):
            raise ValueError(f"{path}: {reason}") from error
        raise
