"""A prepared series as a file of its own: columns are read, images are written, and neither needs all of them."""

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
    """Write a series (n_tilts, n_rows, nx) as float32 sections, one for each tilt; formats and errors as of a volume.

    ``finish()`` is called when the file is written but does not bear its name yet.
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
