"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike, *, host: str = "") -> Iterator[Path]:
    """Yield a temporary name beside ``path``; what is made there takes its place if the block succeeds.

    If the block raises an error, or is interrupted, the temporary file is removed and ``path`` stays as it was.

    Parameters
    ----------
    path
        The file to be made or replaced, in a folder that exists; or a folder, such as a Zarr store.
    host
        The name of this machine, where several machines may write the same file at once.

    Yields
    ------
    Path
        Where to write; in the same folder, so that the renaming is atomic. Its name begins with a dot, holds the
        process number and ends in ``.part``. No such file exists yet, so opening it with "x" follows no link.

    Examples
    --------
    >>> import tempfile
    >>> out = Path(tempfile.mkdtemp(), "numbers.txt")
    >>> with replacing(out) as part:
    ...     _ = part.write_text("1 2 3")
    >>> out.read_text()
    '1 2 3'
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{host}{os.getpid()}.part")
    old = part.with_suffix(".old")
    _remove(part)  # of a process of this number that was killed
    try:
        yield part
        if part.is_dir() and path.exists():  # a folder cannot be replaced in one step
            path.replace(old)
        part.replace(path)
    finally:
        _remove(part)
        if path.exists():
            _remove(old)


def _remove(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
