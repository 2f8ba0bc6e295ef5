"""Compiled kernels are kept where there is room for them; where there is none, everything works without."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import etlab
from etlab import compiled

PACKAGE = Path(etlab.__file__).parent
unix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")


def test_all_folders_with_kernels_are_known():
    holding = {
        path.parent for path in PACKAGE.rglob("*.py") if "cache=True" in path.read_text(encoding="utf-8")
    }
    assert holding == {(PACKAGE / name).resolve() for name in compiled.WITH_KERNELS}


@unix
def test_installed_read_only_with_a_home_that_cannot_be_written_to(tmp_path):
    """As in a container that runs with any user id."""
    root = os.getuid() == 0
    if root and not shutil.which("setpriv"):
        pytest.skip("root may write everywhere")
    shutil.copytree(
        PACKAGE, tmp_path / "etlab", ignore=shutil.ignore_patterns("__pycache__", "weights", "tables")
    )
    (tmp_path / "home").mkdir()
    for path in (tmp_path / "home", tmp_path / "etlab", *(tmp_path / "etlab").rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    code = "import os, etlab.kernels; print(os.environ['NUMBA_CACHE_DIR'])"
    call = [sys.executable, "-B", "-c", code]
    if root:
        call = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all", *call]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    place = Path(done.stdout.strip())
    assert place.name.startswith("etlab-numba-") and not place.exists(), "the folder outlived the process"


@pytest.fixture
def nowhere(monkeypatch):
    """No folder can be written to but those that a test names; what is set is undone."""
    writable = set()
    monkeypatch.setattr(compiled, "_can_write", lambda folder: folder in writable)
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.config, "CACHE_DIR", numba.config.CACHE_DIR)
    return writable


def test_a_temporary_folder_is_the_last_resort(nowhere, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    compiled.find_place()
    (place,) = tmp_path.iterdir()
    assert os.environ["NUMBA_CACHE_DIR"] == str(place)
    assert place.stat().st_mode & 0o077 == 0 or os.name == "nt"


@pytest.mark.parametrize("where", ["package", "user", "variable"])
def test_a_place_that_there_is_is_left_alone(nowhere, monkeypatch, tmp_path, where):
    if where == "variable":
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    chosen = {"package": [PACKAGE / name / "__pycache__" for name in compiled.WITH_KERNELS],
              "user": [compiled._of_user()], "variable": [tmp_path]}  # fmt: skip
    nowhere.update(chosen[where])
    before = os.environ["NUMBA_CACHE_DIR"]
    compiled.find_place()
    assert os.environ["NUMBA_CACHE_DIR"] == before


@unix
def test_a_place_is_tried_without_a_trace(tmp_path):
    assert compiled._can_write(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    assert not compiled._can_write(tmp_path / "file" / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
