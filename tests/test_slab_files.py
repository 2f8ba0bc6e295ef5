"""What runs on slabs leave on the disk, and how they keep out of each other's way."""

import errno
import os
import signal
import warnings
from types import SimpleNamespace

import h5py
import mrcfile
import numpy as np
import pytest
from tqdm.auto import tqdm

from etlab.io import open_series, read_volume, volume_writer, write_mrc
from etlab.pipeline import Prepared, SlabError, write_prepared
from etlab.pipeline.folder import Facts, SlabFolder
from etlab.pipeline.plan import Slab
from etlab.pipeline.run import STEPS, executor, make_slabs

fcntl = pytest.importorskip("fcntl")
TILTS = np.linspace(-60, 60, 5)
IMAGES = np.random.default_rng(0).random((5, 8, 9)).astype(np.float32)


@pytest.fixture
def series(tmp_path):
    write_mrc(tmp_path / "series.mrc", IMAGES, voxel_nm=2.0)
    return Prepared(open_series(tmp_path / "series.mrc", tilts=TILTS))


# ---- locks


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO])
def test_where_files_cannot_be_locked_the_run_goes_on_and_says_so(tmp_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    folder = SlabFolder(tmp_path / "a.mrc.slabs" / "one", "print", (2, 2))
    with pytest.warns(UserWarning, match=r"cannot be locked here .*no other run writes"), folder.held():
        pass


def test_a_lock_that_another_run_holds_is_said(tmp_path):
    folder = SlabFolder(tmp_path / "a.mrc.slabs" / "one", "print", (2, 2))
    alone = pytest.raises(SlabError, match=rf"another run is at work on it \(process {os.getpid()}")
    with folder.held(), alone, folder.held():
        pass
    assert not folder.path.parent.exists()


# ---- a series that is written


def test_a_killed_run_leaves_nothing_that_the_next_one_does_not_remove(series, tmp_path):
    out, options = tmp_path / "aligned.mrc", {"pixel_nm": 2.0, "provenance": {}}
    if (child := os.fork()) == 0:
        write_prepared(series, out, **options, finish=lambda: os.kill(os.getpid(), signal.SIGKILL))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"series.mrc", "aligned.mrc.slabs", f".aligned.mrc.{child}.part"}
    write_prepared(series, out, **options)
    assert {path.name for path in tmp_path.iterdir()} == {"series.mrc", "aligned.mrc"}
    np.testing.assert_array_equal(read_volume(out)[0], IMAGES)


def test_a_series_says_that_it_is_none_of_planes(series, tmp_path):
    """MRC2014: a stack of images has space group 0 and a cell of one section; a volume has 1 and one of all."""
    write_prepared(series, tmp_path / "aligned.mrc", pixel_nm=2.0, provenance={})
    write_mrc(tmp_path / "images.mrc", IMAGES, voxel_nm=2.0, series=True)
    for name, is_stack in (("aligned.mrc", True), ("images.mrc", True), ("series.mrc", False)):
        with mrcfile.open(tmp_path / name) as file:
            assert file.is_image_stack() == is_stack
            assert file.voxel_size.x == file.voxel_size.z == pytest.approx(20)
            assert file.header.mz == (1 if is_stack else len(IMAGES))
        assert mrcfile.validate(tmp_path / name)
        assert read_volume(tmp_path / name)[1] == pytest.approx(2.0)


def test_a_series_in_hdf5_says_so(series, tmp_path):
    write_prepared(series, tmp_path / "aligned.h5", pixel_nm=2.0, provenance={})
    with volume_writer(tmp_path / "volume.h5", IMAGES.shape, 2.0, {}) as out:
        out.write(0, IMAGES)
    for name, axes in (("aligned", "tilt row x"), ("volume", "z y x")):
        with h5py.File(tmp_path / f"{name}.h5") as file:
            assert file["volume"].attrs["axes"] == axes


# ---- the bar


class Job:
    """Has so many iterations and makes slabs of nothing."""

    def __init__(self, folder, n_iter):
        self.folder, self.method = folder, SimpleNamespace(n_iter=n_iter)

    def __call__(self, slab, stop, tell):
        for _ in range(self.method.n_iter):
            tell()
        self.folder.save(slab, np.zeros((2, 2, 1), np.float32), Facts())


@pytest.mark.parametrize("n_iter", [1, 3, 7, 1500])
def test_the_bar_ends_at_its_end_and_never_beyond(tmp_path, n_iter, monkeypatch):
    bars = []

    class Bar(tqdm):
        def update(self, n=1):
            super().update(n)
            bars.append((self.n, self.total))

    monkeypatch.setattr("etlab.pipeline.run.tqdm", Bar)
    folder = SlabFolder(tmp_path / "a.slabs" / "one", "print", (2, 2))
    with warnings.catch_warnings(), folder.held(), executor(1) as pool:
        warnings.simplefilter("error")
        make_slabs(Job(folder, n_iter), [Slab(x, x + 1) for x in range(3)], pool, progress=True)
    counted = [n for n, _ in bars]
    assert counted == sorted(counted)
    assert bars[-1] == (3 * STEPS, 3 * STEPS)
