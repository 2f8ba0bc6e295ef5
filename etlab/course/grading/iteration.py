"""Checks of weighted back-projection and of SIRT for one slice (lab 3).

A slice is a vector x of voxels and its images a vector y = A x of rays, A being a sparse matrix as in
:mod:`etlab.reference`; as pictures they are ``x.reshape(nz, ny)`` and ``y.reshape(n_tilts, n_rows)``.

Each mistake is charged once: the back-projection is given images that are filtered, a step of SIRT its
weights, the iteration its weights and its step, and the stopping rule the residuals of a right run. Where the
filter and the iteration should end has no single answer. It is judged by the PSNR of slices drawn at random,
against the best that somebody who knows the truth could have chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps

import numpy as np
import scipy.fft
from scipy.sparse import csr_array

from etlab.course.grading.calling import CheckFailed, call, case
from etlab.course.grading.iteration_mistakes import (
    name_ends_mistake,
    name_ramp_mistake,
    name_residual_mistake,
    name_run_mistake,
    name_scale_mistake,
    name_share_mistake,
    name_step_mistake,
    name_stop_mistake,
    name_weight_mistake,
    name_window_mistake,
)
from etlab.course.grading.likeness import ROUNDING, alike
from etlab.forward import Detector
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.metrics import psnr
from etlab.phantoms import ellipsoids
from etlab.reference import sparse_matrix
from etlab.solvers._sirt import inverse
from etlab.solvers._wbp import WINDOWS, padded_length, ramp_filter, tilt_weights

RAMP_TOLERANCE = 0.04  # relative, of filtered wave packets
RIM_TOLERANCE = 0.15  # relative, far from a bright spot
SCALE_TOLERANCE = 0.04  # relative; half a step for the first and the last tilt costs 0.02
SHARE_TOLERANCE = 0.02  # relative, of the weight of a tilt
SEEN = 1e-6  # sums of weights below this are rounding: nothing was met
EMPTY = 12  # rows from a spot 2 rows wide, beyond which nothing is left of it

N_SLICES = 3  # of each dose, whose mean PSNR is judged
N_ITER = 150  # the best iterate at the highest dose is the 110th or earlier
# Over 50 cases, at the worst of the three doses: windows of four shapes that move with the dose lose up to 0.6 dB (one
# Hann window for all doses: at least 1.2), the discrepancy principle up to 1.5 (one iteration for all: at least 2.4).
WINDOW_LOSS = 1.0  # dB below the best Hann window
STOP_LOSS = 2.0  # dB below the best of N_ITER iterates
SERIES = TiltGeometry(linear_tilts(75, 3), (48, 48, 1), 64)  # of the slices whose PSNR is judged


def random_slice(geometry: TiltGeometry, seed: int | np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw ten random particles: a slice (nz, ny) and its exact, noise-free images (n_tilts, n_rows).

    Their semi-axes lie between 0.8 and 11 voxels, their densities between 0.2 and 0.5. The images are line
    integrals of ellipses in closed form, so that no matrix explains them exactly.
    """
    rng = np.random.default_rng(seed)
    nz, ny, _ = geometry.volume_shape
    radius = np.exp(rng.uniform(np.log(1.2), np.log(7), 10))
    stretch = np.exp(rng.uniform(-0.4, 0.4, 10))
    distance = np.sqrt(rng.random(10)) * (min(nz, ny) / 2 - 2 - 1.5 * radius)
    direction = rng.uniform(0, 2 * np.pi, 10)
    slice_, images = ellipsoids(
        TiltGeometry(geometry.tilts_deg, (nz, ny, 1), geometry.n_rows),
        np.stack([distance * np.sin(direction), distance * np.cos(direction), np.zeros(10)], axis=1),
        np.stack([radius * stretch, radius / stretch, np.full(10, np.inf)], axis=1),
        rng.uniform(0.2, 0.5, 10),
        turned_deg=rng.uniform(0, 180, 10),
    )
    return slice_[:, :, 0].astype(np.float64), images[:, :, 0].astype(np.float64)


# ------------------------------------------------------------------------------------ weighted back-projection


def check_ramp(ramp: Callable, *, seed: int | None = 0) -> None:
    """Check that ``ramp(images)`` multiplies a wave of k cycles per pixel by k, in each image by itself."""
    with case(seed, "a wave of k cycles per pixel comes back k times as strong") as rng:
        n_rows = int(rng.integers(96, 129))
        k = rng.permutation(np.linspace(0.1, 0.4, 6) + rng.uniform(-0.02, 0.02, 6))
        s = np.arange(n_rows) - n_rows / 2 - rng.uniform(-8, 8, (6, 1))
        wave = np.cos(2 * np.pi * (k[:, None] * s + rng.random((6, 1))))
        packets = _unit(rng) * np.exp(-((12 * s / n_rows) ** 2) / 2) * wave
        expected = _ramped(packets)
        found = call(ramp, packets, shape=packets.shape)
        miss = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
        worst = int(np.argmax(miss))
        if miss[worst] > RAMP_TOLERANCE:
            mixture = np.linalg.lstsq(packets.T, found.T)[0].T
            remainder = float(np.linalg.norm(found - mixture @ packets)) / max(
                float(np.linalg.norm(found)), 1e-9
            )
            raise CheckFailed(
                f"A wave of {k[worst]:.3f} cycles per pixel comes back {mixture[worst, worst]:.3f} times as strong, "
                f"expected {k[worst]:.3f} times; what comes back differs from what should by {miss[worst]:.0%}. "
                + name_ramp_mistake(k, mixture, remainder)
            )


def check_ramp_ends(ramp: Callable, *, seed: int | None = 0) -> None:
    """Check that ``ramp(images)`` does not depend on how much empty detector is beside the specimen."""
    with case(seed, "empty detector beside the specimen changes nothing") as rng:
        n_rows, beside = rng.integers((60, 300), (80, 400))
        spots = n_rows * np.array([[0.2], [0.8]]) + rng.uniform(-2, 2, (2, 1))
        distance = np.arange(n_rows) - spots
        images = _unit(rng) * rng.uniform(1, 5, (2, 1)) * np.exp(-(distance**2) / 8)
        found = call(ramp, images, shape=images.shape)
        if alike(found, np.vdot(found, images) / np.vdot(images, images) * images):
            raise CheckFailed("The images are not filtered: beside a bright spot the ramp leaves a dark rim.")
        if np.ptp(found, axis=1).max() < ROUNDING * np.abs(found).max():
            raise CheckFailed("Filtered images are the same in every row: are the images looked at?")
        margins = np.pad(images, ((0, 0), (beside, beside)))
        expected = call(ramp, margins, shape=margins.shape)[:, beside:-beside]
        for image, spot, s, one, other in zip(images, spots, distance, found, expected, strict=True):
            far = np.abs(s) > EMPTY
            rim = np.maximum(np.abs(other[far]), image.sum() / (2 * np.pi**2 * s[far] ** 2))
            excess = (one - other)[far]
            worst = int(np.argmax(np.abs(excess) / rim))
            if np.abs(excess[worst]) > RIM_TOLERANCE * rim[worst]:
                row = np.flatnonzero(far)[worst]
                raise CheckFailed(
                    f"Of a spot on row {spot[0]:.0f} of {n_rows}, row {row} gets {one[row]:+.5f} by filtering. With "
                    f"{beside} more empty rows on either side the same row gets {other[row]:+.5f}. "
                    + name_ends_mistake(excess, s[far])
                )


def check_wbp_scale(backproject: Callable, *, seed: int | None = 0) -> None:
    """Check that ``backproject(A, filtered, tilts_deg)`` gives a disc seen from all round its own density."""
    with case(seed, "a disc seen from all round comes back with its own density") as rng:
        for n in (45, 48):
            tilts = _all_round(rng)
            radius, density = rng.uniform(9, 14), rng.uniform(0.5, 2) * (_unit(rng) if n == 48 else 1)
            geometry = TiltGeometry(tilts, (n, n, 1), 70)
            _, images = ellipsoids(
                geometry, np.zeros((1, 3)), np.array([[radius, radius, np.inf]]), np.array([density])
            )
            filtered = _ramped(images[:, :, 0].astype(np.float64))
            x = call(backproject, sparse_matrix(geometry), filtered, tilts, shape=(n * n,))
            z, y = np.indices((n, n)) - (n - 1) / 2
            ratio = x.reshape(n, n)[np.hypot(z, y) < radius - 3].mean() / density
            if abs(ratio - 1) > SCALE_TOLERANCE:
                raise CheckFailed(
                    f"A disc of density {density:.2f}, seen at {tilts.size} even tilts from all round, comes back "
                    f"with {ratio * density:.3g}. " + name_scale_mistake(ratio, tilts.size)
                )


def check_wbp_shares(backproject: Callable, *, seed: int | None = 0) -> None:
    """Check that ``backproject(A, filtered, tilts_deg)`` weights each tilt by its part of the half turn.

    A wrong scale is charged by `check_wbp_scale`: here weights are relative to those of even tilts all round.
    """
    with case(seed, "each tilt counts by its share of the half turn, and no tilt gets the wedge") as rng:
        even = _all_round(rng)
        scale = np.median(_weights_given(backproject, even, rng) / tilt_weights(even))
        if scale == 0:
            raise CheckFailed("The slice is zero everywhere: nothing was back-projected.")
        uneven = np.concatenate([np.arange(-60, 0, 5.0), np.arange(0, 62, 2.0)]) + rng.uniform(-0.5, 0.5, 43)
        for tilts in (linear_tilts(60, 3), uneven, rng.permutation(uneven)):
            weights = _weights_given(backproject, tilts, rng) / scale
            shares = tilt_weights(tilts)
            # the first and the last stand for half a step or, as if the series went on, for a whole one
            border = (tilts == tilts.min()) | (tilts == tilts.max())
            miss = np.where(
                border & (weights < shares), np.maximum(shares / 2 - weights, 0), weights - shares
            )
            worst = int(np.argmax(np.abs(miss) / shares))
            if abs(miss[worst]) > SHARE_TOLERANCE * shares[worst]:
                raise CheckFailed(
                    f"Of {tilts.size} tilts between {tilts.min():.1f}° and {tilts.max():.1f}°, that at "
                    f"{tilts[worst]:.1f}° stands for {np.rad2deg(shares[worst]):.2f}° of the half turn; yours for "
                    f"{np.rad2deg(weights[worst]):.2f}°. " + name_share_mistake(weights, tilts)
                )


def check_wbp_window(window: Callable, *, seed: int | None = 0) -> None:
    """Check that with ``window(k, dose)`` unseen slices reach their floor in PSNR."""
    with case(seed, "with your window unseen slices reach their floor, at low and at high dose") as rng:
        A, shares = sparse_matrix(SERIES), tilt_weights(SERIES.tilts_deg)[:, None]
        k = scipy.fft.rfftfreq(padded_length(SERIES.n_rows))
        ends = np.geomspace(0.1, 2, 20)  # of Hann windows, in cycles per pixel
        for dose, exposed in _exposures(rng):
            windows = [call(window, k, dose, shape=k.shape)]
            windows += [WINDOWS["hann"](np.minimum(k / end, 1)) for end in ends]
            reached = [
                np.mean([psnr(A.T @ (shares * _ramped(y, one)).ravel(), truth) for truth, y in exposed])
                for one in windows
            ]
            best = int(np.argmax(reached[1:]))
            floor = reached[1 + best] - WINDOW_LOSS
            if reached[0] < floor:
                raise CheckFailed(
                    f"At {dose:.2g} counts per unit line integral your window gives {reached[0]:.1f} dB, the mean "
                    f"of {N_SLICES} slices. The floor is {floor:.1f} dB, {WINDOW_LOSS:g} dB below a Hann window "
                    f"that ends at {ends[best]:.2f} cycles per pixel. "
                    + name_window_mistake(k, windows[0], windows[1 + best])
                )


# -------------------------------------------------------------------------------------------------------- SIRT


def check_sirt_weights(sirt_weights: Callable, *, seed: int | None = 0) -> None:
    """Check that ``sirt_weights(A)`` returns R = 1/(A 1) and C = 1/(Aᵀ 1), and 0 where nothing is met."""
    with case(seed, "R and C are the inverse sums of A's rows and columns, 0 where nothing is met") as rng:
        for n_rows in (40, 9):  # rays that meet no voxel, voxels that meet no ray
            A = _random_matrix(rng, n_rows)
            found = _call_for_two(sirt_weights, A, shapes=((A.shape[0],), (A.shape[1],)))
            sums = A.sum(axis=1), A.sum(axis=0)
            for name, what, weights, total in zip("RC", ("ray", "voxel"), found, sums, strict=True):
                if weights[total == 0].any():
                    raise CheckFailed(
                        f"A {what} that meets nothing has {name} = {weights[total == 0].max():g}, expected 0: "
                        "nothing is known there, and nothing is to be changed."
                    )
                met = total > SEEN
                worst = int(np.argmax(np.abs(weights * total - 1) * met))
                if abs(weights[worst] * total[worst] - 1) > ROUNDING:
                    raise CheckFailed(
                        f"A {what} whose weights in A sum to {total[worst]:.3f} has {name} = {weights[worst]:.4g}, "
                        f"expected {1 / total[worst]:.4g}. "
                        + name_weight_mistake(A, name, weights * met, total * met)
                    )


def check_sirt_step(sirt_step: Callable, *, seed: int | None = 0) -> None:
    """Check that ``sirt_step(A, x, y, R, C)`` restores a uniform slice, keeps a solution, never raises the residual."""
    with case(
        seed, "a step restores a uniform slice, keeps a solution, and never raises the residual"
    ) as rng:
        for n_rows, unit in ((36, 1.0), (37, _unit(rng))):
            A = _random_matrix(rng, n_rows)
            low, high = unit * rng.uniform((2, 3), (2.5, 3.5))
            for before, after in ((low, high), (high, low)):
                _check_uniform(sirt_step, A, before, after)
            _check_solution_and_misfit(sirt_step, A, unit * rng.random(A.shape[1]), unit, rng)


def _check_uniform(sirt_step: Callable, A: csr_array, before: float, after: float) -> None:
    """Check that a step leads from one uniform slice to another."""
    R, C = _sirt_weights(A)
    ones = np.ones(A.shape[1])
    x = call(sirt_step, A, before * ones, A @ (after * ones), R, C, shape=ones.shape)
    if np.allclose(x, after, rtol=ROUNDING):
        return
    twice = call(sirt_step, A, 2 * before * ones, A @ (2 * after * ones), R, C, shape=ones.shape)
    raise CheckFailed(
        f"From a slice that is {before:.2f} everywhere, and images of one that is {after:.2f} everywhere, a step "
        f"leads to {after:.2f}; yours to values from {x.min():.3g} to {x.max():.3g}. "
        + name_step_mistake(A, R, C, x - before, after - before, cut=x.max() if alike(x, twice) else None)
    )


def _check_solution_and_misfit(
    sirt_step: Callable, A: csr_array, solution: np.ndarray, unit: float, rng: np.random.Generator
) -> None:
    """Check that a solution is kept, and that the misfit of noisy images of this ``unit`` never rises."""
    R, C = _sirt_weights(A)
    x = call(sirt_step, A, solution, A @ solution, R, C, shape=solution.shape)
    if not np.allclose(x, solution, atol=ROUNDING * unit):
        raise CheckFailed(
            "A slice that explains its images exactly is kept by a step; yours changes it by up to "
            f"{np.abs(x - solution).max():.3g}. Only the difference y − A x is back-projected."
        )
    noisy = A @ solution + unit * rng.standard_normal(A.shape[0])
    x, last = np.zeros(A.shape[1]), np.inf
    for number in range(1, 21):
        x = call(sirt_step, A, x, noisy, R, C, shape=solution.shape)
        misfit = np.sum(R * (noisy - A @ x) ** 2)
        if misfit > last * (1 + ROUNDING):
            raise CheckFailed(
                f"The misfit (y − A x)ᵀR(y − A x) rises at step {number}, from {last:.4g} to {misfit:.4g}. "
                "With R, C and the adjoint of A it cannot: what else is done to the slice?"
            )
        last = misfit


def check_sirt_nonnegative(sirt_step: Callable, *, seed: int | None = 0) -> None:
    """Check that ``sirt_step(A, x, y, R, C)`` sets to zero what would be negative."""
    with case(seed, "after a step nothing is negative") as rng:
        A = _random_matrix(rng, 36)
        R, C = _sirt_weights(A)
        before, y = (
            rng.uniform(0, 0.01, A.shape[1]),
            rng.standard_normal(A.shape[0]),
        )  # an empty slice and noise
        x = call(sirt_step, A, before, y, R, C, shape=before.shape)
        if x.min() < 0:
            raise CheckFailed(
                f"{np.sum(x < 0)} of {x.size} voxels are negative after a step, the lowest is {x.min():.3f}. "
                "Densities are not: set these to zero at the end of each step (np.maximum)."
            )
        if alike(x, before):
            raise CheckFailed("The slice has not changed.")
        if alike(x, call(sirt_step, A, before, -y, R, C, shape=before.shape)):
            raise CheckFailed("Other images change the slice in the same way: are they looked at?")
        if alike(x, np.abs(before + C * (A.T @ (R * (y - A @ before))))):
            raise CheckFailed(
                "What was negative has changed its sign. Set it to zero: np.maximum, not np.abs."
            )


def check_sirt_run(sirt: Callable, *, seed: int | None = 0) -> None:
    """Check that ``sirt(A, y, n_iter, weights, step)`` returns the last slice and ‖y − A x‖ after each step."""
    with case(seed, "the slice is that after n steps from zero, each residual belongs to its step") as rng:
        A, n_iter = _random_matrix(rng, 36), int(rng.integers(5, 9))
        y = _unit(rng) * (A @ rng.random(A.shape[1]) + rng.standard_normal(A.shape[0]))
        slices = [np.zeros(A.shape[1])]
        for _ in range(n_iter + 1):
            slices.append(_sirt_step(A, slices[-1], y, *_sirt_weights(A)))
        norms = np.array([np.linalg.norm(y - A @ x) for x in slices[:-1]])
        arguments = (A, y, n_iter, _sirt_weights, _sirt_step)
        x, residuals = _call_for_two(sirt, *arguments, shapes=(slices[0].shape, (n_iter,)))
        if not alike(x, slices[n_iter]):
            raise CheckFailed(
                f"With n_iter = {n_iter} the slice is not that after {n_iter} steps from zero. "
                + name_run_mistake(x, slices)
            )
        if not alike(residuals, norms[1:]):
            raise CheckFailed(
                f"After {n_iter} steps ‖y − A x‖ is {norms[-1]:.4f}; the last of your residuals is "
                f"{residuals[-1]:.4f}. " + name_residual_mistake(residuals, norms, y)
            )


def check_sirt_stop(stopping_point: Callable, *, seed: int | None = 0) -> None:
    """Check that ``stopping_point(residuals, images, dose)`` finds an iterate of enough PSNR without the truth."""
    with case(seed, "where you stop unseen slices reach their floor, at low and at high dose") as rng:
        A = sparse_matrix(SERIES)
        for dose, exposed in _exposures(rng):
            truths, images = zip(*exposed, strict=True)
            scores, residuals = _followed(A, np.array(truths).T, np.reshape(images, (N_SLICES, -1)).T)
            stops = [_stop(stopping_point, *one, dose) for one in zip(residuals.T, images, strict=True)]
            reached = np.mean([run[stop - 1] for run, stop in zip(scores.T, stops, strict=True)])
            floor = scores.max(axis=0).mean() - STOP_LOSS
            if reached < floor:
                noise = np.sqrt(np.sum(images, axis=(1, 2)) / dose)
                ratio = np.mean(residuals[np.array(stops) - 1, range(N_SLICES)] / noise)
                raise CheckFailed(
                    f"At {dose:.2g} counts per unit line integral you stop {N_SLICES} runs after "
                    f"{_listed(stops)} iterations, at {reached:.1f} dB in the mean. The floor is {floor:.1f} dB, "
                    f"{STOP_LOSS:g} dB below the best iterates, {_listed(scores.argmax(axis=0) + 1)}. "
                    + name_stop_mistake(stops, N_ITER, ratio)
                )


# ------------------------------------------------------------------------------------------------------- cases


def _unit(rng: np.random.Generator) -> float:
    """Return a scale of images: nothing that is asked for depends on it, and no density has an upper bound."""
    return float(10 ** rng.uniform(2, 3))


def _all_round(rng: np.random.Generator) -> np.ndarray:
    """Even tilts over half a turn, beginning anywhere."""
    n_tilts = int(rng.integers(60, 80))
    return -90 + 180 * (np.arange(n_tilts) + rng.random()) / n_tilts


def _random_matrix(rng: np.random.Generator, n_rows: int) -> csr_array:
    nz, ny = rng.integers(18, 22, 2)
    return sparse_matrix(TiltGeometry(rng.uniform(-75, 75, 12), (nz, ny, 1), n_rows))


def _exposures(rng: np.random.Generator) -> Iterator[tuple[float, list[tuple[np.ndarray, np.ndarray]]]]:
    """Yield a low, a middle and a high dose, each with N_SLICES random slices as vectors and their noisy images."""
    slices = [random_slice(SERIES, rng) for _ in range(N_SLICES)]
    for low, high in ((0.1, 0.15), (1, 2), (20, 30)):
        dose = float(rng.uniform(low, high))
        detector = Detector(dose=dose)
        yield (
            dose,
            [(x.ravel(), detector.expose(y[:, :, None], rng)[:, :, 0].astype(np.float64)) for x, y in slices],
        )


# ----------------------------------------------------------------------------------------------- right answers


def _ramped(images: np.ndarray, window: np.ndarray | float = 1.0) -> np.ndarray:
    n_rows, padded = images.shape[1], padded_length(images.shape[1])
    spectrum = scipy.fft.rfft(images, padded, axis=1) * ramp_filter(n_rows) * window
    return scipy.fft.irfft(spectrum, padded, axis=1)[:, :n_rows]


def _sirt_weights(A: csr_array) -> tuple[np.ndarray, np.ndarray]:
    return inverse(A.sum(axis=1)), inverse(A.sum(axis=0))


def _sirt_step(A: csr_array, x: np.ndarray, y: np.ndarray, R: np.ndarray, C: np.ndarray) -> np.ndarray:
    return np.maximum(x + C * (A.T @ (R * (y - A @ x))), 0)


def _followed(A: csr_array, truths: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return PSNR and ‖y − A x‖ after each of N_ITER iterations of SIRT, one column for each slice."""
    R, C = (weights[:, None] for weights in _sirt_weights(A))
    x, difference, scores, residuals = np.zeros_like(truths), images, [], []
    for _ in range(N_ITER):
        x = np.maximum(x + C * (A.T @ (R * difference)), 0)
        difference = images - A @ x
        scores.append([psnr(one, truth) for one, truth in zip(x.T, truths.T, strict=True)])
        residuals.append(np.linalg.norm(difference, axis=0))
    return np.array(scores), np.array(residuals)


# ------------------------------------------------------------------------------------------- student's answers


def _weights_given(backproject: Callable, tilts_deg: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the weight that ``backproject`` gives to each tilt, read from the slice it makes of random images."""
    geometry = TiltGeometry(tilts_deg, (32, 32, 1), 40)
    A, images = sparse_matrix(geometry), _unit(rng) * rng.standard_normal(geometry.images_shape[:2])
    x = call(backproject, A, images, tilts_deg, shape=(32 * 32,))
    smeared = A.T @ _one_by_one(images)
    weights, *_ = np.linalg.lstsq(smeared, x)
    if not np.allclose(smeared @ weights, x, atol=ROUNDING * np.abs(x).max()):
        raise CheckFailed(
            "The slice is no weighted sum of the smeared images. Multiply each image by its weight and apply A.T; "
            "do not filter again, and clip nothing."
        )
    return weights


def _one_by_one(images: np.ndarray) -> np.ndarray:
    """Return a column for each tilt, which holds that image and zeros for all others."""
    n_tilts, n_rows = images.shape
    columns = np.zeros((n_tilts, n_rows, n_tilts))
    columns[range(n_tilts), :, range(n_tilts)] = images
    return columns.reshape(-1, n_tilts)


def _call_for_two(function: Callable, *arguments: object, shapes: tuple) -> list[np.ndarray]:
    """Return the two arrays that the function returns, of these shapes."""
    answers = []

    @wraps(function)
    def kept(*given: object) -> object:
        answers.append(function(*given))
        return 0.0

    call(kept, *arguments, shape=())
    (answer,) = answers
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise CheckFailed(
            f"`{kept.__name__}` returned a {type(answer).__name__}, expected two arrays: `return a, b`."
        )
    if [np.shape(part) for part in answer] == list(shapes)[::-1] != list(shapes):
        raise CheckFailed(f"`{kept.__name__}` returned its two arrays in the other order.")
    return [
        call(wraps(function)(lambda part=part: part), shape=shape)
        for part, shape in zip(answer, shapes, strict=True)
    ]


def _stop(stopping_point: Callable, residuals: np.ndarray, images: np.ndarray, dose: float) -> int:
    stop = call(stopping_point, residuals, images, dose, shape=())
    if stop != int(stop) or not 1 <= stop <= len(residuals):
        raise CheckFailed(
            f"Of {len(residuals)} iterations you keep {stop:g}, expected a whole number from 1 to {len(residuals)}: "
            "residuals[0] is that after the first."
        )
    return int(stop)


def _listed(numbers: Iterable[float]) -> str:
    return ", ".join(str(int(number)) for number in numbers)
