"""Reconstruction methods, one file per family, each a plain function ``(operator, images, *, options) -> volume``.

The pieces that chapters take apart, such as `ramp_filter`, are offered beside those of ``__all__``.
"""

from typing import TYPE_CHECKING

from etlab.lazy import getter

if TYPE_CHECKING:
    from etlab.solvers import learned
    from etlab.solvers._genfire import genfire
    from etlab.solvers._sart import sart
    from etlab.solvers._sirt import sirt
    from etlab.solvers._tv import tv
    from etlab.solvers._wbp import wbp
    from etlab.solvers.common import Status
    from etlab.solvers.methods import LEARNED, METHODS

__all__ = ["LEARNED", "METHODS", "Status", "genfire", "learned", "sart", "sirt", "tv", "wbp"]

__getattr__ = getter(
    __name__,
    {
        "_genfire": ["genfire", "frequencies", "gridded", "resolution_limit"],
        "_sart": ["sart", "golden_order"],
        "_sirt": ["sirt"],
        "_tv": ["tv"],
        "_wbp": ["wbp", "WINDOWS", "exact_filters", "ramp_filter", "tilt_weights"],
        "common": ["Status"],
        "learned": [],
        "methods": ["LEARNED", "METHODS"],
    },
)
