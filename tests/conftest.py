"""What several tests share: the built site, and a browser that may talk to this machine only."""

import functools
import http.server
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.book import wait_until_set
from tools.browser import find_browser

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = re.compile(r"^(https?|wss?|ftp)://(?!(127\.0\.0\.1|localhost)[:/])")
# sphinx-thebe's script, on every page of a Jupyter Book 1 site, declares its constant twice; it does no harm.
HARMLESS = re.compile(r"Identifier 'THEBE_JS_URL' has already been declared")
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# Refused by the browser itself: what playwright intercepts is never cached, and pages share large scripts.
NO_OTHER_HOST = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"

# Tests that need the built site or what builds it, a Unix shell, the sandbox of the challenge or nbgrader.
NOT_CORE = """
    binder challenge_cli chapters claims evaluate evaluate_resume far_calls feedback_pages fuzz_submission
    grade_labs grading_attacks handin hostile_files lab1 lab2 lab3 lab4 lab5 lab6 labs leaderboard_page
    make_class maths_js publishing reference sandbox settle setup site slabs starter_kit tree types widgets
"""


OTHERS = {f"test_{name}" for name in NOT_CORE.split()}


def pytest_ignore_collect(collection_path, config):
    """Where only core is wanted, leave the others unread: some import what Windows does not have."""
    if config.getoption("markexpr") == "core" and collection_path.stem in OTHERS:
        return True
    return None  # ask the other plug-ins


def pytest_collection_modifyitems(items):
    """Mark what runs on any system, with the package alone."""
    for item in items:
        if item.path.stem not in OTHERS and "browser" not in item.keywords:
            item.add_marker("core")


@pytest.fixture(scope="session")
def book_html() -> Path:
    """The folder of the built site."""
    html = ROOT / "_build" / "html"
    if not (html / "index.html").is_file():
        pytest.fail("the site is not built: run `make book` first", pytrace=False)
    return html


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; per module, because playwright keeps an event loop running while it lives."""
    from playwright.sync_api import sync_playwright

    executable = find_browser()
    if executable is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("no Chromium or Chrome: run `python tools/browser.py --install`")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", NO_OTHER_HOST]
        )
        yield chromium
        chromium.close()


@dataclass
class Visit:
    """A page and what went wrong on it: requests it made to other machines (none is reached), and its errors."""

    page: object
    elsewhere: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def visit_in(context, url: str) -> Visit:
    """Open a page in a browser's context."""
    seen = Visit(page=context.new_page())

    def note_request(asked) -> None:
        if ELSEWHERE.match(asked.url):
            seen.elsewhere.append(asked.url)

    def note(message: str) -> None:
        if not HARMLESS.search(message):
            seen.errors.append(message)

    seen.page.on("request", note_request)
    seen.page.on("websocket", note_request)
    seen.page.on("console", lambda said: note(said.text) if said.type == "error" else None)
    seen.page.on("pageerror", lambda error: note(str(error)))
    seen.page.on("requestfailed", lambda request: note(f"did not load: {request.url}"))
    seen.page.goto(url)
    return seen


@pytest.fixture
def visit(browser) -> Iterator:
    """``visit(url, **context_options) -> Visit``: open a page that this test has for itself."""
    contexts = []

    def open_page(url: str, **options) -> Visit:
        contexts.append(browser.new_context(**{"viewport": DESKTOP, **options}))
        return visit_in(contexts[-1], url)

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def shared_context(browser) -> Iterator:
    """One context, a phone's: pages opened in it share what the browser has loaded and compiled."""
    context = browser.new_context(viewport=PHONE)
    yield context
    context.close()


@pytest.fixture(scope="module")
def opened(request, shared_context, book_html) -> Iterator[Visit]:
    """A page of the site, named by the parameter, opened once for all tests of a file."""
    seen = visit_in(shared_context, f"{book_html.as_uri()}/{request.param}.html")
    wait_until_set(seen.page)
    yield seen
    seen.page.close()


@pytest.fixture(scope="module")
def http_root(book_html) -> str:
    handler = functools.partial(QuietHandler, directory=book_html)
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def empty_page(monkeypatch):
    """The page of a report has nothing on it: drawing takes longer than a small volume; `test_report` looks at one."""
    from matplotlib.figure import Figure

    monkeypatch.setattr("etlab.pipeline.report.page", lambda *_: Figure())


@pytest.fixture
def static(monkeypatch):
    """Figures are made for a page without a kernel."""
    monkeypatch.setenv("ETLAB_STATIC", "1")


@pytest.fixture
def show(visit, static, tmp_path):
    """``show(html, …, **context_options) -> Visit`` of a file with the figures; `test_site` has them over http, too."""

    def open_page(*figures, **options):
        (tmp_path / "page.html").write_text(
            "<!doctype html><html lang=en><meta charset=utf-8><title>figures</title>"
            "<meta name=viewport content='width=device-width'><body>" + "".join(figures),
            encoding="utf-8",
        )
        return visit((tmp_path / "page.html").as_uri(), **options)

    return open_page


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64  # a browser opens several connections at once


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections

    def log_message(self, *args):
        pass

    def do_GET(self):
        if self.path == "/favicon.ico":
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()
