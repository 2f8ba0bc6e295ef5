"""Numbers in the text are computed by the page that states them, and asserted here.

A page glues a number in a code cell and inserts it in a sentence. The same cell lists what the number must
be, under the key ``claims`` of its metadata, in one of these forms (a bound may be another number of the page):

    name: 38.9 ± 0.1
    name: between 1.5 and 2
    name: at least 0.94
    name: at most recorded_100
    name: below other

A claim from which the text draws a conclusion names its controls under the key ``controls``: other numbers of the
page, which the text need not state, each what the claimed number would be in another case.

    name: converged other     after twice the iterations, or more: the claim still holds
    name: discretised other   from data of a closed form, or on a finer grid: the claim still holds
    name: baseline other      without the cause that the text names: the claim does not hold
    name: positive other      of a method built to fail the test: the claim does not hold
    name: spread sd n         the standard deviation over n ≥ 3 repetitions; both stand in the text

Several controls of one claim are a list.
"""

import math
import re
from pathlib import Path

import pytest

from tests.notebooks import executed, source

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
    listed = [cell.metadata.get("claims", {}) for cell in source(page).cells]
    return {name: str(claim) for claims in listed for name, claim in claims.items()}


def controls_of(page: Path) -> dict[str, list[str]]:
    listed = [cell.metadata.get("controls", {}) for cell in source(page).cells]
    return {
        name: controls if isinstance(controls, list) else [controls]
        for one in listed
        for name, controls in one.items()
    }


def numbers_of(control: str) -> set[str]:
    """The numbers of the page on which a control rests."""
    return set(control.split()[1:])


def passes(control: str, claim: str, values: dict[str, float]) -> bool:
    """Whether a control of ``claim`` passes; raises ValueError if it is in none of the forms above."""
    match control.split():
        case ["converged" | "discretised", other]:
            return holds(claim, values[other], values)
        case ["baseline" | "positive", other]:
            return not holds(claim, values[other], values)
        case ["spread", deviation, n]:
            return values[deviation] >= 0 and values[n] >= 3
    raise ValueError(
        f"control {control!r}: expected 'converged x', 'discretised x', 'baseline x', 'positive x' or 'spread sd n'"
    )


def prose_of(page: Path) -> str:
    return "\n".join(cell.source for cell in source(page).cells if cell.cell_type == "markdown")


@pytest.fixture
def glued(book_html):
    """``glued(page)``: the numbers that the page computed when the site was built."""

    def read(page: Path) -> dict[str, float]:
        notebook = executed(book_html, page)
        if notebook is None:
            return {}
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        return {
            o.metadata.scrapbook.name: float(o.data[GLUED]) for o in outputs if GLUED in o.get("data", {})
        }

    return read


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_numbers_computed_claimed_and_stated_are_the_same(page, glued):
    stated = set(IN_PROSE.findall(prose_of(page)))
    of_controls = {
        number for controls in controls_of(page).values() for one in controls for number in numbers_of(one)
    }
    assert set(glued(page)) == stated | of_controls, "numbers computed by the page against numbers it uses"
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_control_passes(page, glued):
    values, claims = glued(page), claims_of(page)
    broken = {
        f"{name}: {control}": f"{[values[number] for number in sorted(numbers_of(control))]}, claimed {claims[name]}"
        for name, controls in controls_of(page).items()
        for control in controls
        if not (
            all(math.isfinite(values[number]) for number in numbers_of(control))
            and passes(control, claims[name], values)
        )
    }
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_spread_stands_beside_its_mean(page):
    spreads = [one for controls in controls_of(page).values() for one in controls if one.startswith("spread")]
    missing = {number for one in spreads for number in numbers_of(one)} - set(
        IN_PROSE.findall(prose_of(page))
    )
    assert not missing


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


@pytest.mark.parametrize(
    ("control", "right", "wrong"),
    [
        ("converged other", 5.1, 5.3),
        ("discretised other", 4.9, 4.7),
        ("baseline other", 2.0, 5.0),
        ("positive other", 9.0, 5.1),
        ("spread sd other", 3, 2),
    ],
)
def test_a_control_can_fail(control, right, wrong):
    assert passes(control, "5 ± 0.2", {"other": right, "sd": 0.1})
    assert not passes(control, "5 ± 0.2", {"other": wrong, "sd": 0.1})


@pytest.mark.parametrize("control", ["converged", "seen other", "spread sd"])
def test_a_control_that_cannot_be_read_is_an_error(control):
    with pytest.raises(ValueError):
        passes(control, "5 ± 0.2", {"other": 5.0, "sd": 0.1})
