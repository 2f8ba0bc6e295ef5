"""The MRC file format: images or a volume behind a header, and what microscopes hide in the extended header.

A file holds ``nz`` sections of ``ny`` rows of ``nx`` values; row 0 is at the *bottom* of an image. Lengths
are in ångström. Files of this family also end in .st, .ali, .mrcs, .rec or .map.

Real files break the standard often: no "MAP " mark, no byte-order stamp, a wrong pixel size. So this module
reads what it can make sense of, and compares the size that the header claims with the size of the file before
it reserves any memory.

Sources: Cheng et al., J. Struct. Biol. 192 (2015) 146 (MRC2014); for the extended headers
https://bio3d.colorado.edu/imod/doc/mrc_format.txt.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import NamedTuple

import mrcfile
import numpy as np
from mrcfile.dtypes import HEADER_DTYPE, get_ext_header_dtype

HEADER_BYTES = 1024
BIG_ENDIAN_STAMP = 0x11
IMOD_STAMP = 1146047817  # "IMOD" read as an integer: the bytes that follow it say whether mode 0 is signed
SERIALEM_BYTES = (2, 6, 4, 2, 2, 4, 2, 4, 2, 4, 2)  # length of the item announced by each SerialEM flag bit
OLD_FEI = (0, 32)  # FEI's older software writes 0 integers and 32 floats a section
OLD_FEI_OFFSETS = [0, 44]  # of tilt and pixel size in each section, in bytes
TILT, PIXEL = "Alpha tilt", "Pixel size X"  # their names in FEI's newer headers, in degrees and metres


class MrcContent(NamedTuple):
    """Values as stored (section, row, column); pixel in nm and tilts in degrees, None if not recorded."""

    values: np.ndarray
    pixel_nm: float | None
    tilts_deg: np.ndarray | None


def read_mrc(path: str | os.PathLike) -> MrcContent:
    """Read an MRC file of real numbers: modes 0, 1, 2, 6 and 12, either byte order.

    Pixel size and tilts come from the extended header if FEI or SerialEM wrote one, else the pixel size is
    the header's. Mind that much software writes a pixel of 1 Å (0.1 nm) when it does not know.

    Raises ValueError if the file is not MRC, shorter than its header says, or holds complex or packed values.
    """
    path = Path(path)
    header, order = _read_header(path)
    shape = _shape(header)
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        extended = file.read(int(header["nsymbt"]))
        values = np.fromfile(file, dtype=_dtype(header, order), count=math.prod(shape)).reshape(shape)
    tilts_deg, pixel_nm = _read_extended(header, extended, order)
    if pixel_nm is None and header["mx"] > 0:
        pixel_nm = _positive(float(header["cella"]["x"]) / int(header["mx"]) / 10)
    return MrcContent(values, pixel_nm, tilts_deg)


def write_mrc(
    path: str | os.PathLike, array: np.ndarray, *, voxel_nm: float, overwrite: bool = False
) -> None:
    """Write a volume ``[z, y, x]`` or a tilt series ``[tilt, row, x]`` of real numbers, sections first.

    The file is written under a temporary name and renamed, so that no half file can be left. int8, int16,
    uint16 and float32 are kept as they are; other types become float32. ``voxel_nm`` goes into the header.

    Raises FileExistsError if the file is there and ``overwrite`` is not set; ValueError or TypeError if the
    array is not three-dimensional, empty, not real or not finite, or the voxel size is not positive.
    """
    path, array = Path(path), np.asarray(array)
    if array.ndim != 3 or array.size == 0:
        raise ValueError(f"array: got shape {array.shape}, expected three axes and at least one value")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"array: got values of type {array.dtype}, expected real numbers")
    if not (np.isfinite(voxel_nm) and voxel_nm > 0):
        raise ValueError(f"voxel_nm: got {voxel_nm}, expected a positive length in nm")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True to replace it")
    if array.dtype not in (np.int8, np.int16, np.uint16, np.float32):
        with np.errstate(over="ignore"):  # becomes infinite, which is refused below
            array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError("array: some values are NaN, infinite or beyond float32; expected finite ones")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with mrcfile.new(temporary, overwrite=True) as file:
            file.set_data(array)
            file.voxel_size = 10 * voxel_nm
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_header(path: Path) -> tuple[np.void, str]:
    """Return the header and the byte order, "<" or ">", in which it makes sense and fits the file.

    Both orders are tried, the stamped one first: stamps are often missing and sometimes wrong.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES:
        raise ValueError(
            f"{path}: not an MRC file: has {len(head)} bytes, an MRC header alone {HEADER_BYTES}"
        )
    stamped = ">" if np.frombuffer(head, HEADER_DTYPE)["machst"][0][0] == BIG_ENDIAN_STAMP else "<"
    complaints = []
    for order in (stamped, "<" if stamped == ">" else ">"):
        header = np.frombuffer(head, HEADER_DTYPE.newbyteorder(order))[0]
        dtype, shape = _dtype(header, order), _shape(header)
        if dtype is None or min(shape) <= 0 or header["nsymbt"] < 0:
            continue
        expected = HEADER_BYTES + int(header["nsymbt"]) + math.prod(shape) * dtype.itemsize
        if expected <= size:
            return header, order
        complaints.append(f"its header announces {shape} values in {expected} bytes, but it has {size}")
    if complaints:
        raise ValueError(f"{path}: truncated, or not an MRC file: {complaints[0]}")
    header = np.frombuffer(head, HEADER_DTYPE.newbyteorder(stamped))[0]
    raise ValueError(
        f"{path}: not an MRC file of real numbers: it begins with {head[:8]!r}, which announces "
        f"{_shape(header)} values of mode {header['mode']}; expected positive sizes and mode 0, 1, 2, 6 or 12"
    )


def _shape(header: np.void) -> tuple[int, int, int]:
    return int(header["nz"]), int(header["ny"]), int(header["nx"])  # unbounded, as lies may be


def _dtype(header: np.void, order: str) -> np.dtype | None:
    """Type of the stored values; None if the mode is unknown, complex or packed."""
    stamp, flags = np.frombuffer(header["extra2"].tobytes(), dtype=order + "i4", offset=40, count=2)
    unsigned_bytes = stamp == IMOD_STAMP and not flags & 1
    types = {0: "u1" if unsigned_bytes else "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
    mode = int(header["mode"])
    return np.dtype(order + types[mode]) if mode in types else None


def _read_extended(header: np.void, extended: bytes, order: str) -> tuple[np.ndarray | None, float | None]:
    """Return (tilts in degrees, pixel in nm) from the microscope's own records, None where there are none."""
    kind = bytes(header["exttyp"])
    pair = np.frombuffer(header["extra2"].tobytes(), dtype=order + "i2", offset=16, count=2)
    size, flags = (int(n) for n in pair)  # so SerialEM; to FEI numbers of ints and floats
    if kind in (b"FEI1", b"FEI2"):
        block = get_ext_header_dtype(kind, order)
    elif (size, flags) == OLD_FEI:
        fields = {"names": [TILT, PIXEL], "formats": 2 * [order + "f4"], "offsets": OLD_FEI_OFFSETS}
        block = np.dtype(fields | {"itemsize": 4 * flags})
    elif flags & 1 and size == sum(n for bit, n in enumerate(SERIALEM_BYTES) if flags >> bit & 1):
        block = np.dtype({"names": [TILT], "formats": [order + "i2"], "itemsize": size})
    else:
        return None, None
    n_sections = int(header["nz"])  # there may be more blocks: FEI's older software always wrote 1024
    if len(extended) < n_sections * block.itemsize:
        return None, None
    blocks = np.frombuffer(extended, block, count=n_sections)
    if PIXEL not in block.names:
        return blocks[TILT] / 100, None  # SerialEM stores hundredths of a degree
    return blocks[TILT].astype(np.float64), _positive(1e9 * float(blocks[PIXEL][0]))


def _positive(length: float) -> float | None:
    return float(length) if np.isfinite(length) and length > 0 else None
