"""Bundle adjustment on whole bead images: where every bead is, the tilt axis φ and the defocus gradient g.

A bead at (z, y, x) of the volume's frame is seen in image t, measured from the detector's centre, at

    row = s·cos φ + x·sin φ,     column = x·cos φ − s·sin φ,     s = y·cos θ_t + z·sin θ_t,

as a·f(ρ, σ(u)²), f the bead's known image (`bead_image`), σ(u) the blur of the row u that a pixel lies in, a its
amplitude, 1 if the beads are what was declared. Not places but pixels are fitted, so that g, which moves nothing, is
found together with them. δ is not in the fit: it turns all beads about the tilt axis, and the images stay the same.

Least squares by Levenberg–Marquardt on one small patch for each bead and image. In each patch a plane is projected
out: what lies under the bead is not known, but smooth. All that the fit needs of a patch is how its residual and the
derivatives of the bead's image correlate, four numbers and a 4 × 4 matrix for (a, row, column, g). From them follow the
normal equations; each bead's own unknowns are eliminated, and two are left for φ and g (Schur complement).
Source: Triggs et al., Bundle Adjustment — A Modern Synthesis, LNCS 1883 (2000) 298.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from etlab.calibration.bead_image import BeadImage
from etlab.forward import Optics
from etlab.geometry import TiltGeometry
from etlab.phantoms import Fiducials

HALF_PATCH = 5  # pixels: patches of 11 × 11
AMPLITUDE_SPREAD = 0.05  # of a bead's amplitude about the common one, a prior
MAX_STEPS = np.array([0.5, 1, 1, 1, 0.5, 5])  # in (a, z, y, x, φ, g): the linearisation holds no further
DAMPING = 1e-3  # Levenberg–Marquardt, at the start
CONVERGED = 1e-6  # relative change of the loss
BLUR_REACH = 3.0  # σ at which a Gaussian ends
OWN = slice(0, 4)  # of the six unknowns, those of each bead
SHARED = slice(4, 6)  # and those of all: φ and g


@dataclass(frozen=True, eq=False)
class Beads:
    """State of the fit: ``positions`` (n, 3) zyx in voxels from the volume's centre, ``amplitudes`` (n,), φ, g."""

    positions: np.ndarray
    amplitudes: np.ndarray
    tilt_axis: float
    defocus_gradient: float

    def __len__(self):
        return len(self.amplitudes)

    def keep(self, chosen: np.ndarray) -> Beads:
        """Return some of the beads, by a mask or indices."""
        return replace(self, positions=self.positions[chosen], amplitudes=self.amplitudes[chosen])

    def stepped(self, own: np.ndarray, shared: np.ndarray) -> Beads:
        """Return the beads moved by (a, z, y, x) each, (n, 4), and by (φ, g), each clipped at ``MAX_STEPS``."""
        own = np.clip(own, -MAX_STEPS[OWN], MAX_STEPS[OWN])
        axis, gradient = np.clip(shared, -MAX_STEPS[SHARED], MAX_STEPS[SHARED])
        return Beads(
            self.positions + own[:, 1:],
            self.amplitudes + own[:, 0],
            self.tilt_axis + float(axis),
            self.defocus_gradient + float(gradient),
        )


@dataclass(frozen=True, eq=False)
class BundleFit:
    """A fitted bundle.

    ``loss`` is the weighted sum of squares, ``noise`` that per degree of freedom. ``matrix`` (n, 6, 6) and ``vector``
    (n, 6) are each bead's part of the normal equations in (a, z, y, x, φ, g), ``misfit`` (n, n_tilts) each patch's of
    the loss per degree of freedom in units of ``noise``: 1 where only noise is left.
    """

    beads: Beads
    loss: float
    noise: float
    matrix: np.ndarray
    vector: np.ndarray
    misfit: np.ndarray

    @cached_property
    def reduced(self) -> tuple[np.ndarray, np.ndarray]:
        """Each bead's part of the equations for (φ, g), its own unknowns eliminated: (n, 2, 2) and (n, 2)."""
        return eliminated(self.matrix, self.vector)[:2]


class Bundle:
    """The fit's fixed parts: geometry, optics, and the image of a bead. Images are of ``geometry.images_shape``."""

    def __init__(self, geometry: TiltGeometry, optics: Optics, fiducials: Fiducials, max_gradient: float):
        self.geometry, self.optics = geometry, optics
        theta = np.deg2rad(geometry.tilts_deg)
        self._cos, self._sin = np.cos(theta), np.sin(theta)
        self._centre = (np.array(geometry.images_shape[1:]) - 1) / 2
        widest = optics.kappa * (abs(optics.d0) + max_gradient)
        extent = fiducials.radius + fiducials.edge / 2 + BLUR_REACH * np.hypot(widest, 0.3)
        self._half_window = int(np.ceil(extent)) + 1
        self.image = BeadImage(fiducials, reach=np.sqrt(2) * (self._half_window + 1))

    def places(self, beads: Beads) -> np.ndarray:
        """Return (row, column) of each bead in each image, in pixels, (n, n_tilts, 2)."""
        s, x, phi = *self._in_plane(beads), np.deg2rad(beads.tilt_axis)
        turned = s * np.cos(phi) + x * np.sin(phi), x * np.cos(phi) - s * np.sin(phi)
        return self._centre + np.stack(turned, axis=-1)

    def render(self, beads: Beads) -> np.ndarray:
        """Return the images of the beads and nothing else, float32."""
        window, inside = self._windows(self.places(beads), self._half_window)
        tables = self.image.tables(self._variance(beads)[0], rates=False)
        _, rho = self._offsets(beads, window)
        values = self.image.look_up(tables, window[1], rho)[0] * self._amplitudes(beads)
        shape = self.geometry.images_shape
        pixels = np.ravel_multi_index(np.broadcast_arrays(*window), shape)
        images = np.bincount(pixels[inside], values[inside], minlength=np.prod(shape))
        return images.reshape(shape).astype(np.float32)

    def fit(
        self,
        images: np.ndarray,
        start: Beads,
        weights: np.ndarray,
        *,
        n_iter: int = 10,
        fixed_gradient: bool = False,
    ) -> BundleFit:
        """Fit the beads to images from which all else that is known was subtracted.

        ``weights`` are the pixels' inverse variances up to a common factor. In a patch, other beads stay what they are
        in ``start``. Ends after ``n_iter`` steps or when one improves the loss by less than a millionth.
        """
        patches = _Patches(self, images, start, weights)
        best, damping = patches.linearised(start), DAMPING
        for _ in range(n_iter):
            moved = patches.linearised(best.beads.stepped(*_step(best, damping, fixed_gradient)))
            if moved.loss > best.loss:
                damping *= 10
                continue
            converged = best.loss - moved.loss < CONVERGED * best.loss
            best, damping = moved, damping / 5
            if converged:
                break
        return best

    def _in_plane(self, beads: Beads) -> tuple[np.ndarray, np.ndarray]:
        z, y, x = beads.positions.T[:, :, None]
        return y * self._cos + z * self._sin, np.broadcast_to(x, (len(x), len(self._cos)))

    @staticmethod
    def _amplitudes(beads):
        return beads.amplitudes.astype(np.float32)[:, None, None, None]

    def _variance(self, beads):
        return self.optics.variance(self.geometry.n_rows, beads.defocus_gradient)

    def _windows(self, places, half):
        """Return indices (image, row, column) of square windows about places, and which of their pixels exist."""
        corner, reach = np.rint(places).astype(int), np.arange(-half, half + 1)
        rows = corner[..., 0, None, None] + reach[:, None]
        columns = corner[..., 1, None, None] + reach
        n_rows, nx = self.geometry.images_shape[1:]
        inside = (rows >= 0) & (rows < n_rows) & (columns >= 0) & (columns < nx)
        images = np.arange(len(self._cos))[:, None, None]
        return (images, np.clip(rows, 0, n_rows - 1), np.clip(columns, 0, nx - 1)), inside

    def _offsets(self, beads, window):
        """Return (down, right) of the window's pixels from the bead's place, and their distance."""
        row, column = np.moveaxis(self.places(beads), -1, 0)[..., None, None]
        down, right = ((w - at).astype(np.float32) for w, at in ((window[1], row), (window[2], column)))
        return (down, right), np.hypot(down, right)

    def _chain(self, beads: Beads) -> np.ndarray:
        """Return ∂(a, row, column, g) / ∂(a, z, y, x, φ, g) of each bead in each image, (n, n_tilts, 4, 6)."""
        s, x, phi = *self._in_plane(beads), np.deg2rad(beads.tilt_axis)
        cos, sin, one = self._cos, self._sin, np.ones_like(self._cos)
        chain = np.zeros((*s.shape, 4, 6))
        chain[..., 0, 0] = chain[..., 3, 5] = 1
        chain[..., 1, 1:4] = np.stack([sin * np.cos(phi), cos * np.cos(phi), one * np.sin(phi)], axis=-1)
        chain[..., 2, 1:4] = np.stack([-sin * np.sin(phi), -cos * np.sin(phi), one * np.cos(phi)], axis=-1)
        chain[..., 1, 4] = np.deg2rad(x * np.cos(phi) - s * np.sin(phi))
        chain[..., 2, 4] = np.deg2rad(-x * np.sin(phi) - s * np.cos(phi))
        return chain


class _Patches:
    """The pixels about each bead in each image, weighted, the plane taken out."""

    def __init__(self, bundle, images, start, weights):
        self.bundle = bundle
        self.window, inside = bundle._windows(bundle.places(start), HALF_PATCH)
        size = 2 * HALF_PATCH + 1
        self.shape = (len(start), len(weights), 1, size * size)
        self.root = np.sqrt(np.where(inside, weights[self.window], 0)).reshape(self.shape)
        steps = np.arange(size) - HALF_PATCH
        plane = np.stack(np.broadcast_arrays(1, steps[:, None], steps)).reshape(3, -1).astype(np.float32)
        self.plane = np.linalg.qr(np.swapaxes(self.root * plane, 2, 3))[0]
        self.n_free = (self.root > 0).sum(axis=(2, 3)) - plane.shape[0]
        own = bundle.render(start)[self.window]
        alone = self._seen(start)[0] * bundle._amplitudes(start)
        self.data = self._whitened((images[self.window] - own + alone).reshape(self.shape))

    def _seen(self, beads):
        bundle = self.bundle
        (down, right), rho = bundle._offsets(beads, self.window)
        variance, rate = bundle._variance(beads)
        rows = self.window[1]
        value, slope, widening = bundle.image.look_up(bundle.image.tables(variance), rows, rho)
        return value, -slope * down, -slope * right, widening * rate.astype(np.float32)[rows]

    def _whitened(self, patches):
        patches = patches * self.root
        return patches - (patches @ self.plane) @ np.swapaxes(self.plane, 2, 3)

    def linearised(self, beads):
        """Return the `BundleFit` at ``beads``, without moving them."""
        a = self.bundle._amplitudes(beads)
        value, *rates = self._seen(beads)
        basis = np.stack([value, *(a * rate for rate in rates)], axis=2).reshape(*self.shape[:2], 4, -1)
        basis = self._whitened(basis)
        residual = self.data - a * basis[:, :, :1]
        chain = self.bundle._chain(beads)
        back = np.swapaxes(chain, 2, 3)
        matrix = (back @ (basis @ np.swapaxes(basis, 2, 3)) @ chain).sum(axis=1)
        vector = (back @ (basis @ np.swapaxes(residual, 2, 3))).sum(axis=1)[..., 0]
        squares = (residual**2).sum(axis=(2, 3), dtype=np.float64)
        noise = squares.sum() / self.n_free.sum()
        stiffness = noise / AMPLITUDE_SPREAD**2
        off = beads.amplitudes - np.median(beads.amplitudes)
        matrix[:, 0, 0] += stiffness
        vector[:, 0] -= stiffness * off
        loss = squares.sum() + stiffness * (off**2).sum()
        misfit = squares / np.maximum(self.n_free, 1) / noise
        return BundleFit(beads, float(loss), float(noise), matrix, vector, misfit)


def _step(fit, damping, fixed_gradient):
    """Return the damped step of each bead's own unknowns, (n, 4), and of the shared ones, (2,)."""
    # no bead is so faint that it could move by more than a voxel: keeps its equations regular
    matrix = fit.matrix * (1 + damping * np.eye(6)) + fit.noise * np.diag([1, 1, 1, 1, 0, 0])
    matrices, vectors, gain = eliminated(matrix, fit.vector)
    matrices, vectors = matrices.sum(axis=0), vectors.sum(axis=0)
    shared = (
        np.array([vectors[0] / matrices[0, 0], 0]) if fixed_gradient else np.linalg.solve(matrices, vectors)
    )
    return gain[..., 2] - gain[..., :2] @ shared, shared


def eliminated(matrix: np.ndarray, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eliminate each bead's own four unknowns: return the equations for (φ, g), and the gain that gives the four back.

    ``matrix`` (n, 6, 6) and ``vector`` (n, 6) -> (n, 2, 2), (n, 2) and (n, 4, 3).
    """
    cross = matrix[:, OWN, SHARED]
    gain = np.linalg.solve(matrix[:, OWN, OWN], np.concatenate([cross, vector[:, OWN, None]], axis=2))
    taken = np.swapaxes(cross, 1, 2) @ gain
    return matrix[:, SHARED, SHARED] - taken[..., :2], vector[:, SHARED] - taken[..., 2], gain
