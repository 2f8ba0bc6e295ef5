"""How well blind calibration works: fresh draws of specimen, noise and mismatch, measured.

A draw is one of the four scenes with a mismatch uniform in the public ranges; `calibrate` sees its images and what is
declared, and nothing else. Where there are beads, TV then reconstructs three times, with the nominal operator, the
calibrated one and the true one: what calibration gives back of what the mismatch costs.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from etlab.calibration import CalibrationWarning, calibrate
from etlab.calibration.combined import PARAMETERS
from etlab.course.scenes.published import spec_ranges
from etlab.course.scenes.simulation import PUBLIC_SEEDS, Sample, simulate
from etlab.forward import Mismatch, TiltSeriesModel
from etlab.metrics import psnr
from etlab.phantoms import SCENES
from etlab.solvers.methods import METHODS

DRAW_SEEDS = (201, 202, 203)  # no calibration was ever tried on these while it was written
METHOD = "CS-ET"


@dataclass(frozen=True)
class Draw:
    """One tilt series to be calibrated."""

    scene: str
    seed: int
    preset: str = "standard"
    fiducials: bool = True


@dataclass(frozen=True)
class Outcome:
    """Truth, estimate and its standard deviation [deg, deg, nm/µm], time [s], PSNR [dB] of TV with three operators.

    Without beads nothing is reconstructed, and the PSNRs are NaN.
    """

    true_tilt_angle: float
    true_tilt_axis: float
    true_defocus_gradient: float
    tilt_angle: float
    tilt_axis: float
    defocus_gradient: float
    std_tilt_angle: float
    std_tilt_axis: float
    std_defocus_gradient: float
    seconds: float
    cpu_seconds: float
    psnr_nominal: float = np.nan
    psnr_calibrated: float = np.nan
    psnr_true: float = np.nan


Results = dict[Draw, Outcome]


def draws(
    *, preset: str = "standard", fiducials: bool = True, seeds: tuple[int, ...] = DRAW_SEEDS
) -> list[Draw]:
    """Return all scenes with all seeds. Raises ValueError for a public seed."""
    if tuned := set(seeds) & set(PUBLIC_SEEDS):
        raise ValueError(f"seeds: got {sorted(tuned)}, on which calibration was developed; expected others")
    return [Draw(scene, seed, preset, fiducials) for seed in seeds for scene in SCENES]


def true_mismatch(draw: Draw) -> Mismatch:
    """Draw a mismatch uniformly in the public ranges, the same for both presets, with beads and without."""
    rng = np.random.default_rng([draw.seed, SCENES.index(draw.scene)])
    return Mismatch(**{name: float(rng.uniform(*ends)) for name, ends in spec_ranges("public").items()})


def measure(todo: list[Draw]) -> Iterator[tuple[Draw, Outcome]]:
    """Calibrate one draw after the other."""
    for draw in todo:
        truth = true_mismatch(draw)
        sample = simulate(draw.scene, draw.preset, draw.seed, truth, fiducials=draw.fiducials)
        clock, processor = time.perf_counter(), time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibrationWarning)  # it is in the outcome: an infinite std
            found = calibrate(
                sample.y, sample.geometry, spec_ranges("public"), sample.optics, fiducials=sample.fiducials
            )
        seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - processor
        operators = {"nominal": Mismatch(), "calibrated": found.mismatch, "true": truth}
        quality = {
            f"psnr_{name}": _quality(sample, mismatch)
            for name, mismatch in operators.items()
            if draw.fiducials
        }
        numbers = {name: getattr(found.mismatch, name) for name in PARAMETERS}
        numbers |= {f"true_{name}": getattr(truth, name) for name in PARAMETERS}
        numbers |= {f"std_{name}": found.std[name] for name in PARAMETERS}
        yield draw, Outcome(**numbers, seconds=seconds, cpu_seconds=cpu_seconds, **quality)


def _quality(sample: Sample, mismatch: Mismatch) -> float:
    """Return the PSNR [dB] of a reconstruction with this mismatch."""
    H = TiltSeriesModel(sample.geometry, mismatch=mismatch, optics=sample.optics)
    return psnr(METHODS[METHOD](H, sample.y), sample.x_true)


def errors(draw: Draw, outcome: Outcome) -> str:
    """Return the scene of a draw and the error of each parameter in a line."""
    off = (getattr(outcome, name) - getattr(outcome, f"true_{name}") for name in PARAMETERS)
    return f"{draw.scene} {' '.join(f'{error:+.3f}' for error in off)}"


@dataclass(frozen=True)
class Summary:
    """Of one parameter over several draws: what was found less what is true.

    ``known`` of the ``draws`` have a finite standard deviation, and only those count. ``slope`` is that of the
    estimate on the truth, ``coverage`` the share of draws less than one standard deviation off: 0.68 is honest.
    """

    parameter: str
    draws: int
    known: int
    bias: float
    rms: float
    largest: float
    slope: float
    coverage: float


def summary(outcomes: list[Outcome]) -> list[Summary]:
    """Return one line for each parameter."""
    lines = []
    for name in PARAMETERS:
        truth, found, std = (
            np.array([getattr(outcome, prefix + name) for outcome in outcomes])
            for prefix in ("true_", "", "std_")
        )
        known = np.isfinite(std)
        error = (found - truth)[known]
        lines.append(
            Summary(
                name,
                len(outcomes),
                int(known.sum()),
                bias=float(error.mean()),
                rms=float(np.sqrt((error**2).mean())),
                largest=float(np.abs(error).max()),
                slope=float(np.polyfit(truth[known], found[known], 1)[0]),
                coverage=float((np.abs(error) < std[known]).mean()),
            )
        )
    return lines


def recovered(outcomes: list[Outcome]) -> float:
    """Return which share of the PSNR that the true operator gains over the nominal one the calibrated one gains."""
    gained = sum(outcome.psnr_calibrated - outcome.psnr_nominal for outcome in outcomes)
    return gained / sum(outcome.psnr_true - outcome.psnr_nominal for outcome in outcomes)


def as_text(measured: Results) -> str:
    """Return the summary of each preset, with beads and without, as a table."""
    lines = ["preset    beads  parameter         bias     rms  largest  slope  coverage  known"]
    for preset, fiducials in dict.fromkeys((draw.preset, draw.fiducials) for draw in measured):
        outcomes = [o for draw, o in measured.items() if (draw.preset, draw.fiducials) == (preset, fiducials)]
        for line in summary(outcomes):
            lines.append(
                f"{preset:9} {'yes' if fiducials else 'no':6} {line.parameter:16} {line.bias:+6.3f} {line.rms:7.3f}"
                f" {line.largest:8.3f} {line.slope:6.2f} {line.coverage:9.2f}  {line.known}/{line.draws}"
            )
        median = np.median([outcome.seconds for outcome in outcomes])
        lines.append(f"          median {median:.1f} s a draw")
        if fiducials:
            lines[-1] += f"; {METHOD} recovers {100 * recovered(outcomes):.0f} % of the gain"
    return "\n".join(lines)
