"""The projector as an explicit sparse matrix: slow, obvious, and the judge of the fast one.

One slice perpendicular to the tilt axis has nz·ny unknowns and n_tilts·n_rows measurements. The matrix holds Joseph's
linear interpolation in its footprint form: with m = max(|cos θ|, |sin θ|),

    a(s; y, z) = max(0, 1 − |s − (y·cos θ + z·sin θ)| / m) / m,

which is what one gets by stepping along the ray through the rows (or columns) of voxels and interpolating linearly
between the two nearest.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse

from etlab.geometry import TiltGeometry


def sparse_matrix(geometry: TiltGeometry) -> scipy.sparse.csr_array:
    """Return the projector of one slice as an explicit sparse matrix: slow, obvious, and the judge of the fast one.

    Parameters
    ----------
    geometry
        Tilts and shapes; nx does not matter.

    Returns
    -------
    scipy.sparse.csr_array
        Float64, of shape (n_tilts·n_rows, nz·ny): ``A @ volume[:, :, i].ravel()`` projects slice i.

    Notes
    -----
    Joseph's linear interpolation in its footprint form: with m the larger of the absolute cos θ and sin θ::

        a(s; y, z) = max(0, 1 − |s − (y·cos θ + z·sin θ)| / m) / m.

    References
    ----------
    Joseph, IEEE Trans. Med. Imaging 1 (1982) 192.

    Examples
    --------
    >>> from etlab.geometry import TiltGeometry
    >>> sparse_matrix(TiltGeometry([0.0, 90.0], (2, 3, 1), n_rows=3)).toarray()[:3]
    array([[1., 0., 0., 1., 0., 0.],
           [0., 1., 0., 0., 1., 0.],
           [0., 0., 1., 0., 0., 1.]])
    """
    nz, ny, _ = geometry.volume_shape
    n_rows = geometry.n_rows
    z, y = np.meshgrid(np.arange(nz) - (nz - 1) / 2, np.arange(ny) - (ny - 1) / 2, indexing="ij")
    voxel = np.arange(nz * ny)
    rows, columns, weights = [], [], []
    for tilt, theta in enumerate(np.deg2rad(geometry.tilts_deg)):
        half_width = max(abs(np.cos(theta)), abs(np.sin(theta)))
        position = (y * np.cos(theta) + z * np.sin(theta) + (n_rows - 1) / 2).ravel()
        lower = np.floor(position).astype(int)
        for row in (lower, lower + 1):  # a footprint of half-width ≤ 1 meets at most these two
            weight = (1 - np.abs(row - position) / half_width) / half_width
            hit = (weight > 0) & (row >= 0) & (row < n_rows)
            rows.append(tilt * n_rows + row[hit])
            columns.append(voxel[hit])
            weights.append(weight[hit])
    shape = (geometry.n_tilts * n_rows, nz * ny)
    entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    return scipy.sparse.csr_array(entries, shape=shape)
