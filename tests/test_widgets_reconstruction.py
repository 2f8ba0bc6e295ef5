"""The showpieces of reconstruction: what they refuse, compute and show, and that hand and keyboard move them."""

import re

import numpy as np
import pytest

from etlab.course.widgets import FilterExplorer, SirtExplorer, WedgeExplorer
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.projector import Projector
from etlab.solvers import sirt, wbp
from tests.figures import drag, value_text

TILTS = linear_tilts(60, 3)


def ball(n=48, y0=5.0, z0=-4.0, radius=8.0):
    z, y = np.indices((n, n)) - (n - 1) / 2
    return np.clip(radius + 0.5 - np.hypot(y - y0, z - z0), 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def series():
    """A ball, the operator, and its noisy images."""
    truth = ball()
    A = Projector(TiltGeometry(TILTS, (48, 48, 1), n_rows=56))
    images = A(truth[:, :, None]) + np.random.default_rng(5).normal(0, 1, A.geometry.images_shape).astype(
        np.float32
    )
    return truth, A, np.maximum(images, 0)


def figure(kind, series, **options):
    truth, _, images = series
    return kind(truth, images[:, :, 0], TILTS, alt="a ball", **options)


def told(seen):
    return seen.page.locator(".etlab-told").inner_text()


def answer(seen):
    return seen.page.locator("img.etlab-slice").last.get_attribute("src")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": np.zeros((48, 48))}, "truth: got no positive density"),
        ({"truth": np.ones((48, 200))}, "truth: got shape"),
        ({"images": np.ones((5, 56))}, r"images: got shape \(5, 56\), expected \(41, n_rows\)"),
        ({"images": np.full((41, 56), np.nan)}, "images: got NaN"),
        ({"tilts_deg": TILTS[:1]}, "tilts_deg: got shape"),
    ],
)
def test_a_series_that_cannot_be_shown_is_refused(change, message):
    given = {"truth": ball(), "images": np.ones((41, 56)), "tilts_deg": TILTS} | change
    with pytest.raises(ValueError, match=message):
        SirtExplorer(**given, alt="a ball")


def test_filtering_wants_even_steps_and_iterating_does_not():
    uneven = np.array([-40.0, 0.0, 10.0])
    with pytest.raises(ValueError, match="tilts_deg: got uneven steps"):
        FilterExplorer(ball(), np.ones((3, 56)), uneven, alt="a ball")
    SirtExplorer(ball(), np.ones((3, 56)), uneven, alt="a ball")
    with pytest.raises(ValueError, match="start, n_iter: got 9 and 5"):
        SirtExplorer(ball(), np.ones((3, 56)), uneven, alt="a ball", start=9, n_iter=5)


@pytest.mark.browser
@pytest.mark.parametrize(("window", "cutoff"), [("ramp", 1.0), ("hann", 0.5)])
def test_the_error_of_back_projection_is_that_of_etlab(show, static, series, window, cutoff):
    truth, A, images = series
    seen = show(figure(FilterExplorer, series, window=window, cutoff=cutoff).static_html())
    found = wbp(A, images, window=window, cutoff=cutoff)[:, :, 0]
    # the browser gives every tilt one step of the half circle, wbp gives the outermost no more either
    expected = np.sqrt(np.mean((found - truth) ** 2))
    assert float(re.search(r"error ([\d.]+)", told(seen))[1]) == pytest.approx(expected, abs=0.0011)
    assert seen.errors == [] and seen.elsewhere == []


@pytest.mark.browser
def test_the_error_and_residual_of_sirt_are_those_of_etlab(show, static, series):
    truth, A, images = series
    seen = show(figure(SirtExplorer, series, n_iter=30, start=12).static_html())
    found = sirt(A, images, n_iter=12)
    error = np.linalg.norm(found[:, :, 0] - truth) / np.linalg.norm(truth)
    residual = np.linalg.norm(images - A(found)) / np.linalg.norm(images)
    said = re.search(r"After 12 iterations: error (\d\.\d+), residual (\d\.\d+)", told(seen))
    assert [float(said[1]), float(said[2])] == pytest.approx([error, residual], abs=0.0011)


@pytest.mark.browser
def test_a_wider_range_of_tilts_leaves_less_out(show, static):
    seen = show(WedgeExplorer(ball(), alt="a ball", max_tilt_deg=60).static_html())
    slider = seen.page.get_by_label("maximum tilt", exact=True)
    before = answer(seen)
    assert value_text(slider) == "±60°" and "61 images; 33 % of the directions" in told(seen)
    assert "1.55 times" in told(seen)
    slider.focus()
    seen.page.keyboard.press("End")
    assert value_text(slider) == "±90°" and "90 images; 0 % of the directions" in told(seen)
    assert answer(seen) != before
    assert seen.errors == [] and seen.elsewhere == []


@pytest.mark.browser
def test_the_outermost_line_follows_the_pointer(show, static):
    seen = show(WedgeExplorer(ball(), alt="a ball", max_tilt_deg=60).static_html())
    plane = seen.page.locator("svg.etlab-drag")
    drag(seen.page, plane, (0.75, 0.1), (0.9, 0.1))  # 45° up and to the right
    assert value_text(seen.page.get_by_label("maximum tilt", exact=True)) == "±45°"


@pytest.mark.browser
def test_the_cut_off_follows_the_pointer_and_the_keys_and_windows_change_the_picture(show, static, series):
    seen = show(figure(FilterExplorer, series).static_html())
    slider = seen.page.get_by_label("cut-off", exact=True)
    shown = [answer(seen)]
    drag(seen.page, seen.page.locator("svg.etlab-drag"), (0.95, 0.5), (0.5, 0.5))
    dragged = float(value_text(slider).split()[0])
    assert 0.15 < dragged < 0.3
    shown.append(answer(seen))
    slider.focus()
    seen.page.keyboard.press("ArrowLeft")
    assert float(value_text(slider).split()[0]) == pytest.approx(dragged - 0.01, abs=0.006)
    shown.append(answer(seen))
    seen.page.get_by_label("hann").check()
    shown.append(answer(seen))
    assert len(set(shown)) == 4


@pytest.mark.browser
def test_sirt_plays_only_when_asked_and_stops(show, static, series):
    seen = show(figure(SirtExplorer, series, n_iter=40, start=3).static_html())
    slider = seen.page.get_by_label("iteration", exact=True)
    seen.page.wait_for_timeout(400)
    assert value_text(slider) == "3"
    button = seen.page.get_by_role("button")
    button.click()
    seen.page.wait_for_function("() => Number(document.querySelector('input').value) > 5")
    button.click()
    stopped = value_text(slider)
    seen.page.wait_for_timeout(400)
    assert value_text(slider) == stopped and button.get_attribute("aria-label") == "play"


@pytest.mark.browser
def test_the_showpieces_fit_a_phone(show, static, series):
    seen = show(
        WedgeExplorer(ball(), alt="a ball").static_html(),
        figure(FilterExplorer, series).static_html(),
        figure(SirtExplorer, series).static_html(),
        viewport={"width": 390, "height": 844},
    )
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
