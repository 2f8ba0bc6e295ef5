"""What Binder, a devcontainer, GitHub and Zenodo are told: it parses, it names what is there, and the image renders."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def citation() -> dict:
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def make_targets() -> set[str]:
    return set(re.findall(r"^([\w./$()-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))


def repo2docker(folder: Path, home: Path) -> subprocess.CompletedProcess:
    """Render the image of a repository; nothing is built."""
    command = [
        sys.executable,
        "-m",
        "repo2docker",
        "--no-build",
        "--debug",
        "--user-id=1000",
        "--user-name=jovyan",
        folder,
    ]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"HOME": str(home)}, timeout=300
    )


def clone(folder: Path) -> Path:
    """The tracked files, as Binder gets them."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "binder", "pyproject.toml", "requirements.txt"],
        cwd=ROOT,
        capture_output=True,
    )
    for name in names.stdout.decode().split("\0")[:-1]:
        to = folder / name
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes((ROOT / name).read_bytes())
        to.chmod((ROOT / name).stat().st_mode)
    return folder


def test_the_image_of_binder_renders_with_its_python_and_its_steps(tmp_path):
    rendered = repo2docker(clone(tmp_path / "course"), tmp_path)
    assert rendered.returncode == 0, rendered.stderr[-2000:]
    assert re.search(r"python[-= ]3\.11|environment.py-3\.11", rendered.stderr)
    assert "binder/requirements.txt" in rendered.stdout + rendered.stderr
    assert "binder/postBuild" in rendered.stdout + rendered.stderr


def test_a_python_that_binder_does_not_have_is_noticed(tmp_path):
    course = clone(tmp_path / "course")
    (course / "binder" / "runtime.txt").write_text("python-eleven\n")
    assert repo2docker(course, tmp_path).returncode != 0


def test_the_pins_of_binder_resolve_for_its_python(tmp_path):
    python = (ROOT / "binder" / "runtime.txt").read_text().strip().removeprefix("python-")
    resolve = [sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--only-binary", ":all:"]
    resolve += ["--python-version", python, "--target", tmp_path, "-r", ROOT / "binder" / "requirements.txt"]
    run = subprocess.run(resolve, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stderr[-2000:]


def test_binder_opens_pages_as_notebooks_and_has_data_and_kernels_ready(tmp_path):
    """Its last step, run here, with a pip that only says what it was asked for."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pip").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/pip\n')
    (tmp_path / "bin" / "pip").chmod(0o755)
    path = os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    from etlab.data import fetch_needle

    settings = {
        "PATH": path,
        "JUPYTER_CONFIG_DIR": str(tmp_path / "jupyter"),
        "NUMBA_CACHE_DIR": str(tmp_path / "numba"),
        "NUMBA_OPT": "0",  # what is compiled here is not used
    }
    settings["ETLAB_CACHE"] = str(fetch_needle().parent)
    run = subprocess.run(
        [ROOT / "binder" / "postBuild"], cwd=ROOT, env=os.environ | settings, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "pip").read_text() == "install --no-deps --editable .\n"
    (viewers,) = (tmp_path / "jupyter").rglob("default_setting_overrides.json")
    viewers = json.loads(viewers.read_text())["@jupyterlab/docmanager-extension:plugin"]["defaultViewers"]
    assert viewers == {"markdown": "Jupytext Notebook", "myst": "Jupytext Notebook"}
    assert list((tmp_path / "numba").rglob("*.nbc"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_parses_and_runs_what_is_there(path):
    workflow = yaml.safe_load(path.read_text())
    assert {"name", "permissions", "jobs"} <= workflow.keys()
    assert True in workflow, "no trigger: YAML reads `on` as true"
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    for step in steps:
        for target in re.findall(r"\bmake ([\w.-]+)", step.get("run", "")):
            assert target in make_targets()
        for file in re.findall(r"(?<![\w./-])(?:tests|tools|benchmarks|\.ci)/[\w./-]+", step.get("run", "")):
            assert (ROOT / file).exists(), f"{path.name} runs {file}"


def test_the_package_is_tested_on_three_systems_and_three_pythons():
    matrix = yaml.safe_load((ROOT / ".github" / "workflows" / "build-and-test.yml").read_text())
    matrix = matrix["jobs"]["package"]["strategy"]["matrix"]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert matrix["python"] == ["3.11", "3.12", "3.13"]


def test_the_devcontainer_parses_and_makes_what_is_there():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    (target,) = re.findall(r"\bmake ([\w./-]+)", container["postCreateCommand"])
    assert target.replace(".venv", "$(VENV)") in make_targets()
    assert set(map(str, container["forwardPorts"])) == set(container["portsAttributes"])


def test_zenodo_is_told_what_the_citation_says():
    told, cited = json.loads((ROOT / ".zenodo.json").read_text()), citation()
    assert told["title"] == cited["title"]
    assert [creator["name"] for creator in told["creators"]] == [
        author["name"] for author in cited["authors"]
    ]
    assert told["license"] == cited["license"]
    assert told["keywords"] == cited["keywords"]


def test_every_notebook_was_measured_and_leaves_room_in_binder():
    rows = json.loads((ROOT / "appendices" / "notebooks.json").read_text())["rows"]
    pages = [path.stem for folder in ("chapters", "labs/source") for path in (ROOT / folder).glob("*.md")]
    assert set(rows) == set(pages), "run benchmarks/notebooks.py --write"
    assert max(row["peak_mb"] for row in rows.values()) <= 1500


def test_every_chapter_and_lab_opens_in_binder(book_html):
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())
    repository = settings["repository"]["url"].removeprefix("https://github.com/")
    address = f"https://mybinder.org/v2/gh/{repository}/main?urlpath=lab/tree/"
    pages = [page for page in book_html.rglob("*.html") if page.parent.name in ("chapters", "release")]
    assert len(pages) > 12
    assert [page.name for page in pages if address not in page.read_text(encoding="utf-8")] == []
