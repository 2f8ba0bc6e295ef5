"""The image of one gold bead: a projected ball with a soft edge, seen out of focus.

A projected ball is radially symmetric, and so is its blur. By the slice theorem the image's Fourier transform is a
central section of the ball's, F(k) = 4π ∫ c(r) r² sinc(2kr) dr, and an isotropic Gaussian of variance v multiplies it:

    f(ρ, v) = 2π ∫ F(k) exp(−2π² k² v) J₀(2πkρ) k dk     (a Hankel transform).

v holds two blurs: defocus, σ(u)² of the detector row u that a pixel lies in, and the pixel itself, a square of
variance 1/12. So there is one function of ρ for each row, and a table of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special

from etlab.phantoms import Fiducials

PIXEL_VARIANCE = 1 / 12  # of the square that one pixel averages over, pixels²
MAX_FREQUENCY = 3.0  # cycles per pixel, beyond which even the pixel alone leaves nothing
N_FREQUENCIES = 200  # Gauss–Legendre nodes
N_SHELLS = 800  # steps of the integral over the ball's radius
STEP = 0.02  # pixels between the entries of a table; linear between them is good to 1e-4 of the peak


class BeadImage:
    """Tables of f, (∂f/∂ρ)/ρ and ∂f/∂v for the declared bead, as far as ``reach`` pixels from its centre."""

    def __init__(self, beads: Fiducials, reach: float):
        self.reach = reach
        nodes, weights = np.polynomial.legendre.leggauss(N_FREQUENCIES)
        self._k, step = MAX_FREQUENCY * (nodes + 1) / 2, MAX_FREQUENCY * weights / 2
        r = np.linspace(0, beads.radius + beads.edge, N_SHELLS + 1)
        shells = 4 * np.pi * r**2 * beads.profile(r)
        transform = np.trapezoid(shells * np.sinc(2 * np.outer(self._k, r)), r, axis=1)
        self._spectrum = 2 * np.pi * self._k * step * transform
        rho = np.arange(0, reach, STEP)
        phase = 2 * np.pi * np.outer(self._k, rho)
        self._waves = scipy.special.j0(phase)
        # J₀′ = −J₁, and J₁(z)/z → 1/2 in the middle
        ratio = np.divide(scipy.special.j1(phase), phase, out=np.full_like(phase, 0.5), where=phase > 0)
        self._slopes = -((2 * np.pi * self._k[:, None]) ** 2) * ratio

    def tables(self, variance: np.ndarray, *, rates: bool = True) -> np.ndarray:
        """Return f, (∂f/∂ρ)/ρ and ∂f/∂v for rows whose defocus has this variance: (3, n_rows, n_radii), float32.

        Without ``rates`` only f, (1, n_rows, n_radii).
        """
        decay = -2 * np.pi**2 * self._k**2
        seen = self._spectrum * np.exp(np.outer(np.asarray(variance) + PIXEL_VARIANCE, decay))
        tables: Any = [seen @ self._waves]
        if rates:
            tables += [seen @ self._slopes, (seen * decay) @ self._waves]
        tables = np.stack(tables).astype(np.float32)
        tables[..., -2:] = 0  # and so everything beyond
        return tables

    @staticmethod
    def look_up(tables: np.ndarray, rows: np.ndarray, rho: np.ndarray) -> np.ndarray:
        """Return values of ``tables`` (k, n_rows, n_radii) at distances ``rho`` (…) in the given rows (…): (k, …)."""
        n_radii = tables.shape[-1]
        place = np.minimum(rho / STEP, n_radii - 1.001)
        entry = place.astype(np.intp)
        place -= entry
        entry += rows * n_radii
        flat = tables.reshape(len(tables), -1)
        low, high = flat.take(entry, axis=1), flat.take(entry + 1, axis=1)
        high -= low
        high *= place
        high += low
        return high
