"""One scene of the blind challenge: the problem that a solver is given, its truth, and both as groups of HDF5 files.

Every quantity is a data set with its unit as attribute ``units``; large ones are compressed (gzip) with checksums
(Fletcher-32). A group holds

    y             (n_tilts, n_rows, nx) float32, line integrals
    geometry/     tilts (n_tilts,), volume_shape (3,), n_rows, voxel: the nominal geometry
    optics/       kappa, d0
    fiducials/    count, separation, border, radius, edge, contrast, as declared
    spec_ranges/  tilt_angle, tilt_axis, defocus_gradient, each (2,): lowest and highest
    truth/        where it is not secret: x_true (nz, ny, nx) float32, tilt_angle, tilt_axis, defocus_gradient
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from math import prod
from typing import Any

import h5py
import numpy as np

from etlab.course.scenes import hdf5
from etlab.course.scenes.hdf5 import FileError
from etlab.forward import MAX_GRADIENT, Mismatch, Optics, TiltSeriesModel
from etlab.geometry import TiltGeometry
from etlab.phantoms import Fiducials
from etlab.rotation import MAX_ANGLE

SPEC = tuple(field.name for field in fields(Mismatch))
MAX_TILTS, MAX_VOXELS = 1000, 2**27  # of a file that claims more, nothing is read
MIN_EDGE, MAX_EDGE = (
    7,
    2048,
)  # voxels or pixels: the window of SSIM; beyond, blurring a column takes gigabytes
LIMITS = {  # of what a file may declare, beyond which it makes no sense or costs a solver its memory
    "tilt_angle": (-MAX_ANGLE, MAX_ANGLE),
    "tilt_axis": (-MAX_ANGLE, MAX_ANGLE),
    "defocus_gradient": (-MAX_GRADIENT, MAX_GRADIENT),
    "voxel": (1e-3, 1e6),
    "kappa": (0, 10),
    "d0": (-1000, 1000),
    "count": (0, 1000),
    "separation": (0, MAX_EDGE),
    "border": (0, MAX_EDGE),
    "radius": (0.1, 100),
    "edge": (0.01, 100),
    "contrast": (0, 1000),
}
COMPRESSED_FROM = 1000  # values

UNITS = {
    "y": "line integral in voxels",
    "x_true": "density, gold = 1",
    "x_hat": "density, gold = 1",
    "tilts": "deg",
    "tilt_angle": "deg",
    "tilt_axis": "deg",
    "defocus_gradient": "nm/um",
    "voxel": "nm",
    "volume_shape": "voxels (nz, ny, nx)",
    "n_rows": "pixels",
    "kappa": "pixels per nm/um",
    "d0": "nm/um",
    "count": "1",
    "separation": "voxels",
    "border": "voxels",
    "radius": "voxels",
    "edge": "voxels",
    "contrast": "density, gold = 1",
}


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything that a solver of the blind challenge is given.

    Parameters
    ----------
    y
        Noisy line integrals in voxels, (n_tilts, n_rows, nx), float32.
    geometry
        Nominal tilts and shapes.
    optics
        Nominal optics.
    fiducials
        Declaration of the gold beads on the film.
    spec_ranges
        For "tilt_angle" [deg], "tilt_axis" [deg] and "defocus_gradient" [nm/µm] the (min, max) between which the
        truth lies.

    Notes
    -----
    The images are y = H x + noise. H has a mismatch that the solver is not told.

    Examples
    --------
    >>> from etlab.course.scenes.draw import draw
    >>> problem, truth = draw("public", 0, "small")
    >>> problem.y.shape, problem.geometry.volume_shape
    ((71, 80, 64), (32, 64, 64))
    >>> problem.spec_ranges["tilt_angle"]
    (-0.5, 1.0)
    >>> H = problem.operator(truth.mismatch)  # of the microscope that made the images
    """

    y: np.ndarray
    geometry: TiltGeometry
    optics: Optics
    fiducials: Fiducials
    spec_ranges: dict[str, tuple[float, float]]

    def operator(self, mismatch: Mismatch | None = None) -> TiltSeriesModel:
        """Return H with a mismatch, by default the nominal operator."""
        return TiltSeriesModel(self.geometry, mismatch=mismatch, optics=self.optics)


@dataclass(frozen=True, eq=False)
class Truth:
    """What the images of a scene were made from.

    Parameters
    ----------
    x_true
        The specimen, (nz, ny, nx), float32, gold having density 1.
    mismatch
        How the microscope differed from its log file.

    Examples
    --------
    >>> from etlab.forward import Mismatch
    >>> truth = Truth(np.zeros((16, 32, 32), np.float32), Mismatch(tilt_angle=0.4))
    >>> truth.mismatch.tilt_angle
    0.4
    """

    x_true: np.ndarray
    mismatch: Mismatch


def write_problem(scene: h5py.Group, problem: Problem) -> None:
    """Write a problem into an empty group."""
    write(scene, "y", problem.y)
    geometry = problem.geometry
    numbers = {"tilts": geometry.tilts_deg, "volume_shape": geometry.volume_shape, "n_rows": geometry.n_rows}
    parts = {
        "geometry": numbers | {"voxel": geometry.voxel_nm},
        "optics": asdict(problem.optics),
        "fiducials": asdict(problem.fiducials),
        "spec_ranges": problem.spec_ranges,
    }
    for part, content in parts.items():
        made = scene.create_group(part)
        for name, value in content.items():
            write(made, name, np.asarray(value, np.float64))


def write_truth(scene: h5py.Group, truth: Truth) -> None:
    """Write the truth into the group of its problem, or that of the same name in a sealed file."""
    made = scene.create_group("truth")
    write(made, "x_true", truth.x_true)
    for name in SPEC:
        write(made, name, np.float64(getattr(truth.mismatch, name)))


def write(parent: h5py.Group, name: str, values: np.ndarray | np.float64) -> None:
    """Write a quantity with its unit, which `UNITS` knows."""
    packed = (
        dict(compression="gzip", shuffle=True, fletcher32=True) if np.size(values) > COMPRESSED_FROM else {}
    )
    parent.create_dataset(name, data=values, **packed).attrs["units"] = UNITS[name]


def read_problem(scene: h5py.Group) -> Problem:
    """Read the problem in a group. Raises FileError if something is missing, damaged, too large or absurd."""
    geometry = _read_geometry(hdf5.group(scene, "geometry"))
    optics, beads, ranges = (hdf5.group(scene, part) for part in ("optics", "fiducials", "spec_ranges"))
    declared: dict[str, Any] = {field.name: _limited(beads, field.name) for field in fields(Fiducials)}
    y = hdf5.array(scene, "y", geometry.images_shape)
    if not np.linalg.norm(y) > 0:
        raise FileError("y: got images of nothing, expected some signal")
    return Problem(
        y,
        geometry,
        Optics(**{field.name: _limited(optics, field.name) for field in fields(Optics)}),
        Fiducials(**declared | {"count": _whole("count", declared["count"])}),
        {name: _read_range(ranges, name) for name in SPEC},
    )


def _read_geometry(part: h5py.Group) -> TiltGeometry:
    """Read a geometry. Raises FileError for an absurd one."""
    nz, ny, nx = (_whole("volume_shape", n) for n in hdf5.array(part, "volume_shape", (3,)))
    shape = nz, ny, nx
    n_rows, n_tilts = _whole("n_rows", hdf5.number(part, "n_rows")), hdf5.length(part, "tilts", MAX_TILTS)
    if not all(MIN_EDGE <= n <= MAX_EDGE for n in (*shape, n_rows)) or prod(shape) > MAX_VOXELS:
        raise FileError(
            f"geometry: got {shape} voxels, {n_rows} rows, expected edges of {MIN_EDGE} to {MAX_EDGE} "
            f"and at most {MAX_VOXELS} voxels"
        )
    if n_tilts * n_rows * shape[2] > MAX_VOXELS:
        raise FileError(
            f"geometry: got {n_tilts} tilts of {n_rows} by {shape[2]} pixels, too many to be read"
        )
    tilts = hdf5.array(part, "tilts", (n_tilts,), np.float64)
    if np.abs(tilts).max() > 180:
        raise FileError(f"tilts: got one of {np.abs(tilts).max():g}°, expected angles within ±180°")
    return TiltGeometry(tilts, shape, n_rows=n_rows, voxel_nm=_limited(part, "voxel"))


def _read_range(part: h5py.Group, name: str) -> tuple[float, float]:
    """Read the range of a number of the spec. Raises FileError for an absurd one."""
    low, high = (float(end) for end in hdf5.array(part, name, (2,), np.float64))
    least, most = LIMITS[name]
    if not least <= low < high <= most:
        raise FileError(f"{name}: got {low:g} to {high:g}, expected a range within {least:g} to {most:g}")
    return low, high


def _limited(part: h5py.Group, name: str) -> float:
    """Read a number. Raises FileError if it leaves its `LIMITS`."""
    value, (least, most) = hdf5.number(part, name), LIMITS[name]
    if not least <= value <= most:
        raise FileError(f"{name}: got {value:g}, expected {least:g} to {most:g}")
    return value


def _whole(name: str, value: float) -> int:
    """Return a whole number. Raises FileError if it is not one."""
    if value != int(value):
        raise FileError(f"{name}: got {value:g}, expected a whole number")
    return int(value)


def read_truth(scene: h5py.Group, shape: tuple[int, int, int]) -> Truth:
    """Read the truth in a group, its volume of ``shape``. Raises FileError if it is missing or damaged."""
    truth = hdf5.group(scene, "truth")
    mismatch = Mismatch(**{name: _limited(truth, name) for name in SPEC})
    return Truth(hdf5.array(truth, "x_true", shape), mismatch)


def digest(problem: Problem) -> str:
    """Return the SHA-256 of all that a problem holds, as it is after reading."""
    geometry = problem.geometry
    numbers = [*geometry.tilts_deg, *geometry.volume_shape, geometry.n_rows, geometry.voxel_nm]
    for part in (asdict(problem.optics), asdict(problem.fiducials), problem.spec_ranges):
        numbers += np.ravel(list(part.values())).tolist()
    whole = hashlib.sha256(np.asarray(numbers, np.float64).tobytes())
    whole.update(np.ascontiguousarray(problem.y, np.float32).tobytes())
    return whole.hexdigest()
