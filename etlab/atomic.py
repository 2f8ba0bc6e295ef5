"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield the name of a temporary file beside ``path`` that takes its place if the block succeeds.

    If the block raises an error, or is interrupted, the temporary file is removed and ``path`` stays as it was.

    Parameters
    ----------
    path
        The file to be made or replaced, in a folder that exists.

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
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
