"""Objects to be reconstructed: four families of benchmark scenes, and analytic phantoms with exact projections."""

from etlab.phantoms.analytic import ellipsoids, gaussians, shepp_logan
from etlab.phantoms.specimens import SCENES, Fiducials, Film, Specimen, scene, specimen

__all__ = [
    "SCENES",
    "Fiducials",
    "Film",
    "Specimen",
    "ellipsoids",
    "gaussians",
    "scene",
    "shepp_logan",
    "specimen",
]
