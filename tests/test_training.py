"""Training: what is learned from, and how a run goes from its first step to weights with a card."""

import functools
import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: run in .venv-training (`make test-training`)")
pytest.importorskip("onnxscript", reason="needs onnxscript: run in .venv-training (`make test-training`)")

from typer.testing import CliRunner  # noqa: E402

from etlab.course.benchmark.standard import TEST_SEEDS  # noqa: E402
from etlab.course.scenes.simulation import PUBLIC_SEEDS  # noqa: E402
from etlab.phantoms import SCENES  # noqa: E402
from training import data, isotropy, objectives, run, step_by_step, train  # noqa: E402
from training.isotropy import Isotropy, turned_piece  # noqa: E402
from training.networks import dncnn  # noqa: E402
from training.recipes import RECIPES  # noqa: E402
from training.settings import Settings, TrainingError  # noqa: E402

N_SAMPLES = 4
STEPS = 60  # of the training that has to show something


@pytest.fixture(scope="module", autouse=True)
def small_work(tmp_path_factory):
    """Little work: few slices and layers, few validations, a small stock of IsoNet's pieces, nothing made twice.

    The cache folder is of its own, so that nothing of the user's is read or written.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETLAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(data, "make", functools.cache(data.make))
        patch.setattr(objectives, "SLAB", 8)
        patch.setattr(step_by_step, "SLAB", 8)
        patch.setattr(step_by_step, "POOL", 2)
        patch.setattr(isotropy, "POOL", 4)
        patch.setattr(isotropy, "SIRT_ITERATIONS", 3)
        patch.setattr(run, "N_VALIDATIONS", 2)
        patch.setattr(dncnn, "DILATIONS", (1, 2))
        torch.set_num_threads(1)
        yield


@pytest.fixture(scope="module")
def samples(small_work):
    return data.training_samples(N_SAMPLES, preset="small"), data.validation_samples(preset="small")


def brief(name: str, steps: int, **changes) -> Settings:
    return Settings(name, steps=steps, samples=N_SAMPLES, preset="small", **changes)


# what is learned from


def test_no_network_learns_from_a_seed_that_anything_is_reported_on():
    seeds = {which.seed for which in data.training_samples(200)}
    held_out = {which.seed for which in data.validation_samples(8)}
    assert min(seeds | held_out) >= 1000
    assert not seeds & held_out
    assert not (seeds | held_out) & {*PUBLIC_SEEDS, *TEST_SEEDS}
    with pytest.raises(ValueError, match="samples: got"):
        data.training_samples(4 * (data.FIRST_VALIDATION_SEED - data.FIRST_SEED) + 1)


def test_a_family_left_out_is_left_out_of_training_only():
    left = data.training_samples(96, without="vesicles")
    assert len(left) == 96
    assert {which.scene for which in left} == set(SCENES) - {"vesicles"}
    assert {which.scene for which in data.validation_samples()} == set(SCENES)
    with pytest.raises(ValueError, match="without: got 'clouds'"):
        data.training_samples(4, without="clouds")


def test_the_cache_is_filled_once_and_other_code_is_noticed(samples, monkeypatch):
    training, _ = samples
    data.fill(training, progress=False)
    assert data.fill(training, progress=False) == 0
    (sample, *_) = data.load(training, ("wbp", "truth"), progress=False)
    assert sample["truth"].shape == sample["wbp"].shape == (32, 64, 64)

    simulated = data.make
    monkeypatch.setattr(data, "make", lambda which: {k: 1.1 * v for k, v in simulated(which).items()})
    with pytest.raises(data.CacheError, match="delete the folder"):
        data.load(training, ("truth",), progress=False)


def test_mirroring_along_x_swaps_the_neighbours():
    stack = np.arange(3, dtype=np.float32)[None, :, None, None] * np.ones((1, 3, 2, 2), np.float32)
    orders = {
        tuple(objectives.flipped(np.random.default_rng(seed), stack)[0][0, :, 0, 0]) for seed in range(20)
    }
    assert orders == {(0, 1, 2), (2, 1, 0)}


def test_a_turned_piece_has_its_old_wedge_elsewhere():
    plate = np.zeros((40, 40, 40), np.float32)  # its normal is the beam, the axis of the wedge
    plate[18:22] = 1
    rng = np.random.default_rng(0)
    for _ in range(5):
        turned = turned_piece(plate, (40, 40, 40), rng)
        points = np.argwhere(turned > 0.5)
        normal = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][2]
        off_the_beam = np.rad2deg(np.arccos(min(1.0, abs(normal[0]))))
        assert 48 < off_the_beam <= 90


@pytest.mark.parametrize("name", ["cryocare", "isonet"])
def test_self_supervised_pairs_do_not_hold_the_truth(name, samples):
    objective = RECIPES[name].objective(*samples, progress=False)
    assert "truth" not in objective.kinds
    assert all("truth" not in sample for sample in objective.samples)


def test_the_second_round_of_isonet_stands_on_the_network(samples):
    objective = Isotropy(*samples, progress=False)
    network = lambda slices: np.full_like(slices[:, :1], 0.5)  # noqa: E731
    objective.prepare(0, 0.0, network)
    first = objective.samples[0]["stand-in"]
    assert np.array_equal(first, objective.samples[0]["sirt"])
    objective.prepare(100, 0.6, network)
    assert not np.allclose(objective.samples[0]["stand-in"], first)


def test_slabs_of_the_descent_go_on_and_are_replaced_at_its_end(samples):
    objective = step_by_step.StepByStep(*samples, progress=False)
    steps = []
    for step in range(0, 60, step_by_step.ADVANCE_EVERY):
        objective.prepare(step, step / 60, lambda slices: slices[:, 2:3])
        steps.append(sorted(slab.step for slab in objective.pool))
    assert max(max(pair) for pair in steps) == step_by_step.STEPS - 1
    inputs, targets = objective.batch(np.random.default_rng(0), 3)
    assert inputs.shape == (3, 11, 32, 64)
    assert targets.shape == (3, 1, 32, 64)


# runs


@pytest.fixture(scope="module")
def smoke(samples, tmp_path_factory):
    """One short training from beginning to end, as a command."""
    out = tmp_path_factory.mktemp("weights") / "dncnn.onnx"
    arguments = f"dncnn --steps {STEPS} --samples {N_SAMPLES} --preset small --out {out}"
    command = train.typer.Typer()
    command.command()(train.main)
    return out, lambda *more: CliRunner().invoke(command, [*arguments.split(), *more])


def test_a_short_training_improves_the_validation_and_leaves_weights_with_a_card(smoke):
    out, command = smoke
    answer = command()
    assert answer.exit_code == 0, answer.output
    card = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["validation after"] > card["validation before"] + 0.5
    assert card["steps"] == STEPS
    assert card["training data"]["samples"] == N_SAMPLES
    assert [path.name for path in sorted(out.parent.iterdir())] == ["dncnn.json", "dncnn.onnx"]

    again = command()
    assert again.exit_code == 1
    assert "--replace" in again.output
    assert command("--replace").exit_code == 0  # finished before: only exported once more


def test_an_interrupted_run_ends_as_it_would_have(samples, tmp_path, monkeypatch):
    settings = brief("dncnn", 8)
    whole = run.train(settings, checkpoint=tmp_path / "whole.pt", progress=False)

    monkeypatch.setattr(run, "SAVE_EVERY", 0.0)
    step = run.Run.train_step

    def interrupted(self, objective):
        if self.step == 5:
            raise KeyboardInterrupt
        return step(self, objective)

    monkeypatch.setattr(run.Run, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.train(settings, checkpoint=tmp_path / "part.pt", progress=False)
    monkeypatch.setattr(run.Run, "train_step", step)
    parted = run.train(settings, checkpoint=tmp_path / "part.pt", progress=False)

    assert parted.step == whole.step == 8
    assert [entry[0] for entry in parted.curve] == [entry[0] for entry in whole.curve]
    for one, other in zip(whole.average.parameters(), parted.average.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_budget_in_minutes_is_kept(samples, tmp_path):
    settings = Settings("dncnn", minutes=0.03, samples=N_SAMPLES, preset="small")
    done = run.train(settings, checkpoint=tmp_path / "run.pt", progress=False)
    assert 0.03 <= done.seconds / 60 < 0.1
    assert done.step > 1


def test_the_same_seed_is_the_same_network_and_another_seed_another(samples, tmp_path):
    first, again, other = (
        run.train(brief("dncnn", 3, seed=seed), checkpoint=tmp_path / f"{n}.pt", progress=False)
        for n, seed in enumerate((0, 0, 1))
    )
    assert first.curve[1:] == again.curve[1:]
    weights = [list(one.average.parameters()) for one in (first, again, other)]
    assert all(torch.equal(one, same) for one, same in zip(*weights[:2], strict=True))
    assert not torch.allclose(weights[0][0], weights[2][0])


def test_with_half_the_digits_a_run_goes_nearly_the_same_way_and_keeps_all_digits_of_its_weights(
    samples, tmp_path
):
    full, half = (
        run.train(brief("dncnn", 4, precision=precision), checkpoint=tmp_path / precision, progress=False)
        for precision in ("float32", "bfloat16")
    )
    assert half.curve[-1][1] == pytest.approx(full.curve[-1][1], rel=0.02)
    assert half.curve[-1][1] != full.curve[-1][1]
    assert {one.dtype for one in half.average.parameters()} == {torch.float32}


def test_a_checkpoint_of_other_settings_is_not_taken_up(samples, tmp_path):
    run.train(brief("dncnn", 1), checkpoint=tmp_path / "run.pt", progress=False)
    with pytest.raises(TrainingError, match="--restart"):
        run.train(brief("dncnn", 2), checkpoint=tmp_path / "run.pt", progress=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(name="magic", steps=1), "name: got 'magic'.*dncnn"),
        (dict(name="dncnn"), "--steps or --minutes"),
        (dict(name="dncnn", steps=1, minutes=1.0), "--steps or --minutes"),
        (dict(name="dncnn", steps=-1), "length"),
        (dict(name="dncnn", steps=1, precision="float8"), "precision: got 'float8'.*bfloat16"),
    ],
)
def test_settings_that_mean_nothing_are_named(settings, message):
    with pytest.raises(TrainingError, match=message):
        Settings(**settings)


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "dncnn"])
def test_every_recipe_takes_a_step(name, samples, tmp_path):
    done = run.train(brief(name, 1), checkpoint=tmp_path / "run.pt", progress=False)
    (_, _, before), (_, loss, after) = done.curve
    assert math.isfinite(loss)
    assert math.isfinite(before)
    assert math.isfinite(after)
