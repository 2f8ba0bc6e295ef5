"""Read a tilt series or a volume from a file of any format, at once or in ranges along the tilt axis."""

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
    """A tilt series in memory.

    Parameters
    ----------
    images
        float32 (n_tilts, n_rows, nx), in the file's own units of intensity; the background is not subtracted.
    tilts_deg
        Tilts in degrees, (n_tilts,).
    pixel_nm
        Edge of a pixel in nm; None if the file does not record it.
    tilts_from
        Where the tilts come from: a file, or "the argument".

    Examples
    --------
    >>> series = Series(np.zeros((3, 8, 4), np.float32), np.array([-60.0, 0.0, 60.0]), 2.0, "the argument")
    >>> series.images.shape
    (3, 8, 4)
    """

    images: np.ndarray
    tilts_deg: np.ndarray
    pixel_nm: float | None
    tilts_from: str


@dataclass(frozen=True, eq=False)
class SeriesFile:
    """A tilt series that stays on the disk until columns of it are read. It can be sent to another process.

    Parameters
    ----------
    stack
        The file, whose images have rows and columns as stored.
    tilts_deg
        Tilts in degrees, (n_tilts,).
    tilts_from
        Where the tilts come from: a file, or "the argument".
    axis
        Direction of the tilt axis in the file's images, "x" or "y"; `shape` and `read` have it along the last axis.
    recorded_axis_deg
        Direction of the tilt axis that SerialEM recorded in an .mdoc or in a label of the MRC header, else None. It
        counts as SerialEM and IMOD do: degrees counter-clockwise from the *vertical* of an image with row 0 at the
        bottom, within [−90, 90]. So about 0 is ``axis="y"``, and about ±90 is ``axis="x"``.
    recorded_axis_from
        The file that records it.
    notes
        A sentence for each contradiction between sources, and for each part of the file that is not used.

    Examples
    --------
    >>> import tempfile
    >>> from etlab import open_series, write_mrc
    >>> path = Path(tempfile.mkdtemp(), "series.mrc")
    >>> write_mrc(path, np.ones((3, 8, 4), np.float32), voxel_nm=2, series=True)
    >>> series = open_series(path, tilts=np.array([-60, 0, 60]), axis="y")
    >>> series.shape, series.read(0, 2).shape
    ((3, 4, 8), (3, 4, 2))
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
        """Edge of a pixel in nm, None if the file does not record it."""
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

    Returns
    -------
    SeriesFile
        The series, of which `SeriesFile.read` reads columns.

    Examples
    --------
    >>> import tempfile
    >>> from etlab import write_mrc
    >>> path = Path(tempfile.mkdtemp(), "series.mrc")
    >>> write_mrc(path, np.ones((3, 8, 4), np.float32), voxel_nm=2, series=True)
    >>> np.savetxt(path.with_suffix(".tlt"), [-60, 0, 60])
    >>> series = open_series(path)
    >>> series.shape, float(series.tilts_deg[0]), round(series.pixel_nm, 3)
    ((3, 8, 4), -60.0, 2.0)
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
    """Read a whole tilt series.

    Parameters
    ----------
    path, tilts, axis, dataset
        As of `open_series`.

    Returns
    -------
    Series
        Images, float32 (n_tilts, n_rows, nx) with the tilt axis along the last axis, and their tilts.

    Raises
    ------
    FileNotFoundError, ValueError
        As `open_series` does; ValueError also if the images hold NaN or infinity.

    Examples
    --------
    >>> import tempfile
    >>> from etlab import write_mrc
    >>> path = Path(tempfile.mkdtemp(), "series.mrc")
    >>> write_mrc(path, np.ones((3, 8, 4), np.float32), voxel_nm=2, series=True)
    >>> series = read_series(path, tilts=np.array([-60, 0, 60]))
    >>> series.images.shape, series.tilts_from
    ((3, 8, 4), 'the argument')
    """
    file = open_series(path, tilts=tilts, axis=axis, dataset=dataset)
    return Series(file.read(0, file.shape[2]), file.tilts_deg, file.pixel_nm, file.tilts_from)


def read_volume(path: str | os.PathLike, *, dataset: str | None = None) -> tuple[np.ndarray, float | None]:
    """Read a volume from a file of any format, sections along z.

    Parameters
    ----------
    path
        MRC, TIFF, HDF5 or OME-Zarr, told apart by content.
    dataset
        Name of the HDF5 data set. Default: the only one with three axes.

    Returns
    -------
    volume : np.ndarray
        float32 (nz, ny, nx).
    voxel_nm : float or None
        Edge of a voxel in nm; None if the file does not record it.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_series` does.

    Examples
    --------
    >>> import tempfile
    >>> from etlab import write_mrc
    >>> path = Path(tempfile.mkdtemp(), "volume.mrc")
    >>> write_mrc(path, np.zeros((4, 5, 6), np.float32), voxel_nm=2)
    >>> volume, voxel_nm = read_volume(path)
    >>> volume.shape, round(voxel_nm, 3)
    ((4, 5, 6), 2.0)
    """
    stack = open_stack(path, dataset=dataset)
    return stack.read(), stack.pixel_nm


def open_stack(path: str | os.PathLike, *, dataset: str | None = None) -> Stack:
    """Open a series or a volume, whichever it is: shape, type, pixel and, if recorded, the tilts.

    Parameters
    ----------
    path
        MRC, TIFF, HDF5, OME-Zarr or a folder of TIFF files, told apart by content.
    dataset
        Name of the HDF5 data set. Default: the only one with three axes.

    Returns
    -------
    Stack
        With ``shape`` (sections, rows, columns), ``dtype``, ``pixel_nm``, ``tilts_deg``, and ``read()`` for the values.

    Raises
    ------
    FileNotFoundError, ValueError
        As `open_series` does.

    Examples
    --------
    >>> import tempfile
    >>> from etlab import write_mrc
    >>> path = Path(tempfile.mkdtemp(), "volume.mrc")
    >>> write_mrc(path, np.zeros((4, 5, 6), np.int16), voxel_nm=2)
    >>> stack = open_stack(path)
    >>> stack.shape, stack.dtype.name, stack.tilts_deg
    ((4, 5, 6), 'int16', None)
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
