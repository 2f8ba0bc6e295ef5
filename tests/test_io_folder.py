"""A folder of TIFF files, an image in each, is a series, in the order that the names tell."""

import pickle

import numpy as np
import pytest
import tifffile

from etlab.io import open_series, open_stack
from etlab.pipeline.describe import describe
from etlab.pipeline.folder import file_digest

IMAGES = np.arange(12 * 4 * 5, dtype=np.uint16).reshape(12, 4, 5)
ANGLES = np.arange(-9.0, 15.0, 2.0)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def fill(folder, names):
    """Save images as float pages under these names, given in their order."""
    for name, image in zip(names, IMAGES, strict=True):
        tifffile.imwrite(folder / name, image)
    np.savetxt(folder / "angles.rawtlt", ANGLES)


@pytest.mark.parametrize(
    "name",
    [
        "IMG-{n:04d}.tif",
        "a{n}.TIF",
        "tilt_{angle:+.1f}.tiff",
        "s1.5nm_{n}_{angle:.1f}deg.tif",
        "run1.{n}.tif",
        "{angle:g}.tif",
    ],
)
def test_names_tell_the_order(folder, name):
    fill(folder, [name.format(n=n, angle=angle) for n, angle in enumerate(ANGLES, 2)])
    series = pickle.loads(pickle.dumps(open_series(folder)))
    np.testing.assert_array_equal(series.read(1, 4), IMAGES[:, :, 1:4])
    assert series.tilts_deg.tolist() == ANGLES.tolist() and series.tilts_from.endswith("angles.rawtlt")
    first, last = (name.format(n=n, angle=angle) for n, angle in ((2, -9.0), (13, 13.0)))
    assert f"in the order {first} … {last}" in series.notes[0]
    assert "12 images of 4 rows" in str(describe(folder)) and len(file_digest(folder)) == 64


def test_angles_beside_the_folder_count_first(folder):
    fill(folder, [f"{n}.tif" for n in range(12)])
    folder.with_suffix(".tlt").write_text("\n".join(map(str, ANGLES + 0.1)))
    assert open_series(folder).tilts_from.endswith("raw.tlt")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("b3.tif", IMAGES[0], "differ by more than numbers"),
        ("a12.tif", IMAGES[0, :3], r"a12\.tif has shape \(1, 3, 5\) and type uint16"),
        ("a12.tif", IMAGES[0].astype(np.int16), "type int16"),
        ("a12.tif", IMAGES[:2], r"shape \(2, 4, 5\)"),
        ("a12.tif", None, "damaged TIFF"),
    ],
)
def test_a_folder_that_is_no_series_is_called_a_folder(folder, name, content, complaint):
    fill(folder, [f"a{n}.tif" for n in range(12)])
    tifffile.imwrite(folder / name, content) if content is not None else (folder / name).write_bytes(b"II*\0")
    with pytest.raises(
        ValueError, match=rf"raw: a folder of 13 TIFF files, not read as a series: .*{complaint}"
    ):
        open_stack(folder)
