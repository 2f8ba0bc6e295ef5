"""Weighted back-projection: bias, weights, windows."""

import numpy as np
import pytest

from etlab.geometry import TiltGeometry, linear_tilts, saxton_tilts
from etlab.projector import Projector
from etlab.solvers import wbp
from etlab.solvers._wbp import WINDOWS, exact_filters, ramp_filter, tilt_weights

FULL = np.arange(-90, 90, 180 / 128)


def disc(n, radius):
    c = np.arange(n) - (n - 1) / 2
    return (c[:, None] ** 2 + c[None, :] ** 2 < radius**2).astype(np.float32)[:, :, None]


def test_a_disc_is_reconstructed_without_bias_from_a_full_range():
    n = 128
    volume = disc(n, n / 4)
    A = Projector(TiltGeometry(FULL, volume.shape, 192))
    x = wbp(A, A(volume))
    interior = disc(n, n / 4 - 4) > 0
    assert abs(x[interior].mean() - 1) < 2e-3
    assert abs((x - volume).mean()) < 1e-3


def test_the_tilt_range_may_come_in_any_order():
    volume = disc(40, 10)
    shuffled = np.random.default_rng(0).permutation(FULL)
    a, b = (Projector(TiltGeometry(t, volume.shape)) for t in (FULL, shuffled))
    np.testing.assert_allclose(wbp(a, a(volume)), wbp(b, b(volume)), atol=1e-4)


def test_wbp_is_linear_in_the_images():
    A = Projector(TiltGeometry(linear_tilts(60, 10), (12, 16, 9)))
    rng = np.random.default_rng(1)
    y1, y2 = rng.standard_normal((2, *A.geometry.images_shape))
    np.testing.assert_allclose(wbp(A, 2 * y1 - y2), 2 * wbp(A, y1) - wbp(A, y2), atol=1e-4)


def test_weights_of_a_full_range_sum_to_the_half_circle_however_uneven():
    rng = np.random.default_rng(2)
    assert tilt_weights(np.sort(rng.uniform(-90, 90, 200))).sum() == pytest.approx(np.pi)
    assert tilt_weights(FULL) == pytest.approx(np.deg2rad(180 / 128))


def test_the_wedge_is_given_to_no_tilt():
    np.testing.assert_allclose(tilt_weights(linear_tilts(60, 3)), np.deg2rad(3))


def test_a_tilt_seen_twice_counts_once():
    assert tilt_weights([-90, 0, 90]) == pytest.approx(np.deg2rad([45, 90, 45]))
    once, twice = tilt_weights([0, 40, 80, 120]), tilt_weights([0, 40, 40, 80, 120])
    assert twice[1] + twice[2] == pytest.approx(once[1])
    series = linear_tilts(60, 3)  # the last before the wedge, too
    np.testing.assert_allclose(tilt_weights(np.concatenate([series, series])), np.deg2rad(1.5))
    np.testing.assert_allclose(tilt_weights([20, 20]), np.pi / 2)


def test_wide_steps_weigh_more_than_narrow_ones():
    tilts = saxton_tilts(60, 6)
    weights = tilt_weights(tilts)
    assert weights[tilts == 0] > 1.5 * weights[-1]


def test_the_filter_keeps_the_mean_that_sampling_the_ramp_would_lose():
    ramp = ramp_filter(64)
    frequency = np.linspace(0, 0.5, ramp.size)
    assert 0 < ramp[0] < frequency[1]
    np.testing.assert_allclose(ramp[5:], frequency[5:], rtol=0.02)


@pytest.mark.parametrize("window", WINDOWS)
def test_windows_start_at_one_fall_and_end_at_the_cutoff(window):
    values = WINDOWS[window](np.linspace(0, 1, 50))
    assert values[0] == pytest.approx(1)
    assert (np.diff(values) <= 1e-12).all()
    ramp = ramp_filter(64, window=window, cutoff=0.5)
    assert np.abs(ramp[ramp.size // 2 + 1 :]).max() == 0


def test_a_smoother_window_passes_less_noise():
    A = Projector(TiltGeometry(linear_tilts(60, 2), (32, 32, 16)))
    noise = np.random.default_rng(3).standard_normal(A.geometry.images_shape)
    spread = {w: wbp(A, noise, window=w).std() for w in WINDOWS}
    assert spread["hann"] < spread["cosine"] < spread["shepp-logan"] < spread["ramp"]


def test_exact_weights_are_the_ramp_where_slices_overlap_and_flat_where_they_do_not():
    tilts, thickness = np.arange(-90, 90, 2.0), 60.0
    frequency = np.linspace(0, 0.5, exact_filters(tilts, thickness, 128).shape[1])
    exact = exact_filters(tilts, thickness, 128)[7]
    alone = 1 / (thickness * np.deg2rad(2))  # where slices 2° apart are as far apart as they are thick
    low = (frequency > 0.05) & (frequency < 0.5 * alone)
    ratio = exact[low] / (np.deg2rad(2) * frequency[low])
    assert ratio.mean() == pytest.approx(1, abs=0.03)
    assert np.abs(ratio - 1).max() < 0.35  # it swings about the ramp, because a specimen has an edge
    assert exact.max() == pytest.approx(1 / thickness)
    assert exact[0] == pytest.approx(1 / (thickness * tilts.size))


@pytest.mark.parametrize("scheme", ["saxton", "random"])
def test_exact_weights_are_no_worse_than_shares_of_the_half_circle_for_uneven_tilts(scheme):
    rng = np.random.default_rng(4)
    tilts = saxton_tilts(70, 3) if scheme == "saxton" else np.sort(rng.uniform(-70, 70, 60))
    z, y = np.ogrid[-31.5:32, -31.5:32]
    slices = [
        sum(
            rng.uniform(0.3, 1) * (np.hypot(z - cz, y - cy) < rng.uniform(2, 6))
            for cz, cy in rng.uniform(-20, 20, (12, 2))
        )
        for _ in range(8)
    ]
    volume = np.stack(slices, axis=2).astype(np.float32)
    A = Projector(TiltGeometry(tilts, volume.shape, 96))
    errors = {w: np.linalg.norm(wbp(A, A(volume), weighting=w) - volume) for w in ("exact", "sampling")}
    assert errors["exact"] < 0.98 * errors["sampling"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(weighting="other"), "weighting: got 'other'"),
        (dict(weighting="exact", thickness=0), "thickness: got 0"),
        (dict(weighting="exact", window="boxcar"), "window: got 'boxcar'"),
        (dict(window="boxcar"), "window: got 'boxcar'.*ramp"),
        (dict(cutoff=0), "cutoff: got 0"),
        (dict(cutoff=1.5), r"cutoff.*\(0, 1\]"),
    ],
)
def test_an_unknown_filter_is_refused(options, message):
    A = Projector(TiltGeometry([0, 10], (4, 4, 4)))
    with pytest.raises(ValueError, match=message):
        wbp(A, np.ones(A.geometry.images_shape), **options)


def test_images_are_checked():
    A = Projector(TiltGeometry([0, 10], (4, 4, 4)))
    with pytest.raises(ValueError, match="images: got 1 NaN"):
        y = np.ones(A.geometry.images_shape)
        y[0, 0, 0] = np.nan
        wbp(A, y)
    with pytest.raises(ValueError, match="images: got shape"):
        wbp(A, np.ones((2, 4, 5)))
