"""A page on a reconstruction: its slices, its measurements, and how far it can be trusted.

Matplotlib is imported where something is drawn: if it cannot start, as with a wrong MPLBACKEND, only the page is lost.
"""

from __future__ import annotations

import json
import textwrap
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from etlab.atomic import replacing
from etlab.fsc import resolution
from etlab.io.text import printable
from etlab.io.volumes import check_free, check_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from etlab.pipeline import Reconstruction, Verdict

THRESHOLDS = (0.5, 0.143)  # of the Fourier shell correlation
FLOOR = 1e-8  # of the strongest power, below which the spectrum is drawn black
WORDS = 110  # letters in a line of the verdict
CONTRAST = (0.5, 99.8)  # per cent of the values that are darker than black and white


def page(result: Reconstruction, title: str, verdict: Verdict | None = None) -> Figure:
    """Draw central slices, the Fourier power with the missing wedge, the residuals and the half-set correlation.

    The verdict on the series stands below them, beside the correlation that cannot see what both halves have in common.
    """
    import matplotlib.pyplot as plt

    from etlab import plot

    plot.use_style()
    figure, axes = plt.subplots(2, 3, figsize=(10, 6.8), layout="constrained")
    figure.suptitle(printable(title), parse_math=False)
    sections, nm = result.sections, result.voxel_nm
    shown = {
        "volume[mid, :, :]": (sections.z, ("x, tilt axis", "y")),
        "volume[:, mid, :]": (sections.y, ("x, tilt axis", "z")),
        "volume[:, :, mid]": (sections.x, ("y", "z")),
    }
    for ax, (name, (values, labels)) in zip(axes[0], shown.items(), strict=True):
        black, white = np.percentile(values, CONTRAST)
        plot.show_image(ax, values, title=name, voxel_nm=nm, vmin=black, vmax=white)
        ax.set(xlabel=f"{labels[0]} [nm]", ylabel=f"{labels[1]} [nm]")
    _power(axes[1, 0], result)
    _residuals(axes[1, 1], result)
    _correlation(axes[1, 2], result)
    if verdict:
        words = textwrap.fill(verdict.in_words(), WORDS)
        figure.supxlabel(words, size="medium", color=plot.ACCENT if verdict.suspicions else plot.INK)
    return figure


def numbers(result: Reconstruction, verdict: Verdict | None = None) -> dict:
    """Return the same in numbers, as JSON can hold it: settings, residuals, correlation, resolutions in nm, verdict."""
    about = {
        "etlab": version("etlab"),
        "shape": list(result.shape),
        "voxel_nm": result.voxel_nm,
        "settings": result.settings,
        "slab width": result.plan.width,
        "slabs at a time": result.plan.at_once,
        "most memory of a process [bytes]": result.peak_bytes,
        "residuals": [float(value) for value in result.residuals],
    }
    if verdict:
        words = verdict.in_words()
        about["verdict"] = {"in words": words, **verdict.numbers()}
    if result.fsc is not None:
        frequencies, correlation = result.fsc
        about["fsc"] = {
            "1/nm": (frequencies / result.voxel_nm).tolist(),
            "correlation": correlation.tolist(),
            "resolution [nm]": {str(one): resolution_nm(result, one) for one in THRESHOLDS},
            "no shell below": {str(one): bool(correlation.min() >= one) for one in THRESHOLDS},
        }
    return about


def resolution_nm(result: Reconstruction, threshold: float) -> float | None:
    """Return the length in nm at which the half-set correlation falls below ``threshold``.

    It is two voxels if no shell is below, since shorter lengths are not sampled, and None if all are or there is no
    correlation.
    """
    found = resolution(*result.fsc, threshold) if result.fsc else 0.0
    return result.voxel_nm / min(found, 0.5) if found else None


def in_words(result: Reconstruction, verdict: Verdict | None = None) -> list[str]:
    """Say what was measured, in a few lines; the verdict last."""
    lines = []
    if len(result.residuals):
        lines.append(f"residual before the last iteration: {result.residuals[-1]:.3f}")
    if result.fsc is not None:
        ends = ", ".join(_end(result, threshold) for threshold in THRESHOLDS)
        lines.append(f"Fourier shell correlation of even and odd tilts: {ends}")
    if verdict:
        lines.append(verdict.in_words())
    return lines


def _end(result: Reconstruction, threshold: float) -> str:
    """Say where the half-set correlation ends."""
    nm = resolution_nm(result, threshold)
    if nm is None or result.fsc is None:
        return f"below {threshold} from the start"
    if result.fsc[1].min() >= threshold:
        return f"above {threshold} down to two voxels, {nm:.3g} nm"
    return f"below {threshold} at {nm:.3g} nm"


def check(out: Path, *, overwrite: bool) -> None:
    """Check that volume and report can be written; a report may exist if slabs show that a run was not finished."""
    check_output(out, overwrite=overwrite)
    for path in (out.with_suffix(".png"), out.with_suffix(".json")):
        check_free(path, overwrite or Path(f"{out}.slabs").is_dir())


def write(result: Reconstruction, out: Path, title: str, verdict: Verdict | None = None) -> list[str]:
    """Write the numbers as ``out`` with the ending .json, and the page with .png; each appears whole.

    The volume is there already and must not suffer: what cannot be written is left out, and a sentence on each failure
    is returned.
    """

    def count(part: Path) -> None:
        part.write_text(json.dumps(numbers(result, verdict), indent=1), encoding="utf-8")

    def draw(part: Path) -> None:
        import matplotlib.pyplot as plt

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # of a name in other letters: boxes will do
            figure = page(result, title, verdict)
            try:
                figure.savefig(part, format="png")
            finally:
                plt.close(figure)

    wanted = {".json": count, ".png": draw}
    return [
        failure for ending, make in wanted.items() if (failure := _written(out.with_suffix(ending), make))
    ]


def _written(path: Path, make: Callable[[Path], object]) -> str | None:
    """Have a file made, whole or not at all; say what went wrong, None if nothing did."""
    try:
        with replacing(path) as part:
            make(part)
    except Exception as error:  # whatever a library of figures stumbles over
        return f"{path} could not be written: {type(error).__name__}: {error}"
    return None


def _power(ax: Axes, result: Reconstruction) -> None:
    from etlab import plot

    half = 0.5 / result.voxel_nm
    power = np.maximum(result.power, FLOOR * result.power.max())
    if power.max() > 0:
        power = np.log10(power)
    ax.imshow(power, origin="lower", extent=(-half, half, -half, half), cmap="gray", aspect="equal")
    for tilt in (result.tilts_deg.min(), result.tilts_deg.max()):
        ax.axline(
            (0, 0), (np.cos(np.deg2rad(tilt)), np.sin(np.deg2rad(tilt))), color=plot.ACCENT, lw=1, ls="--"
        )
    ax.set(xlim=(-half, half), ylim=(-half, half), xlabel="f_y [1/nm]", ylabel="f_z [1/nm]")
    ax.locator_params(nbins=4)
    ax.set_title("Fourier power (log), outermost tilts")


def _residuals(ax: Axes, result: Reconstruction) -> None:
    ax.set(title="residual ‖A x − y‖ / ‖y‖", xlabel="iteration")
    if len(result.residuals):
        ax.plot(1 + np.arange(len(result.residuals)), result.residuals, "o-", ms=3)
        ax.set(ylim=(0, None))
    else:
        _nothing(ax, "this method does not iterate")


def _correlation(ax: Axes, result: Reconstruction) -> None:
    from etlab import plot

    ax.set(title="even and odd tilts: FSC", xlabel="frequency [1/nm]")
    if result.fsc is None:
        _nothing(ax, "there is none")
        return
    frequencies, correlation = result.fsc
    ax.plot(frequencies / result.voxel_nm, correlation)
    for threshold in THRESHOLDS:
        found = resolution_nm(result, threshold)
        where = f"{found:.3g} nm" if found else "nowhere above"
        if correlation.min() >= threshold:
            where = "never below"
        ax.axhline(threshold, color=plot.INK, lw=0.8, ls=":")
        ax.text(0, threshold, f" {threshold}: {where}", va="bottom")
    ax.set(xlim=(0, 0.5 / result.voxel_nm), ylim=(min(0, correlation.min()), 1.02))


def _nothing(ax: Axes, why: str) -> None:
    from etlab import plot

    ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes, color=plot.INK)
    ax.set(xticks=[], yticks=[])
