"""SerialEM's .mdoc: a text file beside the images, with a paragraph for each of them.

Lines are ``Key = value``. What concerns all images comes first; titles, ``[T = …]``, are among it. A paragraph begins
with ``[ZValue = n]``, where n is the section in the file of images. The .mdoc of a file of frames has
``[FrameSet = n]`` in its place: one paragraph for each *movie*.

Source: https://bio3d.colorado.edu/SerialEM/hlp/html/about_formats.htm.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from etlab.io.text import read_text

AXIS_TITLE = re.compile(r"tilt\s+axis\s+angle\s*=\s*([-+]?\d+\.?\d*(?:e[-+]?\d+)?)", re.IGNORECASE)
PARAGRAPH = re.compile(r"^[ \t]*\[(ZValue|FrameSet)\s*=\s*(\d+)\s*\]", re.MULTILINE)


def is_mdoc(path: str | os.PathLike) -> bool:
    """Return whether a file is an .mdoc, by its ending."""
    return Path(path).suffix.lower() == ".mdoc"


def tilts_in_mdoc(path: Path) -> dict[str, str]:
    """Return the text of TiltAngle under the name of each section, in the order of their numbers.

    Raises ValueError if a section has none or is there twice, or if the file is about the frames of one image.
    """
    _, *parts = PARAGRAPH.split(read_text(path))
    kinds, numbers, paragraphs = parts[::3], map(int, parts[1::3]), parts[2::3]
    if kinds == ["FrameSet"]:
        raise ValueError(
            f"{path}: is about the frames of a single image ([FrameSet]), expected the .mdoc of a tilt series, with a "
            "[ZValue = …] for each image; use that one, or a file with one tilt angle per line"
        )
    tilts = {}
    for kind, number, paragraph in zip(kinds, numbers, paragraphs, strict=True):
        tilt = value_of("TiltAngle", paragraph)
        if tilt is None:
            raise ValueError(f"{path}: section [{kind} = {number}] has no TiltAngle")
        if number in tilts:
            raise ValueError(f"{path}: section [{kind} = {number}] is there twice")
        tilts[number] = tilt
    return {f"[{kind} = {number}]": tilts[number] for number in sorted(tilts)}


def axis_deg_in_mdoc(path: str | os.PathLike) -> float | None:
    """Return the direction of the tilt axis as `axis_deg_in` does, None if the file does not record it.

    Without a title, SerialEM's RotationAngle tells it: that of the image against the stage, whose axis of tilt is at
    90° there. (Files with both have "Tilt axis angle = 84.8" and "RotationAngle = 174.8".)
    """
    text = read_text(path)
    found = axis_deg_in(text)
    if found is None and (rotation := value_of("RotationAngle", text)) is not None:
        try:
            found = float(rotation) - 90
        except ValueError:
            return None
    return None if found is None else _folded(found)


def axis_deg_in(text: str) -> float | None:
    """Return the direction of the tilt axis in a title or label of SerialEM, None if there is none.

    Degrees counter-clockwise from the *vertical*, with row 0 at the bottom: 0 is vertical, ±90 horizontal.
    """
    found = AXIS_TITLE.search(text)
    return _folded(float(found[1])) if found else None


def value_of(key: str, text: str) -> str | None:
    """Return the text after the first ``key =`` at the beginning of a line; None if there is none."""
    found = re.search(rf"^[ \t]*{key}[ \t]*=(.*)$", text, flags=re.MULTILINE)
    return found[1].strip() if found else None


def _folded(angle_deg: float) -> float:
    """Return the same direction within [−90, 90]: an axis has no sign."""
    return angle_deg - 180 * round(angle_deg / 180)
