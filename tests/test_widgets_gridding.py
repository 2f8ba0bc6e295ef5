"""Fourier iteration in the browser gives what etlab gives, and its figure answers hand and keyboard."""

import base64

import numpy as np
import pytest

from etlab.course.widgets.gridding import GriddingExplorer
from etlab.course.widgets.static import bundle
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.projector import Projector
from etlab.solvers import genfire
from etlab.solvers._genfire import gridded

N, TILTS = 32, linear_tilts(60, 6)


@pytest.fixture(scope="module")
def series():
    z, y = np.mgrid[:N, :N] - (N - 1) / 2
    truth = np.clip(6.5 - np.hypot(y - 2, z + 3), 0, 1) + 0.5 * np.clip(3.5 - np.hypot(y + 6, z - 4), 0, 1)
    A = Projector(TiltGeometry(TILTS, (N, N, 1), 40))
    return truth.astype(np.float32), A, A(truth[:, :, None].astype(np.float32))


@pytest.fixture(scope="module")
def in_browser(browser):
    """``in_browser(body, *arguments)``: what JavaScript makes of the arguments with the module ``m``."""
    page = browser.new_page()
    address = "data:text/javascript;base64," + base64.b64encode(bundle("gridding.js").encode()).decode()

    def call(body, *arguments):
        code = f"async ([address, a]) => {{ const m = await import(address); {body} }}"
        return page.evaluate(code, [address, arguments])

    yield call
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("radius", [0.3, 0.5, 1.2])
def test_the_grid_holds_what_etlab_puts_there(in_browser, series, radius):
    _, _, images = series
    found = in_browser(
        "const g = m.gridded(Float64Array.from(a[0]), 40, a[1], a[2], 2 * a[2], a[3]);"
        "return [g.weights, g.re, g.im].map((one) => Array.from(one));",
        images.ravel().tolist(), TILTS.tolist(), N, radius,
    )  # fmt: skip
    weights, re, im = (np.reshape(one, (2 * N, 2 * N)) for one in found)
    points, measured = gridded(images, TILTS, (N, N), (2 * N, 2 * N), radius)
    half = (re + 1j * im)[:, : N + 1].ravel()
    assert np.flatnonzero(weights[:, : N + 1]).tolist() == points.tolist()
    assert half[points] == pytest.approx(measured[:, 0], abs=1e-3 * float(np.abs(measured).max()))
    # the transform of something real
    assert re == pytest.approx(np.roll(re[::-1, ::-1], 1, (0, 1)))
    assert im == pytest.approx(-np.roll(im[::-1, ::-1], 1, (0, 1)))


@pytest.mark.browser
@pytest.mark.parametrize("support", [9.0, 46.0])
def test_the_iteration_is_that_of_etlab(in_browser, series, support):
    _, A, images = series
    *slice_, factor = in_browser(
        "const g = m.gridded(Float64Array.from(a[0]), 40, a[1], a[2], 2 * a[2], 0.5);"
        "const c = (a[2] - 1) / 2;"
        "const run = m.fourierIteration(g, a[2], 2 * a[2], (z, y) => Math.hypot(z - c, y - c) < a[3]);"
        "let factor; for (let i = 0; i < 8; i++) factor = run.step();"
        "return [...run.slice, factor];",
        images.ravel().tolist(), TILTS.tolist(), N, support,
    )  # fmt: skip
    z, y = np.mgrid[:N, :N] - (N - 1) / 2
    allowed = (np.hypot(y, z) < support)[:, :, None]
    factors = []
    expected = genfire(
        A, images, n_iter=8, resolution=False, support=allowed, callback=lambda s: factors.append(s.residual)
    )
    assert np.reshape(slice_, (N, N)) == pytest.approx(expected[:, :, 0], abs=2e-3)
    assert factor == pytest.approx(factors[-1], rel=0.01)


@pytest.fixture
def shown(visit, series, monkeypatch, tmp_path):
    monkeypatch.setenv("ETLAB_STATIC", "1")
    truth, _, images = series
    figure = GriddingExplorer(truth, images[:, :, 0], TILTS, alt="grid and slice", caption="c").static_html()
    page = tmp_path / "page.html"
    page.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>t</title><body>{figure}", "utf-8"
    )
    return visit(page.as_uri())


@pytest.mark.browser
def test_every_slider_changes_the_figure_and_says_its_value(shown):
    page = shown.page
    panels = page.locator(".etlab-panels")
    for slider in page.locator("input[type=range]").all():
        before, said = panels.inner_html(), slider.get_attribute("aria-valuetext")
        slider.focus()
        for _ in range(3):
            page.keyboard.press(
                "ArrowLeft" if slider.get_attribute("aria-label") == "support" else "ArrowRight"
            )
        assert panels.inner_html() != before
        assert slider.get_attribute("aria-valuetext") != said
    assert shown.errors == []


@pytest.mark.browser
def test_the_support_is_dragged_on_the_slice(shown):
    page = shown.page
    picture = page.locator("svg.etlab-drag").first
    box = picture.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    assert page.get_by_label("support").input_value() == "8"
    assert page.locator("svg circle").get_attribute("r") == "8"


def test_a_series_that_does_not_fit_is_refused(series):
    truth, _, images = series
    with pytest.raises(ValueError, match="truth: got shape"):
        GriddingExplorer(truth[:20, :20], images[:, :, 0], TILTS, alt="")
    with pytest.raises(ValueError, match="tilts_deg: got"):
        GriddingExplorer(truth, images[1:, :, 0], TILTS[1:], alt="")
    with pytest.raises(ValueError, match="radius: got 3"):
        GriddingExplorer(truth, images[:, :, 0], TILTS, alt="", radius=3)
