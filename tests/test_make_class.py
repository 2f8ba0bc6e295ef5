"""``make class``, with two of its labs: the others are graded by their own tests."""

import csv
import importlib
import json

import pytest

from tests.classroom import found_backend
from tests.labs import ROOT, names

LABS = ["lab-1-projector", "lab-3-wbp-sirt"]


@pytest.fixture
def demo_class(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("demo_class")


def table(path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_class_from_handing_out_to_the_board(demo_class, tmp_path):
    found_backend()
    demo_class.main(tmp_path / "class", LABS)
    folder = tmp_path / "class"
    assert {path.stem for path in (folder / "handed-out").glob("*.ipynb")} == set(names())
    totals = {row["student"]: row for row in table(folder / "totals.csv")}
    for row in table(ROOT / "labs" / "expected-class.csv"):
        assert [float(totals[row["student"]][lab]) for lab in LABS] == [float(row[lab]) for lab in LABS]
    assert float(totals["ada"]["total"]) == 200
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
    totals.main([tmp_path / "one"], tmp_path / "t.csv")
    with pytest.raises(SystemExit, match="exists; name a new file"):
        totals.main([tmp_path / "one"], tmp_path / "t.csv")
