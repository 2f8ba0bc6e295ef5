"""Images made as sharp everywhere as the nominal focus has them."""

from dataclasses import replace

import numpy as np
import pytest

from etlab.course.scenes import simulate
from etlab.forward import Detector, Mismatch, TiltSeriesModel
from etlab.metrics import psnr
from etlab.refocus import refocused
from etlab.solvers import wbp

MISMATCH = Mismatch(tilt_angle=0.5, tilt_axis=0.3, defocus_gradient=18.0)


@pytest.fixture(scope="module")
def sample():
    return simulate("catalyst", "small", 0, MISMATCH, detector=Detector(dose=None))


@pytest.fixture(scope="module")
def operator(sample):
    return TiltSeriesModel(sample.geometry, mismatch=MISMATCH, optics=sample.optics)


def off(images, wanted, rows=slice(None)):
    return np.linalg.norm((images - wanted)[:, rows]) / np.linalg.norm(wanted[:, rows])


def test_without_a_gradient_images_stay_as_they_are(sample):
    level = TiltSeriesModel(
        sample.geometry, mismatch=replace(MISMATCH, defocus_gradient=0.0), optics=sample.optics
    )
    same, images = refocused(level, sample.y)
    assert same.mismatch == level.mismatch
    assert np.array_equal(images, sample.y)


def test_refocused_images_are_nearer_to_those_of_a_level_focus(sample, operator):
    level, images = refocused(operator, sample.y)
    assert level.mismatch == replace(MISMATCH, defocus_gradient=0.0)
    wanted = level(sample.x_true)
    assert off(images, wanted) < 0.75 * off(sample.y, wanted)


def test_rows_that_were_too_sharp_are_blurred_and_those_too_blurred_sharpened(sample, operator):
    """At g = 18 nm/µm the focus is best where 6 + 18·u = 0, a third of the way down."""
    _, images = refocused(operator, sample.y)

    def sharpness(stack, rows):
        return np.abs(np.diff(stack[:, rows], axis=2)).mean()

    n_rows = sample.geometry.n_rows
    in_focus, out_of_focus = (
        slice(n_rows // 3 - 4, n_rows // 3 + 4),
        slice(3 * n_rows // 4, 3 * n_rows // 4 + 8),
    )
    assert sharpness(images, in_focus) < sharpness(sample.y, in_focus)
    assert sharpness(images, out_of_focus) > sharpness(sample.y, out_of_focus)


def test_mass_is_kept(sample, operator):
    _, images = refocused(operator, sample.y)
    assert images.sum(axis=(1, 2)) == pytest.approx(sample.y.sum(axis=(1, 2)), rel=0.01)


def test_it_is_the_solution_of_its_normal_equations(sample, operator):
    """(BᵀB + r B₀ᵀB₀) z = Bᵀy + r B₀ᵀy, solved for one image as dense matrices."""
    small = replace(sample.geometry, tilts_deg=[0.0], volume_shape=(8, 12, 10), n_rows=12)
    H = TiltSeriesModel(small, mismatch=MISMATCH, optics=sample.optics)
    image = np.random.default_rng(3).random((1, 12, 10)).astype(np.float32)
    level, found = refocused(H, image, regularisation=0.3)
    ones = np.eye(120, dtype=np.float32).reshape(120, 12, 10)
    B, B0 = (blur(ones).reshape(120, 120).T.astype(np.float64) for blur in (H.blur, level.blur))
    z = np.linalg.solve(B.T @ B + 0.3 * B0.T @ B0, (B + 0.3 * B0).T @ image.ravel())
    assert found.ravel() == pytest.approx(B0 @ z, abs=2e-3)


def test_back_projection_gains_by_it_and_loses_by_the_adjoint_alone():
    noisy = simulate("catalyst", "small", 0, MISMATCH)
    H = TiltSeriesModel(noisy.geometry, mismatch=MISMATCH, optics=noisy.optics)
    nominal, twice_blurred, once = (
        psnr(wbp(*series), noisy.x_true)
        for series in ((H.with_mismatch(None), noisy.y), (H, noisy.y), refocused(H, noisy.y))
    )
    assert once > nominal > twice_blurred


@pytest.mark.parametrize("value", [0, -1, np.inf, np.nan])
def test_a_regularisation_that_is_not_positive_is_refused(operator, sample, value):
    with pytest.raises(ValueError, match=r"regularisation: got .* expected a positive number"):
        refocused(operator, sample.y, regularisation=value)


def test_images_that_do_not_fit_are_refused(operator, sample):
    with pytest.raises(ValueError, match="images: got shape"):
        refocused(operator, sample.y[:, :-1])
