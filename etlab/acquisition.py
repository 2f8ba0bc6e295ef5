"""How a tilt series is taken, beyond its angles: dose, two tilt axes, and what goes wrong on the way.

The angles and their order are in `etlab.geometry`. Here: how the dose is shared over the tilts; a second series about
an axis at right angles to the first; and three faults that real series have and the forward model knows nothing of:
images that drift, a stage with play, and a specimen that the beam eats. Each fault is a function of its own that
changes the angles or the noise-free images of a simulation, so that it can be switched on alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
import scipy.fft

from etlab.arrays import checked
from etlab.blur import gaussian_blur
from etlab.operator import HasSubset, HasSums
from etlab.projector import Projector
from etlab.rotation import odd_length


def dose_weights(tilts_deg: np.ndarray, *, law: str = "even") -> np.ndarray:
    """Return the dose of each image relative to the mean, so that the total is the same for every ``law``.

    Parameters
    ----------
    tilts_deg
        Tilts in degrees, (n_tilts,).
    law
        ``"even"``: the same for all images. ``"1/cos"``: in proportion to the path through a flat specimen, which is
        long at high tilts and, in bright field, lets few electrons through.

    Returns
    -------
    np.ndarray
        Weights with mean 1, (n_tilts,), for the argument of `Detector.expose` of the same name.

    Raises
    ------
    ValueError
        For another law, or for 1/cos at tilts of 89° or more.

    Examples
    --------
    >>> dose_weights([-60, 0, 60], law="1/cos").round(2).tolist()
    [1.2, 0.6, 1.2]
    """
    tilts = np.asarray(tilts_deg, np.float64)
    if law == "even":
        return np.ones(tilts.shape)
    if law != "1/cos":
        raise ValueError(f"law: got {law!r}, expected 'even' or '1/cos'")
    if not (np.abs(tilts) < 89).all():
        raise ValueError(f"tilts_deg: got {np.abs(tilts).max()}°, expected less than 89° for the law 1/cos")
    path = 1 / np.cos(np.deg2rad(tilts))
    return path / path.mean()


class SeriesOperator(HasSums, HasSubset, Protocol):
    """What each of two axes is: an operator with sums and subsets, as `Projector` and `TiltSeriesModel` are.

    Examples
    --------
    >>> from etlab import TiltGeometry
    >>> part: SeriesOperator = Projector(TiltGeometry([-30.0, 0.0, 30.0], (8, 8, 8)))
    >>> part.subset([1]).geometry.tilts_deg.tolist()
    [0.0]
    """

    def subset(self, tilts: np.ndarray | slice | list[int], /) -> SeriesOperator:
        """Return the operator of these tilts: indices, a slice or a mask."""


class Turned:
    """Turn the specimen by 90° about z before ``operator`` sees it: a second tilt axis, at right angles to the first.

    The turn is counter-clockwise as displayed (x right, y up): it takes +x to +y. Adjoint, sums and subsets follow.

    Parameters
    ----------
    operator
        From volumes (nz, n, n) to images (n_tilts, n_rows, n).

    Raises
    ------
    ValueError
        Unless the volume has as many voxels along y as along x.

    Examples
    --------
    >>> from etlab import TiltGeometry
    >>> A = Projector(TiltGeometry([0.0], (8, 8, 8)))
    >>> volume = np.zeros((8, 8, 8), np.float32)
    >>> volume[4, 4, 7] = 1  # at the right
    >>> np.argwhere(Turned(A)(volume)[0]).tolist()  # at the top: row 7
    [[7, 3]]
    """

    def __init__(self, operator: SeriesOperator):
        _, ny, nx = operator.geometry.volume_shape
        if ny != nx:
            raise ValueError(
                f"operator: got volume_shape {operator.geometry.volume_shape}, expected as many voxels along y "
                "as along x, so that images of both axes have one shape"
            )
        self.operator, self.geometry = operator, operator.geometry

    def __call__(self, volume: np.ndarray) -> np.ndarray:
        """Return images (n_tilts, n_rows, nx) of a volume (nz, ny, nx), float32."""
        return self.operator(np.rot90(checked("volume", volume, self.geometry.volume_shape), -1, axes=(1, 2)))

    def T(self, images: np.ndarray) -> np.ndarray:
        """Apply the adjoint: images (n_tilts, n_rows, nx) to a volume (nz, ny, nx), float32."""
        return np.rot90(self.operator.T(images), 1, axes=(1, 2))

    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of the rows and columns of the matrix; see `TiltSeriesModel.sums`."""
        rows, columns = self.operator.sums()
        return rows, np.rot90(np.broadcast_to(columns, self.geometry.volume_shape), 1, axes=(1, 2))

    def subset(self, tilts: np.ndarray | slice | list[int]) -> Turned:
        """Return the same for some of the tilts: indices, a slice or a mask into ``geometry.tilts_deg``."""
        return Turned(self.operator.subset(tilts))

    dot_test = Projector.dot_test


class DualAxis:
    """Combine two tilt series of one specimen, the second after turning it by 90° about z, into one operator.

    ``A(volume)`` is the images of ``first`` followed by those of ``second``; ``A.T`` adds their back-projections.
    ``geometry`` has the tilts of both, in order.

    Parameters
    ----------
    first, second
        A `Projector` or `TiltSeriesModel` each, with a mismatch of its own; see `Turned` for the turn.

    Raises
    ------
    ValueError
        If the two do not see the same specimen on the same detector.

    Notes
    -----
    With Q the turn by 90°::

        A = [A₁; A₂·Q],     Aᵀ = [A₁ᵀ, Qᵀ·A₂ᵀ].

    Iterative solvers need no more; SART takes the tilts one at a time by `subset`. `wbp` takes its weights from all
    tilts together and so returns the mean of the two single reconstructions: what both series have measured has the
    right amplitude, what only one has measured counts half. A method that reads the directions of projection from
    ``geometry``, like Fourier gridding, cannot be used: it would take both axes for one.

    Examples
    --------
    >>> from etlab import TiltGeometry, sirt
    >>> A = Projector(TiltGeometry([-45.0, 0.0, 45.0], (8, 16, 16)))
    >>> both = DualAxis(A, A)
    >>> volume = np.zeros((8, 16, 16), np.float32)
    >>> volume[3:5, 6:10, 6:10] = 1
    >>> both(volume).shape
    (6, 16, 16)
    >>> sirt(both, both(volume), n_iter=2).shape
    (8, 16, 16)
    """

    def __init__(self, first: SeriesOperator, second: SeriesOperator):
        for name, operator in (("first", first), ("second", second)):
            if operator.geometry.volume_shape != first.geometry.volume_shape:
                raise ValueError(
                    f"{name}: got volume_shape {operator.geometry.volume_shape}, expected that of first, "
                    f"{first.geometry.volume_shape}"
                )
            if operator.geometry.images_shape[1:] != first.geometry.images_shape[1:]:
                raise ValueError(
                    f"{name}: got images of {operator.geometry.images_shape[1:]} pixels, expected "
                    f"{first.geometry.images_shape[1:]}, those of first"
                )
        self.parts = (first, Turned(second))
        tilts = np.concatenate([part.geometry.tilts_deg for part in self.parts])
        self.geometry = replace(first.geometry, tilts_deg=tilts)

    def __call__(self, volume: np.ndarray) -> np.ndarray:
        """Return images (n_first + n_second, n_rows, nx) of a volume (nz, ny, nx), float32."""
        return np.concatenate([part(volume) for part in self.parts])

    def T(self, images: np.ndarray) -> np.ndarray:
        """Apply the adjoint: images (n_first + n_second, n_rows, nx) to a volume (nz, ny, nx), float32."""
        images = checked("images", images, self.geometry.images_shape)
        n_first = self.parts[0].geometry.n_tilts
        volume = self.parts[0].T(images[:n_first])
        volume += self.parts[1].T(images[n_first:])
        return volume

    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of the rows and columns of the matrix, as images and volume; see `TiltSeriesModel.sums`."""
        (rows, columns), (more_rows, more_columns) = (part.sums() for part in self.parts)
        images_shape = self.geometry.images_shape[1:]
        both = [np.broadcast_to(some, (len(some), *images_shape)) for some in (rows, more_rows)]
        return np.concatenate(both), columns + more_columns

    def subset(self, tilts: np.ndarray | slice | list[int]) -> SeriesOperator:
        """Return the operator for some of the tilts: indices, a slice or a mask into ``geometry.tilts_deg``.

        Raises
        ------
        ValueError
            If a tilt of the second series comes before one of the first.
        """
        n_first = self.parts[0].geometry.n_tilts
        chosen = np.atleast_1d(np.arange(self.geometry.n_tilts)[tilts])
        of_second = chosen >= n_first
        if (of_second[:-1] & ~of_second[1:]).any():
            raise ValueError(
                "tilts: got one of the second series before one of the first, expected first, second"
            )
        first, second = self.parts
        if of_second.all():
            return second.subset(chosen - n_first)
        if not of_second.any():
            return first.subset(chosen)
        return DualAxis(first.subset(chosen[~of_second]), second.operator.subset(chosen[of_second] - n_first))

    dot_test = Projector.dot_test


def drift(order: np.ndarray, rng: np.random.Generator | int, *, step_px: float = 1.0) -> np.ndarray:
    """Return the shift of each image by a drift of the specimen: a random walk in the order of acquisition.

    Parameters
    ----------
    order
        Indices of the images as they are taken, (n_tilts,), e.g. from `dose_symmetric_order`.
    rng
        Generator of the walk, or its seed.
    step_px
        Standard deviation, in pixels along each direction, of the normal step from one image to the next. The first
        image does not move.

    Returns
    -------
    np.ndarray
        Shifts in pixels, (n_tilts, 2) as (rows, x).

    Raises
    ------
    ValueError
        For a negative step or an order that does not take each image once.

    Examples
    --------
    >>> shifts = drift([1, 2, 0], rng=0, step_px=0.5)
    >>> shifts.shape, shifts[1].tolist()  # image 1 comes first
    ((3, 2), [0.0, 0.0])
    """
    order = _checked_order(order, len(order))
    if not step_px >= 0:
        raise ValueError(f"step_px: got {step_px}, expected a length in pixels ≥ 0")
    steps = np.random.default_rng(rng).normal(0, step_px, (order.size, 2))
    steps[0] = 0
    shifts = np.empty_like(steps)
    shifts[order] = np.cumsum(steps, axis=0)
    return shifts


def shifted(images: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Move the content of images by fractions of a pixel; vacated pixels become zero.

    Band-limited, so that a fraction of a pixel costs no sharpness. What leaves the field is lost.

    Parameters
    ----------
    images
        Shape (n_tilts, n_rows, nx), floating.
    shifts
        (rows, x) in pixels, up and to the right, (n_tilts, 2).

    Returns
    -------
    np.ndarray
        Shape of ``images``, float32.

    Raises
    ------
    ValueError
        If there is not one pair of finite shifts for each image.

    Examples
    --------
    >>> images = np.zeros((1, 8, 8), np.float32)
    >>> images[0, 2, 3] = 1
    >>> np.argwhere(shifted(images, [(2, 1)])[0] > 0.5).tolist()
    [[4, 4]]
    """
    images = checked("images", np.asarray(images), np.shape(images))
    shifts = np.asarray(shifts, np.float64)
    if shifts.shape != (len(images), 2) or not np.isfinite(shifts).all():
        raise ValueError(
            f"shifts: got shape {shifts.shape}, expected finite {(len(images), 2)}, (rows, x) each"
        )
    moved = np.empty_like(images)
    margin = int(np.ceil(np.abs(shifts).max())) + 1  # so that nothing comes in again on the other side
    shape = tuple(odd_length(n + margin) for n in images.shape[1:])
    rows, x = scipy.fft.fftfreq(shape[0])[:, None], scipy.fft.rfftfreq(shape[1])
    for image, (up, right), out in zip(images, shifts, moved, strict=True):
        spectrum = scipy.fft.rfft2(image, shape)
        spectrum *= np.exp(-2j * np.pi * (rows * up + x * right)).astype(np.complex64)
        out[:] = scipy.fft.irfft2(spectrum, shape)[: out.shape[0], : out.shape[1]]
    return moved


def backlash(tilts_deg: np.ndarray, order: np.ndarray, *, play_deg: float) -> np.ndarray:
    """Return the angles that a stage with play really takes.

    Parameters
    ----------
    tilts_deg
        Angles that were asked for in degrees, (n_tilts,).
    order
        Indices of the images as they are taken, (n_tilts,).
    play_deg
        Play of the stage in degrees.

    Returns
    -------
    np.ndarray
        Angles in degrees, (n_tilts,), in the order of ``tilts_deg``.

    Raises
    ------
    ValueError
        For an order that does not take each image once, or a negative play.

    Notes
    -----
    The stage is calibrated in the direction of its first move. Whenever it is driven the other way it stops short by
    ``play_deg``, so the images taken on a way back are at θ + play (or θ − play if the first move was downwards). A
    series taken in one sweep is not affected, a dose-symmetric one is at every other image.

    Examples
    --------
    >>> backlash([-2.0, 0.0, 2.0], order=[1, 2, 0], play_deg=0.5).tolist()
    [-1.5, 0.0, 2.0]
    """
    tilts = np.array(tilts_deg, np.float64)
    order = _checked_order(order, tilts.size)
    if not 0 <= play_deg < np.inf:
        raise ValueError(f"play_deg: got {play_deg}, expected an angle in degrees ≥ 0")
    directions = np.sign(np.diff(tilts[order]))
    moves = directions[directions != 0]
    forwards = moves[0] if moves.size else 1.0
    direction = forwards
    for index, move in zip(order[1:], directions, strict=True):
        direction = move or direction  # the same angle again: the stage does not move
        if direction != forwards:
            tilts[index] += forwards * play_deg
    return tilts


def accumulated_dose(weights: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the share of the total dose that the specimen has had half-way through each image.

    Parameters
    ----------
    weights
        Relative doses as from `dose_weights`, (n_tilts,), in the order of the images.
    order
        Indices of the images as they are taken, (n_tilts,).

    Returns
    -------
    np.ndarray
        Shares in 0 … 1, (n_tilts,), in the order of the images.

    Raises
    ------
    ValueError
        For an order that does not take each image once.

    Examples
    --------
    >>> accumulated_dose([1, 1, 2], order=[2, 0, 1]).tolist()
    [0.625, 0.875, 0.25]
    """
    weights = np.asarray(weights, np.float64)
    order = _checked_order(order, weights.size)
    share = np.empty_like(weights)
    share[order] = np.cumsum(weights[order]) - weights[order] / 2
    return share / weights.sum()


def damaged(
    images: np.ndarray, accumulated: np.ndarray, *, mass_loss: float = 0.1, blur_px: float = 0.5
) -> np.ndarray:
    """Return the images of a specimen that the beam eats and that spreads as it goes.

    Parameters
    ----------
    images
        Noise-free line integrals (n_tilts, n_rows, nx), floating.
    accumulated
        Share of the total dose received before each image, (n_tilts,), see `accumulated_dose`.
    mass_loss
        Fraction of the mass that is lost over the whole series.
    blur_px
        Standard deviation of the blur at the end of the series, in pixels.

    Returns
    -------
    np.ndarray
        Shape of ``images``, float32.

    Raises
    ------
    ValueError
        Unless 0 ≤ mass_loss < 1, blur_px ≥ 0 and there is one share in 0 … 1 for each image.

    Notes
    -----
    After a share a of the total dose are left::

        mass = (1 − mass_loss)ᵃ,     features spread as by diffusion: σ² = blur_px²·a.

    Both depend on the dose, not on the tilt: the same images come out differently for another order of acquisition.

    Examples
    --------
    >>> images = np.ones((2, 8, 8), np.float32)
    >>> damaged(images, [0.0, 1.0], mass_loss=0.2)[:, 4, 4].round(3).tolist()
    [1.0, 0.800000011920929]
    """
    images = checked("images", np.asarray(images), np.shape(images))
    accumulated = np.asarray(accumulated, np.float64)
    if accumulated.shape != (len(images),) or not ((accumulated >= 0) & (accumulated <= 1)).all():
        raise ValueError(
            f"accumulated: got shape {accumulated.shape}, expected {len(images)} shares in 0 … 1, one per image"
        )
    if not 0 <= mass_loss < 1:
        raise ValueError(f"mass_loss: got {mass_loss}, expected a fraction in [0, 1)")
    if not 0 <= blur_px < np.inf:
        raise ValueError(f"blur_px: got {blur_px}, expected a length in pixels ≥ 0")
    left = np.empty_like(images)
    for image, share, out in zip(images, accumulated, left, strict=True):
        out[:] = gaussian_blur(image, blur_px * np.sqrt(share))
        out *= (1 - mass_loss) ** share
    return left


def _checked_order(order, n_tilts):
    order = np.asarray(order)
    if sorted(order.tolist()) != list(range(n_tilts)):
        raise ValueError(f"order: got {order.tolist()}, expected each of 0 … {n_tilts - 1} once")
    return order
