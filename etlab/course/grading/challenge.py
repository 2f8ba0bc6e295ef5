"""Checks of rows, calibration and answers of the blind challenge (lab 6).

A scene is drawn anew for every case: specimen, noise and microscope. Its truth is in memory only, so that no file of
a tier, sealed or not, helps; a function that goes through the memory of its own process can find it. Floors are
relative to what the course's own row makes of the same scene with the true microscope.

Mistakes are charged once: rows are told the true microscope, and functions about boards and files are given the
check's own rows and answers. Only ``solve`` runs with all that it stands on. How near its spec is to the truth is not
asked there, but whether the volume was made with it, and how good the volume is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from etlab.course.challenge import Report
from etlab.course.challenge.submission import read_answer
from etlab.course.grading.calling import CheckFailed, answered, call, case
from etlab.course.grading.challenge_cases import (
    RANGES,
    SPARSE,
    TINY,
    WIDTHS,
    copied,
    far_off,
    hard_to_guess,
    scene,
    tiny_scene,
    written_tier,
)
from etlab.course.grading.challenge_mistakes import (
    explained,
    in_words,
    is_images,
    name_row_mistake,
    name_score_mistake,
    name_spec_mistake,
)
from etlab.course.scenes import AnswerError, FileError, Problem, Truth, hdf5, score_answer, scoring
from etlab.course.scenes.baselines import reconstruct
from etlab.course.scenes.draw import scene_name
from etlab.course.scenes.problem import SPEC
from etlab.forward import Mismatch
from etlab.metrics import psnr
from etlab.solvers import sirt

# dB below the course's own row: other windows and weightings lose up to 0.6, none at all 1.6 and more
WBP_LOSS = 1.0
SIRT_LOSS = 1.5  # dB; 20 to 100 iterations lose up to 1.0, five 2.7 and more
NEGATIVE = 0.01  # density; gold is 1
# of the range; with 21 tilts `calibrate` has standard deviations of 0.06, 0.05 and 0.015, and less with 29
SPEC_TOLERANCE = {"tilt_angle": 0.25, "tilt_axis": 0.20, "defocus_gradient": 0.06}
SCORE_LOSS = 0.025  # below total variation with the true microscope
CALIBRATED = 0.02  # of the range: a spec nearer to zero than this in all its numbers is the log file's
# of the images: WBP explains 0.76 and more, images taken for a volume or the truth of another scene 0.64 and less
RECONSTRUCTED = 0.70
ROUNDING = 1e-4  # of a score
DEPENDS = 0.01  # relative change of a volume without the gradient; sound rows change by 0.03 and more
# dB in the outer half: refocused WBP gains 0.05 and more by being told g; blurring a second time loses 0.2 and more
BLURRED = -0.08


def check_wbp_row(wbp_row: Callable, *, seed: int | None = 0) -> None:
    """Check that ``wbp_row(problem, mismatch)`` is as good as weighted back-projection of the refocused images.

    Judged without noise: what noise costs depends on the window, which is a matter of taste.
    """
    with case(seed, "the row WBP-ET: weighted, and with the microscope that it is told") as rng:
        problem, truth = scene(rng, far_off(rng), dose=None)
        x_hat = _volume(wbp_row, problem, truth.mismatch)
        _check_made_with(wbp_row, x_hat, problem, truth.mismatch, in_parts=True)
        _check_quality("WBP-ET", x_hat, problem, truth, WBP_LOSS)
        _check_not_blurred_twice(x_hat, _without_gradient(wbp_row, x_hat, problem, truth.mismatch), truth)


def check_sirt_row(sirt_row: Callable, *, seed: int | None = 0) -> None:
    """Check that ``sirt_row(problem, mismatch)`` is as good as SIRT, sensibly stopped, and not negative."""
    with case(seed, "the row SIRT-ET: iterated long enough and not too long, never negative") as rng:
        problem, truth = scene(rng, far_off(rng))
        x_hat = _volume(sirt_row, problem, truth.mismatch)
        _check_made_with(sirt_row, x_hat, problem, truth.mismatch, in_parts=True)
        _check_quality("SIRT-ET", x_hat, problem, truth, SIRT_LOSS)
        _check_not_negative(x_hat)
        _without_gradient(sirt_row, x_hat, problem, truth.mismatch)


def check_cs_row(cs_row: Callable, *, seed: int | None = 0) -> None:
    """Check that ``cs_row(problem, mismatch)`` beats SIRT on the same scene and is not negative."""
    with case(seed, "the row CS-ET: better than SIRT-ET on the same scene, never negative") as rng:
        problem, truth = scene(rng, far_off(rng))
        x_hat = _volume(cs_row, problem, truth.mismatch)
        _check_made_with(cs_row, x_hat, problem, truth.mismatch, in_parts=True)
        _check_quality("SIRT-ET", x_hat, problem, truth, loss=0.0)
        _check_not_negative(x_hat)
        _without_gradient(cs_row, x_hat, problem, truth.mismatch)


def check_calibrated(calibrated: Callable, *, seed: int | None = 0) -> None:
    """Check that ``calibrated(problem)`` is a spec within its ranges, with each number near the truth."""
    with case(seed, "δ, φ and g are found from the images") as rng:
        problem, truth = scene(rng, hard_to_guess(rng), SPARSE)
        found = _spec(calibrated, answered(calibrated, copied(problem)))
        error = {name: getattr(found, name) - getattr(truth.mismatch, name) for name in SPEC}
        off = [name for name in SPEC if abs(error[name]) > SPEC_TOLERANCE[name] * WIDTHS[name]]
        if off:
            raise CheckFailed(name_spec_mistake(found, truth.mismatch, off, SPEC_TOLERANCE))


def check_solve_spec(solve: Callable, *, seed: int | None = 0) -> None:
    """Check that ``solve(problem)`` is a valid, calibrated answer whose volume was made with its spec."""
    with case(seed, "a valid answer, and volume and spec belong together") as rng:
        problem, _ = scene(rng, hard_to_guess(rng))
        x_hat, spec = _answer(solve, problem)
        if all(abs(getattr(spec, name)) < CALIBRATED * WIDTHS[name] for name in SPEC):
            raise CheckFailed(
                "`solve` hands in the microscope of the log file, δ = φ = g = 0. Calibrate, reconstruct with the "
                "operator `problem.operator(mismatch)`, and return the same mismatch."
            )
        share = explained(problem, x_hat, spec, scaled=True)
        if share < RECONSTRUCTED:
            raise CheckFailed(
                f"Whatever was reconstructed from the images explains {RECONSTRUCTED:.2f} of them or more; x_hat, "
                f"scaled as well as it can be, explains {share:.2f}. Was it made from these images?"
            )
        _check_made_with(solve, x_hat, problem, spec)


def check_solve_score(solve: Callable, *, seed: int | None = 0) -> None:
    """Check that ``solve(problem)`` scores nearly as much as total variation with the true microscope."""
    with case(seed, "the answer scores as total variation does with the true microscope, or more") as rng:
        problem, truth = scene(rng, hard_to_guess(rng))
        x_hat, spec = _answer(solve, problem)
        best = reconstruct("CS-ET", problem, truth.mismatch)
        floor = score_answer(problem, best, truth.mismatch, truth).score - SCORE_LOSS
        score = score_answer(problem, x_hat, spec, truth)
        if score.score < floor:
            raise CheckFailed(
                f"Your answer scores {score.score:.3f}, expected at least {floor:.3f}. "
                + name_score_mistake(score, x_hat, problem, truth)
            )


def check_score_rows(score_rows: Callable, *, seed: int | None = 0) -> None:
    """Check that ``score_rows(tier, rows, specs)`` scores each row on each scene with its spec, best row first."""
    with case(seed, "each row scored on each scene with its spec, refused answers as 0, best first") as rng:
        scenes = [tiny_scene(rng) for _ in range(3)]
        names = [scene_name(i) for i in range(len(scenes))]
        specs = {name: hard_to_guess(rng) for name in names}
        refused = int(rng.integers(len(scenes)))

        def sometimes(problem: Problem, mismatch: Mismatch) -> np.ndarray:
            volume = _few_iterations(problem, mismatch)
            return volume * np.nan if np.array_equal(problem.y, scenes[refused][0].y) else volume

        rows = {"nothing": _nothing, "sometimes NaN": sometimes, "SIRT": _few_iterations}
        with TemporaryDirectory() as folder:
            tier = written_tier(Path(folder) / "public.h5", scenes, list(range(len(scenes))), public=True)
            board = answered(score_rows, tier, dict(rows), dict(specs))
        _check_board(board, rows, scenes, list(specs.values()), refused)


def check_difference(difference: Callable, *, seed: int | None = 0) -> None:
    """Check that ``difference(one, other)`` is the mean of the paired differences and its standard error."""
    with case(seed, "the mean difference, scene by scene, and its standard error") as rng:
        n = int(rng.integers(4, 13))
        other = rng.normal(0.5, 0.04, n)
        one = other + rng.normal(0.01, 0.004, n)
        mean, error = call(difference, one, other, shape=(2,))
        paired = one - other
        right = paired.std(ddof=1) / np.sqrt(n)
        if not np.isclose(mean, paired.mean(), rtol=1e-6):
            hint = " It has the other sign: one − other." if np.isclose(mean, -paired.mean()) else ""
            raise CheckFailed(
                f"The mean of {n} differences is {paired.mean():+.5f}; yours {mean:+.5f}.{hint}"
            )
        if not np.isclose(error, right, rtol=1e-6):
            raise CheckFailed(
                f"The standard error of the mean of {n} differences is {right:.5f}; yours is {error:.5f}. "
                + _name_error_mistake(error, one, other)
            )


def check_hand_in(hand_in: Callable, *, seed: int | None = 0) -> None:
    """Check that ``hand_in(tier, solve, path)`` writes what ``solve`` gives for each scene and returns the report."""
    with case(seed, "every scene's own answer is in the file, and the file is valid") as rng:
        numbers = sorted(rng.choice(20, 3, replace=False).tolist())
        scenes = [tiny_scene(rng) for _ in numbers]
        answers = [(rng.random(TINY.volume_shape, np.float32), hard_to_guess(rng)) for _ in numbers]

        def solve(problem: Problem) -> tuple[np.ndarray, Mismatch]:
            (which,) = (i for i, (one, _) in enumerate(scenes) if np.array_equal(one.y, problem.y))
            return answers[which]

        with TemporaryDirectory() as folder:
            path = Path(folder) / "mine.h5"
            tier = written_tier(Path(folder) / "dev.h5", scenes, numbers, public=False)
            report = answered(hand_in, tier, solve, path)
            if not path.exists():
                raise CheckFailed("`hand_in` wrote no file at `path`. `write_submission` does it.")
            for number, (problem, _), (x_hat, spec) in zip(numbers, scenes, answers, strict=True):
                _check_written(path, scene_name(number), problem, x_hat, spec)
        if not isinstance(report, Report) or set(report.scenes) != set(map(scene_name, numbers)):
            raise CheckFailed(
                "`hand_in` wrote the right file. Let it also return what `score_submission(path, tier)` says of it, so "
                "that you see that the evaluator can read it."
            )


def _volume(row: Callable, problem: Problem, mismatch: Mismatch) -> np.ndarray:
    x_hat = call(row, copied(problem), mismatch, shape=problem.geometry.volume_shape)
    return _densities(row, x_hat).astype(np.float32)


def _densities(function: Callable, x_hat: np.ndarray) -> np.ndarray:
    """Return ``x_hat``, unless the evaluator would refuse its values, whose images overflow single precision."""
    if np.abs(x_hat).max() > hdf5.LARGEST:
        raise CheckFailed(
            f"`{function.__name__}` returned values up to {np.abs(x_hat).max():.0e}, expected densities, gold = 1; "
            f"the evaluator refuses more than {hdf5.LARGEST:.0e}."
        )
    return x_hat


def _check_made_with(
    function: Callable, x_hat: np.ndarray, problem: Problem, mismatch: Mismatch, *, in_parts: bool = False
) -> None:
    """Check that a volume explains its images best with this microscope, as one that was made with it does.

    ``in_parts``: δ and φ are each far enough from zero for a volume to show that one of them was left out. The gradient
    is not seen in this way, since rows of refocused images may explain them a little better without it.
    """
    ideas = {
        "": mismatch,
        "that of the log file": Mismatch(),
        "δ of the other sign": replace(mismatch, tilt_angle=-mismatch.tilt_angle),
        "φ of the other sign": replace(mismatch, tilt_axis=-mismatch.tilt_axis),
    }
    if in_parts:
        ideas["δ left out"] = replace(mismatch, tilt_angle=0.0)
        ideas["φ left out"] = replace(mismatch, tilt_axis=0.0)
    share = {idea: explained(problem, x_hat, other, scaled=True) for idea, other in ideas.items()}
    likeliest = max(share, key=lambda idea: share[idea])
    if likeliest and not is_images(x_hat, problem):
        raise CheckFailed(
            "A volume explains its images best with the microscope that it was made with. The volume that "
            f"`{function.__name__}` returns explains {share['']:.4f} of them with the mismatch that goes with it, and "
            f"{share[likeliest]:.4f} with {likeliest}. Is `problem.operator(mismatch)` what it was made with?"
        )


def _without_gradient(row: Callable, x_hat: np.ndarray, problem: Problem, mismatch: Mismatch) -> np.ndarray:
    """Return the volume by ``row`` with g = 0. Raises CheckFailed if it is the same: then the row ignores g."""
    without = _volume(row, problem, replace(mismatch, defocus_gradient=0.0))
    if np.linalg.norm(x_hat - without) < DEPENDS * np.linalg.norm(x_hat):
        raise CheckFailed(
            f"With g = {mismatch.defocus_gradient:+.1f} nm/µm and with g = 0 `{row.__name__}` returns the same volume: "
            "it ignores the focus gradient. Take it out of the images (`refocused`), or give the solver the operator "
            "`problem.operator(mismatch)`, which blurs as the microscope does."
        )
    return without


def _check_not_blurred_twice(x_hat: np.ndarray, without: np.ndarray, truth: Truth) -> None:
    """Check that far from the axis, where the focus is off, being told g makes a volume no worse."""
    ny = x_hat.shape[1]
    outer = np.abs(np.arange(ny) - (ny - 1) / 2) > ny / 4
    told, not_told = (psnr(one[:, outer], truth.x_true[:, outer]) for one in (x_hat, without))
    if told - not_told < BLURRED:
        raise CheckFailed(
            f"Far from the tilt axis, where the focus is off, your volume has {told:.2f} dB when it is told g, and "
            f"{not_told:.2f} dB when it is told g = 0. Back-projecting with Hᵀ blurs images a second time that the "
            "microscope has blurred already. Take the gradient out of the images first (chapter 12, `refocused`)."
        )


def _check_quality(row: str, x_hat: np.ndarray, problem: Problem, truth: Truth, loss: float) -> None:
    """Check that the PSNR is at most ``loss`` dB below that of the course's own row on the same scene."""
    own = reconstruct(row, problem, truth.mismatch)
    reached, quality = psnr(own, truth.x_true), psnr(x_hat, truth.x_true)
    if quality < reached - loss:
        raise CheckFailed(
            f"Your volume has a PSNR of {quality:.1f} dB, expected at least {reached - loss:.1f} dB; with the same "
            f"microscope {row} reaches {reached:.1f} dB. "
            + name_row_mistake(row, x_hat, own, problem, truth.mismatch)
        )


def _check_not_negative(x_hat: np.ndarray) -> None:
    if x_hat.min() < -NEGATIVE:
        raise CheckFailed(
            f"The volume has densities down to {x_hat.min():.2f}. No specimen has: let the solver keep x ≥ 0 while it "
            "iterates (`nonnegative=True`, its default). Then less noise finds a place in the volume."
        )


def _spec(function: Callable, spec: Any) -> Mismatch:
    """Return a spec within the ranges. Raises CheckFailed with what is wrong with it."""
    try:
        return scoring.checked_spec(spec, RANGES)
    except AnswerError as error:
        raise CheckFailed(f"`{function.__name__}` returned no valid spec. {error}.") from None


def _answer(solve: Callable, problem: Problem) -> tuple[np.ndarray, Mismatch]:
    """Return a valid answer. Raises CheckFailed with what is wrong with it."""
    answer = answered(solve, copied(problem))
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise CheckFailed(f"`solve` returned a {type(answer).__name__}, expected (x_hat, corrected_spec).")
    try:
        x_hat, spec = scoring.checked_answer(problem, *answer)
    except AnswerError as error:
        raise CheckFailed(f"The evaluator would refuse this answer. {error}.") from None
    return _densities(solve, x_hat), spec


def _nothing(problem: Problem, mismatch: Mismatch) -> np.ndarray:
    return np.zeros(problem.geometry.volume_shape, np.float32)


def _few_iterations(problem: Problem, mismatch: Mismatch) -> np.ndarray:
    return sirt(problem.operator(mismatch), problem.y, n_iter=5)


def _scores(
    row: Callable,
    scenes: list[tuple[Problem, Truth]],
    specs: list[Mismatch],
    stated: list[Mismatch] | None = None,
) -> np.ndarray:
    """Return the scores of a row, 0 for refused answers; ``stated`` are other specs than those it reconstructs with."""
    scores = []
    for (problem, truth), spec, other in zip(scenes, specs, stated or specs, strict=True):
        try:
            scores.append(score_answer(problem, row(problem, spec), other, truth).score)
        except AnswerError:
            scores.append(0.0)
    return np.array(scores)


def _check_board(
    board: object,
    rows: Mapping[str, Callable],
    scenes: list[tuple[Problem, Truth]],
    specs: list[Mismatch],
    refused: int,
) -> None:
    """Check the scores of every row on every scene, and the order of the rows."""
    expected = {row: _scores(make, scenes, specs) for row, make in rows.items()}
    if not isinstance(board, Mapping) or set(board) != set(expected):
        raise CheckFailed(f"`score_rows` returned {board!r:.80}, expected a dict with a key for each row.")
    for row, scores in expected.items():

        def of_this_row(row: str = row) -> object:
            return board[row]

        of_this_row.__name__ = f"score_rows(…)[{row!r}]"
        yours = call(of_this_row, shape=scores.shape)
        wrong = np.abs(yours - scores) > ROUNDING
        if not wrong.any():
            continue
        at = int(np.argmax(wrong))
        nominal = _scores(rows[row], scenes, specs, stated=[Mismatch()] * len(specs))
        if scores[refused] == 0 and wrong[refused]:
            hint = "A refused answer (`score_answer` raises AnswerError) scores 0 and costs no other scene."
        elif np.abs(yours - nominal).max() <= ROUNDING:
            hint = (
                "It is the score with the spec of the log file. Give `score_answer` the spec of this scene."
            )
        else:
            hint = "`score_answer(problem, x_hat, spec, truth).score`, with the spec and the truth of the same scene."
        raise CheckFailed(
            f"The row {row!r} scores {scores[at]:.4f} on scene number {at} of the tier; yours {yours[at]:.4f}. {hint}"
        )
    order = sorted(expected, key=lambda row: -expected[row].mean())
    if list(board) != order:
        raise CheckFailed(
            f"The scores are right. The best row, by the mean over the scenes, comes first: {', '.join(order)}; yours "
            f"begins with {next(iter(board))}."
        )


def _check_written(path: Path, name: str, problem: Problem, x_hat: np.ndarray, spec: Mismatch) -> None:
    """Check that the file's answer to one scene is this one."""
    try:
        written, stated = read_answer(path, name, problem)
    except (AnswerError, FileError) as error:
        raise CheckFailed(f"The evaluator would refuse {name}. {error}.") from None
    if not np.array_equal(written, x_hat):
        raise CheckFailed(f"The volume of {name} in the file is not what `solve` gave for this scene.")
    if not np.allclose(list(asdict(stated).values()), list(asdict(spec).values())):
        raise CheckFailed(
            f"The spec of {name} in the file is {in_words(stated)}; with this volume `solve` gave {in_words(spec)}."
        )


def _name_error_mistake(error: float, one: np.ndarray, other: np.ndarray) -> str:
    """Return what was computed instead of the standard error of the mean difference."""
    n, paired = len(one), one - other
    known = {
        "This is the standard deviation of the differences; their mean is known better, by √n.": paired.std(
            ddof=1
        ),
        "The sample's own mean was subtracted, so divide by n − 1 (`ddof=1`).": paired.std() / np.sqrt(n),
        "It takes the two rows for independent. They met the same scenes: take the differences first.": np.hypot(
            one.std(ddof=1), other.std(ddof=1)
        )
        / np.sqrt(n),
    }
    return next((words for words, value in known.items() if np.isclose(error, value)), "")
