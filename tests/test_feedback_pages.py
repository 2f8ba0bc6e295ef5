"""Pages of feedback hold nothing that runs or loads, whatever a student wrote."""

import importlib

import pytest

from tests.labs import ROOT

PNG = "data:image/png;base64,iVBORw0KGgo="
HARM = [
    '<a href="javascript:alert(1)">x</a>',
    '<a href=" java\nscript:alert(1)">x</a>',
    '<a href="data:text/html,<script>alert(1)</script>">x</a>',
    '<a href="VBScript:alert(1)">x</a>',
    '<img src="https://elsewhere.example/x.png" alt="x">',
    '<img src="//elsewhere.example/x.png" alt="x">',
    '<img src="data:image/svg+xml;base64,PHN2Zz4=" alt="x">',
    '<img srcset="https://elsewhere.example/x.png" alt="x">',
    '<p onclick="alert(1)">x</p>',
    '<p style="background: url(https://elsewhere.example/x)">x</p>',
    '<style>@import "https://elsewhere.example/x.css";</style>',
    '<script src="https://elsewhere.example/MathJax.js">alert(1)</script>',
    '<link rel="stylesheet" href="https://elsewhere.example/x.css">',
    '<meta http-equiv="refresh" content="0; url=https://elsewhere.example">',
    '<iframe src="https://elsewhere.example"></iframe>',
    '<svg><a xlink:href="javascript:alert(1)"><text>x</text></a></svg>',
    '<form action="https://elsewhere.example"><input></form>',
]


@pytest.fixture
def harmless(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("feedback").harmless


@pytest.mark.parametrize("harm", HARM)
def test_nothing_in_a_page_runs_or_loads(harmless, harm):
    page = harmless(f"<html><head><title>x</title></head><body>{harm}</body></html>")
    for word in ("elsewhere", "alert", "svg+xml", "script:"):
        assert word not in page.lower().split("</title>")[1]


def test_a_policy_forbids_what_was_overlooked(harmless):
    head = harmless("<html><head></head><body></body></html>")
    assert "default-src 'none'" in head and "script-src" not in head


def test_links_and_pictures_of_the_page_stay(harmless):
    page = harmless(
        f'<body><a href="https://doi.org/1">x</a><a href="#a">y</a><img src="{PNG}" alt="z"></body>'
    )
    assert 'href="https://doi.org/1"' in page and 'href="#a"' in page and PNG in page
