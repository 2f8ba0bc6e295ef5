"""Pages for everybody: what axe-core finds in a browser, how much a page weighs, and that it prints."""

from pathlib import Path

import axe_playwright_python
import pytest

from tests.book import pages

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
# colours and names are ours; the rest of the frame, its menus and its search, is the theme's
OURS = {"include": [["article"]], "exclude": [["mjx-container"]]}
GRAVE = ("serious", "critical")
TAGS = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
# a theme changes nothing but colours
RULES = {"light": {"runOnly": TAGS}, "dark": {"runOnly": ["color-contrast"]}}
HEAVIEST = 1_500_000  # bytes

pytestmark = pytest.mark.browser


def opened(*themes: str):
    """Parametrise a test with every page in these themes, with its name and the theme."""
    asked = [(("http", name, {"color_scheme": theme}), name, theme) for theme in themes for name in pages()]
    ids = [f"{name}-{theme}" for _, name, theme in asked]
    return pytest.mark.parametrize(("opened", "page_name", "theme"), asked, indirect=["opened"], ids=ids)


@opened(*RULES)
def test_axe_finds_nothing_serious(opened, page_name, theme):
    page = opened.page
    assert page.evaluate("() => document.documentElement.dataset.theme") == theme
    page.evaluate(AXE)
    found = page.evaluate("([where, rules]) => axe.run(where, rules)", [OURS, RULES[theme]])["violations"]
    grave = [
        f"{fault['id']}: {fault['help']}: {[node['html'][:160] for node in fault['nodes'][:3]]}"
        for fault in found
        if fault["impact"] in GRAVE or fault["id"] == "heading-order"
    ]
    assert not grave, f"{page_name}, {theme}: " + "; ".join(grave)


@opened("light")
def test_page_is_light(opened, page_name, theme):
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


@opened("light")
def test_page_prints_without_its_frame(opened, page_name, theme):
    page = opened.page
    page.emulate_media(media="print")
    shown = page.evaluate(
        """() => ['.bd-sidebar-primary', '.bd-header-article', '.prev-next-footer']
            .filter((name) => document.querySelector(name)?.checkVisibility())"""
    )
    assert shown == [], f"{page_name} prints {shown}"
    assert len(page.pdf(format="A4")) > 10_000
