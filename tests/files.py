"""Files as others write them, made byte by byte, so that our reader and writer are not each other's only witness."""

import struct

import h5py
import numpy as np

MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}


def make_mrc(path, values, *, mode=1, order="<", stamp=None, pixel=2.5, extended=b"", kind=b"", pairs=()):
    """Write an MRC file by hand. ``pixel`` in Å; ``pairs``: (byte offset, format, value) for the header."""
    nz, ny, nx = values.shape
    header = bytearray(1024)
    struct.pack_into(order + "4i", header, 0, nx, ny, nz, mode)
    struct.pack_into(order + "3i3f", header, 28, nx, ny, nz, nx * pixel, ny * pixel, nz * pixel)
    struct.pack_into(order + "i", header, 92, len(extended))
    header[104 : 104 + len(kind)] = kind
    header[208:212] = b"MAP "
    header[212:214] = {"<": b"\x44\x44", ">": b"\x11\x11"}[order] if stamp is None else stamp
    for offset, form, value in pairs:
        struct.pack_into(order + form, header, offset, value)
    body = values.astype(np.dtype(order + MODES.get(mode, "i1"))).tobytes()
    path.write_bytes(bytes(header) + extended + body)
    return path


# Tags of TIFF 6.0, those of a grey image
WIDTH, HEIGHT, BITS, COMPRESSION, COLOUR, DESCRIPTION, OFFSETS = 256, 257, 258, 259, 262, 270, 273
SAMPLES, STRIP_ROWS, BYTES, X_RESOLUTION, SAMPLE_FORMAT = 277, 278, 279, 282, 339
KINDS = {"u": 1, "i": 2, "f": 3}


def make_tiff(
    path, images, *, order="<", description="", pixels_per_unit=None, behind=False, changes=(), links=()
):
    """Write a TIFF stack by hand, an image a page; with ``behind`` one page and all images in a row behind it.

    ``changes``: (page, tag, value) instead of what is true; ``links``: (page, page that it says comes next).
    """
    images = images.astype(images.dtype.newbyteorder(order))
    pages = images[:1] if behind else images
    body = bytearray(struct.pack(order + "2sHI", {"<": b"II", ">": b"MM"}[order], 42, 0))
    changed = {(page, tag): value for page, tag, value in changes}
    text = description.encode() + b"\0"
    starts, next_fields = [], []
    for n, page in enumerate(pages):
        values_at = len(body)
        body += text + bytes(-len(text) % 2)
        resolution_at = len(body)
        body += struct.pack(order + "2I", *(pixels_per_unit or (72, 1)))
        image_at = len(body)
        body += (images if behind else page).tobytes()
        body += bytes(len(body) % 2)
        tags = {
            WIDTH: page.shape[1], HEIGHT: page.shape[0], BITS: 8 * page.dtype.itemsize, COMPRESSION: 1,
            COLOUR: 1, DESCRIPTION: values_at, OFFSETS: image_at, SAMPLES: 1, STRIP_ROWS: page.shape[0],
            BYTES: page.nbytes, X_RESOLUTION: resolution_at, SAMPLE_FORMAT: KINDS[page.dtype.kind],
        }  # fmt: skip
        starts.append(len(body))
        body += struct.pack(order + "H", len(tags))
        for tag, value in tags.items():
            kind, count = {DESCRIPTION: (2, len(text)), X_RESOLUTION: (5, 1)}.get(tag, (4, 1))
            body += struct.pack(order + "2H2I", tag, kind, count, changed.get((n, tag), value))
        next_fields.append(len(body))
        body += bytes(4)
    following = dict(enumerate(range(1, len(pages)))) | dict(links)
    struct.pack_into(order + "I", body, 4, starts[0])
    for page, other in following.items():
        struct.pack_into(order + "I", body, next_fields[page], starts[other])
    path.write_bytes(body)
    return path


def make_hspy(path, images, axes):
    """Write images as HyperSpy 2 does; ``axes``: attributes of each axis, or an array of its values and its units."""
    with h5py.File(path, "w") as file:
        file.attrs.update(file_format="HyperSpy", file_format_version="3.3")
        group = file.create_group("Experiments/__unnamed__")
        group.create_dataset("data", data=images, chunks=(1, *images.shape[1:]), compression="gzip")
        for n, axis in enumerate(axes):
            node = group.create_group(f"axis-{n}")
            if isinstance(axis, dict):
                node.attrs.update({"_type": "UniformDataAxis", "size": images.shape[n], "offset": 0.0} | axis)
            else:
                node["axis"], node.attrs["units"] = axis
        group["metadata/Tomography/_sig_shifts/data"] = np.zeros((len(images), 2))
    return path
