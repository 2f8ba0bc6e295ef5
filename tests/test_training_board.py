"""Other trainings of the learned rows: which, where their weights are, and what is said of them."""

import hashlib
import json

import numpy as np
import pytest

from etlab.course.benchmark import training
from etlab.course.benchmark.studies import TRAINING, training_code, trainings
from etlab.course.benchmark.training import Cell, Quality, Training, as_text, by_seed, cells, left_out, study
from etlab.phantoms import SCENES
from etlab.solvers.learned import WeightsError
from etlab.solvers.learned.network import WEIGHTS


def quality(psnr_db):
    return Quality(psnr_db, 0.9, 0.8, 0.7)


RESULTS = {
    Cell("DnCNN-ET", seed, "", scene, 101): quality(30 + seed + i)
    for seed in (0, 1, 2)
    for i, scene in enumerate(SCENES)
} | {Cell("DnCNN-ET", 0, scene, scene, 101): quality(25) for scene in SCENES}


def test_seed_nought_on_all_scenes_is_what_is_shipped_and_all_others_have_files_of_their_own(tmp_path):
    assert Training("SwinET").weights(tmp_path) == WEIGHTS / "swin.onnx"
    files = [one.weights(tmp_path) for one in study()]
    assert len(set(files)) == len(files)
    assert Training("SwinET", 2).weights(tmp_path) == tmp_path / "swin-seed2.onnx"
    assert (
        Training("PhysET", without="lamella").weights(tmp_path)
        == tmp_path / "unrolled-seed0-without-lamella.onnx"
    )


def test_a_training_that_lacked_a_scene_is_tested_on_that_scene_and_the_others_on_all():
    assert {cell.scene for cell in cells([Training("PhysET", without="lamella")])} == {"lamella"}
    assert {cell.scene for cell in cells([Training("PhysET", 1)])} == set(SCENES)
    todo = cells(study())
    assert len(todo) == len(set(todo)) == 3 * 5 * 12 + 2 * 4 * 3


def test_means_are_by_training_seed_and_by_scene():
    assert by_seed(RESULTS, "DnCNN-ET") == pytest.approx([31.5, 32.5, 33.5])
    assert left_out(RESULTS, "DnCNN-ET")[SCENES[1]] == (31, 25)
    text = as_text(RESULTS)
    assert "sd 1.00" in text and "-6.00" in text


def test_missing_weights_are_said_before_anything_is_measured(tmp_path):
    with pytest.raises(WeightsError, match="swin-seed1"):
        trainings(tmp_path).run(tmp_path / "r.json", cells([Training("SwinET", 1)]))
    assert not (tmp_path / "r.json").exists()


def test_results_say_which_weights_and_what_their_card_says(tmp_path):
    (tmp_path / "swin-seed1.onnx").write_bytes(b"trained")
    card = {
        key: 1 for key in ("steps", "batch", "minutes of training", "machine", "date", "validation after")
    }
    (tmp_path / "swin-seed1.json").write_text(json.dumps(card | {"curve": []}))
    origin = trainings(tmp_path).provenance(str(Training("SwinET", 1)))
    assert origin["card"] == card
    assert origin["code"] == training_code("SwinET", origin["sha256"])
    assert origin["code"] != training_code("SwinET", "of other weights")


def test_the_committed_results_are_of_this_code_and_of_the_shipped_weights():
    provenance, committed = TRAINING.load()
    for one in study():
        origin = provenance[str(one)]
        assert origin["code"] == training_code(one.method, origin["sha256"]), (
            f"{one}: code changed; run `python -m training.study FOLDER`, then `etlab benchmark training FOLDER "
            "--renew -o etlab/tables/measured_training.json`"
        )
        if not one.seed and not one.without:
            shipped = one.weights(WEIGHTS).read_bytes()
            assert origin["sha256"] == hashlib.sha256(shipped).hexdigest(), one
    assert set(cells(study())) == set(committed)


def test_all_trainings_of_a_row_had_the_same_budget():
    provenance, _ = TRAINING.load()
    budgets = {(origin["card"]["steps"], origin["card"]["batch"]) for origin in provenance.values()}
    assert len(budgets) == 1


def test_other_first_weights_change_less_than_a_scene_that_is_missing_from_the_training():
    _, committed = TRAINING.load()
    for method in training.FAMILIES:
        lost = [seen - unseen for seen, unseen in left_out(committed, method).values()]
        assert max(lost) > np.ptp(by_seed(committed, method))
