"""Setting up: what a machine that lacks something is told, and when the site is executed anew."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import build_book

ROOT = Path(__file__).resolve().parent.parent


def check_python(python: str, **environment: str) -> subprocess.CompletedProcess:
    command = ["sh", str(ROOT / "tools" / "check_python.sh"), python]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def python_that_first_runs(tmp_path: Path, name: str, code: str) -> dict[str, str]:
    """An environment in which Python finds a module of our making before its own."""
    (tmp_path / f"{name}.py").write_text(code)
    return {"PYTHONPATH": str(tmp_path)}


def one_line(text: str) -> str:
    assert text.count("\n") == 1, f"expected one line, got: {text!r}"
    return text.strip()


def test_a_fitting_python_is_accepted_in_silence():
    answer = check_python(sys.executable)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_a_python_that_is_too_old_is_named_in_one_line(tmp_path):
    old = python_that_first_runs(
        tmp_path, "sitecustomize", "import sys\nsys.version_info = (3, 9, 2, 'final', 0)\n"
    )
    answer = check_python(sys.executable, **old)
    assert answer.returncode != 0
    assert re.search(r"3\.11 or newer.*is Python 3\.9.*apt install", one_line(answer.stderr))


def test_a_python_without_ensurepip_is_told_what_to_install(tmp_path):
    # Debian's python3 without python3-venv: the module venv is there, ensurepip is not.
    bare = python_that_first_runs(tmp_path, "ensurepip", "raise ModuleNotFoundError('ensurepip')\n")
    answer = check_python(sys.executable, **bare)
    assert answer.returncode != 0
    assert re.search(r"no module venv or ensurepip.*python3-venv", one_line(answer.stderr))


def test_no_python_at_all_is_one_line_too():
    answer = check_python("python-that-is-not-there")
    assert answer.returncode != 0
    assert "there is no 'python-that-is-not-there'" in one_line(answer.stderr)


def test_make_help_lists_every_target():
    public = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [target for target in public if f"make {target} " not in said] == []


@pytest.fixture
def small_tree(tmp_path, monkeypatch):
    """A tree with a package, a configuration and what an earlier build left; Jupyter Book is not run."""
    for name in ("etlab/geometry.py", "requirements.txt", "_config.yml", "_toc.yml", "assets/a.css"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("before")
    monkeypatch.setattr(build_book, "ROOT", tmp_path)
    monkeypatch.setattr(build_book, "BUILD", tmp_path / "_build")
    monkeypatch.setattr(build_book, "run", lambda command, log: 0)
    build_book.main()

    for folder in (".jupyter_cache", ".doctrees", "html"):
        (tmp_path / "_build" / folder).mkdir()
    return tmp_path, lambda: {path.name for path in (tmp_path / "_build").iterdir() if path.is_dir()}


def test_a_second_build_keeps_everything(small_tree):
    _, kept = small_tree
    build_book.main()
    assert kept() == {".jupyter_cache", ".doctrees", "html"}


@pytest.mark.parametrize("changed", ["etlab/geometry.py", "requirements.txt"])
def test_a_change_in_the_package_or_the_pins_executes_all_pages_anew(small_tree, changed):
    tree, kept = small_tree
    (tree / changed).write_text("after")
    build_book.main()
    assert kept() == set()


def test_a_new_style_sheet_keeps_the_executions(small_tree):
    tree, kept = small_tree
    (tree / "assets" / "a.css").write_text("after")
    build_book.main()
    assert kept() == {".jupyter_cache"}


def test_a_failed_build_is_not_taken_up_again(small_tree, monkeypatch):
    # Sphinx repeats no warning of pages it has read, so a second build would pass with the fault still there.
    _, kept = small_tree
    monkeypatch.setattr(build_book, "run", lambda command, log: 1)
    assert build_book.main() == 1
    build_book.main()
    assert kept() == {".jupyter_cache"}
