"""HDF5 files from strangers: plain arrays of numbers are read, everything else is refused.

An HDF5 file can point elsewhere (external and soft links, virtual and external data sets), claim any size, compress
zeros a thousandfold and name filters that load code. Nothing of that is needed here, so what is read must be a hard
link to a data set of floats, stored in the file itself, of the shape that the reader already knows.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from math import prod
from pathlib import Path

import h5py
import numpy as np
from h5py import h5s, h5t, h5z
from numpy.typing import DTypeLike

from etlab.atomic import replacing

FLOATS = (h5t.IEEE_F16LE, h5t.IEEE_F16BE, h5t.IEEE_F32LE, h5t.IEEE_F32BE, h5t.IEEE_F64LE, h5t.IEEE_F64BE)
GZIP, SHUFFLE, CHECKSUM = h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32
PLAIN_FILTERS: tuple[list[int], ...] = (
    [],
    [SHUFFLE],
    [GZIP],
    [SHUFFLE, GZIP],
)  # and a checksum somewhere among them
MAX_FILE_BYTES = 16 << 30  # the library's own tables, which it reads whole, can be as large as the file
MAX_PADDING = (
    8  # times the values: chunks at the border reach beyond it, along each of three axes up to twice
)
MAX_CHUNK_BYTES = 16 << 20  # a chunk is unpacked as a whole, however little of it is asked for
MAX_CHUNKS = 20_000  # each takes its time
LARGEST = 1e9  # nothing real is near it, and its square is far from where float32 ends
MAX_TEXT = 200  # bytes of an attribute


class FileError(ValueError):
    """Raised for a file that holds something else than it should; the message says what, in a line.

    Parameters
    ----------
    *args
        The message, as for `ValueError`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp(), "tier.h5")
    >>> _ = path.write_text("no HDF5")
    >>> with opened(path) as file:  # doctest: +ELLIPSIS
    ...     pass
    Traceback (most recent call last):
    etlab.course.scenes.hdf5.FileError: tier.h5: damaged, or not what was expected: ...
    """


@contextmanager
def opened(path: str | os.PathLike, *, max_bytes: int = MAX_FILE_BYTES) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; whatever goes wrong while it is read becomes a `FileError` naming the file.

    Raises FileNotFoundError if there is none, FileError for a file larger than ``max_bytes``.
    """
    path = Path(path)
    if not stat.S_ISREG(path.stat().st_mode):
        raise FileError(f"{path.name}: expected a file, got something else")
    if path.stat().st_size > max_bytes:
        raise FileError(f"{path.name}: got more than {max_bytes >> 30} GiB")
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except FileError as error:
        raise FileError(f"{path.name}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file: KeyError, RuntimeError, OSError and others
        reason = (str(error).splitlines() or [""])[0][:MAX_TEXT]
        raise FileError(f"{path.name}: damaged, or not what was expected: {reason!r}") from error


@contextmanager
def new_file(path: Path, *, private: bool = False) -> Iterator[h5py.File]:
    """Open a new HDF5 file, which gets its name once it is whole; with ``private`` only its owner can read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644))
        with h5py.File(part, "w") as file:
            yield file


def group(parent: h5py.Group, name: str) -> h5py.Group:
    """Return the group ``name`` of ``parent``. Raises FileError if there is none or only a link to one."""
    found = _linked(parent, name)
    if not isinstance(found, h5py.Group):
        raise FileError(f"{_where(parent, name)}: expected a group, got a data set or type")
    return found


def array(parent: h5py.Group, name: str, shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    """Return the data set ``name``: finite floats of exactly this shape, as ``dtype``.

    Raises FileError for links, virtual or external storage, other filters than gzip, shuffle and Fletcher's checksum
    (each once), chunks above 16 MiB or more than 20 000, types other than IEEE's of 16, 32 and 64 bits, other shapes,
    values of which some were never written, NaN, infinity, and numbers beyond ±10⁹.
    """
    data, where = _plain(parent, name), _where(parent, name)
    if data.shape != tuple(shape):
        raise FileError(f"{where}: got shape {data.shape}, expected {tuple(shape)}")
    values = _read(data, where, dtype)
    if not (np.abs(values) <= LARGEST).all():  # false for NaN too
        raise FileError(f"{where}: got NaN, infinite or huge values, expected finite ones up to {LARGEST:g}")
    return values


def length(parent: h5py.Group, name: str, at_most: int) -> int:
    """Return the length of a one-dimensional data set. Raises FileError as `array` does, and if it is 0 or too long."""
    shape = _plain(parent, name).shape
    if len(shape) != 1 or not 0 < shape[0] <= at_most:
        raise FileError(
            f"{_where(parent, name)}: got shape {shape}, expected a list of 1 to {at_most} numbers"
        )
    return shape[0]


def number(parent: h5py.Group, name: str) -> float:
    """Return the scalar data set ``name``. Raises FileError as `array` does."""
    return float(array(parent, name, (), np.float64))


def text(holder: h5py.Group, name: str) -> str:
    """Return the attribute ``name`` as a short text of fixed length.

    Texts of variable length lie in a heap, and a damaged heap keeps the library (2.0.0) busy for ever, so they are not
    read. Raises FileError if there is none or it is something else.
    """
    if name not in holder.attrs:
        raise FileError(f"attribute {name!r}: expected a text, found none")
    attribute = h5py.h5a.open(holder.id, name.encode())
    kind, single = attribute.get_type(), attribute.get_space().get_simple_extent_type() == h5s.SCALAR
    if not single or kind.get_class() != h5t.STRING:
        raise FileError(f"attribute {name!r}: expected a text, got numbers or a list")
    if kind.is_variable_str():
        raise FileError(
            f"attribute {name!r}: got a text of variable length, expected a fixed one (numpy.bytes_)"
        )
    if kind.get_size() > MAX_TEXT:
        raise FileError(f"attribute {name!r}: got {kind.get_size()} bytes, expected at most {MAX_TEXT}")
    return bytes(holder.attrs[name]).decode("utf-8", "replace")


def label(holder: h5py.Group, texts: Mapping[str, str]) -> None:
    """Write texts as attributes that `text` reads."""
    for name, value in texts.items():
        holder.attrs[name] = np.bytes_(value.encode())


def _plain(parent: h5py.Group, name: str) -> h5py.Dataset:
    """Return a data set of floats in the file itself. Raises FileError for anything else."""
    data, where = _linked(parent, name), _where(parent, name)
    if not isinstance(data, h5py.Dataset):
        raise FileError(f"{where}: expected a data set, got a group or type")
    kind = data.id.get_type()
    if kind.get_class() != h5t.FLOAT or not any(kind.equal(one) for one in FLOATS):
        raise FileError(f"{where}: expected floats of 16, 32 or 64 bits, got another type")
    if data.is_virtual or data.external:
        raise FileError(f"{where}: expected data in the file itself, got data that lie in another")
    if data.shape is None:
        raise FileError(f"{where}: expected numbers, got an empty data set")
    return data


def _read(data: h5py.Dataset, where: str, dtype: DTypeLike) -> np.ndarray:
    """Read all values. Chunks are unpacked here: HDF5 2.0.0 crashes on short ones and fills the memory with others."""
    if not data.chunks:
        if data.id.get_storage_size() != data.nbytes:
            raise FileError(f"{where}: some of its values were never written")
        values = np.zeros(data.shape, dtype)
        data.read_direct(values)
        return values
    steps = [range(0, n, step) for n, step in zip(data.shape, data.chunks, strict=True)]
    n_bytes = prod(data.chunks) * data.dtype.itemsize
    if n_bytes > MAX_CHUNK_BYTES or prod(map(len, steps)) > MAX_CHUNKS:
        raise FileError(f"{where}: got chunks of {data.chunks}, expected up to {MAX_CHUNKS} of up to 16 MiB")
    if prod(map(len, steps)) * n_bytes > MAX_PADDING * data.nbytes + MAX_CHUNK_BYTES:
        raise FileError(
            f"{where}: got chunks of {data.chunks}, which unpack to much more than {data.shape} values"
        )
    filters, values = _checked_filters(data, where), np.zeros(data.shape, dtype)
    for corner in product(*steps):
        chunk = np.frombuffer(_unpacked(data, corner, filters, n_bytes, where), data.dtype).reshape(
            data.chunks
        )
        target = values[tuple(slice(i, i + n) for i, n in zip(corner, data.chunks, strict=True))]
        with np.errstate(over="ignore", invalid="ignore"):
            target[...] = chunk[tuple(slice(n) for n in target.shape)]
    return values


def _checked_filters(data: h5py.Dataset, where: str) -> list[int]:
    """Return the filters in the order in which they were applied."""
    properties = data.id.get_create_plist()
    filters = [properties.get_filter(i) for i in range(properties.get_nfilters())]
    codes = [code for code, *_ in filters]
    if [one for one in codes if one != CHECKSUM] not in PLAIN_FILTERS or codes.count(CHECKSUM) > 1:
        raise FileError(f"{where}: expected no filter but shuffle, then gzip, and fletcher32, each once")
    if any(code == SHUFFLE and tuple(values) != (data.dtype.itemsize,) for code, _, values, _ in filters):
        raise FileError(f"{where}: expected bytes to be shuffled within each value")
    return codes


def _unpacked(
    data: h5py.Dataset, corner: tuple[int, ...], filters: list[int], n_bytes: int, where: str
) -> bytes:
    """Return the bytes of a chunk, ``n_bytes`` of them."""
    stored = data.id.get_chunk_info_by_coord(corner)
    if stored.byte_offset is None:
        raise FileError(f"{where}: some of its values were never written")
    if stored.size > 2 * n_bytes + 1024:
        raise FileError(f"{where}: got a chunk of {stored.size} bytes, expected {n_bytes} or fewer")
    skipped, content = data.id.read_direct_chunk(corner)
    for i, code in reversed(list(enumerate(filters))):
        if skipped >> i & 1:
            continue
        if code == GZIP:
            content = zlib.decompressobj().decompress(content, n_bytes + 5)  # a checksum may be inside
        elif code == SHUFFLE and len(content) == n_bytes:
            content = np.frombuffer(content, np.uint8).reshape(data.dtype.itemsize, -1).T.tobytes()
        elif code == CHECKSUM:
            content, found = content[:-4], content[-4:]
            if fletcher32(content) != found:
                raise FileError(f"{where}: damaged, its checksum is wrong")
    if len(content) != n_bytes:
        raise FileError(f"{where}: got a chunk that does not unpack to its {n_bytes} bytes")
    return content


def fletcher32(content: bytes) -> bytes:
    """Return Fletcher's checksum as HDF5 stores it: sums, modulo 2¹⁶ − 1, of words of 16 bits, the high byte first."""
    words = np.frombuffer(content + b"\0" * (len(content) % 2), ">u2").astype(np.uint64)
    weights = np.arange(len(words), 0, -1, dtype=np.uint64) % 65535
    first, second = int(words.sum()), int((words * weights).sum())
    # by HDF5 a sum that is a multiple of 2¹⁶ − 1 is written as that number, unless it is zero
    first, second = (total and (total - 1) % 65535 + 1 for total in (first, second))
    return (second << 16 | first).to_bytes(4, "little")


def _linked(parent: h5py.Group, name: str) -> h5py.HLObject:
    link = parent.get(name, getlink=True) if name in parent else None
    if link is None:
        raise FileError(f"{_where(parent, name)}: missing")
    if not isinstance(link, h5py.HardLink):
        raise FileError(f"{_where(parent, name)}: expected the thing itself, got a link to it")
    return parent[name]


def _where(parent: h5py.Group, name: str) -> str:
    return f"{parent.name.strip('/')}/{name}".lstrip("/")
