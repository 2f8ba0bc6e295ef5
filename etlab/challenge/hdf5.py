"""HDF5 files from strangers: plain arrays of numbers are read, everything else is refused.

An HDF5 file can point elsewhere (external and soft links, virtual and external data sets), claim any size, compress
zeros a thousandfold and name filters that load code. Nothing of that is needed here, so what is read must be a hard
link to a data set of floats, stored in the file itself, of the shape that the reader already knows.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

PLAIN_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
MAX_CHUNK_BYTES = 64 << 20  # a chunk is unpacked as a whole, however little of it is asked for
MAX_TEXT = 200  # characters of an attribute


class FileError(ValueError):
    """A file holds something else than it should. The message says what, in a line."""


@contextmanager
def opened(path: str | os.PathLike) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; whatever goes wrong while it is read becomes a `FileError` naming the file.

    Raises FileNotFoundError if there is none.
    """
    path = Path(path)
    if not stat.S_ISREG(path.stat().st_mode):
        raise FileError(f"{path.name}: expected a file, got something else")
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except FileError as error:
        raise FileError(f"{path.name}: {error}") from error
    except MemoryError:
        raise
    except (
        Exception
    ) as error:  # h5py has no class of its own for a damaged file: KeyError, RuntimeError, OSError …
        reason = (str(error).splitlines() or [""])[0][:MAX_TEXT]
        raise FileError(
            f"{path.name}: expected an HDF5 file that is whole, got one with {reason!r}"
        ) from error


@contextmanager
def new_file(path: Path, *, private: bool = False) -> Iterator[h5py.File]:
    """A new HDF5 file under a temporary name, which gets its own once it is whole; ``private``: for its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644))
    try:
        with h5py.File(partial, "w") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def group(parent: h5py.Group, name: str) -> h5py.Group:
    """The group ``name`` of ``parent``. Raises FileError if there is none or only a link to one."""
    found = _linked(parent, name)
    if not isinstance(found, h5py.Group):
        raise FileError(f"{_where(parent, name)}: expected a group, got a data set or type")
    return found


def array(parent: h5py.Group, name: str, shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    """The data set ``name``: finite floats of exactly this shape, as ``dtype``.

    Raises FileError for links, virtual or external storage, other filters than gzip, shuffle and Fletcher's checksum,
    chunks above 64 MiB, types other than floating point of at most 64 bits, other shapes, NaN and infinity.
    """
    data, where = _plain(parent, name), _where(parent, name)
    if data.shape != tuple(shape):
        raise FileError(f"{where}: got shape {data.shape}, expected {tuple(shape)}")
    with np.errstate(over="ignore"):
        values = np.asarray(data[()], dtype=dtype)
    if not np.isfinite(values).all():
        raise FileError(f"{where}: got NaN, infinite or huge values, expected finite ones")
    return values


def length(parent: h5py.Group, name: str, at_most: int) -> int:
    """Length of the one-dimensional data set ``name``. Raises FileError as `array` does, and if it is 0 or too long."""
    shape = _plain(parent, name).shape
    if len(shape) != 1 or not 0 < shape[0] <= at_most:
        raise FileError(
            f"{_where(parent, name)}: got shape {shape}, expected a list of 1 to {at_most} numbers"
        )
    return shape[0]


def number(parent: h5py.Group, name: str) -> float:
    """The scalar data set ``name``. Raises FileError as `array` does."""
    data, where = _plain(parent, name), _where(parent, name)
    if data.shape != ():
        raise FileError(f"{where}: got shape {data.shape}, expected a single number")
    value = float(data[()])
    if not np.isfinite(value):
        raise FileError(f"{where}: got {value}, expected a finite number")
    return value


def text(holder: h5py.Group, name: str) -> str:
    """The attribute ``name`` as a short text. Raises FileError if there is none or it is something else."""
    if name not in holder.attrs:
        raise FileError(f"attribute {name!r}: expected a text, found none")
    attribute = h5py.h5a.open(holder.id, name.encode())
    if attribute.get_space().get_simple_extent_ndims() or attribute.get_type().get_class() != h5py.h5t.STRING:
        raise FileError(f"attribute {name!r}: expected a text, got numbers or a list")
    return str(holder.attrs[name])[:MAX_TEXT]


def _plain(parent, name):
    data, where = _linked(parent, name), _where(parent, name)
    if not isinstance(data, h5py.Dataset):
        raise FileError(f"{where}: expected a data set, got a group or type")
    kind = data.id.get_type().get_class()
    if kind != h5py.h5t.FLOAT or data.dtype.kind != "f" or data.dtype.itemsize > 8:
        raise FileError(f"{where}: expected floats of 16, 32 or 64 bits, got another type")
    if data.is_virtual or data.external:
        raise FileError(f"{where}: expected data in the file itself, got data that lie in another")
    if data.shape is None or data.size > 2**40:
        raise FileError(f"{where}: got shape {data.shape}, expected a plain array")
    if data.chunks and np.prod(data.chunks, dtype=float) * data.dtype.itemsize > MAX_CHUNK_BYTES:
        raise FileError(f"{where}: got chunks of {data.chunks}, expected at most 64 MiB each")
    properties = data.id.get_create_plist()
    filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    if not filters <= PLAIN_FILTERS:
        raise FileError(f"{where}: expected no filter but gzip, shuffle and fletcher32")
    return data


def _linked(parent, name):
    link = parent.get(name, getlink=True) if name in parent else None
    if link is None:
        raise FileError(f"{_where(parent, name)}: missing")
    if not isinstance(link, h5py.HardLink):
        raise FileError(f"{_where(parent, name)}: expected the thing itself, got a link to it")
    return parent[name]


def _where(parent, name):
    return f"{parent.name.strip('/')}/{name}".lstrip("/")
