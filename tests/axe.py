"""What axe-core finds in a page of the site and must not be there.

axe looks at every element of a page whatever it is asked for, so that what it has nothing to say of goes first: the
inside of formulas, the words of programs, and, for contrast, all text but the first of each style.
"""

from pathlib import Path

import axe_playwright_python

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
GRAVE = ("serious", "critical")
TAGS = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
# colours and names are ours; the rest of the frame, its menus and its search, is the theme's
OURS = {"include": [["article"]], "exclude": [["mjx-container"]]}
COLOURS = ["color-contrast", "link-in-text-block"]
STRUCTURE = {
    "runOnly": TAGS,
    "rules": {rule: {"enabled": False} for rule in COLOURS},
    "resultTypes": ["violations"],
    "preload": False,
}
CONTRAST = {"runOnly": COLOURS, "resultTypes": ["violations"], "preload": False}

# Of the elements with text of their own that have the same style and stand in the same elements, the first is kept,
# unless their style is a known one. Returns the styles that are kept.
ONE_TEXT_OF_EACH_STYLE = """(known) => {
    const style = (element) => ['class', 'style', 'fill'].map((name) => element.getAttribute(name)).join();
    const kind = (element) => element.matches('article') ? '' :
        `${kind(element.parentElement)} ${element.tagName} ${style(element)}`;
    const says = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const first = new Map(known.map((one) => [one, null])), others = [];
    for (const element of document.querySelectorAll('article *:not(mjx-container *, script, style)'))
        if (says(element))
            first.has(kind(element)) ? others.push(element) : first.set(kind(element), element);
    window.oneOfEachStyle = [...first.values()].filter((element) => element);
    for (const element of others)
        if (!window.oneOfEachStyle.some((one) => element.contains(one))) element.remove();
    return [...first.keys()];
}"""
PLAIN = """() => {
    for (const formula of document.querySelectorAll('mjx-container'))
        formula.replaceChildren(formula.textContent);
    const seen = new Set();
    for (const word of document.querySelectorAll('article pre span:not(:has(*))'))
        if (seen.has(word.className)) word.replaceWith(word.textContent); else seen.add(word.className);
}"""


def make_plain(page) -> None:
    """Load axe-core, and leave of formulas their text and of programs' words one of each class."""
    page.evaluate(f"window.axe || {AXE}")
    page.evaluate(PLAIN)


def faults_of_structure(page) -> list[str]:
    """Return what is grave, colours aside, in a page that was made plain."""
    return _grave(page.evaluate("([where, rules]) => axe.run(where, rules)", [OURS, STRUCTURE]))


def faults_of_contrast(page, known: list[str]) -> list[str]:
    """Return the texts that hardly stand out, in the light theme and in the dark one, and add their styles to known.

    Texts of ``known`` styles were judged on another page. Of the others, one of each style is left in the page.
    """
    known[:] = page.evaluate(ONE_TEXT_OF_EACH_STYLE, known)
    faults = []
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.wait_for_function("(theme) => document.documentElement.dataset.theme === theme", arg=theme)
        if page.evaluate("window.oneOfEachStyle.length"):
            found = page.evaluate("(rules) => axe.run(window.oneOfEachStyle, rules)", CONTRAST)
            faults += [f"{theme}: {fault}" for fault in _grave(found)]
    return faults


def _grave(found: dict) -> list[str]:
    return [
        f"{fault['id']}: {fault['help']}: {[node['html'][:160] for node in fault['nodes'][:3]]}"
        for fault in found["violations"]
        if fault["impact"] in GRAVE or fault["id"] == "heading-order"
    ]
