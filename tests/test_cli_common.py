"""What all commands do alike: errors in a line, tracebacks for those who ask, no import that can wait."""

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from etlab.challenge.sandbox import SandboxError
from etlab.cli import app
from etlab.cli.common import errors_in_one_line
from etlab.slabs import SlabError
from etlab.solvers.learned import WeightsError

HEAVY = ("numba", "matplotlib", "scipy", "skimage", "h5py", "dask")


@pytest.fixture(autouse=True)
def no_debug(monkeypatch):
    """Tests leave no variable behind, whatever a command sets."""
    monkeypatch.setenv("ETLAB_DEBUG", "")


@pytest.mark.parametrize("kind", [ValueError, OSError, MemoryError, SlabError, SandboxError, WeightsError])
def test_what_the_user_can_mend_is_said_in_a_line(kind, capsys):
    with pytest.raises(typer.Exit), errors_in_one_line():
        raise kind("rows: got 3, expected 4; pass overwrite=True")
    assert capsys.readouterr().err == "error: --rows: got 3, expected 4; use --overwrite\n"


def test_a_mistake_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), errors_in_one_line():
        raise ZeroDivisionError


def test_debug_shows_the_traceback(tmp_path):
    absent = str(tmp_path / "absent.mrc")
    assert isinstance(CliRunner().invoke(app, ["info", absent]).exception, SystemExit)
    assert isinstance(CliRunner().invoke(app, ["--debug", "info", absent]).exception, FileNotFoundError)


def test_a_warning_is_a_note(capsys):
    import warnings

    with errors_in_one_line():
        warnings.warn("the disk cannot lock files", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "note: the disk cannot lock files\n"


def test_help_waits_for_no_heavy_library():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom etlab.cli import app\n"
        "assert CliRunner().invoke(app, ['reconstruct', '--help']).exit_code == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
