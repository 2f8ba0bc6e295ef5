"""Objects whose projections are known in closed form: Gaussians, ellipsoids and the Shepp–Logan slice.

At tilt θ a point (z, y) lands on row s = y·cos θ + z·sin θ, so a line integral depends on s and x only:

* a Gaussian of width σ projects to a Gaussian of width σ, times √(2π)·σ;
* an ellipsoid of semi-axes (a_z, a_y, a_x), turned by β about the tilt axis, projects to
  2·(a_z·a_y/ρ)·√(1 − (s − s₀)²/ρ² − (x − x₀)²/a_x²),  ρ² = a_y²·cos²(θ − β) + a_z²·sin²(θ − β).

Lengths and line integrals are in voxels; images are sampled at the centres of the detector's pixels, volumes of
Gaussians at the centres of voxels. Ellipsoids fill the part of each voxel that they cover.
"""

from __future__ import annotations

import numpy as np

from etlab.geometry import TiltGeometry

# Density, semi-axes along y and z, centre y and z (half-widths of the field), rotation of each ellipse. The contrasts
# are those of Toft, The Radon Transform (PhD thesis, DTU, 1996); Shepp & Logan, IEEE Trans. Nucl. Sci. 21 (1974) 21
# gave the shapes.
SHEPP_LOGAN = np.array(
    [
        [1.0, 0.69, 0.92, 0.0, 0.0, 0.0],
        [-0.8, 0.6624, 0.874, 0.0, -0.0184, 0.0],
        [-0.2, 0.11, 0.31, 0.22, 0.0, -18.0],
        [-0.2, 0.16, 0.41, -0.22, 0.0, 18.0],
        [0.1, 0.21, 0.25, 0.0, 0.35, 0.0],
        [0.1, 0.046, 0.046, 0.0, 0.1, 0.0],
        [0.1, 0.046, 0.046, 0.0, -0.1, 0.0],
        [0.1, 0.046, 0.023, -0.08, -0.605, 0.0],
        [0.1, 0.023, 0.023, 0.0, -0.606, 0.0],
        [0.1, 0.023, 0.046, 0.06, -0.605, 0.0],
    ]
)


def gaussians(
    geometry: TiltGeometry, centres: np.ndarray, sigmas: np.ndarray, densities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return a sum of round Gaussians: its volume and its exact images.

    Parameters
    ----------
    geometry
        Tilts and shapes.
    centres
        (z, y, x) in voxels from the volume's centre, (n, 3).
    sigmas
        Standard deviations in voxels, (n,).
    densities
        At the centres, (n,).

    Returns
    -------
    tuple of np.ndarray
        Volume (nz, ny, nx) and images (n_tilts, n_rows, nx), float32.

    Raises
    ------
    ValueError
        If the arguments do not match or a width is not positive.

    Notes
    -----
    A Gaussian of width σ projects to a Gaussian of width σ, times √(2π)·σ.

    Examples
    --------
    >>> geometry = TiltGeometry([0.0, 60.0], (16, 16, 16))
    >>> volume, images = gaussians(geometry, [(0, 3, 0)], [1.5], [1.0])
    >>> volume.shape, images.argmax(axis=1)[:, 8].tolist()  # rows 7.5 + 3·cos θ, rounded
    ((16, 16, 16), [10, 9])
    """
    centres, sigmas, densities = _columns(centres, densities, sigmas=sigmas)
    z, y, x = _voxels(geometry)
    s, theta, _ = _pixels(geometry)
    volume = np.zeros(geometry.volume_shape)
    images = np.zeros(geometry.images_shape)
    for (cz, cy, cx), (sigma,), density in zip(centres, sigmas, densities, strict=True):
        s0 = cy * np.cos(theta) + cz * np.sin(theta)
        along_x = density * np.exp(-((x - cx) ** 2) / (2 * sigma**2))
        volume += np.exp(-((z - cz) ** 2 + (y - cy) ** 2) / (2 * sigma**2)) * along_x
        images += np.sqrt(2 * np.pi) * sigma * np.exp(-((s - s0) ** 2) / (2 * sigma**2)) * along_x
    return volume.astype(np.float32), images.astype(np.float32)


def ellipsoids(
    geometry: TiltGeometry,
    centres: np.ndarray,
    semi_axes: np.ndarray,
    densities: np.ndarray,
    *,
    turned_deg: np.ndarray | float = 0.0,
    samples: int = 4,
) -> tuple[np.ndarray, np.ndarray]:
    """Return a sum of solid ellipsoids: its volume and its exact images.

    Parameters
    ----------
    geometry
        Tilts and shapes.
    centres
        (z, y, x) in voxels from the volume's centre, (n, 3).
    semi_axes
        (a_z, a_y, a_x) in voxels, (n, 3). An a_x of infinity makes a cylinder along the tilt axis.
    densities
        (n,).
    turned_deg
        Angle in degrees by which each is turned about the tilt axis, from y towards z; one for all, or (n,).
    samples
        Points along each edge of a voxel over whose cube the density is averaged.

    Returns
    -------
    tuple of np.ndarray
        Volume (nz, ny, nx) and images (n_tilts, n_rows, nx), float32.

    Raises
    ------
    ValueError
        If the arguments do not match or a semi-axis is not positive.

    Notes
    -----
    Turned by β, an ellipsoid of density 1 projects to::

        2·(a_z·a_y/ρ)·√(1 − (s − s₀)²/ρ² − (x − x₀)²/a_x²),     ρ² = a_y²·cos²(θ − β) + a_z²·sin²(θ − β).

    Examples
    --------
    >>> geometry = TiltGeometry([0.0, 90.0], (17, 17, 17))
    >>> volume, images = ellipsoids(geometry, [(0, 0, 0)], [(2, 4, 6)], [1.0])
    >>> images[:, 8, 8].tolist()  # through the middle, along z and along y
    [4.0, 8.0]
    """
    centres, semi_axes, densities = _columns(centres, densities, semi_axes=semi_axes)
    turns = np.deg2rad(np.broadcast_to(turned_deg, len(centres)))
    s, theta, column = _pixels(geometry)
    images = np.zeros(geometry.images_shape)
    volume = np.zeros(geometry.volume_shape)
    offsets = (np.arange(samples) + 0.5) / samples - 0.5
    for (cz, cy, cx), (az, ay, ax), density, turn in zip(centres, semi_axes, densities, turns, strict=True):
        rho2 = (ay * np.cos(theta - turn)) ** 2 + (az * np.sin(theta - turn)) ** 2
        s0 = cy * np.cos(theta) + cz * np.sin(theta)
        inside = 1 - (s - s0) ** 2 / rho2 - ((column - cx) / ax) ** 2
        images += 2 * density * az * ay / np.sqrt(rho2) * np.sqrt(np.maximum(inside, 0))
        for dz, dy, dx in np.stack(np.meshgrid(offsets, offsets, offsets), axis=-1).reshape(-1, 3):
            z, y, x = _voxels(geometry)
            z, y, x = z + dz - cz, y + dy - cy, x + dx - cx
            along_y = (y * np.cos(turn) + z * np.sin(turn)) / ay
            along_z = (z * np.cos(turn) - y * np.sin(turn)) / az
            volume += density / samples**3 * (along_y**2 + along_z**2 + (x / ax) ** 2 <= 1)
    return volume.astype(np.float32), images.astype(np.float32)


def shepp_logan(geometry: TiltGeometry) -> tuple[np.ndarray, np.ndarray]:
    """Return the Shepp–Logan head with Toft's contrast, the same in every slice: its volume and its exact images.

    Parameters
    ----------
    geometry
        Tilts and shapes. The head fills the smaller of nz and ny.

    Returns
    -------
    tuple of np.ndarray
        Volume (nz, ny, nx) with densities in [0, 1] and images (n_tilts, n_rows, nx), float32. ``volume[:, :, i]`` is
        the slice, ``images[:, :, i]`` its sinogram.

    References
    ----------
    Shepp & Logan, IEEE Trans. Nucl. Sci. 21 (1974) 21; contrasts: Toft, The Radon Transform (PhD thesis, DTU, 1996).

    Examples
    --------
    >>> volume, images = shepp_logan(TiltGeometry([0.0, 90.0], (32, 32, 1)))
    >>> volume.shape, images.shape
    ((32, 32, 1), (2, 32, 1))
    """
    nz, ny, nx = geometry.volume_shape
    half = min(nz, ny) / 2
    density, ay, az, cy, cz, turned_deg = SHEPP_LOGAN.T
    lone = TiltGeometry(geometry.tilts_deg, (nz, ny, 1), geometry.n_rows)
    centres = np.stack([cz * half, cy * half, 0 * cz], axis=1)
    semi_axes = np.stack([az * half, ay * half, np.full_like(az, np.inf)], axis=1)
    volume, images = ellipsoids(lone, centres, semi_axes, density, turned_deg=turned_deg)
    return np.repeat(np.clip(volume, 0, 1), nx, axis=2), np.repeat(images, nx, axis=2)


def _voxels(geometry):
    """Return coordinates z, y, x of the voxels' centres, as open axes."""
    return np.ix_(*(np.arange(n) - (n - 1) / 2 for n in geometry.volume_shape))


def _pixels(geometry):
    """Return rows s, tilts θ in radians and columns x of the images, as open axes."""
    s, x = (np.arange(n) - (n - 1) / 2 for n in geometry.images_shape[1:])
    return s[None, :, None], np.deg2rad(geometry.tilts_deg)[:, None, None], x[None, None, :]


def _columns(centres, densities, **sizes):
    """Return the parameters as arrays of n rows, or raise an error that says which does not fit."""
    centres, densities = np.atleast_2d(np.asarray(centres, float)), np.ravel(np.asarray(densities, float))
    if centres.ndim != 2 or centres.shape[1] != 3:
        raise ValueError(f"centres: got shape {centres.shape}, expected (n, 3), zyx in voxels")
    if len(densities) != len(centres):
        raise ValueError(f"densities: got {len(densities)}, expected {len(centres)}, one for each centre")
    ((name, size),) = sizes.items()
    size = np.asarray(size, float).reshape(len(np.atleast_1d(size)), -1)
    if len(size) != len(centres):
        raise ValueError(f"{name}: got {len(size)}, expected {len(centres)}, one for each centre")
    if not (size > 0).all():
        raise ValueError(f"{name}: got {size.min():g}, expected positive lengths in voxels")
    return centres, size, densities
