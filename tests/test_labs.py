"""What holds for every lab: its release is in step with its source, and says what to do when nothing is written yet."""

import re
import subprocess
import sys

import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from tests.labs import ROOT, Lab, grade_id, mark, names

LABS = [pytest.param(Lab(name), id=name) for name in names()]


def test_released_labs_are_what_their_sources_give():
    command = [sys.executable, ROOT / "tools" / "release_labs.py", "--check"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("lab", LABS)
def test_a_lab_is_worth_100_points(lab):
    assert sum(mark(cell).get("points", 0) for cell in lab.source().cells) == 100


@pytest.mark.parametrize("lab", LABS)
def test_a_released_lab_holds_no_solution_and_no_hidden_test(lab):
    text = "\n".join(cell.source for cell in lab.release().cells)
    assert not re.search(r"SOLUTION|HIDDEN|seed=None", text)
    assert text.count("raise NotImplementedError()") == len(lab.solutions())


@pytest.mark.parametrize("lab", LABS)
def test_every_check_runs_hidden_cases_too(lab):
    checks = [cell.source for cell in lab.source().cells if grade_id(cell) in lab.worth]
    assert [check for check in checks if "BEGIN HIDDEN TESTS" not in check] == []


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One for all labs: what it takes longest to do is to import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel()
        yield manager
        manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("lab", LABS)
def test_an_untouched_lab_says_at_every_check_what_to_do(lab, kernel):
    notebook = lab.submission({})  # without the demonstrations, which stop at the first stub
    notebook.cells.insert(0, new_code_cell("%reset -f"))
    NotebookClient(notebook, km=kernel, timeout=120, allow_errors=True).execute()
    checks = [cell for cell in notebook.cells if grade_id(cell) in lab.worth]
    assert len(checks) == len(lab.worth)
    for cell in checks:
        (error,) = [output for output in cell.outputs if output.output_type == "error"]
        (paragraph,) = error.traceback
        assert error.ename == "NotWritten"
        assert "is not written yet" in paragraph
        assert "\n" not in paragraph
