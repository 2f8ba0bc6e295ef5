"""Writing: a volume plane by plane, as MRC, HDF5 or OME-Zarr by the ending of its name; never half a file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from etlab.atomic import replacing
from etlab.io.hdf5 import hdf5_writer
from etlab.io.mrc import FLOAT32, MODES, mrc_writer
from etlab.io.ome_zarr import needs_zarr, ome_zarr_writer
from etlab.io.text import printable

MRC, HDF5, ZARR = (".mrc", ".rec", ".map"), (".h5", ".hdf5"), (".zarr",)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # said by the system without the name of the file


class VolumeWriter:
    """What `volume_writer` gives: takes the planes of a volume, first to last."""

    def __init__(self, shape: tuple[int, int, int], append) -> None:
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
        What is written is a tilt series, of which MRC's header and HDF5's attribute ``axes`` tell.

    The file is written under a temporary name beside ``path`` and renamed at the end; if anything goes wrong
    on the way, the disk included, nothing is left of it, and what stood under ``path`` stays.

    Raises FileExistsError if the file is there and ``overwrite`` is not set; ValueError if an argument makes no
    sense, or if planes are missing at the end; OSError if the disk is full.
    """
    path = Path(path)
    check_output(path, overwrite=overwrite)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape: got {shape}, expected three positive numbers (nz, ny, nx)")
    _check_voxel(voxel_nm)
    provenance = {
        printable(what): printable(how) for what, how in provenance.items()
    }  # the name of a file, say
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
    """Raise now what `volume_writer` would raise after hours of computing: that it cannot write such a file."""
    path = Path(path)
    if path.suffix not in MRC + HDF5 + ZARR:
        raise ValueError(f"{path}: ends in {path.suffix!r}, expected one of {', '.join(MRC + HDF5 + ZARR)}")
    if path.suffix in ZARR:
        needs_zarr(path)
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
    _check_free(path, overwrite)


def write_mrc(
    path: str | os.PathLike,
    array: np.ndarray,
    *,
    voxel_nm: float,
    overwrite: bool = False,
    series: bool = False,
) -> None:
    """Write a volume ``[z, y, x]`` or a tilt series ``[tilt, row, x]`` of real numbers, sections first.

    The file is written under a temporary name and renamed, so that no half file can be left. int8, int16,
    uint16 and float32 are kept as they are; other types become float32. ``voxel_nm`` goes into the header, and with
    ``series`` that the sections are images of a tilt series, not planes of a volume.

    Raises FileExistsError if the file is there and ``overwrite`` is not set; ValueError or TypeError if the
    array is not three-dimensional, empty, not real or not finite, or the voxel size is not positive.
    """
    path, array = Path(path), np.asarray(array)
    if array.ndim != 3 or array.size == 0:
        raise ValueError(f"array: got shape {array.shape}, expected three axes and at least one value")
    _check_voxel(voxel_nm)
    _check_free(path, overwrite)
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


def _check_free(path: Path, overwrite: bool) -> None:
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
