"""The MRC file format: images or a volume behind a header, and what microscopes hide in the extended header.

A file holds ``nz`` sections of ``ny`` rows of ``nx`` values; row 0 is at the *bottom* of an image. Lengths
are in ångström. Files of this family also end in .st, .ali, .mrcs, .rec or .map.

Real files often violate the standard: no "MAP " mark, no byte-order stamp, a wrong pixel size. So this module
is lenient, but compares the size that the header declares with the size of the file before it reserves memory.

Sources: Cheng et al., J. Struct. Biol. 192 (2015) 146 (MRC2014); for the extended headers
https://bio3d.colorado.edu/imod/doc/mrc_format.txt.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE, get_ext_header_dtype

from etlab.io.mdoc import axis_deg_in
from etlab.io.stack import RawStack, in_nm
from etlab.io.statistics import Statistics

HEADER_BYTES = 1024
BIG_ENDIAN_STAMP, LITTLE_ENDIAN_STAMP = 0x11, (0x44, 0x44, 0, 0)
FLOAT32 = np.dtype(np.float32)
IMAGES, VOLUME = 0, 1  # space groups: images have none, and a cell that is one section deep
VERSION = 20141  # MRC2014 with its additions of 2015
N_LABELS, LABEL_LENGTH = 10, 80
MODES = {np.dtype(t): mode for t, mode in (("i1", 0), ("i2", 1), ("f4", 2), ("u2", 6))}  # those written
IMOD_STAMP = 1146047817  # "IMOD" read as an integer: the bytes that follow it say whether mode 0 is signed
SERIALEM_BYTES = (2, 6, 4, 2, 2, 4, 2, 4, 2, 4, 2)  # length of the item announced by each SerialEM flag bit
OLD_FEI = (0, 32)  # FEI's older software writes 0 integers and 32 floats a section
OLD_FEI_OFFSETS = [0, 44]  # of tilt and pixel size in each section, in bytes
TURNING = re.compile(r"\b(transformed|rot|flip)", re.IGNORECASE)  # in labels of IMOD: the axis was moved
TILT, PIXEL = "Alpha tilt", "Pixel size X"  # their names in FEI's newer headers, in degrees and metres


def open_mrc(path: Path) -> RawStack:
    """Open an MRC file of real numbers: modes 0, 1, 2, 6 and 12, either byte order.

    Pixel size and tilts come from the extended header if FEI or SerialEM wrote one, else the pixel size is
    the header's. Mind that much software writes a pixel of 1 Å (0.1 nm) when it does not know.

    Raises ValueError if the file is not MRC, shorter than its header says, or holds complex or packed values.
    """
    header, order, dtype = _read_header(path)
    shape = _shape(header)
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        extended = file.read(int(header["nsymbt"]))
    tilts_deg, pixel_nm = _read_extended(header, extended, order)
    if pixel_nm is None and header["mx"] > 0:
        pixel_nm = in_nm(header["cella"]["x"] / header["mx"], "Å")
    first, length = HEADER_BYTES + len(extended), shape[1] * shape[2] * dtype.itemsize
    offsets = range(first, first + shape[0] * length, length)
    return RawStack(
        path,
        shape,
        dtype,
        pixel_nm,
        tilts_deg,
        offsets,
        recorded_axis_deg=_axis_deg(header),
        notes=_notes_on_axes(header),
    )


@contextmanager
def mrc_writer(
    path: Path,
    shape: tuple[int, int, int],
    voxel_nm: float,
    provenance: dict[str, str],
    dtype: np.dtype = FLOAT32,
    series: bool = False,
) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that appends sections to a new MRC file; the header is written at the end."""
    statistics = Statistics()
    with path.open("xb") as file:
        file.write(bytes(HEADER_BYTES))

        def append(sections: np.ndarray) -> None:
            statistics.add(sections)
            file.write(np.ascontiguousarray(sections, dtype.newbyteorder("<")).data)

        yield append
        file.seek(0)
        file.write(_new_header(shape, voxel_nm, provenance, dtype, statistics, series).tobytes())


def _new_header(
    shape: tuple[int, int, int],
    voxel_nm: float,
    provenance: dict[str, str],
    dtype: np.dtype,
    statistics: Statistics,
    series: bool,
) -> np.ndarray:
    header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
    header["nz"], header["ny"], header["nx"] = shape
    cell = (1, *shape[1:]) if series else shape
    header["mz"], header["my"], header["mx"] = cell
    header["mode"] = MODES[dtype]
    header["cella"] = tuple(10 * voxel_nm * n for n in cell[::-1])
    header["cellb"] = 90, 90, 90
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["ispg"] = IMAGES if series else VOLUME
    header["dmin"], header["dmax"], header["dmean"] = statistics.min, statistics.max, statistics.mean
    header["rms"] = statistics.std
    header["map"], header["machst"], header["nversion"] = b"MAP ", LITTLE_ENDIAN_STAMP, VERSION
    lines = [line for key, value in provenance.items() for line in wrap(f"{key}: {value}", LABEL_LENGTH)]
    labels = [line.encode("ascii", "replace") for line in lines[:N_LABELS]]
    header["nlabl"] = len(labels)
    header["label"][: len(labels)] = labels
    return header


def _read_header(path: Path) -> tuple[np.void, str, np.dtype]:
    """Return the header, the byte order, "<" or ">", in which it fits the file, and the type of the values.

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
            return header, order, dtype
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
    """Return the type of the stored values; None if the mode is unknown, complex or packed."""
    stamp, flags = np.frombuffer(header["extra2"].tobytes(), dtype=order + "i4", offset=40, count=2)
    unsigned_bytes = stamp == IMOD_STAMP and not flags & 1
    types = {0: "u1" if unsigned_bytes else "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
    mode = int(header["mode"])
    return np.dtype(order + types[mode]) if mode in types else None


def _notes_on_axes(header: np.void) -> tuple[str, ...]:
    """Say that columns, rows and sections are not along x, y and z, if the header says so."""
    axes = [int(header[name]) for name in ("mapc", "mapr", "maps")]
    if sorted(axes) != [1, 2, 3] or axes == [1, 2, 3]:  # the first is no order at all, as in old files
        return ()
    along = ", ".join("xyz"[n - 1] for n in axes)
    return (
        f"the header says that columns, rows and sections are along {along}; they are read as stored: exchange "
        "the axes first if the sections are not images",
    )


def _axis_deg(header: np.void) -> float | None:
    """Return the direction of the tilt axis that SerialEM left in a label, None if the images were rotated since."""
    labels = [bytes(label).decode("latin-1") for label in header["label"]]
    for n, label in enumerate(labels):
        if (angle := axis_deg_in(label)) is not None:
            turned = any(TURNING.search(later) for later in labels[n + 1 :])
            return None if turned else angle
    return None


def _read_extended(header: np.void, extended: bytes, order: str) -> tuple[np.ndarray | None, float | None]:
    """Return (tilts in degrees, pixel in nm) from the microscope's own records, None where there are none."""
    kind = bytes(header["exttyp"])
    pair = np.frombuffer(header["extra2"].tobytes(), dtype=order + "i2", offset=16, count=2)
    size, flags = (int(n) for n in pair)  # so SerialEM; to FEI numbers of ints and floats
    if kind in (b"FEI1", b"FEI2"):
        block = get_ext_header_dtype(kind, order)
    elif (size, flags) == OLD_FEI:
        block = np.dtype(
            {
                "names": [TILT, PIXEL],
                "formats": 2 * [order + "f4"],
                "offsets": OLD_FEI_OFFSETS,
                "itemsize": 4 * flags,
            }
        )
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
    return blocks[TILT].astype(np.float64), in_nm(blocks[PIXEL][0], "m")
