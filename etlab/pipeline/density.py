"""Estimate the density of the specimen: a network's unit of density, and the unit of TV's weight."""

from __future__ import annotations

import numpy as np
from skimage.filters import threshold_otsu

from etlab.geometry import TiltGeometry
from etlab.pipeline.prepare import Prepared, sample
from etlab.projector import Projector
from etlab.solvers import sirt

DENSEST = 99.9  # per cent of the specimen that is less dense than the unit of density
ITERATIONS = 100  # of SIRT: after fewer it is still smooth


def density_of(volume: np.ndarray) -> float:
    """Return nearly the highest density in the specimen, which Otsu's threshold separates from vacuum.

    Raises ValueError for a volume with nothing in it.
    """
    if not volume.max() > 0:
        raise ValueError("images: got nothing above the background, expected a specimen")
    return float(np.percentile(volume[volume >= threshold_otsu(volume)], DENSEST))


def estimate_density(images: Prepared, shape: tuple[int, int]) -> float:
    """Estimate the density of the specimen from some slices, reconstructed by SIRT.

    Parameters
    ----------
    images
        The series.
    shape
        (nz, ny) of the volume in voxels.

    Returns
    -------
    float
        Nearly the highest density, in intensity per voxel, which networks take for 1.

    Raises
    ------
    ValueError
        If there is nothing above the background.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from etlab import linear_tilts, open_series, write_mrc
    >>> tilts, x = linear_tilts(60, 5), np.zeros((16, 16, 4), np.float32)
    >>> x[5:11, 5:11] = 2
    >>> path = Path(tempfile.mkdtemp(), "series.mrc")
    >>> write_mrc(path, Projector(TiltGeometry(tilts, x.shape))(x), voxel_nm=2)
    >>> density = estimate_density(Prepared(open_series(path, tilts=tilts)), (16, 16))
    >>> bool(1.8 < density < 2.5)
    True
    """
    some = sample(images)
    geometry = TiltGeometry(images.tilts_deg, (*shape, some.shape[2]), some.shape[1])
    return density_of(sirt(Projector(geometry), some, n_iter=ITERATIONS))
