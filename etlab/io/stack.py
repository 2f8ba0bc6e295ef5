"""A file of images: its header, and its values on request.

All formats share `Stack`. It holds a path and numbers only, no open file, so it can be sent to another process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MAX_COMPRESSION = 1100  # zlib cannot shrink by more than 1032; but a size costs nothing to claim
BLOCK_BYTES = 2**26  # of sections that are read at a time where a file stores several together
ALL = slice(None)
NM_PER_UNIT = {"pm": 1e-3, "picometer": 1e-3, "nm": 1.0, "nanometer": 1.0, "nanometre": 1.0}
ANGSTROMS = ("Å", "A", "å", "\N{ANGSTROM SIGN}", "ang", "angstrom", "ångström", "ångstrom")
MICROMETRES = ("µm", "μm", "um", "micron", "micrometer", "micrometre")  # micro sign, Greek mu
NM_PER_UNIT |= dict.fromkeys(ANGSTROMS, 0.1) | dict.fromkeys(MICROMETRES, 1e3)
NM_PER_UNIT |= {"mm": 1e6, "millimeter": 1e6, "millimetre": 1e6, "m": 1e9, "meter": 1e9, "metre": 1e9}


@dataclass(frozen=True, eq=False)
class Stack:
    """Images or planes in a file, ``shape`` (sections, rows, columns), of ``dtype`` as stored.

    ``pixel_nm``, ``tilts_deg`` and ``recorded_axis_deg`` (see `etlab.io.series.SeriesFile`) are None if the file does
    not record them. ``notes`` are sentences on contradictions, and on data that are not used.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype
    pixel_nm: float | None
    tilts_deg: np.ndarray | None
    recorded_axis_deg: float | None = field(default=None, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True)

    def blocks(self, rows: slice = ALL, columns: slice = ALL) -> Iterator[np.ndarray]:
        """Yield (sections, rows, columns) as stored, a few sections at a time, first to last."""
        raise NotImplementedError

    def read(self, rows: slice = ALL, columns: slice = ALL) -> np.ndarray:
        """Return float32 (sections, rows, columns). Raises ValueError if a value is NaN or infinite."""
        n_sections, n_rows, n_columns = self.shape
        shape = n_sections, len(range(n_rows)[rows]), len(range(n_columns)[columns])
        values = np.empty(shape, np.float32)
        done, n_bad = 0, 0
        for block in self.blocks(rows, columns):
            part = values[done : done + len(block)]
            with np.errstate(over="ignore"):  # what is too large becomes infinite, and is counted
                part[:] = block
            n_bad += part.size - int(np.count_nonzero(np.isfinite(part)))
            done += len(block)
        if n_bad:
            raise ValueError(
                f"{self.path}: {n_bad} of {values.size} values are NaN or infinite, expected finite ones"
            )
        return values


@dataclass(frozen=True, eq=False)
class RawStack(Stack):
    """Sections that are stored uncompressed, each from its byte in ``offsets`` on."""

    offsets: Sequence[int]

    def blocks(self, rows: slice = ALL, columns: slice = ALL) -> Iterator[np.ndarray]:  # noqa: D102
        _, n_rows, n_columns = self.shape
        lines = range(n_rows)[rows]
        skipped, wanted = lines.start * n_columns * self.dtype.itemsize, len(lines) * n_columns
        with self.path.open("rb") as file:
            for offset in self.offsets:
                file.seek(offset + skipped)
                section = np.fromfile(file, self.dtype, wanted)
                if section.size < wanted:
                    raise ValueError(f"{self.path}: became shorter while it was read")
                yield section.reshape(1, len(lines), n_columns)[:, :, columns]


def in_nm(length: Any, unit: object) -> float | None:
    """Return ``length`` in nm; None if it is no positive number or the unit is not one of length."""
    name = str(unit).strip("[]").replace("_", "")  # EMD writes "[n_m]"
    try:
        nm = float(length) * NM_PER_UNIT[name if name in NM_PER_UNIT else name.lower()]
    except (KeyError, TypeError, ValueError):
        return None
    return nm if np.isfinite(nm) and nm > 0 else None
