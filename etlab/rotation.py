"""R_φ: the in-plane rotation of images, by three shears. It loses no resolution, and its adjoint is its transpose.

A tilt axis that is not quite along x makes every image turn by the angle φ about the detector's centre:

    s′ = s·cos φ + x·sin φ,     x′ = x·cos φ − s·sin φ,

counter-clockwise as displayed for φ > 0, so that the axis points from +x towards +row. A rotation is a product of
three shears, R_φ = X(−tan φ/2)·S(sin φ)·X(−tan φ/2), each of which moves whole lines along themselves; and a line
moves by any fraction of a pixel when its Fourier coefficients are multiplied by a phase. Phases have modulus one, so
every shear is orthogonal. Linear or cubic interpolation are not: they smooth, more or less so depending on φ, and an
image that is sharpest at φ = 0 draws every estimate of φ towards zero.
"""

from __future__ import annotations

from itertools import count

import numpy as np
import scipy.fft

from etlab.threads import N_THREADS

MAX_ANGLE = 10.0  # degrees: margins are wide enough up to here, and no tilt axis is this far off unnoticed


class InPlaneRotation:
    """Rotate images by φ about the detector's centre, without losing resolution; ``T`` is the transpose.

    The image is set in a margin of zeros wide enough for ``MAX_ANGLE`` and cut out again: what turns out of the field
    is lost, as on a detector. At φ = 0 it is the identity and costs nothing.

    Parameters
    ----------
    shape
        Shape (n_rows, nx) of an image.
    angle_deg
        φ in degrees, counter-clockwise as displayed.
    n_threads
        Threads to use, by default one for each processor core.

    Raises
    ------
    ValueError
        If the angle is outside ±``MAX_ANGLE``, 10°.

    Notes
    -----
    A rotation is a product of three shears, each of which moves whole lines along themselves by Fourier phases::

        R_φ = X(−tan φ/2)·S(sin φ)·X(−tan φ/2).

    References
    ----------
    Unser, Thévenaz & Yaroslavsky, IEEE Trans. Image Process. 4 (1995) 1371; Larkin, Oldfield & Klemm, Opt. Commun.
    139 (1997) 99.

    Examples
    --------
    >>> images = np.zeros((1, 32, 32), np.float32)
    >>> images[0, 16, 8:24] = 1  # a horizontal line
    >>> turned = InPlaneRotation((32, 32), 5.0)(images)
    >>> turned.shape, bool(turned[0, 17, 22] > turned[0, 15, 22])  # its right end moves up
    ((1, 32, 32), True)
    """

    def __init__(self, shape: tuple[int, int], angle_deg: float, *, n_threads: int | None = None):
        if not abs(angle_deg) <= MAX_ANGLE:
            raise ValueError(f"angle_deg: got {angle_deg}, expected an angle within ±{MAX_ANGLE:g}°")
        self.shape, self.angle_deg, self._workers = shape, float(angle_deg), n_threads or N_THREADS
        n_rows, nx = shape
        # The margin is as wide as the farthest that a corner is carried out of the field: lines are periodic, and it
        # must not come in again. It is the same for all φ: were it to jump, so would the operator.
        farthest = np.sin(np.deg2rad(MAX_ANGLE))
        self._padded = (
            odd_length(int(np.ceil(n_rows + nx / 2 * farthest)) + 1),
            odd_length(int(np.ceil(nx + n_rows / 2 * farthest)) + 1),
        )
        self._corner = tuple((big - small) // 2 for big, small in zip(self._padded, shape, strict=True))
        rows, columns = (
            np.arange(big) - corner - (small - 1) / 2
            for big, corner, small in zip(self._padded, self._corner, shape, strict=True)
        )
        phi = np.deg2rad(angle_deg)
        self._along_x = shear_phases(rows, -np.tan(phi / 2), self._padded[1])
        self._along_rows = shear_phases(columns, np.sin(phi), self._padded[0]).T
        per_degree = np.pi / 180
        self._x_rate = shear_rates(rows, -per_degree / (2 * np.cos(phi / 2) ** 2), self._padded[1])
        self._rows_rate = shear_rates(columns, per_degree * np.cos(phi), self._padded[0]).T

    @property
    def is_identity(self) -> bool:
        """Whether φ = 0."""
        return self.angle_deg == 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Rotate images (…, n_rows, nx) by φ; float32."""
        if self.is_identity:
            return images
        x, rows = self._along_x, self._along_rows
        return self._cut(self._move_x(self._move_rows(self._move_x(self._pad(images), x), rows), x))

    def T(self, images: np.ndarray) -> np.ndarray:
        """Apply the transpose: rotate images by −φ, the shears undone in reverse order."""
        if self.is_identity:
            return images
        x, rows = self._along_x.conj(), self._along_rows.conj()
        return self._cut(self._move_x(self._move_rows(self._move_x(self._pad(images), x), rows), x))

    def rate(self, images: np.ndarray) -> np.ndarray:
        """Return ∂(R_φ images)/∂φ per degree, exact: the product rule over the three shears."""
        first = self._move_x(self._pad(images), self._along_x)
        rate = self._move_x(first, self._x_rate)
        second = self._move_rows(first, self._along_rows)
        rate = self._move_rows(rate, self._along_rows) + self._move_rows(second, self._rows_rate)
        third = self._move_x(second, self._along_x)
        return self._cut(self._move_x(rate, self._along_x) + self._move_x(third, self._x_rate))

    def _pad(self, images):
        padded = np.zeros((*images.shape[:-2], *self._padded), np.float32)
        self._cut(padded)[:] = images
        return padded

    def _cut(self, padded):
        (row, x), (n_rows, nx) = self._corner, self.shape
        return padded[..., row : row + n_rows, x : x + nx]

    def _move_x(self, images, factors):
        return filtered(images, factors, -1, self._workers)

    def _move_rows(self, images, factors):
        return filtered(images, factors, -2, self._workers)


def filtered(images: np.ndarray, factors: np.ndarray, axis: int, workers: int = 1) -> np.ndarray:
    """Multiply the Fourier coefficients of real images along ``axis`` by ``factors``."""
    spectrum = scipy.fft.rfft(images, axis=axis, workers=workers)
    spectrum *= factors
    return scipy.fft.irfft(spectrum, images.shape[axis], axis=axis, overwrite_x=True, workers=workers)


def shear_phases(lines: np.ndarray, slope: float, length: int) -> np.ndarray:
    """Return exp(−2πi f·shift) that moves line i by ``slope · lines[i]`` pixels: (lines, frequencies), complex64."""
    return np.exp(-2j * np.pi * slope * np.outer(lines, scipy.fft.rfftfreq(length))).astype(np.complex64)


def shear_rates(lines: np.ndarray, slope_rate: float, length: int) -> np.ndarray:
    """Return −2πi f·d(shift): applied to a sheared image, its derivative when the slope changes at ``slope_rate``."""
    return (-2j * np.pi * slope_rate * np.outer(lines, scipy.fft.rfftfreq(length))).astype(np.complex64)


def odd_length(n: int) -> int:  # type: ignore[return]  # there always is one
    """Return the smallest odd length ≥ n that transforms fast (no prime factor above 7).

    Odd, because the Nyquist coefficient of an even length is real and cannot take a phase: it would be damped.
    """
    for length in count(n | 1, 2):
        rest = length
        for prime in (3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
