"""The MRC file format: images or a volume behind a header, and what microscopes hide in the extended header.
 A file holds ``nz`` sections of ``ny`` rows of ``nx`` values; row 0 is at the *bottom* of an image. Lengths
are in ångström. Files of this family also end in .st, .ali, .mrcs, .rec or .map.
 Real files break the standard often: no "MAP " mark, no byte-order stamp, a wrong pixel size. So this module
reads what it can make sense of, and compares the size that the header claims with the size of the file before
it reserves any memory. Formats: Cheng et al., J. Struct. Biol. 192 (2015) 146 (MRC2014),
https://www.ccpem.ac.uk/mrc_format/mrc2014.php; extended headers:
https://bio3d.colorado.edu/imod/doc/mrc_format.txt.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import mrcfile
import numpy as np
from mrcfile.dtypes import HEADER_DTYPE, get_ext_header_dtype
from mrcfile.utils import dtype_from_mode

HEADER_BYTES = 1024
IMOD_STAMP = 1146047817  # "IMOD" read as an integer: the bytes that follow it say whether mode 0 is signed
SERIALEM_BYTES = (
    2,
    6,
    4,
    2,
    2,
    4,
    2,
    4,
    2,
    4,
    2,
)  # length of each item that a SerialEM flag announces, bit 0 first
FEI_FLOATS = 32  # float32 values per section in the extended header of FEI's older software
FEI_TILT, FEI_PIXEL = 0, 11  # of which: tilt in degrees, pixel size in metres


class MrcContent(NamedTuple):
    """Values of one file as stored (section, row, column), its pixel in nm and tilts in degrees if it tells them."""

    values: np.ndarray
    pixel_nm: float | None
    tilts_deg: np.ndarray | None


def read_mrc(path: str | os.PathLike) -> MrcContent:
    """Read an MRC file of real numbers: modes 0, 1, 2, 6 and 12, either byte order.

    Pixel size and tilts come from the extended header if FEI or SerialEM wrote one, else the pixel size is
    the header's. Mind that much software writes a pixel of 1 Å (0.1 nm) when it does not know.

    Raises ValueError if the file is not MRC, is shorter than its header says, or holds complex or packed
    values.
    """
    path = Path(path)
    header, order = _read_header(path)
    shape = _shape(header)
    dtype = _dtype(header, order)
    n_extended = int(header["nsymbt"])
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        extended = file.read(n_extended)
        values = np.fromfile(file, dtype=dtype, count=int(np.prod(shape))).reshape(shape)
    pixel_nm = _positive(header["cella"]["x"] / 10 / header["mx"]) if header["mx"] > 0 else None
    tilts_deg, extended_pixel_nm = _read_extended(header, extended, order, n_sections=shape[0])
    return MrcContent(values, extended_pixel_nm or pixel_nm, tilts_deg)


def write_mrc(
    path: str | os.PathLike, array: np.ndarray, *, voxel_nm: float, overwrite: bool = False
) -> None:
    """Write a volume ``[z, y, x]`` or a tilt series ``[tilt, row, x]`` of real numbers; sections are its first axis.

    The file is written under a temporary name and renamed, so that no half file can be left. int8, int16,
    uint16 and float32 are kept as they are; all other types become float32. ``voxel_nm`` goes into the
    header.

    Raises FileExistsError if the file is there and ``overwrite`` is not set; ValueError or TypeError if the
    array is not three-dimensional, empty, not real or not finite, or the voxel size is not positive.
    """
    path, array = Path(path), np.asarray(array)
    if array.ndim != 3 or array.size == 0:
        raise ValueError(f"array: got shape {array.shape}, expected three axes and at least one value")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"array: got values of type {array.dtype}, expected real numbers")
    if not np.isfinite(array).all():
        raise ValueError(
            f"array: {np.sum(~np.isfinite(array))} values are NaN or infinite, expected finite ones"
        )
    if not (np.isfinite(voxel_nm) and voxel_nm > 0):
        raise ValueError(f"voxel_nm: got {voxel_nm}, expected a positive length in nm")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True to replace it")
    if array.dtype not in (np.int8, np.int16, np.uint16, np.float32):
        array = array.astype(np.float32)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with mrcfile.new(temporary, overwrite=True) as file:
            file.set_data(array)
            file.voxel_size = 10 * voxel_nm
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_header(path: Path) -> tuple[np.void, str]:
    """Return the header and the byte order, "<" or ">", in which it makes sense and fits the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES:
        raise ValueError(
            f"{path}: not an MRC file: {len(head)} bytes, but an MRC header alone has {HEADER_BYTES}"
        )
    stamp = np.frombuffer(head, HEADER_DTYPE)["machst"][0]
    plausible = []
    for order in (
        "><" if stamp[0] == 0x11 else "<>"
    ):  # stamps are often missing and sometimes wrong: try both orders
        header = np.frombuffer(head, HEADER_DTYPE.newbyteorder(order))[0]
        try:
            expected = (
                HEADER_BYTES + int(header["nsymbt"]) + _n_values(header) * _dtype(header, order).itemsize
            )
        except ValueError:
            continue
        if min(_shape(header)) > 0 and header["nsymbt"] >= 0:
            plausible.append((expected, header, order))
    if not plausible:
        header = np.frombuffer(head, HEADER_DTYPE.newbyteorder("<"))[0]
        raise ValueError(
            f"{path}: not an MRC file of real numbers: begins with {head[:8]!r}, which as a header means "
            f"{_shape(header)} sections × rows × columns of mode {header['mode']}; expected positive sizes and "
            "mode 0, 1, 2, 6 or 12"
        )
    for expected, header, order in plausible:
        if expected <= size:
            return header, order
    expected, header, _ = plausible[0]
    raise ValueError(
        f"{path}: truncated, or not an MRC file: its header announces {_shape(header)} sections × rows × columns "
        f"of mode {header['mode']}, {expected} bytes in all, but the file has {size}"
    )


def _shape(header: np.void) -> tuple[int, int, int]:
    return int(header["nz"]), int(header["ny"]), int(header["nx"])


def _n_values(header: np.void) -> int:
    nz, ny, nx = _shape(header)  # as Python integers: a lying header overflows 64 bits
    return nz * ny * nx


def _dtype(header: np.void, order: str) -> np.dtype:
    """Return the type of the stored values; ValueError for a mode that is unknown or complex."""
    dtype = dtype_from_mode(header["mode"])
    if dtype.kind == "c":
        raise ValueError(f"complex mode {header['mode']}")
    if header["mode"] == 0:
        stamp, flags = np.frombuffer(header["extra2"].tobytes(), dtype=order + "i4", offset=40, count=2)
        if stamp == IMOD_STAMP and not flags & 1:
            return np.dtype(np.uint8)
    return dtype.newbyteorder(order)


def _read_extended(
    header: np.void, extended: bytes, order: str, *, n_sections: int
) -> tuple[np.ndarray | None, float | None]:
    """Return (tilts in degrees, pixel in nm) as the microscope's software recorded them, None if it did not."""
    kind = bytes(header["exttyp"])
    if kind in (b"FEI1", b"FEI2"):
        block = get_ext_header_dtype(kind, order)
        if len(extended) < block.itemsize * n_sections:
            return None, None
        blocks = np.frombuffer(extended, block, count=n_sections)
        return blocks["Alpha tilt"].astype(float), _positive(1e9 * blocks["Pixel size X"][0])
    n_ints, n_floats = np.frombuffer(header["extra2"].tobytes(), dtype=order + "i2", offset=16, count=2)
    if n_ints == 0 and n_floats == FEI_FLOATS and len(extended) >= 4 * FEI_FLOATS * n_sections:
        # There are always 1024 blocks; only those of existing sections mean anything.
        blocks = np.frombuffer(extended, order + "f4", count=FEI_FLOATS * n_sections).reshape(
            n_sections, FEI_FLOATS
        )
        return blocks[:, FEI_TILT].astype(float), _positive(1e9 * float(blocks[0, FEI_PIXEL]))
    flags, section_bytes = int(n_floats), int(n_ints)
    announced = sum(n for bit, n in enumerate(SERIALEM_BYTES) if flags >> bit & 1)
    if flags & 1 and announced == section_bytes and len(extended) >= section_bytes * n_sections:
        sections = np.frombuffer(extended, np.uint8, count=section_bytes * n_sections).reshape(n_sections, -1)
        return sections[:, :2].copy().view(order + "i2")[
            :, 0
        ] / 100, None  # SerialEM stores hundredths of a degree
    return None, None


def _positive(length: float) -> float | None:
    return float(length) if np.isfinite(length) and length > 0 else None
