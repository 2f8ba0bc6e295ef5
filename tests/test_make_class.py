"""``make class``, with one of its labs and quick programs: the others are run by their own tests."""

import csv
import importlib
import json

import pytest

from etlab.cli import app
from etlab.course import sandbox
from etlab.course.challenge import evaluate_all
from tests.classroom import forked, found_backend
from tests.labs import ROOT, names

LABS = ["lab-1-projector"]
QUICK = """
from etlab.forward import Mismatch
from etlab.solvers import sirt

def solve(problem):
    return sirt(problem.operator(), problem.y, n_iter=10), Mismatch()
"""


@pytest.fixture
def demo_class(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("demo_class")


def table(path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_class_from_handing_out_to_the_board(demo_class, tmp_path, monkeypatch):
    """The board is made in this process, and its programs run in forks of it: other tests are about their sandbox."""
    found_backend()
    commands = demo_class.run

    def run(doing, command):
        if doing != "the board":
            commands(doing, command)
            return
        at_once = lambda work, items, _: ((one, work(one)) for one in items)  # noqa: E731
        monkeypatch.setattr(evaluate_all.local, "side_by_side", at_once)
        monkeypatch.setattr(sandbox, "find", lambda **_: sandbox.Unsafe())
        monkeypatch.setattr(sandbox, "run", forked)
        assert not app([str(part) for part in command[3:]], standalone_mode=False)

    monkeypatch.setattr(demo_class, "run", run)
    monkeypatch.setattr(demo_class, "AT_A_TIME", 1)  # so that no thread forks while another works
    monkeypatch.setitem(demo_class.PROGRAMS, "ada", QUICK)  # the starter kit takes minutes
    demo_class.main(tmp_path / "class", LABS)
    folder = tmp_path / "class"
    assert {path.stem for path in (folder / "handed-out").glob("*.ipynb")} == set(names())
    totals = {row["student"]: row for row in table(folder / "totals.csv")}
    for row in table(ROOT / "labs" / "expected-class.csv"):
        assert [float(totals[row["student"]][lab]) for lab in LABS] == [float(row[lab]) for lab in LABS]
    assert float(totals["ada"]["total"]) == 100
    for lab in LABS:
        assert {path.stem for path in (folder / "results" / lab / "feedback").iterdir()} == set(totals)
    board = json.loads((folder / "challenge-results" / "leaderboard.json").read_text())
    places = {row["name"]: row for row in board["rows"]}
    assert places["ada"]["overall"] > places["ernst"]["overall"] > places["mary"]["overall"] == 0
    assert (folder / "challenge-results" / "leaderboard.html").is_file()


def test_another_grade_than_expected_is_an_error(demo_class, tmp_path):
    totals = tmp_path / "totals.csv"
    totals.write_text("student,lab-1-projector,total\nada,100.0,100\nernst,84.0,84\nmary,15.0,15\n")
    with pytest.raises(SystemExit, match=r"ernst has 84.0 points in lab-1-projector, expected 85"):
        demo_class.compare(totals, ["lab-1-projector"])


def test_a_folder_of_others_is_not_touched(demo_class, tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(SystemExit, match="exists; name a new one"):
        demo_class.main(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_totals_say_what_is_wrong(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "tools")
    totals = importlib.import_module("totals")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "grades.csv").write_text(
            "assignment,student_id,score,max_score\nlab-1,ada,1,2\n"
        )
    with pytest.raises(SystemExit, match=r"lab-1 is in .*one and in .*two"):
        totals.main([tmp_path / "one", tmp_path / "two"], tmp_path / "t.csv")
    with pytest.raises(SystemExit, match=r"expected a folder that tools/grade_labs\.py made"):
        totals.main([tmp_path / "three"], tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


def test_what_was_not_graded_is_no_zero_in_the_totals(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "tools")
    totals = importlib.import_module("totals")
    head = "assignment,student_id,score,max_score,not_graded_because\n"
    for lab, rows in {
        "lab-1": "lab-1,ann,5,100,\nlab-1,'=bob,,100,a letter\n",
        "lab-2": "lab-2,ann,,100,a letter\n",
    }.items():
        (tmp_path / lab).mkdir()
        (tmp_path / lab / "grades.csv").write_text(head + rows)
    totals.main([tmp_path / "lab-1", tmp_path / "lab-2"], tmp_path / "t.csv")
    rows = {row["student"]: row for row in table(tmp_path / "t.csv")}
    assert (rows["ann"]["lab-1"], rows["ann"]["lab-2"], rows["ann"]["total"]) == ("5.0", "", "5.0")
    assert (rows["'=bob"]["lab-1"], rows["'=bob"]["lab-2"], rows["'=bob"]["total"]) == ("", "", "")
    assert (rows["ann"]["not graded"], rows["'=bob"]["not graded"]) == ("lab-2", "lab-1")


def test_totals_are_of_one_folder_a_lab_and_go_into_a_new_file(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "tools")
    totals = importlib.import_module("totals")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "grades.csv").write_text("assignment,student_id,score,max_score\nlab-1,ada,1,2\n")
    totals.main([tmp_path / "one"], tmp_path / "t.csv")
    with pytest.raises(SystemExit, match="exists; name a new file"):
        totals.main([tmp_path / "one"], tmp_path / "t.csv")
