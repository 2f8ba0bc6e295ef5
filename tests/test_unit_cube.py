"""Densities come out in the units they went in: a cube of density 1 is reconstructed with mean 1.

By every row that solves for the volume. A learned row answers with what it saw while it was trained, and no cube was
among that.
"""

import numpy as np
import pytest

from etlab.forward import TiltSeriesModel
from etlab.geometry import TiltGeometry
from etlab.projector import Projector
from etlab.solvers import LEARNED, METHODS

EDGE_NM, FIELD_NM = 14.0, 32.0  # of the cube and of the volume
FULL = np.arange(-90, 90, 3.0)


def cube(voxel_nm):
    """A cube of ``EDGE_NM`` in the middle of the volume: the share of each voxel that it fills."""
    n = round(FIELD_NM / voxel_nm)
    c = (np.arange(n) - (n - 1) / 2) * voxel_nm
    share = np.clip((EDGE_NM / 2 - np.abs(c)) / voxel_nm + 0.5, 0, 1)
    inside = np.abs(c) < EDGE_NM / 2 - 2.5 * voxel_nm
    return (
        (share[:, None, None] * share[:, None] * share).astype(np.float32),
        inside[:, None, None] & inside[:, None] & inside,
    )


@pytest.mark.parametrize("operator", ["projector", "model"])
@pytest.mark.parametrize("voxel_nm", [0.8, 1.0, 1.25])
@pytest.mark.parametrize("name", [name for name in METHODS if name not in LEARNED])
def test_a_unit_cube_has_mean_one(name, voxel_nm, operator):
    truth, inside = cube(voxel_nm)
    n = len(truth)
    geometry = TiltGeometry(FULL, truth.shape, round(1.45 * n), voxel_nm=voxel_nm)
    A = Projector(geometry) if operator == "projector" else TiltSeriesModel(geometry)
    volume = METHODS[name](A, A(truth))
    assert volume[inside].mean() == pytest.approx(1, rel=0.05)
    assert volume.sum() == pytest.approx(truth.sum(), rel=0.05)
    assert volume.sum() * voxel_nm**3 == pytest.approx(EDGE_NM**3, rel=0.05)
