"""Benchmark samples: the model error of the coarse grid, the conservation of mass, what a sample tells and hides."""

from dataclasses import fields, replace

import numpy as np
import pytest

from etlab.course.benchmark.studies import STANDARD
from etlab.course.scenes import PRESETS, simulate
from etlab.course.scenes.simulation import DOSE, binned, refined
from etlab.forward import Detector, Mismatch, Optics, TiltSeriesModel
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.phantoms import SCENES
from tests.checks import A_FIFTH_OF_THE_TILTS

NOISE_FREE = Detector(dose=None)
FEW = replace(
    PRESETS["standard"], tilts_deg=linear_tilts(70, 10)
)  # as fine as the standard, in a fifth of the time
OFF = Mismatch(tilt_angle=1.0, tilt_axis=0.6, defocus_gradient=20.0)
every_scene = pytest.mark.parametrize("name", SCENES)


@every_scene
@pytest.mark.parametrize("mismatch", [Mismatch(), OFF], ids=["ideal", "mismatched"])
def test_the_coarse_model_misses_the_fine_data_by_at_most_one_percent(name, mismatch):
    sample = simulate(name, FEW, 11, mismatch, detector=NOISE_FREE)
    H = TiltSeriesModel(sample.geometry, mismatch=mismatch, optics=sample.optics)
    error = np.linalg.norm(H(sample.x_true) - sample.y) / np.linalg.norm(sample.y)
    print(f"{name}: relative model error {error:.4f}")
    assert 1e-4 < error <= 0.01  # not zero: that would be the inverse crime


@every_scene
def test_each_image_holds_the_mass_of_the_specimen(name):
    sample = simulate(name, "small", 2, detector=NOISE_FREE)
    np.testing.assert_allclose(sample.y.sum(axis=(1, 2)), sample.x_true.sum(), rtol=5e-3)


def test_the_recorded_mismatch_is_in_the_data():
    ideal, off = (simulate("lamella", "small", 2, m, detector=NOISE_FREE) for m in (Mismatch(), OFF))
    np.testing.assert_array_equal(ideal.x_true, off.x_true)
    assert np.linalg.norm(ideal.y - off.y) > 0.05 * np.linalg.norm(ideal.y)
    assert off.mismatch == OFF


def test_noise_has_the_declared_dose():
    clean, noisy = (simulate("vesicles", "small", 2, detector=d).y for d in (NOISE_FREE, Detector(dose=DOSE)))
    assert np.mean((noisy - clean) ** 2) == pytest.approx(clean.mean() / DOSE, rel=0.02)
    assert (noisy - clean).mean() == pytest.approx(0, abs=0.005)


def test_same_seed_same_bits_and_another_noise_seed_only_other_noise():
    first, again = (simulate("catalyst", A_FIFTH_OF_THE_TILTS, 3) for _ in range(2))
    other = simulate("catalyst", A_FIFTH_OF_THE_TILTS, 3, noise_seed=99)
    np.testing.assert_array_equal(first.y, again.y)
    np.testing.assert_array_equal(first.x_true, other.x_true)
    assert not np.array_equal(first.y, other.y)


def test_threads_do_not_change_the_data():
    one, two = (simulate("lamella", "small", 3, detector=NOISE_FREE, n_threads=n).y for n in (1, 2))
    assert np.linalg.norm(one - two) <= 1e-5 * np.linalg.norm(one)


def test_a_sample_tells_nothing_about_its_seed_or_where_the_beads_are():
    names = {field.name for field in fields(simulate("nanorods", A_FIFTH_OF_THE_TILTS, 3))}
    assert names == {"y", "geometry", "optics", "detector", "fiducials", "x_true", "mismatch"}


def test_fiducials_are_declared_unless_left_out():
    assert simulate("nanorods", A_FIFTH_OF_THE_TILTS, 3).fiducials.count == 12
    without = simulate("nanorods", A_FIFTH_OF_THE_TILTS, 3, fiducials=False)
    assert without.fiducials is None
    assert without.x_true.max() <= 0.6 + 1e-6


def test_the_standard_is_the_published_geometry():
    standard = PRESETS["standard"]
    assert standard.volume_shape == (64, 128, 128) and standard.n_rows == 160
    np.testing.assert_array_equal(standard.tilts_deg, linear_tilts(70, 2))
    assert PRESETS["small"].volume_shape == (32, 64, 64)


def test_optics_can_be_switched_off():
    sharp, blurred = (
        simulate("vesicles", "small", 3, detector=NOISE_FREE, optics=o) for o in (None, Optics())
    )
    assert np.abs(np.diff(sharp.y, axis=1)).max() > np.abs(np.diff(blurred.y, axis=1)).max()
    assert sharp.optics.kappa == 0


def test_dose_puts_wbp_where_it_was_published():
    """On the committed board, a cell of which `test_standard` measures again."""
    _, committed = STANDARD.load()
    quality = [one.psnr_db for cell, one in committed.items() if cell.method == "WBP-ET"]
    assert len(quality) == 12 and np.mean(quality) == pytest.approx(20.9, abs=0.5)


def test_binning_is_a_mean_and_refining_keeps_the_field():
    array = np.arange(4 * 6 * 2, dtype=np.float32).reshape(4, 6, 2)
    expected = np.mean([array[i::2, j::3] for i in range(2) for j in range(3)], axis=0)
    np.testing.assert_allclose(binned(array, (2, 3, 1)), expected)
    fine = refined(PRESETS["small"], 2)
    assert fine.volume_shape == (64, 128, 128) and fine.n_rows == 160
    assert fine.voxel_nm * fine.n_rows == PRESETS["small"].voxel_nm * PRESETS["small"].n_rows


def test_impossible_samples_are_refused():
    with pytest.raises(ValueError, match=r"preset: got 'huge', expected one of standard, small"):
        simulate("lamella", "huge", 0)
    with pytest.raises(ValueError, match="name: got 'virus'"):
        simulate("virus", "small", 0)
    with pytest.raises(MemoryError, match="GiB"):
        simulate("lamella", TiltGeometry([0.0], (10**4, 10**4, 10**4)), 0)
    with pytest.raises(ValueError, match="tilt_angle"):
        simulate("lamella", "small", 0, Mismatch(tilt_angle=11))
