"""Volumes written plane by plane: whole and true, or not there at all."""

import json
import subprocess
import sys

import h5py
import mrcfile
import numpy as np
import pytest

from etlab.io import check_output, open_stack, read_volume, volume_writer

ENDINGS = [".mrc", ".rec", ".map", ".h5", ".hdf5", ".zarr"]
FORMATS = [".mrc", ".h5", ".zarr"]
VOLUME = np.random.default_rng(0).normal(size=(35, 10, 13)).astype(np.float32)
PROVENANCE = {"etlab": "0.1.0", "method": "SIRT, 20 iterations", "tilts": "-60° to 60°, " * 30}


def write(path, volume=VOLUME, step=4, voxel_nm=0.25, **options):
    with volume_writer(path, volume.shape, voxel_nm, PROVENANCE, **options) as out:
        for z0 in range(0, len(volume), step):
            out.write(z0, volume[z0 : z0 + step])
    return path


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("step", [1, 4, 35])
def test_what_is_written_comes_back_and_nothing_else_is_left(tmp_path, ending, step):
    path = write(tmp_path / f"a{ending}", step=step)
    volume, voxel_nm = read_volume(path)
    np.testing.assert_array_equal(volume, VOLUME)
    assert voxel_nm == pytest.approx(0.25)
    assert list(tmp_path.iterdir()) == [path]


def test_mrc_is_to_the_letter_and_says_in_labels_how_it_came_to_be(tmp_path):
    path = write(tmp_path / "a.mrc")
    assert mrcfile.validate(path)
    with mrcfile.open(path) as file:
        assert file.is_volume()
        assert file.voxel_size.x == file.voxel_size.z == pytest.approx(2.5)  # Å
        assert file.header.dmin == VOLUME.min()
        assert file.header.dmean == pytest.approx(VOLUME.mean(dtype=float), abs=1e-7)
        labels = file.get_labels()
    assert labels[:3] == ["etlab: 0.1.0", "method: SIRT, 20 iterations", labels[2]]
    assert labels[2].startswith("tilts: -60? to 60?")  # ASCII is all that a label may hold
    assert max(map(len, labels)) <= 80
    assert len(labels) > 3  # what is longer than a label goes on in the next


def test_more_provenance_than_fits_is_cut_after_ten_labels(tmp_path):
    with volume_writer(tmp_path / "a.mrc", (1, 2, 2), 1.0, {str(n): "value" for n in range(12)}) as out:
        out.write(0, np.zeros((1, 2, 2)))
    with mrcfile.open(tmp_path / "a.mrc") as file:
        assert file.get_labels() == [f"{n}: value" for n in range(10)]


def test_statistics_of_a_volume_far_from_zero_do_not_drown(tmp_path):
    volume = 1e6 + VOLUME.astype(np.float64)
    write(tmp_path / "a.mrc", volume, step=1)
    with mrcfile.open(tmp_path / "a.mrc") as file:
        assert file.header.rms == pytest.approx(volume.astype(np.float32).std(dtype=np.float64), rel=1e-6)


def test_hdf5_holds_voxel_size_and_provenance(tmp_path):
    with h5py.File(write(tmp_path / "a.h5")) as file:
        assert file["volume"].attrs["voxel_nm"] == 0.25
        assert file["volume"].attrs["axes"] == "z y x"
        assert dict(file["provenance"].attrs) == PROVENANCE
        assert file["volume"].chunks == (16, 10, 13)


@pytest.mark.parametrize("ending", FORMATS)
def test_provenance_of_any_letters_costs_no_volume(tmp_path, ending):
    with volume_writer(tmp_path / f"a{ending}", (1, 2, 2), 1.0, {"series": "\udcff\n$\0<b> θ"}) as out:
        out.write(0, np.zeros((1, 2, 2)))
    assert read_volume(tmp_path / f"a{ending}")[1] == 1.0


def test_ome_zarr_describes_its_levels_in_nanometres(tmp_path):
    volume = np.random.default_rng(1).normal(size=(5, 9, 600)).astype(np.float32)
    path = write(tmp_path / "a.zarr", volume)
    (image,) = json.loads((path / ".zattrs").read_text())["multiscales"]
    assert image["version"] == "0.4"
    assert image["axes"] == [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    assert image["metadata"] == PROVENANCE
    scales = [level["coordinateTransformations"][0]["scale"] for level in image["datasets"]]
    firsts = [level["coordinateTransformations"][1]["translation"] for level in image["datasets"]]
    assert [level["path"] for level in image["datasets"]] == ["0", "1", "2"]
    assert scales == [[0.25] * 3, [0.5] * 3, [1.0] * 3]
    assert firsts == [[0.0] * 3, [0.125] * 3, [0.375] * 3]  # centres of the first voxels


def test_coarser_levels_are_means_of_finer_ones(tmp_path):
    zarr = pytest.importorskip("zarr")
    volume = np.random.default_rng(1).normal(size=(70, 9, 600)).astype(np.float32)
    path = write(tmp_path / "a.zarr", volume)
    level = zarr.open_array(path / "1", mode="r")[:]
    expected = volume[:, :8].reshape(35, 2, 4, 2, 300, 2).mean((1, 3, 5))
    np.testing.assert_allclose(level, expected, atol=1e-6)
    assert zarr.open_array(path / "2", mode="r").shape == (17, 2, 150)
    assert not (path / "3").exists()


def test_ome_zarr_of_one_plane_is_coarsened_within_the_plane(tmp_path):
    volume = np.arange(600, dtype=np.float32).reshape(1, 1, 600)
    path = write(tmp_path / "a.zarr", volume)
    levels = json.loads((path / ".zattrs").read_text())["multiscales"][0]["datasets"]
    assert levels[2]["coordinateTransformations"][0]["scale"] == [0.25, 0.25, 1.0]


# ---- what must not be written


@pytest.mark.parametrize("ending", FORMATS)
def test_error_on_the_way_leaves_nothing_and_keeps_what_was_there(tmp_path, ending):
    path = write(tmp_path / f"a{ending}")
    with pytest.raises(KeyboardInterrupt), volume_writer(path, VOLUME.shape, 1.0, {}, overwrite=True) as out:
        out.write(0, VOLUME[:20] + 1)
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(read_volume(path)[0], VOLUME)


@pytest.mark.parametrize("ending", FORMATS)
def test_existing_volume_is_replaced_only_when_asked(tmp_path, ending):
    path = write(tmp_path / f"a{ending}")
    with pytest.raises(FileExistsError, match=rf"a\{ending} exists; pass overwrite=True"):
        write(path, VOLUME + 1)
    np.testing.assert_array_equal(read_volume(path)[0], VOLUME)
    write(path, VOLUME[:3], overwrite=True)
    np.testing.assert_array_equal(read_volume(path)[0], VOLUME[:3])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", FORMATS)
def test_volume_with_planes_missing_is_not_kept(tmp_path, ending):
    with (
        pytest.raises(ValueError, match="20 of 35 planes were written"),
        volume_writer(tmp_path / f"a{ending}", VOLUME.shape, 1.0, {}) as out,
    ):
        out.write(0, VOLUME[:20])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("z0", "planes", "complaint"),
    [
        (3, VOLUME[3:5], "z0: got 3, expected 2"),
        (0, VOLUME[:2], "z0: got 0, expected 2"),
        (2, VOLUME[2:4, :5], r"planes: got shape \(2, 5, 13\)"),
        (2, VOLUME[2], r"planes: got shape \(10, 13\)"),
        (2, np.concatenate([VOLUME, VOLUME]), r"planes: got shape \(70, 10, 13\) from z0 = 2 on"),
        (2, np.full_like(VOLUME[2:3], np.nan), "planes: some values are NaN"),
        (2, np.full((1, 10, 13), 1e300), "beyond float32"),
    ],
)
def test_planes_that_do_not_belong_there_are_refused(tmp_path, z0, planes, complaint):
    with (
        pytest.raises(ValueError, match=complaint),
        volume_writer(tmp_path / "a.mrc", VOLUME.shape, 1.0, {}) as out,
    ):
        out.write(0, VOLUME[:2])
        out.write(z0, planes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "shape", "voxel_nm", "error", "complaint"),
    [
        ("a.tif", (2, 3, 4), 1.0, ValueError, r"a\.tif: ends in '\.tif', expected one of \.mrc"),
        ("none/a.mrc", (2, 3, 4), 1.0, FileNotFoundError, "there is no folder"),
        ("a.mrc", (3, 4), 1.0, ValueError, r"shape: got \(3, 4\)"),
        ("a.mrc", (0, 3, 4), 1.0, ValueError, r"shape: got \(0, 3, 4\)"),
        ("a.mrc", (2, 3, 4), 0.0, ValueError, "voxel_nm: got 0.0"),
    ],
)
def test_impossible_volumes_are_refused_at_once(tmp_path, name, shape, voxel_nm, error, complaint):
    with pytest.raises(error, match=complaint), volume_writer(tmp_path / name, shape, voxel_nm, {}):
        pass
    assert list(tmp_path.iterdir()) == []


def test_folder_is_never_replaced_by_a_file(tmp_path):
    (tmp_path / "a.mrc").mkdir()
    (tmp_path / "a.mrc" / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match=r"a\.mrc is a folder, which is not replaced"):
        check_output(tmp_path / "a.mrc", overwrite=True)
    with pytest.raises(FileExistsError, match=r"a\.mrc is a folder"):
        write(tmp_path / "a.mrc", overwrite=True)
    assert (tmp_path / "a.mrc" / "thesis.tex").exists()


def test_complex_planes_are_refused(tmp_path):
    with (
        pytest.raises(TypeError, match="planes: got values of type complex64"),
        volume_writer(tmp_path / "a.h5", VOLUME.shape, 1.0, {}) as out,
    ):
        out.write(0, VOLUME.astype(np.complex64))


def test_what_cannot_be_written_is_known_before_hours_of_computing(tmp_path, monkeypatch):
    check_output(tmp_path / "a.zarr")
    monkeypatch.setitem(sys.modules, "zarr", None)  # as if it were not installed
    with pytest.raises(ValueError, match=r"a\.zarr: OME-Zarr needs the package zarr: pip install zarr"):
        check_output(tmp_path / "a.zarr")
    (tmp_path / "a.mrc").touch()
    with pytest.raises(FileExistsError):
        check_output(tmp_path / "a.mrc")
    check_output(tmp_path / "a.mrc", overwrite=True)


FILL = """
import resource, signal, sys
import numpy as np
from etlab.io import volume_writer

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then the system says "File too large", as it says that a disk is full
planes = np.random.default_rng(0).normal(size=(32, 100, 100))
for room in map(int, sys.argv[2:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        with volume_writer(sys.argv[1], (64, 100, 100), 1.0, {"how": "random"}) as out:
            out.write(0, planes)
            out.write(32, planes)
    except OSError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(f"error: {error}")
"""


@pytest.mark.parametrize("ending", FORMATS)
def test_full_disk_is_an_error_that_names_the_file_and_leaves_nothing(tmp_path, ending):
    pytest.importorskip("resource", reason="the system has no limit on the size of a file")
    path = tmp_path / f"a{ending}"
    # -B, or what is imported for the first time leaves half a file of bytecode behind, in the environment
    call = [sys.executable, "-B", "-c", FILL, str(path), "100", "10000", "300000"]
    child = subprocess.run(call, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr  # not a crash, which HDF5 is given to
    assert child.stdout.splitlines() == 3 * [f"error: [Errno 27] File too large: '{path}'"]
    assert list(tmp_path.iterdir()) == []


# ---- OME-Zarr of others


def make_ome_zarr(path, **changes):
    """An OME-Zarr 0.4 image written by hand: its values are one block, little-endian."""
    (path / "s0").mkdir(parents=True)
    array = {"zarr_format": 2, "shape": [2, 3, 4], "chunks": [2, 3, 4], "dtype": "<i2", "order": "C"}
    array |= {"compressor": None, "filters": None, "fill_value": 0} | changes
    (path / "s0" / ".zarray").write_text(json.dumps(array))
    (path / "s0" / "0.0.0").write_bytes(np.arange(24, dtype="<i2").tobytes())
    scale = {"type": "scale", "scale": [0.003, 0.002, 0.002]}
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    image = {
        "version": "0.4",
        "axes": axes,
        "datasets": [{"path": "s0", "coordinateTransformations": [scale]}],
    }
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    (path / ".zattrs").write_text(json.dumps({"multiscales": [image]}))
    return path


def test_ome_zarr_of_others_is_read(tmp_path):
    stack = open_stack(make_ome_zarr(tmp_path / "a.zarr"))
    assert stack.pixel_nm == pytest.approx(2.0)
    np.testing.assert_array_equal(stack.read(), np.arange(24).reshape(2, 3, 4))


def test_ome_zarr_that_lies_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.zarr: announces \d+ bytes, but only \d+ are stored"):
        read_volume(make_ome_zarr(tmp_path / "a.zarr", shape=[10**5, 10**5, 10**5]))
    with pytest.raises(ValueError, match=r"b\.zarr: holds values of shape \(4,\)"):
        read_volume(make_ome_zarr(tmp_path / "b.zarr", shape=[4], chunks=[4]))
    (tmp_path / "c.zarr").mkdir()
    with pytest.raises(ValueError, match=r"c\.zarr: not an OME-Zarr image"):
        read_volume(tmp_path / "c.zarr")


def make_zarr(path, zarr_format, scales, overall=None, unit="nanometer", lead=(), **how):
    """An OME-Zarr image of one level as zarr writes it; the description is that of version 0.4 or 0.5."""
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    group.create_array("0", shape=(*lead, 2, 3, 4), dtype="f4", **how)[...] = np.arange(24).reshape(
        *lead, 2, 3, 4
    )
    axes = [{"name": name, "type": "time"} for name in "tc"[: len(lead)]]
    axes += [{"name": name, "type": "space", "unit": unit} for name in "zyx"]
    transformations = [{"type": "scale", "scale": [scale] * len(axes)} for scale in scales]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": transformations}]}
    if overall:
        image["coordinateTransformations"] = [{"type": "identity"}, {"type": "scale", "scale": overall}]
    group.attrs.update(
        {"multiscales": [image]} if zarr_format == 2 else {"ome": {"version": "0.5", "multiscales": [image]}}
    )
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("scales", "overall", "unit", "lead", "expected"),
    [
        ([2.0], None, "nanometer", (), 2.0),
        ([1.0], [9, 9, 2.5], "nanometer", (), 2.5),  # the scale of all levels
        ([2.0], [9, 9, 2.5], "angstrom", (), 0.5),
        ([0.002], None, "micrometer", (), 2.0),
        ([], [1e-6, 1e-6, 2e-6], "millimeter", (), 2.0),
        ([2.0], None, "parsec", (), None),
        ([2.0], None, "nanometer", (1, 1), 2.0),
    ],
)
def test_scales_of_the_level_and_of_all_levels_count(
    tmp_path, zarr_format, scales, overall, unit, lead, expected
):
    volume, voxel_nm = read_volume(make_zarr(tmp_path / "a.zarr", zarr_format, scales, overall, unit, lead))
    assert voxel_nm == (expected and pytest.approx(expected))
    np.testing.assert_array_equal(volume, np.arange(24).reshape(2, 3, 4))


def test_a_zarr_folder_of_any_name_is_read_and_several_times_are_refused(tmp_path):
    assert open_stack(make_zarr(tmp_path / "volume", 3, [2.0])).shape == (2, 3, 4)
    path = make_ome_zarr(tmp_path / "b.zarr", shape=[2, 2, 3, 4], chunks=[1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"shape \(2, 2, 3, 4\) .* of time and channel at most one"):
        read_volume(path)


def test_a_collection_of_images_names_one_of_them(tmp_path):
    make_ome_zarr(tmp_path / "a.zarr" / "0")
    (tmp_path / "a.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    (tmp_path / "a.zarr" / ".zattrs").write_text('{"bioformats2raw.layout": 3}')
    with pytest.raises(ValueError, match=r"is a collection of OME-Zarr images, .*a\.zarr.0$"):
        read_volume(tmp_path / "a.zarr")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("compressors", [None, "auto"])
def test_a_chunk_that_was_cut_short_is_named(tmp_path, zarr_format, compressors):
    path = make_zarr(tmp_path / "a.zarr", zarr_format, [2.0], chunks=(1, 3, 4), compressors=compressors)
    chunk = path / "0" / ("1.0.0" if zarr_format == 2 else "c/1/0/0")
    chunk.write_bytes(chunk.read_bytes()[:-5])
    name = chunk.relative_to(path).as_posix()
    with pytest.raises(
        ValueError, match=rf"a\.zarr: damaged: chunk {name} .*\d+ bytes.*; copy the folder again"
    ):
        read_volume(path)
