"""Draw the logo, the favicon and the social card into ``assets/``: ``python tools/make_logo.py``.

The picture is what a tilt series knows of the specimen: one line of the Fourier plane for each tilt, and
between the highest tilts the missing wedge. The committed files are this script's output.
"""

from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

ASSETS = Path(__file__).resolve().parent.parent / "assets"
ACCENT = "#d55e00"  # as in etlab/plot.mplstyle
INK = "#2b2b2b"
MAX_TILT_DEG = 60


def draw_lines(ax, *, n_tilts: int, linewidth: float) -> None:
    """The Fourier lines of a tilt series, kz upwards: a line at tilt θ runs along (cos θ, sin θ)."""
    for tilt in np.deg2rad(np.linspace(-MAX_TILT_DEG, MAX_TILT_DEG, n_tilts)):
        along = np.array([-1, 1])
        ax.plot(
            along * np.cos(tilt), along * np.sin(tilt), color=ACCENT, lw=linewidth, solid_capstyle="round"
        )
    ax.set_aspect("equal")
    ax.set_xlim(-1.06, 1.06)
    ax.set_ylim(-1.06, 1.06)
    ax.axis("off")


def mark(path: Path, *, n_tilts: int, linewidth: float, dpi: int) -> None:
    """The bare sign, on a transparent square."""
    figure, ax = plt.subplots(figsize=(1, 1))
    figure.subplots_adjust(0, 0, 1, 1)
    draw_lines(ax, n_tilts=n_tilts, linewidth=linewidth)
    figure.savefig(path, transparent=True, dpi=dpi, metadata={"Date": None} if path.suffix == ".svg" else {})
    plt.close(figure)


def social_card(path: Path) -> None:
    """The picture shown beside a link to the course, 1200 × 630 pixels."""
    figure = plt.figure(figsize=(12, 6.3), facecolor="white")
    draw_lines(figure.add_axes((0.05, 0.16, 0.36, 0.68)), n_tilts=13, linewidth=3.5)
    figure.text(
        0.46, 0.56, "Electron tomography,\nhands on", fontsize=44, color=INK, va="center", linespacing=1.25
    )
    figure.text(0.46, 0.30, "A course in executable pages", fontsize=24, color="#5f5f5f", va="center")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    """Write the three files."""
    plt.rcParams["svg.hashsalt"] = "etlab"  # ids in the SVG are then the same every time
    plt.rcParams["font.family"] = "DejaVu Sans"  # comes with matplotlib, so the card is the same everywhere
    ASSETS.mkdir(exist_ok=True)
    mark(ASSETS / "logo.svg", n_tilts=13, linewidth=1.1, dpi=72)
    mark(ASSETS / "favicon.png", n_tilts=7, linewidth=2.2, dpi=64)
    social_card(ASSETS / "social-card.png")


if __name__ == "__main__":
    main()
