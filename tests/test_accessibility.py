"""Pages for everybody: what axe-core finds in a browser, how much a page weighs, and that it prints."""

import json
from pathlib import Path

import axe_playwright_python
import pytest

from tests.book import pages

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
# colours and names are ours; the rest of the frame, its menus and its search, is the theme's
OURS = {"include": [["article"]], "exclude": [["mjx-container"]]}
GRAVE = ("serious", "critical")
TAGS = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
RULES = {"runOnly": TAGS, "rules": {"color-contrast": {"enabled": False}}, "resultTypes": ["violations"]}
CONTRAST = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}
HEAVIEST = 1_500_000  # bytes

# Pages have thousands of words in a few colours: of the elements with text of their own that have the same style and
# stand in the same elements, the first. The other words of programs become plain text: axe looks at all elements.
ONE_OF_EACH_STYLE = """() => {
    const style = (element) => ['class', 'style', 'fill'].map((name) => element.getAttribute(name)).join();
    const kind = (element) => element.matches('article') ? '' :
        kind(element.parentElement) + element.tagName + style(element);
    const says = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const found = new Map();
    for (const element of document.querySelectorAll('article *:not(mjx-container *, script, style)'))
        if (says(element) && !found.has(kind(element))) found.set(kind(element), element);
    for (const word of document.querySelectorAll('article pre span:not(:has(*))'))
        if (found.get(kind(word)) !== word) word.replaceWith(word.textContent);
    return [...found.values()].filter((element) => element.isConnected);
}"""

pytestmark = pytest.mark.browser
EVERY_PAGE = [(("http", name, "desktop"), name) for name in pages()]
# in the module's scope, so that all tests of a page come together and share its visit
every_page = pytest.mark.parametrize(
    ("opened", "page_name"), EVERY_PAGE, indirect=["opened"], ids=pages(), scope="module"
)


def complaints(page, where: str, rules: dict) -> list[str]:
    """What axe-core finds in a page and must not be there, in the context ``where``, as JavaScript."""
    page.evaluate(f"window.axe || {AXE}")
    found = page.evaluate(
        f"(rules) => {{ const one_of_each = ({ONE_OF_EACH_STYLE})(); return axe.run({where}, rules) }}", rules
    )["violations"]
    return [
        f"{fault['id']}: {fault['help']}: {[node['html'][:160] for node in fault['nodes'][:3]]}"
        for fault in found
        if fault["impact"] in GRAVE or fault["id"] == "heading-order"
    ]


@every_page
def test_axe_finds_nothing_serious(opened, page_name):
    assert complaints(opened.page, json.dumps(OURS), RULES) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@every_page
def test_text_stands_out_from_its_ground(opened, page_name, theme):
    page = opened.page
    page.emulate_media(color_scheme=theme)
    page.wait_for_function("(theme) => document.documentElement.dataset.theme === theme", arg=theme)
    assert complaints(page, "{include: one_of_each}", CONTRAST) == []


def test_text_that_hardly_stands_out_is_found(visit, http_root):
    page = visit(f"{http_root}/intro.html", color_scheme="light").page
    page.evaluate("document.querySelector('article p').style.color = '#aaa'")
    assert "color-contrast" in "".join(complaints(page, "{include: one_of_each}", CONTRAST))


@every_page
def test_page_is_light(opened, page_name):
    """The page and what it shows; not the theme's and MathJax's files, which all pages share."""
    page = opened.page
    sizes = page.evaluate(
        """async () => {
            const pictures = [...document.querySelectorAll('article img')].map((img) => img.src);
            const own = [location.href, ...new Set(pictures.filter((src) => src.startsWith('http')))];
            return Promise.all(own.map(async (src) => [src, (await (await fetch(src)).blob()).size]));
        }"""
    )
    heaviest = sorted(sizes, key=lambda one: -one[1])[:3]
    assert sum(size for _, size in sizes) <= HEAVIEST, f"{page_name}: heaviest are {heaviest}"


@every_page
def test_page_prints_without_its_frame(opened, page_name):
    page = opened.page
    page.emulate_media(media="print")
    shown = page.evaluate(
        """() => ['.bd-sidebar-primary', '.bd-header-article', '.prev-next-footer']
            .filter((name) => document.querySelector(name)?.checkVisibility())"""
    )
    assert shown == [], f"{page_name} prints {shown}"
    assert len(page.pdf(format="A4")) > 10_000
    page.emulate_media(media="screen")
