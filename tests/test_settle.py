"""Copied and split cells, lost marks and answers beside their cells: what a submission looks like when it is graded."""

import copy

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell

from tests.labs import ROOT, Lab, grade_id

LAB = Lab("lab-1-projector")
WORDS = Lab("lab-6-leaderboard")


@pytest.fixture(scope="module")
def settle():
    """``settle(notebook, lab) -> (notebook, what the teacher is told)``."""
    import sys

    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from settle import with_all_checks
    finally:
        sys.path.remove(str(ROOT / "tools"))

    def settled(notebook, lab=LAB):
        told = []
        return with_all_checks(copy.deepcopy(notebook), lab.release(), told), told

    return settled


def solved(lab=LAB, **answers):
    return lab.submission(lab.solutions() | {name.replace("_", "-"): text for name, text in answers.items()})


def place(notebook, name):
    return next(i for i, cell in enumerate(notebook.cells) if grade_id(cell) == name)


def twin(notebook, name, at=1, source=None):
    """Put a copy of a cell, with its mark, ``at`` cells below it."""
    here = place(notebook, name)
    cell = copy.deepcopy(notebook.cells[here])
    cell.source = cell.source if source is None else source
    notebook.cells.insert(here + at, cell)
    return notebook


def marks(notebook):
    return sorted(grade_id(cell) for cell in notebook.cells if grade_id(cell))


def code(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


def unmarked(notebook, name):
    del notebook.cells[place(notebook, name)].metadata["nbgrader"]
    return notebook


TWINS = {
    "below": lambda: twin(solved(), "project"),
    "above": lambda: twin(solved(), "project", 0),
    "far below": lambda: twin(solved(), "landing-row", 9),
    "three": lambda: twin(twin(solved(), "project"), "project"),
    "a check": lambda: twin(solved(), "check-sign"),
    "a check above its task": lambda: twin(solved(), "check-sign", -1),
    "a check that was edited": lambda: twin(solved(), "check-sign", source="project(np.eye(3), [0], 3)"),
}


@pytest.mark.parametrize("kind", TWINS)
def test_a_mark_that_is_there_twice_stays_on_one_cell_and_the_teacher_is_told(settle, kind):
    notebook, (told,) = settle(TWINS[kind]())
    assert marks(notebook) == marks(LAB.release())
    assert f"is there {3 if kind == 'three' else 2} times" in told
    assert any(f"the cell {name} is" in told for name in ("project", "landing-row", "check-sign"))


def test_both_parts_of_a_split_cell_stay(settle):
    text = LAB.solutions()["project"]
    first, second = text[:300], text[300:]
    notebook, _ = settle(twin(solved(project=first), "project", source=second))
    assert f"{first}\n{second}" in code(notebook)


@pytest.mark.parametrize("at", [0, 1])
def test_a_copy_that_nobody_wrote_into_does_not_undo_the_answer(settle, at):
    stub = next(cell.source for cell in LAB.release().cells if grade_id(cell) == "project")
    notebook, _ = settle(twin(solved(), "project", at, source=stub))
    assert "NotImplementedError" not in code(notebook)
    assert "np.add.at" in notebook.cells[place(notebook, "project")].source


def test_the_last_of_two_checks_is_the_one_that_counts(settle):
    notebook, _ = settle(twin(solved(), "check-landing", -1))
    assert place(notebook, "landing-row") < place(notebook, "check-landing")


def test_a_check_without_its_mark_is_known_by_its_text(settle):
    given = unmarked(solved(), "check-sign")
    notebook, _ = settle(given)
    assert len(notebook.cells) == len(given.cells)
    assert marks(notebook) == marks(LAB.release())


def test_an_answer_without_its_mark_is_run_where_it_stands(settle):
    notebook, _ = settle(unmarked(solved(), "project"))
    assert code(notebook) == code(solved())


@pytest.mark.parametrize(
    "mark", [{"grade_id": "mine", "grade": True, "points": 900}, {}, "all of them", None]
)
def test_marks_of_ones_own_are_none(settle, mark):
    given = solved()
    given.cells.insert(0, new_code_cell("pass", metadata={"nbgrader": mark}))
    notebook, _ = settle(given)
    assert marks(notebook) == marks(LAB.release())
    assert "nbgrader" not in notebook.cells[0].metadata


def test_points_and_types_of_cells_are_those_that_were_handed_out(settle):
    given = solved(WORDS, explanation="because")
    answer = given.cells[place(given, "explanation")]
    answer.metadata["nbgrader"]["points"] = 1000
    answer.cell_type, answer.outputs, answer.execution_count = "code", [], None
    notebook, _ = settle(given, WORDS)
    answer = notebook.cells[place(notebook, "explanation")]
    assert (answer.cell_type, answer.metadata.nbgrader.points, answer.source) == ("markdown", 15, "because")


def below(text, cell=new_markdown_cell):
    """An answer of which this part stands in a cell of its own, below."""

    def made(first):
        notebook = solved(WORDS, **first)
        notebook.cells.append(cell(text))
        return notebook

    return made


def answer_in(settle, notebook):
    notebook, told = settle(notebook, WORDS)
    (found,) = [cell for cell in notebook.cells if grade_id(cell) == "explanation"]
    return found.source, told


def test_an_answer_in_words_is_found_wherever_it_was_written(settle):
    alone, told = answer_in(settle, below("because")({}))
    assert alone == "because" and "explanation was completed from 1 cells" in told[0]
    assert answer_in(settle, below("because", new_raw_cell)({}))[0] == "because"
    assert answer_in(settle, below("of that")({"explanation": "because"}))[0] == "because\n\nof that"
    lost = unmarked(solved(WORDS, explanation="because"), "explanation")
    assert answer_in(settle, lost)[0] == "because"
    elsewhere = solved(WORDS)
    elsewhere.cells.insert(0, new_markdown_cell("because"))
    assert answer_in(settle, elsewhere)[0] == "because"


def test_the_parts_of_an_answer_with_its_mark_twice_are_joined_once(settle):
    split = twin(solved(WORDS, explanation="because"), "explanation", source="of that")
    assert answer_in(settle, split)[0] == "because\n\nof that"
    copied = twin(
        twin(solved(WORDS, explanation="because"), "explanation"), "explanation", source="YOUR ANSWER HERE"
    )
    assert answer_in(settle, copied)[0] == "because"


def test_an_answer_that_is_nowhere_stays_as_it_was_handed_out(settle):
    text, told = answer_in(settle, WORDS.release())
    assert text == "YOUR ANSWER HERE" and not told


def test_what_is_in_order_is_not_changed(settle):
    given = LAB.submission(LAB.solutions(), demonstrations=True)
    notebook, told = settle(given)
    assert [(cell.source, grade_id(cell)) for cell in notebook.cells] == [
        (cell.source, grade_id(cell)) for cell in given.cells
    ]
    assert not told
