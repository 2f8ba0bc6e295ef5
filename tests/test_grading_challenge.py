"""The checks of lab 6: right rows, calibrations and answers pass on many scenes, each known mistake fails with words.

Calibrating takes seconds, so most right calibrations here are the truth with errors of the size that calibrating makes;
`scene_of` draws the scene of a check again. Others than `etlab`'s own solvers are written here.
"""

import contextlib
from dataclasses import asdict, replace
from functools import cache

import numpy as np
import pytest
from skimage.restoration import denoise_tv_chambolle

from etlab.calibration import calibrate
from etlab.calibration.crossval import cross_validate
from etlab.course import grading
from etlab.course.challenge import load_tier, make_tier, score_submission, write_submission
from etlab.course.grading import challenge_cases
from etlab.course.scenes import score_answer
from etlab.course.scenes.scoring import AnswerError
from etlab.forward import Mismatch, Optics
from etlab.refocus import refocused
from etlab.solvers import sart, sirt, tv, wbp
from tests.checks import check, scenes_made_once

SEEDS = range(2)
FEW = range(2)  # for what reconstructs with many iterations
NOMINAL = Mismatch()


def opposite(mismatch, *names):
    return replace(mismatch, **{name: -getattr(mismatch, name) for name in names})


@pytest.fixture(scope="module", autouse=True)
def scenes_and_rows_made_once():
    with scenes_made_once():
        yield


# ------------------------------------------------------------------------------------------------ right rows


def sharp(problem, mismatch):
    """The microscope without any blur."""
    return replace(problem, optics=Optics(kappa=0)).operator(mismatch)


def wbp_by_hand(problem, mismatch):
    """Refocused; ramp by numpy, each tilt weighted by its step, no blur in the back-projection."""
    n_rows, tilts = problem.geometry.n_rows, problem.geometry.tilts_deg
    _, images = refocused(problem.operator(mismatch), problem.y)
    spectrum = np.fft.rfft(images, 4 * n_rows, axis=1) * np.fft.rfftfreq(4 * n_rows)[:, None]
    filtered = np.fft.irfft(spectrum, axis=1)[:, :n_rows] * np.deg2rad(np.gradient(tilts))[:, None, None]
    return sharp(problem, mismatch).T(filtered.astype(np.float32))


def mended(solver, **options):
    return lambda problem, mismatch: solver(*refocused(problem.operator(mismatch), problem.y), **options)


def told(solver, **options):
    return lambda problem, mismatch: solver(problem.operator(mismatch), problem.y, **options)


def descent(problem, mismatch, shrink, n_iter):
    """Proximal gradient descent with Nesterov's momentum, in double precision but for the operator."""
    H, y = problem.operator(mismatch), problem.y
    even = np.ones(problem.geometry.volume_shape, np.float32)
    step = 1 / H.T(H(even)).max()
    x = ahead = np.zeros(even.shape)
    for k in range(n_iter):
        last, x = x, np.maximum(0, shrink(ahead + step * H.T(y - H(ahead.astype(np.float32))), step))
        ahead = x + k / (k + 3) * (x - last)
    return x


def landweber(problem, mismatch):
    return descent(problem, mismatch, lambda x, step: x, n_iter=18)


def fista(problem, mismatch):
    """Total variation by another algorithm than the course's."""
    lam = 0.05 * len(problem.y)
    return descent(
        problem,
        mismatch,
        lambda x, step: denoise_tv_chambolle(x, weight=lam * step, max_num_iter=10),
        n_iter=60,
    )


RIGHT_ROWS = [
    ("wbp_row", mended(wbp), FEW),
    ("wbp_row", mended(wbp, window="hann"), FEW),
    ("wbp_row", mended(wbp, weighting="exact"), FEW),
    ("wbp_row", wbp_by_hand, FEW),
    ("sirt_row", mended(sart, n_iter=5, relaxation=0.2), FEW[:1]),
    ("sirt_row", landweber, FEW[1:]),
    ("cs_row", told(tv, lam=0.08, n_iter=40), FEW[:1]),
    ("cs_row", fista, FEW[1:]),
]


@pytest.mark.parametrize(("name", "row", "seeds"), RIGHT_ROWS)
def test_every_reasonable_row_passes_whatever_the_scene(name, row, seeds):
    assert [check(name, row, seed=seed) for seed in seeds] == [""] * len(seeds)


# ------------------------------------------------------------------------------------------------ wrong rows

log_file = lambda row: lambda problem, mismatch: row(problem, NOMINAL)  # noqa: E731
turned = lambda row, *names: lambda problem, mismatch: row(problem, opposite(mismatch, *names))  # noqa: E731


def images_as_volume(problem, mismatch):
    nz, ny, _ = problem.geometry.volume_shape
    margin = (problem.geometry.n_rows - ny) // 2
    return problem.y[:nz, margin : margin + ny]


def unweighted(problem, mismatch):
    """Back-projection, scaled as well as it can be."""
    H = problem.operator(mismatch)
    volume = H.T(problem.y)
    seen = H(volume)
    return volume * (np.vdot(seen, problem.y) / np.vdot(seen, seen))


def ignoring(row, *names):
    return lambda problem, mismatch: row(problem, replace(mismatch, **dict.fromkeys(names, 0.0)))


WRONG_ROWS = {
    "WBP, no δ": ("wbp_row", ignoring(mended(wbp), "tilt_angle"), "with δ left out"),
    "WBP, no φ": ("wbp_row", ignoring(mended(wbp), "tilt_axis"), "with φ left out"),
    "WBP, no g": ("wbp_row", ignoring(mended(wbp), "defocus_gradient"), "ignores the focus gradient"),
    "WBP, blurred twice": ("wbp_row", told(wbp), "blurs images a second time"),
    "WBP, Hann, blurred twice": ("wbp_row", told(wbp, window="hann"), "blurs images a second time"),
    "SIRT, no δ": ("sirt_row", ignoring(mended(sirt, n_iter=20), "tilt_angle"), "with δ left out"),
    "SIRT, no φ": ("sirt_row", ignoring(mended(sirt, n_iter=20), "tilt_axis"), "with φ left out"),
    "SIRT, no g": (
        "sirt_row",
        ignoring(mended(sirt, n_iter=20), "defocus_gradient"),
        "ignores the focus gradient",
    ),
    "CS, no δ": ("cs_row", ignoring(told(tv, n_iter=20), "tilt_angle"), "with δ left out"),
    "CS, no φ": ("cs_row", ignoring(told(tv, n_iter=20), "tilt_axis"), "with φ left out"),
    "CS, no g": ("cs_row", ignoring(told(tv, n_iter=40), "defocus_gradient"), "ignores the focus gradient"),
    "WBP, nominal": ("wbp_row", log_file(mended(wbp)), "that of the log file"),
    "WBP, δ turned": ("wbp_row", turned(mended(wbp), "tilt_angle"), "δ of the other sign"),
    "WBP, φ turned": ("wbp_row", turned(mended(wbp), "tilt_axis"), "φ of the other sign"),
    "WBP, unweighted": ("wbp_row", unweighted, "Without the ramp"),
    "WBP, no factor": ("wbp_row", lambda p, m: p.operator(m).T(p.y), "it has a factor"),
    "WBP, half": ("wbp_row", lambda p, m: 0.5 * mended(wbp)(p, m), "are 0.50 times"),
    "WBP, images": ("wbp_row", images_as_volume, "These are the images"),
    "SIRT, nominal": ("sirt_row", log_file(mended(sirt)), "that of the log file"),
    "SIRT, once": ("sirt_row", mended(sirt, n_iter=1), "explains less of the images"),
    "SIRT, for ever": ("sirt_row", mended(sirt, n_iter=300), "and so their noise"),
    "SIRT, negative": ("sirt_row", mended(sirt, nonnegative=False), "No specimen has"),
    "SIRT, images": ("sirt_row", images_as_volume, "These are the images"),
    "CS, nominal": ("cs_row", log_file(told(tv, n_iter=30)), "that of the log file"),
    "CS, λ small": ("cs_row", told(tv, lam=0.005, n_iter=30), "too little regularisation"),
    "CS, λ large": ("cs_row", told(tv, lam=0.5, n_iter=30), "too much regularisation"),
    "CS, negative": ("cs_row", told(tv, nonnegative=False, n_iter=30), "No specimen has"),
    "transposed": ("cs_row", lambda p, m: np.zeros(p.geometry.volume_shape[::-1]), "looks transposed"),
    "NaN": ("cs_row", lambda p, m: told(tv, n_iter=1)(p, m) * np.nan, "NaN or infinite"),
}


@pytest.mark.parametrize("mistake", WRONG_ROWS)
def test_a_wrong_row_is_found_on_every_scene_and_named(mistake):
    name, row, words = WRONG_ROWS[mistake]
    messages = [check(name, row, seed=seed) for seed in FEW]
    assert all(messages)
    assert words in messages[0]


# ------------------------------------------------------------------------------------------------ calibration


def calibrated(problem):
    return calibrate(
        problem.y, problem.geometry, problem.spec_ranges, problem.optics, fiducials=problem.fiducials
    ).mismatch


def in_two_steps(problem):
    """φ from predicting half of the tilts by the others, g and δ from the beads."""
    found = calibrated(replace(problem, spec_ranges=problem.spec_ranges | {"tilt_axis": (-2.0, 2.0)}))
    axis = cross_validate(
        problem.y, problem.geometry, problem.optics, found, "tilt_axis", problem.spec_ranges["tilt_axis"]
    )
    ends = problem.spec_ranges["tilt_axis"]
    return asdict(found) | {"tilt_axis": float(np.clip(axis.value, *ends))}


@pytest.mark.parametrize(("route", "seeds"), [(calibrated, (0,)), (in_two_steps, (2,))])
def test_a_calibration_by_beads_passes(route, seeds):
    assert [check("calibrated", route, seed=seed) for seed in seeds] == [""] * len(seeds)


def truth_of(seed) -> Mismatch:
    """The microscope of this case of a check that wants one to be found."""
    return challenge_cases.hard_to_guess(np.random.default_rng(seed))


def nearly(true: Mismatch, rng) -> Mismatch:
    """As `calibrate` finds it: with errors as large as it makes, within the ranges."""
    ranges, sd = challenge_cases.RANGES, {"tilt_angle": 0.054, "tilt_axis": 0.038, "defocus_gradient": 0.008}
    return Mismatch(
        **{
            name: float(np.clip(getattr(true, name) + rng.normal(0, sd[name]) * (high - low), low, high))
            for name, (low, high) in ranges.items()
        }
    )


def test_errors_as_large_as_calibrating_makes_pass():
    rng = np.random.default_rng(0)
    assert [check("calibrated", lambda _, s=s: nearly(truth_of(s), rng), seed=s) for s in SEEDS] == [
        ""
    ] * len(SEEDS)


def middle(problem):
    return Mismatch(**{name: (low + high) / 2 for name, (low, high) in problem.spec_ranges.items()})


WRONG_SPECS = {
    "middle": (lambda true: middle, "the middle of each range"),
    "nominal": (lambda true: lambda problem: NOMINAL, "the microscope of the log file"),
    "sign of δ": (lambda true: lambda problem: opposite(true, "tilt_angle"), "the sign is wrong: δ"),
    "g unknown": (
        lambda true: lambda problem: replace(true, defocus_gradient=3.0),
        "were the declared fiducials used",
    ),
    "outside": (lambda true: lambda problem: replace(true, defocus_gradient=40.0), "expected -12 to 18"),
    "NaN": (lambda true: lambda problem: asdict(true) | {"tilt_axis": np.nan}, "tilt_axis = nan"),
    "a list": (lambda true: lambda problem: [0.1, 0.1, 3.0], "expected a Mismatch"),
    "nothing": (lambda true: lambda problem: None, "Does it end with `return …`?"),
}


@pytest.mark.parametrize("mistake", WRONG_SPECS)
def test_a_wrong_spec_is_found_on_every_scene_and_named(mistake):
    make, words = WRONG_SPECS[mistake]
    messages = [check("calibrated", make(truth_of(seed)), seed=seed) for seed in SEEDS]
    assert all(messages)
    assert any(words in message for message in messages)  # of the other sign, δ may be outside its range


# ------------------------------------------------------------------------------------------------ answers


def answer(row, microscope=lambda spec: spec, stated=lambda spec: spec):
    """For each seed a `solve` that reconstructs with one function of a good calibration and states another."""

    def for_seed(seed):
        spec = nearly(truth_of(seed), np.random.default_rng(seed))

        @cache
        def volume(images):
            return row(problem_of[images], microscope(spec))

        problem_of = {}

        def solve(problem):
            problem_of[images := problem.y.tobytes()] = problem
            return volume(images), stated(spec)

        return solve

    return for_seed


def test_a_calibrated_answer_passes_whatever_the_scene():
    for seed in SEEDS:
        solve = answer(told(tv, lam=0.06, n_iter=40))(seed)
        assert check("solve_spec", solve, seed=seed) == ""
        assert check("solve_score", solve, seed=seed) == ""


@pytest.mark.parametrize("row", [mended(wbp), mended(sirt, n_iter=20)])
def test_volume_and_spec_of_a_weaker_row_belong_together_too(row):
    assert [check("solve_spec", answer(row)(seed), seed=seed) for seed in SEEDS] == [""] * len(SEEDS)


quick = told(tv, n_iter=20)
WRONG_MICROSCOPES = {
    "uncalibrated": (
        answer(quick, lambda spec: NOMINAL, lambda spec: NOMINAL),
        "the microscope of the log file",
    ),
    "not used": (answer(quick, lambda spec: NOMINAL), "with that of the log file"),
    "not stated": (answer(quick, stated=lambda spec: NOMINAL), "the microscope of the log file"),
    "δ turned": (answer(quick, lambda spec: opposite(spec, "tilt_angle")), "δ of the other sign"),
    "φ turned": (answer(quick, lambda spec: opposite(spec, "tilt_axis")), "φ of the other sign"),
}


@pytest.mark.parametrize("mistake", WRONG_MICROSCOPES)
def test_a_spec_that_the_volume_was_not_made_with_is_found_on_every_scene(mistake):
    make, words = WRONG_MICROSCOPES[mistake]
    assert all(words in check("solve_spec", make(seed), seed=seed) for seed in FEW)


def of_shape(values):
    return answer(lambda problem, mismatch: values(problem.geometry.volume_shape))


WEAK = {  # valid answers, made with the microscope that they state
    "too weak a row": (answer(mended(wbp)), "expected at least"),
    "noise fitted": (answer(told(tv, lam=0.005, n_iter=50)), "has learned their noise"),
}
NOT_MADE = {
    "images": (answer(images_as_volume), "x_hat holds images"),
    "nothing": (
        of_shape(lambda shape: np.zeros(shape, np.float32)),
        "this volume or its spec cannot be right",
    ),
    "ones": (of_shape(lambda shape: np.ones(shape, np.float32)), "this volume or its spec cannot be right"),
}
REFUSED = {
    "NaN": (of_shape(lambda shape: np.full(shape, np.nan)), "NaN or infinite"),
    "whole numbers": (of_shape(lambda shape: np.ones(shape, int)), "expected a floating one"),
    "shape": (of_shape(lambda shape: np.ones((4, 4, 4))), "got shape (4, 4, 4)"),
    "outside": (
        answer(mended(wbp), stated=lambda spec: replace(spec, tilt_axis=0.9)),
        "expected -0.36 to 0.54",
    ),
    "volume only": (lambda seed: lambda problem: np.ones((4, 4, 4)), "expected (x_hat, corrected_spec)"),
}


@pytest.mark.parametrize("mistake", WEAK)
def test_a_weak_answer_loses_its_score_only(mistake):
    make, words = WEAK[mistake]
    for seed in FEW:
        assert check("solve_spec", make(seed), seed=seed) == ""
        assert words in check("solve_score", make(seed), seed=seed)


@pytest.mark.parametrize("mistake", NOT_MADE)
def test_a_volume_that_was_not_made_from_the_images_has_no_points(mistake):
    make, words = NOT_MADE[mistake]
    for seed in FEW:
        assert "Was it made from these images?" in check("solve_spec", make(seed), seed=seed)
        assert words in check("solve_score", make(seed), seed=seed)


@pytest.mark.parametrize("mistake", REFUSED)
def test_an_answer_that_the_evaluator_would_refuse_has_no_points(mistake):
    make, words = REFUSED[mistake]
    assert words in check("solve_spec", make(0))
    assert words in check("solve_score", make(0))


def test_no_truth_of_another_scene_helps(tmp_path):
    """Whoever finds the sealed file of a tier has the truth of that tier's scenes, which no check uses."""
    make_tier(tmp_path / "dev.h5", "dev", n_scenes=1, preset="small")
    sealed = load_tier(tmp_path / "dev.h5", tmp_path / "sealed" / "dev.h5").truth("scene_00")
    stolen = lambda problem: (sealed.x_true[:, 8:56, 8:56], sealed.mismatch)  # noqa: E731
    for seed in FEW:
        assert "Was it made from these images?" in check("solve_spec", stolen, seed=seed)
        assert "expected at least" in check("solve_score", stolen, seed=seed)
        assert "would do" in check("calibrated", lambda problem: sealed.mismatch, seed=seed)


def test_no_file_holds_the_truth_of_a_scene_while_a_student_s_function_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def search(tier, solve, path):
        files = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert files == [tier.path]
        assert not tier.has_truth
        return hand_in(tier, solve, path)

    assert check("hand_in", search) == ""


# ------------------------------------------------------------------------------------------------ boards and files


def score_rows(tier, rows, specs, *, stated=None, refused=0.0, sort=-1):
    board = {}
    for row, make in rows.items():
        board[row] = []
        for name, problem in tier.items():
            spec = (stated or specs)[name]
            try:
                scored = score_answer(problem, make(problem, specs[name]), spec, tier.truth(name))
                board[row].append(scored.score)
            except AnswerError:
                board[row].append(refused)
    return dict(sorted(board.items(), key=lambda entry: sort * np.mean(entry[1])))


def by_file(tier, rows, specs):
    """Through a submission for each scene, which `write_submission` checks."""
    board = {}
    for row, make in rows.items():
        board[row] = np.zeros(len(tier))
        for i, (name, problem) in enumerate(tier.items()):
            volume = make(problem, specs[name])
            others = {one: (np.zeros_like(problem.y, shape=volume.shape), NOMINAL) for one in tier}
            path = tier.path.with_name(f"{row} {i}.h5")
            with contextlib.suppress(ValueError):
                write_submission(path, others | {name: (volume, specs[name])}, tier=tier)
                board[row][i] = score_submission(path, tier).scenes[name].score
    return {row: board[row] for row in sorted(board, key=lambda row: -board[row].mean())}


@pytest.mark.parametrize(("route", "seeds"), [(score_rows, SEEDS), (by_file, FEW[:1])])
def test_a_right_board_passes(route, seeds):
    assert [check("score_rows", route, seed=seed) for seed in seeds] == [""] * len(seeds)


@pytest.mark.parametrize(
    ("board", "words"),
    [
        (lambda t, r, s: score_rows(t, r, s, stated=dict.fromkeys(s, NOMINAL)), "the spec of the log file"),
        (lambda t, r, s: score_rows(t, r, s, refused=np.nan), "NaN or infinite"),
        (lambda t, r, s: score_rows(t, r, s, refused=0.1), "scores 0 and costs no other scene"),
        (lambda t, r, s: score_rows(t, r, s, sort=1), "comes first"),
        (
            lambda t, r, s: (board := score_rows(t, r, s)) | {"SIRT": board["SIRT"][::-1]},
            "the truth of the same scene",
        ),
        (lambda t, r, s: {k: np.mean(v) for k, v in score_rows(t, r, s).items()}, "expected (3,)"),
        (lambda t, r, s: list(score_rows(t, r, s)), "a key for each row"),
    ],
    ids=["nominal", "NaN", "refused", "worst first", "backwards", "means", "no dict"],
)
def test_a_wrong_board_is_named(board, words):
    assert words in check("score_rows", board)


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (lambda a, b: (np.mean(a - b), np.std(a - b, ddof=1) / np.sqrt(len(a))), ""),
        (lambda a, b: [np.mean(a) - np.mean(b), np.sqrt(np.var(a - b) / (len(a) - 1))], ""),
        (lambda a, b: (np.mean(b - a), np.std(a - b, ddof=1) / np.sqrt(len(a))), "the other sign"),
        (lambda a, b: (np.mean(a - b), np.std(a - b, ddof=1)), "by √n"),
        (lambda a, b: (np.mean(a - b), np.std(a - b) / np.sqrt(len(a))), "divide by n − 1"),
        (
            lambda a, b: (np.mean(a - b), np.hypot(a.std(ddof=1), b.std(ddof=1)) / np.sqrt(len(a))),
            "independent",
        ),
    ],
    ids=["right", "right too", "sign", "not of the mean", "ddof", "unpaired"],
)
def test_a_difference_is_paired(difference, words):
    messages = [check("difference", difference, seed=seed) for seed in SEEDS]
    assert messages == [""] * len(SEEDS) if not words else all(words in message for message in messages)


def hand_in(tier, solve, path, *, change=lambda answers: answers):
    write_submission(path, change({name: solve(problem) for name, problem in tier.items()}))
    return score_submission(path, tier)


def exchanged(answers):
    return dict(zip(answers, list(answers.values())[::-1], strict=True))


WRONG_FILES = {
    "no file": (lambda tier, solve, path: "done", "wrote no file"),
    "no report": (lambda *given: bool(hand_in(*given)), "Let it also return"),
    "numbered": (
        lambda tier, solve, path: (
            write_submission(
                path, {f"scene_{20 + i}": solve(problem) for i, problem in enumerate(tier.values())}
            )
            or "written"
        ),
        "would refuse scene_",
    ),
    "another's": (lambda *given: hand_in(*given, change=exchanged), "is not what `solve` gave"),
    "nominal": (
        lambda *given: hand_in(*given, change=lambda all_: {n: (x, NOMINAL) for n, (x, _) in all_.items()}),
        "The spec of scene_",
    ),
}


@pytest.mark.parametrize("mistake", WRONG_FILES)
def test_a_wrong_file_is_named(mistake):
    make, words = WRONG_FILES[mistake]
    assert words in check("hand_in", make)


def test_a_right_file_passes():
    assert [check("hand_in", hand_in, seed=seed) for seed in SEEDS] == [""] * len(SEEDS)


# ------------------------------------------------------------------------------------------------ cases


def test_a_function_that_changes_its_images_does_not_spoil_the_check():
    def greedy(problem, mismatch):
        volume = mended(wbp)(problem, mismatch)
        problem.y[:] = 0
        return volume

    assert check("wbp_row", greedy) == ""
    assert check("wbp_row", mended(wbp)) == ""


def test_fresh_cases_differ_and_name_their_seed():
    seen = []
    for _ in range(2):
        message = check("calibrated", lambda problem: seen.append(problem.y.sum()) or NOMINAL, seed=None)
        assert "[seed=" in message
    assert seen[0] != seen[1]


def test_the_microscope_of_a_case_is_neither_in_the_middle_nor_that_of_the_log_file():
    for seed in range(200):
        true = truth_of(seed)
        for name, (low, high) in challenge_cases.RANGES.items():
            away = min(abs(getattr(true, name)), abs(getattr(true, name) - (low + high) / 2)) / (high - low)
            assert away > grading.challenge.SPEC_TOLERANCE[name]
