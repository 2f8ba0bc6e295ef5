"""Read your own tilt series and volumes: MRC and HDF5 files, and the files that hold tilt angles.

Axis order. A series in a file is (section, row, column), one image per section. With the tilt axis along the
rows of an image (``axis="x"``, horizontal) that is already our ``images[tilt, row, x]``. IMOD and SerialEM
keep the tilt axis vertical: ``axis="y"`` exchanges rows and columns on reading. A volume reconstructed from
such a series has the file's x as its y and the reverse; ``np.swapaxes(volume, 1, 2)`` puts it back into the
file's frame.

Row 0 is the bottom of an image in MRC files, as in our figures. From projections alone a volume and its
mirror image cannot be told apart: the sense in which a microscope counts its tilt angle has to be known from
elsewhere.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from etlab.mrc import read_mrc, write_mrc

__all__ = ["Series", "read_series", "read_tilts", "read_volume", "write_mrc"]

ANGLE_FILES = (".tlt", ".rawtlt", ".mdoc")  # beside the images; refined angles (.tlt) come first
NM_PER_UNIT = {"pm": 1e-3, "Å": 0.1, "A": 0.1, "angstrom": 0.1, "nm": 1.0, "µm": 1e3, "um": 1e3, "m": 1e9}
MAX_COMPRESSION = (
    1100  # zlib cannot shrink by more than 1032; a shape, on the other hand, costs nothing to claim
)


@dataclass(frozen=True, eq=False)
class Series:
    """A tilt series as read: ``images`` float32 (n_tilts, n_rows, nx) in the file's own units of intensity.

    ``tilts_deg`` (n_tilts,) comes from the source named in ``tilts_from``. ``pixel_nm`` is None where the
    file does not say. The background is not subtracted.
    """

    images: np.ndarray
    tilts_deg: np.ndarray
    pixel_nm: float | None
    tilts_from: str


def read_series(
    path: str | os.PathLike,
    *,
    tilts: str | os.PathLike | np.ndarray | None = None,
    axis: str = "x",
    dataset: str | None = None,
) -> Series:
    """Read a tilt series from an MRC or HDF5 file.

    Parameters
    ----------
    path
        MRC (.mrc, .st, .ali, …) or HDF5 (.h5, .hspy, …); told apart by content, not by name.
    tilts
        The angles in degrees, or a file of them. Default: ``.tlt``, ``.rawtlt`` or ``.mdoc`` of the same name
        beside the images, in this order; if there is none, the images' own file.
    axis
        Direction of the tilt axis in the file's images: "x" horizontal, "y" vertical.
    dataset
        Name of the HDF5 data set. Default: the only one with three axes.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is foreign, truncated or holds NaN, if there are no angles or not one per image, or if the
        HDF5 file has no such data set.
    """
    if axis not in ("x", "y"):
        raise ValueError(f'axis: got {axis!r}, expected "x" (tilt axis along rows) or "y" (along columns)')
    path = Path(path)
    values, pixel_nm, recorded = _read(path, dataset)
    images = _as_float32(values, path)
    tilts_deg, tilts_from = _tilts_of(path, tilts, recorded)
    if not np.isfinite(tilts_deg).all():
        raise ValueError(f"tilts: {tilts_from} gives {tilts_deg}, expected finite angles")
    if tilts_deg.shape != (len(images),):
        raise ValueError(
            f"tilts: {tilts_from} gives {tilts_deg.size} angles (shape {tilts_deg.shape}), but {path} holds "
            f"{len(images)} images; expected one angle per image"
        )
    if axis == "y":
        images = np.ascontiguousarray(images.swapaxes(1, 2))
    return Series(images, tilts_deg, pixel_nm, tilts_from)


def read_volume(path: str | os.PathLike, *, dataset: str | None = None) -> tuple[np.ndarray, float | None]:
    """Read (volume float32 ``[z, y, x]``, voxel in nm or None) from an MRC or HDF5 file, sections along z.

    Raises FileNotFoundError and ValueError as `read_series` does.
    """
    path = Path(path)
    values, voxel_nm, _ = _read(path, dataset)
    return _as_float32(values, path), voxel_nm


def read_tilts(path: str | os.PathLike) -> np.ndarray:
    """Read the angle in degrees of each image from .tlt or .rawtlt (one a line) or SerialEM's .mdoc.

    Raises ValueError, naming the line, for anything that is not an angle, and if there is none at all.
    """
    path = Path(path)
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".mdoc":
        angles = _mdoc_angles(text, path)
    else:
        angles = [
            _angle(line, f"{path}, line {number}")
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip()
        ]
    if not angles:
        raise ValueError(f"{path}: no tilt angles in it, expected one for each image")
    return np.array(angles)


def _mdoc_angles(text: str, path: Path) -> list[float]:
    """Angles of the [ZValue = n] paragraphs, sorted by n: a file need not list its sections in order."""
    angles = {}
    _, *parts = re.split(r"^\s*\[ZValue\s*=\s*(\d+)\s*\]", text, flags=re.MULTILINE)
    for section, paragraph in zip(map(int, parts[::2]), parts[1::2], strict=True):
        tilt = re.search(r"^\s*TiltAngle\s*=(.*)$", paragraph, flags=re.MULTILINE)
        if tilt is None:
            raise ValueError(f"{path}: section [ZValue = {section}] has no TiltAngle")
        if section in angles:
            raise ValueError(f"{path}: section [ZValue = {section}] is there twice")
        angles[section] = _angle(tilt[1], f"{path}, [ZValue = {section}]")
    return [angles[section] for section in sorted(angles)]


def _angle(text: str, where: str) -> float:
    try:
        angle = float(text)
    except ValueError:
        angle = np.nan
    if not np.isfinite(angle):
        raise ValueError(f"{where}: got {text.strip()[:40]!r}, expected one tilt angle in degrees")
    return angle


def _tilts_of(path: Path, given, recorded: np.ndarray | None) -> tuple[np.ndarray, str]:
    """Return the angles of the series in ``path`` and where they were found."""
    if isinstance(given, str | os.PathLike):
        return read_tilts(given), os.fspath(given)
    if given is not None:
        return np.array(given, dtype=np.float64), "the argument"
    beside = [path.with_suffix(suffix) for suffix in ANGLE_FILES] + [path.with_name(path.name + ".mdoc")]
    for file in beside:
        if file.is_file():
            return read_tilts(file), str(file)
    if recorded is not None:
        return np.asarray(recorded, dtype=np.float64), str(path)
    raise ValueError(
        f"{path}: no tilt angles; looked for {', '.join(file.name for file in beside)} beside it and for "
        "angles inside it; pass tilts=, the angles in degrees or a file of them"
    )


def _read(path: Path, dataset: str | None) -> tuple[np.ndarray, float | None, np.ndarray | None]:
    """Return (values, pixel in nm, tilts in degrees) of a file; None for what it does not say."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if h5py.is_hdf5(path):
        return _read_hdf5(path, dataset)
    if dataset is not None:
        raise ValueError(f"dataset: got {dataset!r}, but {path} is not an HDF5 file")
    return read_mrc(path)


def _as_float32(values: np.ndarray, path: Path) -> np.ndarray:
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is reported as such
        array = values.astype(np.float32, copy=False)
    n_bad = array.size - np.count_nonzero(np.isfinite(array))
    if n_bad:
        raise ValueError(f"{path}: {n_bad} of {array.size} values are NaN or infinite, expected finite ones")
    return array


def _read_hdf5(path: Path, dataset: str | None) -> tuple[np.ndarray, float | None, np.ndarray | None]:
    try:
        with h5py.File(path, "r") as file:
            node = _find_dataset(file, dataset, path)
            return node[()], _hdf5_pixel_nm(node.parent), _hdf5_tilts(node)
    except OSError as error:  # HDF5's word for a truncated file or a filter that is not installed
        raise ValueError(f"{path}: damaged HDF5 file, or one that needs a plug-in: {error}") from error


def _find_dataset(file: h5py.File, dataset: str | None, path: Path) -> h5py.Dataset:
    candidates = []

    def collect(name, node):
        if isinstance(node, h5py.Dataset) and node.ndim == 3 and node.dtype.kind in "biuf":
            candidates.append(name)

    file.visititems(collect)
    listing = f"its data sets of numbers with three axes: {', '.join(sorted(candidates)) or 'none'}"
    if dataset is None:
        if not candidates:
            raise ValueError(f"{path}: no images; {listing}")
        if len(candidates) > 1:
            raise ValueError(f"{path}: more than one candidate; pass dataset=; {listing}")
        dataset = candidates[0]
    node = file.get(dataset)
    if not isinstance(node, h5py.Dataset):
        raise ValueError(f"{path}: no data set {dataset!r}; {listing}")
    if node.ndim != 3 or node.dtype.kind not in "biuf":
        raise ValueError(
            f"{path}: data set {dataset!r} has shape {node.shape} and type {node.dtype}, expected three axes "
            f"of real numbers; {listing}"
        )
    if node.size == 0:
        raise ValueError(f"{path}: data set {dataset!r} is empty: shape {node.shape}")
    stored = node.id.get_storage_size()
    if node.nbytes > MAX_COMPRESSION * stored and not node.is_virtual:
        raise ValueError(
            f"{path}: data set {dataset!r} announces {node.nbytes} bytes (shape {node.shape}), but only "
            f"{stored} are stored: it was never filled"
        )
    return node


def _hdf5_pixel_nm(group: h5py.Group) -> float | None:
    """Pixel size from HyperSpy's axis description, if the group has one."""
    axis = group["axis-1"].attrs if "axis-1" in group else {}
    pixel_nm = float(axis.get("scale", 0)) * NM_PER_UNIT.get(str(axis.get("units")), 0)
    return pixel_nm or None


def _hdf5_tilts(node: h5py.Dataset) -> np.ndarray | None:
    """Angles from a data set ``tilts_deg`` beside the images or, in HyperSpy's files, from the first axis."""
    group = node.parent
    if isinstance(group.get("tilts_deg"), h5py.Dataset):
        return group["tilts_deg"][()]
    axis = group["axis-0"].attrs if "axis-0" in group else {}
    if axis.get("units") in ("degrees", "deg", "°") and "scale" in axis:
        return axis.get("offset", 0.0) + axis["scale"] * np.arange(len(node))
    return None
