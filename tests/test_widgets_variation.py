"""Total variation along a line, in the browser: the exact minimum, and a figure that says what it shows."""

import base64
import json
import re

import numpy as np
import pytest

from etlab.course.widgets.static import bundle
from etlab.course.widgets.variation import N, VariationExplorer


@pytest.fixture
def static(monkeypatch):
    monkeypatch.setenv("ETLAB_STATIC", "1")


@pytest.fixture(scope="module")
def flattened(browser):
    """``flattened(y, lam) -> ndarray``, the function of variation.js."""
    page = browser.new_page()
    text = bundle("variation.js")
    address = "data:text/javascript;base64," + base64.b64encode(text.encode()).decode()

    def call(y, lam):
        code = "async ([address, y, lam]) => (await import(address)).flattened(y, lam)"
        return np.array(page.evaluate(code, [address, list(map(float, y)), lam]))

    yield call
    page.close()


@pytest.fixture
def shown(visit, static, tmp_path):
    """The explorer, alone on a page."""
    page = tmp_path / "page.html"
    figure = VariationExplorer(alt="a line of densities", caption="below").static_html()
    page.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>t</title><body>{figure}", "utf-8"
    )
    return visit(page.as_uri())


@pytest.mark.browser
@pytest.mark.parametrize("lam", [0.01, 0.3, 2.0, 50.0])
def test_the_line_is_the_minimum(flattened, lam):
    y = np.r_[np.zeros(20), np.ones(15), np.linspace(0, 1, 25)] + 0.1 * np.random.default_rng(0).normal(
        size=60
    )
    x = flattened(y, lam)
    # x − y = Dᵀu with |u| ≤ λ, and u = ±λ wherever the line jumps up or down
    u = np.cumsum(x - y)
    jumps = np.diff(x)
    assert abs(u[-1]) < 1e-12
    assert np.abs(u).max() <= lam * (1 + 1e-9)
    assert u[:-1][jumps != 0] == pytest.approx(lam * np.sign(jumps[jumps != 0]))


@pytest.mark.browser
def test_a_lone_bump_loses_twice_lambda_over_its_width(flattened):
    y = np.zeros(60)
    y[25:35] = 0.5
    assert flattened(y, 1.0)[25:35] == pytest.approx(0.3)
    assert flattened(y, 0.0) == pytest.approx(y)
    assert np.ptp(flattened(y, 3.0)) == 0  # and has vanished


@pytest.mark.browser
def test_the_bump_follows_the_pointer_and_the_text_tells(shown):
    page = shown.page
    told = page.locator(".etlab-told")
    before = told.text_content()
    picture = page.locator("svg.etlab-drag")
    box = picture.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.6 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.52 * box["width"], box["y"] + 0.3 * box["height"], steps=4)
    page.mouse.up()
    assert told.text_content() != before
    height = page.get_by_label("bump height")
    assert float(height.input_value()) > 0.3
    assert shown.errors == []


@pytest.mark.browser
def test_every_slider_changes_the_line_and_says_its_value(shown):
    answer = shown.page.locator("svg .etlab-accent")
    for slider in shown.page.locator("input[type=range]").all():
        before, said = answer.get_attribute("d"), slider.get_attribute("aria-valuetext")
        slider.focus()
        for _ in range(3):
            shown.page.keyboard.press("ArrowRight")
        assert answer.get_attribute("d") != before
        assert slider.get_attribute("aria-valuetext") != said


def test_the_page_holds_the_noise_and_the_start(static):
    html = VariationExplorer(alt="a line", lam=0.5).static_html()
    content = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.S)[1])
    assert set(content["state"]) == {"noise", "lam", "sigma", "width", "height", "alt", "caption"}
    assert len(base64.b64decode(content["state"]["noise"]["base64"])) == 4 * N
    assert len(html) < 40_000


@pytest.mark.parametrize(("name", "value"), [("lam", 3.0), ("sigma", -0.1), ("width", 0), ("height", 0.9)])
def test_a_start_beyond_the_sliders_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}: got"):
        VariationExplorer(alt="", **{name: value})
