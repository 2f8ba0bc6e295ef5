"""Write a prepared series to a file: columns are read and images written without holding all of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from etlab.io import volume_writer
from etlab.pipeline.assemble import assemble
from etlab.pipeline.folder import Facts, SlabFolder, remove_unfinished
from etlab.pipeline.plan import Slab
from etlab.pipeline.prepare import BLOCK, Prepared

NAME = "prepared"  # of the folder, where others have a fingerprint


def write_prepared(
    images: Prepared,
    out: str | os.PathLike,
    *,
    pixel_nm: float,
    provenance: dict[str, str],
    overwrite: bool = False,
    finish: Callable[[], object] | None = None,
) -> None:
    """Write a series as it is after preparation: float32, one section for each tilt.

    Parameters
    ----------
    images
        The series, which is read a few columns at a time.
    out
        The file; formats as of `etlab.io.volume_writer`.
    pixel_nm
        Edge of a pixel in nm.
    provenance
        How the series came to be, "what: how".
    overwrite
        Replace an existing file.
    finish
        Called when the file is written, before the final rename.

    Raises
    ------
    FileExistsError, ValueError, OSError
        As `etlab.io.volume_writer` does.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from etlab import open_series, read_volume, write_mrc
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_mrc(folder / "raw.mrc", np.full((3, 8, 4), 7, np.int16), voxel_nm=2)
    >>> raw = open_series(folder / "raw.mrc", tilts=np.array([-60, 0, 60]))
    >>> write_prepared(Prepared(raw, background=5), folder / "out.mrc", pixel_nm=2, provenance={})
    >>> float(read_volume(folder / "out.mrc")[0].mean())
    2.0
    """
    n_tilts, n_rows, nx = images.shape
    # of one name whatever the run, so that each removes what one that was killed has left
    folder = SlabFolder(Path(f"{Path(out).absolute()}.slabs", NAME), NAME, (n_tilts, n_rows))
    slabs = [Slab(x, min(x + BLOCK, nx)) for x in range(0, nx, BLOCK)]
    with folder.held():
        remove_unfinished(Path(out))
        try:
            for slab in slabs:
                folder.save(slab, images.read(slab.x0, slab.x1), Facts())
            with volume_writer(
                out, images.shape, pixel_nm, provenance, overwrite=overwrite, series=True
            ) as writer:
                assemble(folder, slabs, writer.write)
                if finish:
                    finish()
        finally:
            folder.remove()
