"""Fourier shell correlation: up to which frequency two independent volumes of the same specimen agree.

    FSC(f) = Σ F₁·F₂* / √(Σ|F₁|²·Σ|F₂|²),     sums over all Fourier coefficients in the shell |k| ≈ f.

It is zero for pure noise and one where both volumes are equal. It does not see what both halves of a tilt series lack,
the missing wedge, nor errors that both share.
"""

from __future__ import annotations

import numpy as np
import scipy.fft


def fourier_shell_correlation(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the correlation of two volumes in shells of equal frequency.

    Parameters
    ----------
    one, other
        Volumes (nz, ny, nx) of one shape, made independently of each other.

    Returns
    -------
    tuple of np.ndarray
        Frequencies in cycles per voxel up to Nyquist, and the correlation in each shell, both (n_shells,).

    Raises
    ------
    ValueError
        Unless both are three-dimensional, of one shape and finite.

    Notes
    -----
    With the sums over all Fourier coefficients in the shell of radius f::

        FSC(f) = Σ F₁·F₂* / √(Σ|F₁|²·Σ|F₂|²).

    Shells are as wide as one step of the Fourier grid along the shortest side, or 1/32. Both volumes are
    mean-subtracted and Hann-windowed along every axis, so that the borders that they share are not taken for content.

    References
    ----------
    Harauz & van Heel, Optik 73 (1986) 146.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> frequencies, correlation = fourier_shell_correlation(*rng.normal(size=(2, 32, 32, 32)))
    >>> len(frequencies), float(frequencies[-1]), bool(abs(correlation[8:]).max() < 0.2)  # pure noise
    (16, 0.5, True)
    """
    one, other = np.asarray(one, np.float32), np.asarray(other, np.float32)
    if one.ndim != 3 or one.shape != other.shape:
        raise ValueError(
            f"one, other: got shapes {one.shape} and {other.shape}, expected one shape [z, y, x]"
        )
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise ValueError("one, other: got NaN or infinite values, expected finite ones")
    first, second = (scipy.fft.rfftn(_faded(volume)) for volume in (one, other))
    nz, ny, nx = one.shape
    radius = np.sqrt(
        scipy.fft.fftfreq(nz)[:, None, None] ** 2
        + scipy.fft.fftfreq(ny)[:, None] ** 2
        + scipy.fft.rfftfreq(nx) ** 2
    )
    n_steps = max(32, min(one.shape))
    shells = np.rint(radius * n_steps).astype(int)
    # coefficients that the half spectrum leaves out are conjugates of those in it
    twice = np.full(first.shape[2], 2.0)
    twice[0] = 1
    if nx % 2 == 0:
        twice[-1] = 1
    n_shells = n_steps // 2 + 1

    def summed(values):
        return np.bincount(shells.ravel(), (values * twice).ravel(), minlength=n_shells)[1:n_shells]

    together = summed((first * second.conj()).real)
    powers = summed(np.abs(first) ** 2) * summed(np.abs(second) ** 2)
    correlation = np.divide(together, np.sqrt(powers), out=np.zeros_like(together), where=powers > 0)
    return np.arange(1, n_shells) / n_steps, correlation


def resolution(frequencies: np.ndarray, correlation: np.ndarray, threshold: float) -> float:
    """Return the frequency at which a correlation first falls below ``threshold``, interpolated between two shells.

    Parameters
    ----------
    frequencies
        Ascending, (n_shells,), as from `fourier_shell_correlation`.
    correlation
        In each shell, (n_shells,).
    threshold
        Usually 0.143 for two halves of the data, or 0.5 for a comparison with a reference.

    Returns
    -------
    float
        In the units of ``frequencies``. 0 if even the first shell is below, so that the volumes agree nowhere;
        infinite if no shell is.

    Examples
    --------
    >>> resolution(np.array([0.1, 0.2, 0.3]), np.array([1.0, 0.6, 0.2]), threshold=0.5)
    0.225
    """
    below = np.flatnonzero(correlation < threshold)
    if not len(below):
        return np.inf
    i = below[0]
    if i == 0:
        return 0.0
    fraction = (correlation[i - 1] - threshold) / (correlation[i - 1] - correlation[i])
    return float(frequencies[i - 1] + fraction * (frequencies[i] - frequencies[i - 1]))


def _faded(volume):
    volume = volume - volume.mean()
    for axis, n in enumerate(volume.shape):
        window = np.hanning(n + 2)[1:-1].astype(np.float32)
        volume *= window.reshape([-1 if i == axis else 1 for i in range(3)])
    return volume
