"""What all commands do alike: errors in a line, tracebacks for those who ask, no import that can wait."""

import io
import subprocess
import sys
import warnings

import h5py
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from etlab.cli import app
from etlab.cli.common import errors_in_one_line, say, say_anything, spared
from etlab.course.sandbox import SandboxError
from etlab.io import write_mrc
from etlab.pipeline import SlabError
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


def test_info_compiles_and_draws_nothing(tmp_path):
    """`etlab info FILE` and `etlab --help` import neither numba nor matplotlib."""
    write_mrc(tmp_path / "a.mrc", np.random.default_rng(0).random((9, 32, 32), np.float32), voxel_nm=1)
    np.savetxt(tmp_path / "a.tlt", np.linspace(-60, 60, 9))
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom etlab.cli import app\n"
        f"for words in (['--help'], ['info', {str(tmp_path / 'a.mrc')!r}]):\n"
        "    assert CliRunner().invoke(app, words).exit_code == 0\n"
        "print([name for name in ('numba', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


ODD = "a\x1b[31m\u202eb\nc\udcff.mrc"
SHOWN = r"a\x1b[31m\u202eb\nc\udcff.mrc"


def test_what_a_terminal_would_interpret_is_shown(capsys):
    with pytest.raises(typer.Exit), errors_in_one_line():
        warnings.warn(ODD, UserWarning, stacklevel=1)
        spared("picture", lambda: 1 / 0)
        raise ValueError(ODD)
    lines = f"note: {SHOWN}\nwarning: no picture: ZeroDivisionError: division by zero\nerror: {SHOWN}\n"
    assert capsys.readouterr().err == lines
    say(f"é 日本 × … {ODD}")
    assert capsys.readouterr().out == f"é 日本 × … {SHOWN}\n"


def test_names_within_a_file_reach_no_terminal_as_they_are(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["b\x1b[5m"] = file["c\nd"] = np.ones((2, 3, 4))
    done = CliRunner().invoke(app, ["info", str(tmp_path / "a.h5")])
    assert r"b\x1b[5m, c\nd" in done.stderr and "\x1b" not in done.stderr


def test_closed_and_broken_streams_stop_nothing(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

        def flush(self):
            raise OSError(32, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", Full())
    say_anything()
    say("no one hears")
    say("it", err=True)
    assert not sys.stderr.isatty()
    sys.stdout.close()
