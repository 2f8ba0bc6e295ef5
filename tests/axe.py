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
STRUCTURE = {
    "runOnly": TAGS,
    "rules": {"color-contrast": {"enabled": False}},
    "resultTypes": ["violations"],
    "preload": False,
}
CONTRAST = {"runOnly": ["color-contrast"], "resultTypes": ["violations"], "preload": False}

# Of the elements with text of their own that have the same style and stand in the same elements, the first is kept.
ONE_TEXT_OF_EACH_STYLE = """() => {
    const style = (element) => ['class', 'style', 'fill'].map((name) => element.getAttribute(name)).join();
    const kind = (element) => element.matches('article') ? '' :
        kind(element.parentElement) + element.tagName + style(element);
    const says = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const first = new Map(), others = [];
    for (const element of document.querySelectorAll('article *:not(mjx-container *, script, style)'))
        if (says(element))
            first.has(kind(element)) ? others.push(element) : first.set(kind(element), element);
    const kept = [...first.values()];
    for (const element of others)
        if (!kept.some((one) => element.contains(one))) element.remove();
    window.oneOfEachStyle = kept;
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


def faults_of_contrast(page) -> list[str]:
    """Return the styles whose text hardly stands out; of each style one text is left in the page."""
    page.evaluate(f"window.oneOfEachStyle || ({ONE_TEXT_OF_EACH_STYLE})()")
    return _grave(page.evaluate("(rules) => axe.run(window.oneOfEachStyle, rules)", CONTRAST))


def _grave(found: dict) -> list[str]:
    return [
        f"{fault['id']}: {fault['help']}: {[node['html'][:160] for node in fault['nodes'][:3]]}"
        for fault in found["violations"]
        if fault["impact"] in GRAVE or fault["id"] == "heading-order"
    ]
