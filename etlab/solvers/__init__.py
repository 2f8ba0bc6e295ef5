"""Reconstruction methods, one file per family, each a plain function ``(operator, images, *, options) -> volume``."""

from etlab.solvers import learned
from etlab.solvers.common import Status
from etlab.solvers.genfire import genfire
from etlab.solvers.methods import LEARNED, METHODS
from etlab.solvers.sart import sart
from etlab.solvers.sirt import sirt
from etlab.solvers.tv import tv
from etlab.solvers.wbp import wbp

__all__ = ["LEARNED", "METHODS", "Status", "genfire", "learned", "sart", "sirt", "tv", "wbp"]
