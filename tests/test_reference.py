"""The reference: every public name says what it takes and returns, shows how it is called, and is on a page.

Public are the names that `etlab` and its packages offer, and everything without an underscore in the modules of the
subject that pages and labs import from.
"""

import doctest
import importlib
import inspect
import re
import types
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from sphinx.ext.napoleon import NumpyDocstring

PAGES = Path(__file__).resolve().parent.parent / "reference"
PACKAGES = [
    "etlab",
    "etlab.solvers",
    "etlab.solvers.learned",
    "etlab.phantoms",
    "etlab.alignment",
    "etlab.calibration",
    "etlab.io",
    "etlab.pipeline",
    "etlab.course.scenes",
    "etlab.course.challenge",
    "etlab.course.sandbox",
    "etlab.course.grading",
    "etlab.course.widgets",
]
MODULES = [
    "acquisition",
    "data",
    "forward",
    "fsc",
    "geometry",
    "metrics",
    "operator",
    "plot",
    "projector",
    "reference",
]
SINGLE = {"blur": ["DefocusBlur"], "refocus": ["refocused"], "rotation": ["InPlaneRotation"]}
BRIEF = "etlab.course.grading"  # what a check wants is said by the lab that asks for it
ENTRY = re.compile(r"^\.\. (?:auto\w+|py:data):: (\S+)|^   (\w+)$", re.MULTILINE)


def public_names() -> dict[str, object]:
    """Everything that is public, by the name under which it is offered; a function found twice counts once."""
    offered = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        offered |= {f"{package}.{name}": getattr(module, name) for name in module.__all__}
    for name in MODULES:
        module = importlib.import_module(f"etlab.{name}")
        own = [
            key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
        ]
        offered |= {f"{module.__name__}.{key}": getattr(module, key) for key in own if key[0] != "_"}
    for name, chosen in SINGLE.items():
        offered |= {
            f"etlab.{name}.{key}": getattr(importlib.import_module(f"etlab.{name}"), key) for key in chosen
        }
    seen: set[int] = set()
    return {
        name: value
        for name, value in offered.items()
        if not isinstance(value, types.ModuleType) and not (id(value) in seen or seen.add(id(value)))
    }


NAMES = public_names()
CALLABLE = {
    name: value for name, value in NAMES.items() if inspect.isclass(value) or inspect.isfunction(value)
}


def sections(text: str) -> dict[str, str]:
    """The sections of a docstring by their titles; what precedes them is called Summary."""
    parts = re.split(r"^(\w+)\n-+\n", f"{inspect.cleandoc(text)}\n", flags=re.MULTILINE)
    return {"Summary": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def lacking(value) -> list[str]:
    """What the docstring of a function or class lacks."""
    found = sections(value.__doc__ or "")
    lacks = [] if found["Summary"].splitlines()[0].endswith((".", ":")) else ["a summary that is a sentence"]
    if value.__module__.startswith(BRIEF):
        return lacks
    if inspect.isclass(value) and (issubclass(value, Exception) or getattr(value, "_is_protocol", False)):
        return lacks
    described = re.findall(r"^\*{0,2}(\w[\w, *]*)", found.get("Parameters", ""), re.MULTILINE)
    names = {name.strip(" *") for line in described for name in line.split(",")}
    signature = inspect.signature(value)
    for name, parameter in signature.parameters.items():
        anything = inspect.isclass(value) and parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        )
        if name not in names and not anything:
            lacks.append(f"parameter {name}")
    if not any(one.kind == one.VAR_KEYWORD for one in signature.parameters.values()):
        lacks += [f"a parameter {name}" for name in sorted(names - set(signature.parameters))]
    returns = str(signature.return_annotation)
    if inspect.isfunction(value) and returns != "None" and not {"Returns", "Yields"} & set(found):
        lacks.append("Returns")
    if ">>>" not in found.get("Examples", ""):
        lacks.append("Examples")
    return lacks


@pytest.mark.parametrize("name", sorted(CALLABLE))
def test_public_name_says_what_it_takes_and_returns_and_shows_a_call(name):
    assert lacking(CALLABLE[name]) == [], name


def examples() -> list:
    found = []
    for name, value in CALLABLE.items():
        module = importlib.import_module(value.__module__)
        for test in doctest.DocTestFinder(exclude_empty=True).find(
            value, name, module, globs=dict(vars(module))
        ):
            if test.examples:
                marks = [pytest.mark.data] if value.__module__ == "etlab.data" else []
                found.append(pytest.param(test, id=test.name, marks=marks))
    return found


@pytest.mark.parametrize("example", examples())
@pytest.mark.filterwarnings("ignore")
def test_example_runs(example, capsys):
    import matplotlib.pyplot as plt

    with plt.rc_context(), plt.style.context({"backend": "Agg"}):
        failed = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example).failed
        plt.close("all")
    assert not failed, capsys.readouterr().out


def listed() -> dict[str, str]:
    """The names on the pages, those of a package listed whole among them, and the page of each."""
    found = {}
    for page in PAGES.glob("*.md"):
        for name, check in ENTRY.findall(page.read_text(encoding="utf-8")):
            names = [name or f"{BRIEF}.{check}"]
            if name in PACKAGES:
                names = [f"{name}.{one}" for one in importlib.import_module(name).__all__]
            found |= dict.fromkeys(names, page.stem)
    return found


def test_every_public_name_is_on_a_page_of_the_reference():
    shown = [resolved(name) for name in listed()]
    assert [name for name, value in NAMES.items() if not any(value is one for one in shown)] == []


def resolved(name: str) -> object:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def test_pages_of_the_reference_are_in_the_book():
    contents = (PAGES.parent / "_toc.yml").read_text(encoding="utf-8")
    assert all(f"reference/{page.stem}\n" in contents for page in PAGES.glob("*.md"))


@pytest.mark.parametrize("name", sorted(CALLABLE))
def test_docstring_is_sound_markup(name):
    settings = {"report_level": 5, "halt_level": 5}
    value = CALLABLE[name]
    own = vars(value).values() if inspect.isclass(value) else []
    for text in [value.__doc__ or "", *(one.__doc__ or "" for one in own if inspect.isfunction(one))]:
        markup = str(NumpyDocstring(inspect.cleandoc(text)))
        messages = publish_doctree(markup, settings_overrides=settings).findall(nodes.system_message)
        assert [one.astext() for one in messages if one["level"] > 1] == []
