"""The forward model: what a microscope makes of a specimen, R(θ) → P(e⁻) → Π(proj) → D(g, η₁).

    images_t = Detector( B_g · R_φ · Project_{θ_t + δ} · volume )

Four small operators in a row. `Projector` turns the specimen to its tilt (R), sends electrons through it and adds up
what they meet (P, Π): the high-angle dark-field signal, linear in mass-thickness, which fails for crystals in
diffraction contrast and for thick specimens. `InPlaneRotation` is the direction of the tilt axis, the other half of
R. `DefocusBlur` and `Detector` are D. The first three are linear and make up `TiltSeriesModel`, which has an exact
adjoint and goes wherever a `Projector` goes; the detector adds noise.

Three numbers say how the microscope differs from its nominal geometry (`Mismatch`): δ, the tilts all off by the same
angle; φ, the tilt axis turned in the image plane; g, the focus changing across the field.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri, pdtr, pdtrik

from etlab.arrays import checked
from etlab.blur import DefocusBlur
from etlab.geometry import TiltGeometry
from etlab.projector import Projector
from etlab.rotation import MAX_ANGLE, InPlaneRotation

MAX_GRADIENT = 1000.0  # nm/µm, a slope of 45°: beyond it, the unit is probably not nm/µm
ANGLE_STEP = 0.05  # degrees either side of a tilt, over which its derivative is taken; see `jacobian`
MAX_COUNTS = 1e9  # in a pixel; the noise would be less than float32 resolves in it
LEAST_SUM = 0.05  # of the largest sum of a row or column; see `sums`
GROUP = 8  # images turned and blurred at a time, so that they stay in the processor's cache


@dataclass(frozen=True)
class Mismatch:
    """How the microscope differs from its nominal geometry; all zero means not at all.

    Parameters
    ----------
    tilt_angle
        δ in degrees, added to every tilt.
    tilt_axis
        φ in degrees: direction of the tilt axis in the images, from +x towards +row (counter-clockwise as displayed).
    defocus_gradient
        g in nm/µm: defocus at the upper edge of the detector less defocus at its centre.

    Raises
    ------
    ValueError
        If an angle is outside ±10°, the gradient outside ±1000 nm/µm, or one of them is not a number.

    Examples
    --------
    >>> Mismatch(tilt_angle=1.5)
    Mismatch(tilt_angle=1.5, tilt_axis=0.0, defocus_gradient=0.0)
    """

    tilt_angle: float = 0.0
    tilt_axis: float = 0.0
    defocus_gradient: float = 0.0

    def __post_init__(self):
        limits = dict(tilt_angle=MAX_ANGLE, tilt_axis=MAX_ANGLE, defocus_gradient=MAX_GRADIENT)
        units = dict(tilt_angle="°", tilt_axis="°", defocus_gradient=" nm/µm")
        for name, limit in limits.items():
            value = getattr(self, name)
            if not abs(value) <= limit:  # false for NaN too
                raise ValueError(f"{name}: got {value}, expected within ±{limit:g}{units[name]}")


@dataclass(frozen=True)
class Optics:
    """How defocus becomes blur.

    Parameters
    ----------
    kappa
        κ in pixels per nm/µm. 0 switches the blur off.
    d0
        D₀ in nm/µm. Not zero, because with D₀ = 0 the sign of g could not be known.

    Raises
    ------
    ValueError
        If κ is negative or either is not finite.

    Notes
    -----
    The standard deviation of the blur at row u from the centre of W rows, in pixels, is::

        σ(u) = κ·|D₀ + g·u / (W/2)|.

    Examples
    --------
    >>> variance, _ = Optics(kappa=0.1, d0=6.0).variance(n_rows=4, defocus_gradient=2.0)
    >>> np.sqrt(variance).round(2).tolist()
    [0.45, 0.55, 0.65, 0.75]
    """

    kappa: float = 0.10
    d0: float = 6.0

    def __post_init__(self):
        if not 0 <= self.kappa < np.inf:
            raise ValueError(f"kappa: got {self.kappa}, expected κ ≥ 0 in pixels per nm/µm")
        if not np.isfinite(self.d0):
            raise ValueError(f"d0: got {self.d0}, expected a finite number in nm/µm")

    def refined(self, factor: float) -> Optics:
        """Return the same optics on a grid ``factor`` times finer, where a blur is as many times wider in pixels."""
        return replace(self, kappa=self.kappa * factor)

    def variance(self, n_rows: int, defocus_gradient: float) -> tuple[np.ndarray, np.ndarray]:
        """Return σ(u)² in pixels² and its derivative per nm/µm, each (n_rows,)."""
        u = (np.arange(n_rows) - (n_rows - 1) / 2) / (n_rows / 2)
        defocus = self.d0 + defocus_gradient * u
        return (self.kappa * defocus) ** 2, 2 * self.kappa**2 * defocus * u


class TiltSeriesModel:
    """Model a tilt series: projection at the true tilts, the turn of the tilt axis, and the blur of defocus.

    ``H(volume)`` gives noise-free images and ``H.T(images)`` a volume, with an exact adjoint. Without mismatch and
    blur H is the projector and costs no more.

    Parameters
    ----------
    geometry
        Tilts and shapes. It is and stays the nominal one.
    mismatch
        How the microscope differs from ``geometry``. Default: not at all.
    optics
        How defocus becomes blur; None for no blur.
    n_threads
        Threads to use, by default one for each processor core. Their number does not change the result.

    Notes
    -----
    With B the blur, R the rotation of the images and P the projection::

        H = B_g · R_φ · P_{θ+δ},     Hᵀ = Pᵀ_{θ+δ} · Rᵀ_φ · Bᵀ_g.

    Examples
    --------
    >>> from etlab import Projector, linear_tilts
    >>> geometry = TiltGeometry(linear_tilts(60, 30), (16, 16, 16))
    >>> H = TiltSeriesModel(geometry, mismatch=Mismatch(tilt_angle=2.0), optics=Optics(d0=4.0))
    >>> volume = np.zeros(geometry.volume_shape, np.float32)
    >>> volume[6:10, 6:10, 6:10] = 1
    >>> H(volume).shape, H.T(H(volume)).shape
    ((5, 16, 16), (16, 16, 16))
    >>> sharp = Projector(geometry)(volume)
    >>> bool(H(volume).max() < sharp.max())  # blurred
    True
    """

    def __init__(
        self,
        geometry: TiltGeometry,
        *,
        mismatch: Mismatch | None = None,
        optics: Optics | None = Optics(),
        n_threads: int | None = None,
    ):
        self.geometry = geometry
        self.mismatch = mismatch or Mismatch()
        self.optics = optics or Optics(kappa=0)
        self.n_threads = n_threads
        shape = geometry.images_shape[1:]
        variance, variance_rate = self.optics.variance(geometry.n_rows, self.mismatch.defocus_gradient)
        self.projector = self._projector_at(self.mismatch.tilt_angle)
        self.rotation = InPlaneRotation(shape, self.mismatch.tilt_axis, n_threads=n_threads)
        self.blur = DefocusBlur(shape, np.sqrt(variance), variance_rate=variance_rate, n_threads=n_threads)

    def __call__(self, volume: np.ndarray) -> np.ndarray:
        """Return the noise-free images of a volume.

        Parameters
        ----------
        volume
            Shape (nz, ny, nx), floating.

        Returns
        -------
        np.ndarray
            Images (n_tilts, n_rows, nx), float32, line integrals in units of one voxel.

        Raises
        ------
        TypeError
            If the dtype is not floating.
        ValueError
            If the shape is wrong, or for NaN or infinity.
        """
        return self._each(lambda images: self.blur(self.rotation(images)), self.projector(volume))

    def T(self, images: np.ndarray) -> np.ndarray:
        """Apply the adjoint to images.

        Parameters
        ----------
        images
            Shape (n_tilts, n_rows, nx), floating.

        Returns
        -------
        np.ndarray
            Volume (nz, ny, nx), float32.

        Raises
        ------
        TypeError
            If the dtype is not floating.
        ValueError
            If the shape is wrong, or for NaN or infinity.
        """
        images = checked("images", images, self.geometry.images_shape)
        if not self._is_projector:
            images = self._each(lambda images: self.rotation.T(self.blur.T(images)), images.copy())
        return self.projector.T(images)

    def jacobian(self, volume: np.ndarray) -> np.ndarray:
        """Return the derivative of the images by the mismatch, ∂H(volume)/∂(δ, φ, g).

        Parameters
        ----------
        volume
            Shape (nz, ny, nx), floating.

        Returns
        -------
        np.ndarray
            Per degree, per degree and per nm/µm: (3, n_tilts, n_rows, nx), float32.

        Notes
        -----
        φ and g are exact derivatives of the discrete operators. δ is a difference over ±``ANGLE_STEP``: the weights
        of the projector are piecewise linear in the angle, so their exact derivative jumps whenever a voxel passes
        from one detector row to the next. The difference averages the slope over a tenth of a degree. Another step
        gives the same within 1 % for smooth volumes and within some 5 % for scenes with sharp edges: no derivative of
        this interpolation is more certain than that.
        """
        rates = np.empty((3, *self.geometry.images_shape), np.float32)
        ahead, behind = (
            self._projector_at(self.mismatch.tilt_angle + step)(volume) for step in (ANGLE_STEP, -ANGLE_STEP)
        )
        np.subtract(ahead, behind, out=rates[0])
        rates[0] /= 2 * ANGLE_STEP
        del ahead, behind
        rates[1] = rates[2] = self.projector(volume)
        self._each(lambda images: self.blur(self.rotation(images)), rates[0])
        self._each(lambda images: self.blur(self.rotation.rate(images)), rates[1])
        self._each(lambda images: self.blur.rate(self.rotation(images)), rates[2])
        return rates

    def with_mismatch(self, mismatch: Mismatch | None) -> TiltSeriesModel:
        """Return the same microscope with another mismatch, or with none."""
        return TiltSeriesModel(self.geometry, mismatch=mismatch, optics=self.optics, n_threads=self.n_threads)

    def subset(self, tilts: np.ndarray | slice | list[int]) -> TiltSeriesModel:
        """Return the same model for some of the tilts: indices, a slice or a mask into ``geometry.tilts_deg``."""
        chosen = copy(self)  # turns and blurs are the same for all tilts, and shared
        chosen.geometry = replace(self.geometry, tilts_deg=self.geometry.tilts_deg[tilts])
        chosen.projector = self.projector.subset(tilts)
        return chosen

    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Return H 1 and Hᵀ 1 as images and volume, but nowhere less than ``LEAST_SUM`` of the largest.

        SIRT divides by them. Band-limited turns and blurs ring a little, so beside the specimen the sums of a row can
        be zero or negative while its entries are not, and such a row would outweigh all others.
        """
        if self._is_projector:
            return self.projector.sums()
        ones = (
            np.ones(self.geometry.volume_shape, np.float32),
            np.ones(self.geometry.images_shape, np.float32),
        )
        return tuple(np.maximum(total, LEAST_SUM * total.max()) for total in (self(ones[0]), self.T(ones[1])))

    dot_test = Projector.dot_test

    @property
    def _is_projector(self) -> bool:
        return self.rotation.is_identity and self.blur.is_identity

    def _projector_at(self, tilt_angle: float) -> Projector:
        turned = replace(self.geometry, tilts_deg=self.geometry.tilts_deg + tilt_angle)
        return Projector(turned, n_threads=self.n_threads)

    @staticmethod
    def _each(operation: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
        """Apply ``operation`` to all images, in place: no second stack is ever held."""
        for first in range(0, len(images), GROUP):
            group = images[first : first + GROUP]
            group[:] = operation(group)
        return images


@dataclass(frozen=True)
class Detector:
    """Record images with counting noise and the noise of the electronics.

    Parameters
    ----------
    gain
        Recorded units per unit line integral.
    dose
        Expected counts per unit line integral, in each image. None or infinity: no counting noise.
    background
        Signal of an empty specimen, in line integrals.
    read_noise
        Standard deviation of the electronics' noise in recorded units.

    Raises
    ------
    ValueError
        If gain or dose is not positive, or background or read noise is negative.

    Notes
    -----
    Of a line integral p is recorded::

        gain·Poisson(dose·(p + background)) / dose + N(0, read_noise),

    and then calibrated: gain and background are removed.

    Examples
    --------
    >>> images = np.full((3, 32, 32), 2.0, np.float32)
    >>> noisy = Detector(dose=10.0).expose(images, rng=0)
    >>> round(float(noisy.mean()), 1), round(float(noisy.var()), 1)  # the mean is kept, the variance is 2 / 10
    (2.0, 0.2)
    """

    gain: float = 1.0
    dose: float | None = 5.0
    background: float = 0.0
    read_noise: float = 0.0

    def __post_init__(self):
        for name in ("gain", "dose"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}: got {value}, expected a positive number")
        for name in ("background", "read_noise"):
            value = getattr(self, name)
            if not 0 <= value < np.inf:
                raise ValueError(f"{name}: got {value}, expected a finite number ≥ 0")
        if self.gain == np.inf:
            raise ValueError("gain: got inf, expected a finite number")

    def expose(
        self,
        images: np.ndarray,
        rng: np.random.Generator | int,
        *,
        dose_weights: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return noisy images in calibrated units, so that their mean is ``images``.

        Parameters
        ----------
        images
            Line integrals (n_tilts, n_rows, nx), floating.
        rng
            Generator of the noise, or its seed.
        dose_weights
            Factors on the dose of each image, (n_tilts,). Default: 1.

        Returns
        -------
        np.ndarray
            Shape of ``images``, float32, gain and background removed.

        Raises
        ------
        ValueError
            For images that are not a stack of finite numbers, weights that are not positive, or more than
            ``MAX_COUNTS`` in a pixel.

        Notes
        -----
        The variance is (p + background) / (dose·weight) + (read_noise / gain)². Where p + background is negative, no
        electrons are counted.
        """
        rng = np.random.default_rng(rng)
        images = np.asarray(images)
        if images.ndim != 3:
            raise ValueError(f"images: got shape {images.shape}, expected (n_tilts, n_rows, nx)")
        images = checked("images", images, images.shape)
        weights = np.ones(len(images)) if dose_weights is None else np.asarray(dose_weights, np.float64)
        if weights.shape != (len(images),) or not ((weights > 0) & np.isfinite(weights)).all():
            raise ValueError(
                f"dose_weights: got shape {weights.shape}, expected {len(images)} positive numbers, one per image"
            )
        recorded = np.empty_like(images)
        for image, weight, out in zip(images, weights, recorded, strict=True):
            signal = image.astype(np.float64) + self.background
            if self.dose is not None and np.isfinite(self.dose):
                # one random number for every pixel: rng.poisson draws more or fewer by the last digit of its mean,
                # which differs between machines, and all pixels after it would get other noise
                expected = np.maximum(signal, 0) * (self.dose * weight)
                if expected.max() > MAX_COUNTS:
                    raise ValueError(
                        f"dose: got {self.dose:g}, which makes {expected.max():.1e} counts a pixel of these images, "
                        f"expected at most {MAX_COUNTS:.0e}; without counting noise it is None"
                    )
                counts = poisson_quantile(rng.random(image.shape), expected)
                signal = counts / (self.dose * weight)
            if self.read_noise:
                signal += rng.normal(0, self.read_noise / self.gain, image.shape)
            out[:] = signal - self.background
        return recorded


def poisson_quantile(probability: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the least count whose cumulative Poisson probability reaches ``probability``, for each pixel.

    The counts are those of ``scipy.stats.poisson.ppf``, found several times as quickly: the expansion of Cornish and
    Fisher (Revue de l'Institut international de statistique 5, 307, 1938) is right for most pixels, and only those
    where a check shows that it is not are searched for.

    Parameters
    ----------
    probability
        Between 0 and 1, of any shape.
    mean
        Expected counts, at least 0, of the same shape.

    Returns
    -------
    np.ndarray
        Whole numbers as float64, of that shape.

    Examples
    --------
    >>> poisson_quantile(np.array([0.5, 0.99]), np.array([3.0, 3.0]))
    array([3., 8.])
    """
    normal = ndtri(probability)
    counts = np.ceil(mean + np.sqrt(mean) * normal + (normal**2 - 1) / 6 - 0.5)
    counts = np.where(mean > 0, np.maximum(counts, 0), 0)
    missed = (pdtr(counts, mean) < probability) | ((counts > 0) & (pdtr(counts - 1, mean) >= probability))
    wanted, of = probability[missed], mean[missed]
    above = np.ceil(pdtrik(wanted, of))  # or one too many, by rounding
    below = np.maximum(above - 1, 0)
    counts[missed] = np.where(pdtr(below, of) >= wanted, below, above)
    return counts
