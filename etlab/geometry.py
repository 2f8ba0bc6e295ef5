"""Tilt geometry: the conventions that every other module shares.

A volume is ``x[z, y, x]`` and a tilt series is ``y[tilt, row, x]``. **The tilt axis is the last array axis**, so slices
perpendicular to it, ``volume[:, :, i]`` and ``images[:, :, i]``, belong together and are independent of all others.

At tilt θ a voxel at (y, z), measured from the volume's centre ``(n - 1) / 2``, lands on detector row

    s = y·cos θ + z·sin θ,

measured from the detector's centre ``(n_rows - 1) / 2``. At θ = 0 a projection is ``volume.sum(axis=0)``.
Angles are in degrees, lengths in nanometres, line integrals in units of one voxel.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

SOFT_EDGE = 2.0  # degrees over which the mask of what was measured falls from one to zero


@dataclass(frozen=True, eq=False)
class TiltGeometry:
    """Where each voxel lands in each image of an ideal, single-axis tilt series.

    Parameters
    ----------
    tilts_deg
        Tilt angles in degrees, (n_tilts,), in the order of the images. They need not be uniform or sorted.
    volume_shape
        Shape ``(nz, ny, nx)`` of the volume in voxels; nx runs along the tilt axis.
    n_rows
        Number of detector rows, perpendicular to the tilt axis. Default: ny.
    voxel_nm
        Edge of a voxel, equal to the detector's pixel, in nm.

    Raises
    ------
    ValueError
        If an argument is empty, not finite or not of the shape named above.
    TypeError
        If a size is not a number.

    Notes
    -----
    At tilt θ a voxel at (y, z), measured from the volume's centre, lands on detector row::

        s = y·cos θ + z·sin θ,

    measured from the detector's centre. The tilt axis is the last axis of volumes and images.

    Examples
    --------
    >>> geometry = TiltGeometry([-60, 0, 60], (32, 64, 16), voxel_nm=0.5)
    >>> geometry.n_tilts, geometry.images_shape
    (3, (3, 64, 16))
    """

    tilts_deg: np.ndarray
    volume_shape: tuple[int, int, int]
    n_rows: int = 0
    voxel_nm: float = field(default=1.0, kw_only=True)

    def __post_init__(self):
        try:
            tilts = np.array(self.tilts_deg, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"tilts_deg: got {self.tilts_deg!r}, expected angles in degrees") from error
        if tilts.ndim != 1 or tilts.size == 0:
            raise ValueError(
                f"tilts_deg: got shape {tilts.shape}, expected a non-empty list of angles in degrees"
            )
        if not np.isfinite(tilts).all():
            raise ValueError(
                f"tilts_deg: got {np.sum(~np.isfinite(tilts))} NaN or infinite angles, expected finite ones"
            )
        tilts.flags.writeable = False
        shape = tuple(int(n) for n in self.volume_shape)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(
                f"volume_shape: got {self.volume_shape}, expected three positive sizes (nz, ny, nx)"
            )
        n_rows = int(self.n_rows) or shape[1]
        if n_rows < 1:
            raise ValueError(f"n_rows: got {self.n_rows}, expected a positive number of detector rows")
        if not (np.isfinite(self.voxel_nm) and self.voxel_nm > 0):
            raise ValueError(f"voxel_nm: got {self.voxel_nm}, expected a positive length in nm")
        object.__setattr__(self, "tilts_deg", tilts)
        object.__setattr__(self, "volume_shape", shape)
        object.__setattr__(self, "n_rows", n_rows)

    @property
    def n_tilts(self) -> int:
        """Number of images."""
        return self.tilts_deg.size

    @property
    def images_shape(self) -> tuple[int, int, int]:
        """Shape ``(n_tilts, n_rows, nx)`` of the tilt series."""
        return (self.n_tilts, self.n_rows, self.volume_shape[2])


def linear_tilts(max_tilt: float, step: float) -> np.ndarray:
    """Return the tilts −max_tilt … +max_tilt in equal steps.

    Parameters
    ----------
    max_tilt
        Highest tilt in degrees, at least 0.
    step
        Angle between neighbouring tilts in degrees; it has to divide the range.

    Returns
    -------
    np.ndarray
        Tilts in degrees, ascending, (2·max_tilt / step + 1,).

    Raises
    ------
    ValueError
        If the step is not positive or does not divide the range.

    Examples
    --------
    >>> linear_tilts(60, 30).tolist()
    [-60.0, -30.0, 0.0, 30.0, 60.0]
    """
    if not (step > 0 and max_tilt >= 0):
        raise ValueError(
            f"linear_tilts: got max_tilt={max_tilt}, step={step}; expected max_tilt ≥ 0 and step > 0"
        )
    n_steps = round(2 * max_tilt / step)
    if abs(n_steps * step - 2 * max_tilt) > 1e-6 * step:
        raise ValueError(f"step: {step}° does not divide the range −{max_tilt}° … {max_tilt}°")
    return np.linspace(-max_tilt, max_tilt, n_steps + 1)


def saxton_tilts(max_tilt: float, first_step: float) -> np.ndarray:
    """Return tilts whose step shrinks as cos θ, so that a flat specimen is sampled evenly in Fourier space.

    Parameters
    ----------
    max_tilt
        Limit of the tilts in degrees, below 90.
    first_step
        Step from 0° to the first tilt in degrees.

    Returns
    -------
    np.ndarray
        Tilts in degrees, ascending and symmetric about 0, (n_tilts,).

    Raises
    ------
    ValueError
        Unless 0 < first_step ≤ max_tilt < 90.

    Notes
    -----
    From 0° outwards::

        sin(θ_{n+1} − θ_n) = sin(first_step)·cos θ_n,

    mirrored to negative angles, up to ±max_tilt.

    References
    ----------
    Saxton, Baumeister & Hahn, Ultramicroscopy 13 (1984) 57.

    Examples
    --------
    >>> saxton_tilts(60, 20).round(1).tolist()
    [-54.2, -38.7, -20.0, 0.0, 20.0, 38.7, 54.2]
    """
    if not 0 < first_step <= max_tilt < 90:
        raise ValueError(
            f"saxton_tilts: got max_tilt={max_tilt}, first_step={first_step}; expected 0 < first_step ≤ max_tilt < 90"
        )
    tilts = [0.0]
    while True:
        step = np.rad2deg(np.arcsin(np.sin(np.deg2rad(first_step)) * np.cos(np.deg2rad(tilts[-1]))))
        if tilts[-1] + step > max_tilt + 1e-9:
            break
        tilts.append(tilts[-1] + step)
    positive = np.array(tilts[1:])
    return np.concatenate([-positive[::-1], [0.0], positive])


def dose_symmetric_order(tilts_deg: np.ndarray) -> np.ndarray:
    """Return the order 0, +1, −1, −2, +2, +3 … of acquisition, which spends the first dose on the low tilts.

    Parameters
    ----------
    tilts_deg
        Tilts in degrees, (n_tilts,), in any order.

    Returns
    -------
    np.ndarray
        Indices into ``tilts_deg`` in the order of acquisition, (n_tilts,).

    References
    ----------
    Hagen, Wan & Briggs, J. Struct. Biol. 197 (2017) 191.

    Examples
    --------
    >>> tilts = linear_tilts(6, 2)
    >>> tilts[dose_symmetric_order(tilts)].tolist()
    [0.0, 2.0, -2.0, -4.0, 4.0, 6.0, -6.0]
    """
    ascending = np.argsort(tilts_deg)
    start = int(np.argmin(np.abs(np.asarray(tilts_deg)[ascending])))
    up, down = list(ascending[start + 1 :]), list(ascending[:start][::-1])
    order, sides = [ascending[start]], [up, down]
    first = True
    while up or down:  # one image on the first side, then pairs on alternating sides
        for _ in range(1 if first else 2):
            if sides[0]:
                order.append(sides[0].pop(0))
        first = False
        sides.reverse()
    return np.array(order)


def bidirectional_order(tilts_deg: np.ndarray, start_deg: float = 0.0) -> np.ndarray:
    """Return the order of two sweeps: from ``start_deg`` up to the highest tilt, then down to the lowest.

    Parameters
    ----------
    tilts_deg
        Tilts in degrees, (n_tilts,), in any order.
    start_deg
        Tilt at which both sweeps begin, in degrees.

    Returns
    -------
    np.ndarray
        Indices into ``tilts_deg`` in the order of acquisition, (n_tilts,).

    Examples
    --------
    >>> tilts = linear_tilts(4, 2)
    >>> tilts[bidirectional_order(tilts)].tolist()
    [0.0, 2.0, 4.0, -2.0, -4.0]
    """
    tilts = np.asarray(tilts_deg)
    ascending = np.argsort(tilts)
    up = ascending[tilts[ascending] >= start_deg]
    down = ascending[tilts[ascending] < start_deg][::-1]
    return np.concatenate([up, down])


def measured_frequencies(shape: tuple[int, int], tilts_deg: np.ndarray) -> np.ndarray:
    """Return 1 where the Fourier transform of a slice was measured and 0 in the missing wedge, with a soft edge.

    Parameters
    ----------
    shape
        Shape (nz, ny) of the slice.
    tilts_deg
        Tilts in degrees, (n_tilts,), in any order.

    Returns
    -------
    np.ndarray
        Mask for ``scipy.fft.rfft2`` of a slice, float32, (nz, ny // 2 + 1).

    Notes
    -----
    A tilt θ measures the line (f_z, f_y) = f·(sin θ, cos θ), and θ + 180° the same line. Between the outermost tilts
    all frequencies count as measured. A remainder of the half-turn that is no wider than the usual step is not a
    wedge.

    Examples
    --------
    >>> mask = measured_frequencies((64, 64), linear_tilts(60, 2))
    >>> mask.shape
    (64, 33)
    >>> float(mask[0, 10]), float(mask[10, 0])  # along f_y, and along f_z in the middle of the wedge
    (1.0, 0.0)
    """
    tilts = np.sort(np.asarray(tilts_deg, np.float64))
    wedge = 180 - np.ptp(tilts)
    if len(tilts) > 1 and wedge <= np.median(np.diff(tilts)) * (1 + 1e-6):
        return np.ones((shape[0], shape[1] // 2 + 1), np.float32)
    f_z, f_y = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    beyond_first = (np.rad2deg(np.arctan2(f_z, f_y)) - tilts[0]) % 180
    before_last = np.ptp(tilts) - beyond_first
    inside = np.where(
        before_last >= 0, np.minimum(beyond_first, before_last), np.maximum(before_last, beyond_first - 180)
    )
    mask = np.clip(0.5 + inside / SOFT_EDGE, 0, 1)
    mask[0, 0] = 1  # the mean is in every image
    return mask.astype(np.float32)
