"""Submissions: what is written is what is scored, the score is what is published, and what is wrong is named."""

from dataclasses import asdict, astuple, replace

import h5py
import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from etlab.course.challenge import (
    SubmissionError,
    load_tier,
    make_tier,
    score_submission,
    submission,
    write_submission,
)
from etlab.course.challenge.submission import read_answer
from etlab.course.scenes import AnswerError, FileError, hdf5, score_answer
from etlab.course.scenes.problem import SPEC
from etlab.course.scenes.scoring import checked_spec
from etlab.forward import Mismatch, TiltSeriesModel
from etlab.metrics import consistency
from etlab.solvers import wbp
from tests.checks import few_tilts

SCENES = ("scene_00", "scene_01")
KEY = b"a key of thirty-two bytes, secret"
ENDS = Mismatch(-0.5, 0.6, 20.0)  # of the public ranges


@pytest.fixture(scope="module")
def tier(tmp_path_factory):
    """A public tier of two scenes."""
    with few_tilts():
        return make_tier(tmp_path_factory.mktemp("public") / "public.h5", n_scenes=2, preset="small")


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    """A dev tier of one scene."""
    with few_tilts():
        return make_tier(
            tmp_path_factory.mktemp("dev") / "dev.h5", "dev", n_scenes=1, preset="small", key=KEY
        )


def truth(tier, name):
    known = tier.truth(name)
    return known.x_true, known.mismatch


def zeros(tier, name):
    return np.zeros(tier[name].geometry.volume_shape, np.float32), Mismatch()


def back_projected(tier, name):
    return wbp(tier[name].operator(), tier[name].y), Mismatch()


def images_as_volume(tier, name):
    """Images cut out and handed in as if they were slices, again and again because there are fewer."""
    (nz, ny, nx), y = tier[name].geometry.volume_shape, tier[name].y
    return y[np.arange(nz) % len(y), 8 : 8 + ny, :nx], ENDS


ANSWERS = (truth, zeros, back_projected, images_as_volume)


def answers(tier, solve=back_projected):
    return {name: solve(tier, name) for name in tier}


def submitted(tmp_path, tier, solve=back_projected):
    path = tmp_path / f"{solve.__name__}.h5"
    write_submission(path, answers(tier, solve))
    return path


def expected_score(problem, known, x_hat, spec):
    """The published formula, from its parts up."""
    H = TiltSeriesModel(problem.geometry, mismatch=spec, optics=problem.optics)
    explained = 1 - np.sqrt(
        np.sum((problem.y - H(x_hat)) ** 2, dtype=float) / np.sum(problem.y**2, dtype=float)
    )
    a, b = (np.clip(volume.astype(float), 0, 1) for volume in (x_hat, known.x_true))
    with np.errstate(divide="ignore"):
        psnr = 10 * np.log10(1 / np.mean((a - b) ** 2))
    # Wang et al. (2004), windows of 7³ voxels that lie within the volume, unbiased variances
    unbiased, inner = 7**3 / (7**3 - 1), (slice(3, -3),) * 3
    mean_a, mean_b = uniform_filter(a, 7), uniform_filter(b, 7)
    var_a, var_b = ((uniform_filter(v**2, 7) - m**2) * unbiased for v, m in ((a, mean_a), (b, mean_b)))
    covariance = (uniform_filter(a * b, 7) - mean_a * mean_b) * unbiased
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    ssim = similarity[inner].mean()
    score = 0.4 * min(max((psnr - 10) / 40, 0), 1) + 0.4 * ssim + 0.2 * min(max(explained, 0), 1)
    return score, psnr, ssim, max(explained, 0)


# ---- what an answer is worth


@pytest.mark.parametrize("solve", ANSWERS)
def test_the_score_is_the_published_formula(tmp_path, tier, solve):
    report = score_submission(submitted(tmp_path, tier, solve), tier)
    assert report.tier == "public" and tuple(report.scenes) == SCENES
    for name, score in report.scenes.items():
        expected = expected_score(tier[name], tier.truth(name), *solve(tier, name))
        assert astuple(score)[:4] == pytest.approx(expected, abs=1e-5)
    assert report.score == pytest.approx(np.mean([one.score for one in report.scenes.values()]))
    assert report.consistency == pytest.approx(np.mean([one.consistency for one in report.scenes.values()]))


def test_answers_rank_as_they_should(tmp_path, tier):
    scores = {solve.__name__: score_submission(submitted(tmp_path, tier, solve), tier) for solve in ANSWERS}
    perfect, nothing, wbp_, images = (scores[solve.__name__] for solve in ANSWERS)
    print({name: (round(one.score, 3), round(one.consistency, 3)) for name, one in scores.items()})
    assert 0.8 + 0.2 * 0.7 < perfect.score < 1  # noise is all that the truth leaves unexplained
    assert nothing.consistency == 0
    assert 0 <= images.score < nothing.score < wbp_.score < 0.6
    for name, score in perfect.scenes.items():
        assert score.psnr_db == np.inf and score.ssim == pytest.approx(1)
        nominal = score_answer(tier[name], tier.truth(name).x_true, Mismatch(), tier.truth(name))
        assert nominal.consistency < score.consistency - 0.001  # under the noise, but there
        assert nominal.ssim == score.ssim


def test_errors_of_the_spec_are_found_less_true(tmp_path, tier):
    off = Mismatch(0.25, -0.125, 2.0)
    path = tmp_path / "a.h5"
    write_submission(path, {name: (zeros(tier, name)[0], off) for name in tier})
    for name, score in score_submission(path, tier).scenes.items():
        true = tier.truth(name).mismatch
        for one in SPEC:
            assert getattr(score, f"{one}_error") == pytest.approx(getattr(off, one) - getattr(true, one))
        exact = score_answer(tier[name], zeros(tier, name)[0], true, tier.truth(name))
        assert score.score == exact.score  # they do not enter it


def test_without_the_truth_there_is_consistency_and_nothing_else(tmp_path, dev):
    path, blind = submitted(tmp_path, dev), load_tier(dev.path)
    report = score_submission(path, dev.path)  # a file is as good as an open tier
    score = report.scenes["scene_00"]
    x_hat, spec = back_projected(dev, "scene_00")
    assert score.consistency == pytest.approx(
        consistency(blind["scene_00"].operator(spec), blind["scene_00"].y, x_hat)
    )
    assert 0.1 < score.consistency < 1
    assert np.isnan([value for name, value in asdict(score).items() if name != "consistency"]).all()
    assert np.isnan(report.score) and report.consistency == score.consistency
    complete = score_submission(path, dev).scenes["scene_00"]
    assert complete.consistency == score.consistency and 0 < complete.score < 1


# ---- writing and reading


def test_what_is_written_comes_back(tmp_path, tier):
    path = tmp_path / "a.h5"
    write_submission(path, answers(tier, images_as_volume), tier=tier)
    for name in tier:
        x_hat, spec = read_answer(path, name, tier[name])
        np.testing.assert_array_equal(x_hat, images_as_volume(tier, name)[0])
        assert x_hat.dtype == np.float32 and spec == ENDS
    with h5py.File(path) as file:
        assert dict(file.attrs) == {"format": b"etlab submission", "version": b"1"}
        assert file["scene_00/x_hat"].attrs["units"] == "density, gold = 1"
        assert [file[f"scene_00/corrected_spec/{one}"].attrs["units"] for one in SPEC] == [
            "deg",
            "deg",
            "nm/um",
        ]


@pytest.mark.parametrize("dtype", [">f4", "f8", ">f8", "f2"])
def test_other_floats_in_other_layouts_are_as_good(tmp_path, tier, dtype):
    x_hat, spec = back_projected(tier, "scene_00")
    path = submitted(tmp_path, tier)
    with h5py.File(path, "r+") as file:
        scene = file["scene_00"]
        del scene["x_hat"]
        scene.create_dataset(
            "x_hat", data=x_hat.astype(dtype), chunks=(5, 64, 7), compression="gzip", maxshape=(None,) * 3
        )
        for one in SPEC:
            del scene["corrected_spec"][one]
            scene["corrected_spec"][one] = np.asarray(getattr(spec, one), dtype)
    read, read_spec = read_answer(path, "scene_00", tier["scene_00"])
    np.testing.assert_array_equal(read, x_hat.astype(dtype).astype(np.float32))
    assert read_spec == spec


def test_a_mapping_is_as_good_as_a_mismatch(tmp_path, tier):
    x_hat = zeros(tier, "scene_00")[0]
    write_submission(tmp_path / "a.h5", {"scene_00": (x_hat, asdict(ENDS))})
    assert read_answer(tmp_path / "a.h5", "scene_00", tier["scene_00"])[1] == ENDS


def test_whatever_else_is_in_the_file_is_not_looked_at(tmp_path, tier):
    path = submitted(tmp_path, tier)
    with h5py.File(path, "r+") as file:
        file["scene_99/notes"] = np.arange(3)
        file["scene_00"].attrs["comment"] = "best of three"
        file["scene_00/uncertainty"] = h5py.SoftLink("/nowhere")
    assert score_submission(path, tier).score > 0


def test_a_file_is_replaced_only_when_asked(tmp_path, tier):
    path = submitted(tmp_path, tier)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="already there"):
        write_submission(path, answers(tier, zeros))
    assert path.read_bytes() == before
    write_submission(path, answers(tier, zeros), overwrite=True)
    assert score_submission(path, tier).consistency == 0


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interrupted_writing_leaves_what_was_there_and_nothing_else(tmp_path, tier, monkeypatch, error):
    path = submitted(tmp_path, tier)
    before = path.read_bytes()

    def fail(scene, *answer):
        scene["x_hat"] = 1.0
        raise error("disk full")

    monkeypatch.setattr(submission, "write_answer", fail)
    for one in (path, tmp_path / "new.h5"):
        with pytest.raises(error):
            write_submission(one, answers(tier, zeros), overwrite=True)
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == before


# ---- what is refused


@pytest.mark.parametrize("dtype", [int, complex, object, "U5", bool])
def test_only_floats_are_an_answer(tmp_path, tier, dtype):
    x_hat = zeros(tier, "scene_00")[0].astype(dtype)
    with pytest.raises(AnswerError, match="x_hat: got dtype"):
        score_answer(tier["scene_00"], x_hat, Mismatch())
    with pytest.raises(SubmissionError, match="scene_00: x_hat: got dtype"):
        write_submission(tmp_path / "a.h5", {"scene_00": (x_hat, Mismatch())})
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (np.nan, "NaN"),
        (np.inf, "NaN or inf"),
        (-np.inf, "NaN or inf"),
        (1e39, "NaN or inf"),
        (3e38, "beyond ±1e"),
    ],
)
def test_a_single_impossible_value_is_found(tmp_path, tier, value, complaint):
    x_hat = zeros(tier, "scene_00")[0].astype(float)
    x_hat[5, 6, 7] = value
    with pytest.raises(SubmissionError, match=f"scene_00: x_hat: got .*{complaint}"):
        write_submission(tmp_path / "a.h5", {"scene_00": (x_hat, Mismatch())})
    path = submitted(tmp_path, tier)
    with h5py.File(path, "r+") as file:
        del file["scene_00/x_hat"]
        file["scene_00/x_hat"] = x_hat  # float64, in which 1e39 is a number like others
    with pytest.raises(SubmissionError, match=r"^scene_00: .*x_hat: got NaN, infinite or huge") as error:
        score_submission(path, tier)
    assert "scene_01" not in str(error.value)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"tilt_angle": 0.0, "tilt_axis": 0.0}, "exactly tilt_angle, tilt_axis, defocus_gradient"),
        (asdict(ENDS) | {"dose": 5.0}, "exactly"),
        ([0.0, 0.0, 0.0], "expected a Mismatch"),
        (None, "expected a Mismatch"),
        (asdict(ENDS) | {"tilt_axis": "large"}, "tilt_axis is no number"),
        (asdict(ENDS) | {"tilt_axis": None}, "tilt_axis is no number"),
        (asdict(ENDS) | {"tilt_axis": np.nan}, "got tilt_axis = nan"),
        (asdict(ENDS) | {"tilt_axis": np.inf}, "got tilt_axis = inf"),
        (asdict(ENDS) | {"tilt_axis": 0.61}, "got tilt_axis = 0.61, expected -0.3 to 0.6"),
        (replace(ENDS, tilt_angle=-0.501), "got tilt_angle = -0.501"),
        (replace(ENDS, defocus_gradient=20.001), "got defocus_gradient = 20.001"),
    ],
)
def test_a_spec_that_lacks_a_number_or_leaves_its_range_is_refused(tmp_path, tier, spec, complaint):
    x_hat = zeros(tier, "scene_00")[0]
    with pytest.raises(AnswerError, match=complaint):
        score_answer(tier["scene_00"], x_hat, spec)
    with pytest.raises(SubmissionError, match=f"scene_00: .*{complaint}"):
        write_submission(tmp_path / "a.h5", dict.fromkeys(SCENES, (x_hat, spec)), tier=tier)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.61, -0.31])
def test_a_spec_out_of_range_is_refused_in_a_file(tmp_path, tier, value):
    path = submitted(tmp_path, tier)
    with h5py.File(path, "r+") as file:
        file["scene_01/corrected_spec/tilt_axis"][()] = value
    with pytest.raises(SubmissionError, match=r"^scene_01: .*tilt_axis"):
        score_submission(path, tier)


def test_rounding_to_single_precision_leaves_no_range(tier):
    ranges = tier["scene_00"].spec_ranges
    for end in (0, 1):
        rounded = {name: float(np.float32(ranges[name][end])) for name in SPEC}
        outward = {
            name: ends[end] + (end - 0.5) * 1e-6 * (ends[1] - ends[0]) for name, ends in ranges.items()
        }
        exact = Mismatch(**{name: ranges[name][end] for name in SPEC})
        for spec in (rounded, outward):
            found = checked_spec(spec, ranges)
            assert all(low <= getattr(found, name) <= high for name, (low, high) in ranges.items())
            assert asdict(found) == pytest.approx(asdict(exact), abs=1e-6)
    assert any(rounded[name] > ranges[name][1] for name in SPEC)  # or nothing was tested


def test_every_wrong_scene_is_named_with_its_fault(tmp_path, tier):
    x_hat, spec = zeros(tier, "scene_00")
    path = tmp_path / "a.h5"
    write_submission(path, {"scene_01": (x_hat[:-1], spec), "scene_02": (x_hat, spec)})
    with pytest.raises(SubmissionError, match=r"scene_00: .*missing; scene_01: .*got shape \(31, 64, 64\)"):
        score_submission(path, tier)
    with pytest.raises(SubmissionError, match=r"scene_00: missing; scene_01: .*got shape \(31, 64, 64\)"):
        write_submission(tmp_path / "b.h5", {"scene_01": (x_hat[:-1], spec)}, tier=tier.path)
    with pytest.raises(SubmissionError, match="got none"):
        write_submission(tmp_path / "b.h5", {})
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("part", ["x_hat", "corrected_spec", *(f"corrected_spec/{name}" for name in SPEC)])
def test_a_missing_part_is_named(tmp_path, tier, part):
    path = submitted(tmp_path, tier)
    with h5py.File(path, "r+") as file:
        del file["scene_01"][part]
    with pytest.raises(SubmissionError, match=f"^scene_01: .*{part}: missing"):
        score_submission(path, tier)


@pytest.mark.parametrize("change", [{"format": "etlab challenge"}, {"version": "2"}])
def test_a_file_that_is_no_submission_is_refused(tmp_path, tier, change):
    path = submitted(tmp_path, tier)
    with h5py.File(path, "r+") as file:
        hdf5.label(file, change)
    with pytest.raises(SubmissionError, match="expected 'etlab submission', version 1"):
        score_submission(path, tier)
    with pytest.raises(SubmissionError, match="expected 'etlab submission'"):
        score_submission(tier.path, tier)


def test_a_damaged_tier_is_not_blamed_on_the_submission(tmp_path, tier, dev):
    with few_tilts():
        other = make_tier(tmp_path / "other.h5", "dev", n_scenes=1, preset="small")
    with pytest.raises(FileError, match="belongs to another problem"):
        score_submission(submitted(tmp_path, dev), load_tier(dev.path, other.sealed))


def test_without_a_file_there_is_no_score(tmp_path, tier):
    with pytest.raises(FileNotFoundError):
        score_submission(tmp_path / "absent.h5", tier)
