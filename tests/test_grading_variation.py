"""The checks of total variation: every right route passes on many random cases, every known mistake fails one of them.

Routes and mistakes are written here from the equations. `least_variation` gives operators and a solver, as a student
gets them.
"""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from etlab.course.grading import least_variation as given
from tests.checks import check, worked_out_once

SEEDS = range(2)


@pytest.fixture(scope="module", autouse=True)
def references_worked_out_once():
    with worked_out_once("variation.least_cost", "variation.solved", "variation_mistakes.solved"):
        yield


# ------------------------------------------------------------------------------------------------ gradient


def forward(x):
    field = np.zeros((2, *x.shape))
    field[0, :-1] = x[1:] - x[:-1]
    field[1, :, :-1] = x[:, 1:] - x[:, :-1]
    return field


def forward_T(p):
    x = np.zeros(p.shape[1:])
    x[:-1] -= p[0, :-1]
    x[1:] += p[0, :-1]
    x[:, :-1] -= p[1, :, :-1]
    x[:, 1:] += p[1, :, :-1]
    return x


def backward(x):
    return forward(x[::-1, ::-1])[:, ::-1, ::-1] * -1


def backward_T(p):
    return forward_T(-p[:, ::-1, ::-1])[::-1, ::-1]


def periodic(x):
    return np.stack([np.roll(x, -1, axis) - x for axis in (0, 1)])


def periodic_T(p):
    return sum(np.roll(p[axis], 1, axis) - p[axis] for axis in (0, 1))


def in_float32(x):
    x = x.astype(np.float32)
    return np.stack([np.diff(x, axis=axis, append=np.take(x, [-1], axis)) for axis in (0, 1)])


@pytest.mark.parametrize(
    ("gradient", "gradient_T"),
    [(forward, forward_T), (backward, backward_T), (periodic, periodic_T), (in_float32, forward_T)],
    ids=["forward", "backward", "periodic", "float32"],
)
def test_differences_of_neighbours_pass_whatever_they_do_at_the_border(gradient, gradient_T):
    for seed in SEEDS:
        assert check("gradient", gradient, seed=seed) == ""
        assert check("gradient_adjoint", gradient, gradient_T, seed=seed) == ""


@pytest.mark.parametrize(
    ("gradient", "words"),
    [
        (lambda x: np.stack(np.gradient(x)), "compared with the one to the right (as np.gradient does)"),
        (
            lambda x: np.stack([np.diff(x, axis=a, append=0 * np.take(x, [-1], a)) for a in (0, 1)]),
            "set the difference to zero where there is no next voxel",
        ),
        (lambda x: forward(x)[::-1], "components are exchanged"),
        (lambda x: -forward(x), "the next voxel less this one"),
        (lambda x: np.abs(forward(x)), "leave out the abs()"),
        (lambda x: forward(x) / 2, "without any factor"),
        (lambda x: np.zeros((2, *x.shape)), "the next voxel less this one"),
        (lambda x: np.diff(x, axis=0), "expected (2, "),
    ],
    ids=["central", "zeros outside", "exchanged", "sign", "abs", "half", "nothing", "one"],
)
def test_a_wrong_gradient_is_found_and_named(gradient, words):
    assert all(check("gradient", gradient, seed=seed) for seed in SEEDS)
    assert words in check("gradient", gradient)


def careless_T(p):
    """Forgets that the last differences are zero."""
    return periodic_T(p)


@pytest.mark.parametrize(
    ("gradient_T", "words"),
    [
        (lambda p: -forward_T(p), "*minus* the divergence"),
        (lambda p: forward_T(p) / 2, "0.5 times the adjoint"),
        (lambda p: forward_T(p[::-1]), "components are exchanged"),
        (careless_T, "so the border is wrong"),
        (lambda p: -careless_T(p), "and the border is wrong, too"),
        (lambda p: backward_T(p), "+p to the next voxel"),
    ],
    ids=["divergence", "half", "exchanged", "border", "divergence and border", "other differences"],
)
def test_an_unmatched_adjoint_of_the_gradient_is_found_and_named(gradient_T, words):
    assert all(check("gradient_adjoint", forward, gradient_T, seed=seed) for seed in SEEDS)
    assert words in check("gradient_adjoint", forward, gradient_T)


def test_the_adjoint_is_judged_against_the_students_own_gradient():
    for seed in SEEDS:
        assert check("gradient_adjoint", lambda x: -forward(x), lambda p: -forward_T(p), seed=seed) == ""
    assert "write task 1a first" in check("gradient_adjoint", lambda x: 0 * forward(x), forward_T)


# ------------------------------------------------------------------------------------------------ pieces


def by_scaling(p, bound):
    length = np.hypot(p[0], p[1])
    return p * np.where(length > bound, bound / np.maximum(length, 1e-30), 1)


def by_angle(p, bound):
    angle, length = np.arctan2(p[0], p[1]), np.minimum(np.hypot(p[0], p[1]), bound)
    return length * np.stack([np.sin(angle), np.cos(angle)])


@pytest.mark.parametrize("shortened", [given.shortened, by_scaling, by_angle])
def test_projections_on_the_dual_ball_pass(shortened):
    for seed in SEEDS:
        assert check("dual_ball", shortened, seed=seed) == ""
        assert (
            check("dual_ball", lambda p, b: shortened(p.astype(np.float32), np.float32(b)), seed=seed) == ""
        )


@pytest.mark.parametrize(
    ("shortened", "words"),
    [
        (lambda p, b: np.clip(p, -b, b), "Each component is clipped by itself"),
        (lambda p, b: p / np.maximum(1, np.hypot(*p)), "shortened to 1, whatever the bound"),
        (lambda p, b: b * p / np.maximum(np.hypot(*p), 1e-9), "short enough are made longer"),
        (lambda p, b: b * p / np.hypot(*p), "A vector may be zero"),
        (lambda p, b: p / max(1, np.linalg.norm(p) / b), "Each voxel has a vector of its own"),
        (lambda p, b: p, "The longest vector has length"),
        (lambda p, b: np.where(np.hypot(*p) > b, 0, p), "keep their direction and get length bound"),
    ],
    ids=["clipped", "no bound", "all the same", "zero by zero", "whole field", "nothing", "dropped"],
)
def test_a_wrong_dual_ball_is_found_and_named(shortened, words):
    assert all(check("dual_ball", shortened, seed=seed) for seed in SEEDS)
    assert words in check("dual_ball", shortened)


def by_moreau(q, y, sigma):
    """From the answer for F itself: r + σ·u = q, u the best compromise between y and q/σ."""
    u = (y + q) / (1 + sigma)
    return q - sigma * u


@pytest.mark.parametrize(
    ("resolvent", "words"),
    [
        (given.resolvent, ""),
        (by_moreau, ""),
        (lambda q, y, s: (q + s * y) / (1 + s), "the dual variable needs the one for F*"),
        (lambda q, y, s: q - s * y, "The division is missing"),
        (lambda q, y, s: (q - y) / (1 + s), "σ multiplies the whole of F*"),
        (lambda q, y, s: q, "Set the derivative"),
    ],
    ids=["closed form", "Moreau", "of F", "no division", "no sigma", "nothing"],
)
def test_the_resolvent_is_judged_by_the_problem_it_solves(resolvent, words):
    messages = [check("resolvent", resolvent, seed=seed) for seed in SEEDS]
    assert all(messages) if words else not any(messages)
    assert words in messages[0]


def power(start, n_iter, *, normalised=True, result=np.linalg.norm):
    def largest_eigenvalue(apply, shape):
        x = start(shape)
        for _ in range(n_iter):
            x = apply(x / np.linalg.norm(x) if normalised else x)
        return result(x)

    return largest_eigenvalue


def random(shape):
    return np.random.default_rng(3).standard_normal(shape)


def rayleigh(apply, shape):
    x = np.random.default_rng(4).random(shape)
    for _ in range(40):
        x = apply(x)
        x /= np.abs(x).max()
    return np.sum(x * apply(x)) / np.sum(x * x)


@pytest.mark.parametrize(
    ("largest_eigenvalue", "words"),
    [
        (power(random, 30), ""),
        (rayleigh, ""),
        (power(random, 30, result=lambda x: np.sqrt(np.linalg.norm(x))), "This is its square root"),
        (power(np.ones, 30), "a slice of ones has no gradient"),
        (power(random, 2), "It is too small"),
        (power(random, 30, normalised=False), "It is too large"),
        (power(random, 400, normalised=False), "Divide by the norm of x before each"),
    ],
    ids=["power", "Rayleigh", "root", "ones", "two steps", "not normalised", "overflow"],
)
def test_the_largest_eigenvalue_is_found_by_any_power_method(largest_eigenvalue, words):
    messages = [check("largest_eigenvalue", largest_eigenvalue, seed=seed) for seed in SEEDS]
    assert all(messages) if words else not any(messages)
    assert words in messages[0]


# ------------------------------------------------------------------------------------------------ minimum


def squared_norm(K):
    return 1.05 * given.largest_eigenvalue(lambda x: K.T(K(x)), K.slice_shape)


def pdhg(
    A, D, y, lam, n_iter=300, *, sigma=0.05, ball=given.shortened, look=2.0, lowest=0.0, factor=1.0, sign=1
):
    """Chambolle & Pock with separate steps; the options put mistakes in."""
    norm = squared_norm(A)
    x = ahead = np.zeros(A.slice_shape)
    q, p = np.zeros_like(y), D(x)
    step = factor * 0.5 / (sigma * norm)
    for _ in range(n_iter):
        q = (q + sigma * (A(ahead) - y)) / (1 + sigma)
        p = ball(p + sigma * norm / 8 * D(ahead), lam)
        new = np.maximum(x - step * sign * (A.T(q) + D.T(p)), lowest)
        x, ahead = new, look * new - (look - 1) * x
    return x


def one_float32_step_for_both(A, D, y, lam, n_iter=600):
    """With the norms of A and ∇ made equal, so that one step does for both."""
    norm, y = squared_norm(A), y.astype(np.float32)
    scale = np.sqrt(norm / 8)
    step = 1 / np.sqrt(2 * norm)
    tau, sigma = 0.5 * step, 2 * step
    x = ahead = np.zeros(A.slice_shape, np.float32)
    q, p = np.zeros_like(y), np.zeros((2, *x.shape), np.float32)
    for _ in range(n_iter):
        q = ((q + sigma * (A(ahead) - y)) / (1 + sigma)).astype(np.float32)
        p = given.shortened(p + sigma * scale * D(ahead), lam / scale).astype(np.float32)
        new = np.maximum(x - tau * (A.T(q) + scale * D.T(p)), 0).astype(np.float32)
        x, ahead = new, 2 * new - x
    return x


def fista(A, D, y, lam, n_iter=60, inner=20):
    """Accelerated proximal gradient; its denoising problem is solved on the dual side, from the last answer on."""
    norm = squared_norm(A)
    x = z = np.zeros(A.slice_shape)
    p, t = D(x), 1.0
    for _ in range(n_iter):
        target, ahead, s = z - A.T(A(z) - y) / norm, p, 1.0
        for _ in range(inner):
            new = given.shortened(ahead + D(np.maximum(target - D.T(ahead), 0)) / 8, lam / norm)
            s_new = (1 + np.sqrt(1 + 4 * s**2)) / 2
            p, ahead, s = new, new + (s - 1) / s_new * (new - p), s_new
        x_new, t_new = np.maximum(target - D.T(p), 0), (1 + np.sqrt(1 + 4 * t**2)) / 2
        x, z, t = x_new, x_new + (t - 1) / t_new * (x_new - x), t_new
    return x


def admm(A, D, y, lam, n_iter=100, inner=4):
    """Splitting w = ∇x, v = x ≥ 0; the quadratic problem in x by a few conjugate gradients, from the last x on."""
    rho, eta = lam / 0.3, lam / 0.1
    x = np.zeros(A.slice_shape)
    w, v, a, b = D(x), x, D(x), x
    for _ in range(n_iter):

        def normal(u):
            return A.T(A(u)) + rho * D.T(D(u)) + eta * u

        residual = A.T(y) + rho * D.T(w - a) + eta * (v - b) - normal(x)
        direction, size = residual, np.sum(residual**2)
        for _ in range(inner):
            applied = normal(direction)
            step = size / np.sum(direction * applied)
            x, residual = x + step * direction, residual - step * applied
            size, old = np.sum(residual**2), size
            if size < 1e-20:
                break
            direction = residual + size / old * direction
        w = D(x) + a
        w = w - given.shortened(w, lam / rho)
        v = np.maximum(x + b, 0)
        a, b = a + D(x) - w, b + x - v
    return v


@pytest.mark.parametrize("reconstruct", [pdhg, one_float32_step_for_both, fista, admm])
def test_every_algorithm_that_converges_passes(reconstruct):
    for seed in SEEDS:
        assert check("tv_minimum", reconstruct, seed=seed) == ""
        assert check("tv_nonnegative", reconstruct, seed=seed) == ""


def clipped(p, bound):
    return np.clip(p, -bound, bound)


MISTAKES = {  # what was done wrong: (solver, the checks that it fails, words of the first one's message)
    "clipped ball": (
        lambda *problem: pdhg(*problem, ball=clipped),
        {"tv_minimum"},
        "shorten the vector, do not clip",
    ),
    "no look ahead": (lambda *problem: pdhg(*problem, look=1.0), {"tv_minimum"}, "It has not arrived"),
    "few iterations": (lambda *problem: pdhg(*problem, 60), {"tv_minimum"}, "It has not arrived"),
    "negative voxels": (
        lambda *problem: pdhg(*problem, lowest=-np.inf),
        {"tv_nonnegative"},
        "of the voxels are negative, down to",
    ),
    "clipped at the end": (
        lambda *problem: np.maximum(pdhg(*problem, lowest=-np.inf), 0),
        {"tv_nonnegative"},
        "clip in every iteration",
    ),
    "λ for each image": (
        lambda A, D, y, lam: pdhg(A, D, y, lam * len(y)),
        {"tv_minimum", "tv_nonnegative"},
        "It is the minimum for λ = ",
    ),
    "λ too large": (
        lambda A, D, y, lam: pdhg(A, D, y, 1.2 * lam),
        {"tv_minimum"},
        "without a factor",
    ),
    "λ too small": (
        lambda A, D, y, lam: pdhg(A, D, y, 0.8 * lam),
        {"tv_minimum"},
        "without a factor",
    ),
    "ball without λ": (
        lambda *problem: pdhg(*problem, ball=lambda p, bound: given.shortened(p, 1.0)),
        {"tv_minimum", "tv_nonnegative"},
        "It is the minimum for λ = 1, not",
    ),
    "norm for its square": (
        lambda *problem: pdhg(*problem, factor=30),
        {"tv_minimum", "tv_nonnegative"},
        "the iteration runs away",
    ),
    "wrong way": (
        lambda *problem: pdhg(*problem, sign=-1),
        {"tv_minimum", "tv_nonnegative"},
        "is subtracted",
    ),
    "nothing": (
        lambda A, *_: np.zeros(A.slice_shape),
        {"tv_minimum", "tv_nonnegative"},
        "An empty slice is not much worse",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_algorithm_is_found_and_named(mistake):
    reconstruct, charged, words = MISTAKES[mistake]
    for seed in SEEDS:
        failing = {name for name in ("tv_minimum", "tv_nonnegative") if check(name, reconstruct, seed=seed)}
        assert failing == charged
    assert words in check(sorted(charged)[0], reconstruct)


def test_an_iteration_that_overflows_is_told_to_make_shorter_steps():
    def descent(A, D, y, lam):
        x = np.zeros(A.slice_shape)
        for _ in range(200):
            x = x - A.T(A(x) - y)
        return x

    message = check("tv_minimum", descent)
    assert "NaN or infinite" in message
    assert "make the steps shorter" in message


def test_the_floor_lies_under_the_cost_of_every_slice_and_near_the_least():
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        A = given.SliceProjector(np.linspace(-60, 60, 15), (20, 23))
        y = A(rng.random(A.slice_shape)) + rng.standard_normal(A.images_shape)
        floor = given.least_cost(A, y, 3.0)
        least = given.cost(A, y, 3.0, fista(A, given.Gradient(), y, 3.0))
        assert floor <= least <= 1.002 * floor


# ------------------------------------------------------------------------------------------------ λ


def trials(y, noise):
    return noise * len(y) * np.geomspace(0.02, 1, 8)


def misfit(A, y, slice_):
    return np.sqrt(np.mean((A(slice_) - y) ** 2))


def by_discrepancy(A, y, noise, solve):
    lams = trials(y, noise)
    found = [misfit(A, y, solve(A, y, lam)) for lam in lams]
    return np.exp(np.interp(np.log(noise), np.log(found), np.log(lams)))


def by_corner(A, y, noise, solve):
    """The last λ but a few at which the L-curve bends most; its ends, where it runs level, bend by chance."""
    lams = np.log(trials(y, noise))
    slices = [solve(A, y, np.exp(lam)) for lam in lams]
    across = CubicSpline(lams, np.log([misfit(A, y, of) for of in slices]))
    up = CubicSpline(lams, np.log([given.variation(of) for of in slices]))
    fine = np.linspace(lams[1], lams[-3], 200)
    bend = across(fine, 1) * up(fine, 2) - across(fine, 2) * up(fine, 1)
    bend /= (across(fine, 1) ** 2 + up(fine, 1) ** 2) ** 1.5
    return np.exp(fine[np.argmax(bend)])


def by_prediction(A, y, noise, solve):
    even = np.arange(len(y)) % 2 == 0
    lams = trials(y, noise)
    errors = np.zeros(len(lams))
    for keep in (even, ~even):
        seen, left_out = A.subset(keep), A.subset(~keep)
        errors += [misfit(left_out, y[~keep], solve(seen, y[keep], lam / 2)) ** 2 for lam in lams]
    return lams[np.argmin(errors)]


@pytest.mark.parametrize("choose_lam", [by_discrepancy, by_corner, by_prediction])
def test_every_principle_without_the_truth_passes(choose_lam):
    for seed in SEEDS:
        assert check("tv_lam", choose_lam, seed=seed) == ""


@pytest.mark.parametrize(
    ("choose_lam", "words"),
    [
        (lambda A, y, noise, solve: 0.03 * len(y), "λ is nearly the same"),
        (lambda A, y, noise, solve: 1.0, "λ is nearly the same"),
        (lambda A, y, noise, solve: 1e-3 * noise, "a residual of 0."),
        (lambda A, y, noise, solve: trials(y, noise)[0], "noise was explained"),
        (lambda A, y, noise, solve: by_discrepancy(A, y, 2 * noise, solve), "specimen was not"),
        (lambda A, y, noise, solve: -1.0, "it should be positive"),
    ],
    ids=["fixed", "one", "nearly none", "least residual", "twice the noise", "negative"],
)
def test_a_lambda_that_does_not_follow_the_images_is_found(choose_lam, words):
    assert all(check("tv_lam", choose_lam, seed=seed) for seed in SEEDS)
    assert words in check("tv_lam", choose_lam)


# ------------------------------------------------------------------------------------------------ witness


def inside(slice_, witness):
    return slice_[np.abs(witness) > 0.5 * np.abs(witness).max()].mean()


def by_mean(A, y, lam, witness, solve):
    change = solve(A, y + A(witness), lam) - solve(A, y, lam)
    return inside(change, witness) / inside(witness, witness)


def by_product(A, y, lam, witness, solve):
    change = solve(A, y + A(witness), lam) - solve(A, y, lam)
    return np.sum(change * witness) / np.sum(witness**2)


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (by_mean, ""),
        (by_product, ""),
        (lambda *given: 100 * by_product(*given), "not 100"),
        (lambda *given: by_product(*given) * np.abs(given[3]).max(), "divide by the contrast"),
        (lambda A, y, lam, w, solve: np.sum(solve(A, A(w), lam) * w) / np.sum(w**2), "of the witness alone"),
        (
            lambda A, y, lam, w, solve: np.sum(solve(A, y + A(w), lam) * w) / np.sum(w**2),
            "Subtract what stands there",
        ),
        (lambda *given: 1.0, "through the microscope"),
        (lambda *given: 0.0, "Reconstruct twice"),
    ],
    ids=["mean", "product", "percent", "not divided", "alone", "not subtracted", "all", "none"],
)
def test_a_witness_is_measured_where_it_was_planted(kept, words):
    messages = [check("tv_witness", kept, seed=seed) for seed in SEEDS]
    assert all(messages) if words else not any(messages)
    assert any(words in message for message in messages)


# ------------------------------------------------------------------------------------------------ all of them


def stub(*arguments):
    raise NotImplementedError


def test_every_check_says_what_is_not_written():
    names = ["gradient", "dual_ball", "resolvent", "largest_eigenvalue", "tv_minimum", "tv_nonnegative"]
    for name in [*names, "tv_lam", "tv_witness"]:
        assert "`stub` is not written yet" in check(name, stub)
    assert "`stub` is not written yet" in check("gradient_adjoint", forward, stub)


def test_the_seed_of_a_fresh_case_is_named_and_repeats_it():
    message = check("tv_minimum", lambda *problem: pdhg(*problem, 30), seed=None)
    seed = int(message.split("seed=")[1].rstrip("]"))
    assert check("tv_minimum", lambda *problem: pdhg(*problem, 30), seed=seed) == message
