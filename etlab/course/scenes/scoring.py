"""What an answer to a problem is worth: image quality, agreement with its own images, and how far off its spec is.

    score = 0.4·clip((PSNR − 10)/40, 0, 1) + 0.4·SSIM + 0.2·clip(1 − ‖y − Ĥ x̂‖/‖y‖, 0, 1),

Ĥ the operator with the *corrected* spec. The errors of the spec stand beside the score and do not enter it: a spec that
is off shows in the volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from etlab.arrays import checked
from etlab.course.scenes.problem import SPEC, Problem, Truth
from etlab.forward import Mismatch
from etlab.metrics import blind_score, consistency, psnr, ssim

Spec = Mismatch | Mapping[str, float]
ROUNDING = (
    1e-6  # of a range's width, by which a spec may be outside: single precision cannot hold its ends exactly
)


class AnswerError(ValueError):
    """Raised for an answer that cannot be scored; the message says why, in a line.

    Parameters
    ----------
    *args
        The message, as for `ValueError`.

    Examples
    --------
    >>> checked_spec({"tilt_angle": 9.0, "tilt_axis": 0.0, "defocus_gradient": 0.0}, {"tilt_angle": (-1, 1)})
    Traceback (most recent call last):
    etlab.course.scenes.scoring.AnswerError: corrected_spec: got tilt_angle = 9, expected -1 to 1
    """


@dataclass(frozen=True)
class Score:
    """One scored answer; all that needs the truth is NaN where the truth is sealed.

    Parameters
    ----------
    score
        Blind score, from 0 to 1.
    psnr_db
        PSNR of the volume in dB.
    ssim
        SSIM of the volume.
    consistency
        Share of the images that the volume explains.
    tilt_angle_error, tilt_axis_error
        Error of the spec, found − true, in degrees.
    defocus_gradient_error
        The same in nm/µm.

    Examples
    --------
    >>> Score(0.5, 24.0, 0.8, 0.9, 0.01, -0.02, 0.3).psnr_db
    24.0
    """

    score: float
    psnr_db: float
    ssim: float
    consistency: float
    tilt_angle_error: float
    tilt_axis_error: float
    defocus_gradient_error: float


def score_answer(
    problem: Problem, x_hat: np.ndarray, corrected_spec: Spec, truth: Truth | None = None
) -> Score:
    """Score a volume and the spec that it was reconstructed with.

    Parameters
    ----------
    problem
        What the solver was given.
    x_hat
        The volume, (nz, ny, nx).
    corrected_spec
        A `Mismatch`, or a mapping with its three numbers [deg, deg, nm/µm].
    truth
        The truth of the problem. Without it only the consistency is known.

    Returns
    -------
    Score
        The score and its parts.

    Raises
    ------
    AnswerError
        For a wrong shape or type, NaN or infinity, or a spec that lacks a number or leaves its range.

    Notes
    -----
    score = 0.4·clip((PSNR − 10)/40, 0, 1) + 0.4·SSIM + 0.2·clip(1 − ‖y − Ĥ x̂‖/‖y‖, 0, 1), with Ĥ the operator of the
    corrected spec.

    Examples
    --------
    >>> from etlab.course.scenes.draw import draw
    >>> problem, truth = draw("public", 0, "small")
    >>> perfect = score_answer(problem, truth.x_true, truth.mismatch, truth)
    >>> perfect.ssim, perfect.tilt_angle_error
    (1.0, 0.0)
    """
    x_hat, spec = checked_answer(problem, x_hat, corrected_spec)
    explained = consistency(problem.operator(spec), problem.y, x_hat)
    if truth is None:
        return Score(*[np.nan] * 3, explained, *[np.nan] * 3)  # type: ignore[call-arg]  # mypy cannot count these
    quality, similarity = psnr(x_hat, truth.x_true), ssim(x_hat, truth.x_true)
    found, true = asdict(spec), asdict(truth.mismatch)
    errors = (found[name] - true[name] for name in SPEC)
    return Score(blind_score(quality, similarity, explained), quality, similarity, explained, *errors)


def checked_answer(problem: Problem, x_hat: np.ndarray, corrected_spec: Spec) -> tuple[np.ndarray, Mismatch]:
    """Return the answer as float32 and `Mismatch`. Raises AnswerError if it is not one to this problem."""
    try:
        return (
            checked("x_hat", x_hat, problem.geometry.volume_shape),
            checked_spec(corrected_spec, problem.spec_ranges),
        )
    except AnswerError:
        raise
    except (TypeError, ValueError) as error:
        raise AnswerError(str(error)) from error


def checked_spec(spec: Spec, ranges: Mapping[str, tuple[float, float]]) -> Mismatch:
    """Return ``spec`` as a `Mismatch`, cut to ``ranges`` by no more than rounding.

    Raises AnswerError if a number is missing, unknown, not finite or outside its range.
    """
    given = asdict(spec) if isinstance(spec, Mismatch) else spec
    if not isinstance(given, Mapping) or set(given) != set(SPEC):
        raise AnswerError(f"corrected_spec: expected a Mismatch or exactly {', '.join(SPEC)}")
    numbers = {}
    for name in SPEC:
        low, high = ranges[name]
        try:
            value = float(given[name])
        except (TypeError, ValueError) as error:
            raise AnswerError(f"corrected_spec: {name} is no number") from error
        slack = ROUNDING * (high - low)
        if not low - slack <= value <= high + slack:  # false for NaN too
            raise AnswerError(f"corrected_spec: got {name} = {value:g}, expected {low:g} to {high:g}")
        numbers[name] = min(max(value, low), high)
    return Mismatch(**numbers)
