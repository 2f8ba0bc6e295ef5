"""Sliders and showpieces: what they hold, and that hand and keyboard move them without a kernel."""

import base64
import json
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

import ipywidgets
import matplotlib.pyplot as plt

from etlab import plot
from etlab.course.widgets import RadonExplorer, TiltSeriesFilm, explore
from etlab.course.widgets.page import embedded_json
from etlab.course.widgets.static import bundle
from tests.figures import drag, value_text

HOSTILE = """</script><img src=x onerror="document.title='taken'"> & 'quotes' "too" <!--"""


@pytest.fixture(autouse=True)
def style(monkeypatch):
    monkeypatch.delenv("ETLAB_STATIC", raising=False)
    with plt.rc_context():
        plot.use_style()
        yield
    plt.close("all")


def curve(power=1, **_others):
    """A small figure that depends on ``power`` only."""
    figure, ax = plt.subplots(figsize=(3, 2))
    ax.plot(np.linspace(0, 1, 20) ** power)
    return figure


def disc(n=48, y0=0.0, z0=0.0, radius=6.0):
    z, y = np.indices((n, n)) - (n - 1) / 2
    return np.clip(radius + 0.5 - np.hypot(y - y0, z - z0), 0, 1).astype(np.float32)


def series(n_tilts=9, n=32):
    """Images whose upper half is bright, brighter with each tilt."""
    images = np.zeros((n_tilts, n, n), np.float32)
    images[:, n // 2 :] = np.linspace(0.3, 1, n_tilts)[:, None, None]
    return images, np.linspace(-40, 40, n_tilts)


def embedded(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)[1])


# --- explore, without a browser


def test_static_figure_holds_one_slider_per_argument_and_every_frame(static):
    page = explore(curve, power=[1, 2, 3], cut=["low", "high"], alt="a curve").data
    sliders = re.findall(r'<input type="range"[^>]*>', page)
    assert [re.search(r'aria-label="(\w+)"', slider)[1] for slider in sliders] == ["power", "cut"]
    assert [re.search(r'max="(\d)"', slider)[1] for slider in sliders] == ["2", "1"]
    state = embedded(page)
    assert len(state["frames"]) == 6
    assert 'data-etlab-figure="explore"' in page


def test_frames_that_look_the_same_are_stored_once(static):
    state = embedded(explore(curve, power=[1, 2], unused=[0, 1, 2], alt="a curve").data)
    assert state["frames"] == [0, 0, 0, 1, 1, 1]
    assert len(state["pictures"]) == 2


def test_the_first_frame_is_the_one_that_start_names(static):
    from_start = explore(curve, power=[1, 2, 3], start={"power": 3}, alt=lambda power: f"power {power}").data
    alone = explore(curve, power=[3], alt="power 3").data
    picture = re.compile(r'<img src="([^"]+)"[^>]*alt="power 3"')
    assert picture.search(from_start)[1] == picture.search(alone)[1]


def test_endings_become_units(static):
    page = explore(curve, power=[1], tilt_deg=[-20.0], voxel_nm=[1.5], alt="a curve").data
    assert embedded(page)["texts"] == [["1"], ["−20°"], ["1.5 nm"]]
    assert 'aria-label="tilt"' in page and 'aria-label="voxel"' in page


def test_too_many_frames_are_refused_before_any_is_drawn(static):
    def never(**values):
        raise AssertionError("drew a frame")

    with pytest.raises(ValueError, match=r"got 42 frames \(a 7 × b 6\), expected at most 40.*over 1 MB"):
        explore(never, a=list(range(7)), b=list(range(6)), alt="")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "got no slider"),
        ({"power": []}, "power: got no values"),
        ({"power": [1, 2], "start": {"power": 3}}, r"start: got power=3, expected one of \[1, 2\]"),
        (
            {"power": [1, 2], "start": {"other": 3}},
            r"start: got \['other'\], expected names among \['power'\]",
        ),
    ],
)
def test_bad_sliders_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        explore(curve, alt="", **options)


def test_draw_must_return_a_figure():
    with pytest.raises(TypeError, match="draw: returned a NoneType"):
        explore(lambda power: None, power=[1], alt="")


def test_one_figure_may_be_updated_for_every_frame(static):
    figure, ax = plt.subplots(figsize=(3, 2))
    (line,) = ax.plot([0, 1], [0, 1])

    def update(height):
        line.set_ydata([0, height])
        return figure

    assert embedded(explore(update, height=[0.2, 0.9], alt="a line").data)["frames"] == [0, 1]


def test_no_figure_is_left_to_show_a_second_time(static):
    explore(curve, power=[1, 2], alt="a curve")
    assert plt.get_fignums() == []


def test_live_sliders_redraw_and_retell(static, monkeypatch):
    monkeypatch.setenv("ETLAB_STATIC", "0")
    box = explore(curve, power=[1, 2], unused=["a"], alt=lambda power, unused: f"curve of power {power}")
    *sliders, picture = box.children
    assert all(isinstance(slider, ipywidgets.SelectionSlider) for slider in sliders)
    assert sliders[0].description == "power" and 'alt="curve of power 1"' in picture.value
    before = picture.value
    sliders[0].index = 1
    assert 'alt="curve of power 2"' in picture.value and picture.value != before


# --- showpieces, without a browser


def test_static_page_carries_the_bytes_unchanged(static):
    slice_ = disc()
    content = embedded(RadonExplorer(slice_, alt="a disc").static_html())
    packed = base64.b64decode(content["state"]["slice"]["base64"])
    assert np.array_equal(np.frombuffer(packed, "<f4").reshape(slice_.shape), slice_)
    assert set(content["state"]) == {"slice", "n", "tilt_deg", "alt", "caption"}


def test_live_widget_carries_the_same_state():
    slice_ = disc()
    state = RadonExplorer(slice_, alt="a disc").get_state()
    assert np.array_equal(np.frombuffer(state["slice"], "<f4").reshape(slice_.shape), slice_)
    assert state["_esm"] == bundle("radon.js")


def test_only_a_live_widget_connects_to_a_front_end(static, monkeypatch):
    widget = RadonExplorer(disc(), alt="a disc")
    assert list(widget._repr_mimebundle_()) == ["text/plain", "text/html"]
    assert widget.comm is None
    monkeypatch.delenv("ETLAB_STATIC")
    assert "text/html" not in RadonExplorer(disc(), alt="a disc")._repr_mimebundle_()[0]


@pytest.mark.parametrize("module", ["film.js", "radon.js"])
def test_bundle_is_one_module_without_imports(module):
    text = bundle(module)
    assert re.findall(r"^import\b", text, re.MULTILINE) == []
    assert re.findall(r"^export\b.*", text, re.MULTILINE) == ["export default { render };"]
    assert text.count("function element(") == 1


def test_embedded_json_cannot_end_its_script_element():
    value = {"text": HOSTILE, "bytes": b"\x00\xff"}
    text = embedded_json(value)
    assert "<" not in text
    assert json.loads(text) == {"text": HOSTILE, "bytes": {"base64": "AP8="}}


@pytest.mark.parametrize(
    ("slice_", "message"),
    [
        (np.ones((8, 9)), r"slice_: got shape \(8, 9\), expected \(n, n\)"),
        (np.ones((129, 129)), r"n from 2 to 128"),
        (np.full((8, 8), np.nan), "NaN"),
        (-disc(), "negative"),
        (np.ones((32, 32)), "of its mass lies outside the disc of diameter 32"),
    ],
)
def test_radon_explorer_names_what_is_wrong_with_a_slice(slice_, message):
    with pytest.raises(ValueError, match=message):
        RadonExplorer(slice_, alt="")


@pytest.mark.parametrize(
    ("images", "tilts", "message"),
    [
        (np.ones((3, 8)), [0, 1, 2], r"images: got shape \(3, 8\)"),
        (np.ones((3, 8, 8)), [0, 1], r"tilts_deg: got shape \(2,\), expected \(3,\)"),
        (np.full((1, 8, 8), np.inf), [0], "images: got 64 NaN or infinite"),
    ],
)
def test_film_names_what_is_wrong_with_a_series(images, tilts, message):
    with pytest.raises(ValueError, match=message):
        TiltSeriesFilm(images, tilts, alt="")


def test_pages_stay_light(static):
    rng = np.random.default_rng(1)
    smooth = (
        rng.random((77, 16, 16)).repeat(16, axis=1).repeat(16, axis=2)
    )  # 77 images of 256², all different
    film = TiltSeriesFilm(smooth, np.linspace(-76, 76, 77), alt="").static_html()
    radon = RadonExplorer(disc(128), alt="").static_html()
    frames = explore(
        lambda i: plot.show_image(None, smooth[i]).figure, i=list(range(20)), alt="a pattern"
    ).data
    sizes = {"film": len(film), "radon": len(radon), "explore": len(frames)}
    assert sizes["film"] < 700_000 and sizes["radon"] < 200_000 and sizes["explore"] < 600_000, sizes


def test_without_ipywidgets_the_error_says_what_to_install():
    code = "import sys; sys.modules['ipywidgets'] = None; import etlab.course.widgets"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip().endswith('etlab.course.widgets needs ipywidgets: pip install "etlab[book]"')


# --- in a browser, without a kernel


@pytest.mark.browser
def test_keys_change_the_frame_its_text_and_its_announcement(show):
    seen = show(
        explore(curve, power=[1, 2], cut=["low", "high"], alt=lambda power, cut: f"{power} {cut}").data
    )
    picture, slider = seen.page.locator("img"), seen.page.get_by_label("power")
    before = picture.get_attribute("src")
    slider.focus()
    seen.page.keyboard.press("ArrowRight")
    assert picture.get_attribute("src") != before
    assert picture.get_attribute("alt") == "2 low"
    assert value_text(slider) == "2" and seen.page.locator("output").first.text_content() == "2"
    assert seen.errors == [] and seen.elsewhere == []


@pytest.mark.browser
def test_figures_on_one_page_do_not_move_each_other(show):
    seen = show(*(explore(curve, power=[1, 2], alt=lambda power, i=i: f"{i} {power}").data for i in "ab"))
    seen.page.get_by_label("power").nth(1).focus()
    seen.page.keyboard.press("ArrowRight")
    assert [img.get_attribute("alt") for img in seen.page.locator("img").all()] == ["a 1", "b 2"]


@pytest.mark.browser
def test_first_frame_stands_without_javascript(show):
    seen = show(
        explore(curve, power=[1, 2], alt="a curve").data,
        RadonExplorer(disc(), alt="a disc & its shadow").static_html(),
        java_script_enabled=False,
    )
    assert seen.page.locator("img").is_visible()
    assert not seen.page.get_by_label("power").is_visible()
    assert seen.page.locator("noscript p").text_content() == "a disc & its shadow"


@pytest.mark.browser
def test_hostile_text_is_shown_and_not_run(show):
    seen = show(
        explore(curve, power=[1], kind=["a", HOSTILE], alt=HOSTILE, caption=HOSTILE).data,
        RadonExplorer(disc(), alt=HOSTILE, caption=HOSTILE).static_html(),
    )
    slider = seen.page.get_by_label("kind")
    slider.focus()
    seen.page.keyboard.press("ArrowRight")
    assert value_text(slider) == HOSTILE
    assert seen.page.locator("figure > img").get_attribute("alt") == HOSTILE
    assert seen.page.locator("figcaption").text_content() == HOSTILE
    assert seen.page.locator(".etlab-caption").text_content() == HOSTILE
    assert seen.page.title() == "figures" and seen.errors == []


@pytest.mark.browser
def test_film_shows_rows_upwards_and_the_image_of_the_tilt(show):
    images, tilts = series()
    seen = show(TiltSeriesFilm(images, tilts, alt="bright upper half").static_html())
    seen.page.wait_for_function(
        "document.querySelector('canvas').getContext('2d').getImageData(9, 4, 1, 1).data[0] > 0"
    )
    grey = """() => {
        const drawing = document.querySelector('canvas').getContext('2d');
        return [4, 27].map((y) => drawing.getImageData(9, y, 1, 1).data[0]);
    }"""
    slider = seen.page.get_by_label("tilt", exact=True)
    assert value_text(slider) == "0°"
    upper, lower = seen.page.evaluate(grey)
    assert upper > 120 and lower < 20
    slider.focus()
    seen.page.keyboard.press("End")
    assert value_text(slider) == "40°"
    assert seen.page.evaluate(grey)[0] > upper + 40
    assert seen.errors == [] and seen.elsewhere == []


@pytest.mark.browser
def test_film_is_scrubbed_on_the_picture_and_on_the_holder(show):
    seen = show(TiltSeriesFilm(*series(), alt="bright upper half").static_html())
    slider = seen.page.get_by_label("tilt", exact=True)
    drag(seen.page, seen.page.locator("canvas"), (0.5, 0.5), (0.75, 0.5))
    assert value_text(slider) == "20°"
    drag(
        seen.page, seen.page.locator("svg"), (0.9, 0.5), (0.5 + 0.4 * np.cos(0.35), 0.5 + 0.4 * np.sin(0.35))
    )
    assert value_text(slider) == "40°"  # clockwise is positive
    turn = seen.page.locator("svg g").get_attribute("transform")
    assert turn == "rotate(40)"


@pytest.mark.browser
def test_film_plays_only_when_asked(show):
    seen = show(TiltSeriesFilm(*series(), alt="bright upper half").static_html(), reduced_motion="reduce")
    slider = seen.page.get_by_label("tilt", exact=True)
    seen.page.wait_for_timeout(600)
    assert value_text(slider) == "0°"
    seen.page.get_by_role("button", name="play the tilt series").click()
    seen.page.wait_for_function("document.querySelector('input').getAttribute('aria-valuetext') !== '0°'")
    seen.page.get_by_role("button", name="pause the tilt series").click()
    stopped = value_text(slider)
    seen.page.wait_for_timeout(600)
    assert value_text(slider) == stopped


@pytest.mark.browser
def test_radon_explorer_turns_beam_sinogram_and_fourier_line_together(show):
    seen = show(RadonExplorer(disc(y0=10), alt="a disc", tilt_deg=0).static_html())
    slider = seen.page.get_by_label("tilt", exact=True)
    drawn = "() => [...document.querySelectorAll('svg')].map((svg) => svg.outerHTML)"
    before = seen.page.evaluate(drawn)
    slider.focus()
    seen.page.keyboard.press("ArrowRight")
    assert value_text(slider) == "1°"
    after = seen.page.evaluate(drawn)
    assert all(one != other for one, other in zip(before, after, strict=True)) and len(after) == 4
    assert seen.errors == [] and seen.elsewhere == []


@pytest.mark.browser
@pytest.mark.parametrize(("tilt", "s"), [(0, 10.0), (60, 5.0), (90, 0.0), (-60, 5.0)])
def test_radon_explorer_draws_the_projection_where_the_formula_says(show, tilt, s):
    seen = show(RadonExplorer(disc(y0=10, radius=3), alt="a disc", tilt_deg=tilt).static_html())
    path = seen.page.locator("path.etlab-fill").get_attribute("d")
    points = np.array([[float(v) for v in p.split()] for p in re.findall(r"L (-?[\d.]+ [\d.]+)", path)][:-1])
    centre = (
        np.average(points[:, 0], weights=points[:, 1] - points[:, 1].min()) / 100 * 24
    )  # disc: 100 units, 24 px
    assert centre == pytest.approx(s, abs=0.2)
    assert seen.page.locator("g").first.get_attribute("transform") == f"rotate({-tilt})"


@pytest.mark.browser
@pytest.mark.parametrize("drawing", [".etlab-specimen svg", ".etlab-fourier svg"])
def test_turning_the_beam_counter_clockwise_is_positive(show, drawing):
    seen = show(RadonExplorer(disc(), alt="a disc", tilt_deg=0).static_html())
    angle = np.deg2rad(30)
    end = (0.5 + 0.4 * np.cos(angle), 0.5 - 0.4 * np.sin(angle))
    drag(seen.page, seen.page.locator(drawing), (0.9, 0.5), end)
    assert value_text(seen.page.get_by_label("tilt", exact=True)) == "30°"


@pytest.mark.browser
def test_sinogram_line_follows_the_pointer(show):
    seen = show(RadonExplorer(disc(), alt="a disc", tilt_deg=0).static_html())
    drag(seen.page, seen.page.locator(".etlab-sinogram svg"), (0.5, 0.5), (0.5, 0.25))
    assert value_text(seen.page.get_by_label("tilt", exact=True)) == "45°"


@pytest.mark.browser
def test_figures_fit_a_phone(show):
    seen = show(
        explore(curve, power=[1, 2], alt="a curve").data,
        TiltSeriesFilm(*series(), alt="bright upper half").static_html(),
        RadonExplorer(disc(), alt="a disc").static_html(),
        viewport={"width": 390, "height": 844},
    )
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.browser
def test_a_finger_turns_the_beam(show):
    seen = show(RadonExplorer(disc(), alt="a disc", tilt_deg=0).static_html(), has_touch=True)
    target = seen.page.locator(".etlab-specimen svg")
    box = target.bounding_box()
    touch = seen.page.context.new_cdp_session(seen.page)
    x, y = box["x"] + 0.9 * box["width"], box["y"] + 0.5 * box["height"]
    for kind, dy in [("touchStart", 0), ("touchMove", -40), ("touchMove", -80), ("touchEnd", None)]:
        points = [] if dy is None else [{"x": x, "y": y + dy}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert value_text(seen.page.get_by_label("tilt", exact=True)) not in ("0°", None)
