"""The needle series: how it is fetched and kept, and the facts about it that the course relies on.

The tests of fetching run the real pip on a small stand-in for the wheel; those marked ``data`` read the real
files.
"""

import errno
import hashlib
import os
import subprocess
import sys
import venv
import zipfile

import numpy as np
import pytest
from scipy import ndimage

from etlab import data
from etlab.geometry import TiltGeometry
from etlab.io import open_stack, read_series
from etlab.projector import Projector
from etlab.solvers import wbp

COLUMNS = [100, 128, 150]  # along the needle, where it lies well inside the field
WHEEL = "etspy-1.3.0-py3-none-any.whl"


def make_wheel(folder):
    """Make a wheel that pip accepts: a few bytes in place of each file that we keep, and one more file."""
    contents = {name: f"content of {name}".encode() for name in data.FILES}
    info = "etspy-1.3.0.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
        archive.writestr("etspy/align.py", "not needed")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: etspy\nVersion: 1.3.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest(), digests


@pytest.fixture
def index(tmp_path, monkeypatch):
    """The only place where pip looks: a folder with the stand-in wheel."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheel_digest, digests = make_wheel(folder)
    monkeypatch.setattr(data, "WHEEL_SHA256", wheel_digest)
    monkeypatch.setattr(data, "FILES", digests)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, of which ETLAB_CACHE tells."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ETLAB_CACHE", str(folder))
    return folder


def kept(cache):
    """Every file below the cache folder, scratch folders included."""
    return sorted(path.name for path in cache.glob("*/*"))


def forbid_pip(*args, **kwargs):
    raise AssertionError("pip was called")


def test_first_fetch_keeps_the_needed_files_and_no_others(index, cache, capsys):
    folder = data.fetch_needle()
    assert folder.parent == cache
    assert kept(cache) == sorted(["HAADF.mrc", "HAADF.rawtlt", "HAADF_Aligned.hspy", "LICENSE"])
    assert "downloading the needle series" in capsys.readouterr().err


def test_second_fetch_needs_no_pip_and_says_nothing(index, cache, monkeypatch, capsys):
    data.fetch_needle()
    capsys.readouterr()
    monkeypatch.setattr(data.subprocess, "run", forbid_pip)
    data.fetch_needle()
    assert capsys.readouterr().err == ""


def test_argument_takes_precedence_over_environment(index, cache, tmp_path):
    assert data.fetch_needle(tmp_path / "elsewhere").parent == tmp_path / "elsewhere"
    assert kept(cache) == []


def test_damaged_and_missing_files_in_the_cache_are_fetched_again(index, cache):
    folder = data.fetch_needle()
    contents = {file: file.read_bytes() for file in folder.iterdir()}
    (folder / "HAADF.mrc").write_bytes(b"half")
    (folder / "LICENSE").unlink()
    data.fetch_needle()
    assert {file: file.read_bytes() for file in folder.iterdir()} == contents


def test_wheel_with_another_hash_is_refused(index, cache, monkeypatch):
    monkeypatch.setattr(data, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(data.DataError, match=rf"{WHEEL}: SHA-256 is \w+, expected 0+\."):
        data.fetch_needle()
    assert kept(cache) == []


def test_file_with_another_hash_is_refused(index, cache, monkeypatch):
    monkeypatch.setitem(data.FILES, data.TEST_DATA + "HAADF.mrc", "0" * 64)
    with pytest.raises(data.DataError, match=r"HAADF\.mrc in etspy.*expected 0+\."):
        data.fetch_needle()
    assert kept(cache) == []


def test_offline_with_an_empty_cache_says_what_to_do(cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the discard port: nobody answers
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(data.DataError, match=r"(?s)pip ended with status 1.*offline.*set ETLAB_CACHE"):
        data.fetch_needle()
    assert kept(cache) == []


def test_python_without_pip_is_told_so(cache, tmp_path, monkeypatch):
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    monkeypatch.setattr(data.sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(data.DataError, match=r"(?s)No module named pip.*python -m ensurepip"):
        data.fetch_needle()
    assert kept(cache) == []


def download_half(then):
    """A pip that leaves half a wheel and then does ``then``."""

    def run(command, **options):
        destination = next(word for word in command if word.startswith("--dest=")).removeprefix("--dest=")
        with open(os.path.join(destination, WHEEL), "wb") as wheel:
            wheel.write(b"PK")
        return then(command)

    return run


def test_interrupted_download_leaves_nothing_behind(index, cache, monkeypatch):
    def interrupt(command):
        raise KeyboardInterrupt

    monkeypatch.setattr(data.subprocess, "run", download_half(interrupt))
    with pytest.raises(KeyboardInterrupt):
        data.fetch_needle()
    assert kept(cache) == []


def test_half_a_wheel_is_never_opened(index, cache, monkeypatch):
    succeed = download_half(lambda command: subprocess.CompletedProcess(command, 0, "", ""))
    monkeypatch.setattr(data.subprocess, "run", succeed)
    with pytest.raises(data.DataError, match="damaged"):
        data.fetch_needle()
    assert kept(cache) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_full_or_read_only_disk_names_the_folder_and_the_way_out(index, cache, monkeypatch, code):
    def refuse(source, target):
        raise OSError(code, os.strerror(code), str(target))

    monkeypatch.setattr(data.os, "replace", refuse)
    with pytest.raises(data.DataError, match=rf"(?s){cache}.*{os.strerror(code)}.*ETLAB_CACHE"):
        data.fetch_needle()
    assert kept(cache) == []


def test_cache_that_is_a_file_is_reported_as_such(index, cache):
    cache.write_text("in the way")
    with pytest.raises(data.DataError, match="cannot store"):
        data.fetch_needle()
    assert cache.read_text() == "in the way"


def test_two_processes_may_fetch_at_once(index, cache):
    fetch = (
        "from etlab import data\n"
        f"data.WHEEL_SHA256, data.FILES = {data.WHEEL_SHA256!r}, {data.FILES!r}\n"
        "data.fetch_needle()"
    )
    both = [subprocess.Popen([sys.executable, "-c", fetch], stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
        assert b"downloading" in said  # so they did race
    assert len(kept(cache)) == len(data.FILES)


@pytest.fixture(scope="module")
def needle():
    return data.needle()


@pytest.mark.data
def test_needle_has_the_published_shape_and_pixel(needle):
    assert needle.images.shape == needle.aligned.shape == (77, 256, 256)
    assert needle.images.dtype == needle.aligned.dtype == np.float32
    assert needle.shifts.shape == (77, 2)
    assert needle.pixel_nm == pytest.approx(3.36, abs=1e-3)


@pytest.mark.data
def test_three_records_of_the_tilts_agree(needle):
    expected = np.arange(-76, 77, 2)
    np.testing.assert_allclose(needle.tilts_deg, expected)  # HAADF.rawtlt
    np.testing.assert_allclose(
        open_stack(needle.folder / "HAADF.mrc").tilts_deg, expected
    )  # FEI's extended header
    np.testing.assert_allclose(read_series(needle.folder / "HAADF_Aligned.hspy").tilts_deg, expected)


@pytest.mark.data
def test_vacuum_has_no_counts(needle):
    values, how_often = np.unique(needle.images, return_counts=True)
    assert values[how_often.argmax()] == 0
    assert np.abs(np.median(needle.images[:, -10:, :])) < 5  # of about 64 000 in the needle


@pytest.mark.data
def test_the_notice_of_the_authors_is_kept_beside_the_data(needle):
    assert "National Institute of \nStandards and Technology" in (needle.folder / "LICENSE").read_text()


@pytest.mark.data
def test_largest_recorded_shift_is_38_9_pixels(needle):
    assert np.abs(needle.shifts).max() == pytest.approx(38.9, abs=0.05)
    assert np.abs(needle.shifts).argmax() % 2 == 0  # across the tilt axis, where a stage is less steady


def align(image, shift, tilt_axis_deg, offset):
    """Shift an image, turn it by −tilt_axis_deg about pixel (128, 128), lower it by ``offset`` rows."""
    phi = np.deg2rad(tilt_axis_deg)
    turn = np.array(
        [[np.cos(phi), np.sin(phi)], [-np.sin(phi), np.cos(phi)]]
    )  # aligned (row, x) -> raw (row, x)
    centre = np.array([128, 128])
    start = centre + turn @ (np.array([offset, 0]) - centre)
    return ndimage.affine_transform(ndimage.shift(image, shift, order=1), turn, start, order=1)


def likeness(needle, *, shift_sign=1, axis_sign=1, offset_sign=1, every=1):
    """Correlation of each raw image, aligned by the answer key, with the published aligned one."""
    return np.array(
        [
            np.corrcoef(
                align(
                    needle.images[tilt],
                    shift_sign * needle.shifts[tilt],
                    axis_sign * needle.tilt_axis_deg,
                    offset_sign * needle.tilt_axis_offset,
                ).ravel(),
                needle.aligned[tilt].ravel(),
            )[0, 1]
            for tilt in range(0, 77, every)
        ]
    )


@pytest.mark.data
def test_answer_key_turns_the_raw_stack_into_the_aligned_one(needle):
    assert likeness(needle).min() > 0.9998


@pytest.mark.data
@pytest.mark.parametrize("sign", ["shift_sign", "axis_sign", "offset_sign"])
def test_answer_key_with_one_sign_reversed_does_not(needle, sign):
    assert likeness(needle, **{sign: -1}, every=8).min() < 0.99


def fit_centre_of_mass(images, tilts_deg):
    """Fit a·cos θ + b·sin θ + axis to one column's centre of mass; return (axis, RMS residual) in rows."""
    theta = np.deg2rad(tilts_deg)
    centre = images @ np.arange(images.shape[1]) / images.sum(axis=1)
    design = np.stack([np.cos(theta), np.sin(theta), np.ones_like(theta)], axis=1)
    solution, *_ = np.linalg.lstsq(design, centre, rcond=None)
    return solution[2], np.sqrt(np.mean((centre - design @ solution) ** 2))


@pytest.mark.data
@pytest.mark.parametrize(("column", "expected"), [(100, 9.8), (128, 9.9), (150, 9.9)])
def test_raw_centre_of_mass_strays_from_its_sinusoid(needle, column, expected):
    _, residual = fit_centre_of_mass(needle.images[:, :, column], needle.tilts_deg)
    assert residual == pytest.approx(expected, abs=0.05)


@pytest.mark.data
@pytest.mark.parametrize("column", COLUMNS)
def test_aligned_centre_of_mass_follows_a_sinusoid_about_row_128(needle, column):
    axis, residual = fit_centre_of_mass(needle.aligned[:, :, column], needle.tilts_deg)
    assert residual < 0.1
    assert axis == pytest.approx(128, abs=0.2)


@pytest.mark.data
def test_mass_per_projection_varies_by_two_percent(needle):
    mass = needle.images.sum(axis=(1, 2), dtype=np.float64)
    assert mass.std() / mass.mean() == pytest.approx(0.018, abs=0.001)


def even_odd_correlation(images, tilts_deg):
    """Correlation, column by column, of the slices reconstructed from the even and from the odd tilts."""
    columns = np.ascontiguousarray(images[:, :, COLUMNS])
    halves = []
    for half in (slice(0, None, 2), slice(1, None, 2)):
        geometry = TiltGeometry(tilts_deg[half], volume_shape=(256, 256, len(COLUMNS)))
        halves.append(wbp(Projector(geometry), columns[half]))
    return np.array(
        [np.corrcoef(halves[0][..., i].ravel(), halves[1][..., i].ravel())[0, 1] for i in range(3)]
    )


@pytest.mark.data
def test_even_and_odd_tilts_of_the_aligned_stack_agree(needle):
    assert even_odd_correlation(needle.aligned, needle.tilts_deg).min() >= 0.94


@pytest.mark.data
def test_even_and_odd_tilts_of_the_raw_stack_do_not(needle):
    assert even_odd_correlation(needle.images, needle.tilts_deg).max() <= 0.75
