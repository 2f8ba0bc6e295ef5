"""What ``import etlab`` offers, how light it is, and names from before the package was put in order."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import etlab

HEAVY = {"numba", "matplotlib", "scipy", "h5py", "numpy"}


def test_importing_takes_nothing_with_it():
    code = "import sys, etlab; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not HEAVY & set(loaded)


def test_all_names_are_there_and_no_others():
    assert set(etlab.__all__) == {name for names in etlab.HOMES.values() for name in names} <= set(dir(etlab))
    for name in etlab.__all__:
        assert getattr(etlab, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'tomography'"):
        _ = etlab.tomography


def test_no_function_hides_a_module():
    """``etlab.alignment.align`` cannot be both."""
    for found in pkgutil.walk_packages(etlab.__path__, "etlab."):
        module = importlib.import_module(found.name)
        parent, _, name = found.name.rpartition(".")
        assert getattr(sys.modules[parent], name) is module, found.name


@pytest.mark.parametrize(
    ("old", "names"),
    [
        ("etlab.align", "Alignment align"),
        ("etlab.align.align", "align METHODS"),
        ("etlab.calibrate", "calibrate pitfalls fisher"),
        ("etlab.challenge", "simulate load_tier sandbox standings Problem"),
        ("etlab.challenge.simulate", "simulate PRESETS"),
        ("etlab.challenge.sandbox.limits", "Limits"),
        ("etlab.describe", "describe"),
        ("etlab.grading", "check_sign"),
        ("etlab.report", "write"),
        ("etlab.slabs.plan", "Plan"),
        ("etlab.widgets", "explore"),
    ],
)
def test_old_names_lead_to_the_new_ones(old, names):
    code = f"from {old} import {', '.join(names.split())}"
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"DeprecationWarning: {old} is now etlab." in done.stderr


def test_the_function_is_still_there_when_its_package_was_imported_by_the_old_name():
    code = "import etlab.align; print(etlab.align.Alignment, etlab.align(1, 2))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert "images: got" in done.stderr


def test_lab_6_of_the_last_version_finds_the_boards():
    code = "from etlab.challenge import blind, blind_board; print(len(blind.load()[1]) > 100)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_an_old_name_makes_no_second_module():
    code = "from etlab.slabs.plan import Plan; import etlab.pipeline.plan; print(Plan is etlab.pipeline.plan.Plan)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_a_module_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"etlab\.slabs\.nothing"):
        importlib.import_module("etlab.slabs.nothing")
