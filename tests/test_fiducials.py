"""Beads: their image, finding them, fitting them, what lies under them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from etlab.calibration.background import Unshaded, background
from etlab.calibration.bead_image import PIXEL_VARIANCE, BeadImage
from etlab.calibration.bundle import Beads, Bundle
from etlab.calibration.detection import apart, find_beads
from etlab.calibration.fiducials import SAME_AMPLITUDE, alike, doubts, of_one_kind, plane_through, spread
from etlab.course.scenes import PRESETS, simulate
from etlab.course.scenes.simulation import binned, refined
from etlab.forward import Mismatch, Optics, TiltSeriesModel
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.phantoms import SCENES, Fiducials, specimen
from etlab.phantoms.canvas import Canvas
from etlab.phantoms.specimens import _paint_beads

GEOMETRY = PRESETS["small"]
FIDUCIALS = Fiducials.for_field(64)
POSITIONS = np.array([[5.0, 20, 10], [5, -22, -8], [5, 2, 20], [5, -8, 12], [5, 10, -20], [5, -20, 22]])


def beads(tilt_axis=0.3, defocus_gradient=12.0, positions=POSITIONS):
    return Beads(positions, np.ones(len(positions)), tilt_axis, defocus_gradient)


@pytest.fixture(scope="module")
def bundle():
    return Bundle(GEOMETRY, Optics(), FIDUCIALS, max_gradient=25)


# the image of one bead


@pytest.mark.parametrize("variance", [0.0, 0.4, 2.0, 6.0])
def test_blur_keeps_the_mass_of_the_ball(variance):
    r = np.linspace(0, 4, 4001)
    mass = np.trapezoid(4 * np.pi * r**2 * FIDUCIALS.profile(r), r)
    x = np.arange(-12.0, 13)
    image = BeadImage(FIDUCIALS, reach=18)
    seen = image.look_up(image.tables([variance]), np.zeros((25, 25), int), np.hypot(*np.meshgrid(x, x)))
    assert seen[0].sum() == pytest.approx(mass, rel=1e-3)


def test_image_is_the_projected_ball_blurred():
    """Line integrals through the ball on a grid ten times finer, blurred there."""
    fine, half, sigma = 10, 10.0, np.sqrt(1.5 + PIXEL_VARIANCE)
    x = np.arange(-half, half, 1 / fine) + 0.5 / fine
    depth = np.linspace(-4, 4, 801)
    rho = np.hypot(*np.meshgrid(x, x))
    line = np.trapezoid(FIDUCIALS.profile(np.hypot(np.unique(rho)[:, None], depth)), depth, axis=1)
    projected = line[np.unique(rho, return_inverse=True)[1]].reshape(rho.shape)
    expected = gaussian_filter(projected, sigma * fine)
    image = BeadImage(FIDUCIALS, reach=16)
    seen = image.look_up(image.tables([1.5]), np.zeros(rho.shape, int), rho)[0]
    assert np.abs(seen - expected).max() < 2e-3 * expected.max()


def test_rates_of_the_image_are_its_derivatives():
    image, step, variance = BeadImage(FIDUCIALS, reach=12), 0.02, 1.0
    rho = np.linspace(0.1, 8, 200)
    row = np.zeros(len(rho), int)
    value, slope, widening = image.look_up(image.tables([variance]), row, rho)
    left, right = (image.look_up(image.tables([variance]), row, rho + d)[0] for d in (-step, step))
    less, more = (image.look_up(image.tables([variance + d]), row, rho)[0] for d in (-step, step))
    assert slope * rho == pytest.approx((right - left) / (2 * step), abs=2e-3 * float(value.max()))
    assert widening == pytest.approx((more - less) / (2 * step), abs=2e-3 * float(value.max()))


def test_nothing_is_seen_beyond_reach():
    image = BeadImage(FIDUCIALS, reach=5)
    assert image.look_up(image.tables([6.0]), np.zeros(2, int), np.array([5.0, 50.0])).max() == 0


# the bundle


def test_beads_look_as_the_forward_model_makes_them(bundle):
    """Painted on the fine grid, projected, turned, blurred and binned: signs, places, widths."""
    canvas = Canvas(GEOMETRY.volume_shape, oversampling=2)
    _paint_beads(canvas, FIDUCIALS, POSITIONS)
    mismatch = Mismatch(0, 0.3, 12)
    H = TiltSeriesModel(refined(GEOMETRY, 2), mismatch=mismatch, optics=Optics().refined(2))
    simulated = binned(H(canvas.volume), (1, 2, 2)) / 2
    rendered = bundle.render(beads())
    assert np.linalg.norm(rendered - simulated) < 0.01 * np.linalg.norm(simulated)


def test_without_noise_the_fit_is_exact(bundle):
    """Three fits: in each, a bead's neighbours stay where they were at its start."""
    rng = np.random.default_rng(0)
    state = beads(0.1, 5.0, POSITIONS + rng.normal(0, 0.3, POSITIONS.shape))
    images = bundle.render(beads())
    for _ in range(3):
        state = bundle.fit(images, state, np.ones_like(images)).beads
    assert state.tilt_axis == pytest.approx(0.3, abs=1e-3)
    assert state.defocus_gradient == pytest.approx(12, abs=1e-2)
    assert state.positions == pytest.approx(POSITIONS, abs=1e-3)


def test_a_fixed_gradient_stays(bundle):
    images = bundle.render(beads())
    fit = bundle.fit(images, beads(0.1, 8.0), np.ones_like(images), n_iter=5, fixed_gradient=True)
    assert fit.beads.defocus_gradient == 8.0 and abs(fit.beads.tilt_axis - 0.3) < 0.1


def test_a_plane_under_a_bead_has_no_say(bundle):
    images = bundle.render(beads())
    rows, columns = np.indices(images.shape[1:])
    fit = bundle.fit(images + 3 + 0.05 * rows - 0.02 * columns, beads(), np.ones_like(images), n_iter=3)
    assert fit.beads.defocus_gradient == pytest.approx(12, abs=1e-2)


def test_an_offset_of_the_tilt_angle_turns_the_beads_and_leaves_the_images():
    """The gauge: no fit of images can tell δ."""
    offset = np.deg2rad(1.5)
    turned = TiltGeometry(GEOMETRY.tilts_deg + 1.5, GEOMETRY.volume_shape, n_rows=GEOMETRY.n_rows)
    z, y, x = POSITIONS.T
    seen_as = np.stack(
        [z * np.cos(offset) - y * np.sin(offset), y * np.cos(offset) + z * np.sin(offset), x], axis=1
    )
    true = Bundle(turned, Optics(), FIDUCIALS, 25).places(beads())
    nominal = Bundle(GEOMETRY, Optics(), FIDUCIALS, 25).places(beads(positions=seen_as))
    assert nominal == pytest.approx(true, abs=1e-9)
    tilt = -np.rad2deg(np.arctan(plane_through(beads(positions=seen_as))[0]))
    assert tilt == pytest.approx(1.5, abs=1e-6)


def test_standard_deviations_are_those_of_repeated_measurements(bundle):
    """White noise, twelve times over: the estimates scatter about as much as is said."""
    rng, found, told = np.random.default_rng(1), [], []
    images = bundle.render(beads())
    for _ in range(12):
        noisy = images + rng.normal(0, 0.5, images.shape)
        fit = bundle.fit(noisy, beads(), np.ones_like(images), n_iter=4)
        found.append((fit.beads.tilt_axis, fit.beads.defocus_gradient))
        told.append(spread(fit, rng)[1:])
    ratio = np.std(found, axis=0, ddof=1) / np.mean(told, axis=0)
    assert (ratio > 0.4).all() and (ratio < 1.7).all()


def test_what_is_not_a_bead_is_left_out():
    positions = np.concatenate([POSITIONS, [[9.0, 0, 0], [5.0, 5, -5]]])
    strange = replace(beads(positions=positions), amplitudes=np.array([1.0] * 7 + [0.4]))
    assert alike(strange).tolist() == [True] * 6 + [False, False]


@pytest.mark.parametrize("noise", [0.5, 2.0, 8.0])
def test_noise_of_any_strength_leaves_beads_of_one_kind(bundle, noise):
    images = bundle.render(beads())
    noisy = images + np.random.default_rng(2).normal(0, noise, images.shape)
    assert of_one_kind(bundle.fit(noisy, beads(), np.ones_like(images)).beads)


def test_what_is_of_all_brightnesses_is_not_of_one_kind():
    """Not even where each is near enough to the median to pass for a bead."""
    amplitudes = 0.8 * (1 + np.linspace(-0.99, 0.99, len(POSITIONS)) * SAME_AMPLITUDE)
    various = replace(beads(), amplitudes=amplitudes)
    assert alike(various).all() and not of_one_kind(various)


# finding them


@pytest.mark.parametrize("name", SCENES)
def test_all_beads_are_found_before_anything_else_that_looks_like_one(name):
    sample = simulate(name, "small", 0, Mismatch(0.8, 0.4, 12))
    found = find_beads(sample.y, sample.geometry, sample.fiducials)[: sample.fiducials.count]
    true = specimen(name, sample.geometry.volume_shape, 0).bead_positions
    distance = np.linalg.norm(found[:, None] - true[None], axis=2)
    assert (distance.min(axis=0) < 2).all() and (distance.min(axis=1) < 2).all()


def test_places_that_keep_their_distance():
    places = np.array([[0.0, 0], [1, 1], [10, 0], [10, 3], [0, 10]])
    assert apart(places, 5, 9).tolist() == [0, 2, 4]
    assert apart(places, 5, 2).tolist() == [0, 2]


# what lies under them


def test_unshaded_operator_has_an_exact_adjoint():
    rng = np.random.default_rng(0)
    geometry = TiltGeometry(linear_tilts(60, 30), (6, 8, 5))
    A = Unshaded(TiltSeriesModel(geometry), (rng.random(geometry.images_shape) > 0.3).astype(np.float32))
    x = rng.standard_normal(geometry.volume_shape).astype(np.float32)
    y = rng.standard_normal(geometry.images_shape).astype(np.float32)
    assert np.vdot(A(x), y) == pytest.approx(np.vdot(x, A.T(y)), rel=1e-4)


def test_background_under_a_bead_is_taken_from_beside_it(bundle):
    """A film without noise: its images in the beads' shadows come back, though they were not used."""
    film = np.zeros(GEOMETRY.volume_shape, np.float32)
    film[15:18, 4:-4, 4:-4] = 0.2  # the beads touch it
    model = TiltSeriesModel(GEOMETRY, optics=None)
    images, shade = model(film), bundle.render(beads(0, 0))
    _, seen = background(model, images + shade, shade)
    shaded = shade > 0.5
    assert np.abs(seen - images)[shaded].mean() < 0.1 * images[shaded].mean()


def test_wrong_declarations_are_told_apart(bundle):
    """Dimmer beads of the declared size, and larger ones."""
    for declared, word in (
        (replace(FIDUCIALS, contrast=1.4), "contrast"),
        (replace(FIDUCIALS, radius=2.0), "radius"),
        (replace(FIDUCIALS, count=20), "declared"),
        (FIDUCIALS, None),
    ):
        images = bundle.render(beads())
        as_declared = Bundle(GEOMETRY, Optics(), declared, 25)
        fit = as_declared.fit(images, beads(), np.ones_like(images), n_iter=20)
        notes, radius_is_wrong = doubts(images, np.ones_like(images), as_declared, declared, fit)
        notes = [note for note in notes if "beads found" not in note or declared.count == 20]
        assert radius_is_wrong == (word == "radius")
        assert any(word in note for note in notes) if word else not notes
