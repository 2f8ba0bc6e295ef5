"""The built site, opened in a browser that can reach no other machine.

Every page is opened once, from the file that `make book` leaves, where nothing can lean on a server: on a phone, which
then becomes a desktop. It works, fits, prints, and axe-core finds nothing serious. Tests share the visit, so each
leaves the page as the next one needs it. Over http, as published, the files are the same: a few are opened so.
"""

import hashlib
import json
import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from tests.axe import faults_of_contrast, faults_of_structure, make_plain
from tests.book import pages, wait_until_set
from tests.conftest import DESKTOP

pytestmark = pytest.mark.browser

CHAPTERS = [page for page in pages() if page.startswith("chapters/")]
HEAVIEST = 1_500_000  # bytes
JUDGED: list[str] = []  # styles of text that stand out; all pages have the same style sheets


# in the module's scope, so that all tests of a page come together
every_page = pytest.mark.parametrize(
    ("opened", "page_name"),
    [(name, name) for name in pages()],
    indirect=["opened"],
    ids=pages(),
    scope="module",
)


def sliders_of(page) -> list:
    return page.locator("[data-etlab-figure] input[type=range]").all()


def picture_of(slider) -> str:
    """A hash of what the figure around a slider shows: its images, canvases and drawings."""
    shown = slider.evaluate(
        """(input) => {
            const figure = input.closest('[data-etlab-figure]');
            const images = [...figure.querySelectorAll('img')].map((img) => img.currentSrc || img.src);
            const canvases = [...figure.querySelectorAll('canvas')].map((canvas) => canvas.toDataURL());
            const drawings = [...figure.querySelectorAll('svg')].map((svg) => svg.outerHTML);
            return JSON.stringify([images, canvases, drawings]);
        }"""
    )
    return hashlib.sha256(shown.encode()).hexdigest()


def announced_by(slider) -> str:
    """What a screen reader is told of a slider's value."""
    return slider.evaluate(
        """(input) => input.getAttribute('aria-valuetext')
            || [...input.closest('[data-etlab-figure]').querySelectorAll('output')]
                .map((output) => output.textContent.trim()).join(' ')"""
    )


def wait_until_changed(page, slider, before: str) -> bool:
    """Wait up to two seconds for the picture to differ from ``before``."""
    for _ in range(40):
        if picture_of(slider) != before:
            return True
        page.wait_for_timeout(50)
    return False


def test_contents_name_pages():
    assert len(CHAPTERS) >= 2, f"_toc.yml names too few chapters: {pages()}"


@every_page
def test_page_asks_no_other_host_and_raises_no_error(opened, page_name):
    opened.page.mouse.wheel(0, 20000)
    wait_until_set(opened.page)
    assert opened.elsewhere == [], f"{page_name} asks other hosts"
    assert opened.errors == [], f"{page_name} complains"


@every_page
def test_mathematics_is_set(opened, page_name):
    page = opened.page
    written = page.locator(".math").count()
    assert page.locator(".math mjx-container").count() >= written
    assert page.locator("mjx-merror").count() == 0
    if page_name in CHAPTERS:
        assert written > 0, f"{page_name} has no mathematics"


@every_page
def test_pictures_load_and_say_what_is_seen(opened, page_name):
    page = opened.page
    pictures = page.locator("article img").evaluate_all(
        """async (images) => Promise.all(images.map(async (img) => {
            img.loading = 'eager';
            await img.decode().catch(() => null);
            return {src: img.src.slice(0, 120), alt: img.getAttribute('alt') ?? '', width: img.naturalWidth};
        }))"""
    )
    broken = [picture["src"] for picture in pictures if picture["width"] == 0]
    # myst-nb gives a picture without alt text the file name as its alternative: that says nothing.
    silent = [
        p["src"] for p in pictures if len(p["alt"].strip()) < 10 or re.search(r"\.(png|svg)$", p["alt"])
    ]
    assert broken == [], f"{page_name}: pictures that do not load"
    assert silent == [], f"{page_name}: pictures without a text that says what is seen"
    if page_name in CHAPTERS:
        assert pictures, f"{page_name} has no pictures"


@every_page
def test_page_fits_a_phone(opened, page_name):
    page = opened.page
    overflow = page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
    widest = page.evaluate(
        """() => [...document.querySelectorAll('article *')]
            .map((e) => [Math.round(e.getBoundingClientRect().right), e.tagName, String(e.className)])
            .sort((a, b) => b[0] - a[0])[0]"""
    )
    assert overflow <= 0, f"{page_name} is {overflow} px wider than the screen; widest element: {widest}"


@every_page
def test_every_slider_moves_its_picture(opened, page_name):
    page = opened.page
    sliders = sliders_of(page)
    if page_name in CHAPTERS:
        assert len(sliders) >= 2, f"{page_name} has {len(sliders)} sliders, each chapter has at least two"
    assert len(sliders) == page.locator("article input[type=range]").count(), (
        "a slider stands outside a figure"
    )
    for slider in sliders:
        name = slider.get_attribute("aria-label")
        assert name, "a slider has no aria-label"
        slider.scroll_into_view_if_needed()
        low, high = (
            float(slider.get_attribute(end) or default) for end, default in (("min", 0), ("max", 100))
        )
        away = low if float(slider.input_value()) > (low + high) / 2 else high

        before, said = picture_of(slider), announced_by(slider)
        slider.evaluate(
            """(input, value) => {
                input.value = value;
                input.dispatchEvent(new Event('input', {bubbles: true}));
                input.dispatchEvent(new Event('change', {bubbles: true}));
            }""",
            str(away),
        )
        assert wait_until_changed(page, slider, before), f"{page_name}: dragging '{name}' changes no picture"
        assert announced_by(slider) not in ("", said), f"{page_name}: '{name}' does not announce its value"

        before, said = picture_of(slider), announced_by(slider)
        slider.focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight" if away == low else "ArrowLeft")
        assert wait_until_changed(page, slider, before), (
            f"{page_name}: arrow keys on '{name}' change no picture"
        )
        assert announced_by(slider) not in ("", said), f"{page_name}: '{name}' does not announce its value"
    assert opened.errors == [], f"{page_name} complains when its sliders move"


@every_page
def test_page_is_light(opened, page_name):
    """The page and what it shows; not the theme's and MathJax's files, which all pages share."""
    own = opened.page.evaluate(
        """() => {
            const pictures = [...document.querySelectorAll('article img')].map((img) => img.src);
            return [location.href, ...pictures].filter((src) => src.startsWith('file:'));
        }"""
    )
    sizes = {address: Path(url2pathname(urlsplit(address).path)).stat().st_size for address in own}
    heaviest = sorted(sizes.items(), key=lambda one: -one[1])[:3]
    assert sum(sizes.values()) <= HEAVIEST, f"{page_name}: heaviest are {heaviest}"


# From here on the page stands on a desktop.


@every_page
def test_page_widened_raises_no_error(opened, page_name):
    opened.page.set_viewport_size(DESKTOP)
    wait_until_set(opened.page)
    assert opened.errors == [], f"{page_name} complains on a desktop"
    assert opened.page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")


# From here on little more is left of it than axe has to see.


@every_page
def test_axe_finds_nothing_serious(opened, page_name):
    make_plain(opened.page)
    assert faults_of_structure(opened.page) == []


@every_page
def test_text_stands_out_from_its_ground(opened, page_name):
    assert faults_of_contrast(opened.page, JUDGED) == []


@every_page
def test_page_prints_without_its_frame(opened, page_name):
    opened.page.emulate_media(media="print")
    shown = opened.page.evaluate(
        """() => ['.bd-sidebar-primary', '.bd-header-article', '.prev-next-footer']
            .filter((name) => document.querySelector(name)?.checkVisibility())"""
    )
    assert shown == [], f"{page_name} prints {shown}"


@pytest.mark.parametrize("page_name", ["intro", CHAPTERS[0], "search"])
def test_page_works_over_http(visit, http_root, page_name):
    seen = visit(f"{http_root}/{page_name}.html")
    wait_until_set(seen.page)
    assert (seen.elsewhere, seen.errors) == ([], [])


def test_a_chapter_prints_whole(visit, http_root):
    page = visit(f"{http_root}/{CHAPTERS[0]}.html").page
    wait_until_set(page)
    assert len(page.pdf(format="A4")) > 100_000


# Tests that these tests can fail.


def test_a_page_that_asks_another_host_is_noticed(show):
    asked = show("<img src='http://elsewhere.example/a.png' alt='a picture from elsewhere'>")
    assert asked.elsewhere == ["http://elsewhere.example/a.png"]
    assert any("elsewhere.example" in error for error in asked.errors)


def test_what_axe_must_find_is_found(visit, http_root):
    page = visit(f"{http_root}/intro.html").page
    page.evaluate(
        """() => {
            const paragraphs = document.querySelectorAll('article p');
            paragraphs[1].style.color = '#aaa';
            paragraphs[0].append(document.createElement('button'));
            paragraphs[1].insertAdjacentHTML('beforeend', ' <a href="#" style="all: unset; color: #888">words</a>');
        }"""
    )
    make_plain(page)
    assert "button-name" in "".join(faults_of_structure(page))
    faults = faults_of_contrast(page, known := [])
    kinds = {tuple(fault.split(": ")[:2]) for fault in faults}
    assert kinds >= {("light", "color-contrast"), ("light", "link-in-text-block")}
    assert faults_of_contrast(page, known) == []


def test_executed_notebooks_are_kept_beside_the_site(book_html: Path):
    for chapter in CHAPTERS:
        notebook = json.loads((book_html.parent / "jupyter_execute" / f"{chapter}.ipynb").read_text())
        assert any(cell.get("outputs") for cell in notebook["cells"]), f"{chapter} was not executed"
