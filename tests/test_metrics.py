import numpy as np
import pytest

from etlab.geometry import TiltGeometry, measured_frequencies
from etlab.metrics import blind_score, consistency, psnr, ssim, standard_score, wedge_filling
from etlab.projector import Projector


def test_psnr_of_a_known_error():
    truth = np.full((8, 8, 8), 0.5)
    assert psnr(truth + 0.1, truth) == pytest.approx(20)
    assert psnr(truth, truth) == np.inf


def test_values_outside_the_possible_range_are_clipped_before_comparing():
    truth = np.zeros((8, 8, 8))
    assert psnr(truth - 5, truth) == np.inf
    assert ssim(truth - 5, truth) == pytest.approx(1)


def test_ssim_is_one_for_equal_low_for_noise():
    rng = np.random.default_rng(0)
    truth = rng.random((16, 16, 16))
    assert ssim(truth, truth) == pytest.approx(1)
    assert ssim(rng.random(truth.shape), truth) < 0.2


def test_consistency_is_one_for_the_volume_that_made_the_images_and_zero_for_none():
    A = Projector(TiltGeometry([-20, 0, 20], (8, 8, 8)))
    volume = np.random.default_rng(1).random((8, 8, 8))
    y = A(volume)
    assert consistency(A, y, volume) == pytest.approx(1, abs=1e-6)
    assert consistency(A, y, np.zeros_like(volume)) == 0
    assert consistency(A, y, -5 * volume) == 0


def test_scores_at_their_ends():
    assert standard_score(45, 1) == 1
    assert standard_score(10, 0) == 0
    assert blind_score(50, 1, 1) == pytest.approx(1)
    assert blind_score(30, 0.5, 0.25) == pytest.approx(0.2 + 0.2 + 0.05)


@pytest.mark.parametrize("score", [psnr, ssim])
def test_volumes_that_cannot_be_compared_are_refused(score):
    with pytest.raises(ValueError, match=r"volume: got shape \(8, 8, 8\), expected.*\(9, 8, 8\)"):
        score(np.zeros((8, 8, 8)), np.zeros((9, 8, 8)))
    with pytest.raises(ValueError, match="volume: got NaN"):
        score(np.full((8, 8, 8), np.nan), np.zeros((8, 8, 8)))


def test_ssim_needs_its_window():
    with pytest.raises(ValueError, match="at least 7"):
        ssim(np.zeros((6, 8, 8)), np.zeros((6, 8, 8)))


def test_consistency_with_nothing_is_undefined():
    A = Projector(TiltGeometry([0], (4, 4, 4)))
    with pytest.raises(ValueError, match="all zeros"):
        consistency(A, np.zeros((1, 4, 4)), np.zeros((4, 4, 4)))


def test_the_truth_fills_its_wedge_and_what_was_measured_alone_leaves_it_empty():
    tilts = np.arange(-60, 61, 3.0)
    truth = np.zeros((24, 40, 5))
    truth[8:16, 10:30] = 0.5
    assert wedge_filling(truth, truth, tilts) == pytest.approx((1, 1))
    mask = measured_frequencies(truth.shape[:2], tilts)[:, :, None]
    spectrum = np.fft.rfft2(truth, axes=(0, 1))
    measured, inverted = (
        np.fft.irfft2(spectrum * filling, truth.shape[:2], axes=(0, 1)) for filling in (mask, 2 * mask - 1)
    )
    spread = 0.5 + 0.2 * np.stack([measured, inverted, truth])  # nothing is clipped
    kept = [wedge_filling(one, spread[2], tilts) for one in spread[:2]]
    assert kept[0][0] < 0.01
    assert kept[1] == pytest.approx((1, -1), abs=0.05)


def test_a_truth_with_nothing_in_the_wedge_is_refused():
    with pytest.raises(ValueError, match="truth: got a volume with nothing in the missing wedge"):
        wedge_filling(np.ones((8, 8, 8)), np.ones((8, 8, 8)), np.array([-60.0, 0, 60]))
