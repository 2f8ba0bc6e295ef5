"""HDF5 files of several programs: which axis is which, where the angles are, and which of them were measured."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from etlab.io import open_series, open_stack, read_series
from tests.files import make_hspy

TILTS = [-60.0, 0.0, 60.0]
MEASURED = np.array([-59.6, 0.4, 60.1])
IMAGES = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
NM = {"scale": 3.36, "units": "nm"}
COUNTED = {"scale": 1.0, "offset": 0.0, "units": "degrees", "name": "Projections"}
TOMOGRAPHY = "Experiments/__unnamed__/metadata/Tomography"


def hspy(path, first=COUNTED, **datasets):
    """A file of HyperSpy with more data sets, named with ``__`` for ``/``."""
    make_hspy(path, IMAGES, [first, NM, NM])
    with h5py.File(path, "a") as file:
        for name, values in datasets.items():
            file[f"Experiments/__unnamed__/metadata/{name.replace('__', '/')}"] = values
    return path


# ---- measured before nominal


@pytest.mark.parametrize(
    "name", ["Tomography___sig_tilts__data", "Tomography__tilts", "Tomography___list_tilts"]
)
@pytest.mark.parametrize("column", [True, False])
def test_tilts_that_etspy_measured_come_before_a_uniform_axis(tmp_path, name, column):
    series = open_series(hspy(tmp_path / "a.hspy", **{name: MEASURED[:, None] if column else MEASURED}))
    assert series.tilts_deg.tolist() == MEASURED.tolist()
    assert series.notes == ()  # the axis only counts the images


def test_nominal_tilts_of_etspy_give_way_to_the_stage(tmp_path):
    stage = {"Acquisition_instrument__TEM__Stage__tilt_alpha": MEASURED}
    path = hspy(tmp_path / "a.hspy", Tomography__tilts=np.array(TILTS), **stage)
    assert open_stack(path).tilts_deg.tolist() == MEASURED.tolist()


@pytest.mark.parametrize(("unit", "per_degree"), [("deg", 1), ("rad", np.pi / 180), ("[mrad]", np.pi / 0.18)])
def test_a_nominal_list_gives_way_to_a_measured_axis_in_any_unit(tmp_path, unit, per_degree):
    with h5py.File(tmp_path / "a.emd", "w") as file:
        file["data/ts/data"], file["data/ts/theta"] = IMAGES, TILTS
        for n, values in enumerate([MEASURED * per_degree, np.arange(4.0), np.arange(5.0)], 1):
            file[f"data/ts/dim{n}"] = values
            file[f"data/ts/dim{n}"].attrs["units"] = unit if n == 1 else "nm"
    assert open_stack(tmp_path / "a.emd").tilts_deg == pytest.approx(MEASURED)


def test_an_axis_in_radians_gives_degrees(tmp_path):
    axis = {"scale": np.pi / 3, "offset": -np.pi / 3, "units": "rad"}
    assert open_stack(hspy(tmp_path / "a.hspy", axis)).tilts_deg == pytest.approx(TILTS)


def test_an_axis_that_means_other_angles_is_said(tmp_path):
    nominal = {"scale": 30.0, "offset": -30.0, "units": "degrees"}
    series = open_series(hspy(tmp_path / "a.hspy", nominal, Tomography___sig_tilts__data=MEASURED[:, None]))
    assert series.tilts_deg.tolist() == MEASURED.tolist()
    (note,) = series.notes
    assert "_sig_tilts" in note and "axis-0 differ by up to 30.1°" in note


def test_tilts_that_nobody_filled_in_are_none(tmp_path):
    path = hspy(tmp_path / "a.hspy", Tomography___sig_tilts__data=np.zeros((3, 1)))
    assert open_stack(path).tilts_deg is None
    nominal = {"scale": 60.0, "offset": -60.0, "units": "degrees"}
    path = hspy(tmp_path / "b.hspy", nominal, Tomography___sig_tilts__data=np.zeros((3, 1)))
    assert open_stack(path).tilts_deg.tolist() == TILTS


def test_the_stage_comes_before_a_uniform_axis_and_a_list_before_the_stage(tmp_path):
    stage = np.zeros(1024, "f4")
    stage[:3] = MEASURED
    name = "Acquisition_instrument__TEM__Stage__tilt_alpha"
    assert open_stack(hspy(tmp_path / "a.hspy", **{name: stage})).tilts_deg == pytest.approx(MEASURED)
    listed = (np.array([1.0, 2.3, 4.1]), "degrees")
    assert open_stack(hspy(tmp_path / "b.hspy", listed, **{name: MEASURED})).tilts_deg.tolist() == [
        1,
        2.3,
        4.1,
    ]
    assert open_stack(hspy(tmp_path / "c.hspy", **{name: MEASURED[:2]})).tilts_deg is None


@pytest.mark.parametrize(
    ("unit", "values"),
    [("deg", MEASURED), (None, MEASURED), ("rad", np.deg2rad(MEASURED)), ("[deg]", MEASURED)],
)
def test_data_exchange_gives_theta_and_leaves_out_flat_fields_aloud(tmp_path, unit, values):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["exchange/data"], file["exchange/theta"] = IMAGES, values
        file["exchange/data_white"] = file["exchange/data_dark"] = np.ones((2, 4, 5))
        if unit:
            file["exchange/theta"].attrs["units"] = unit
    series = open_series(tmp_path / "a.h5")
    assert series.tilts_deg == pytest.approx(MEASURED)
    assert series.notes == (
        "data_white and data_dark (flat and dark fields) are not applied: divide by them first",
    )
    np.testing.assert_array_equal(series.read(0, 5), IMAGES)


def test_a_list_of_another_length_is_an_error_and_not_nothing(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["tilts_deg"] = IMAGES, MEASURED[:2]
    with pytest.raises(ValueError, match=r"a\.h5 gives 2 angles .* holds 3 images"):
        open_series(tmp_path / "a.h5")


# ---- axes in another order


def berkeley(path, array, axes):
    """The EMD format: ``axes`` are (values, name, units), one for each axis of the array."""
    with h5py.File(path, "w") as file:
        group = file.create_group("data/tomography")
        group.create_dataset("data", data=array, chunks=(2, 2, 2))
        for n, (values, name, units) in enumerate(axes, 1):
            group[f"dim{n}"] = values
            group[f"dim{n}"].attrs.update(name=np.bytes_(name), units=np.bytes_(units))
    return path


ROWS, COLUMNS = (2.0 * np.arange(4), "y", "[n_m]"), (2.5 * np.arange(5), "x", "[n_m]")
ANGLES = (MEASURED, "tilt", "[deg]")


@pytest.mark.parametrize(
    ("array", "axes"),
    [
        (IMAGES, [ANGLES, ROWS, COLUMNS]),
        (IMAGES.transpose(2, 1, 0), [COLUMNS, ROWS, ANGLES]),  # as HyperSpy writes it
        (IMAGES.transpose(1, 2, 0), [ROWS, COLUMNS, ANGLES]),
        (IMAGES.transpose(1, 0, 2), [ROWS, ANGLES, COLUMNS]),
        (IMAGES, [(np.deg2rad(MEASURED), "tilt", "[rad]"), ROWS, COLUMNS]),
    ],
)
def test_the_axis_in_degrees_counts_the_images(tmp_path, array, axes):
    series = open_series(berkeley(tmp_path / "a.emd", array, axes))
    assert series.tilts_deg == pytest.approx(MEASURED)
    assert series.pixel_nm == pytest.approx(2.5)
    np.testing.assert_array_equal(series.read(0, 5), IMAGES)
    np.testing.assert_array_equal(series.read(1, 3), IMAGES[:, :, 1:3])


@pytest.mark.parametrize("chunks", [None, True])
def test_matlab_is_read_as_row_column_image(tmp_path, chunks):
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        node = file.create_dataset("stack", data=IMAGES.transpose(0, 2, 1), chunks=chunks)
        node.attrs["MATLAB_class"] = np.bytes_("int16")
    with (tmp_path / "a.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")
    series = read_series(tmp_path / "a.mat", tilts=TILTS)
    np.testing.assert_array_equal(series.images, IMAGES)
    assert "array(row, column, image)" in open_series(tmp_path / "a.mat", tilts=TILTS).notes[0]


# ---- files that others hold


@pytest.mark.skipif(sys.platform != "linux", reason="locks are others' elsewhere")
def test_a_file_that_is_being_written_is_not_called_damaged(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = IMAGES
    code = "import h5py, sys; f = h5py.File(sys.argv[1], 'r+'); print(flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "a.h5"], **pipes) as holder:
        holder.stdout.readline()
        with pytest.raises(ValueError, match=r"a\.h5: another program has this HDF5 file open for writing"):
            open_stack(tmp_path / "a.h5")
        holder.communicate()
    assert open_stack(tmp_path / "a.h5").shape == (3, 4, 5)
