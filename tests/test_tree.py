"""The tree itself: what is tracked, what is pinned, what is cited."""

import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def git(*arguments: str) -> list[str]:
    listed = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def pins(lock: str) -> dict[str, set[Version]]:
    """The versions a lock pins of each package; several where they depend on the Python or the system."""
    found: dict[str, set[Version]] = {}
    for line in (ROOT / lock).read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)(\[[^\]]*\])?==([^ ;\\]+)", line):
            found.setdefault(canonicalize_name(match[1]), set()).add(Version(match[3]))
    return found


def test_nothing_that_git_ignores_is_tracked():
    assert git("ls-files", "--cached", "--ignored", "--exclude-standard") == []


def test_no_folder_is_called_static():
    # Jupyter Book 1 would load every script below it on every page, and sliders would appear twice.
    assert [path for path in git("ls-files") if "_static" in Path(path).parts] == []


def test_no_tracked_file_names_a_path_of_one_machine():
    machine = re.compile("|".join([re.escape(str(ROOT)) + r"\b", r"/(?:home|Users)/\w+/", r"\.\./shared\b"]))
    guilty = []
    for name in git("ls-files"):
        path = ROOT / name
        if path.suffix in {".png", ".mrc", ".woff"} or path == Path(__file__) or not path.is_file():
            continue
        if found := machine.search(path.read_text(errors="ignore")):
            guilty.append((name, found[0]))
    assert guilty == []


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("requirements.txt", ["book", "learned"]),
        ("requirements-dev.txt", ["dev", "grading"]),
        ("requirements-training.txt", ["learned", "dev"]),
    ],
)
def test_lock_satisfies_the_project(lock, extras):
    pinned = pins(lock)
    wanted = PROJECT["dependencies"] + [
        line for extra in extras for line in PROJECT["optional-dependencies"][extra]
    ]
    for requirement in map(Requirement, wanted):
        versions = pinned.get(canonicalize_name(requirement.name))
        assert versions, f"{lock} lacks {requirement.name}: run `make lock`"
        assert all(v in requirement.specifier for v in versions), f"{lock} pins {requirement.name} {versions}"


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt", "requirements-training.txt"])
def test_every_pin_has_a_hash(lock):
    entries = re.split(r"\n(?=[A-Za-z0-9])", (ROOT / lock).read_text())
    assert [entry.split()[0] for entry in entries if "==" in entry and "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("other", ["requirements-dev.txt", "requirements-training.txt"])
def test_the_locks_agree(other):
    book, others = pins("requirements.txt"), pins(other)
    assert {
        name: (book[name], others[name]) for name in book.keys() & others if book[name] != others[name]
    } == {}


def test_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    required = {"cff-version", "message", "title", "authors", "version", "license", "repository-code"}
    assert required <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["version"] == version("etlab")
    assert citation["license"] == PROJECT["license"]
    assert all("name" in author or "family-names" in author for author in citation["authors"])


def test_site_and_citation_name_the_same_repository():
    site = yaml.safe_load((ROOT / "_config.yml").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert site["repository"]["url"] == citation["repository-code"]
