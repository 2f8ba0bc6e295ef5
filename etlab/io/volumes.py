"""Write volumes plane by plane as MRC, HDF5 or OME-Zarr; a file appears whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from etlab.atomic import replacing
from etlab.io.hdf5 import hdf5_writer
from etlab.io.mrc import FLOAT32, MODES, mrc_writer
from etlab.io.ome_zarr import needs_zarr, ome_zarr_writer
from etlab.io.text import printable

MRC, HDF5, ZARR = (".mrc", ".rec", ".map"), (".h5", ".hdf5"), (".zarr",)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # whose messages lack the name of the file


class VolumeWriter:
    """Takes the planes of a volume, first to last; `volume_writer` yields one."""

    def __init__(self, shape: tuple[int, int, int], append: Callable[[np.ndarray], None]) -> None:
        self.shape = shape
        self.n_written = 0
        self._append = append

    def write(self, z0: int, planes: np.ndarray) -> None:
        """Write whole planes ``[z, y, x]`` as float32, the first of them plane ``z0`` of the volume.

        Raises ValueError if they are not the next ones, not whole, not finite or too many, TypeError if not real.
        """
        planes = np.asarray(planes)
        n_planes, *plane = self.shape
        if z0 != self.n_written:
            raise ValueError(f"z0: got {z0}, expected {self.n_written}, the first plane not yet written")
        if planes.ndim != 3 or list(planes.shape[1:]) != plane or z0 + len(planes) > n_planes:
            raise ValueError(
                f"planes: got shape {planes.shape} from z0 = {z0} on, expected whole planes {tuple(plane)} "
                f"of a volume of {n_planes}"
            )
        if len(planes):
            self._append(_finite(planes, "planes", FLOAT32))
        self.n_written += len(planes)


@contextmanager
def volume_writer(
    path: str | os.PathLike,
    shape: tuple[int, int, int],
    voxel_nm: float,
    provenance: dict[str, str],
    overwrite: bool = False,
    series: bool = False,
) -> Iterator[VolumeWriter]:
    """Write a volume larger than memory: ``with volume_writer(…) as out: out.write(z0, planes)``, in order of z.

    Parameters
    ----------
    path
        Its ending names the format: .mrc, .rec, .map; .h5, .hdf5 (data set ``volume``); .zarr (OME-Zarr 0.4,
        needs the extra ``scale``).
    shape
        (nz, ny, nx) of the whole volume.
    voxel_nm
        Edge of a voxel in nm, which goes into the file in the format's own unit.
    provenance
        How the volume came to be, "what: how". MRC holds ten lines of 80 ASCII characters of it.
    overwrite
        Replace what is there.
    series
        Mark the file as a tilt series, in MRC's header or in HDF5's attribute ``axes``.

    Yields
    ------
    VolumeWriter
        Its ``write(z0, planes)`` takes planes (n, ny, nx) of real, finite numbers.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is not set.
    ValueError
        If an argument is out of range, or if planes are missing at the end.
    OSError
        If the disk is full.

    Notes
    -----
    The file is written under a temporary name beside ``path`` and renamed at the end. If anything fails, an existing
    file stays as it was, and no part of the new one remains.

    Examples
    --------
    >>> import tempfile
    >>> from etlab import read_volume
    >>> path = Path(tempfile.mkdtemp(), "volume.mrc")
    >>> with volume_writer(path, (4, 5, 6), 2.0, {"made by": "an example"}) as out:
    ...     for z in range(4):
    ...         out.write(z, np.full((1, 5, 6), z))
    >>> read_volume(path)[0][:, 0, 0]
    array([0., 1., 2., 3.], dtype=float32)
    """
    path = Path(path)
    check_output(path, overwrite=overwrite)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape: got {shape}, expected three positive numbers (nz, ny, nx)")
    _check_voxel(voxel_nm)
    provenance = {printable(what): printable(how) for what, how in provenance.items()}
    with _durable(path) as temporary:
        if path.suffix in ZARR:
            writer = ome_zarr_writer(temporary, shape, voxel_nm, provenance)
        else:
            write_format = mrc_writer if path.suffix in MRC else hdf5_writer
            writer = write_format(temporary, shape, voxel_nm, provenance, series=series)
        with writer as append:
            volume = VolumeWriter(shape, append)
            yield volume
            if volume.n_written < shape[0]:
                raise ValueError(f"{path}: {volume.n_written} of {shape[0]} planes were written")


def check_output(path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Check before hours of computing that `volume_writer` can write such a file.

    Parameters
    ----------
    path
        The file to be written.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    ValueError
        If the ending names no format, or the package zarr is missing.
    FileNotFoundError
        If there is no such folder.
    PermissionError
        If the folder cannot be written to.
    FileExistsError
        If the file exists and ``overwrite`` is not set.

    Examples
    --------
    >>> check_output("volume.jpg")
    Traceback (most recent call last):
    ...
    ValueError: volume.jpg: ends in '.jpg', expected one of .mrc, .rec, .map, .h5, .hdf5, .zarr
    """
    path = Path(path)
    if path.suffix not in MRC + HDF5 + ZARR:
        raise ValueError(f"{path}: ends in {path.suffix!r}, expected one of {', '.join(MRC + HDF5 + ZARR)}")
    if path.suffix in ZARR:
        needs_zarr(path)
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
    if not os.access(path.absolute().parent, os.W_OK):
        raise PermissionError(f"{path}: the folder {path.absolute().parent} cannot be written to")
    check_free(path, overwrite)


def write_mrc(
    path: str | os.PathLike,
    array: np.ndarray,
    *,
    voxel_nm: float,
    overwrite: bool = False,
    series: bool = False,
) -> None:
    """Write a volume or a tilt series as an MRC file, which appears whole or not at all.

    Parameters
    ----------
    path
        The file.
    array
        (nz, ny, nx), or (n_tilts, n_rows, nx), of real numbers. int8, int16, uint16 and float32 are kept as they are;
        other types become float32.
    voxel_nm
        Edge of a voxel or pixel in nm, for the header.
    overwrite
        Replace an existing file.
    series
        Say in the header that the sections are images of a tilt series, not planes of a volume.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is not set.
    ValueError, TypeError
        If the array does not have three axes, is empty, not real or not finite, or the voxel size is not positive.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "volume.mrc")
    >>> write_mrc(path, np.zeros((4, 5, 6), np.float32), voxel_nm=2)
    >>> path.stat().st_size == 1024 + 4 * 4 * 5 * 6
    True
    """
    path, array = Path(path), np.asarray(array)
    if array.ndim != 3 or array.size == 0:
        raise ValueError(f"array: got shape {array.shape}, expected three axes and at least one value")
    _check_voxel(voxel_nm)
    check_free(path, overwrite)
    native = array.dtype.newbyteorder("=")
    dtype = native if native in MODES else FLOAT32
    array = _finite(array, "array", dtype)
    with (
        _durable(path) as temporary,
        mrc_writer(temporary, array.shape, voxel_nm, {}, dtype, series) as append,
    ):
        append(array)


def _finite(values: np.ndarray, name: str, dtype: np.dtype) -> np.ndarray:
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name}: got values of type {values.dtype}, expected real numbers")
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        values = values.astype(dtype, copy=False)
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: some values are NaN, infinite or beyond float32; expected finite ones")
    return values


def _check_voxel(voxel_nm: float) -> None:
    if not (np.isfinite(voxel_nm) and voxel_nm > 0):
        raise ValueError(f"voxel_nm: got {voxel_nm}, expected a positive length in nm")


def check_free(path: Path, overwrite: bool) -> None:
    """Raise FileExistsError if ``path`` must not be replaced."""
    if path.is_dir() and path.suffix not in ZARR:
        raise FileExistsError(f"{path} is a folder, which is not replaced")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True to replace it")


@contextmanager
def _durable(path: Path) -> Iterator[Path]:
    """Replace ``path`` by what is written, once that has reached the disk; an error of a full disk names ``path``."""
    try:
        with replacing(path) as part:
            yield part
            if part.is_file():
                with part.open("rb+") as file:
                    os.fsync(file.fileno())  # may be the moment when the disk turns out to be full
    except OSError as error:
        if error.errno in NO_ROOM:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
