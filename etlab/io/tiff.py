"""TIFF stacks: one image per page, or all images behind one page, as ImageJ writes stacks above 4 GB.

Pages may be compressed; SerialEM and many cameras use LZW. Compressions that record an image size of their own, such as
JPEG 2000, are refused by name: only what decompresses to the declared size is read.

The size of a pixel is taken from ImageJ's or OME's metadata; the resolution that any TIFF has is mostly that
of a screen. A TIFF image begins with its *top* row: the same series in MRC begins with the bottom row, and
its volume is the mirror image of this one.

Sources: TIFF 6.0 (Adobe, 1992); https://imagej.net/ij/developer/source/ij/io/TiffEncoder.java.html;
https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from etlab.io.stack import ALL, MAX_COMPRESSION, RawStack, Stack, in_nm

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PACKED = tifffile.COMPRESSION
# what is read, and by how much each can shrink at most; MAX_COMPRESSION for all others
LEAST: dict[int, int] = {
    PACKED.LZW: 1400,
    PACKED.LZMA: 10_000,
    PACKED.ZSTD: 40_000,
    PACKED.ZSTD_DEPRECATED: 40_000,
}
READ = {PACKED.NONE, PACKED.ADOBE_DEFLATE, PACKED.DEFLATE, PACKED.PACKBITS, PACKED.JPEG, *LEAST}
WHITE = tifffile.PHOTOMETRIC.MINISWHITE
INVERTED = (
    "the file calls 0 white (MinIsWhite); values are read as stored: if bright and dark are exchanged, save it "
    "with black as 0",
)
EER = (65000, 65001, 65002)  # of Falcon cameras


@dataclass(frozen=True, eq=False)
class PagedStack(Stack):
    """Sections that are compressed or tiled, one per page: each is decompressed as a whole."""

    def blocks(self, rows: slice = ALL, columns: slice = ALL) -> Iterator[np.ndarray]:  # noqa: D102
        with _opened(self.path) as file:
            for section in range(self.shape[0]):
                yield file.pages[section].asarray()[None, rows, columns]


def is_tiff(path: Path) -> bool:
    """Return whether the file begins as a TIFF does."""
    with path.open("rb") as file:
        return file.read(4) in MAGIC


def open_tiff(path: Path) -> Stack:
    """Open a TIFF stack of grey images of one size and type.

    Raises ValueError if the file is damaged, shorter than it says, in colour, or not a stack of equal images.
    """
    with _opened(path) as file:
        pages = _pages(file, path)
        first, (n_rows, n_columns) = pages[0], pages[0].shape
        dtype = np.dtype(first.dtype).newbyteorder(file.byteorder)
        pixel_nm, notes = _pixel_nm(file), INVERTED if first.photometric == WHITE else ()
        size, length = path.stat().st_size, n_rows * n_columns * dtype.itemsize
        if all(page.is_contiguous and page.compression == 1 and page.fillorder == 1 for page in pages):
            starts: Sequence[int] = [page.dataoffsets[0] for page in pages]
            n_behind = _n_behind(file, pages)
            _check_size(path, max(starts) + length * n_behind, size)
            if n_behind > 1:
                starts = range(starts[0], starts[0] + length * n_behind, length)
            shape = len(starts), n_rows, n_columns
            return RawStack(path, shape, dtype, pixel_nm, None, starts, notes=notes)
        for page in pages:
            ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
            _check_size(path, max(ends), size)
            if length > LEAST.get(page.compression, MAX_COMPRESSION) * sum(page.databytecounts):
                raise ValueError(f"{path}: page {page.index} declares {length} bytes, more than it can hold")
        shape, stored = (len(pages), n_rows, n_columns), np.dtype(first.dtype)
        return PagedStack(path, shape, stored, pixel_nm, None, notes=notes)


def _check_packing(path: Path, kind: int) -> None:
    """Raise ValueError for a compression that is not supported, and name it."""
    if kind in EER:
        raise ValueError(
            f"{path}: an EER file, the electrons of a single image one by one; expected a tilt series: sum each image "
            "first, e.g. with RELION or IMOD, and join the sums in one file"
        )
    if kind not in READ or kind not in tifffile.TIFF.DECOMPRESSORS:
        name = getattr(kind, "name", f"kind {kind}")
        raise ValueError(
            f"{path}: its pages are packed as {name}, which is not supported; save it uncompressed, or with LZW"
        )


def _n_behind(file: tifffile.TiffFile, pages: list[tifffile.TiffPage]) -> int:
    """Return how many images follow the start of a page: more than one if ImageJ wrote a single page."""
    n_images = (file.imagej_metadata or {}).get("images", 1) if len(pages) == 1 else 1
    return max(1, int(n_images))


def _check_size(path: Path, announced: int, size: int) -> None:
    if announced > size:
        raise ValueError(f"{path}: truncated TIFF file: it announces {announced} bytes, but it has {size}")


def _pages(file: tifffile.TiffFile, path: Path) -> list[tifffile.TiffPage]:
    """Return all pages, which must have one size and type; a page that refers back to an earlier one is an error."""
    pages: list[tifffile.TiffPage] = []
    seen = set()
    for page in (one.aspage() for one in file.pages):
        if page.offset in seen:
            raise ValueError(f"{path}: damaged TIFF file: page {len(pages)} is page {page.index} again")
        seen.add(page.offset)
        pages.append(page)
        _check_packing(path, page.compression)
        if page.dtype is None or page.dtype.kind not in "iuf" or len(page.shape) != 2 or 0 in page.shape:
            raise ValueError(
                f"{path}: page {page.index} has shape {page.shape} and type {page.dtype}, expected rows and "
                "columns of real numbers, one grey value a pixel"
            )
        if (page.shape, page.dtype) != (pages[0].shape, pages[0].dtype):
            raise ValueError(
                f"{path}: page {page.index} has shape {page.shape} and type {page.dtype}, but page 0 has "
                f"{pages[0].shape} and {pages[0].dtype}; expected images of one size and type"
            )
    if not pages:
        raise ValueError(f"{path}: no images in this TIFF file")
    file.filehandle.seek(file.pages.next_page_offset or 0)
    n_bytes = file.tiff.offsetsize
    if file.filehandle.read(n_bytes) != bytes(n_bytes):  # zero means that no page follows
        raise ValueError(
            f"{path}: truncated TIFF file: it declares another page after {len(pages)}, which is missing"
        )
    return pages


def _pixel_nm(file: tifffile.TiffFile) -> float | None:
    """Return the width of a pixel in nm from ImageJ's or OME's metadata, None if there is none."""
    tags = file.pages.first.tags
    if file.is_imagej and "XResolution" in tags:
        pixels, lengths = tags["XResolution"].value
        unit = str((file.imagej_metadata or {}).get("unit")).replace("\\u00B5", "µ")  # so Java writes it
        return in_nm(lengths / pixels, unit) if pixels else None
    if file.is_ome:
        try:
            found = ElementTree.fromstring(file.ome_metadata or "").find(".//{*}Pixels")
        except ElementTree.ParseError:
            return None
        if found is not None:
            return in_nm(found.get("PhysicalSizeX"), found.get("PhysicalSizeXUnit", "µm"))
    return None


@contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF; any error of the decoder becomes a ValueError that names the file."""
    try:
        with tifffile.TiffFile(path) as file:
            yield file
    except Exception as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(f"{path}: damaged TIFF file, or one packed in an unknown way: {error}") from error
