"""Draw ``assets/readme.png``: one column of the needle's tilt series and the slice reconstructed from it.

``python tools/make_readme_picture.py`` fetches the data where they are not cached. The committed picture is its output.
"""

from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
from PIL import Image

from etlab import plot
from etlab.data import needle
from etlab.geometry import TiltGeometry
from etlab.projector import Projector
from etlab.solvers import wbp

PICTURE = Path(__file__).resolve().parent.parent / "assets" / "readme.png"
COLUMN = 128


def main() -> None:
    """Reconstruct one slice and draw the three steps beside each other."""
    series = needle()
    n_tilts, n_rows, _ = series.aligned.shape
    column = series.aligned[:, :, COLUMN : COLUMN + 1]
    geometry = TiltGeometry(
        tilts_deg=series.tilts_deg,
        volume_shape=(n_rows, n_rows, 1),
        n_rows=n_rows,
        voxel_nm=series.pixel_nm,
    )
    volume = wbp(Projector(geometry), column)

    plot.use_style()
    plt.rcParams["savefig.transparent"] = False  # the file is looked at where nobody knows the page's colour
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), facecolor="white")
    plot.show_image(axes[0], series.aligned[n_tilts // 2], title="The needle at 0°", voxel_nm=series.pixel_nm)
    axes[0].axvline(COLUMN * series.pixel_nm, color="C0", linewidth=1)
    plot.show_sinogram(
        axes[1],
        column[:, :, 0],
        series.tilts_deg,
        title=f"One column, {n_tilts} tilts",
        voxel_nm=series.pixel_nm,
    )
    plot.show_slice(axes[2], volume[:, :, 0], title="The slice behind it", voxel_nm=series.pixel_nm)

    drawn = BytesIO()
    figure.savefig(drawn, dpi=110, facecolor="white")
    Image.open(drawn).convert("RGB").quantize(128).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
