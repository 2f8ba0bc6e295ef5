"""etlab: electron tomography, from the projector to blind calibration.

The names below come on first use, so that importing `etlab` takes no time; all others are in its modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etlab.compiled import find_place
from etlab.lazy import getter
from etlab.moved import find_moved

if TYPE_CHECKING:
    from etlab.alignment import Alignment, align
    from etlab.calibration import Calibration, calibrate
    from etlab.data import needle
    from etlab.forward import Detector, Mismatch, Optics, TiltSeriesModel
    from etlab.geometry import TiltGeometry, linear_tilts
    from etlab.io import open_series, read_series, read_volume, write_mrc
    from etlab.metrics import psnr, ssim
    from etlab.operator import Operator, as_linear_operator
    from etlab.phantoms import specimen
    from etlab.projector import Projector
    from etlab.solvers import METHODS, genfire, sart, sirt, tv, wbp

__version__ = "0.1.0"
HOMES = {  # module: the names that `etlab` offers of it
    "geometry": ("TiltGeometry", "linear_tilts"),
    "operator": ("Operator", "as_linear_operator"),
    "projector": ("Projector",),
    "forward": ("Detector", "Mismatch", "Optics", "TiltSeriesModel"),
    "phantoms": ("specimen",),
    "solvers": ("METHODS", "genfire", "sart", "sirt", "tv", "wbp"),
    "metrics": ("psnr", "ssim"),
    "alignment": ("Alignment", "align"),
    "calibration": ("Calibration", "calibrate"),
    "io": ("open_series", "read_series", "read_volume", "write_mrc"),
    "data": ("needle",),
}
__all__ = [
    "METHODS",
    "Alignment",
    "Calibration",
    "Detector",
    "Mismatch",
    "Operator",
    "Optics",
    "Projector",
    "TiltGeometry",
    "TiltSeriesModel",
    "align",
    "as_linear_operator",
    "calibrate",
    "genfire",
    "linear_tilts",
    "needle",
    "open_series",
    "psnr",
    "read_series",
    "read_volume",
    "sart",
    "sirt",
    "specimen",
    "ssim",
    "tv",
    "wbp",
    "write_mrc",
]

find_place()  # before anything imports numba
find_moved()


__getattr__ = getter(__name__, HOMES)


def __dir__() -> list[str]:
    """List the names that come on first use, too."""
    return sorted({*globals(), *__all__})
