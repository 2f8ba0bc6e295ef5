"""What HDF5 files say about the images in them: the order of the axes, the size of a pixel, and the tilt angles.

Programs store them in different places, and some in several; measured angles come before nominal ones.

==============  ==========================================================================================
HyperSpy        a group for each axis (``axis-0`` …); ETSpy keeps tilts in ``metadata/Tomography``
Berkeley EMD    a data set for each axis (``dim1`` …) with its values; HyperSpy writes it with all axes reversed
Velox           JSON for each frame; frames are counted along the last axis
Data Exchange   ``exchange/theta`` beside ``exchange/data``
MATLAB 7.3      array(row, column, image), which HDF5 sees with all axes reversed
==============  ==========================================================================================

Sources: https://hyperspy.org/rosettasciio/file_specification/hspy.html, https://emdatasets.com/format,
https://dxfile.readthedocs.io, https://github.com/usnistgov/etspy; for Velox, whose maker has published nothing, what
https://hyperspy.org/rosettasciio reads.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import h5py
import numpy as np

from etlab.io.angles import Tilts, contradiction, is_set, measured_first
from etlab.io.stack import MAX_COMPRESSION, in_nm

DEGREES = dict.fromkeys(("degrees", "degree", "deg", "°"), 1.0)  # in each unit
DEGREES |= dict.fromkeys(("radians", "radian", "rad"), float(np.rad2deg(1.0)))
DEGREES |= dict.fromkeys(("milliradians", "milliradian", "mrad", "m_rad"), float(np.rad2deg(1e-3)))
VOXEL = "voxel_nm"  # an attribute in the files that we write
VELOX_IMAGES = "/Data/Image/"
MATLAB = "MATLAB_class"  # an attribute of every variable
FIELDS = ("data_white", "data_dark")  # of Data Exchange, beside the images
BESIDE = ("tilts_deg", "theta", "rotation_angle")  # lists of angles in the group of the images
IN_ORDER = (0, 1, 2)


@dataclass(frozen=True, eq=False)
class Metadata:
    """What is known of a data set: ``order`` lists its axes of sections, rows and columns; ``notes`` are sentences."""

    order: tuple[int, int, int] = IN_ORDER
    pixel_nm: float | None = None
    tilts_deg: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def read_metadata(node: h5py.Dataset) -> Metadata:
    """Return what the attributes of ``node`` and the data beside it say about its images."""
    if node.name.startswith(VELOX_IMAGES):
        return Metadata((2, 0, 1), *_velox(node))
    notes = []
    order = _berkeley_order(node)
    if MATLAB in node.attrs:
        order = (0, 2, 1)
        notes.append(f"{node.name} is from MATLAB: it is read as array(row, column, image)")
    if left_out := [name for name in FIELDS if name in node.parent]:
        notes.append(f"{' and '.join(left_out)} (flat and dark fields) are not applied: divide by them first")
    found = _tilts(node, order)
    n_images = node.shape[order[0]]
    found = [one for one in found if is_set(one.tilts_deg, n_images)]
    fitting = [one for one in found if one.tilts_deg.shape == (n_images,)]
    found = fitting or found  # better an error than to say there is none
    used = measured_first(found, n_images) if found else None
    if used:
        notes += [note for one in found if one is not used and (note := contradiction(used, one))]
    return Metadata(order, _pixel_nm(node, order), used.tilts_deg if used else None, tuple(notes))


def is_filled(node: h5py.Dataset) -> bool:
    """Return whether the stored bytes can hold all values that the data set declares."""
    return node.nbytes <= MAX_COMPRESSION * node.id.get_storage_size()


def _tilts(node: h5py.Dataset, order: tuple[int, int, int]) -> list[Tilts]:
    """Return all lists of angles, whether or not they fit, beginning with those that are most often measured."""
    group = node.parent
    found = {name: _in_degrees(group.get(name), "degrees") for name in BESIDE}
    found |= _hyperspy(group, node.shape[0])
    dimension = f"dim{order[0] + 1}"
    found[dimension] = _in_degrees(group.get(dimension), None)
    return [
        Tilts(tilts_deg, f"{group.name}/{name}") for name, tilts_deg in found.items() if tilts_deg is not None
    ]


def _hyperspy(group: h5py.Group, n_images: int) -> dict[str, np.ndarray | None]:
    """Return HyperSpy's angles: those of ETSpy, of a non-uniform axis, of the stage, and of a uniform axis."""
    axis = group.get("axis-0")
    if not isinstance(axis, h5py.Group):
        return {}
    of_etspy = [f"metadata/Tomography/{name}" for name in ("_sig_tilts/data", "tilts", "_list_tilts")]
    found = {name: _numbers(group.get(name)) for name in of_etspy}
    unit = _unit(axis)
    found["axis-0/axis"] = _in_degrees(axis.get("axis"), unit)
    stage = "metadata/Acquisition_instrument/TEM/Stage/tilt_alpha"
    if (values := _numbers(group.get(stage))) is not None:
        # FEI's older software pads the list to 1024
        padded = values.size == 1024 > n_images and not values[n_images:].any()
        found[stage] = values[:n_images] if padded or values.size == n_images else None
    # ETSpy counts the images along this axis and calls them degrees
    counted = "metadata/Tomography" in group and (axis.attrs.get("offset"), axis.attrs.get("scale")) == (0, 1)
    if unit in DEGREES and "scale" in axis.attrs and not counted:
        even = axis.attrs.get("offset", 0.0) + axis.attrs["scale"] * np.arange(n_images)
        found["axis-0"] = DEGREES[unit] * even
    return found


def _berkeley_order(node: h5py.Dataset) -> tuple[int, int, int]:
    """Return the order of axes in which the one in degrees comes first."""
    dimensions = [node.parent.get(f"dim{n}") for n in (1, 2, 3)]
    if not all(isinstance(one, h5py.Dataset) for one in dimensions):
        return IN_ORDER
    in_angles = [n for n, one in enumerate(dimensions) if _unit(one) in DEGREES]
    if len(in_angles) != 1:
        return IN_ORDER
    if in_angles == [2]:  # as HyperSpy writes it, columns first, unless the names say otherwise
        first = _text(dimensions[0].attrs.get("name", "")).lower()
        return (2, 0, 1) if first in ("y", "height") else (2, 1, 0)
    return (1, 0, 2) if in_angles == [1] else IN_ORDER


def _pixel_nm(node: h5py.Dataset, order: tuple[int, int, int]) -> float | None:
    if VOXEL in node.attrs:
        return in_nm(node.attrs[VOXEL], "nm")
    if "axis-1" in node.parent:
        axis = node.parent["axis-1"].attrs
        return in_nm(axis.get("scale"), _text(axis.get("units")))
    dimension = node.parent.get(f"dim{order[2] + 1}")
    if not isinstance(dimension, h5py.Dataset) or dimension.ndim != 1 or dimension.size < 2:
        return None
    first, second = dimension[:2]
    return in_nm(second - first, _text(dimension.attrs.get("units")))


def _velox(node: h5py.Dataset) -> tuple[float | None, np.ndarray | None]:
    """Return (pixel in nm, tilts in degrees) from the JSON that Velox keeps for each frame."""
    metadata = node.parent.get("Metadata")
    if not isinstance(metadata, h5py.Dataset) or metadata.ndim != 2 or not is_filled(metadata):
        return None, None
    try:
        frames = [json.loads(metadata[:, i].tobytes().split(b"\0")[0]) for i in range(metadata.shape[1])]
        size = frames[0]["BinaryResult"]
        pixel_nm = in_nm(size["PixelSize"]["width"], size["PixelUnitX"])
        tilts_deg = np.rad2deg([float(frame["Stage"]["AlphaTilt"]) for frame in frames])
    except (IndexError, KeyError, TypeError, ValueError):  # as in a file of another version of Velox
        return None, None
    return pixel_nm, tilts_deg if len(tilts_deg) == node.shape[2] else None


def _in_degrees(node: h5py.Dataset | None, default: str | None) -> np.ndarray | None:
    """Return the values of a data set as degrees by its attribute ``units``, None if they are no angles."""
    values = _numbers(node)
    if node is None or values is None:
        return None
    unit = _unit(node) if "units" in node.attrs else default
    return DEGREES[unit] * values if unit in DEGREES else None


def _numbers(node: h5py.Dataset | None) -> np.ndarray | None:
    """Return the values of a data set if they are a list of real numbers, or a column of them."""
    if not isinstance(node, h5py.Dataset) or node.dtype.kind not in "iuf" or not is_filled(node):
        return None
    is_list = node.ndim == 1 or (node.ndim == 2 and 1 in node.shape)
    return node[()].astype(np.float64).ravel() if is_list else None


def _unit(node: h5py.HLObject) -> str:
    return _text(node.attrs.get("units")).strip("[] ").lower()


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
