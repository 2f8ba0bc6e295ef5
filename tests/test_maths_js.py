"""The browser's maths gives what etlab gives: same weights, same centres, same transforms."""

import base64

import numpy as np
import pytest

from etlab.course.widgets.page import source
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.projector import Projector
from etlab.reference import sparse_matrix
from etlab.solvers import sirt, wbp

pytestmark = pytest.mark.browser

TILTS = [-90.0, -71.5, -45.0, -13.3, 0.0, 1.0, 30.0, 45.0, 60.0, 90.0]


@pytest.fixture(scope="module")
def maths(browser):
    """``maths("project", array, …) -> ndarray``: call a function of maths.js; arrays go as Float64Array."""
    page = browser.new_page()
    address = "data:text/javascript;base64," + base64.b64encode(source("maths.js").encode()).decode()

    def call(name, *arguments):
        coded = [{"array": a.ravel().tolist()} if isinstance(a, np.ndarray) else a for a in arguments]
        result = page.evaluate(
            """async ([address, name, coded]) => {
                const maths = await import(address);
                const given = coded.map((a) => (a.array ? Float64Array.from(a.array) : a));
                const afterSteps = (n, ...series) => {
                    const run = maths.sirt(...series);
                    const residuals = Array.from({ length: n }, () => run.step());
                    return [residuals.at(-1), ...run.slice];
                };
                const result = (name === "afterSteps" ? afterSteps : maths[name])(...given);
                return result === undefined ? given.map((a) => Array.from(a)) : Array.from(result);
            }""",
            [address, name, coded],
        )
        return np.array(result)

    yield call
    page.close()


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize(
    ("nz", "ny", "n_rows"), [(8, 8, 8), (9, 9, 9), (8, 9, 12), (5, 16, 11), (33, 32, 48), (1, 7, 7)]
)
def test_projection_equals_the_sparse_matrix(maths, rng, nz, ny, n_rows):
    slice_ = rng.random((nz, ny))
    expected = sparse_matrix(TiltGeometry(TILTS, (nz, ny, 1), n_rows)) @ slice_.ravel()
    assert maths("project", slice_, nz, ny, TILTS, n_rows) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_point_above_the_axis_moves_up_with_positive_tilt(maths):
    slice_ = np.zeros((21, 21))
    slice_[16, 10] = 1  # z = +6, y = 0
    images = maths("project", slice_, 21, 21, [-30.0, 0.0, 30.0], 21).reshape(3, 21)
    centres = images @ (np.arange(21) - 10) / images.sum(axis=1)
    assert centres == pytest.approx([-3, 0, 3], abs=0.05)


@pytest.mark.parametrize(("nz", "ny", "n_rows"), [(8, 8, 8), (9, 12, 11), (33, 32, 48)])
def test_back_projection_is_the_transpose_of_projection(maths, rng, nz, ny, n_rows):
    images = rng.normal(size=(len(TILTS), n_rows))
    expected = sparse_matrix(TiltGeometry(TILTS, (nz, ny, 1), n_rows)).T @ images.ravel()
    assert maths("backProject", images, nz, ny, TILTS, n_rows) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def tilt_series(rng, nz, ny, n_rows, tilts):
    geometry = TiltGeometry(tilts, (nz, ny, 1), n_rows)
    y, z = np.meshgrid(np.arange(ny) - (ny - 1) / 2, np.arange(nz) - (nz - 1) / 2)
    slice_ = (np.hypot(y, z) < min(nz, ny) / 2.5) * (0.5 + 0.5 * rng.random((nz, ny)))
    A = Projector(geometry)
    return A, A(slice_[:, :, None].astype(np.float32))


@pytest.mark.parametrize(
    ("window", "cutoff"), [("ramp", 1.0), ("shepp-logan", 1.0), ("cosine", 0.7), ("hann", 0.5)]
)
def test_weighted_back_projection_equals_etlab(maths, rng, window, cutoff):
    tilts = [float(tilt) for tilt in linear_tilts(66, 3)]
    A, images = tilt_series(rng, 40, 64, 80, tilts)
    expected = wbp(A, images, window=window, cutoff=cutoff)[:, :, 0]
    stack = np.ascontiguousarray(images[:, :, 0], np.float64)
    got = maths("wbp", stack, 40, 64, tilts, 80, 3.0, window, cutoff).reshape(40, 64)
    assert np.abs(got - expected).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("nonnegative", [True, False])
def test_sirt_equals_etlab_after_every_step(maths, rng, nonnegative):
    tilts = [float(tilt) for tilt in linear_tilts(60, 5)]
    A, images = tilt_series(rng, 32, 48, 60, tilts)
    stack = np.ascontiguousarray(images[:, :, 0], np.float64)
    steps = []

    def keep(status):
        steps.append((status.residual, status.volume.copy()))

    sirt(A, images, n_iter=10, nonnegative=nonnegative, callback=keep)
    for n_iter in (1, 2, 10):
        residual, expected = steps[n_iter - 1]
        got = maths("afterSteps", n_iter, stack, 32, 48, tilts, 60, nonnegative)
        assert got[0] == pytest.approx(residual, rel=1e-3)
        assert np.abs(got[1:].reshape(32, 48) - expected[:, :, 0]).max() < 1e-3 * expected.max()


def test_fft_equals_numpy(maths, rng):
    re, im = rng.normal(size=(2, 64))
    expected = np.fft.fft(re + 1j * im)
    got_re, got_im = maths("fft", re, im)
    assert got_re + 1j * got_im == pytest.approx(expected, abs=1e-12)


def test_fft_refuses_lengths_that_are_no_power_of_two(maths):
    with pytest.raises(Exception, match="got length 6, expected a power of two"):
        maths("fft", np.zeros(6), np.zeros(6))


@pytest.mark.parametrize(("nz", "ny"), [(12, 12), (11, 13)])
def test_2d_spectrum_equals_numpy(maths, rng, nz, ny):
    slice_ = rng.random((nz, ny))
    expected = np.fft.fftshift(np.abs(np.fft.fft2(slice_, (32, 32))))
    assert maths("spectrum2d", slice_, nz, ny, 32).reshape(32, 32) == pytest.approx(expected, abs=1e-10)


def test_spectrum_on_the_axes_is_the_2d_spectrum_there(maths, rng):
    slice_ = rng.random((11, 14))
    plane = np.abs(np.fft.fft2(slice_, (32, 32)))
    assert maths("spectrumOnLine", slice_, 11, 14, 0.0, 32, 17) == pytest.approx(plane[0, :17], abs=1e-10)
    assert maths("spectrumOnLine", slice_, 11, 14, 90.0, 32, 17) == pytest.approx(plane[:17, 0], abs=1e-10)


@pytest.mark.parametrize("tilt", [0.0, 20.0, -65.0, 90.0])
def test_transform_of_a_projection_is_a_line_of_the_slice_transform(maths, tilt):
    n = 64
    z, y = np.indices((n, n)) - (n - 1) / 2
    slice_ = np.exp(-((y - 6) ** 2 + (z + 4) ** 2) / 18) + 0.5 * np.exp(-((y + 9) ** 2 + z**2) / 30)
    projection = maths("project", slice_, n, n, [tilt], n)
    from_projection = maths("spectrum1d", projection, 256, 129)
    from_slice = maths("spectrumOnLine", slice_, n, n, tilt, 256, 129)
    # linear interpolation damps high frequencies by about (πk)²/3; this slice holds little above 0.1 / pixel
    assert np.abs(from_projection - from_slice).max() < 0.01 * from_slice[0]
