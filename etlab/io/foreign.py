"""Name formats that are not supported, and say how to convert them."""

from __future__ import annotations

import string
from pathlib import Path

START = 512  # bytes that are looked at
CONVERT = "save it as MRC or TIFF, or with HyperSpy as .hspy"
PICTURE = "join the images of a series in one file, e.g. with ImageJ as a TIFF stack"
PACKED = "unpack it first"
SIGNATURES = (  # (offset, bytes, what they say, what to do)
    (0, b"II\x97\x01", "a TIA file (.ser) of FEI", CONVERT),
    (0, b"JK\x00\x02", "a TIA file (.emi) of FEI, which describes the .ser files beside it", CONVERT),
    (0, b"\x93NUMPY", "a NumPy array (.npy)", "write it with etlab.io.write_mrc"),
    (0, b"MATLAB 5.0", "a MATLAB file of version 5", "save it from MATLAB with -v7.3, which is HDF5"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG file", PICTURE),
    (0, b"\xff\xd8\xff", "a JPEG file", PICTURE),
    (0, b"GIF8", "a GIF file", PICTURE),
    (0, b"BM", "a BMP file", PICTURE),
    (0, b"PK\x03\x04", "a ZIP archive", PACKED),
    (0, b"\x1f\x8b\x08", "packed with gzip", PACKED),
    (0, b"BZh", "packed with bzip2", PACKED),
    (0, b"\xfd7zXZ", "packed with xz", PACKED),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", PACKED),
    (0, b"Rar!", "a RAR archive", PACKED),
    (257, b"ustar", "a tar archive", PACKED),
    (0, b"SIMPLE  =", "a FITS file", CONVERT),
    (0, b"NRRD", "an NRRD file", CONVERT),
    (128, b"DICM", "a DICOM file", CONVERT),
    (0, b"\x0e\x03\x13\x01", "an HDF4 file", CONVERT),
    (0, b"%PDF", "a PDF file", "use the images themselves"),
)
TEXT = frozenset(string.printable.encode())


def foreign(path: Path) -> str | None:
    """Say what a file that is neither MRC, TIFF nor HDF5 is, and what to do; None if the format is unknown."""
    size = path.stat().st_size
    if size == 0:
        return "is empty; copy it again"
    with path.open("rb") as file:
        start = file.read(START)
    for offset, mark, name, remedy in SIGNATURES:
        if start.startswith(mark, offset) and (mark != b"BM" or int.from_bytes(start[2:6], "little") == size):
            return f"is {name}, which is not supported; {remedy}"
    if _is_digital_micrograph(start, size):
        return f"is a file of Gatan's DigitalMicrograph (.dm{start[3]}), which is not supported; {CONVERT}"
    if _is_text(start):
        return "is a text, expected a file of images; pass angles with tilts= (--tilts)"
    return None


def _is_digital_micrograph(start: bytes, size: int) -> bool:
    """Return whether version, length and byte order are those of a .dm3 or .dm4, big-endian numbers."""
    version = int.from_bytes(start[:4], "big")
    if version not in (3, 4):
        return False
    wide = 4 if version == 3 else 8
    length, order = (
        int.from_bytes(part, "big") for part in (start[4 : 4 + wide], start[4 + wide : 8 + wide])
    )
    return order in (0, 1) and 0 <= size - length <= 64


def _is_text(start: bytes) -> bool:
    if start.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return True
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # not just a letter that is cut in two
            return False
    return all(byte in TEXT or byte > 127 for byte in start)


def folder(path: Path) -> str:
    """Say what a folder contains, and what to do."""
    names = [one.name for one in sorted(path.iterdir()) if one.is_file()]
    endings = [Path(name).suffix.lower() for name in names]
    usual = max(set(endings), key=endings.count, default="")
    holds = f"of {len(names)} files, most of them {usual}" if usual else "without images"
    return (
        f"is a folder {holds}; expected one file with all images, or TIFF files in a folder. Join the images in the "
        "order of their angles, e.g. with ImageJ (File, Import, Image Sequence; save as TIFF) or IMOD's newstack, and "
        "write the angles into a .tlt file of the same name, one angle per line"
    )
