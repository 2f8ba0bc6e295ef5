"""etlab: electron tomography, small enough to be read in an afternoon."""

from etlab.compiled import find_place

__version__ = "0.1.0"

find_place()  # before anything imports numba
