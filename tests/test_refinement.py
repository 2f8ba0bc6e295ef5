"""IsoNet on one's own series: what is taken from the images, that a run ends with weights the solver takes, errors."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: run in .venv-training (`make test-training`)")
pytest.importorskip("onnxscript", reason="needs onnxscript: run in .venv-training (`make test-training`)")

import mrcfile  # noqa: E402
from typer import Typer  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from etlab.data import DataError  # noqa: E402
from etlab.data import needle as needle_series  # noqa: E402
from etlab.forward import Detector  # noqa: E402
from etlab.geometry import TiltGeometry, linear_tilts  # noqa: E402
from etlab.projector import Projector  # noqa: E402
from etlab.solvers.learned import isonet  # noqa: E402
from training import isotropy, objectives, own_series, run, train  # noqa: E402
from training.noise import estimated_detector  # noqa: E402
from training.own_series import (  # noqa: E402
    OwnIsotropy,
    OwnSeries,
    Refinement,
    agreement,
    binned_about_axis,
    density_of,
)

GAIN, VACUUM = 700.0, 50.0  # of the file: intensity per unit line integral, and where there is nothing
GEOMETRY = TiltGeometry(linear_tilts(60, 6), (22, 22, 20))  # 22 is no multiple of what the network takes
HIGH, LOW = 0.9, 0.45  # densities of the specimen


@pytest.fixture(scope="module", autouse=True)
def small_work(tmp_path_factory):
    """Little work, and a cache folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETLAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(objectives, "SLAB", 8)
        patch.setattr(isotropy, "POOL", 4)
        patch.setattr(own_series, "N_HELD_OUT", 2)
        patch.setattr(run, "N_VALIDATIONS", 2)
        torch.set_num_threads(1)
        yield


@pytest.fixture(scope="module")
def specimen():
    """Two balls, one denser than the other, (nz, ny, nx)."""
    z, y, x = (np.arange(n) - (n - 1) / 2 for n in GEOMETRY.volume_shape)
    z, y, x = z[:, None, None], y[:, None], x

    def ball(radius, *centre):
        return sum((u - c) ** 2 for u, c in zip((z, y, x), centre, strict=True)) < radius**2

    return (HIGH * ball(5, 0, -3, -3) + LOW * ball(3, 2, 5, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def recorded(specimen, tmp_path_factory):
    """A file as a microscope leaves it, with the angles beside it."""
    images = Detector(dose=200.0).expose(Projector(GEOMETRY)(specimen), 0)
    path = tmp_path_factory.mktemp("series") / "balls.mrc"
    with mrcfile.new(path) as file:
        file.set_data((GAIN * images + VACUUM).astype(np.float32))
    path.with_suffix(".tlt").write_text("\n".join(f"{tilt:.2f}" for tilt in GEOMETRY.tilts_deg))
    return path


def command(*arguments: object):
    app = Typer()
    app.command()(train.main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# what is taken from the images


def test_the_unit_of_density_is_that_of_the_densest_part(recorded, specimen):
    objective = OwnIsotropy(OwnSeries(str(recorded), background=VACUUM), progress=False)
    assert objective.scale == pytest.approx(GAIN * HIGH, rel=0.2)
    assert density_of(5 * specimen) == pytest.approx(5 * HIGH)
    with pytest.raises(ValueError, match="nothing above the background"):
        density_of(np.zeros((4, 4, 4), np.float32))


@pytest.mark.parametrize(("dose", "read_noise"), [(5.0, 0.0), (100.0, 0.2)])
def test_noise_is_estimated_from_the_images_alone(dose, read_noise):
    ramp = np.linspace(0, 30, 96, dtype=np.float32)
    images = np.broadcast_to(ramp[:, None], (8, 96, 96))
    found = estimated_detector(Detector(dose=dose, read_noise=read_noise).expose(images, 0))
    assert found.dose == pytest.approx(dose, rel=0.15)
    assert found.read_noise == pytest.approx(read_noise, abs=0.1)


def test_images_without_noise_have_no_dose():
    assert estimated_detector(np.ones((2, 8, 8), np.float32)) == Detector(dose=None)


@pytest.mark.parametrize(("n_rows", "factor"), [(255, 3), (256, 2), (256, 3), (23, 1)])
def test_binning_leaves_the_axis_half_way_up(n_rows, factor):
    height = np.arange(n_rows, dtype=np.float32) - (n_rows - 1) / 2
    images = np.broadcast_to(height[:, None], (2, n_rows, 2 * factor + 1))
    binned = binned_about_axis(images, factor)
    assert n_rows - factor * binned.shape[1] < 2 * factor
    assert binned.shape[2] == (2 * factor + 1) // factor
    centred = factor * (np.arange(binned.shape[1]) - (binned.shape[1] - 1) / 2)
    assert np.allclose(binned[0, :, 0], centred)


def test_a_binning_that_would_move_the_axis_is_refused():
    with pytest.raises(ValueError, match=r"bin: got 2.*must be odd"):
        binned_about_axis(np.zeros((2, 255, 8), np.float32), 2)


def test_tilts_beyond_are_kept_from_training(recorded):
    near, beyond = OwnSeries(str(recorded), up_to=45).parts()
    assert np.abs(near.geometry.tilts_deg).max() <= 45 < np.abs(beyond.geometry.tilts_deg).min()
    assert near.geometry.n_tilts + beyond.geometry.n_tilts == GEOMETRY.n_tilts
    whole = OwnSeries(str(recorded)).read()
    assert np.array_equal(beyond.images[0], whole.images[0])  # −60°


def test_a_flat_specimen_gets_a_slab_as_wide_as_the_steepest_rays_need(recorded):
    shape = OwnSeries(str(recorded), thickness=8).read().geometry.volume_shape
    assert shape[0] == 8
    assert shape[1] >= GEOMETRY.n_rows / np.cos(np.deg2rad(60))


def test_tilts_that_reach_further_to_one_side_see_no_mirror_image_of_one_axis_alone():
    corner = np.zeros((1, 1, 2, 2), np.float32)
    corner[..., 0, 0] = 1

    def places(symmetric):
        seen = (
            objectives.flipped(np.random.default_rng(seed), corner, symmetric=symmetric)[0]
            for seed in range(40)
        )
        return {tuple(np.argwhere(one[0, 0])[0]) for one in seen}

    assert places(True) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert places(False) == {(0, 0), (1, 1)}


def test_agreement_is_perfect_with_the_images_themselves_and_poor_with_nothing():
    images = np.random.default_rng(0).random((2, 5, 5), np.float32)
    assert agreement(images, images) == {"relative error": 0.0, "correlation": 1.0}
    assert (
        agreement(np.eye(5, dtype=np.float32) * np.ones((2, 1, 1), np.float32), images)["relative error"]
        > 0.5
    )


# runs


@pytest.fixture(scope="module")
def refined(recorded):
    """A short run from beginning to end, as a command."""
    out = recorded.with_name("balls.onnx")
    options = f"--steps 40 --background {VACUUM} --up-to 50 --new --out {out}"
    return out, command("isonet", "--on", recorded, *options.split())


def test_a_run_learns_and_leaves_weights_that_the_solver_takes(refined, recorded):
    out, answer = refined
    assert answer.exit_code == 0, answer.output
    card = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["validation after"] > card["validation before"] + 0.5
    assert card["series"] == "balls.mrc"
    assert card["begun with"] == "new weights"
    assert "truth" not in card
    near, _ = OwnSeries(str(recorded), background=VACUUM, up_to=50).parts()
    volume = isonet(near.model, near.images, scale=card["scale"], weights=out)
    assert volume.shape == near.geometry.volume_shape
    assert 0.5 * GAIN * HIGH < volume.max() < 2 * GAIN * HIGH


def test_images_kept_back_say_how_well_they_are_predicted(refined):
    out, answer = refined
    card = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    rows = card["images beyond, predicted"]
    assert list(rows) == ["SIRT, 30 iterations", "SIRT, 100 iterations", "total variation", "IsoNet"]
    assert all(0 < row["relative error"] < 1 for row in rows.values())
    assert all(row["correlation"] > 0.8 for row in rows.values())
    assert all(name in answer.output for name in rows)


def test_a_run_begins_with_the_weights_it_is_given(refined, recorded):
    out, _ = refined
    series = OwnSeries(str(recorded), background=VACUUM, up_to=50)
    first = run.Run(Refinement("isonet", steps=1, series=series, start=str(out)), torch.device("cpu"))
    objective = OwnIsotropy(series, progress=False)
    card = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert objective.validate(first.predictor()) == pytest.approx(card["validation after"], abs=0.01)


def test_a_run_is_not_taken_up_with_other_images(recorded):
    objective = OwnIsotropy(OwnSeries(str(recorded)), progress=False)
    with pytest.raises(run.TrainingError, match=r"balls\.mrc: has changed.*--restart"):
        objective.restore({"round": 1, "fingerprint": objective.fingerprint + 1})


@pytest.mark.data
def test_the_needle_stands_on_its_axis_and_its_images_agree_with_a_volume(monkeypatch):
    monkeypatch.delenv("ETLAB_CACHE")  # the user's, where the needle is kept
    try:
        needle_series()
    except DataError as error:
        pytest.skip(str(error))
    near, beyond = OwnSeries("needle", bin=5, up_to=60).parts()
    assert near.images.shape == (61, 51, 51)
    rows = np.arange(51) - 25
    centre = np.array([(image.sum(axis=1) @ rows) / image.sum() for image in near.images])
    theta = np.deg2rad(near.geometry.tilts_deg)
    wave = np.stack([np.cos(theta), np.sin(theta), np.ones_like(theta)], axis=1)
    assert abs(np.linalg.lstsq(wave, centre, rcond=None)[0][2]) < 0.2
    volume = own_series.sirt(near.model, near.images, n_iter=10)
    assert agreement(beyond.model(volume), beyond.images)["correlation"] > 0.8


# errors, in one line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("isonet --steps 1 --on nowhere.mrc", "nowhere.mrc: no such file"),
        ("isonet --steps 1 --on SERIES --tilts nowhere.tlt", "nowhere.tlt"),
        ("isonet --steps 1 --on SERIES --tilts SHORT", "gives 2 angles"),
        ("isonet --steps 1 --on SERIES --bin 0", "bin: got 0"),
        ("isonet --steps 1 --on SERIES --up-to 60", "--up-to: got 60°, which leaves 21 of 21 tilts"),
        ("isonet --steps 1 --on SERIES --axis z", "axis: got 'z'"),
        ("isonet --steps 1 --on SERIES --start nowhere.onnx", "nowhere.onnx: no such file"),
        ("isonet --steps 1 --on SERIES --start a.onnx --new", "--new, --start"),
        ("isonet --steps 1 --on SERIES --preset small", "--preset: means nothing with --on"),
        ("isonet --steps 1 --on needle --tilts SHORT", "mean nothing for the needle"),
        ("isonet --on SERIES", "--steps or --minutes"),
        ("isonet --steps 1 --bin 2", "--bin: means nothing without --on"),
        ("dncnn --steps 1 --on SERIES", "--on: got dncnn, but only isonet"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments, message, recorded, tmp_path, monkeypatch):
    monkeypatch.setenv("ETLAB_CACHE", str(tmp_path / "empty"))
    short = tmp_path / "short.tlt"
    short.write_text("0\n1\n")
    arguments = arguments.replace("SERIES", str(recorded)).replace("SHORT", str(short))
    answer = command(*arguments.split(), "--out", tmp_path / "out.onnx")
    assert answer.exit_code == 1
    assert message in answer.stderr
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.strip().count("\n") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["short.tlt"]
