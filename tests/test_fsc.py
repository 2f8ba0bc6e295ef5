"""Fourier shell correlation: one for the same, none for noise, and what theory says in between."""

import numpy as np
import pytest
import scipy.fft
from scipy import ndimage

from etlab.fsc import fourier_shell_correlation, resolution


def noise(seed, shape=(40, 48, 33)):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_the_same_volume_correlates_fully_and_noise_not_at_all():
    frequencies, same = fourier_shell_correlation(noise(0), 2 * noise(0) + 7)
    np.testing.assert_allclose(same, 1, atol=1e-5)
    np.testing.assert_allclose(frequencies, np.arange(1, 17) / 33)
    _, independent = fourier_shell_correlation(noise(0), noise(1))
    assert np.abs(independent[4:]).max() < 0.15
    np.testing.assert_allclose(fourier_shell_correlation(noise(0), -noise(0))[1], -1, atol=1e-5)


def test_equal_noise_on_both_halves_gives_signal_over_signal_and_noise():
    """FSC = S / (S + N) in every shell, here for white signal and noise of a third its power."""
    signal = noise(0, (48, 48, 48))
    one, other = (signal + np.sqrt(1 / 3) * noise(seed, signal.shape) for seed in (1, 2))
    _, correlation = fourier_shell_correlation(one, other)
    assert correlation[5:].mean() == pytest.approx(0.75, abs=0.01)


def test_shells_lie_at_their_frequencies():
    """Two volumes that share what lies below a frequency, and nothing above."""
    shape = (48, 48, 48)
    radius = np.sqrt(
        sum(
            np.meshgrid(
                *[scipy.fft.fftfreq(n) ** 2 for n in shape[:2]], scipy.fft.rfftfreq(48) ** 2, indexing="ij"
            )
        )
    )
    spectra = [scipy.fft.rfftn(noise(seed, shape)) for seed in (0, 1)]
    spectra[1] = np.where(radius < 0.25, spectra[0], spectra[1])
    frequencies, correlation = fourier_shell_correlation(*(scipy.fft.irfftn(one, shape) for one in spectra))
    assert resolution(frequencies, correlation, 0.5) == pytest.approx(0.25, abs=1 / 48)


def test_borders_that_both_share_are_not_content():
    ramp = np.linspace(0, 20, 40)[:, None, None]
    _, correlation = fourier_shell_correlation(noise(0) + ramp, noise(1) + ramp)
    assert np.abs(correlation[6:]).max() < 0.15


def test_blurring_one_changes_no_shell():
    blurred = ndimage.gaussian_filter(noise(0), 1, mode="wrap")
    _, correlation = fourier_shell_correlation(noise(0), blurred)
    assert correlation[:8].min() > 0.95


def test_the_crossing_is_between_two_shells():
    frequencies, correlation = np.array([0.1, 0.2, 0.3]), np.array([1.0, 0.6, 0.2])
    assert resolution(frequencies, correlation, 0.5) == pytest.approx(0.225)


def test_agreement_everywhere_is_not_agreement_nowhere():
    frequencies, correlation = np.array([0.1, 0.2, 0.3]), np.array([1.0, 0.6, 0.2])
    assert resolution(frequencies, correlation, 0.1) == np.inf
    assert resolution(frequencies, correlation - 0.5, 0.6) == 0


def test_shapes_and_values_are_checked():
    with pytest.raises(ValueError, match="one shape"):
        fourier_shell_correlation(noise(0), noise(0)[1:])
    with pytest.raises(ValueError, match="NaN"):
        fourier_shell_correlation(noise(0), noise(0) * np.nan)
