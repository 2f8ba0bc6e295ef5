"""Checks of a tilt scheme: a budget of dose shared among tilts, judged by its properties and by what it shows.

Doses are in counts per unit line integral, as in :class:`etlab.forward.Detector`. The beam destroys the wanted detail:
after a dose D the fraction exp(−D/D_c) of it is left, D_c being the critical dose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from etlab.acquisition import accumulated_dose, damaged
from etlab.course.grading.calling import CheckFailed, call, case
from etlab.forward import Detector
from etlab.geometry import TiltGeometry
from etlab.projector import Projector
from etlab.solvers import wbp

BEST_DOSE = 1.2564  # critical doses: where (1 − exp(−x))/√x is largest, the root of exp(x) = 1 + 2x
DOSE_TOLERANCE = 0.05  # relative; a search in steps is good enough
ROUNDING = 1e-4  # relative; leaves room for float32
WASTE = 0.1  # of the budget that may be left over when there is too little of it
SHORT = 0.75  # of a step by which the outermost tilt may miss the limit; Saxton's steps need up to 0.6
SPARE = 1.6  # times the images needed; Saxton's steps up to 70° need 1.42
EARLY = 0.25  # of the dose spent before the low tilts, on average; symmetric orders 0.17, bidirectional 0.33
APART = 0.25  # of the dose spent between θ and −θ, on average; symmetric orders below 0.1, bidirectional 0.5
GAIN = 1.4  # in signal over noise, over the whole budget; the best dose has 1.6 and more, the whole budget 0.9 to 1.1

DIAMETER = 44  # voxels, of the specimen that a scheme is tried on
MARGIN = 28  # voxels around it, so that nothing leaves the field when the beam spreads it
REPEATS = 16  # of the noise


class Session(NamedTuple):
    """What a scheme is designed for, in the order of the arguments of ``design_scheme``."""

    max_tilt_deg: float
    n_tilts: int
    budget: float
    least_dose: float
    critical_dose: float

    @property
    def n_affordable(self) -> int:
        """Return images that the budget pays for, at most as many as are wanted."""
        return min(self.n_tilts, int(self.budget / self.least_dose))


def check_useful_dose(useful_dose: Callable, *, seed: int | None = 0) -> None:
    """Check that ``useful_dose(critical_dose)`` maximises (1 − exp(−D/D_c))·D_c/√D."""
    with case(seed, "more dose than this takes more detail than noise") as rng:
        for critical in rng.uniform(20, 800, 3):
            found = float(call(useful_dose, float(critical), shape=())) / critical
            if abs(found / BEST_DOSE - 1) > DOSE_TOLERANCE:
                raise CheckFailed(
                    f"With a critical dose of {critical:.0f} you spend {found * critical:.0f}: signal over noise is "
                    f"{_signal_to_noise(found) / _signal_to_noise(BEST_DOSE):.0%} of the best. "
                    + _name_dose_mistake(found)
                )


def check_scheme_budget(design_scheme: Callable, *, seed: int | None = 0) -> None:
    """Check that the budget is kept, that a small one is used up, and that no image falls below the least dose.

    ``design_scheme(max_tilt_deg, n_tilts, budget, least_dose, critical_dose)`` gives tilts [deg] and doses, in order.
    """
    with case(seed, "the budget is kept and used, and every image can be aligned") as rng:
        for session in (_plain(rng), _poor(rng), _rich(rng)):
            _, doses = _scheme(design_scheme, session)
            spent = doses.sum()
            told = (
                f"The budget is {session.budget:.1f}, and your {len(doses)} images get {spent:.1f} together. "
            )
            if spent > session.budget * (1 + ROUNDING):
                raise CheckFailed(told + "It is for all images together: share it among them.")
            if doses.min() < session.least_dose * (1 - ROUNDING):
                raise CheckFailed(
                    f"{told}One of them gets {doses.min():.2f}; to be aligned, it needs {session.least_dose:.2f}. If "
                    "the dose does not suffice for n_tilts images, take fewer: as many as it pays for."
                )
            if session.budget < session.critical_dose and spent < session.budget * (1 - WASTE):
                raise CheckFailed(
                    f"{told}This is far below the critical dose of {session.critical_dose:.0f}, so all of it is useful."
                )


def check_scheme_tilts(design_scheme: Callable, *, seed: int | None = 0) -> None:
    """Check that tilts reach both limits of the stage, in steps no wider than the affordable images allow.

    ``design_scheme(max_tilt_deg, n_tilts, budget, least_dose, critical_dose)`` gives tilts [deg] and doses, in order.
    """
    with case(seed, "tilts reach both limits of the stage, and no step is too wide") as rng:
        for session in (_plain(rng), _poor(rng)):
            tilts, _ = _scheme(design_scheme, session)
            reach, n = session.max_tilt_deg, session.n_affordable
            step = 2 * reach / (n - 1)
            told = f"The stage reaches ±{reach:.1f}°, the dose pays for {n} images in steps of {step:.2f}°; "
            ascending = np.sort(tilts)
            if np.abs(tilts).max() > reach * (1 + ROUNDING):
                raise CheckFailed(f"{told}you ask it for {tilts[np.abs(tilts).argmax()]:+.1f}°.")
            if ascending[0] > SHORT * step - reach or ascending[-1] < reach - SHORT * step:
                raise CheckFailed(
                    f"{told}your tilts reach from {ascending[0]:+.1f}° to {ascending[-1]:+.1f}°. The wedge depends on "
                    "the outermost tilts and on nothing else: go to the limit, on both sides."
                )
            widest = np.diff(ascending).max()
            if widest > step * (1 + ROUNDING):
                raise CheckFailed(
                    f"{told}your widest is {widest:.2f}°, with {len(tilts)} images. Both ends are recorded, so n tilts "
                    "have n − 1 steps between them."
                )
            if len(tilts) > SPARE * session.n_tilts:
                raise CheckFailed(
                    f"{told}{session.n_tilts} would do, and you take {len(tilts)}. More images share the same dose: "
                    "less in each, no less noise together, and more time to drift."
                )


def check_scheme_order(design_scheme: Callable, *, seed: int | None = 0) -> None:
    """Check that low tilts come first and both sides keep in step.

    ``design_scheme(max_tilt_deg, n_tilts, budget, least_dose, critical_dose)`` gives tilts [deg] and doses, in order.
    """
    with case(seed, "low tilts come first, and θ and −θ find the specimen equally spoilt") as rng:
        session = _plain(rng)
        tilts, doses = _scheme(design_scheme, session)
        before = accumulated_dose(doses, np.arange(len(doses)))
        up, down = tilts > 0, tilts < 0
        if up.any() and down.any():  # a side that is left out is charged by check_scheme_tilts
            twin = np.abs(tilts[up][:, None] + tilts[down]).argmin(axis=1)
            apart = np.abs(before[up] - before[down][twin]).mean()
            if apart > APART:
                raise CheckFailed(
                    f"Between an image at +θ and its twin at −θ you spend {apart:.0%} of the dose, on average. "
                    + _name_order(tilts)
                    + " Take both sides in turn: 0, +, −, −, +, + …"
                )
        low = np.abs(tilts) <= np.abs(tilts).max() / 3
        if not low.any():
            raise CheckFailed("No tilt is in the inner third: the detail in the film's plane is not seen.")
        if before[low].mean() > EARLY:
            raise CheckFailed(
                f"The tilts of the inner third find {before[low].mean():.0%} of the dose spent, on average; it could "
                "be 17 %. Begin with the low tilts and work outwards: they see the detail in the film's plane."
            )


def check_scheme_detail(design_scheme: Callable, *, seed: int | None = 0) -> None:
    """Check that on an unseen specimen detail stands out more than if the same images shared the whole budget.

    ``design_scheme(max_tilt_deg, n_tilts, budget, least_dose, critical_dose)`` gives tilts [deg] and doses, in order.
    """
    with case(
        seed, "on an unseen specimen detail stands out more than if the whole budget were spent"
    ) as rng:
        session = _rich(rng)
        tilts, doses = _scheme(design_scheme, session)
        if doses.sum() > session.budget * (1 + ROUNDING):  # charged by check_scheme_budget
            doses = doses * BEST_DOSE * session.critical_dose / doses.sum()
        period = DIAMETER * np.deg2rad(2 * session.max_tilt_deg / (session.n_tilts - 1))
        shells = _shells(rng, period)
        all_spent = np.full(len(doses), session.budget / len(doses))
        yours, theirs = (
            _detail(shells, tilts, shares, session.critical_dose, period, rng)
            for shares in (doses, all_spent)
        )
        if yours < GAIN * theirs:
            raise CheckFailed(
                f"Detail with a critical dose of {session.critical_dose:.0f}, reconstructed from your series of dose "
                f"{doses.sum():.0f}: signal over noise {yours:.2f}. The same images with the whole budget of "
                f"{session.budget:.0f} have {theirs:.2f}; at least {GAIN * theirs:.2f} is expected. A budget is a "
                "limit, not a duty: what is spent beyond `useful_dose` destroys more than it shows, and with far less "
                "the detail drowns in noise."
            )


def _scheme(design_scheme: Callable, session: Session) -> tuple[np.ndarray, np.ndarray]:
    tilts, doses = call(design_scheme, *session, shape=(2, None))
    if tilts.size < 3:
        raise CheckFailed(f"Your scheme has {tilts.size} images; {session.n_tilts} are wanted.")
    if doses.min() <= 0:
        raise CheckFailed(
            f"Image {doses.argmin()} gets a dose of {doses.min():.2f}. Return tilts first, doses second, both in the "
            "order of acquisition; each dose is positive."
        )
    if np.unique(tilts).size < 3 or np.abs(tilts).max() > 180:
        raise CheckFailed(
            f"Your scheme has {np.unique(tilts).size} different tilts, up to {np.abs(tilts).max():.3g}°; "
            f"{session.n_tilts} are wanted, in degrees."
        )
    return tilts, doses


def _plain(rng: np.random.Generator) -> Session:
    """Return a budget that hardly damages and pays for all images."""
    n_tilts, critical = int(rng.integers(21, 46)), float(rng.uniform(100, 800))
    budget = critical * rng.uniform(0.1, 0.3)
    return Session(
        float(rng.uniform(55, 70)), n_tilts, budget, budget / n_tilts / rng.uniform(2, 3), critical
    )


def _poor(rng: np.random.Generator) -> Session:
    """Return a budget that does not pay for all images."""
    session = _plain(rng)
    n_affordable = int(session.n_tilts * rng.uniform(0.4, 0.8))
    return session._replace(least_dose=session.budget / (n_affordable + 0.5))


def _rich(rng: np.random.Generator) -> Session:
    """Return a budget that would destroy the detail."""
    critical = float(rng.uniform(100, 400))
    n_tilts = int(rng.integers(14, 19))
    return Session(float(rng.uniform(55, 65)), n_tilts, 10 * critical, critical / n_tilts / 100, critical)


def _signal_to_noise(dose: float) -> float:
    """Return signal over noise of the wanted detail, up to a factor, after a dose in critical doses."""
    return float(-np.expm1(-dose) / np.sqrt(dose)) if dose > 0 else 0.0


def _name_dose_mistake(found: float) -> str:
    mistakes = {
        1.0: "At the critical dose 1/e of the detail is left; that is not where signal over noise is largest.",
        BEST_DOSE / 2: "It is half of the best: the amplitude falls as exp(−D/D_c), not as exp(−2D/D_c).",
        2 * BEST_DOSE: "It is twice the best: the amplitude falls as exp(−D/D_c), not as its root.",
    }
    for dose, mistake in mistakes.items():
        if abs(found / dose - 1) < DOSE_TOLERANCE:
            return mistake
    return "Plot (1 − exp(−D/D_c))/√D against D/D_c and look for its top."


def _name_order(tilts: np.ndarray) -> str:
    steps = np.diff(tilts)
    if (steps > 0).all() or (steps < 0).all():
        return "It is one sweep from end to end, so one side is seen fresh and the other spoilt."
    if (np.diff(np.sign(steps)) != 0).sum() <= 2:
        return "One side comes after the other (a bidirectional series)."
    return "The two sides are not in step."


def _shells(rng: np.random.Generator, period: float) -> np.ndarray:
    """Return a round slice (n, n, REPEATS) of shells a period apart: the same detail in all directions."""
    n = DIAMETER + MARGIN
    z, y = np.indices((n, n)) - (n - 1) / 2
    radius = np.hypot(z, y)
    waves = np.cos(2 * np.pi * (radius / period + rng.uniform()))
    inside = np.clip((DIAMETER + 1) / 2 - radius, 0, 1)
    slice_ = inside * (0.5 + 0.3 * waves)
    return np.repeat(slice_[:, :, None], REPEATS, axis=2).astype(np.float32)


def _detail(
    volume: np.ndarray,
    tilts: np.ndarray,
    doses: np.ndarray,
    critical: float,
    period: float,
    rng: np.random.Generator,
) -> float:
    """Signal over noise of detail of this period, by weighted back-projection of a damaged, noisy series.

    Signal is how much of the undamaged detail is left; all slices are one specimen, each with noise of its own.
    """
    A = Projector(TiltGeometry(tilts, volume.shape))
    fresh, total = A(volume), doses.sum()
    # in pixels, so that exp(−2π²·spread²/period²) = exp(−total/critical)
    spread = np.sqrt(total / critical / 2) * period / np.pi
    spent = accumulated_dose(doses, np.arange(len(doses)))
    spoilt = np.maximum(damaged(fresh, spent, mass_loss=0, blur_px=spread), 0)
    recorded = Detector(dose=doses.mean()).expose(spoilt, rng, dose_weights=doses / doses.mean())
    f_z, f_y = np.meshgrid(*(np.fft.fftfreq(n, 1 / period) for n in volume.shape[:2]), indexing="ij")
    ring = np.abs(np.hypot(f_z, f_y) - 1) < 0.15
    true, left, noisy = (
        np.fft.fft2(wbp(A, images), axes=(0, 1))[ring] for images in (fresh, spoilt, recorded)
    )
    signal = np.vdot(true, left).real / np.linalg.norm(true)
    return float(signal / np.linalg.norm(noisy - left))
