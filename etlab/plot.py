"""Figures: one style sheet, and pictures whose axes follow the conventions of `etlab.geometry`.

Rows and z increase upwards, the tilt axis x and the direction y run to the right. Every axis carries its
unit: pixels, or nanometres where ``voxel_nm`` is given; degrees for tilts.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc, FancyArrowPatch, Polygon
from matplotlib.transforms import Affine2D

if TYPE_CHECKING:  # drawing must not wait for numba
    from etlab.calibration import Calibration
    from etlab.forward import Detector, TiltSeriesModel
    from etlab.geometry import TiltGeometry

INK = "#767676"  # as in plot.mplstyle
ACCENT = "#D55E00"


def use_style() -> None:
    """Use the course's style sheet for all figures from here on.

    Examples
    --------
    >>> use_style()
    >>> plt.rcParams["figure.dpi"]
    144.0
    """
    plt.style.use(str(files("etlab") / "plot.mplstyle"))


def show_image(
    ax: Axes | None,
    image: np.ndarray,
    *,
    title: str | None = None,
    voxel_nm: float | None = None,
    cmap: str = "gray",
    vmin: float | None = None,
    vmax: float | None = None,
) -> Axes:
    """Draw one image, rows upwards.

    Parameters
    ----------
    ax
        Axes to draw in; new ones if None.
    image
        Shape (n_rows, nx).
    title
        Title of the axes.
    voxel_nm
        Edge of a pixel in nm, for axes in nanometres. Default: axes in pixels.
    cmap
        Colour map of matplotlib.
    vmin, vmax
        Values shown black and white. Default: the least and the greatest.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If the image is not two-dimensional.

    Examples
    --------
    >>> show_image(None, np.zeros((16, 32)), voxel_nm=0.5).get_xlabel()
    'x, tilt axis [nm]'
    """
    return _show(ax, image, ("x, tilt axis", "row"), title, voxel_nm, cmap, vmin, vmax)


def show_slice(
    ax: Axes | None,
    slice_: np.ndarray,
    *,
    title: str | None = None,
    voxel_nm: float | None = None,
    cmap: str = "gray",
    vmin: float | None = None,
    vmax: float | None = None,
) -> Axes:
    """Draw one slice perpendicular to the tilt axis, ``volume[:, :, i]``, z upwards.

    Parameters
    ----------
    ax
        Axes to draw in; new ones if None.
    slice_
        Shape (nz, ny).
    title
        Title of the axes.
    voxel_nm
        Edge of a voxel in nm, for axes in nanometres. Default: axes in pixels.
    cmap
        Colour map of matplotlib.
    vmin, vmax
        Values shown black and white. Default: the least and the greatest.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If the slice is not two-dimensional.

    Examples
    --------
    >>> show_slice(None, np.zeros((16, 32))).get_ylabel()
    'z [px]'
    """
    return _show(ax, slice_, ("y", "z"), title, voxel_nm, cmap, vmin, vmax)


def show_sinogram(
    ax: Axes | None,
    sinogram: np.ndarray,
    tilts_deg: np.ndarray,
    *,
    title: str | None = None,
    voxel_nm: float | None = None,
    cmap: str = "gray",
) -> Axes:
    """Draw a sinogram, ``images[:, :, i]``, one line for each tilt.

    Parameters
    ----------
    ax
        Axes to draw in; new ones if None.
    sinogram
        Shape (n_tilts, n_rows).
    tilts_deg
        Ascending tilts in degrees, (n_tilts,); they need not be evenly spaced.
    title
        Title of the axes.
    voxel_nm
        Edge of a pixel in nm, for axes in nanometres. Default: axes in pixels.
    cmap
        Colour map of matplotlib.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If there is not one angle for each line.

    Examples
    --------
    >>> show_sinogram(None, np.zeros((3, 16)), [-10, 0, 10]).get_ylabel()
    'tilt θ [°]'
    """
    sinogram = _two_dimensional(sinogram)
    if np.shape(tilts_deg) != sinogram.shape[:1]:
        raise ValueError(
            f"tilts_deg: got shape {np.shape(tilts_deg)}, expected {sinogram.shape[:1]}, one per line"
        )
    ax = plt.subplots()[1] if ax is None else ax
    pixel, unit = (1.0, "px") if voxel_nm is None else (voxel_nm, "nm")
    rows = np.arange(sinogram.shape[1]) * pixel
    ax.pcolormesh(rows, tilts_deg, sinogram, cmap=cmap, shading="nearest", rasterized=True)
    ax.set(xlabel=f"row [{unit}]", ylabel="tilt θ [°]", title=title)
    return ax


def conventions(tilt_deg: float = 30.0) -> Figure:
    """Draw beam, specimen, tilt axis, detector and the sign of θ, and where one voxel lands in the image.

    Left: seen along the tilt axis x, which points at the reader. Right: the image that the detector records.

    Parameters
    ----------
    tilt_deg
        θ in degrees.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels.

    Examples
    --------
    >>> len(conventions(30.0).axes)
    2
    """
    theta = np.deg2rad(tilt_deg)
    # The formula s = y cos θ + z sin θ in this drawing: y and z turn clockwise by θ, and s runs to the right.
    along_y = np.array([np.cos(theta), -np.sin(theta)])
    along_z = np.array([np.sin(theta), np.cos(theta)])
    y, z = 1.2, 0.3
    s = y * np.cos(theta) + z * np.sin(theta)
    point = y * along_y + z * along_z

    figure, (side, image) = plt.subplots(1, 2, figsize=(6.8, 3.6), width_ratios=(1.35, 1))
    _arrow(side, (-2.6, 2.7), (-2.6, 1.5), "beam", at=(-2.45, 2.1))
    for x in np.linspace(-1.6, 1.6, 5):
        side.plot([x, x], [2.7, -2.1], color=INK, lw=0.7, alpha=0.5)
    corners = [(-1.7, -0.5), (1.7, -0.5), (1.7, 0.5), (-1.7, 0.5)]
    slab = Polygon(
        [a * along_y + b * along_z for a, b in corners], facecolor=INK, alpha=0.3, edgecolor="none"
    )
    side.add_patch(slab)
    _arrow(side, (0, 0), tuple(2.5 * along_y), "y", at=tuple(2.75 * along_y))
    _arrow(side, (0, 0), tuple(1.9 * along_z), "z", at=tuple(2.15 * along_z))
    side.plot([0, 2.6], [0, 0], color=INK, lw=0.8, ls=":")
    side.add_patch(Arc((0, 0), 4.4, 4.4, theta1=-tilt_deg, theta2=0, color=ACCENT, lw=1.6))
    side.text(2.35, -0.62, "θ > 0", color=ACCENT, ha="left", va="center")
    side.plot(0, 0, "o", ms=9, mfc="none", color=INK)
    side.plot(0, 0, "o", ms=3, color=INK)
    side.text(-0.2, 0.05, "x", ha="right", va="bottom")
    side.plot(*point, "o", color=ACCENT)
    side.plot([point[0], s], [point[1], -2.1], color=ACCENT, ls="--", lw=1.2)
    _arrow(side, (-2.0, -2.1), (2.5, -2.1), "s", at=(2.7, -2.1))
    side.plot([0, 0], [-2.2, -2.0], color=INK)
    side.plot(s, -2.1, "o", color=ACCENT)
    side.text(0.1, -2.3, "detector: s = y cos θ + z sin θ", ha="center", va="top")
    side.set(xlim=(-3.0, 3.3), ylim=(-2.8, 2.9), aspect="equal", title="seen along the tilt axis x")
    side.axis("off")

    _recorded(image, s)
    return figure


def _recorded(ax, s):
    """Draw the image of one voxel that lands on row s."""
    ax.axhline(0, color=INK, ls=":", lw=0.8)
    ax.text(-1.9, 0.08, "tilt axis", ha="left", va="bottom")
    ax.plot(0.5, s, "o", color=ACCENT)
    ax.plot([0.5, 0.5], [0, s], color=ACCENT, ls="--", lw=1.2)
    ax.text(0.62, s / 2, "s", color=ACCENT, va="center")
    ax.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal", xticks=[], yticks=[])
    ax.set(xlabel="x →", ylabel="row →", title="the image")


def signal_chain(
    volume: np.ndarray,
    model: TiltSeriesModel,
    detector: Detector,
    rng: np.random.Generator | int,
    *,
    tilt: int = 0,
) -> Figure:
    """Draw what becomes of a volume on its way to one image, one panel for each operator.

    The last panel is what ``model.mismatch`` changes in the noise-free image: all that a calibration has to go by.

    Parameters
    ----------
    volume
        Shape (nz, ny, nx).
    model
        The model of the microscope, with its mismatch.
    detector
        Adds the noise.
    rng
        Generator of the noise, or its seed.
    tilt
        Index of the image.

    Returns
    -------
    matplotlib.figure.Figure
        Six panels.

    Examples
    --------
    >>> from etlab import Detector, Mismatch, TiltGeometry, TiltSeriesModel
    >>> model = TiltSeriesModel(TiltGeometry([0.0, 30.0], (16, 32, 32)), mismatch=Mismatch(tilt_axis=2.0))
    >>> volume = np.zeros((16, 32, 32), np.float32)
    >>> volume[6:10, 10:22, 4:28] = 1
    >>> len(signal_chain(volume, model, Detector(), rng=0, tilt=1).axes)
    6
    """
    one = model.subset(np.array([tilt]))
    projected = one.projector(volume)
    turned = one.rotation(projected)
    blurred = one.blur(turned)
    recorded = detector.expose(blurred, rng)
    missed = blurred - one.with_mismatch(None)(volume)
    nominal, error = float(one.geometry.tilts_deg[0]), model.mismatch

    figure, axes = plt.subplots(2, 3, figsize=(6.8, 5.2))
    specimen, *images, difference = axes.flat
    half = max(model.geometry.images_shape[1:]) / 2
    _in_the_beam(specimen, volume[:, :, volume.shape[2] // 2], nominal + error.tilt_angle, half)
    specimen.set(title=f"R: specimen at\n{nominal:g}° + δ, δ = {error.tilt_angle:g}°", xlabel="s →")
    stages = [
        (projected, "P, Π: projection"),
        (turned, f"R: tilt axis turned\nby φ = {error.tilt_axis:g}°"),
        (blurred, f"D: focus changes by\ng = {error.defocus_gradient:g} nm/µm"),
        (recorded, "D: counting noise"),
    ]
    top = float(projected.max())
    for ax, (image, title) in zip(images, stages, strict=True):
        show_image(ax, image[0], title=title, vmin=0, vmax=top)
    largest = float(np.abs(missed).max())
    show_image(difference, missed[0], title="what δ, φ, g change", cmap="RdBu_r", vmin=-largest, vmax=largest)
    for ax in (*images, difference):
        ax.set(xticks=[], yticks=[], xlabel="x →", ylabel="row →")
    return figure


def _in_the_beam(ax, slice_, tilt_deg, half):
    """Draw a slice as it is tilted in the beam, in a field of ± ``half`` voxels."""
    nz, ny = slice_.shape
    ax.imshow(
        slice_,
        extent=(-ny / 2, ny / 2, -nz / 2, nz / 2),
        transform=Affine2D().rotate_deg(-tilt_deg) + ax.transData,
    )
    for s in (-0.5 * half, 0, 0.5 * half):
        ax.annotate("", (s, 0.66 * half), (s, half), arrowprops={"arrowstyle": "-|>", "color": INK})
    ax.set(xlim=(-half, half), ylim=(-half, half), aspect="equal", xticks=[], yticks=[])
    ax.spines["left"].set_visible(False)


def _two_dimensional(array):
    array = np.asarray(array)
    if array.ndim != 2:
        raise ValueError(f"image: got shape {array.shape}, expected two axes")
    return array


def _show(ax, image, names, title, voxel_nm, cmap, vmin, vmax):
    image = _two_dimensional(image)
    ax = plt.subplots()[1] if ax is None else ax
    pixel, unit = (1.0, "px") if voxel_nm is None else (voxel_nm, "nm")
    (n_up, n_right), half = image.shape, 0.5
    extent = [edge * pixel for edge in (-half, n_right - half, -half, n_up - half)]
    ax.imshow(image, origin="lower", extent=extent, cmap=cmap, vmin=vmin, vmax=vmax, interpolation="nearest")
    ax.set(xlabel=f"{names[0]} [{unit}]", ylabel=f"{names[1]} [{unit}]", title=title)
    return ax


def _arrow(ax, start, end, label, *, at):
    ax.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=11, color=INK, lw=1.2, shrinkA=0, shrinkB=0
        )
    )
    ax.text(*at, label, ha="center" if label != "beam" else "left", va="center")


def gallery(rows: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Draw slices side by side, in grey from 0 to 1.

    Parameters
    ----------
    rows
        A row of pictures for each key: slices (nz, ny) by their titles.

    Returns
    -------
    matplotlib.figure.Figure
        One panel for each slice.

    Examples
    --------
    >>> slice_ = np.zeros((16, 32))
    >>> len(gallery({"nanorods": {"truth": slice_, "SIRT": slice_}}).axes)
    2
    """
    n_columns = max(len(row) for row in rows.values())
    fig, axes = plt.subplots(
        len(rows), n_columns, figsize=(6.4, 1.1 * len(rows)), layout="constrained", squeeze=False
    )
    for row_axes, (name, row) in zip(axes, rows.items(), strict=True):
        for ax, (title, slice_) in zip(row_axes, row.items(), strict=True):
            show_slice(ax, slice_, title=title, vmin=0, vmax=1)
            ax.set(xlabel="", ylabel="", xticks=[], yticks=[])
        row_axes[0].set_ylabel(name)
    return fig


def calibration(result: Calibration, images: np.ndarray, geometry: TiltGeometry) -> Figure:
    """Draw what a calibration is based on, in four panels.

    With beads: those found, in the image of the lowest tilt; the residual of each, 1 where only counting noise is
    left; the scan of g; the plane whose slope is δ. Without: the border-by-border estimates of the film instead, the
    predictions of cross-validation, and the steps of g.

    Parameters
    ----------
    result
        What `etlab.calibrate` returned.
    images
        The images (n_tilts, n_rows, nx) that it was made of.
    geometry
        Their nominal geometry.

    Returns
    -------
    matplotlib.figure.Figure
        Four panels.

    Examples
    --------
    >>> from etlab import Calibration, Mismatch, TiltGeometry
    >>> from etlab.calibration import Std
    >>> from etlab.calibration.estimate import Estimate
    >>> tried = Estimate(0.4, 0.1, np.array([0.2, 0.4, 0.6]), np.array([2.0, 1.0, 2.0]))
    >>> found = {"mode": "no beads", "film": tried, "axis": tried, "moments": tried}
    >>> result = Calibration(Mismatch(tilt_axis=0.4), Std(0.1, 0.1, 0.1), (), found)
    >>> geometry = TiltGeometry([-10.0, 0.0, 10.0], (16, 32, 32))
    >>> len(calibration(result, np.zeros(geometry.images_shape), geometry).axes)
    4
    """
    fig, axes = plt.subplots(2, 2, figsize=(6.4, 5.4), layout="constrained")
    lowest = int(np.abs(geometry.tilts_deg).argmin())
    show_image(axes[0, 0], images[lowest], title=f"image at {geometry.tilts_deg[lowest]:.0f}°")
    draw = _bead_panels if result.diagnostics["mode"] == "beads" else _beadless_panels
    draw(axes, result, lowest)
    return fig


def _bead_panels(axes, result, lowest):
    found = result.diagnostics["beads"]
    beads = found.fit.beads
    row, column = found.places[:, lowest].T
    axes[0, 0].scatter(column, row, s=90, facecolors="none", edgecolors=ACCENT, linewidths=1.2)
    axes[0, 1].plot(np.sqrt(found.fit.misfit.mean(axis=1)), "o", ms=4)
    axes[0, 1].axhline(1, color=INK, lw=0.8)
    axes[0, 1].set(xlabel="bead", ylabel="RMS residual / noise", ylim=(0, None), title=f"{len(beads)} beads")
    rise = (found.losses - found.losses.min()) / found.fit.noise
    axes[1, 0].plot(found.gradients, rise, "o-", ms=4)
    _estimate(axes[1, 0], result, "defocus_gradient", "g [nm/µm]", "misfit above the least [χ²]")
    z, y, _ = beads.positions.T
    across = np.array([y.min(), y.max()])
    axes[1, 1].plot(y, z, "o", ms=4)
    axes[1, 1].plot(across, np.polyval(found.plane, across), color=INK, lw=1)
    title = f"δ = {result.mismatch.tilt_angle:.2f} ± {result.std.tilt_angle:.2f}°"
    axes[1, 1].set(xlabel="y [voxels]", ylabel="z [voxels]", title=title)


def _beadless_panels(axes, result, lowest):
    film, axis, moments = (result.diagnostics[name] for name in ("film", "axis", "moments"))
    axes[0, 1].plot(film.trials, "o", ms=4)
    known = np.isfinite(film.std)
    title = f"δ = {film.value:.2f} ± {film.std:.2f}°" if known else "no flat film: δ not known"
    axes[0, 1].set(xlabel="strip along the axis", ylabel="δ from its borders [°]", title=title)
    order = np.argsort(axis.trials)
    axes[1, 0].plot(axis.trials[order], 100 * (axis.losses[order] / axis.losses.min() - 1), "o-", ms=4)
    _estimate(axes[1, 0], result, "tilt_axis", "φ [°]", "prediction error above the least [%]")
    axes[1, 1].plot(1 + np.arange(len(moments.trials)), moments.trials, "o-", ms=4)
    title = f"g = {moments.value:.1f} ± {moments.std:.1f} nm/µm"
    axes[1, 1].set(xlabel="step", ylabel="g [nm/µm]", title=title)


def _estimate(ax, result, parameter, label, loss):
    value, std = getattr(result.mismatch, parameter), result.std[parameter]
    ax.axvspan(value - std, value + std, color=ACCENT, alpha=0.25, lw=0)
    name, unit = label.split(" ", 1)
    ax.set(
        xlabel=label,
        ylabel=loss,
        title=f"{name} = {value:.2f} ± {std:.2f} {unit.strip('[]')}",
        ylim=(0, None),
    )
