"""The mismatch from gold beads on a flat film: find them, fit them, learn what lies under them, fit again.

Each round reconstructs what is not bead (`background`), takes it away, and fits the beads (`bundle`) by the gradient
of the misfit of the images to (φ, g) and to everything about the beads: the object is estimated anew before every
such step, never frozen. Two rounds suffice; more let small errors grow. δ is then the slope of the plane through the
beads, because the film they lie on is flat and perpendicular to the beam at true zero tilt: z = z₀ − y·tan δ. All
beads count alike.

How far off that is, the beads say themselves: drawn again and again at random from those that were found (bootstrap).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from etlab.calibration.background import background
from etlab.calibration.bundle import Beads, Bundle, BundleFit
from etlab.calibration.detection import find_beads
from etlab.forward import Mismatch, Optics, TiltSeriesModel
from etlab.geometry import TiltGeometry
from etlab.phantoms import Fiducials
from etlab.rotation import InPlaneRotation

ROUNDS = 2
FEWEST = 5  # beads that make a plane and leave something to judge it by
HALF = 0.5  # of the declared beads: where fewer are found, they are specimen
N_STARTS = 7  # gradients tried first: the loss has more than one minimum in g
BEYOND = 0.1  # of the range of g, scanned on either side of it
NEARBY = 1.5  # pixels over which the first weights are smoothed
LEAST_SIGNAL = 0.3  # line integral: no pixel is taken to be more certain than one of this brightness
SAME_AMPLITUDE = 0.35  # of the median amplitude: what differs more is not a bead
SAME_PLANE = 0.75  # voxels from the plane, or
STRAY = 5.0  # robust standard deviations, if that is more
# of the median amplitude, standard deviation. The fit draws amplitudes together by its prior, so that noise of any
# strength makes beads scatter by half of AMPLITUDE_SPREAD at most, 0.025. Parts of a specimen are of all brightnesses:
# those that `alike` lets pass fill its range and scatter by about SAME_AMPLITUDE / √3, 0.2 (public scenes: 0.01–0.03
# with beads, 0.13–0.26 without).
ONE_KIND = 0.07
N_RESAMPLED = 500
ENOUGH = 0.7  # of the declared number of beads
SHARED = 0.15  # nm/µm: error of g that all beads share, from the film continued under them (public scenes)
WRONG = 0.1  # of the declared amplitude: farther off, the declaration is doubted


@dataclass(frozen=True, eq=False)
class BeadCalibration:
    """What the beads tell: ``mismatch`` and ``std`` (δ, φ, g), and what a reader may look at.

    ``fit`` is the last bundle, ``places`` (n, n_tilts, 2) its (row, column) in each image, ``found`` (m, 3) are the
    candidates of the detection, ``plane`` (slope, height) that through the beads, ``gradients`` and ``losses`` the
    scan of g, ``volume`` what was reconstructed without the beads, ``notes`` what a user should know.
    """

    mismatch: Mismatch
    std: np.ndarray
    fit: BundleFit
    places: np.ndarray
    found: np.ndarray
    plane: np.ndarray
    gradients: np.ndarray
    losses: np.ndarray
    volume: np.ndarray
    notes: tuple[str, ...]


def calibrate_with_beads(
    y: np.ndarray,
    geometry: TiltGeometry,
    optics: Optics,
    fiducials: Fiducials,
    axis: float,
    gradients: tuple[float, float],
    *,
    rng: np.random.Generator,
    n_threads: int | None = None,
    report: Callable[[str, Mismatch], None] = lambda stage, mismatch: None,
) -> BeadCalibration | None:
    """Estimate the mismatch of images y (n_tilts, n_rows, nx) from declared beads; None if too few are found.

    Too few is less than half of those declared, or than five; and all of them where they are not `of_one_kind`.

    ``axis`` in degrees is where φ starts, ``gradients`` the range of g in nm/µm, scanned. ``report(stage, mismatch)``
    is called after each round.
    """
    scanned = scanned_gradients(*gradients)
    bundle = Bundle(geometry, optics, fiducials, max_gradient=np.abs(scanned).max())
    fewest = max(FEWEST, HALF * fiducials.count)
    found = find_beads(y, geometry, fiducials)
    if len(found) < fewest:
        return None
    weights = certainty(gaussian_filter(y, (0, NEARBY, NEARBY)))
    fit = first_fit(y, weights, bundle, found, axis, scanned)
    last_round = fit_in_rounds(y, weights, bundle, fit, fewest, n_threads, report)
    if last_round is None or not of_one_kind(last_round[0].beads):
        return None
    fit, only_beads, weights, volume = last_round
    std = spread(fit, rng)
    notes, radius_is_wrong = doubts(only_beads, weights, bundle, fiducials, fit)
    if radius_is_wrong:
        std[2] = np.inf  # a wrong radius passes for a wrong blur
    return BeadCalibration(
        mismatch_of(fit.beads),
        std,
        fit,
        bundle.places(fit.beads),
        found,
        plane_through(fit.beads),
        scanned,
        losses_along(scanned, only_beads, weights, bundle, fit.beads),
        volume,
        notes,
    )


def scanned_gradients(low: float, high: float) -> np.ndarray:
    """Return the g at which fits start, evenly spaced, a little beyond the range ``low`` to ``high``: (N_STARTS,)."""
    margin = BEYOND * (high - low)
    return np.linspace(low - margin, high + margin, N_STARTS)


def first_fit(y, weights, bundle, found, axis, gradients) -> BundleFit:
    """Return the best of short fits to images with all that is in them, one from each of ``gradients``."""
    starts = (Beads(found, np.ones(len(found)), axis, float(g)) for g in gradients)
    return min((bundle.fit(y, start, weights, n_iter=3) for start in starts), key=lambda fit: fit.loss)


def fit_in_rounds(y, weights, bundle, fit, fewest, n_threads, report):
    """Fit the beads, learn what lies under them, take it away and fit again, ``ROUNDS`` times; outliers go first.

    The last fit, the images and weights it was made with, and the volume of what is not bead; or None if fewer than
    ``fewest`` beads are left.
    """
    only_beads, volume = y, None
    for n in range(ROUNDS + 1):
        if n:
            volume, under = background_of(y, bundle, fit.beads, volume, n_threads)
            only_beads, weights = y - under, certainty(under + bundle.render(fit.beads))
        beads = fit.beads.keep(alike(fit.beads))
        if len(beads) < fewest:
            return None
        fit = bundle.fit(only_beads, beads, weights)
        report(f"beads, round {n}" if n else "beads", mismatch_of(fit.beads))
    return fit, only_beads, weights, volume


def losses_along(gradients, images, weights, bundle, beads) -> np.ndarray:
    """Return the loss of the best fit with g held at each of ``gradients``."""
    held = (replace(beads, defocus_gradient=float(g)) for g in gradients)
    return np.array([bundle.fit(images, at, weights, n_iter=2, fixed_gradient=True).loss for at in held])


def background_of(y, bundle, beads, x0, n_threads):
    """Return volume and images of everything but the beads.

    The images are turned back by φ first, so that they need no turning at every iteration; the blur, which differs
    from row to row, hardly notices a turn by less than a degree.
    """
    turn = InPlaneRotation(y.shape[1:], beads.tilt_axis)
    focus = Mismatch(defocus_gradient=beads.defocus_gradient)
    level = TiltSeriesModel(bundle.geometry, mismatch=focus, optics=bundle.optics, n_threads=n_threads)
    seen = bundle.render(replace(beads, tilt_axis=0.0))
    volume, images = background(level, turn.T(y), seen, x0=x0)
    return volume, turn(images)


def certainty(signal: np.ndarray) -> np.ndarray:
    """Return weights 1 / signal, the inverse variance of counting noise up to a factor; see ``LEAST_SIGNAL``."""
    return 1 / np.maximum(signal, LEAST_SIGNAL)


def alike(beads: Beads) -> np.ndarray:
    """Tell which beads are about as bright as most and lie on the plane of most, (n,) bool."""
    from scipy.stats import theilslopes  # here, since it takes a second to load

    middle = np.median(beads.amplitudes)
    bright = np.abs(beads.amplitudes - middle) < SAME_AMPLITUDE * middle
    z, y, _ = beads.positions.T
    slope, height, *_ = theilslopes(z[bright], y[bright])  # beads far off the plane do not tilt it
    above = np.abs(z - height - slope * y)
    return bright & (above < max(STRAY * 1.4826 * np.median(above[bright]), SAME_PLANE))


def of_one_kind(beads: Beads) -> bool:
    """Tell whether fitted beads are equally bright, as those of one batch are and parts of a specimen are not."""
    return bool(beads.amplitudes.std() < ONE_KIND * np.median(beads.amplitudes))


def plane_through(beads: Beads) -> np.ndarray:
    """Return (slope, height) of the least-squares line of z on y."""
    z, y, _ = beads.positions.T
    across = y - y.mean()
    slope = across @ z / max(across @ across, np.finfo(float).tiny)
    return np.array([slope, z.mean() - slope * y.mean()])


def mismatch_of(beads: Beads) -> Mismatch:
    """Return δ from the beads' plane, φ and g as fitted."""
    tilt_angle = -np.rad2deg(np.arctan(plane_through(beads)[0]))
    return Mismatch(float(tilt_angle), beads.tilt_axis, beads.defocus_gradient)


def spread(fit: BundleFit, rng: np.random.Generator) -> np.ndarray:
    """Return standard deviations (δ, φ, g) over beads drawn with replacement, no less than counting noise allows.

    What lies under a bead pulls at all its images alike, so beads, not pixels, are independent. φ and g of a draw are
    one Gauss–Newton step away. n beads, of which two numbers are fitted, scatter √((n − 2)/n) too little.
    """
    n = len(fit.beads)
    matrices, vectors = fit.reduced
    drawn = np.empty((N_RESAMPLED, 3))
    for row in drawn:
        some = rng.integers(n, size=n)
        row[0] = np.rad2deg(np.arctan(plane_through(fit.beads.keep(some))[0]))
        row[1:] = np.linalg.solve(matrices[some].sum(axis=0), vectors[some].sum(axis=0))
    scatter = drawn.std(axis=0) * np.sqrt(n / (n - 2))
    counting = np.sqrt(fit.noise * np.diag(np.linalg.inv(matrices.sum(axis=0))))
    return np.hypot(np.maximum(scatter, [0, *counting]), [0, 0, SHARED])


def doubts(images, weights, bundle, fiducials, fit) -> tuple[tuple[str, ...], bool]:
    """Return where the beads contradict what was declared about them, and whether their radius is in doubt."""
    notes, radius_is_wrong = [], False
    amplitude = float(np.median(fit.beads.amplitudes))
    if len(fit.beads) < ENOUGH * fiducials.count:
        notes.append(f"fiducials: {len(fit.beads)} beads found, {fiducials.count} declared")
    if abs(amplitude - 1) > WRONG:
        # a ball of other radius but the same mass, against one of the same radius and other density
        other = replace(fiducials, radius=fiducials.radius * amplitude ** (1 / 3))
        as_other = Bundle(bundle.geometry, bundle.optics, other, abs(fit.beads.defocus_gradient))
        declared, resized = (b.fit(images, fit.beads, weights).loss for b in (bundle, as_other))
        radius_is_wrong = resized < declared
        guess = (
            f"radius {other.radius:.2g} voxels instead of {fiducials.radius:g}; defocus_gradient not known"
            if radius_is_wrong
            else f"contrast {amplitude * fiducials.contrast:.2g} instead of {fiducials.contrast:g}"
        )
        notes.append(f"fiducials: beads look {amplitude:.2f} times as bright as declared, as if of {guess}")
    return tuple(notes), radius_is_wrong
