"""The files that lie beside a series: tilt angles in IMOD's .tlt and .rawtlt, angles and more in SerialEM's .mdoc."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from etlab.io.stack import in_nm

ANGLE_FILES = (".tlt", ".rawtlt", ".mdoc")  # beside the images; refined angles (.tlt) come first
MAX_BYTES = 10**7  # of such a file; images have more


class NoTiltsError(ValueError):
    """There are no tilt angles, neither beside the images nor inside their file: a volume has none."""


def read_tilts(path: str | os.PathLike) -> np.ndarray:
    """Read the angle in degrees of each image from .tlt or .rawtlt (one a line) or SerialEM's .mdoc.

    Raises ValueError, naming the line, for anything that is not an angle, and if there is none at all.
    """
    path = Path(path)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(
            f"{path}: has {size} bytes, expected a file of tilt angles, of which a line is an angle"
        )
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


def mdoc_pixel_nm(path: str | os.PathLike) -> float | None:
    """Read the pixel size in SerialEM's .mdoc, where it is in ångström; None for another file or if it has none."""
    if Path(path).suffix != ".mdoc":
        return None
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^\s*PixelSpacing\s*=(.*)$", text, flags=re.MULTILINE)
    return in_nm(found[1], "Å") if found else None


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


def tilts_of(path: Path, given, recorded: np.ndarray | None) -> tuple[np.ndarray, str]:
    """Return the angles of the series in ``path`` and where they were found.

    ``given`` are angles, a file of them, or None: then they are sought beside the images and in ``recorded``,
    what the images' own file says. Raises FileNotFoundError, or ValueError if there are none.
    """
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
    raise NoTiltsError(
        f"{path}: no tilt angles; looked for {', '.join(file.name for file in beside)} beside it and for "
        "angles inside it; pass tilts=, the angles in degrees, or a file of them"
    )
