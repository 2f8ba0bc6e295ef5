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
        Tilt angles in degrees, in the order of the images. Need not be uniform or sorted.
    volume_shape
        ``(nz, ny, nx)`` in voxels. nx runs along the tilt axis.
    n_rows
        Detector rows (perpendicular to the tilt axis). Default: ny.
    voxel_nm
        Edge of a voxel, equal to the detector's pixel, in nm.

    Raises
    ------
    ValueError, TypeError
        If an argument is empty, not finite or not of the shape named above.
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
    """Tilts −max_tilt … +max_tilt in equal steps, all in degrees.

    Raises ValueError if the step is not positive or does not divide the range.
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
    """Tilts whose step shrinks as cos θ, so that a flat specimen is sampled evenly in Fourier space [deg].

    From 0° outwards sin(θ_{n+1} − θ_n) = sin(first_step)·cos θ_n, mirrored to negative angles, up to ±max_tilt.
    Source: Saxton, Baumeister & Hahn, Ultramicroscopy 13 (1984) 57.

    Raises ValueError unless 0 < first_step ≤ max_tilt < 90.
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
    """Indices of ``tilts_deg`` in the order 0, +1, −1, −2, +2, +3 … that spends the first dose on the low tilts.

    Source: Hagen, Wan & Briggs, J. Struct. Biol. 197 (2017) 191.
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
    """Indices of ``tilts_deg`` from ``start_deg`` up to the highest, then from ``start_deg`` down to the lowest."""
    tilts = np.asarray(tilts_deg)
    ascending = np.argsort(tilts)
    up = ascending[tilts[ascending] >= start_deg]
    down = ascending[tilts[ascending] < start_deg][::-1]
    return np.concatenate([up, down])


def measured_frequencies(shape: tuple[int, int], tilts_deg: np.ndarray) -> np.ndarray:
    """Return 1 where ``scipy.fft.rfft2`` of a slice (nz, ny) was measured, 0 in the missing wedge, with a soft edge.

    A tilt θ measures the line (f_z, f_y) = f·(sin θ, cos θ), and θ + 180° the same; between the outermost tilts all
    counts as measured. A rest of the half-turn that is no wider than the usual step is no wedge.
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
