"""Checks of total variation: the pieces, the minimum, λ without the truth, and what is lost (lab 4).

What is judged is the minimum, not the way to it: its cost is compared with a floor under the costs of all slices, which
dual variables give (:mod:`etlab.course.grading.least_variation`), so any algorithm that converges passes. Each mistake
is charged once: ∇ is handed to the algorithm, the algorithm is handed to the choice of λ, and the constraint x ≥ 0 does
not matter where the cost is judged: there the specimen is embedded and dense everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.ndimage
import scipy.sparse.linalg

from etlab.course.grading.calling import CheckFailed, call, case
from etlab.course.grading.least_variation import (
    Gradient,
    SliceProjector,
    balanced_lam,
    cost,
    least_cost,
    lengths,
    resolvent,
    shortened,
    solved,
)
from etlab.course.grading.variation_mistakes import (
    name_adjoint_mistake,
    name_ball_mistake,
    name_eigenvalue_mistake,
    name_minimum_mistake,
    name_resolvent_mistake,
    name_share_mistake,
    name_slope_mistake,
)
from etlab.metrics import psnr

ROUNDING = 1e-4  # relative; leaves room for a float32 implementation
EIGENVALUE_TOLERANCE = 0.05  # relative; 20 iterations of the power method reach 0.04 on ∇ᵀ∇
COST_TOLERANCE = 0.01  # above the floor; 500 iterations reach 0.005
LAM_TOLERANCE = 0.05  # relative; 500 iterations reach 0.01, as FISTA and ADMM do
CLIPPED_TOLERANCE = 0.02  # above the floor; clipping the last iterate instead of each stays above 0.04
WEAK_AND_STRONG = (0.1, 1.6)  # noise of images whose λ is chosen; the best λ differ by a factor of 12 to 100
PSNR_LOSS = 3.2  # dB, at the worse noise; the principles lose up to 2.6, one λ for both at least 3.4
SHARE_TOLERANCE = 0.1  # of the contrast planted


def check_gradient(gradient: Callable, *, seed: int | None = 0) -> None:
    """Check that ``gradient(slice_)``, (2, nz, ny), is right on planes and zero on constants only, up to the border."""
    with case(seed, "planes have their slope, constants none, and a checkerboard is seen") as rng:
        for shape in _shapes(rng):
            z, y = np.indices(shape)
            slope = rng.choice([-1, 1], 2) * rng.permutation([rng.uniform(0.2, 0.9), rng.uniform(1.2, 2)])
            field = call(gradient, slope[0] * z + slope[1] * y + 3.0, shape=(2, *shape))[:, 1:-1, 1:-1]
            miss = np.abs(field - slope[:, None, None])
            if miss.max() > 100 * ROUNDING:
                _, row, column = np.unravel_index(miss.argmax(), miss.shape)
                found = field[:, row, column]
                raise CheckFailed(
                    f"The plane {slope[0]:+.3f}·z {slope[1]:+.3f}·y has the gradient ({slope[0]:+.3f}, "
                    f"{slope[1]:+.3f}) everywhere; yours is ({found[0]:+.3f}, {found[1]:+.3f}) inside. "
                    + name_slope_mistake(found, slope)
                )
            level = rng.uniform(2, 5)
            field = call(gradient, np.full(shape, level), shape=(2, *shape))
            if np.abs(field).max() > ROUNDING * level:
                part, row, column = np.unravel_index(np.abs(field).argmax(), field.shape)
                raise CheckFailed(
                    f"A slice of {level:.2f} everywhere has no gradient; yours has {field[part, row, column]:+.2f} "
                    f"along {'zy'[part]} at (z={row}, y={column}). Outside the slice there is nothing, which is "
                    "not the same as zero: set the difference to zero where there is no next voxel."
                )
            field = call(gradient, (-1.0) ** (z + y), shape=(2, *shape))
            if lengths(field)[1:-1, 1:-1].min() < 1:
                raise CheckFailed(
                    "A checkerboard of ±1 is as rough as a slice can be, yet your gradient of it has length "
                    f"{lengths(field)[1:-1, 1:-1].min():.2f}: the voxel to the left is compared with the one to "
                    "the right (as np.gradient does), and the one between them is free. Compare neighbours."
                )


def check_gradient_adjoint(gradient: Callable, gradient_T: Callable, *, seed: int | None = 0) -> None:
    """Check that ⟨∇x, p⟩ = ⟨x, ∇ᵀp⟩ for random x and p, with the student's own border.

    ``gradient(slice_)`` gives a field (2, nz, ny), ``gradient_T(field)`` a slice.
    """
    with case(seed, "⟨∇x, p⟩ = ⟨x, ∇ᵀp⟩ for random x and p: yours is the adjoint of your gradient") as rng:
        products = []
        for shape in _shapes(rng):
            x, p = rng.standard_normal(shape), rng.standard_normal((2, *shape))
            within = np.pad(p[:, 2:-2, 2:-2], ((0, 0), (2, 2), (2, 2)))
            of_x = call(gradient, x, shape=(2, *shape))
            if not of_x.any():
                raise CheckFailed("Your gradient of random numbers is zero everywhere: write task 1a first.")
            back, exchanged, of_inner = (
                call(gradient_T, field, shape=shape) for field in (p, p[::-1].copy(), within)
            )
            pairs = [(of_x, p), (x, back), (x, exchanged), (of_x, within), (x, of_inner)]
            products.append([np.vdot(a, b) for a, b in pairs])
        left, right, exchanged, *inner = np.transpose(products)
        worst = int(np.argmax(np.abs(left - right)))
        if np.abs(left - right)[worst] > ROUNDING * np.linalg.norm(of_x) * np.linalg.norm(p):
            raise CheckFailed(
                f"For random x and p, ⟨∇x, p⟩ = {left[worst]:+.5f} but ⟨x, ∇ᵀp⟩ = {right[worst]:+.5f}. "
                + name_adjoint_mistake(left, right, exchanged, inner)
            )


def check_dual_ball(shortened_: Callable, *, seed: int | None = 0) -> None:
    """Check that ``shortened(p, bound)`` shortens vectors longer than ``bound`` to that length and keeps the others."""
    with case(seed, "vectors that are too long are shortened to the bound, the others stay") as rng:
        for shape in _shapes(rng):
            bound = float(np.exp(rng.uniform(np.log(0.1), np.log(20))))
            direction = rng.uniform(0, 2 * np.pi, shape)
            length = bound * rng.uniform(0, 3, shape) * (rng.random(shape) > 0.2)  # a fifth is zero
            field = length * np.stack([np.sin(direction), np.cos(direction)])
            hint = "A vector may be zero: do not divide by its length where that is so."
            found = _finite(hint, shortened_, field, bound, shape=field.shape)
            miss = lengths(found - shortened(field, bound))
            if miss.max() > ROUNDING * bound:
                row, column = np.unravel_index(miss.argmax(), shape)
                before, after = field[:, row, column], found[:, row, column]
                raise CheckFailed(
                    f"With bound {bound:.3f} the vector ({before[0]:+.3f}, {before[1]:+.3f}) of length "
                    f"{length[row, column]:.3f} becomes ({after[0]:+.3f}, {after[1]:+.3f}), length "
                    f"{np.linalg.norm(after):.3f}. {name_ball_mistake(field, found, bound)}"
                )


def check_resolvent(resolvent_: Callable, *, seed: int | None = 0) -> None:
    """Check that ``resolvent(q, y, sigma)`` is the r with the least ½‖r − q‖² + σ·(½‖r‖² + ⟨r, y⟩)."""
    with case(seed, "no other r has a smaller ½‖r − q‖² + σ·F*(r)") as rng:
        for shape in _shapes(rng):
            q, y = rng.standard_normal((2, *shape))
            sigma = float(np.exp(rng.uniform(np.log(0.05), np.log(5))))
            found = call(resolvent_, q, y, sigma, shape=shape)
            left_over = found - q + sigma * (found + y)  # the derivative, zero at the minimum
            if np.abs(left_over).max() > ROUNDING * (1 + sigma):
                least, yours = (
                    np.sum((r - q) ** 2) / 2 + sigma * (np.sum(r**2) / 2 + np.sum(r * y))
                    for r in (resolvent(q, y, sigma), found)
                )
                raise CheckFailed(
                    f"With σ = {sigma:.3f} your r makes ½‖r − q‖² + σ·F*(r) {yours:.3f}, the least is {least:.3f}. "
                    + name_resolvent_mistake(q, y, sigma, found)
                )


def check_largest_eigenvalue(largest_eigenvalue: Callable, *, seed: int | None = 0) -> None:
    """Check that ``largest_eigenvalue(apply, shape)`` of ∇ᵀ∇ and of AᵀA is right to 5 %."""
    with case(seed, "‖∇‖² and ‖A‖² come out right to 5 %") as rng:
        D = Gradient()
        for shape in _shapes(rng):
            A = SliceProjector(rng.uniform(-75, 75, 12), shape)
            factor = float(np.exp(rng.uniform(-5, 5)))
            operators = {
                "∇ᵀ∇": (_normal(D), sum(4 * np.cos(np.pi / (2 * n)) ** 2 for n in shape)),
                "AᵀA": (_normal(A), _largest(A)),
                f"{factor:.4g}·AᵀA": (_normal(A, factor), factor * _largest(A)),
            }
            for name, (apply, exact) in operators.items():
                hint = "Divide by the norm of x before each application; and a slice of ones has no gradient."
                found = float(_finite(hint, largest_eigenvalue, apply, shape, shape=()))
                if abs(found - exact) > EIGENVALUE_TOLERANCE * exact:
                    raise CheckFailed(
                        f"For a slice of {shape[0]}×{shape[1]} the largest eigenvalue of {name} is {exact:.4g}; "
                        f"yours is {found:.4g}. {name_eigenvalue_mistake(found, exact)}"
                    )


def check_tv_minimum(reconstruct: Callable, *, seed: int | None = 0) -> None:
    """Check that ``reconstruct(A, D, y, lam)`` costs at most 1 % more than the floor, in an embedded specimen."""
    with case(seed, "your slice costs at most 1 % more than any slice must") as rng:
        for lam in (0.12, 0.3):  # for each image
            A, y, _ = _series(rng, tilts=(15, 21), noise=(0.5, 1), embedded=True)
            lam = float(lam * rng.uniform(0.8, 1.25) * len(y))
            hint = "The iteration runs away: make the steps shorter."
            found = _finite(hint, reconstruct, A, Gradient(), y, lam, shape=A.slice_shape)
            times = cost(A, y, lam, found) / least_cost(A, y, lam)
            if times > 1 + COST_TOLERANCE:
                raise CheckFailed(
                    f"For λ = {lam:.3f} and {len(y)} images the cost ½‖A x − y‖² + λ·TV(x) of your slice is "
                    f"{times:.4g} times the floor; 1.01 was allowed. {name_minimum_mistake(A, y, lam, found)}"
                )
            balanced = balanced_lam(A, y, found)
            if abs(balanced / lam - 1) > LAM_TOLERANCE:
                raise CheckFailed(
                    f"The cost is low enough, but your slice balances the data against its variation as the minimum "
                    f"for λ = {balanced:.3f} does, not for the {lam:.3f} that was asked for. Near a minimum the cost "
                    "says little about λ; use `lam` as it is, without a factor, and iterate until nothing changes."
                )


def check_tv_nonnegative(reconstruct: Callable, *, seed: int | None = 0) -> None:
    """Check that no voxel is negative, and that the slice is the best of all such, not clipped at the end.

    ``reconstruct(A, D, y, lam)`` gives a slice (nz, ny).
    """
    with case(seed, "no voxel is negative, and the slice is nearly the best of all such") as rng:
        A, y, _ = _series(rng, tilts=(10, 15), noise=(0.8, 1.2))
        lam = float(0.02 * rng.uniform(0.8, 1.25) * len(y))
        hint = "The iteration runs away: see the check above."
        found = _finite(hint, reconstruct, A, Gradient(), y, lam, shape=A.slice_shape)
        if found.min() < -ROUNDING:
            raise CheckFailed(
                f"{np.mean(found < 0):.0%} of the voxels are negative, down to {found.min():.2f}. The step of x "
                "ends with a maximum of zero and what the step gave."
            )
        times = cost(A, y, lam, found) / least_cost(A, y, lam)
        if times > 1 + CLIPPED_TOLERANCE:
            raise CheckFailed(
                f"No voxel is negative, but the cost is {times:.4g} times the floor under all slices ≥ 0; 1.02 was "
                "allowed. If the check above holds: clip in every iteration, before looking ahead, not once at the end."
            )


def check_tv_lam(choose_lam: Callable, *, seed: int | None = 0) -> None:
    """Check that ``choose_lam(A, y, noise, solve)`` loses at most 3.2 dB against the best λ, in any noise."""
    with case(
        seed, f"weak noise or strong, your λ gives up less than {PSNR_LOSS} dB against the best"
    ) as rng:
        report, for_an_image, worst = [], [], 0.0
        A, clean, truth = _series(rng, tilts=(36, 48), noise=(0, 0), all_round=True)
        for noise in WEAK_AND_STRONG:
            noise = float(noise * rng.uniform(0.85, 1.15))
            y = clean + _noise(rng, clean.shape, noise)
            lam = float(call(choose_lam, A, y, noise, solved, shape=()))
            if lam <= 0:
                raise CheckFailed(
                    f"With noise of {noise:.3f} you choose λ = {lam:.3g}; it should be positive."
                )
            slice_ = solved(A, y, lam)
            trials = noise * len(y) * np.geomspace(0.03, 0.5, 6)
            loss = max(psnr(solved(A, y, trial), truth) for trial in trials) - psnr(slice_, truth)
            residual = np.sqrt(np.mean((A(slice_) - y) ** 2)) / noise
            for_an_image.append(lam / len(y))
            worst = max(worst, loss)
            report.append(
                f"With noise of {noise:.3f} you choose λ = {lam:.3g}, {max(loss, 0):.1f} dB below the best, with a "
                f"residual of {residual:.2f} times the noise."
            )
        if worst > PSNR_LOSS:
            hint = "A residual well below the noise: noise was explained. Well above: specimen was not."
            if max(for_an_image) < 2 * min(for_an_image):
                hint = "λ is nearly the same for both. It has to follow from the images."
            raise CheckFailed(f"{' '.join(report)} {PSNR_LOSS} dB were allowed. {hint}")


def check_tv_witness(contrast_kept: Callable, *, seed: int | None = 0) -> None:
    """Check that ``contrast_kept(A, y, lam, witness, solve)`` is the share of a witness's contrast that is left."""
    with case(seed, "what is left of a particle and of a void is measured to a tenth of its contrast") as rng:
        for contrast in (rng.uniform(0.2, 0.35), rng.uniform(-0.35, -0.2)):
            A, y, truth = _series(rng, tilts=(24, 32), noise=(0.2, 0.3))
            radius, lam = rng.uniform(2, 3), float(rng.uniform(0.15, 0.35) * len(y))
            room = truth == 0 if contrast > 0 else truth >= 0.5
            witness = contrast * _disc(A.slice_shape, _inside(room), radius)
            without, planted = solved(A, y, lam), solved(A, y + A(witness), lam)
            share = float(np.vdot(planted - without, witness) / np.vdot(witness, witness))
            found = float(call(contrast_kept, A, y, lam, witness, solved, shape=()))
            if abs(found - share) > SHARE_TOLERANCE:
                kind = "particle" if contrast > 0 else "void"
                alone = solved(A, A(witness), lam)
                raise CheckFailed(
                    f"Of a {kind} of radius {radius:.1f} voxels and contrast {contrast:+.2f}, {share:.2f} of the "
                    f"contrast is left at λ = {lam:.2f}; yours is {found:.2f}. "
                    + name_share_mistake(found, share, planted, alone, witness)
                )


def _finite(hint: str, function: Callable, *arguments: object, shape: tuple[int, ...]) -> np.ndarray:
    """As `call`, with a hint if the answer is NaN or infinite."""
    try:
        return call(function, *arguments, shape=shape)
    except CheckFailed as failure:
        if "infinite" in str(failure):
            raise CheckFailed(f"{failure} {hint}") from None
        raise


def _shapes(rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return four slices, wide and high, of odd and even sizes."""
    short, long = 2 * rng.integers(9, 12, 4), 2 * rng.integers(13, 16, 4)
    sizes = zip(short, long, [0, 0, 1, 1], [0, 1, 0, 1], strict=True)
    pairs = [(int(a + odd_a), int(b + odd_b)) for a, b, odd_a, odd_b in sizes]
    return [pair[::-1] if n % 2 else pair for n, pair in enumerate(pairs)]


def _normal(K: SliceProjector | Gradient, factor: float = 1.0) -> Callable[[np.ndarray], np.ndarray]:
    """Return the operator factor·KᵀK."""
    return lambda x: factor * K.T(K(x))


def _largest(A: SliceProjector) -> float:
    """Return the largest eigenvalue of AᵀA."""
    size = int(np.prod(A.slice_shape))
    normal = scipy.sparse.linalg.LinearOperator(
        (size, size), matvec=lambda x: A.T(A(x.reshape(A.slice_shape))).ravel(), dtype=float
    )
    return float(scipy.sparse.linalg.eigsh(normal, k=1, v0=np.ones(size), return_eigenvectors=False)[0])


def _series(
    rng: np.random.Generator,
    *,
    tilts: tuple[int, int],
    noise: tuple[float, float],
    embedded: bool = False,
    all_round: bool = False,
) -> tuple[SliceProjector, np.ndarray, np.ndarray]:
    """Projector, noisy images and truth of five random discs, in empty space or in a matrix of density 0.4."""
    shape = (int(rng.integers(30, 36)), int(rng.integers(30, 36)))
    n_tilts = int(rng.integers(*tilts))
    angles = np.linspace(-1, 1, n_tilts) * rng.uniform(60, 75)
    A = SliceProjector(np.arange(n_tilts) * 180 / n_tilts - 90 if all_round else angles, shape)
    slice_ = _discs(rng, shape)
    if embedded:
        slice_ = 0.4 + 0.6 * slice_
    y = A(slice_)
    return A, y + _noise(rng, y.shape, rng.uniform(*noise)), slice_


def _noise(rng: np.random.Generator, shape: tuple[int, int], size: float) -> np.ndarray:
    """Draw noise of exactly this root mean square, so that a residual can be compared with it."""
    noise = rng.standard_normal(shape)
    return noise * size / np.sqrt(np.mean(noise**2))


def _discs(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return a large disc of density 0.6 beside the middle and four smaller ones, zero around them."""
    half = min(shape) / 2
    slice_ = 0.6 * _disc(shape, np.array(shape) / 2 + rng.uniform(-2, 2, 2), rng.uniform(0.4, 0.5) * half)
    for density in rng.choice([0.3, 0.5, 0.8], 4):
        radius = rng.uniform(2, 5)
        distance, angle = rng.uniform(0.3, 1) * (half - radius - 1), rng.uniform(0, 2 * np.pi)
        centre = np.array(shape) / 2 + distance * np.array([np.sin(angle), np.cos(angle)])
        slice_ = np.maximum(slice_, density * _disc(shape, centre, radius))
    return slice_


def _disc(shape: tuple[int, int], centre: np.ndarray, radius: float) -> np.ndarray:
    """Return 1 inside a disc with a soft rim, 0 outside."""
    rows, columns = np.indices(shape)
    return np.clip(radius + 0.5 - np.hypot(rows - centre[0], columns - centre[1]), 0, 1)


def _inside(room: np.ndarray) -> np.ndarray:
    """Return the place that is farthest from where there is no room, counting the border as such."""
    depth = scipy.ndimage.distance_transform_edt(np.pad(room, 1))[1:-1, 1:-1]
    return np.array(np.unravel_index(int(depth.argmax()), room.shape))
