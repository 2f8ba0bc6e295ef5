"""Every chapter has its parts, and its code and figures keep to the rules of the course."""

import importlib
import io
import itertools
import re
import tokenize
from pathlib import Path

import pytest

from etlab.course import widgets
from tests.notebooks import executed, source

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "chapters").glob("*.md"))
NOTATION = ROOT / "appendices" / "notation.md"
LONGEST_CELL = 15  # lines
WIDEST_LINE = 76  # characters, the text column at 1280 px
HIDDEN = {"hide-input", "remove-input", "remove-cell"}
SHOWPIECES = tuple(f"{name}(" for name in widgets.__all__ if name.endswith(("Explorer", "Film")))
BOARD = "fragment("  # the leaderboard, the showpiece of chapter 12; its pictures have texts of their own
QUANTITY = re.compile(
    r"(?<![\w.{])(\d+(?:\.\d+)?)\s*(%|°|nm\b|px\b|pixels?\b|voxels?\b|rows?\b|dB\b|[kMG]B\b|s\b)"
)
ALWAYS = {0.0, 1.0}  # 0° is a definition; 1 % of anything is not a measured value but a unit


def chapter(test):
    return pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)(test)


def cells_of(page: Path, kind: str) -> list:
    return [cell for cell in source(page).cells if cell.cell_type == kind]


def prose_of(page: Path) -> str:
    return "\n\n".join(cell.source for cell in cells_of(page, "markdown"))


def code_of(page: Path) -> str:
    return "\n\n".join(cell.source for cell in cells_of(page, "code"))


def executed_cells(book_html: Path, page: Path) -> list:
    return [cell for cell in executed(book_html, page).cells if cell.cell_type == "code"]


def unglued_quantities(prose: str, code: str) -> list[str]:
    """Numbers with a unit that are typed into the text and are no setting in the page's own code."""
    for markup in (
        r"```\{math\}.*?```",
        r"\$\$.*?\$\$",
        r"\$[^$]*\$",
        r"\{[\w:]+\}`[^`]*`",
        r"`[^`]*`",
        r"\*\*Time:\*\*.*",
    ):
        prose = re.sub(markup, " ", prose, flags=re.DOTALL if markup.startswith((r"\$\$", "```")) else 0)
    settings = {
        float(token.string.rstrip("j"))
        for token in tokenize.generate_tokens(io.StringIO(code).readline)
        if token.type == tokenize.NUMBER
    }
    return [m.group() for m in QUANTITY.finditer(prose) if float(m.group(1)) not in settings | ALWAYS]


def test_there_are_chapters():
    assert [page.stem for page in CHAPTERS[:2]] == ["01-tilt-series", "02-radon-projection"]


@chapter
def test_opens_with_objectives_prerequisites_time_and_cost(page):
    opening = prose_of(page).split("\n## ")[0]
    assert ":class: objectives" in opening
    assert "**Prerequisites:**" in opening
    assert "{runtime}`This page`" in opening
    assert re.search(r"\*\*Time:\*\* \d+ minutes", opening)


def minutes_of(page: Path) -> int:
    return int(re.search(r"\*\*Time:\*\* (\d+) minutes", prose_of(page))[1])


@chapter
def test_the_time_stated_is_enough_to_read_the_page(page):
    """At 200 words and 12 lines of code a minute, which is quick. Above 90 minutes a chapter should be split."""
    before_exercises = itertools.takewhile(lambda cell: "## Exercises" not in cell.source, source(page).cells)
    shown = [cell for cell in before_exercises if not HIDDEN & set(cell.metadata.get("tags", []))]
    words = sum(len(cell.source.split()) for cell in shown if cell.cell_type == "markdown")
    lines = sum(len(cell.source.splitlines()) for cell in shown if cell.cell_type == "code")
    assert words / 200 + lines / 12 <= minutes_of(page) <= 90


@chapter
def test_the_landing_page_states_the_same_time(page):
    row = re.search(
        rf"\(chapters/{page.stem}\).*\| (\d+) minutes", (ROOT / "intro.md").read_text(encoding="utf-8")
    )
    assert int(row[1]) == minutes_of(page)


@chapter
def test_closes_with_quiz_key_points_and_references(page):
    titles = re.findall(r"^## (.+)$", prose_of(page), flags=re.MULTILINE)
    assert titles[-4:] == ["Exercises", "Check yourself", "Key points", "References"]
    assert "{footbibliography}" in prose_of(page)


@chapter
def test_warns_of_a_common_mistake(page):
    assert "```{admonition} Common mistake" in prose_of(page)


@chapter
def test_every_exercise_has_a_collapsed_solution_that_runs(page):
    text = page.read_text(encoding="utf-8")
    exercises = re.findall(r"\{exercise-start\}[^\n]*\n:label: ([\w-]+)", text)
    solutions = re.findall(
        r"\{solution-start\} ([\w-]+)\n:label: [\w-]+\n:class: dropdown\n(.*?)\{solution-end\}", text, re.S
    )
    assert 2 <= len(exercises) <= 4
    assert [label for label, _ in solutions] == exercises
    assert all("```{code-cell}" in body for _, body in solutions)


@chapter
def test_quiz_explains_every_option_and_has_one_right_one(page):
    quiz = prose_of(page).split("## Check yourself")[1].split("## Key points")[0]
    options = re.findall(r'<details name="(.+?)"><summary>.+?</summary>\s+(.+?)\s+</details>', quiz, re.S)
    assert len(options) == quiz.count("<details") >= 9
    for question in {name for name, _ in options}:
        answers = [answer for name, answer in options if name == question]
        assert len(answers) >= 3
        assert sum(answer.startswith("**Right") for answer in answers) == 1
        assert all(len(answer) >= 40 for answer in answers if not answer.startswith("**Right"))


@chapter
def test_has_a_slider_and_a_showpiece(page):
    assert "explore(" in code_of(page)
    assert any(name in code_of(page) for name in (*SHOWPIECES, BOARD))


@chapter
def test_cells_are_short(page):
    long = [
        c.source.splitlines()[0] for c in cells_of(page, "code") if len(c.source.splitlines()) > LONGEST_CELL
    ]
    assert not long


@chapter
def test_code_that_is_shown_fits_the_text_column(page):
    shown = [c.source for c in cells_of(page, "code") if not HIDDEN & set(c.metadata.get("tags", []))]
    assert shown
    assert not [line for source in shown for line in source.splitlines() if len(line) > WIDEST_LINE]


@chapter
def test_code_uses_the_public_interface_of_etlab_only(page):
    assert not re.findall(r"etlab[\w.]*\._|from etlab[\w.]* import .*\b_|import \*", code_of(page))


@chapter
def test_every_picture_says_what_is_seen(page, book_html):
    cells = executed_cells(book_html, page)
    with_picture = [cell for cell in cells if any("image/png" in o.get("data", {}) for o in cell.outputs)]
    assert with_picture
    for cell in with_picture:
        options = cell.metadata.get("mystnb", {})
        first_line = cell.source.splitlines()[0]
        assert len(options.get("image", {}).get("alt", "")) >= 40, f"alt text of the figure of {first_line!r}"
        assert options.get("figure", {}).get("caption"), f"caption of the figure of {first_line!r}"
    for name in (*SHOWPIECES, "explore("):
        for call in re.findall(rf"^{re.escape(name)}.*?\)$", code_of(page), re.M | re.S):
            assert "alt=" in call


@chapter
def test_cells_print_little(page, book_html):
    for cell in executed_cells(book_html, page):
        printed = "".join(o.text for o in cell.outputs if o.output_type == "stream")
        assert len(printed.splitlines()) <= 10, cell.source.splitlines()[0]


@chapter
def test_results_in_the_text_are_glued_not_typed(page):
    assert not unglued_quantities(prose_of(page), code_of(page))


@pytest.mark.parametrize(
    ("prose", "found"),
    [
        ("It grew by 7.3 % in total.", ["7.3 %"]),
        ("It is 38.9 pixels.", ["38.9 pixels"]),
        ("At 70° it fails.", []),  # a setting of the code below
        ("It grew by {glue:text}`growth:.1f` %.", []),
        ("The formula $7.3 %$ is no result.", []),
    ],
)
def test_a_typed_result_is_found(prose, found):
    assert unglued_quantities(prose, "tilts = linear_tilts(70, 2)") == found


@chapter
def test_every_citation_has_its_doi(page):
    entries = dict(
        re.findall(r"@\w+\{(\S+?),(.*?)\n\}", (ROOT / "references.bib").read_text(encoding="utf-8"), re.S)
    )
    keys = {
        key for cited in re.findall(r"\{footcite:[pt]\}`([^`]+)`", prose_of(page)) for key in cited.split(",")
    }
    assert keys
    for key in keys:
        assert re.search(r"doi\s*=|doi:10\.", entries[key]), f"{key} has no DOI"


def rows_of_notation() -> list[tuple[str, str]]:
    """(symbol, code name) of every row of the tables in the notation appendix."""
    rows = re.findall(r"^\|(.+)\|$", NOTATION.read_text(encoding="utf-8"), re.M)
    columns = [[column.strip() for column in row.split("|")] for row in rows]
    return [(c[0], name) for c in columns for name in re.findall(r"`(etlab\.[\w.]+)", c[1])]


@pytest.mark.parametrize(("symbol", "name"), rows_of_notation())
def test_every_symbol_has_the_name_that_the_notation_gives(symbol, name):
    parts = name.split(".")
    for depth in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:depth]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[depth:]:
            fields = getattr(found, "__dataclass_fields__", {})
            found = fields[attribute] if attribute in fields else getattr(found, attribute)
        return
    pytest.fail(f"{symbol}: no module {name}")


def test_the_notation_names_something():
    assert len(rows_of_notation()) >= 10
