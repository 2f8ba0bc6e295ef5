"""Blind calibration: the mismatch of a microscope from one noisy tilt series, and how sure that is."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from etlab.calibration.checks import checked_ranges, checked_series
from etlab.calibration.crossval import cross_validate
from etlab.calibration.estimate import PARAMETERS
from etlab.calibration.fiducials import calibrate_with_beads
from etlab.calibration.flatness import film_tilt
from etlab.calibration.moments import moment_gradient
from etlab.forward import Mismatch, Optics
from etlab.geometry import TiltGeometry
from etlab.phantoms import Fiducials

UNITS = {"tilt_angle": "°", "tilt_axis": "°", "defocus_gradient": " nm/µm"}
FEW_PIXELS = 1_000_000  # in y, below which starting threads takes longer than they save
AROUND = 0.2  # degrees about the beads' φ in which cross-validation looks again


@dataclass(frozen=True)
class Std:
    """Standard deviations (68 %) of the fields of `Mismatch`; infinite where the data do not tell.

    Parameters
    ----------
    tilt_angle
        Of δ in degrees.
    tilt_axis
        Of φ in degrees.
    defocus_gradient
        Of g in nm/µm.

    Examples
    --------
    >>> Std(0.1, 0.02, 0.5)["tilt_axis"]
    0.02
    """

    tilt_angle: float
    tilt_axis: float
    defocus_gradient: float

    def __getitem__(self, parameter: str) -> float:
        """Return one of the three by its name."""
        return getattr(self, parameter)


@dataclass(frozen=True)
class Step:
    """One line of a calibration's trace.

    Parameters
    ----------
    stage
        What was done, e.g. "cross-validation".
    mismatch
        The estimate after it.
    seconds
        Time since the start in seconds.

    Examples
    --------
    >>> Step("done", Mismatch(tilt_axis=0.4), 1.5).mismatch.tilt_axis
    0.4
    """

    stage: str
    mismatch: Mismatch
    seconds: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """The mismatch that a calibration found, how sure that is, and how it was found.

    Parameters
    ----------
    mismatch
        δ, φ and g.
    std
        Their standard deviations.
    trace
        The steps that led there.
    diagnostics
        What was found on the way: "notes", a tuple of sentences about what a user should know; "mode", "beads" or "no
        beads"; and by mode "beads", or "film" and "moments", and "axis". `etlab.plot.calibration` draws them.

    Examples
    --------
    >>> print(Calibration(Mismatch(tilt_axis=0.4), Std(np.inf, 0.02, 0.5), (), {"notes": ("no film",)}))
    tilt_angle = 0.000 ± inf°
    tilt_axis = 0.400 ± 0.020°
    defocus_gradient = 0.000 ± 0.500 nm/µm
    no film
    """

    mismatch: Mismatch
    std: Std
    trace: tuple[Step, ...]
    diagnostics: dict[str, Any] = field(repr=False)

    def __str__(self):
        lines = (
            f"{name} = {getattr(self.mismatch, name):.3f} ± {self.std[name]:.3f}{UNITS[name]}"
            for name in PARAMETERS
        )
        return "\n".join([*lines, *self.diagnostics["notes"]])


class CalibrationWarning(UserWarning):
    """Warn that the data contradict what was declared, or cannot tell a parameter."""


def calibrate(
    y: np.ndarray,
    geometry: TiltGeometry,
    spec_ranges: Mapping[str, tuple[float, float]],
    optics: Optics,
    *,
    fiducials: Fiducials | None = None,
    rng: np.random.Generator | int | None = 0,
    callback: Callable[[Step], None] | None = None,
    progress: bool = False,
) -> Calibration:
    """Find δ, φ and g of a microscope from one noisy tilt series, and how sure each is.

    What cannot be known gets an infinite ``std`` and a sentence in ``diagnostics["notes"]``, which is also warned
    (`CalibrationWarning`); the other parameters are still estimated.

    Parameters
    ----------
    y
        Images (n_tilts, n_rows, nx), line integrals in voxels.
    geometry
        The nominal geometry.
    spec_ranges
        "tilt_angle" [°], "tilt_axis" [°] and "defocus_gradient" [nm/µm], each with a range (min, max) that holds the
        truth; results are clipped to them.
    optics
        The nominal optics.
    fiducials
        Gold beads that are declared to lie on one face of a flat film. Without them δ comes from the film's borders,
        φ from cross-validation, and g from consistency conditions, all less certain.
    rng
        Draws the beads for ``std`` and nothing else.
    callback
        Called with the `Step` after each step.
    progress
        Whether to show a progress bar.

    Returns
    -------
    Calibration
        ``mismatch`` ± ``std``, with the ``trace`` of steps and ``diagnostics``.

    Raises
    ------
    ValueError
        For ranges that are missing, unknown or empty, fewer than 10 tilts, constant images, NaN, or shapes that do
        not fit.

    Examples
    --------
    >>> from etlab import Detector, TiltSeriesModel, linear_tilts, specimen
    >>> geometry = TiltGeometry(linear_tilts(60, 10), (16, 32, 32))
    >>> volume = specimen("nanorods", (16, 32, 32), seed=1, fiducials=False).volume
    >>> H = TiltSeriesModel(geometry, mismatch=Mismatch(tilt_axis=0.4))
    >>> images = Detector(dose=50.0).expose(H(volume), rng=0)
    >>> ranges = {"tilt_angle": (-1, 1), "tilt_axis": (0, 0.5), "defocus_gradient": (-1, 1)}
    >>> found = calibrate(images, geometry, ranges, H.optics)
    >>> bool(abs(found.mismatch.tilt_axis - 0.4) < 3 * found.std.tilt_axis)
    True
    """
    ranges = checked_ranges(spec_ranges)
    y = checked_series(y, geometry)
    if np.ptp(y) == 0:
        raise ValueError(f"y: got constant images (all {y.flat[0]:g}), expected a tilt series of a specimen")
    n_threads = 1 if y.size < FEW_PIXELS else None
    record = _Record(callback, progress, has_beads=fiducials is not None)
    start = Mismatch(**{name: (low + high) / 2 for name, (low, high) in ranges.items()})
    found = fiducials and calibrate_with_beads(
        y,
        geometry,
        optics,
        fiducials,
        start.tilt_axis,
        ranges["defocus_gradient"],
        rng=np.random.default_rng(rng),
        n_threads=n_threads,
        report=record,
    )
    if found:
        mismatch, std, diagnostics = _with_beads(y, geometry, optics, found, n_threads, record)
    else:
        mismatch, std, diagnostics = _without_beads(y, geometry, optics, start, ranges, n_threads, record)
    if not np.isfinite(std.tilt_angle):
        mismatch = replace(mismatch, tilt_angle=start.tilt_angle)
    mismatch = _cut(mismatch, ranges)
    record("done", mismatch)
    notes = _notes(fiducials, found, std)
    for note in notes:
        warnings.warn(note, CalibrationWarning, stacklevel=2)
    return Calibration(mismatch, std, tuple(record.steps), diagnostics | {"notes": notes})


def _with_beads(y, geometry, optics, found, n_threads, record):
    """Return the beads' answer, its φ averaged with that of cross-validation, which looks at everything else."""
    fitted, (tilt_angle, tilt_axis, gradient) = found.mismatch, found.std
    bounds = fitted.tilt_axis - AROUND, fitted.tilt_axis + AROUND
    axis = cross_validate(y, geometry, optics, fitted, "tilt_axis", bounds, n_threads=n_threads)
    weights = np.array([tilt_axis, axis.std]) ** -2
    mean = float(np.average([fitted.tilt_axis, axis.value], weights=weights))
    mismatch = replace(fitted, tilt_axis=mean)
    record("cross-validation", mismatch)
    std = Std(float(tilt_angle), float(weights.sum() ** -0.5), float(gradient))
    return mismatch, std, {"mode": "beads", "beads": found, "axis": axis}


def _without_beads(y, geometry, optics, start, ranges, n_threads, record):
    axis = cross_validate(y, geometry, optics, start, "tilt_axis", ranges["tilt_axis"], n_threads=n_threads)
    mismatch = replace(start, tilt_axis=axis.value)
    record("cross-validation", mismatch)
    film = film_tilt(y, geometry, tilt_axis=axis.value)
    if np.isfinite(film.std):
        mismatch = replace(mismatch, tilt_angle=film.value)
    record("film", mismatch)
    bounds = ranges["defocus_gradient"]
    gradient = moment_gradient(y, geometry, optics, mismatch, bounds, n_threads=n_threads)
    mismatch = replace(mismatch, defocus_gradient=gradient.value)
    record("moments", mismatch)
    std = Std(film.std, axis.std, gradient.std)
    return mismatch, std, {"mode": "no beads", "film": film, "axis": axis, "moments": gradient}


def _cut(mismatch, ranges):
    """Cut to the ranges."""
    return Mismatch(**{name: float(np.clip(getattr(mismatch, name), *ends)) for name, ends in ranges.items()})


def _notes(fiducials, found, std):
    """Return what a user should know: where the data contradict the declaration, and what they cannot tell."""
    notes = list(found.notes) if found else []
    if fiducials and not found:
        notes.append(
            f"fiducials: of {fiducials.count} declared beads too few were found on one plane; "
            "calibrated without beads"
        )
    if not np.isfinite(std.tilt_angle):
        notes.append("tilt_angle not identifiable without a flat reference: its std is infinite")
    if not np.isfinite(std.tilt_axis):
        notes.append(
            "tilt_axis: the prediction error has no minimum among the values tried: its std is infinite"
        )
    return tuple(notes)


class _Record:
    """Collects the steps, and shows and passes them on."""

    def __init__(self, callback, progress, has_beads):
        self.steps, self._callback, self._start = [], callback, time.perf_counter()
        self._bar = tqdm(total=5 if has_beads else 4, desc="calibration", unit="step", disable=not progress)

    def __call__(self, stage, mismatch):
        step = Step(stage, mismatch, time.perf_counter() - self._start)
        self.steps.append(step)
        self._bar.set_postfix_str(stage)
        self._bar.update()
        if stage == "done":
            self._bar.close()
        if self._callback:
            self._callback(step)
