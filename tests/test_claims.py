"""Numbers in the text are computed by the page that states them, and asserted here.

A page glues a number in a code cell and inserts it in a sentence. The same cell lists what the number must
be, under the key ``claims`` of its metadata, in one of these forms (a bound may be another number of the page):

    name: 38.9 ± 0.1
    name: between 1.5 and 2
    name: at least 0.94
    name: at most recorded_100
    name: below other
"""

import math
import re
from pathlib import Path

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "intro.md",
    *sorted((ROOT / "chapters").glob("*.md")),
    *sorted((ROOT / "appendices").glob("*.md")),
]
IN_PROSE = re.compile(r"\{glue:text\}`(\w+)(?::[^`]*)?`")
GLUED = "application/papermill.record/text/plain"


def holds(claim: str, value: float, values: dict[str, float]) -> bool:
    """Whether ``value`` fulfils ``claim``; raises ValueError if the claim is in none of the forms above."""

    def bound(word: str) -> float:
        return values[word] if word in values else float(word)

    match claim.split():
        case [middle, "±", tolerance]:
            return abs(value - bound(middle)) <= float(tolerance)
        case ["between", low, "and", high]:
            return bound(low) <= value <= bound(high)
        case ["at", "least", low]:
            return value >= bound(low)
        case ["at", "most", high]:
            return value <= bound(high)
        case ["below", other]:
            return value < bound(other)
    raise ValueError(
        f"claim {claim!r}: expected 'a ± b', 'between a and b', 'at least a', 'at most a' or 'below a'"
    )


def claims_of(page: Path) -> dict[str, str]:
    listed = [cell.metadata.get("claims", {}) for cell in jupytext.read(page).cells]
    return {name: str(claim) for claims in listed for name, claim in claims.items()}


def prose_of(page: Path) -> str:
    return "\n".join(cell.source for cell in jupytext.read(page).cells if cell.cell_type == "markdown")


@pytest.fixture
def glued(book_html):
    """``glued(page)``: the numbers that the page computed when the site was built."""

    def read(page: Path) -> dict[str, float]:
        executed = book_html.parent / "jupyter_execute" / page.relative_to(ROOT).with_suffix(".ipynb")
        if not executed.is_file():
            return {}
        outputs = [output for cell in nbformat.read(executed, 4).cells for output in cell.get("outputs", [])]
        return {
            o.metadata.scrapbook.name: float(o.data[GLUED]) for o in outputs if GLUED in o.get("data", {})
        }

    return read


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_numbers_computed_claimed_and_stated_are_the_same(page, glued):
    stated = set(IN_PROSE.findall(prose_of(page)))
    assert set(glued(page)) == stated, "numbers computed by the page against numbers in its sentences"
    assert set(claims_of(page)) == stated, (
        "numbers claimed in the page's cells against numbers in its sentences"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_claim_holds(page, glued):
    values = glued(page)
    broken = {
        name: f"{values[name]:.6g}, claimed {claim}"
        for name, claim in claims_of(page).items()
        if not (math.isfinite(values[name]) and holds(claim, values[name], values))
    }
    assert not broken


@pytest.mark.parametrize("page", sorted((ROOT / "chapters").glob("*.md")), ids=lambda page: page.stem)
def test_a_chapter_makes_claims(page):
    assert len(claims_of(page)) >= 10


@pytest.mark.parametrize(
    ("claim", "right", "wrong"),
    [
        ("38.9 ± 0.1", 38.95, 39.1),
        ("-0.3 ± 0.02", -0.29, 0.3),
        ("between 1.5 and 2", 1.6, 2.1),
        ("at least 0.94", 0.94, 0.93),
        ("at most other", 5.0, 5.1),
        ("below other", 4.9, 5.0),
    ],
)
def test_a_claim_can_fail(claim, right, wrong):
    assert holds(claim, right, {"other": 5.0})
    assert not holds(claim, wrong, {"other": 5.0})


@pytest.mark.parametrize("claim", ["about 5", "5", "at least many", "≥ 3"])
def test_a_claim_that_cannot_be_read_is_an_error(claim):
    with pytest.raises(ValueError):
        holds(claim, 5.0, {})
