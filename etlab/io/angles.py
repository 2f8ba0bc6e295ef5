"""The tilt angles of a series: given, from files beside it (IMOD's .tlt and .rawtlt, SerialEM's .mdoc), or inside it.

Refined angles (.tlt) come before those that the microscope measured, and measured ones before nominal ones. A list on
an even grid, perhaps with gaps or rounded, was requested from the stage; one that is on no grid was measured.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from etlab.io.mdoc import is_mdoc, tilts_in_mdoc, value_of
from etlab.io.stack import in_nm
from etlab.io.text import read_text

REFINED = ".tlt"
ANGLE_FILES = (REFINED, ".rawtlt", ".mdoc")  # beside the images, the first that is there first
MAX_BYTES = 10**7  # of such a file; images have more
EVEN_DEG = 1e-3  # by which nominal angles may lie off an even grid, rounded as they are to single precision
SAME_DEG = 1e-5  # numbers of single precision that differ by less are the same
ALIKE_DEG = 0.5  # by which two sources may differ without contradicting each other


class NoTiltsError(ValueError):
    """No tilt angles were found, neither beside the images nor in their file; a volume has none."""


@dataclass(frozen=True, eq=False)
class Tilts:
    """Angles, their source, and a sentence for each other source that contradicts them."""

    tilts_deg: np.ndarray
    source: str
    notes: tuple[str, ...] = ()


def read_tilts(path: str | os.PathLike) -> np.ndarray:
    """Read the tilt angle of each image from SerialEM's .mdoc, or from a text with one angle per line.

    Parameters
    ----------
    path
        The file. In a text, blank lines and everything after a ``#`` are skipped.

    Returns
    -------
    np.ndarray
        Angles in degrees, (n_tilts,), in the order of the file; of an .mdoc, in that of its sections.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        For a line that is not an angle, which is named, or if there is no angle at all.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "series.tlt")
    >>> _ = path.write_text("-60 # first\\n0\\n60\\n")
    >>> read_tilts(path)
    array([-60.,   0.,  60.])
    """
    path = Path(path)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path}: has {size} bytes, expected a file of tilt angles, one angle per line")
    if is_mdoc(path):
        angles = [_angle(text, f"{path}, {section}") for section, text in tilts_in_mdoc(path).items()]
    else:
        lines = [line.partition("#")[0].strip() for line in read_text(path).split("\n")]
        angles = [_angle(line, f"{path}, line {n}") for n, line in enumerate(lines, 1) if line]
    if not angles:
        raise ValueError(f"{path}: no tilt angles in it, expected one for each image")
    return np.array(angles)


def mdoc_pixel_nm(path: str | os.PathLike) -> float | None:
    """Return the size of a pixel in an .mdoc, where it is in ångström; None for another file or if it has none."""
    return in_nm(value_of("PixelSpacing", read_text(path)), "Å") if is_mdoc(path) else None


def _angle(text: str, where: str) -> float:
    try:
        # 1_0 is 10 in Python only
        angle = np.nan if "_" in text else float(text.replace("\N{MINUS SIGN}", "-"))
    except ValueError:
        angle = np.nan
    if not np.isfinite(angle):
        hint = "; write decimals with a point, and one angle per line" if "," in text else ""
        raise ValueError(f"{where}: got {text.strip()[:40]!r}, expected one tilt angle in degrees{hint}")
    return angle


def beside(path: Path) -> list[Path]:
    """Return the files beside the images, or in their folder, that may hold angles, whether or not they exist.

    The ending may be in capitals, such as .MDOC.
    """
    sought = [path.with_suffix(suffix) for suffix in ANGLE_FILES] + [path.with_name(path.name + ".mdoc")]
    there = {}
    with suppress(OSError):  # of a folder that cannot be listed
        there = {one.stem + one.suffix.lower(): one for one in path.parent.iterdir()}
    inside = sorted(path.iterdir()) if path.is_dir() else []
    sought += [file for suffix in ANGLE_FILES for file in inside if file.suffix.lower() == suffix]
    return [file if file.exists() else there.get(file.name, file) for file in sought]


def tilts_of(
    path: Path, given: str | os.PathLike | np.ndarray | None, recorded: np.ndarray | None, n_images: int
) -> Tilts:
    """Return the angles of the series in ``path``.

    ``given`` are angles, a file of them, or None: then they are sought beside the images and in ``recorded``,
    what the images' own file says. Raises FileNotFoundError, or ValueError if there are none.
    """
    if isinstance(given, str | os.PathLike):
        return Tilts(read_tilts(given), os.fspath(given))
    if given is not None:
        return Tilts(np.array(given, dtype=np.float64), "the argument")
    if recorded is not None and not is_set(recorded, n_images):
        recorded = None
    files = [file for file in beside(path) if file.is_file()]
    if not files and recorded is None:
        raise NoTiltsError(
            f"{path}: no tilt angles; looked for {', '.join(file.name for file in beside(path))} beside it and for "
            "angles inside it; pass tilts=, the angles in degrees, or a file of them"
        )
    found, notes = [], []
    for file in files:
        try:
            found.append(Tilts(read_tilts(file), str(file)))
        except (OSError, ValueError) as error:
            if not found:  # the one that would count
                raise
            notes.append(f"not used: {error}")
    if recorded is not None:
        found.append(Tilts(np.asarray(recorded, np.float64), str(path)))
    used = measured_first(found, n_images)
    notes += [note for other in found if other is not used and (note := contradiction(used, other))]
    return Tilts(used.tilts_deg, used.source, tuple(notes))


def measured_first(found: list[Tilts], n_images: int) -> Tilts:
    """Return the first source, unless it is nominal and a later one was measured."""
    if is_nominal(found[0]):
        for other in found[1:]:
            if other.tilts_deg.shape == (n_images,) and not is_nominal(other):
                return other
    return found[0]


def source_in_words(tilts_deg: np.ndarray, source: str) -> str:
    """Say where angles are from, and whether they are nominal."""
    return f"nominal, from {source}" if is_nominal(Tilts(tilts_deg, source)) else f"from {source}"


def is_nominal(tilts: Tilts) -> bool:
    """Return whether angles are nominal, as requested from the stage: not refined, and on an even grid."""
    return not tilts.source.lower().endswith(REFINED) and on_grid(tilts.tilts_deg)


def on_grid(tilts_deg: np.ndarray) -> bool:
    """Return whether angles lie on an even grid, to their last decimal; some may be missing."""
    angles = np.unique(np.round(tilts_deg, 4))
    if len(angles) < 3 or not np.isfinite(angles).all():
        return True
    steps = np.diff(angles)
    off = max(EVEN_DEG, 1.1 * _last_decimal(tilts_deg) / 2)
    if steps.min() < 10 * off:  # on so fine a grid is any number
        off = EVEN_DEG
    places = np.append(0, np.cumsum(np.round(steps / steps.min())))
    left = angles - np.polyval(np.polyfit(places, angles, 1), places)
    return bool(np.abs(left).max() < off)


def _last_decimal(values: np.ndarray) -> float:
    """Return the unit to which all values are rounded: 0.1, 0.01 or 0.001, else 0."""
    for unit in (0.1, 0.01, 0.001):
        if np.abs(values - unit * np.round(np.divide(values, unit))).max() < SAME_DEG:
            return unit
    return 0.0


def is_set(tilts_deg: np.ndarray, n_images: int) -> bool:
    """Return whether the angles differ: a file that nobody filled in has the same angle, such as 0, for every image."""
    return tilts_deg.shape != (n_images,) or n_images == 1 or bool(np.ptp(tilts_deg) > 0)


def contradiction(used: Tilts, other: Tilts) -> str | None:
    """Say how two sources differ; None if they agree."""
    if used.tilts_deg.shape != other.tilts_deg.shape:
        how = f"{other.source} gives {other.tilts_deg.size} of them"
    elif (most := np.abs(used.tilts_deg - other.tilts_deg).max()) > ALIKE_DEG:
        how = f"those in {other.source} differ by up to {most:.3g}°"
    else:
        return None
    return f"the {used.tilts_deg.size} tilt angles are those of {used.source}; {how}"
