"""The leaderboard of the blind challenge as HTML: a fragment for a page of the book, and a page that stands alone.

One table holds every number. Which tier of it is seen is chosen with radio buttons and shown by the style sheet alone,
so a reader without JavaScript misses only the sorting. What was measured and what was published stand under headings
of their own, never in one column. Names, problems and pictures come from strangers: all text is escaped, only PNG
pictures inside the page are accepted, and the page's policy lets nothing run or load but its own script and style.

Rows are those of `etlab.course.challenge.standings`, dicts with the keys name, kind, overall, tiers, published,
problems and, if there is one, picture and picture_alt.
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
import numbers
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from etlab.atomic import replacing
from etlab.course.scenes.draw import TIERS

VIEWS = ("all", *TIERS)  # what the reader chooses between
PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")
FIRST = 3  # columns before the numbers: place, picture and name
WIDTH = 15  # columns that are seen at most
QUALITY = (("score", "score", 3), ("psnr_db", "PSNR <span>[dB]</span>", 1), ("ssim", "SSIM", 3))
ERRORS = (
    ("tilt_angle_error", "tilt angle <span>[deg]</span>", 2),
    ("tilt_axis_error", "tilt axis <span>[deg]</span>", 2),
    ("defocus_gradient_error", "defocus gradient <span>[nm/µm]</span>", 1),
)
RANKED = ("dev", "hidden")  # no errors are shown of these: those of a few submissions give away the truth
PICTURE_SIZE = 'width="128" height="64"'  # CSS pixels that are kept free for it
NONE = "—"
MAX_PROBLEMS, MAX_PROBLEM = 40, 300  # problems of a row, characters of one: a stranger's log may be endless

Cell = tuple[float | None, str]  # what is sorted by, and what is read


@dataclass(frozen=True)
class Column:
    """A column of numbers: its heading (HTML), what stands in a row, and the direction in which it is sorted first.

    Columns of two tiers with the same ``key`` show the same quantity.
    """

    key: str
    title: str
    cell: Callable[[Mapping], Cell]
    first: str = "descending"


@dataclass(frozen=True)
class Group:
    """Columns side by side under one heading, seen in one of ``VIEWS``."""

    view: str
    title: str
    columns: tuple[Column, ...]
    published: bool = False


def fragment(rows: Iterable[Mapping], *, heading: str | None = None) -> str:
    """Return the board as HTML that may stand in any page, any number of times."""
    named = heading or "Leaderboard of the blind challenge"
    rows = by_overall(rows)
    without = "" if any(map(_has_picture, rows)) else " etlab-without-pictures"
    return (
        f'<div class="etlab-board{without}"><style>{source("leaderboard.css")}</style>'
        f"{_controls(rows)}"
        f'<div class="etlab-scroll" role="region" tabindex="0" aria-label="{_text(named)}"><table>'
        f"<caption><span>{_text(named)}</span></caption>"
        f"<thead>{_head()}</thead>{_bodies(rows)}</table></div>"
        f"{_notes()}"
        '<p class="etlab-said" role="status"></p>'
        f"<script>{source('leaderboard.js')}</script></div>"
    )


def page(rows: Iterable[Mapping], *, title: str, made: str, note: str = "") -> str:
    """Return the board as a whole document that loads nothing from any other host; ``made`` is its date."""
    said = f"<p>{_text(note)}</p>" if note else ""
    return (
        '<!doctype html><html lang="en-GB" class="etlab-board-page"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy()}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{_text(title)}</title></head><body><main><h1>{_text(title)}</h1>{said}"
        f"{fragment(rows, heading='Measured, with the published values beside')}"
        f"<footer>Made {_text(made)} with etlab.</footer></main></body></html>\n"
    )


def write_page(
    path: str | os.PathLike, rows: Iterable[Mapping], *, title: str, made: str, note: str = ""
) -> None:
    """Write `page` to a file, whole or not at all."""
    with replacing(path) as part, part.open("x", encoding="utf-8") as file:  # unlike "w" it follows no link
        file.write(page(rows, title=title, made=made, note=note))


def by_overall(rows: Iterable[Mapping]) -> list[Mapping]:
    """Sort rows by overall score, best first; those without one keep their order after them, as equals do."""

    def key(row: Mapping) -> tuple[bool, float]:
        score = _column("overall", "overall", "overall").cell(row)[0]
        return score is None, -(score or 0)

    return sorted(rows, key=key)


def places(scores: Iterable[float | None]) -> list[int | None]:
    """Return the place of each score, best first: equals share one, and a row without a score has none."""
    scores = list(scores)
    there = [score for score in scores if score is not None]
    return [None if score is None else 1 + sum(other > score for other in there) for score in scores]


def number(value: object) -> float | None:
    """Return a number that can be sorted, or None: for what is missing, is NaN or is no number."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or math.isnan(value):
        return None
    return float(value)


def policy() -> str:
    """Return the page's Content-Security-Policy: its own script and style, by their hashes, and pictures inside it."""
    script, style = (_sha256(source(f"leaderboard.{kind}")) for kind in ("js", "css"))
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def source(name: str) -> str:
    """Return the text of the board's script or style sheet."""
    return (files("etlab.course.challenge") / name).read_text(encoding="utf-8")


# --- which columns there are


def groups(view: str) -> tuple[Group, ...]:
    """Return the groups of columns that are seen in one of ``VIEWS``."""
    return _overview() if view == "all" else _one_tier(view)


def _overview() -> tuple[Group, ...]:
    """Return the groups of the view of all tiers."""
    measured = (
        _column("overall", "overall", "overall"),
        *(_column(tier, tier, "tiers", tier, "score") for tier in RANKED),
        _scenes(RANKED),
    )
    practice = (_column("public", "public", "tiers", "public", "score"),)
    beside = (
        _column("published overall", "overall", "published", "overall"),
        *(_column(f"published {tier}", tier, "published", tier, "score") for tier in TIERS),
    )
    return (
        Group("all", "measured", measured),
        Group("all", "practice", practice),
        Group("all", "published", beside, published=True),
    )


def _one_tier(tier: str) -> tuple[Group, ...]:
    """Return the groups of the view of one tier."""
    measured = (
        _column("overall", "overall", "overall"),
        *(_column(key, title, "tiers", tier, key, digits=digits) for key, title, digits in QUALITY),
        _column("consistency", "consistency", "tiers", tier, "consistency"),
        _scenes((tier,)),
    )
    errors = tuple(
        _column(key, title, "tiers", tier, key, digits=digits, first="ascending")
        for key, title, digits in ERRORS
    )
    found = () if tier in RANKED else (Group(tier, "measured errors", errors),)
    beside = tuple(
        _column(f"published {key}", title, "published", tier, key, digits=digits)
        for key, title, digits in QUALITY
    )
    return (
        Group(tier, f"measured, {_named_tier(tier)}", measured),
        *found,
        Group(tier, "published", beside, published=True),
    )


@cache
def _columns() -> list[tuple[Group, Column, str]]:
    """Return every column from left to right, after place, picture and name, with its group and its classes in HTML."""
    return [
        (group, column, f"in-{group.view}" + " etlab-published" * group.published + " etlab-first" * (not i))
        for view in VIEWS
        for group in groups(view)
        for i, column in enumerate(group.columns)
    ]


def _column(key: str, title: str, *path: str, digits: int = 3, first: str = "descending") -> Column:
    """Return the column of the number that is found in a row by following ``path``."""

    def cell(row: Mapping) -> Cell:
        value: Any = row
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        value = number(value)
        if value is None:
            return None, NONE
        value = round(value, digits)  # what is sorted by says no more than what is read
        return value, f"{value:.{digits}f}".replace("inf", "∞").replace("-", "−")

    return Column(key, title, cell, first)


def _named_tier(tier: str) -> str:
    """Return a tier's name for readers."""
    return f"{tier} tier" + " (practice)" * (tier not in RANKED)


def _scenes(tiers: Iterable[str]) -> Column:
    """Return the column of how many scenes were scored."""

    def cell(row: Mapping) -> Cell:
        seen = [row["tiers"][tier] for tier in tiers if tier in row["tiers"]]
        if not seen:
            return None, NONE
        scored, there = (sum(int(tier[key]) for tier in seen) for key in ("scored", "scenes"))
        return scored, f"{scored} of {there}"

    return Column("scenes", "scenes scored", cell)


# --- the table


def _head() -> str:
    """Return two lines of headings: the groups, and the columns under them."""
    upper = [
        _heading("place", "place", 0, "ascending", 'class="etlab-place" rowspan="2"'),
        '<th class="etlab-picture" rowspan="2" scope="col">slice</th>',
        _heading("name", "name", 2, "ascending", 'class="etlab-name" rowspan="2"'),
    ]
    lower = []
    for i, (group, column, classes) in enumerate(_columns(), FIRST):
        if column is group.columns[0]:
            attributes = f'class="{classes}" scope="colgroup" colspan="{len(group.columns)}"'
            upper.append(f"<th {attributes}><span><span>{group.title}</span></span></th>")
        lower.append(_heading(column.key, column.title, i, column.first, f'class="{classes}"'))
    return f"<tr>{''.join(upper)}</tr><tr>{''.join(lower)}</tr>"


def _heading(key: str, title: str, i: int, first: str, attributes: str) -> str:
    """Return the heading of column ``i``."""
    data = f'data-key="{key}" data-column="{i}" data-first="{first}"'
    return f'<th {attributes} scope="col" {data}>{title}</th>'


def _bodies(rows: Sequence[Mapping]) -> str:
    """Return a group of table rows for each row of the board: its numbers and, under them, its problems."""
    if not rows:
        return f'<tbody><tr><td colspan="{WIDTH}">Nothing has been handed in yet.</td></tr></tbody>'
    ranks = places(_column("overall", "overall", "overall").cell(row)[0] for row in rows)
    return "".join(_entry(row, place) for row, place in zip(rows, ranks, strict=True))


def _entry(row: Mapping, place: int | None) -> str:
    """Return a row of the board."""
    cells = [
        _cell("etlab-place", place, str(place or NONE)),
        f'<td class="etlab-picture">{_picture(row)}</td>',
        f'<th class="etlab-name" scope="row" data-value="{_text(row["name"])}">{_named(row)}</th>',
        *(_cell(classes, *column.cell(row)) for _, column, classes in _columns()),
    ]
    kind = "etlab-entry" + " etlab-baseline" * (row["kind"] == "baseline")
    return f'<tbody class="{kind}"><tr>{"".join(cells)}</tr>{_problems(row)}</tbody>'


def _cell(classes: str, value: float | None, text: str) -> str:
    """Return one cell of the table."""
    data = "" if value is None else f' data-value="{str(value).replace("inf", "Infinity")}"'
    return f'<td class="{classes}"{data}>{text}</td>'


def _picture(row: Mapping) -> str:
    """Return the picture of a row, or a dash."""
    if not _has_picture(row):
        return f"<span>{NONE}</span>"
    picture = row["picture"]
    alt = _text(row.get("picture_alt") or f"slice of the volume of {row['name']}")
    return (
        f'<img class="dark-light" src="{picture}" alt="{alt}" {PICTURE_SIZE} loading="lazy" decoding="async">'
    )


def _has_picture(row: Mapping) -> bool:
    """Return whether a row has a picture that may be shown."""
    picture = row.get("picture")
    return isinstance(picture, str) and PICTURE.fullmatch(picture) is not None


def _named(row: Mapping) -> str:
    """Return the name of a row, marked if it is a baseline."""
    badge = ' <span class="etlab-badge">baseline</span>' if row["kind"] == "baseline" else ""
    return f"<bdi>{_text(row['name'])}</bdi>{badge}"


def _problems(row: Mapping) -> str:
    """Return the problems of a row as a row of the table; nothing if there is none."""
    problems = list(row.get("problems") or [])
    if not problems:
        return ""
    items = [f"<li><bdi>{_text(_shortened(str(one)))}</bdi></li>" for one in problems[:MAX_PROBLEMS]]
    if len(problems) > MAX_PROBLEMS:
        items.append(f"<li>and {len(problems) - MAX_PROBLEMS} more</li>")
    summary = f"<summary>{len(problems)} problem{'s' * (len(problems) > 1)}</summary>"
    return (
        f'<tr class="etlab-problems"><td colspan="2"></td><td colspan="{WIDTH - 2}">'
        f'<details>{summary}<ul tabindex="0">{"".join(items)}</ul></details></td></tr>'
    )


def _shortened(text: str) -> str:
    """Truncate the text of a problem."""
    return text if len(text) <= MAX_PROBLEM else text[: MAX_PROBLEM - 1] + "…"


# --- around the table


def _controls(rows: Iterable[Mapping]) -> str:
    """Return the choice of the tier and, if there are other rows beside them, of baselines."""
    buttons = "".join(_radio(view) for view in VIEWS)
    kinds = {row["kind"] == "baseline" for row in rows}
    hide = '<label><input type="checkbox" checked><span>baselines</span></label>' if len(kinds) == 2 else ""
    # of the method "dialog", since the return key would else send the form off
    return (
        '<form method="dialog" autocomplete="off"><fieldset><legend>tier</legend>'
        f"{buttons}</fieldset>{hide}</form>"
    )


def _radio(view: str) -> str:
    """Return the button of a view; its data name the column that gives the places."""
    key = "overall" if view == "all" else "score"
    i = next(
        i for i, (group, column, _) in enumerate(_columns(), FIRST) if (group.view, column.key) == (view, key)
    )
    attributes = f'name="tier" value="{view}" data-column="{i}"' + " checked" * (view == "all")
    label = "all tiers" if view == "all" else view + " (practice)" * (view not in RANKED)
    return f'<label><input type="radio" {attributes}><span>{label}</span></label>'


def _notes() -> str:
    """Return what the columns mean."""
    return (
        '<div class="etlab-notes"><p>Overall: the mean of the scores of dev and hidden. The public tier is practice: '
        "everybody has its truth. Score: the mean over all scenes of a tier; one without a valid answer counts zero. "
        "PSNR, SSIM, consistency and errors are over the scenes that were scored. Errors: root mean square of found − "
        "true. Place: by the overall score or, where one tier is chosen, by its score; among the rows that are "
        "shown.</p>"
        "<p><i>Published</i> values were not measured here, nor on these scenes.</p>"
        "<noscript><p>Without JavaScript, rows and places are by the overall score whatever is shown.</p></noscript>"
        "</div>"
    )


def _text(value: object) -> str:
    """Escape a stranger's text for HTML, inside or outside of quotes, and replace half a surrogate pair."""
    return html.escape(str(value).encode("utf-8", "replace").decode("utf-8").replace("\0", "�"))


def _sha256(text: str) -> str:
    """Return the hash of a text for a policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
