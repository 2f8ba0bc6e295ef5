"""etlab: electron tomography, projector, forward model, solvers, calibration, and what a course needs around them."""

from etlab.compiled import find_place
from etlab.moved import find_moved

__version__ = "0.1.0"

find_place()  # before anything imports numba
find_moved()
