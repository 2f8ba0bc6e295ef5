"""Benchmark samples: a scene, and the tilt series that a microscope would record of it.

The scene is painted and projected on a grid twice as fine in every direction, detector included, and binned: the truth
is the binned volume. A solver works on the coarse grid, so its model is never exactly the one that made the data
("inverse crime": Colton & Kress, Inverse Acoustic and Electromagnetic Scattering Theory, 2013). The difference is
0.5–1 % of the data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from etlab.arrays import require_memory
from etlab.forward import Detector, Mismatch, Optics, TiltSeriesModel
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.phantoms import Fiducials, specimen

FINER = 2  # the grid of the simulation against the grid of the benchmark

PRESETS = {
    "standard": TiltGeometry(linear_tilts(70, 2), (64, 128, 128), n_rows=160, voxel_nm=2.0),
    "small": TiltGeometry(linear_tilts(70, 2), (32, 64, 64), n_rows=80, voxel_nm=4.0),
}

PUBLIC_SEEDS = (0, 1, 2, 3)  # scenes on which anything may be tuned; results are reported on other seeds

# Expected counts per unit line integral. Chosen once, on all scenes of PUBLIC_SEEDS, so that WBP with the ideal
# operator comes near its published 20.9 dB: measured 21.0, 21.1 and 21.2 dB at 3, 5 and 8 counts. The dose decides
# little, because most of WBP's error is the missing wedge; that depends on how full the scenes are, which was settled
# together with the dose, looking at what WBP, SIRT and TV made of these seeds. Neither is to be tuned again.
DOSE = 5.0


@dataclass(frozen=True, eq=False)
class Sample:
    """A tilt series with what is declared about it, and the truth behind it.

    Parameters
    ----------
    y
        Noisy line integrals in voxels, (n_tilts, n_rows, nx), float32.
    geometry
        Nominal tilts and shapes.
    optics, detector
        As declared.
    fiducials
        Gold beads on the film, as declared; None without beads.
    x_true
        The specimen, (nz, ny, nx), float32. A blind solver must not see it.
    mismatch
        How the microscope differed from its log file. A blind solver must not see it.

    Examples
    --------
    >>> sample = simulate(
    ...     "vesicles", TiltGeometry(linear_tilts(60, 20), (16, 32, 32)), film=False, fiducials=False
    ... )
    >>> sample.x_true.shape, sample.fiducials is None
    ((16, 32, 32), True)
    """

    y: np.ndarray
    geometry: TiltGeometry
    optics: Optics
    detector: Detector
    fiducials: Fiducials | None
    x_true: np.ndarray
    mismatch: Mismatch


def simulate(
    name: str,
    preset: str | TiltGeometry = "standard",
    seed: int = 0,
    mismatch: Mismatch = Mismatch(),
    *,
    noise_seed: int | None = None,
    film: bool = True,
    fiducials: bool = True,
    optics: Optics | None = Optics(),
    detector: Detector = Detector(dose=DOSE),
    n_threads: int | None = None,
) -> Sample:
    """Draw a scene and record its tilt series.

    Parameters
    ----------
    name
        One of `etlab.phantoms.SCENES`.
    preset
        One of `PRESETS`, or a geometry of your own.
    seed
        Of the scene.
    mismatch
        How the microscope differs from its log file [deg, deg, nm/µm].
    noise_seed
        Of the noise; by default ``seed``.
    film, fiducials
        Whether the specimen lies on a film, and gold beads on the film.
    optics
        Blur by the focus gradient; None for no blur.
    detector
        Expected counts per unit line integral; ``Detector(dose=None)`` records without noise.
    n_threads
        Of the projector.

    Returns
    -------
    Sample
        The series, what is declared about it, and its truth.

    Raises
    ------
    ValueError
        For an unknown scene or preset, or a volume too small for a scene.
    MemoryError
        If the machine is too small; the message says how much memory is needed.

    Notes
    -----
    The scene is painted and projected on a grid twice as fine and binned, so that no solver's model is exactly the
    one that made the data.

    References
    ----------
    D. Colton and R. Kress, Inverse Acoustic and Electromagnetic Scattering Theory, 3rd ed. (Springer, 2013).

    Examples
    --------
    >>> geometry = TiltGeometry(linear_tilts(60, 20), (16, 32, 32), n_rows=40)
    >>> sample = simulate("vesicles", geometry, seed=1, film=False, fiducials=False)
    >>> sample.y.shape
    (7, 40, 32)
    """
    geometry = _geometry(preset)
    fine = refined(geometry, FINER)
    n_values = np.prod(fine.volume_shape, dtype=float) + 2 * np.prod(fine.images_shape, dtype=float)
    require_memory(4 * n_values, f"simulating a tilt series of {geometry.volume_shape} voxels")
    optics = optics or Optics(kappa=0)
    object_ = specimen(name, geometry.volume_shape, seed, film=film, fiducials=fiducials, oversampling=FINER)
    H = TiltSeriesModel(fine, mismatch=mismatch, optics=optics.refined(FINER), n_threads=n_threads)
    # the mean over FINER² pixels of line integrals that count voxels FINER times smaller
    images = binned(H(object_.volume), (1, FINER, FINER)) / FINER
    rng = np.random.default_rng([seed if noise_seed is None else noise_seed, seed])
    return Sample(
        y=detector.expose(images, rng),
        geometry=geometry,
        optics=optics,
        detector=detector,
        fiducials=object_.fiducials,
        x_true=binned(object_.volume, (FINER, FINER, FINER)),
        mismatch=mismatch,
    )


def refined(geometry: TiltGeometry, factor: int) -> TiltGeometry:
    """Return the same field of view and tilts on voxels and pixels ``factor`` times smaller."""
    return replace(
        geometry,
        volume_shape=tuple(factor * n for n in geometry.volume_shape),  # type: ignore[arg-type]  # mypy cannot count these
        n_rows=factor * geometry.n_rows,
        voxel_nm=geometry.voxel_nm / factor,
    )


def binned(array: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Return means over blocks of ``factors`` values along each axis, which must divide the shape; float32."""
    blocks = [size for n, factor in zip(array.shape, factors, strict=True) for size in (n // factor, factor)]
    return array.reshape(blocks).mean(axis=tuple(range(1, 2 * array.ndim, 2)), dtype=np.float32)


def _geometry(preset: str | TiltGeometry) -> TiltGeometry:
    """Return the geometry of a preset. Raises ValueError for an unknown one."""
    if isinstance(preset, TiltGeometry):
        return preset
    if preset not in PRESETS:
        raise ValueError(f"preset: got {preset!r}, expected one of {', '.join(PRESETS)} or a TiltGeometry")
    return PRESETS[preset]
