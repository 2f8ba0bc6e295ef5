"""Reading and writing files: what is right comes back as it was, what is wrong is named.

MRC files are made byte by byte, so that reader and writer are not each other's only witness.
"""

import errno
import io
import os
import re
import struct
import tracemalloc

import h5py
import mrcfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from mrcfile.dtypes import get_ext_header_dtype

from etlab.io import open_stack, read_series, read_tilts, read_volume, write_mrc
from tests.files import MODES, make_mrc

TILTS = [-60.0, 0.0, 60.0]
IMAGES = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)


@pytest.fixture
def series(tmp_path):
    """A sound MRC file with its angles beside it."""
    (tmp_path / "series.rawtlt").write_text("-60.00\n0.00\n60.00\n")
    return make_mrc(tmp_path / "series.mrc", IMAGES)


def test_series_has_images_angles_pixel_and_their_source(series):
    read = read_series(series)
    np.testing.assert_array_equal(read.images, IMAGES)
    assert read.images.dtype == np.float32
    np.testing.assert_array_equal(read.tilts_deg, TILTS)
    assert read.pixel_nm == pytest.approx(0.25)
    assert read.tilts_from.endswith("series.rawtlt")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_read_in_either_byte_order(tmp_path, mode, order):
    assert (
        read_volume(make_mrc(tmp_path / "a.mrc", IMAGES, mode=mode, order=order))[0].tolist()
        == IMAGES.tolist()
    )


@pytest.mark.parametrize("stamp", [b"\0\0", b"\x44\x44", b"\x11\x11"])
@pytest.mark.parametrize("order", "<>")
def test_missing_or_wrong_byte_order_stamp_does_not_matter(tmp_path, order, stamp):
    path = make_mrc(tmp_path / "a.mrc", IMAGES, order=order, stamp=stamp)
    assert read_volume(path)[0].tolist() == IMAGES.tolist()


@pytest.mark.parametrize(("flags", "expected"), [(0, 200), (1, 200 - 256)])
def test_bytes_of_imod_are_unsigned_unless_it_says_so(tmp_path, flags, expected):
    imod = [(152, "i", 1146047817), (156, "i", flags)]
    path = make_mrc(tmp_path / "a.mrc", np.full((1, 2, 2), 200), mode=0, pairs=imod)
    assert (read_volume(path)[0] == expected).all()


def test_vertical_tilt_axis_becomes_the_last_array_axis(series):
    vertical = read_series(series, axis="y").images
    assert vertical.shape == (3, 5, 4)
    assert vertical[1, 2, 3] == IMAGES[1, 3, 2]
    with pytest.raises(ValueError, match="axis: got 'z'"):
        read_series(series, axis="z")


# ---- what microscopes hide in the extended header


@pytest.mark.parametrize("order", "<>")
def test_old_fei_header_gives_tilt_and_pixel_of_the_sections_there_are(tmp_path, order):
    blocks = np.zeros((1024, 32), dtype=order + "f4")
    blocks[:3, 0], blocks[:3, 11] = TILTS, 3.36e-9
    path = tmp_path / "a.mrc"
    make_mrc(path, IMAGES, order=order, pixel=1.0, extended=blocks.tobytes(), pairs=[(130, "h", 32)])
    read = read_series(path)
    np.testing.assert_array_equal(read.tilts_deg, TILTS)
    assert read.pixel_nm == pytest.approx(3.36)
    assert read.tilts_from == str(path)


def test_new_fei_header_gives_tilt_and_pixel(tmp_path):
    blocks = np.zeros(3, dtype=get_ext_header_dtype(b"FEI1", "<"))
    blocks["Alpha tilt"], blocks["Pixel size X"] = TILTS, 1.5e-9
    read = read_series(make_mrc(tmp_path / "a.mrc", IMAGES, extended=blocks.tobytes(), kind=b"FEI1"))
    np.testing.assert_array_equal(read.tilts_deg, TILTS)
    assert read.pixel_nm == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("flags", "size"), [(1, 2), (0b111101, 14)]
)  # tilt alone; all that SerialEM 4 writes
def test_serialem_header_gives_tilt(tmp_path, flags, size):
    extended = b"".join(struct.pack("<h", round(100 * tilt)).ljust(size, b"\x7f") for tilt in TILTS)
    pairs = [(128, "h", size), (130, "h", flags)]
    read = read_series(make_mrc(tmp_path / "a.mrc", IMAGES, extended=extended, kind=b"SERI", pairs=pairs))
    np.testing.assert_array_equal(read.tilts_deg, TILTS)
    assert read.pixel_nm == pytest.approx(0.25)  # the main header's


@pytest.mark.parametrize(
    "flags", [0b111100, 0b1]
)  # no tilt among the items; items that do not fill the section
def test_serialem_header_without_tilts_gives_none(tmp_path, flags):
    pairs = [(128, "h", 12), (130, "h", flags)]
    path = make_mrc(tmp_path / "a.mrc", IMAGES, extended=bytes(36), kind=b"SERI", pairs=pairs)
    assert open_stack(path).tilts_deg is None


# ---- angles


def test_given_angles_come_before_files_and_refined_files_before_raw_ones(series, tmp_path):
    assert read_series(series, tilts=[1, 2, 3]).tilts_deg.tolist() == [1, 2, 3]
    (tmp_path / "other.txt").write_text("4\n5\n6\n")
    assert read_series(series, tilts=tmp_path / "other.txt").tilts_deg.tolist() == [4, 5, 6]
    (tmp_path / "series.tlt").write_text("7\n8\n9\n")
    assert read_series(series).tilts_deg.tolist() == [7, 8, 9]


@pytest.mark.parametrize("name", ["series.mdoc", "series.mrc.mdoc"])
def test_mdoc_gives_the_angles_in_the_order_of_the_images(series, tmp_path, name):
    (tmp_path / "series.rawtlt").unlink()
    (tmp_path / name).write_text(
        "PixelSpacing = 7.88\n[T = SerialEM: a microscope]\n[ZValue = 1]\nBinning = 2\nTiltAngle = 0.01\n"
        "[ZValue = 0]\nTiltAngle = -59.98\nStagePosition = -16 -8.5\n\n[ZValue = 2]\nTiltAngle = 60.02\n"
    )
    assert read_series(series).tilts_deg.tolist() == [-59.98, 0.01, 60.02]


def test_without_angles_the_error_says_where_they_were_sought(tmp_path):
    path = make_mrc(tmp_path / "lonely.st", IMAGES)
    sought = r"lonely\.tlt, lonely\.rawtlt, lonely\.mdoc, lonely\.st\.mdoc.*inside it; pass tilts="
    with pytest.raises(ValueError, match=sought):
        read_series(path)


def test_wrong_number_of_angles_names_both_files_and_numbers(series, tmp_path):
    (tmp_path / "series.rawtlt").write_text("1\n2\n")
    with pytest.raises(ValueError, match=r"series\.rawtlt gives 2 angles .*series\.mrc holds 3 images"):
        read_series(series)
    with pytest.raises(ValueError, match=r"the argument gives 6 angles \(shape \(3, 2\)\)"):
        read_series(series, tilts=np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-60\nzero\n60\n", "line 2: got 'zero', expected one tilt angle in degrees"),
        ("-60 0 60\n", "line 1: got '-60 0 60', expected one"),
        ("-60\n\nnan\n", "line 3: got 'nan'"),
        ("\x89PNG\n", "line 1: got"),
        ("\n \n", "no tilt angles in it"),
    ],
)
def test_unreadable_angle_file_is_named_with_the_line(tmp_path, text, complaint):
    (tmp_path / "a.tlt").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=rf"a\.tlt.*{re.escape(complaint)}"):
        read_tilts(tmp_path / "a.tlt")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[ZValue = 0]\nDefocus = 1\n", "[ZValue = 0] has no TiltAngle"),
        ("[ZValue = 0]\nTiltAngle = steep\n", "[ZValue = 0]: got 'steep'"),
        ("[ZValue = 0]\nTiltAngle = 1\n[ZValue = 0]\nTiltAngle = 2\n", "[ZValue = 0] is there twice"),
        ("PixelSpacing = 7.88\n", "no tilt angles in it"),
    ],
)
def test_unreadable_mdoc_is_named_with_the_section(tmp_path, text, complaint):
    (tmp_path / "a.mdoc").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.mdoc.*{re.escape(complaint)}"):
        read_tilts(tmp_path / "a.mdoc")


def test_images_in_place_of_angles_are_not_read_as_a_whole(tmp_path):
    with open(tmp_path / "images.mrc", "wb") as file:
        file.truncate(2 * 10**7)
    with pytest.raises(ValueError, match=r"images\.mrc: has 20000000 bytes, expected a file of tilt angles"):
        read_tilts(tmp_path / "images.mrc")


def test_angles_that_are_not_finite_are_refused_wherever_they_come_from(series):
    with pytest.raises(ValueError, match=r"tilts: the argument gives .*expected finite angles"):
        read_series(series, tilts=[0, np.nan, 1])


# ---- files that are not what their name says


DM3, DM4 = struct.pack(">3I", 3, 4084, 1) + bytes(4084), struct.pack(">IQI", 4, 4080, 0) + bytes(4096)
FOREIGN = {
    "empty": (b"", "is empty"),
    "words": (b"a few words", "is a text"),
    "log": (b"Words and numbers, 1 2 3, as in a log file.\n" * 100, "is a text"),
    "UTF-16": ("\ufeffWords".encode("utf-16-le") * 300, "is a text"),
    "German": (("Gr\u00fc\u00dfe " * 300).encode(), "is a text"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 10, "is a PNG file"),
    "jpeg": (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 10, "is a JPEG file"),
    "npy": (b"\x93NUMPY\x01\x00" + bytes(2000), "is a NumPy array"),
    "mat": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(2000), "is a MATLAB file of version 5"),
    "zip": (b"PK\x03\x04\x14\x00" + bytes(2000), "is a ZIP archive"),
    "gzip": (b"\x1f\x8b\x08" + bytes(2000), "is packed with gzip"),
    "dm3": (DM3, r"is a file of Gatan's DigitalMicrograph \(.dm3\)"),
    "dm4": (DM4, r"is a file of Gatan's DigitalMicrograph \(.dm4\)"),
    "ser": (b"II\x97\x01\x20\x02" + bytes(2000), r"is a TIA file \(.ser\)"),
    "noise": (bytes(range(256)) * 10, "not an MRC file"),
    "zeros": (bytes(4096), "not an MRC file"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_file_named_mrc_is_called_by_its_name(tmp_path, name):
    content, complaint = FOREIGN[name]
    (tmp_path / "a.mrc").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.mrc: .*{complaint}"):
        read_series(tmp_path / "a.mrc", tilts=TILTS)


def test_an_mrc_file_of_3_columns_is_not_taken_for_one_of_gatan(tmp_path):
    """Of big-endian numbers, as the length and the order of a .dm3 are."""
    images = np.arange(3 * 4 * 3, dtype=np.int16).reshape(3, 4, 3)
    assert read_volume(make_mrc(tmp_path / "a.mrc", images, order=">"))[0].tolist() == images.tolist()


def test_a_folder_is_called_one_and_its_files_are_counted(tmp_path):
    for n in range(3):
        (tmp_path / f"tilt_{n}.png").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        ValueError, match=r"is a folder of 4 files, most of them \.png; expected one file with all"
    ):
        read_series(tmp_path)


@pytest.mark.parametrize("mode", [3, 4, 101, -1])
def test_complex_packed_and_unknown_modes_are_refused(tmp_path, mode):
    with pytest.raises(ValueError, match=rf"not an MRC file of real numbers.*of mode {mode}; expected"):
        read_volume(make_mrc(tmp_path / "a.mrc", IMAGES, mode=mode))


def test_missing_file_is_reported_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mrc"):
        read_series(tmp_path / "nowhere.mrc")


@given(cut=st.integers(0, 1024 + 40 + 2 * IMAGES.size - 1))
@settings(max_examples=15, deadline=None)
def test_mrc_cut_anywhere_is_refused(tmp_path_factory, cut):
    path = make_mrc(tmp_path_factory.mktemp("cut") / "a.mrc", IMAGES, extended=bytes(40))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="not an MRC file" if cut else "is empty"):
        read_volume(path)


@pytest.mark.parametrize(
    "lie", [[(0, "i", 2**31 - 1), (4, "i", 2**31 - 1), (8, "i", 2**31 - 1)], [(92, "i", 2**31 - 1)]]
)
def test_header_that_lies_about_its_size_reserves_no_memory(tmp_path, lie):
    path = make_mrc(tmp_path / "a.mrc", IMAGES, pairs=lie)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"its header announces .* bytes, but it has 1144"):
            read_volume(path)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


@given(fields=st.lists(st.tuples(st.integers(0, 255), st.integers(-(2**31), 2**31 - 1)), max_size=4))
@settings(max_examples=50, deadline=None)
def test_damaged_header_gives_numbers_or_an_error_that_says_why(tmp_path_factory, fields):
    pairs = [(4 * word, "i", value) for word, value in fields]
    path = make_mrc(tmp_path_factory.mktemp("damaged") / "a.mrc", IMAGES, pairs=pairs)
    try:
        assert read_volume(path)[0].size <= 2 * IMAGES.size
    except ValueError as error:
        assert "not an MRC file" in str(error)


def test_nan_in_the_images_is_counted(tmp_path):
    images = IMAGES.astype(np.float32)
    images[0, 0, :2] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"a\.mrc: 2 of 60 values are NaN or infinite"):
        read_volume(make_mrc(tmp_path / "a.mrc", images, mode=2))


# ---- HDF5


def make_hdf5(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path


def test_only_data_set_with_three_axes_is_found_and_the_angles_beside_it(tmp_path):
    path = make_hdf5(tmp_path / "a.h5", images=IMAGES, tilts_deg=TILTS, dark=np.zeros((4, 5)))
    read = read_series(path)
    np.testing.assert_array_equal(read.images, IMAGES)
    assert read.tilts_deg.tolist() == TILTS
    assert read.pixel_nm is None


def test_hyperspy_axes_give_angles_and_pixel(tmp_path):
    with h5py.File(tmp_path / "a.hspy", "w") as file:
        group = file.create_group("Experiments/needle")
        group["data"] = IMAGES
        group.create_group("axis-0").attrs.update(offset=-60.0, scale=60.0, units="degrees")
        group.create_group("axis-1").attrs.update(offset=0.0, scale=2.5, units="Å")
    read = read_series(tmp_path / "a.hspy")
    assert read.tilts_deg.tolist() == TILTS
    assert read.pixel_nm == pytest.approx(0.25)


def test_format_is_told_by_content_not_by_name(tmp_path):
    assert read_volume(make_hdf5(tmp_path / "a.mrc", images=IMAGES))[0].tolist() == IMAGES.tolist()


def test_several_candidates_are_listed_and_one_can_be_named(tmp_path):
    path = make_hdf5(tmp_path / "a.h5", raw=IMAGES, aligned=IMAGES + 1)
    with pytest.raises(ValueError, match=r"a\.h5: more than one candidate; pass dataset=; .*aligned, raw"):
        read_volume(path)
    assert read_volume(path, dataset="aligned")[0][0, 0, 0] == 1


@pytest.mark.parametrize(
    ("dataset", "complaint"),
    [
        ("absent", r"no data set 'absent'; its data sets of numbers with three axes: images"),
        ("flat", r"'flat' has shape \(4, 5\)"),
        ("words", r"'words' has shape \(1, 1, 1\) and type object"),
        ("void", r"'void' is empty: shape \(0, 4, 5\)"),
        ("unfilled", r"'unfilled' announces \d+ bytes .* but only 0 are stored"),
    ],
)
def test_unusable_data_set_is_named_with_what_it_is(tmp_path, dataset, complaint):
    words = np.full((1, 1, 1), "word", dtype=h5py.string_dtype())
    path = tmp_path / "a.h5"
    make_hdf5(path, images=IMAGES, flat=np.zeros((4, 5)), words=words, void=np.zeros((0, 4, 5)))
    with h5py.File(path, "a") as file:
        file.create_dataset("unfilled", (10**5, 10**4, 10**4), "f4", chunks=(1, 100, 100))
    with pytest.raises(ValueError, match=complaint):
        read_volume(path, dataset=dataset)


def test_hdf5_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.h5: no images; .*: none"):
        read_volume(make_hdf5(tmp_path / "a.h5", spectrum=np.zeros(5)))


def test_truncated_hdf5_is_refused(tmp_path):
    path = make_hdf5(tmp_path / "a.h5", images=np.zeros((10, 50, 50)))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"a\.h5: damaged HDF5 file"):
        read_volume(path)


def test_data_set_name_makes_no_sense_for_mrc(series):
    with pytest.raises(ValueError, match=r"dataset: got 'images', but .* is not an HDF5 file"):
        read_series(series, dataset="images")


# ---- writing


@given(
    array=npst.arrays(
        st.sampled_from([np.int8, np.uint8, np.int16, np.uint16, np.float16, np.float32, bool]),
        npst.array_shapes(min_dims=3, max_dims=3, max_side=6),
        elements={"allow_nan": False, "allow_infinity": False},
    ),
    voxel_nm=st.floats(0.01, 1000),
)
@settings(max_examples=30, deadline=None)
def test_what_is_written_comes_back(tmp_path_factory, array, voxel_nm):
    path = tmp_path_factory.mktemp("round") / "a.mrc"
    write_mrc(path, array, voxel_nm=voxel_nm)
    volume, read_voxel_nm = read_volume(path)
    np.testing.assert_array_equal(volume, array.astype(np.float32))
    assert read_voxel_nm == pytest.approx(voxel_nm, rel=1e-6)
    complaints = io.StringIO()
    mrcfile.validate(path, print_file=complaints)  # to the letter of MRC2014
    lines = complaints.getvalue().splitlines()[1:]  # after the name of the file
    assert [line for line in lines if not line.startswith(("Data statistics", "File appears"))] == []
    with mrcfile.open(path) as file:  # mrcfile's own statistics are single precision, which may be far off
        assert file.header.rms == pytest.approx(array.std(dtype=np.float64), rel=1e-6, abs=1e-30)
        assert file.header.dmean == pytest.approx(array.mean(dtype=np.float64), rel=1e-6, abs=1e-30)


def test_existing_file_is_replaced_only_when_asked(series):
    before = series.read_bytes()
    with pytest.raises(FileExistsError, match=r"series\.mrc exists; pass overwrite=True"):
        write_mrc(series, IMAGES + 1, voxel_nm=1.0)
    assert series.read_bytes() == before
    write_mrc(series, IMAGES + 1.0, voxel_nm=1.0, overwrite=True)  # float64, which MRC cannot hold
    np.testing.assert_array_equal(read_volume(series)[0], IMAGES + 1)


def test_failed_write_leaves_the_old_file_and_no_half_file(series, monkeypatch):
    before, names = series.read_bytes(), sorted(series.parent.iterdir())

    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left on device"):
        write_mrc(series, IMAGES + 1, voxel_nm=1.0, overwrite=True)
    assert series.read_bytes() == before
    assert sorted(series.parent.iterdir()) == names


@pytest.mark.parametrize(
    ("array", "voxel_nm", "error", "complaint"),
    [
        (np.zeros((4, 5)), 1.0, ValueError, r"array: got shape \(4, 5\)"),
        (np.zeros((0, 4, 5)), 1.0, ValueError, r"array: got shape \(0, 4, 5\)"),
        (np.zeros((1, 2, 2), complex), 1.0, TypeError, "array: got values of type complex128"),
        (np.full((1, 2, 2), np.nan), 1.0, ValueError, "array: some values are NaN"),
        (np.full((1, 2, 2), 1e300), 1.0, ValueError, "beyond float32"),
        (np.zeros((1, 2, 2)), 0.0, ValueError, "voxel_nm: got 0.0"),
        (np.zeros((1, 2, 2)), np.inf, ValueError, "voxel_nm: got inf"),
    ],
)
def test_what_cannot_be_written_is_refused_before_a_file_appears(tmp_path, array, voxel_nm, error, complaint):
    with pytest.raises(error, match=complaint):
        write_mrc(tmp_path / "a.mrc", array, voxel_nm=voxel_nm)
    assert list(tmp_path.iterdir()) == []
