"""The learned solvers: what they do whatever the network, what they say when something is missing, and the weights."""

import hashlib
import importlib
import json
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from etlab.course.scenes import simulate
from etlab.forward import TiltSeriesModel
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.metrics import psnr, wedge_filling
from etlab.projector import Projector
from etlab.solvers import METHODS, learned, sirt, wbp
from etlab.solvers.learned import network, slices
from etlab.solvers.learned._cryocare import half_reconstructions
from etlab.solvers.learned._deeprecon import band_reconstructions, filter_bank
from etlab.solvers.learned._diffusion import drawn_to_data
from etlab.solvers.learned._isonet import SIRT_ITERATIONS, filled, measured_frequencies
from etlab.solvers.learned._unrolled import STEPS

SOLVERS = (
    "cryocare",
    "deeprecon",
    "diffusion",
    "dncnn",
    "isonet",
    "swin",
    "tomogan",
    "transformer",
    "unrolled",
)
WEIGHTS = sorted(network.WEIGHTS.glob("*.onnx"))


@pytest.fixture
def series():
    """A signed-noise tilt series of a random volume, small and of odd sizes."""
    geometry = TiltGeometry(linear_tilts(60, 5), (13, 22, 7), n_rows=26)
    operator = Projector(geometry)
    rng = np.random.default_rng(0)
    volume = np.zeros(geometry.volume_shape, np.float32)
    volume[4:9, 6:16] = rng.uniform(0.2, 0.8, (5, 10, 7))
    return operator, operator(volume), volume


def middle_of(n: int):
    """The network that changes nothing: the slice in the middle of ``n``."""
    return lambda slices: slices[:, n // 2][:, None]


def with_network(monkeypatch, module: str, answer) -> None:
    module = importlib.import_module(f"etlab.solvers.learned.{module}")
    monkeypatch.setattr(module, "load", lambda name, weights=None: answer)


# slices


def test_slices_stand_between_their_neighbours_and_ends_are_repeated():
    volume = np.arange(5, dtype=np.float32) * np.ones((2, 3, 1), np.float32)
    stack = slices.with_neighbours(volume, np.array([0, 2, 4]), 5)
    assert stack.shape == (3, 5, 2, 3)
    assert stack[:, :, 0, 0].tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4], [2, 3, 4, 4, 4]]


def test_slices_go_through_in_order_with_planes_as_last_channels():
    volume = np.random.default_rng(0).random((4, 6, 19), np.float32)
    assert np.array_equal(slices.by_slices(middle_of(3), [volume], n_neighbours=3), volume)
    planes = slices.by_slices(lambda x: x[:, -1:], [volume, volume], n_neighbours=3, planes=(0.25, 0.5))
    assert (planes == 0.5).all()


@pytest.mark.parametrize("shape", [(13, 22), (16, 24), (1, 9)])
def test_padding_is_to_the_next_multiple_and_can_be_undone(shape):
    stack = np.random.default_rng(0).random((2, 3, *shape), np.float32)
    padded, (rows, columns) = slices.padded_to(stack, 8)
    assert padded.shape[2] % 8 == padded.shape[3] % 8 == 0
    assert all(p - n < 8 for p, n in zip(padded.shape[2:], shape, strict=True))
    assert np.array_equal(padded[:, :, rows, columns], stack)


# what each method does around its network


@pytest.mark.parametrize("method", [learned.dncnn, learned.transformer, learned.swin, learned.tomogan])
def test_with_a_network_that_changes_nothing_a_one_pass_method_is_wbp_above_zero(series, method, monkeypatch):
    operator, images, _ = series
    with_network(monkeypatch, "onepass", middle_of(5))
    assert np.array_equal(method(operator, images), np.maximum(wbp(operator, images), 0))


@pytest.mark.parametrize("method", [learned.dncnn, learned.unrolled, learned.isonet, learned.deeprecon])
def test_the_scale_is_the_unit_that_the_network_sees(series, method, monkeypatch):
    operator, images, _ = series
    for module in ("onepass", "_unrolled", "_isonet"):
        with_network(monkeypatch, module, lambda slices: slices[:, 2:3] ** 2)  # not linear, so units matter
    with_network(monkeypatch, "_deeprecon", lambda slices: slices[:, 1:2] ** 2)
    assert np.allclose(method(operator, 7 * images, scale=7.0), 7 * method(operator, images), atol=1e-4)


def test_halves_together_are_the_whole(series):
    operator, images, _ = series
    mean = sum(half_reconstructions(operator, images)) / 2
    whole = wbp(operator, images)
    assert np.linalg.norm(mean - whole) < 0.1 * np.linalg.norm(
        whole
    )  # but for the weights of the outermost tilts


def test_halves_share_no_image(series):
    operator, images, _ = series
    images = images.copy()
    images[1::2] = 0
    even, odd = half_reconstructions(operator, images)
    assert np.any(even)
    assert not np.any(odd)


def test_cryocare_with_a_network_that_changes_nothing_is_the_mean_of_the_halves(series, monkeypatch):
    operator, images, _ = series
    with_network(monkeypatch, "_cryocare", middle_of(5))
    mean = sum(half_reconstructions(operator, images)) / 2
    assert np.allclose(learned.cryocare(operator, images), np.maximum(mean, 0), atol=1e-6)


def test_half_a_filtered_gradient_a_step_explains_the_data_better_at_each_step(series, monkeypatch):
    operator, images, _ = series
    with_network(monkeypatch, "_unrolled", lambda slices: slices[:, 2:3] + 0.5 * slices[:, 7:8])
    residuals = []
    learned.unrolled(operator, images, callback=lambda status: residuals.append(status.residual))
    assert len(residuals) == STEPS
    assert all(after < before for before, after in pairwise(residuals))


def test_a_descent_stops_when_it_is_told_to(series, monkeypatch):
    operator, images, _ = series
    with_network(monkeypatch, "_unrolled", middle_of(5))
    seen = []
    learned.unrolled(
        operator, images, callback=lambda status: bool(seen.append(status.iteration)) or len(seen) == 2
    )
    assert seen == [1, 2]


def test_bands_add_up_to_the_ramp(series):
    operator, images, _ = series
    assert np.allclose(filter_bank(64).sum(axis=0), 1)
    assert np.allclose(sum(band_reconstructions(operator, images)), wbp(operator, images), atol=1e-5)


def test_data_consistency_solves_its_equations(series):
    operator, images, volume = series
    guess = np.full_like(volume, 0.1)
    drawn, misfit = drawn_to_data(operator, images, guess, dose=5.0, rho=2.0, n_iter=60)
    precision = 5.0 / np.maximum(operator(guess), 1 / 5.0)
    gradient = operator.T((precision * (operator(drawn) - images)).astype(np.float32)) + 2.0 * (drawn - guess)
    start = operator.T((precision * (operator(guess) - images)).astype(np.float32))
    assert np.linalg.norm(gradient) < 1e-3 * np.linalg.norm(start)
    assert misfit == pytest.approx(float(np.linalg.norm(operator(guess) - images)), rel=1e-5)


def test_diffusion_samples_depend_on_the_seed_and_on_nothing_else(series, monkeypatch):
    operator, images, _ = series
    with_network(monkeypatch, "_diffusion", lambda slices: 0.5 * slices[:, 1:2])
    options = dict(n_steps=3, n_cg=3)
    first, again, other = (learned.diffusion(operator, images, seed=seed, **options) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    samples = learned.diffusion_samples(operator, images, n_samples=2, seed=1, **options)
    assert np.array_equal(samples.volumes, np.stack([first, other]))
    assert np.allclose(samples.spread, np.abs(first - other) / 2, atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [dict(dose=0.0), dict(rho=-1.0), dict(scale=np.nan), dict(n_steps=1), dict(n_cg=0)]
)
def test_diffusion_names_an_option_that_means_nothing(series, wrong):
    operator, images, _ = series
    with pytest.raises(ValueError, match=next(iter(wrong))):
        learned.diffusion(operator, images, **wrong)


def test_a_tilt_measures_its_line_and_the_wedge_lies_round_the_beam():
    mask = measured_frequencies((64, 128), linear_tilts(60, 2))
    assert mask[0, 20] == 1  # tilt 0: along y
    assert mask[20, 1] == 0  # nearly along z, the beam
    assert mask[0, 0] == 1  # the mean
    steep, flat = np.tan(np.deg2rad(70)), np.tan(np.deg2rad(50))
    f_y = 8 / 128
    assert mask[round(64 * f_y * steep), 8] == 0
    assert mask[round(64 * f_y * flat), 8] == 1
    assert mask[-round(64 * f_y * flat), 8] == 1  # the negative tilt


def test_filling_keeps_what_was_measured_and_takes_the_rest():
    rng = np.random.default_rng(0)
    measured, guessed = rng.random((2, 16, 24, 3), np.float32)
    tilts = linear_tilts(60, 2)
    spectrum = np.fft.rfft2(filled(measured, guessed, tilts), axes=(0, 1))
    mask = measured_frequencies((16, 24), tilts)
    for volume, where in ((measured, mask == 1), (guessed, mask == 0)):
        difference = (spectrum - np.fft.rfft2(volume, axes=(0, 1)))[where]
        # frequencies at the rim of the half plane belong to a tilt and to its opposite at once
        rim = np.broadcast_to((np.arange(13) == 12) | (np.arange(13) == 0), mask.shape)[where]
        assert np.abs(difference[~rim]).max() < 1e-3


def test_isonet_with_a_network_that_changes_nothing_keeps_sirt_where_it_was_measured(series, monkeypatch):
    operator, images, _ = series
    with_network(monkeypatch, "_isonet", middle_of(5))
    measured = sirt(operator, images, n_iter=SIRT_ITERATIONS)
    wanted = np.maximum(filled(measured, wbp(operator, images), operator.geometry.tilts_deg), 0)
    assert np.allclose(learned.isonet(operator, images), wanted, atol=1e-6)
    raw = learned.isonet(operator, images, strict=False)
    assert np.array_equal(raw, np.maximum(wbp(operator, images), 0))


# what is said when something is missing


def one_line(error: pytest.ExceptionInfo) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", SOLVERS)
def test_missing_weights_are_named_with_the_command_that_makes_them(series, name, monkeypatch, tmp_path):
    monkeypatch.setattr(network, "WEIGHTS", tmp_path)
    operator, images, _ = series
    with pytest.raises(learned.WeightsError) as error:
        getattr(learned, name)(operator, images)
    assert f"python -m training.train {name}" in one_line(error)


def test_missing_onnxruntime_is_said_with_what_to_install(monkeypatch, tmp_path):
    (tmp_path / "some.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(learned.WeightsError) as error:
        network.load("some", tmp_path / "some.onnx")
    assert "pip install 'etlab[learned]'" in one_line(error)


def test_a_file_that_is_no_network_is_named(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "some.onnx").write_bytes(b"not a network\nat all")
    with pytest.raises(learned.WeightsError) as error:
        network.load("some", tmp_path / "some.onnx")
    assert "some.onnx" in one_line(error)


# the weights


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_weights_are_small_and_as_their_card_says(path):
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["name"] == path.stem
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card["parameters"] <= 1_000_000
    assert path.stat().st_size <= 4_000_000
    assert card["training data"]["volume"] == [64, 128, 128]
    assert card["validation after"] > card["validation before"]
    assert card["onnxruntime differs from PyTorch by"] <= 1e-5


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_weights_run_at_any_size_and_give_the_same_twice(path, series):
    pytest.importorskip("onnxruntime")
    operator, images, _ = series
    first, second = (getattr(learned, path.stem)(operator, images) for _ in range(2))
    assert first.shape == operator.geometry.volume_shape
    assert first.dtype == np.float32
    assert first.min() >= 0
    assert np.array_equal(first, second)


@pytest.fixture(scope="module")
def unseen():
    """A specimen that no network has seen, its operator and its back-projection: 16 slices across the tilt axis."""
    sample, middle = simulate("vesicles", "standard", seed=300), slice(56, 72)
    nz, ny, _ = sample.geometry.volume_shape
    sample = replace(
        sample,
        y=np.ascontiguousarray(sample.y[:, :, middle]),
        x_true=np.ascontiguousarray(sample.x_true[:, :, middle]),
        geometry=replace(sample.geometry, volume_shape=(nz, ny, 16)),
    )
    H = TiltSeriesModel(sample.geometry, optics=sample.optics)
    return sample, H, wbp(H, sample.y)


SUPERVISED = ("deeprecon", "dncnn", "swin", "tomogan", "transformer", "unrolled")


@pytest.mark.parametrize("name", SUPERVISED)
def test_networks_that_learned_from_truth_fill_the_wedge_of_a_specimen_they_never_saw(name, unseen):
    pytest.importorskip("onnxruntime")
    sample, H, plain = unseen
    volume = getattr(learned, name)(H, sample.y)
    assert psnr(volume, sample.x_true) > psnr(plain, sample.x_true) + 8
    energy, right = wedge_filling(volume, sample.x_true, H.geometry.tilts_deg)
    assert energy > 0.8 and right > 0.9


def test_isonet_improves_on_its_own_input_though_it_never_saw_a_truth(unseen):
    pytest.importorskip("onnxruntime")
    sample, H, _ = unseen
    before = psnr(sirt(H, sample.y, n_iter=SIRT_ITERATIONS), sample.x_true)
    assert psnr(METHODS["IsoNet"](H, sample.y), sample.x_true) > before + 2
    assert psnr(learned.isonet(H, sample.y, strict=True), sample.x_true) > before + 1


def test_cryocare_takes_half_of_the_noise_and_nothing_else(unseen):
    pytest.importorskip("onnxruntime")
    sample, H, plain = unseen
    without_noise = np.maximum(wbp(H, H(sample.x_true)), 0)
    denoised = learned.cryocare(H, sample.y)
    noise, left = (np.linalg.norm(volume - without_noise) for volume in (np.maximum(plain, 0), denoised))
    assert left < 0.6 * noise
    energy, _ = wedge_filling(denoised, sample.x_true, H.geometry.tilts_deg)
    assert energy < 0.25
