"""The showpiece of order and dose: it simulates what etlab simulates, and hand and keyboard move it."""

import base64
import re

import numpy as np
import pytest
from scipy.stats import poisson

from etlab.acquisition import accumulated_dose, damaged
from etlab.course.widgets.scheme import SchemeExplorer
from etlab.course.widgets.static import bundle
from etlab.forward import Detector
from etlab.geometry import TiltGeometry, dose_symmetric_order, linear_tilts
from etlab.projector import Projector
from etlab.solvers import wbp
from tests.figures import drag, value_text

TILTS = linear_tilts(60, 6)
DOSES = (50, 200, 800)
N = 48


def ball(y0=5.0, z0=-4.0, radius=8.0):
    z, y = np.indices((N, N)) - (N - 1) / 2
    return np.clip(radius + 0.5 - np.hypot(y - y0, z - z0), 0, 1).astype(np.float32)


def explorer(**options):
    return SchemeExplorer(ball(), TILTS, **{"doses": DOSES, "alt": "a ball in a fan"} | options)


def told(seen):
    return seen.page.locator(".etlab-told").inner_text()


def answer(seen):
    return seen.page.locator("img.etlab-slice").get_attribute("src")


@pytest.fixture(scope="module")
def scheme(browser):
    """``scheme("poissonQuantile", u, expected)``: call a function of scheme.js; arrays go as Float64Array."""
    page = browser.new_page()
    address = "data:text/javascript;base64," + base64.b64encode(bundle("scheme.js").encode()).decode()

    def call(name, *arguments):
        coded = [{"array": a.ravel().tolist()} if isinstance(a, np.ndarray) else a for a in arguments]
        return page.evaluate(
            """async ([address, name, coded]) => {
                const given = coded.map((a) => (a.array ? Float64Array.from(a.array) : a));
                const result = (await import(address))[name](...given);
                return result.length === undefined ? result : Array.from(result);
            }""",
            [address, name, coded],
        )

    yield call
    page.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slice_": -ball()}, "slice_: got"),
        ({"tilts_deg": [0.0]}, "tilts_deg: got shape"),
        ({"tilts_deg": [0.0, 1.0, 3.0]}, "tilts_deg: got"),
        ({"tilts_deg": [3.0, 0.0]}, "tilts_deg: got"),
        ({"doses": (50, 20)}, "doses, dose: got"),
        ({"doses": (0, 20)}, "doses, dose: got"),
        ({"dose": 51}, "doses, dose: got .* and 51"),
        ({"order": "random"}, "order, taken: got 'random'"),
        ({"taken": 0}, "order, taken: got"),
        ({"taken": 22}, "order, taken: got"),
        ({"mass_dose": 0.0}, "mass_dose: got 0"),
        ({"blur_dose": -1.0}, "blur_dose: got -1"),
    ],
)
def test_what_cannot_be_shown_is_refused(change, message):
    given = {"slice_": ball(), "tilts_deg": TILTS, "doses": DOSES, "alt": "a ball"} | change
    with pytest.raises(ValueError, match=message):
        SchemeExplorer(**given)


def test_orders_take_each_image_once():
    orders = explorer().orders
    assert all(sorted(order) == list(range(TILTS.size)) for order in orders.values())
    assert orders["dose-symmetric"] == dose_symmetric_order(TILTS).tolist()


@pytest.mark.browser
@pytest.mark.parametrize("expected", [0.0, 0.3, 7.0, 99.0, 101.0, 350.0, 2000.0])
def test_counts_are_those_of_the_poisson_law(scheme, expected):
    for u in (1e-6, 0.03, 0.5, 0.77, 0.9999):
        assert scheme("poissonQuantile", u, expected) == poisson.ppf(u, expected)


@pytest.mark.browser
def test_a_recorded_series_is_that_of_etlab(scheme):
    total, mass_dose, blur_dose = 400.0, 1000.0, 150.0
    A = Projector(TiltGeometry(TILTS, (N, N, 1)))
    clean = A(ball()[:, :, None])
    share = accumulated_dose(np.ones(TILTS.size), dose_symmetric_order(TILTS))
    loss, blur = 1 - np.exp(-total / mass_dose), np.sqrt(total / blur_dose)
    left = np.maximum(damaged(clean, share, mass_loss=loss, blur_px=blur), 0)
    expected = Detector(dose=total / TILTS.size).expose(left, 0)
    uniform = np.random.default_rng(0).random((TILTS.size, N))
    recorded = scheme(
        "recordedSeries",
        clean,
        N,
        (share * total).tolist(),
        total / TILTS.size,
        mass_dose,
        blur_dose,
        uniform,
    )
    agree = np.isclose(np.reshape(recorded, expected.shape), expected, rtol=1e-5, atol=1e-5)
    assert agree.mean() > 0.995  # a count falls the other way where u meets a step of the law


@pytest.mark.browser
def test_the_error_told_is_that_of_etlab(show, static):
    seen = show(
        explorer(order="dose-symmetric", dose=200, mass_dose=1000.0, blur_dose=150.0, seed=3).static_html()
    )
    A = Projector(TiltGeometry(TILTS, (N, N, 1)))
    share = accumulated_dose(np.ones(TILTS.size), dose_symmetric_order(TILTS))
    left = damaged(
        A(ball()[:, :, None]), share, mass_loss=1 - np.exp(-200 / 1000), blur_px=np.sqrt(200 / 150)
    )
    images = Detector(dose=200 / TILTS.size).expose(np.maximum(left, 0), 3)
    found = wbp(A, images, window="hann")[:, :, 0]
    expected = np.linalg.norm(found - ball()) / np.linalg.norm(ball())
    assert float(re.search(r"Error of the slice: ([\d.]+)\.$", told(seen))[1]) == pytest.approx(
        expected, abs=0.011
    )
    assert "82 % of its mass is left" in told(seen) and "spread by 1.2 px" in told(seen)
    assert seen.errors == [] and seen.elsewhere == []


@pytest.mark.browser
def test_the_series_ends_at_the_beam_under_the_pointer(show, static):
    seen = show(explorer(order="one sweep").static_html())
    fan, taken = seen.page.locator("svg.etlab-drag"), seen.page.get_by_label("images taken", exact=True)
    assert value_text(taken) == "21 of 21"
    before = answer(seen)
    drag(seen.page, fan, (0.6, 0.1), (0.5, 0.1))  # straight above: 0°
    assert value_text(taken) == "11 of 21" and "at 0°" in told(seen)
    assert answer(seen) != before
    drag(seen.page, fan, (0.5, 0.1), (0.95, 0.3))  # to the right, where negative tilts come from
    assert "at −60°" in told(seen) and value_text(taken) == "1 of 21"


@pytest.mark.browser
def test_order_dose_and_number_change_the_picture(show, static):
    seen = show(explorer(taken=12).static_html())
    shown = [answer(seen)]
    for name in ("bidirectional", "dose-symmetric"):
        seen.page.get_by_label(name).check()
        shown.append(answer(seen))
    for name in ("total dose", "images taken"):
        slider = seen.page.get_by_label(name, exact=True)
        said = value_text(slider)
        slider.focus()
        seen.page.keyboard.press("ArrowLeft")
        assert value_text(slider) != said
        shown.append(answer(seen))
    assert len(set(shown)) == 5
    assert seen.errors == [] and seen.elsewhere == []


@pytest.mark.browser
def test_fits_a_phone(show, static):
    seen = show(explorer().static_html(), viewport={"width": 390, "height": 844})
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
