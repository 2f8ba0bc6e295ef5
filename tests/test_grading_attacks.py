"""What one hostile student, or another user of the machine, does to the grading of a class."""

import contextlib
import importlib
import json
import os
import socket
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from etlab.course.sandbox import Outcome, leftovers
from tests.classroom import reached_by_an_outsider
from tests.labs import ROOT, Lab

LAB = Lab("lab-1-projector")
NAME = f"{LAB.name}.ipynb"


@pytest.fixture(scope="module", autouse=True)
def tool():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools")
        yield importlib.import_module


@pytest.fixture
def found(tool, tmp_path):
    """``found(*names) -> Submission`` of a student's folder with these files."""

    def do(*names):
        for name in names:
            path = tmp_path / "submitted" / "ann" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (tmp_path / "submitted" / "bob").mkdir(parents=True, exist_ok=True)
        (tmp_path / "submitted" / "bob" / NAME).touch()
        ann, bob = tool("grade_labs").find_submissions(LAB.name, tmp_path / "submitted")
        assert bob.path and not bob.told
        return ann

    return do


@pytest.mark.parametrize("name", ["lab-1-projector (1).ipynb", "x/Lab-1-Projector-Copy1.ipynb"])
def test_a_second_download_is_graded_and_named_if_it_is_the_only_one(found, name):
    ann = found(name, "other.ipynb", f".ipynb_checkpoints/{NAME}")
    assert ann.path.name == Path(name).name and not ann.why
    assert ann.told == [f"graded is {ann.path.name}; found {ann.path.name}, expected {NAME} alone"]


def test_of_two_downloads_that_with_the_lab_s_name_is_graded_and_the_other_named(found):
    ann = found("lab-1-projector (1).ipynb", NAME)
    assert ann.path.name == NAME and "found lab-1-projector (1).ipynb, lab-1-projector.ipynb" in ann.told[0]


@pytest.mark.parametrize(
    "names", [("a/" + NAME, "b/" + NAME), ("lab-1-projector (1).ipynb", "lab-1-projector (2).ipynb")]
)
def test_of_several_none_is_chosen(found, names):
    ann = found(*names)
    assert ann.path is None and all(Path(name).name in ann.why for name in names)


def test_folders_without_end_stop_nobody(found, tmp_path):
    found(NAME)
    at = os.open(tmp_path / "submitted" / "ann", os.O_RDONLY)
    try:
        for _ in range(1200):
            os.mkdir("a", dir_fd=at)
            at, above = os.open("a", os.O_RDONLY, dir_fd=at), at
            os.close(above)
        assert found(NAME).path
    finally:
        os.close(at)
        leftovers.remove(tmp_path / "submitted")  # deeper than Python's own rmtree goes


def test_a_pipe_in_place_of_a_notebook_keeps_nobody_waiting(tool, tmp_path):
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(ValueError, match="got something else"):
        tool("grade_labs").read_submission(tmp_path / NAME)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ("{}," * 2000 + "{}", "more than 1000 cells"),
        (",".join("[]" for _ in range(30_000)), "more than 50,000 values"),
    ],
)
def test_notebooks_that_take_memory_or_hours_are_not_read(tool, tmp_path, monkeypatch, cells, words):
    monkeypatch.setattr(tool("grade_labs"), "MOST_VALUES", 50_000)
    (tmp_path / NAME).write_text(
        f'{{"nbformat": 4, "nbformat_minor": 5, "metadata": {{}}, "cells": [{cells}]}}'
    )
    with pytest.raises(tool("grade_labs").TooLarge, match=words):
        tool("grade_labs").read_submission(tmp_path / NAME)


def test_feedback_shows_so_much_of_what_a_student_wrote_and_no_more(tool):
    cells = [new_markdown_cell("[" * 50_000), new_code_cell("(" * 50_000), new_markdown_cell("short <b>")]
    notebook, _ = tool("grade_labs").Readable().preprocess(new_notebook(cells=cells), {})
    assert [len(cell.source) < 20_100 for cell in notebook.cells] == [True] * 3
    assert notebook.cells[0].source.endswith("… (cut off)") and notebook.cells[2].source == "short < b>"
    many = new_notebook(cells=[new_markdown_cell("[" * 20_000) for _ in range(50)])
    notebook, _ = tool("grade_labs").Readable().preprocess(many, {})
    assert sum(len(cell.source) for cell in notebook.cells) < 210_000


def test_a_page_that_cannot_be_made_costs_nobody_a_point(tool, tmp_path, monkeypatch):
    grade_labs = tool("grade_labs")
    one = grade_labs.Submission("ann", "student-0")
    grade_labs.write_feedback(one, tmp_path / "missing.html", tmp_path)
    assert one.told == ["the points stand, but no feedback could be written"]


def left(folder, outputs):
    for index, content in enumerate(outputs):
        (folder / f"outputs-{index}.json").write_text(json.dumps(content))
    return folder


def test_forged_outputs_are_few_and_can_be_written(tool, tmp_path):
    said = {"output_type": "stream", "name": "stdout", "text": "half a pair \ud800"}
    found = dict(tool("run_apart")._outputs(left(tmp_path, [[said], [said] * 5000, {"a": 1}]), 3))
    assert found[0][0].text == "half a pair ?"
    assert len(found[1]) == 201 and "cut off" in found[1][-1].text
    assert found[2][0].ename == "Damaged"
    nbformat.writes(new_notebook(cells=[new_code_cell("", outputs=found[0])])).encode()


def test_forged_outputs_are_not_without_end(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(tool("run_apart"), "LARGEST", 1000)
    said = {"output_type": "stream", "name": "stdout", "text": "x" * 600}
    found = dict(tool("run_apart")._outputs(left(tmp_path, [[said], [said]]), 2))
    assert found[0][0].text == "x" * 600 and found[1][0].ename == "Damaged"


def apart(tool, folder):
    return tool("run_apart").Apart(None, folder, folder, folder, 10, 60)


def test_a_line_that_looks_like_a_check_s_is_shown_as_the_notebook_s(tool, tmp_path):
    forged = [new_output("stream", name="stdout", text="✓ it holds [seed=1]\n")]
    for verdict in (None, {"said": "✓ really [seed=2]\n", "error": None}):
        shown = apart(tool, tmp_path)._judged(forged, verdict)
        assert shown[0].text.startswith("printed by the notebook, not by the check:\n✓ it holds")
    assert shown[1].text == "✓ really [seed=2]\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_nobody_else_reaches_notebooks_verdicts_or_the_process_that_checks(tool, monkeypatch):
    run_apart, reached = tool("run_apart"), []

    def run(command, *, visible, **_):
        notebook, door = Path(visible["/notebook.ipynb"]), Path(visible["/checks"])
        control, files = door.parent.parent / "control", [notebook, door.parent / "checks.json"]
        assert all(one.exists() for one in files)
        sockets = [door / "socket", control]
        assert all(one.is_socket() for one in sockets)
        reached.extend(reached_by_an_outsider([str(one) for one in sockets], files))
        return Outcome("done", 0, "", 0.0, 0.0)

    monkeypatch.setattr(run_apart.sandbox, "run", run)
    with run_apart._checking() as checks:
        place = run_apart.Apart(None, checks, checks, checks, 10, 60)
        place._run_once(new_notebook(cells=[new_code_cell("1")]), set(), {0: "pass"}, 10)
    assert reached == []


def test_a_crowd_at_one_notebook_s_door_keeps_no_other_from_its_checks(tool):
    """Others than the first connections of a run are at a door of their own; and its own are let in after a crowd."""
    run_apart = tool("run_apart")

    def verdict(door, verdicts):
        with socket.socket(socket.AF_UNIX) as way:
            way.connect(str(door / "socket"))
            way.sendall(b"0".ljust(tool("far_calls").HELLO))
            until = time.monotonic() + 20
            while 0 not in verdicts():
                assert time.monotonic() < until
                time.sleep(0.01)
        return verdicts()[0]

    with run_apart._checking() as checks:
        place = run_apart.Apart(None, checks, checks, checks, 10, 60)
        with place._registered({0: "pass"}) as crowded, place._registered({0: "pass"}) as honest:
            with contextlib.ExitStack() as stack:
                for _ in range(200):
                    way = stack.enter_context(socket.socket(socket.AF_UNIX))
                    way.connect(str(crowded[0] / "socket"))
                    way.send(b"?")
                assert verdict(*honest) == {"said": "", "error": None}
            assert verdict(*crowded) == {"said": "", "error": None}


def test_a_machine_full_of_processes_costs_that_check_alone(tool, tmp_path, monkeypatch):
    run_checks = tool("run_checks")
    (tmp_path / "checks.json").write_text(json.dumps({"seconds": 1, "sources": {"0": "pass"}}))
    here, there = socket.socketpair()
    there.sendall(b"0".ljust(tool("far_calls").HELLO))
    monkeypatch.setattr(run_checks.os, "fork", lambda: (_ for _ in ()).throw(BlockingIOError))
    with here, there:
        run_checks._begin(here, tmp_path, ())
        assert (tmp_path / "begun-0").exists()


def test_tables_are_their_owner_s_alone(tool, tmp_path):
    before = os.umask(0o022)
    try:
        tool("tables").write_table(tmp_path / "grades.csv", [["student"], ["ann"]])
    finally:
        os.umask(before)
    assert (tmp_path / "grades.csv").stat().st_mode & 0o077 == 0
