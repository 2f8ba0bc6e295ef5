"""B_g: the blur of an image whose focus changes across the tilt axis.

A defocus gradient g puts image row u, measured from the detector's centre, out of focus by D₀ + g·u/(W/2), W the
detector's width. Each row of the *output* is then what a Gaussian of its own width sees,

    σ(u) = κ·|D₀ + g·u / (W/2)| pixels,     transfer exp(−2π²·f²·σ(u)²),   f² = f_row² + f_x²,

band-limited: the transfer is applied to the frequencies that the pixels can hold, not a sampled Gaussian to the
pixels, which for σ < 1 would be a different blur.

The image is continued beyond its border by its mirror image. Then cosines take the place of Fourier waves, a constant
image stays constant in every row, nothing comes in from the opposite side, and no margin is needed. Along x the width
is the same for the whole row, so the transfer multiplies the cosine coefficients of the row; across rows it is a
matrix, K[u, u′] = Σ_k c_k(u)·exp(−2π²·f_k²·σ(u)²)·c_k(u′), made once.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from etlab.threads import N_THREADS


class DefocusBlur:
    """Blur row u of images by ``sigma[u]`` pixels; ``T`` is the transpose.

    With σ = 0 everywhere it is the identity, and applying it costs nothing.

    Parameters
    ----------
    shape
        Shape (n_rows, nx) of an image.
    sigma
        Standard deviation of the blur of each row in pixels, (n_rows,).
    variance_rate
        ∂σ(u)²/∂g in pixels² per nm/µm, (n_rows,), which `rate` needs.
    n_threads
        Threads to use, by default one for each processor core.

    Notes
    -----
    Each row of the output is what a Gaussian of its own width sees. Its transfer is applied to the cosines of the
    image, which is continued beyond its borders by its mirror image::

        exp(−2π²·f²·σ(u)²),     f² = f_row² + f_x².

    Examples
    --------
    >>> images = np.zeros((1, 16, 16), np.float32)
    >>> images[0, [2, 13], 8] = 1
    >>> sigma = np.linspace(0, 2, 16)  # sharp below, blurred above
    >>> blurred = DefocusBlur((16, 16), sigma, variance_rate=np.zeros(16))(images)
    >>> bool(blurred[0, 2, 8] > 0.5 > 0.1 > blurred[0, 13, 8])
    True
    """

    def __init__(
        self,
        shape: tuple[int, int],
        sigma: np.ndarray,
        *,
        variance_rate: np.ndarray,
        n_threads: int | None = None,
    ):
        n_rows, nx = shape
        self.sigma, self._n_threads = np.asarray(sigma, np.float64), n_threads or N_THREADS
        self._variance_rate = np.asarray(variance_rate, np.float64)[:, None]
        waves = scipy.fft.dct(np.eye(n_rows), axis=0, norm="ortho")  # waves[k, u] = c_k(u)
        self._waves = waves
        self._decay_rows, self._decay_x = decay(n_rows), decay(nx)
        variance = self.sigma[:, None] ** 2
        self._rows = ((waves.T * np.exp(-variance * self._decay_rows)) @ waves).astype(np.float32)
        self._along_x = np.exp(-variance * self._decay_x).astype(np.float32)

    @property
    def is_identity(self) -> bool:
        """Whether nothing is blurred."""
        return not self.sigma.any()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Blur images (…, n_rows, nx), float32."""
        if self.is_identity:
            return images
        spectrum = self._rows @ self._cosines(images)
        spectrum *= self._along_x
        return self._pixels(spectrum)

    def T(self, images: np.ndarray) -> np.ndarray:
        """Apply the transpose: each row spreads with the width that it was seen with."""
        if self.is_identity:
            return images
        spectrum = self._cosines(images)
        spectrum *= self._along_x
        return self._pixels(self._rows.T @ spectrum)

    def rate(self, images: np.ndarray) -> np.ndarray:
        """Return ∂(B images)/∂g: blurring is diffusion, so ∂B/∂σ² = ½∇²B, exact, times ∂σ(u)²/∂g."""
        variance = self.sigma[:, None] ** 2
        transfer = np.exp(-variance * self._decay_rows)
        curved = ((self._waves.T * (-self._decay_rows * transfer)) @ self._waves).astype(np.float32)
        spectrum = self._cosines(images)
        rate = curved @ spectrum
        rate -= self._decay_x.astype(np.float32) * (self._rows @ spectrum)
        rate *= self._along_x * self._variance_rate.astype(np.float32)
        return self._pixels(rate)

    def _cosines(self, images):
        return scipy.fft.dct(images, axis=-1, norm="ortho", workers=self._n_threads)

    def _pixels(self, spectrum):
        return scipy.fft.idct(spectrum, axis=-1, norm="ortho", overwrite_x=True, workers=self._n_threads)


def gaussian_blur(images: np.ndarray, sigma: float) -> np.ndarray:
    """Blur images (…, n_rows, nx), float32, in the same way, with one σ in pixels for the whole image."""
    n_rows, nx = images.shape[-2:]
    spectrum = scipy.fft.dctn(images, axes=(-2, -1), norm="ortho")
    spectrum *= np.exp(-(sigma**2) * (decay(n_rows)[:, None] + decay(nx))).astype(np.float32)
    return scipy.fft.idctn(spectrum, axes=(-2, -1), norm="ortho", overwrite_x=True)


def decay(n: int) -> np.ndarray:
    """Return 2π²f² of the n cosines of a line of n pixels: f = k / 2n cycles a pixel."""
    return 2 * (np.pi * np.arange(n) / (2 * n)) ** 2
