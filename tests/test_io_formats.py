"""Series of every format, read piece by piece, and files of every format that lie."""

import pickle
import struct
import subprocess
import sys
import tracemalloc

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from etlab import data
from etlab.io import open_series, open_stack, read_series, read_volume, volume_writer
from tests.files import (
    COMPRESSION,
    HEIGHT,
    OFFSETS,
    SAMPLES,
    STRIP_ROWS,
    WIDTH,
    make_hspy,
    make_mrc,
    make_tiff,
)

TILTS = [-60.0, 0.0, 60.0]
IMAGES = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5) - 7
DEGREES = {"scale": 60.0, "offset": -60.0, "units": "degrees", "name": "Projections"}
NM = {"scale": 3.36, "units": "nm"}


def make_hdf5(path, images):
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images, chunks=(2, 2, 2), compression="gzip")
    return path


def make_velox(path, images, frames):
    """Velox's layout: frames along the last axis, a column of JSON for each, padded with zeros."""
    with h5py.File(path, "w") as file:
        group = file.create_group("Data/Image/0e1f2a3b4c5d")
        group.create_dataset("Data", data=np.moveaxis(images, 0, 2), chunks=(*images.shape[1:], 1))
        metadata = np.zeros((4000, len(frames)), np.uint8)
        for n, text in enumerate(frames):
            metadata[: len(text), n] = np.frombuffer(text.encode(), np.uint8)
        group["Metadata"] = metadata
    return path


def velox_frame(tilt_deg):
    return (
        f'{{"Stage": {{"AlphaTilt": "{np.deg2rad(tilt_deg)}", "BetaTilt": "0"}}, "BinaryResult": '
        '{"PixelSize": {"width": "1.5e-09", "height": "1.5e-09"}, "PixelUnitX": "m", "PixelUnitY": "m"}}'
    )


def make_berkeley(path, images, angle_units="[deg]"):
    """The EMD format of Berkeley: a group with a data set for each axis, which holds the positions along it."""
    with h5py.File(path, "w") as file:
        file.attrs.update(version_major=0, version_minor=2)
        group = file.create_group("data/tomography")
        group.attrs["emd_group_type"] = 1
        group["data"] = images
        axes = [
            (TILTS, "angles", angle_units),
            (2.5 * np.arange(4), "y", "[n_m]"),
            (2.5 * np.arange(5), "x", "[n_m]"),
        ]
        for n, (values, name, units) in enumerate(axes, 1):
            group[f"dim{n}"] = values
            group[f"dim{n}"].attrs.update(name=np.bytes_(name), units=np.bytes_(units))
    return path


MAKERS = {
    "mrc": lambda path: make_mrc(path, IMAGES),
    "mrc, big-endian": lambda path: make_mrc(path, IMAGES, mode=2, order=">"),
    "tiff": lambda path: make_tiff(path, IMAGES),
    "tiff, big-endian": lambda path: make_tiff(path, IMAGES, order=">"),
    "tiff, images behind": lambda path: make_tiff(
        path, IMAGES, description="ImageJ=1.54f\nimages=3\n", behind=True
    ),
    "hdf5": lambda path: make_hdf5(path, IMAGES),
    "hspy": lambda path: make_hspy(path, IMAGES, [DEGREES, NM, NM]),
    "velox": lambda path: make_velox(path, IMAGES, [velox_frame(tilt) for tilt in TILTS]),
    "berkeley": lambda path: make_berkeley(path, IMAGES),
}


@pytest.fixture(params=MAKERS)
def file(request, tmp_path):
    return MAKERS[request.param](tmp_path / "series")


def test_a_piece_is_that_of_the_whole(file):
    series = open_series(file, tilts=TILTS)
    assert series.shape == (3, 4, 5)
    piece = series.read(1, 4)
    assert piece.dtype == np.float32
    np.testing.assert_array_equal(piece, IMAGES[:, :, 1:4])
    np.testing.assert_array_equal(read_series(file, tilts=TILTS).images, IMAGES)


def test_a_piece_along_a_vertical_tilt_axis_is_one_of_rows(file):
    series = open_series(file, tilts=TILTS, axis="y")
    assert series.shape == (3, 5, 4)
    np.testing.assert_array_equal(series.read(1, 3), IMAGES[:, 1:3].swapaxes(1, 2))


def test_another_process_in_another_folder_reads_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [make(tmp_path / f"series {n}").name for n, make in enumerate(MAKERS.values())]
    sent = pickle.dumps([open_series(name, tilts=TILTS) for name in names])
    read = "import pickle, sys; print(*(one.read(2, 4).sum() for one in pickle.load(sys.stdin.buffer)))"
    said = subprocess.run([sys.executable, "-c", read], input=sent, capture_output=True, check=True, cwd="/")
    assert [float(one) for one in said.stdout.split()] == len(MAKERS) * [IMAGES[:, :, 2:4].sum()]


@pytest.mark.parametrize(("x0", "x1"), [(-1, 2), (2, 2), (3, 2), (0, 6)])
def test_columns_that_are_not_there_are_refused(tmp_path, x0, x1):
    series = open_series(make_mrc(tmp_path / "a.mrc", IMAGES), tilts=TILTS)
    with pytest.raises(IndexError, match=rf"x0, x1: got {x0}, {x1}, expected 0 ≤ x0 < x1 ≤ 5"):
        series.read(x0, x1)


def test_only_the_piece_is_held_in_memory(tmp_path):
    shape = 64, 512, 512
    make_mrc(tmp_path / "a.mrc", np.zeros((1, *shape[1:])), pairs=[(8, "i", shape[0])])
    with open(tmp_path / "a.mrc", "r+b") as file:
        file.truncate(1024 + 2 * np.prod(shape))  # zeros that take no room on the disk
    tracemalloc.start()
    try:
        open_series(tmp_path / "a.mrc", tilts=np.arange(64)).read(100, 116)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    piece, image = 4 * 64 * 512 * 16, 2 * 512 * 512
    assert peak < piece + 4 * image < 2 * np.prod(shape) / 4


def test_nan_is_reported_when_it_is_read(tmp_path):
    images = IMAGES.astype(np.float32)
    images[1, 2, 4] = np.nan
    series = open_series(make_mrc(tmp_path / "a.mrc", images, mode=2), tilts=TILTS)
    np.testing.assert_array_equal(series.read(0, 4), images[:, :, :4])
    with pytest.raises(ValueError, match=r"a\.mrc: 1 of 24 values are NaN"):
        series.read(3, 5)


def test_file_that_shrinks_after_it_was_opened_is_an_error(tmp_path):
    path = make_mrc(tmp_path / "a.mrc", IMAGES)
    series = open_series(path, tilts=TILTS)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r"a\.mrc: became shorter while it was read"):
        series.read(0, 5)


# ---- what programs leave behind


def test_imod_leaves_signed_bytes_a_vertical_axis_and_two_files_of_angles(tmp_path):
    imod = [(152, "i", 1146047817), (156, "i", 1)]  # "IMOD", and that its bytes are signed
    make_mrc(tmp_path / "ts.st", IMAGES, mode=0, pixel=33.6, pairs=imod)
    (tmp_path / "ts.rawtlt").write_text("".join(f"{tilt:8.2f}\n" for tilt in TILTS))
    (tmp_path / "ts.tlt").write_text("".join(f"{tilt + 0.13:8.2f}\n" for tilt in TILTS))
    series = open_series(tmp_path / "ts.st", axis="y")
    np.testing.assert_array_equal(series.read(0, 4), IMAGES.swapaxes(1, 2))
    np.testing.assert_allclose(series.tilts_deg, np.add(TILTS, 0.13))
    assert series.tilts_from == str(tmp_path / "ts.tlt")
    assert series.pixel_nm == pytest.approx(3.36)


def test_serialem_leaves_angles_in_its_header_and_finer_ones_in_an_mdoc(tmp_path):
    extended = b"".join(struct.pack("<h", round(100 * tilt)).ljust(14, b"\x7f") for tilt in TILTS)
    pairs = [(128, "h", 14), (130, "h", 0b111101)]
    path = make_mrc(tmp_path / "ts.mrc", IMAGES, mode=6, extended=extended, kind=b"SERI", pairs=pairs)
    assert open_series(path).tilts_deg.tolist() == TILTS
    sections = "".join(
        f"[ZValue = {n}]\nTiltAngle = {tilt + 0.0032}\nExposureDose = 3\n" for n, tilt in enumerate(TILTS)
    )
    (tmp_path / "ts.mrc.mdoc").write_text(f"PixelSpacing = 2.5\nDataMode = 6\n\n{sections}")
    series = open_series(path)
    np.testing.assert_allclose(series.tilts_deg, np.add(TILTS, 0.0032))
    np.testing.assert_array_equal(series.read(0, 5), IMAGES.astype(np.uint16))


def test_angles_that_nobody_filled_in_are_none(tmp_path):
    extended, pairs = bytes(3 * 14), [(128, "h", 14), (130, "h", 0b111101)]
    path = make_mrc(tmp_path / "ts.mrc", IMAGES, extended=extended, kind=b"SERI", pairs=pairs)
    with pytest.raises(ValueError, match="no tilt angles"):
        open_series(path)
    path.with_suffix(".rawtlt").write_text("-60\n0\n60\n")
    assert open_series(path).notes == ()


@pytest.mark.parametrize(
    ("axes", "along"), [((2, 1, 3), "y, x, z"), ((3, 2, 1), "z, y, x"), ((1, 2, 3), None), ((0, 0, 0), None)]
)
def test_an_mrc_file_with_other_axes_is_noted(tmp_path, axes, along):
    pairs = [(64, "i", axes[0]), (68, "i", axes[1]), (72, "i", axes[2])]
    notes = open_stack(make_mrc(tmp_path / "a.mrc", IMAGES, pairs=pairs)).notes
    assert along in notes[0] if along else notes == ()


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_file_whose_zero_is_white_is_noted(tmp_path, compression):
    for kind in ("miniswhite", "minisblack"):
        tifffile.imwrite(
            tmp_path / "a.tif", IMAGES.astype(np.uint8), photometric=kind, compression=compression
        )
        assert len(open_stack(tmp_path / "a.tif").notes) == (kind == "miniswhite")


# ---- what formats say about themselves


@pytest.mark.parametrize(
    ("unit", "pixel_nm"),
    [
        ("nm", 0.25),
        ("um", 250),
        ("micron", 250),
        ("µm", 250),
        ("Angstrom", 0.025),
        ("pixel", None),
        (None, None),
    ],
)
def test_pixel_of_imagej(tmp_path, unit, pixel_nm):
    description = "ImageJ=1.54f\nimages=3\nslices=3\n" + (f"unit={unit}\n" if unit else "")
    description = description.replace("µ", "\\u00B5")  # so ImageJ writes it
    path = make_tiff(tmp_path / "a.tif", IMAGES, description=description, pixels_per_unit=(4, 1))
    found = open_stack(path).pixel_nm
    assert found == (pixel_nm and pytest.approx(pixel_nm))


@pytest.mark.parametrize(
    ("attributes", "pixel_nm"),
    [
        ('PhysicalSizeX="2.5" PhysicalSizeXUnit="Å"', 0.25),
        ('PhysicalSizeX="0.002"', 2.0),  # µm, where nothing is said
        ('PhysicalSizeX="2" PhysicalSizeXUnit="pixel"', None),
        ('PhysicalSizeX="-1" PhysicalSizeXUnit="nm"', None),
        ("", None),
    ],
)
def test_pixel_of_ome(tmp_path, attributes, pixel_nm):
    description = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZTC" Type="int16" SizeX="5" SizeY="4" '
        f'SizeZ="3" SizeC="1" SizeT="1" {attributes}/></Image></OME>'
    )
    path = make_tiff(tmp_path / "a.ome.tif", IMAGES, description=description)
    assert open_stack(path).pixel_nm == (pixel_nm and pytest.approx(pixel_nm))


def test_resolution_of_a_plain_tiff_is_that_of_a_screen_and_no_pixel(tmp_path):
    assert open_stack(make_tiff(tmp_path / "a.tif", IMAGES)).pixel_nm is None


def test_mdoc_beside_a_tiff_gives_angles_and_pixel(tmp_path):
    (tmp_path / "a.tif.mdoc").write_text(
        "PixelSpacing = 7.88\nImageFile = a.tif\n[ZValue = 0]\nTiltAngle = -60\nPixelSpacing = 7.88\n"
        "[ZValue = 1]\nTiltAngle = 0\n[ZValue = 2]\nTiltAngle = 60\n"
    )
    series = open_series(make_tiff(tmp_path / "a.tif", IMAGES))
    assert series.tilts_deg.tolist() == TILTS
    assert series.pixel_nm == pytest.approx(0.788)
    assert open_series(make_mrc(tmp_path / "a.mrc", IMAGES), tilts=tmp_path / "a.tif.mdoc").pixel_nm == 0.25


def test_tiles_and_packed_pages_are_read(tmp_path):
    images = np.random.default_rng(1).integers(0, 9, (3, 40, 50)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", images, compression="zlib", tile=(16, 16), photometric="minisblack")
    np.testing.assert_array_equal(
        open_series(tmp_path / "a.tif", tilts=TILTS).read(30, 47), images[:, :, 30:47]
    )


@pytest.mark.parametrize("compression", ["lzw", "packbits", "zstd", "lzma", "deflate"])
@pytest.mark.parametrize("predictor", [None, "horizontal"])
def test_every_usual_packing_is_read(tmp_path, compression, predictor):
    images = np.random.default_rng(1).integers(0, 9, (3, 40, 50)).astype(np.uint16)
    predictor = None if compression == "packbits" else predictor
    options = {"compression": compression, "predictor": predictor, "rowsperstrip": 7}
    tifffile.imwrite(tmp_path / "a.tif", images, photometric="minisblack", **options)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif")[0], images)


def test_floats_packed_with_lzw_by_another_library_are_read(tmp_path):
    images = np.random.default_rng(1).normal(size=(3, 16, 20)).astype(np.float32)
    first, *rest = [Image.fromarray(image) for image in images]
    first.save(tmp_path / "a.tif", save_all=True, append_images=rest, compression="tiff_lzw")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif")[0], images)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd"])
def test_an_empty_page_is_no_lie_however_small_it_is_packed(tmp_path, compression):
    empty = np.zeros((1, 2000, 2000), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", empty, compression=compression, rowsperstrip=2000)
    assert not read_volume(tmp_path / "a.tif")[0].any()


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (65001, "an EER file, the electrons of a single image"),
        (50001, "packed as WEBP"),
        (34712, "packed as JPEG2000"),
        (1234, "packed as kind 1234"),
    ],
)
def test_what_cannot_be_unpacked_is_named(tmp_path, kind, complaint):
    changes = [(page, COMPRESSION, kind) for page in range(3)]
    refused(make_tiff(tmp_path / "a.tif", IMAGES, changes=changes), complaint)


def test_hyperspy_axes_may_be_even_or_listed(tmp_path):
    even = open_series(make_hspy(tmp_path / "a.hspy", IMAGES, [DEGREES, NM, NM]))
    assert even.tilts_deg.tolist() == TILTS
    assert even.pixel_nm == pytest.approx(3.36)
    listed = open_series(make_hspy(tmp_path / "b.hspy", IMAGES, [([-3.0, 1.0, 2.0], "deg"), NM, NM]))
    assert listed.tilts_deg.tolist() == [-3, 1, 2]
    nothing = {"scale": 1.0, "units": "<undefined>"}
    unknown = open_stack(make_hspy(tmp_path / "c.hspy", IMAGES, [nothing, nothing, nothing]))
    assert (unknown.tilts_deg, unknown.pixel_nm) == (None, None)


def test_velox_has_a_tilt_in_radians_for_each_frame(tmp_path):
    series = open_series(make_velox(tmp_path / "a.emd", IMAGES, [velox_frame(tilt) for tilt in TILTS]))
    np.testing.assert_allclose(series.tilts_deg, TILTS)
    assert series.pixel_nm == pytest.approx(1.5)


@pytest.mark.parametrize("frames", [["{}"] * 3, ["not JSON"] * 3, [velox_frame(0)], []])
def test_velox_without_a_tilt_for_each_frame_gives_none(tmp_path, frames):
    assert open_stack(make_velox(tmp_path / "a.emd", IMAGES, frames)).tilts_deg is None


def test_berkeley_axes_give_angles_and_pixel(tmp_path):
    series = open_series(make_berkeley(tmp_path / "a.emd", IMAGES))
    assert series.tilts_deg.tolist() == TILTS
    assert series.pixel_nm == pytest.approx(2.5)
    assert open_stack(make_berkeley(tmp_path / "b.emd", IMAGES, angle_units="[n_m]")).tilts_deg is None


# ---- the needle, as it came from the microscope and as others aligned it


@pytest.fixture(scope="module")
def needle():
    return data.needle()


@pytest.mark.data
@pytest.mark.parametrize("axis", ["x", "y"])
def test_needle_from_the_raw_file_is_that_of_the_course(needle, axis):
    series = open_series(needle.folder / "HAADF.mrc", axis=axis)
    assert series.shape == (77, 256, 256)
    assert series.dtype == np.int16
    assert series.pixel_nm == pytest.approx(3.36, abs=1e-3)  # FEI's extended header; the main one says 1 Å
    np.testing.assert_allclose(series.tilts_deg, needle.tilts_deg)
    expected = needle.images if axis == "x" else needle.images.swapaxes(1, 2)
    np.testing.assert_array_equal(series.read(100, 150) - data.BACKGROUND, expected[:, :, 100:150])


@pytest.mark.data
def test_needle_aligned_by_others_is_read_from_hyperspy_in_pieces(needle):
    series = open_series(needle.folder / "HAADF_Aligned.hspy")
    np.testing.assert_allclose(series.tilts_deg, needle.tilts_deg)
    assert series.pixel_nm == pytest.approx(3.36, abs=1e-3)
    pieces = [series.read(x0, min(x0 + 100, 256)) for x0 in range(0, 256, 100)]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=2), needle.aligned)


@pytest.mark.data
@pytest.mark.parametrize("ending", [".mrc", ".h5", ".zarr"])
def test_needle_written_in_every_format_comes_back(needle, tmp_path, ending):
    path = tmp_path / f"needle{ending}"
    with volume_writer(path, needle.aligned.shape, needle.pixel_nm, {"from": "ETSpy"}) as out:
        for z0 in range(0, 77, 10):
            out.write(z0, needle.aligned[z0 : z0 + 10])
    images, pixel_nm = read_volume(path)
    np.testing.assert_array_equal(images, needle.aligned)
    assert pixel_nm == pytest.approx(needle.pixel_nm, rel=1e-6)


# ---- TIFF files that lie


def refused(path, complaint):
    """The file is refused with these words, and without reserving the memory that it asks for."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=complaint):
            read_volume(path)
        assert tracemalloc.get_traced_memory()[1] < 3e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            [(page, tag, 10**5) for page in range(3) for tag in (WIDTH, HEIGHT, STRIP_ROWS)],
            "truncated TIFF file",
        ),
        ([(0, WIDTH, 10**5)], r"page 1 has shape \(4, 5\) .* page 0 has \(4, 100000\)"),
        ([(1, HEIGHT, 0)], "damaged TIFF|page 1 has shape"),
        ([(2, OFFSETS, 10**9)], "truncated TIFF file: it announces 1000000040 bytes"),
        ([(1, SAMPLES, 3)], "page 1 has shape|damaged TIFF file"),
        ([(page, COMPRESSION, 5) for page in range(3)], "damaged TIFF file, or one packed in an unknown way"),
        ([(page, COMPRESSION, 8) for page in range(3)], "damaged TIFF file"),
    ],
    ids=["size", "one size", "no rows", "place", "colour", "LZW", "zlib"],
)
def test_tiff_that_lies_is_refused(tmp_path, changes, complaint):
    refused(make_tiff(tmp_path / "a.tif", IMAGES, changes=changes), rf"a\.tif: .*({complaint})")


def test_packed_page_that_claims_to_be_huge_is_refused(tmp_path):
    changes = [(0, tag, 10**5) for tag in (WIDTH, HEIGHT, STRIP_ROWS)] + [(0, COMPRESSION, 8)]
    refused(
        make_tiff(tmp_path / "a.tif", IMAGES[:1], changes=changes),
        "declares 20000000000 bytes, more than it can hold",
    )


@pytest.mark.parametrize(("n_images", "link"), [(1, (0, 0)), (3, (2, 1)), (150, (149, 149)), (150, (149, 3))])
def test_tiff_whose_pages_never_end_is_refused(tmp_path, n_images, link):
    images = np.zeros((n_images, 4, 5), np.uint8)
    refused(make_tiff(tmp_path / "a.tif", images, links=[link]), rf"page {link[0] + 1} is page \d+ again")


@pytest.mark.parametrize("n_behind", [100, 10**9, -1, 0])
def test_imagej_stack_that_claims_more_images_than_it_has(tmp_path, n_behind):
    path = make_tiff(
        tmp_path / "a.tif", IMAGES, description=f"ImageJ=1.54f\nimages={n_behind}\n", behind=True
    )
    if n_behind > 3:
        refused(path, "truncated TIFF file")
    else:
        np.testing.assert_array_equal(read_volume(path)[0], IMAGES[:1])


def test_tiff_in_colour_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 8, 8, 3), np.uint8), photometric="rgb")
    refused(
        tmp_path / "a.tif", r"page 0 has shape \(8, 8, 3\) .* expected rows and columns .* one grey value"
    )


@given(cut=st.integers(0, 1200))
@settings(max_examples=30, deadline=None)
def test_tiff_cut_anywhere_is_refused(tmp_path_factory, cut):
    path = make_tiff(tmp_path_factory.mktemp("cut") / "a.tif", IMAGES)
    whole = path.read_bytes()
    path.write_bytes(whole[: cut % len(whole)])
    with pytest.raises(ValueError, match=r"a\.tif"):
        read_volume(path)


@given(changes=st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_damaged_tiff_gives_numbers_or_an_error_that_names_it(tmp_path_factory, changes):
    path = make_tiff(tmp_path_factory.mktemp("damaged") / "a.tif", IMAGES)
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(content)
    try:
        assert read_volume(path)[0].nbytes < 10**6
    except ValueError as error:
        assert "a.tif" in str(error)


# ---- HDF5 files that lie


def test_values_that_lie_in_another_file_are_refused(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(120))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", (3, 4, 5), "i2", external=[(str(tmp_path / "secret"), 0, 120)])
    with pytest.raises(ValueError, match="the values of data set 'images' lie in other files"):
        read_volume(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_virtual_dataset("images", h5py.VirtualLayout((10**5, 10**5, 10**5), "i2"))
    with pytest.raises(ValueError, match="the values of data set 'images' lie in other files"):
        read_volume(tmp_path / "b.h5")


def test_lists_beside_the_images_that_claim_to_be_huge_are_not_read(tmp_path):
    path = make_hdf5(tmp_path / "a.h5", IMAGES)
    with h5py.File(path, "a") as file:
        file.create_dataset("tilts_deg", (10**12,), "f8", chunks=(100,))
    assert open_stack(path).tilts_deg is None
    path = make_velox(tmp_path / "b.emd", IMAGES, [])
    with h5py.File(path, "a") as file:
        group = file["Data/Image/0e1f2a3b4c5d"]
        del group["Metadata"]
        group.create_dataset("Metadata", (10**9, 10**5), np.uint8, chunks=(100, 1))
    assert open_stack(path).tilts_deg is None


def test_hdf5_cut_short_is_refused_when_it_is_opened_or_read(tmp_path):
    images = np.random.default_rng(0).normal(size=(8, 64, 64))
    whole = make_hdf5(tmp_path / "a.h5", images).read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99):
        (tmp_path / "a.h5").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError, match=r"a\.h5: (damaged HDF5 file|.*not an MRC file)"):
            read_volume(tmp_path / "a.h5")
