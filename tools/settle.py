"""Bring the cells of a submission into the order that nbgrader wants, without costing its author a point.

Jupyter copies nbgrader's mark with a cell: one that was copied or split is there twice, which nbgrader refuses. A mark
can also be lost, when a cell is pasted into another notebook. What was done is told to the teacher.
"""

from __future__ import annotations

import copy

from lab import grade_id, in_words, mark
from nbformat import NotebookNode


def with_all_checks(
    notebook: NotebookNode, released: NotebookNode, told: list[str] | None = None
) -> NotebookNode:
    """Return the submission with each mark on one cell, answers in words in their own cells, and all checks.

    Checks that its author deleted come back at the end, where all functions stand; nbgrader restores the text of one
    that was edited. ``told`` receives what the teacher should know.
    """
    told = [] if told is None else told
    known = {grade_id(cell): cell for cell in released.cells if grade_id(cell)}
    _mark_anew(notebook, known)
    for name, original in known.items():
        twins = [cell for cell in notebook.cells if grade_id(cell) == name]
        if len(twins) > 1:
            told.append(f"the cell {name} is there {len(twins)} times; look at all of them")
            _keep_one(notebook, twins, original)
    for name, original in known.items():
        if in_words(original):
            _gather_words(notebook, released, name, told)
    present = {grade_id(cell) for cell in notebook.cells}
    checks = [cell for cell in released.cells if mark(cell).get("grade") and grade_id(cell) not in present]
    notebook.cells += copy.deepcopy(checks)
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index}"  # a copied file may have copied these, too
    return notebook


def _mark_anew(notebook, known):
    """Give marks and types of cells as they were handed out; a check that lost its mark is known by its text."""
    lost = {original.source: original for original in known.values() if mark(original).get("locked")}
    present = {grade_id(cell) for cell in notebook.cells}
    for cell in notebook.cells:
        original = known.get(str(grade_id(cell))) or lost.get(cell.source)
        if original is None or (not grade_id(cell) and grade_id(original) in present):
            cell.metadata.pop("nbgrader", None)
            continue
        cell.metadata["nbgrader"] = copy.deepcopy(mark(original))
        _become(cell, original.cell_type)


def _become(cell, kind):
    """Change the type of a cell, as Jupyter does when somebody types Y or M."""
    if cell.cell_type == kind:
        return
    cell.cell_type = kind
    cell.pop("attachments", None) if kind == "code" else None
    if kind == "code":
        cell.outputs, cell.execution_count = [], None
    else:
        cell.pop("outputs", None)
        cell.pop("execution_count", None)


def _keep_one(notebook, twins, original):
    """Leave the mark on one of several cells that have it; a copy that nobody wrote into goes."""
    written = [cell for cell in twins if not _same(cell, original)]
    if in_words(original):
        texts = dict.fromkeys(cell.source.strip() for cell in written)
        twins[0].source = "\n\n".join(texts) if texts else original.source
        gone = twins[1:]
    else:
        # The last one: there all functions stand, and of several it is what a reader of the notebook sees last.
        keeps = (written or twins)[-1] if not mark(original).get("grade") else twins[-1]
        gone = [cell for cell in twins if cell is not keeps and _same(cell, original)]
        for cell in twins:
            if cell is not keeps:
                del cell.metadata["nbgrader"]
    notebook.cells = [cell for cell in notebook.cells if not any(cell is one for one in gone)]


def _gather_words(notebook, released, name, told):
    """Put what somebody wrote where an answer belongs, but not into its cell, into its cell.

    Where there is nothing either, all that was written in cells of one's own is taken: a person reads it.
    """
    original = next(cell for cell in released.cells if grade_id(cell) == name)
    answer = next((cell for cell in notebook.cells if grade_id(cell) == name), None)
    blank = answer is None or _same(answer, original)
    own = _own_words(notebook.cells, released)
    near = _between_neighbours(notebook.cells, released, name)
    found = [cell for cell in own if any(cell is one for one in near)] or (own if blank else [])
    if not found:
        return
    told.append(f"the answer {name} was completed from {len(found)} cells that have no mark")
    if answer is None:
        answer = copy.deepcopy(original)
        at = next(i for i, cell in enumerate(notebook.cells) if cell is found[0])
        notebook.cells.insert(at, answer)
    texts = [] if blank else [answer.source.strip()]
    answer.source = "\n\n".join(texts + [cell.source.strip() for cell in found])
    notebook.cells = [cell for cell in notebook.cells if not any(cell is one for one in found)]


def _own_words(cells, released):
    """Texts that were not handed out."""
    handed_out = {cell.source.strip() for cell in released.cells}
    return [
        cell
        for cell in cells
        if cell.cell_type in ("markdown", "raw")
        and not grade_id(cell)
        and cell.source.strip()
        and cell.source.strip() not in handed_out
    ]


def _between_neighbours(cells, released, name):
    """Return the cells between what stands before an answer as it was handed out and what stands behind it."""
    place = next(i for i, cell in enumerate(released.cells) if grade_id(cell) == name)
    begin, end = 0, len(cells)
    for before in reversed(released.cells[:place]):
        if found := [i for i, cell in enumerate(cells) if _stands_for(cell, before)]:
            begin = found[-1] + 1
            break
    for behind in released.cells[place + 1 :]:
        if found := [i for i, cell in enumerate(cells) if i >= begin and _stands_for(cell, behind)]:
            end = found[0]
            break
    return cells[begin:end]


def _stands_for(cell, original):
    name = grade_id(original)
    return grade_id(cell) == name if name else _same(cell, original)


def _same(cell, original):
    return cell.source.strip() == original.source.strip()
