"""Prepare a tilt series for a solver, in ranges of columns: choose rows, bin, take line integrals, align.

Columns run along the tilt axis. As long as that is along x, a slice of the volume needs its own column of the images
and no other, so a series larger than memory is read in ranges of columns. An alignment moves and turns images, and
mixes columns; then a range is read with as many columns beside it as its content comes from.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from skimage.measure import block_reduce

from etlab.alignment import Alignment, align
from etlab.alignment.alignment import turned
from etlab.alignment.outliers import MARGIN, replaced

SPLINE = 14  # columns beside a point that matter for a spline through the pixels: 0.27 to this power is 1e-8
BLOCK = 64  # columns read at a time where all are wanted
PLACES, FEW = 4, 8  # columns that stand for all: so many places, and so many columns in each
DARKEST = 1e-3  # of the intensity of vacuum, below which a logarithm says more of noise than of the specimen
SEEN = 512  # pixels along the longer side of images from which an alignment is estimated


class Columns(Protocol):
    """A series that can be read in ranges of columns, such as `etlab.io.SeriesFile` or `Prepared`."""

    @property
    def tilts_deg(self) -> np.ndarray:
        """Tilts in degrees, (n_tilts,)."""

    @property
    def pixel_nm(self) -> float | None:
        """Edge of a pixel in nm, None if it is unknown."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_tilts, n_rows, nx)."""

    def read(self, x0: int, x1: int) -> np.ndarray:
        """Return columns x0 … x1 − 1 of all images, (n_tilts, n_rows, x1 − x0) float32."""


class Source(Columns, Protocol):
    """A series in a file."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def recorded_axis_deg(self) -> float | None:
        """Recorded direction of the tilt axis, see `etlab.io.SeriesFile`."""

    @property
    def axis(self) -> str:
        """Direction of the tilt axis in the file's images, "x" or "y"."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """Line integrals from some rows of ``series``, averaged over square blocks of ``binning`` pixels, and aligned.

    Parameters
    ----------
    series
        Anything with ``shape``, ``tilts_deg``, ``pixel_nm`` and ``read(x0, x1)``.
    rows
        Half-open range (first, stop) of the detector rows to use, in the series' own pixels; None for all. The tilt
        axis is taken to be half-way up these.
    binning
        Edge of a block in pixels. Rows and columns that fill no block are left out, as many on either side.
    background
        Intensity I₀ of vacuum in the file.
    bright_field
        Whether the specimen is darker than vacuum: line integrals are then ln(I₀/I), in place of I − I₀.
    alignment
        Of the binned images, see `etlab.alignment.Alignment`; None for a series that is aligned already.
    smooth
        Whether the alignment may smooth every image alike, see `etlab.alignment.Alignment.apply`. By default whole
        pixels are moved exactly, and fractions by a spline through the pixels.
    outliers
        (image, row, column) of pixels of the series that cannot belong to the specimen, (n, 3), as found by
        `etlab.alignment.outliers`: they are replaced by the median of those around them. None: nothing is replaced.

    Raises
    ------
    ValueError
        For rows out of range, a binning that would move the tilt axis or leave nothing, or a background that is not
        positive in bright field.

    Examples
    --------
    >>> import tempfile
    >>> from etlab import open_series, write_mrc
    >>> path = Path(tempfile.mkdtemp(), "series.mrc")
    >>> write_mrc(path, np.full((3, 8, 4), 7, np.int16), voxel_nm=2)
    >>> images = Prepared(open_series(path, tilts=np.array([-60, 0, 60])), binning=2, background=5)
    >>> images.shape, float(images.read(0, 2).mean())
    ((3, 4, 2), 2.0)
    """

    series: Source
    rows: tuple[int, int] | None = None
    binning: int = 1
    background: float = 0.0
    bright_field: bool = False
    alignment: Alignment | None = None
    smooth: bool = False
    outliers: np.ndarray | None = None

    def __post_init__(self) -> None:
        _, n_rows, nx = self.series.shape
        first, stop = self.rows or (0, n_rows)
        if not 0 <= first < stop <= n_rows:
            raise ValueError(f"rows: got {first}:{stop}, expected a range within 0:{n_rows}")
        if self.binning < 1 or self.binning > min(stop - first, nx):
            raise ValueError(
                f"binning: got {self.binning} for images of {stop - first} × {nx} pixels, expected from 1 to "
                f"{min(stop - first, nx)}"
            )
        if (stop - first) % self.binning % 2:
            raise ValueError(
                f"binning: got {self.binning} for {stop - first} rows, which would move the tilt axis by half a "
                f"pixel; choose rows by a number that {self.binning} divides"
            )
        if self.bright_field and not self.background > 0:
            raise ValueError(
                f"background: got {self.background:g}, expected vacuum's intensity, positive in bright field"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_tilts, n_rows, nx) after binning."""
        n_tilts, n_rows, nx = self.series.shape
        first, stop = self.rows or (0, n_rows)
        return n_tilts, (stop - first) // self.binning, nx // self.binning

    @property
    def tilts_deg(self) -> np.ndarray:
        """Tilts in degrees, (n_tilts,)."""
        return self.series.tilts_deg

    @property
    def pixel_nm(self) -> float | None:
        """Edge of a binned pixel in nm, None if it is unknown."""
        return self.series.pixel_nm and self.series.pixel_nm * self.binning

    def read(self, x0: int, x1: int) -> np.ndarray:
        """Return columns x0 … x1 − 1 of all images, (n_tilts, n_rows, x1 − x0) float32."""
        if self.alignment is None:
            return self._binned(x0, x1)
        first, stop = self.reach(x0, x1)
        # about its own centre the range is aligned by other shifts: a turn moves that centre, too
        step = np.array([0, (first + stop - self.shape[2]) / 2])
        shifts = self.alignment.shifts + step - turned(step, np.deg2rad(self.alignment.tilt_axis_deg))
        aligned = replace(self.alignment, shifts=shifts).apply(self._binned(first, stop), smooth=self.smooth)
        return np.ascontiguousarray(aligned[:, :, x0 - first : x1 - first])

    def reach(self, x0: int, x1: int) -> tuple[int, int]:
        """Return the half-open range of columns, before alignment, that aligned columns x0 … x1 − 1 come from."""
        alignment = self.alignment
        # an alignment that leaves every column to itself can do with few columns, or one
        if alignment is None or not (alignment.tilt_axis_deg or alignment.shifts[:, 1].any()):
            return x0, x1
        _, n_rows, nx = self.shape
        top, centre = (n_rows - 1) / 2, (nx - 1) / 2
        corners = np.array([(row, x - centre) for row in (-top, top) for x in (x0, x1 - 1)])
        corners[:, 0] += alignment.tilt_axis_offset
        corners = turned(corners, np.deg2rad(alignment.tilt_axis_deg))
        columns = corners[:, 1] + centre - alignment.shifts[:, 1:]
        first = min(max(int(np.floor(columns.min())) - SPLINE, 0), nx - 1)
        stop = max(min(int(np.ceil(columns.max())) + SPLINE + 1, nx), 1)
        return min(first, x0), max(stop, x1)

    def whole(self) -> np.ndarray:
        """Return all columns, (n_tilts, n_rows, nx) float32, read in ranges to save memory."""
        images = np.empty(self.shape, np.float32)
        for x in range(0, images.shape[2], BLOCK):
            images[:, :, x : x + BLOCK] = self.read(x, min(x + BLOCK, images.shape[2]))
        return images

    def _binned(self, x0: int, x1: int) -> np.ndarray:
        _, n_rows, nx = self.series.shape
        first, stop = self.rows or (0, n_rows)
        b, beside = self.binning, nx % self.binning // 2
        above = (stop - first) % b // 2
        images = self._sound(beside + b * x0, beside + b * x1)
        images = images[:, first + above : stop - above]
        if b > 1:
            images = block_reduce(images, (1, b, b), np.mean)
        return np.ascontiguousarray(self.integrals(images))

    def _sound(self, x0: int, x1: int) -> np.ndarray:
        """Return columns of the series with outliers replaced; the result does not depend on the range."""
        if self.outliers is None:
            return self.series.read(x0, x1)
        first, stop = max(x0 - MARGIN, 0), min(x1 + MARGIN, self.series.shape[2])
        columns = self.outliers[:, 2]
        here = self.outliers[(columns >= first) & (columns < stop)] - [0, 0, first]
        return replaced(self.series.read(first, stop), here)[:, :, x0 - first : x1 - first]

    def integrals(self, intensities: np.ndarray) -> np.ndarray:
        """Return line integrals from intensities, of any shape, float32."""
        if not self.bright_field:
            return intensities - np.float32(self.background)
        seen = np.maximum(intensities, np.float32(DARKEST * self.background))
        np.log(seen, out=seen)
        return np.subtract(np.float32(np.log(self.background)), seen, out=seen)


def sample(series: Columns) -> np.ndarray:
    """Read some columns all over the images: (n_tilts, n_rows, up to 32) float32."""
    nx = series.shape[2]
    if nx <= PLACES * FEW:
        return series.read(0, nx)
    starts = np.linspace(0, nx - FEW, PLACES).round().astype(int)
    return np.concatenate([series.read(x, x + FEW) for x in starts], axis=2)


def small_enough(images: Prepared) -> Prepared:
    """Bin ``images`` by the next factor that brings them to 512 pixels or fewer; without alignment."""
    first, stop = images.rows or (0, images.series.shape[1])
    longest = max(stop - first, images.series.shape[2])
    binnings = itertools.count(images.binning, images.binning)
    binning = next(one for one in binnings if longest <= SEEN * one and (stop - first) % one % 2 == 0)
    return replace(images, binning=binning, alignment=None)


def estimate_alignment(images: Prepared, *, method: str = "centre of mass", **options: Any) -> Alignment:
    """Estimate the alignment of a series that may be large, from images binned to at most 512 pixels.

    Parameters
    ----------
    images
        The series, not aligned.
    method, options
        As of `etlab.alignment.align`; ``thickness`` and ``bead_radius`` in pixels of ``images``.

    Returns
    -------
    Alignment
        In pixels of ``images``.

    Raises
    ------
    ValueError
        As `etlab.alignment.align` does.

    Examples
    --------
    >>> import tempfile
    >>> from etlab import Projector, TiltGeometry, linear_tilts, open_series, write_mrc
    >>> tilts, x = linear_tilts(60, 10), np.zeros((24, 24, 24), np.float32)
    >>> x[8:14, 9:15, 8:16] = 1
    >>> path = Path(tempfile.mkdtemp(), "series.mrc")
    >>> write_mrc(path, Projector(TiltGeometry(tilts, x.shape))(x), voxel_nm=2)
    >>> found = estimate_alignment(Prepared(open_series(path, tilts=tilts)), n_rounds=0)
    >>> found.shifts.shape
    (13, 2)
    """
    small = small_enough(images)
    factor = small.binning / images.binning
    for name in ("thickness", "bead_radius"):
        if options.get(name):
            options[name] /= factor
    try:
        found = align(small.whole(), small.tilts_deg, method=method, **options)
    except ValueError as error:
        if factor == 1:
            raise
        raise ValueError(f"{error} (lengths here are in blocks of {factor:g} pixels)") from error
    return replace(
        found,
        shifts=found.shifts * factor,
        tilt_axis_offset=found.tilt_axis_offset * factor,
        residuals=found.residuals * factor,
    )
