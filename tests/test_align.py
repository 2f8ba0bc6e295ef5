"""Alignment recovers what a stage did: on series drawn from a formula, and on the needle.

The synthetic series are Gaussian blobs drawn where the convention puts them, without interpolation and without any
code of etlab's. The needle's answer key is read only to be compared with.
"""

import time

import numpy as np
import pytest
from scipy import ndimage

from etlab import data
from etlab.alignment import (
    Alignment,
    align,
    align_by_moments,
    cross_correlation_shifts,
    find_tilt_axis,
    fit_beads,
    half_set_misfit,
    refine_by_projection_matching,
    track_beads,
    without_gauge,
)
from etlab.alignment.beads import find_beads
from etlab.alignment.refine import descended
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.projector import Projector
from tests.test_data import COLUMNS, even_odd_correlation, fit_centre_of_mass

TILTS = linear_tilts(70, 5)
SHAPE = (80, 96)
AXIS = 2.0  # degrees


def blob_images(positions, *, sigma, amplitudes=1.0, shifts=0.0, tilt_axis_deg=0.0, tilts_deg=TILTS):
    """Raw images (n_tilts, *SHAPE) of blobs at (z, y, x) from the specimen's centre, misaligned as told."""
    z, y, x = np.asarray(positions, float).T
    theta, phi = np.deg2rad(tilts_deg)[:, None], np.deg2rad(tilt_axis_deg)
    s = y * np.cos(theta) + z * np.sin(theta)
    d = np.broadcast_to(shifts, (len(theta), 2))
    row = s * np.cos(phi) + x * np.sin(phi) - d[:, :1] + (SHAPE[0] - 1) / 2
    column = x * np.cos(phi) - s * np.sin(phi) - d[:, 1:] + (SHAPE[1] - 1) / 2
    up = np.exp(-((np.arange(SHAPE[0]) - row[..., None]) ** 2) / (2 * sigma**2))
    right = np.exp(-((np.arange(SHAPE[1]) - column[..., None]) ** 2) / (2 * sigma**2))
    return np.einsum("tbr,tbc,b->trc", up, right, np.broadcast_to(amplitudes, len(z))).astype(np.float32)


def particle(seed, **misalignment):
    """An isolated specimen: sixty blobs well inside the field."""
    rng = np.random.default_rng(seed)
    positions = np.clip(rng.normal(0, 1, (60, 3)) * [7, 7, 12], -20, 20)
    return blob_images(positions, sigma=1.8, amplitudes=rng.uniform(0.3, 1, 60), **misalignment)


def film(seed, **misalignment):
    """A flat specimen 12 pixels thick that reaches far beyond the field."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform([-6, -200, -60], [6, 200, 60], (400, 3))
    return blob_images(positions, sigma=1.8, amplitudes=rng.uniform(0.3, 1, 400), **misalignment)


def middle(images):
    """Return the square about the centre that holds a particle however it is turned."""
    return images[:, 12:68, 20:76]


def small(images):
    """Return every second pixel of the middle."""
    return middle(images)[:, ::2, ::2]


def beads(seed, n=20, **misalignment):
    """Gold beads in two layers."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.linspace(-28, 28, 4), np.linspace(-36, 36, 5)), -1).reshape(-1, 2)
    places = grid[:n] + rng.uniform(-2, 2, (n, 2))
    positions = np.column_stack([rng.choice([-6, 6], n) + rng.uniform(-1, 1, n), places])
    return positions, blob_images(positions, sigma=1.7, amplitudes=3.0, **misalignment)


def jitter(seed, largest=3.0):
    """Shifts of up to ±``largest`` pixels, not whole numbers."""
    return np.random.default_rng(100 + seed).uniform(-largest, largest, (len(TILTS), 2))


def shift_errors(found, true, *, offset=False):
    """Differences of shifts in pixels, less what displaces the specimen."""
    return np.abs(without_gauge(found - true, TILTS, tilt_axis_deg=AXIS, offset=offset))


# What is applied


def test_an_alignment_undoes_shift_turn_and_offset_of_the_tilt_axis():
    shifts = jitter(0)
    lower = shifts + 1.5 * np.array([np.cos(np.deg2rad(AXIS)), -np.sin(np.deg2rad(AXIS))])
    raw = particle(0, shifts=shifts, tilt_axis_deg=AXIS)
    known = Alignment(TILTS, lower, AXIS, 1.5, np.zeros(len(TILTS)))
    np.testing.assert_allclose(known.apply(raw, smooth=False), particle(0), atol=0.01 * raw.max())


def test_smoothing_blurs_every_image_alike_whatever_its_shift():
    raw = particle(0, shifts=jitter(0))
    known = Alignment(TILTS, jitter(0), 0.0, 0.0, np.zeros(len(TILTS)))
    unmoved = Alignment(TILTS, np.zeros((len(TILTS), 2)), 0.0, 0.0, np.zeros(len(TILTS)))
    np.testing.assert_allclose(known.apply(raw), unmoved.apply(particle(0)), atol=0.005 * raw.max())


@pytest.mark.parametrize("step", [3, -7, 200])
def test_whole_pixels_are_moved_exactly(step):
    raw = np.random.default_rng(0).normal(size=(len(TILTS), *SHAPE)).astype(np.float32)
    moved = Alignment(TILTS, np.full((len(TILTS), 2), (5, 2)), 0.0, 5.0 + step, TILTS).apply(
        raw, smooth=False
    )
    rows = np.clip(np.arange(SHAPE[0]) + step, 0, SHAPE[0] - 1)
    columns = np.clip(np.arange(SHAPE[1]) - 2, 0, SHAPE[1] - 1)
    np.testing.assert_array_equal(moved, raw[:, rows][:, :, columns])


@pytest.mark.parametrize(("smooth", "kept"), [(False, 0.97), (True, 0.65)])
def test_half_a_pixel_keeps_what_varies_at_half_nyquist(smooth, kept):
    wave = np.cos(np.pi / 2 * np.arange(64))[None, :, None].repeat(8, axis=2).astype(np.float32)
    moved = Alignment(np.zeros(1), np.array([[0.5, 0]]), 0.0, 0.0, np.zeros(1)).apply(wave, smooth=smooth)
    expected = np.cos(np.pi / 2 * (np.arange(64) - 0.5))[:, None]
    middle = slice(16, 48)
    transfer = np.vdot(moved[0, middle, 3:4], expected[middle]) / np.vdot(expected[middle], expected[middle])
    assert transfer == pytest.approx(kept, abs=0.01)


def test_an_axis_is_moved_in_a_single_column():
    raw = particle(0)[:, :, 40:41]
    for offset in (2.0, 0.3):
        moved = Alignment(TILTS, np.zeros((len(TILTS), 2)), 0.0, offset, TILTS).apply(raw, smooth=False)
        np.testing.assert_allclose(moved, particle(0, shifts=(offset, 0))[:, :, 40:41], atol=0.02 * raw.max())


@pytest.mark.parametrize("binning", [2, 3])
def test_binning_keeps_the_centre_where_it_is(binning):
    blob = blob_images([(0, 0, 0)], sigma=4.0)
    binned = Alignment(TILTS, np.zeros((len(TILTS), 2)), 0.0, 0.0, TILTS).apply(blob, binning=binning)
    assert binned.shape[1:] == (SHAPE[0] // binning, SHAPE[1] // binning)
    for image in binned:
        centre = ndimage.center_of_mass(image)
        np.testing.assert_allclose(centre, (np.array(image.shape) - 1) / 2, atol=0.01)


def test_moving_the_specimen_is_gauge_and_nothing_else_is():
    theta = np.deg2rad(TILTS)
    moved = np.stack([3 * np.cos(theta) - 2 * np.sin(theta), np.full_like(theta, 4.0)], axis=1)
    np.testing.assert_allclose(without_gauge(moved, TILTS), 0, atol=1e-12)
    raised = np.stack([np.ones_like(theta), np.zeros_like(theta)], axis=1)
    assert np.abs(without_gauge(raised, TILTS)).max() > 0.3
    np.testing.assert_allclose(without_gauge(raised, TILTS, offset=True), 0, atol=1e-12)


# Isolated specimens


@pytest.mark.parametrize("seed", range(3))
def test_moments_recover_shifts_and_tilt_axis(seed):
    found = align_by_moments(particle(seed, shifts=jitter(seed), tilt_axis_deg=AXIS), TILTS)
    assert shift_errors(found.shifts, jitter(seed)).max() < 0.02
    assert found.tilt_axis_deg == pytest.approx(AXIS, abs=0.05)
    assert found.residuals.max() < 0.02


def test_moments_do_not_depend_on_the_order_of_the_tilts():
    raw = particle(0, shifts=jitter(0), tilt_axis_deg=AXIS)
    order = np.random.default_rng(0).permutation(len(TILTS))
    straight, shuffled = align_by_moments(raw, TILTS), align_by_moments(raw[order], TILTS[order])
    np.testing.assert_allclose(shuffled.shifts, straight.shifts[order], atol=1e-3)


def test_moments_warn_of_a_specimen_that_leaves_the_field():
    with pytest.warns(UserWarning, match="reach the first or last rows"):
        align_by_moments(film(0), TILTS)


def test_in_noise_the_tilt_axis_is_called_uncertain_and_is_searched():
    raw = particle(1, shifts=jitter(1), tilt_axis_deg=AXIS)
    noisy = raw + 0.05 * raw.max() * np.random.default_rng(1).standard_normal(raw.shape, dtype=np.float32)
    by_moments = align_by_moments(noisy, TILTS)
    assert by_moments.tilt_axis_std > 0.2
    assert abs(by_moments.tilt_axis_deg - AXIS) < 4 * by_moments.tilt_axis_std
    found = align(noisy, TILTS)
    assert found.tilt_axis_deg == pytest.approx(AXIS, abs=0.8)
    assert np.sqrt(np.mean(shift_errors(found.shifts, jitter(1)) ** 2)) < 0.2


# Any specimen


@pytest.mark.parametrize("seed", range(2))
def test_correlation_of_stretched_neighbours_recovers_the_shifts_of_a_film(seed):
    raw = film(seed, shifts=jitter(seed))
    errors = {}
    for stretch in (True, False):
        shifts = cross_correlation_shifts(raw, TILTS, stretch=stretch)
        errors[stretch] = np.sqrt(np.mean(without_gauge(shifts - jitter(seed), TILTS, offset=True) ** 2))
    assert errors[True] < 0.15
    assert errors[True] < errors[False]


def test_correlation_then_search_find_shifts_and_roughly_the_tilt_axis_of_a_film():
    raw = film(1, shifts=jitter(1), tilt_axis_deg=AXIS)
    found = align(raw, TILTS, method="correlation", thickness=16, n_rounds=1)
    assert found.tilt_axis_deg == pytest.approx(AXIS, abs=0.8)
    assert np.sqrt(np.mean(shift_errors(found.shifts, jitter(1), offset=True) ** 2)) < 0.1


def test_the_search_finds_the_height_of_the_axis():
    shifts = jitter(0)
    few = slice(None, None, 2)
    off = Alignment(TILTS[few], shifts[few] + np.array([2.5, 0]), 0.0, 0.0, np.zeros(len(TILTS[few])))
    found = find_tilt_axis(particle(0, shifts=shifts)[few], off)
    assert found.tilt_axis_offset == pytest.approx(2.5, abs=0.3)
    assert found.tilt_axis_deg == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("turn", [20.3, -40.3])
def test_the_search_goes_beyond_where_it_began(turn):
    """The same answer, roughly, wherever the axis lies; before, it stopped at 10° and said nothing."""
    raw = small(particle(0, tilt_axis_deg=turn)[::2])
    blank = Alignment(TILTS[::2], np.zeros((len(raw), 2)), 0.0, 0.0, np.zeros(len(raw)))
    assert find_tilt_axis(raw, blank).tilt_axis_deg == pytest.approx(turn, abs=1)


def test_an_axis_that_is_nearer_to_vertical_is_said():
    raw = small(particle(0)[::3]).swapaxes(1, 2)
    blank = Alignment(TILTS[::3], np.zeros((len(raw), 2)), 0.0, 0.0, np.zeros(len(raw)))
    with pytest.warns(UserWarning, match="nearer to the vertical"):
        find_tilt_axis(raw, blank)


def test_a_descent_that_ends_before_it_settles_begins_again_or_says_so():
    far = descended(lambda at: np.hypot(at[0] - 3, at[1] - 300), np.zeros(2), np.ones(2))
    np.testing.assert_allclose(far, [3, 300], atol=0.2)
    with pytest.warns(UserWarning, match="still moving"):
        descended(lambda at: -at[1], np.zeros(2), np.ones(2))


def test_shifts_of_nearly_half_a_field_are_doubted():
    raw = particle(0)
    raw[20:] = np.roll(raw[20:], 36, axis=1)
    with pytest.warns(UserWarning, match="nearly half a field"):
        cross_correlation_shifts(raw, TILTS, stretch=False)


def test_a_flat_specimen_is_better_explained_as_a_slab_that_leaves_the_field():
    images = film(0)
    assert half_set_misfit(images, TILTS, thickness=16) < 0.6 * half_set_misfit(images, TILTS)


def test_projection_matching_takes_out_jitter():
    raw = middle(particle(0, shifts=jitter(0)))
    rough = Alignment(TILTS, jitter(0) + 0.3 * jitter(1), 0.0, 0.0, np.zeros(len(TILTS)))
    found = refine_by_projection_matching(raw, rough)
    before, after = (
        np.sqrt(np.mean(without_gauge(a.shifts - jitter(0), TILTS) ** 2)) for a in (rough, found)
    )
    assert before > 0.4
    assert after < 0.15
    assert found.misfits[0] > 1.3 * min(found.misfits)


def test_projection_matching_leaves_a_good_alignment_alone():
    raw = middle(particle(0, shifts=jitter(0)))
    good = Alignment(TILTS, jitter(0), 0.0, 0.0, np.zeros(len(TILTS)))
    np.testing.assert_array_equal(refine_by_projection_matching(raw, good).shifts, good.shifts)


# Beads


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_beads_recover_shifts_axis_and_their_own_places(seed, noise):
    positions, raw = beads(seed, shifts=jitter(seed), tilt_axis_deg=AXIS)
    raw = raw + noise * raw.max() * np.random.default_rng(seed).standard_normal(raw.shape, dtype=np.float32)
    fit = fit_beads(track_beads(raw, TILTS, 2.5), TILTS, SHAPE)
    assert len(fit.positions) >= 12
    assert shift_errors(fit.alignment.shifts, jitter(seed), offset=True).max() < 0.2
    assert fit.alignment.tilt_axis_deg == pytest.approx(AXIS, abs=0.1)
    assert np.median(fit.bead_residuals) < 0.2
    # Up to a displacement, which is gauge, each fitted bead is one of the true ones.
    nearest = [
        positions[np.argmin(np.linalg.norm(positions[:, 1:] - p[1:] - drift, axis=1))] - p
        for drift in [np.median(positions[:, 1:], axis=0) - np.median(fit.positions[:, 1:], axis=0)]
        for p in fit.positions
    ]
    assert np.median(np.std(nearest, axis=0)) < 0.2


def test_a_bundle_fits_exact_places_exactly():
    positions, _ = beads(0)
    z, y, x = positions.T[:, :, None]
    theta, phi = np.deg2rad(TILTS), np.deg2rad(AXIS)
    s = y * np.cos(theta) + z * np.sin(theta)
    places = np.stack([s * np.cos(phi) + x * np.sin(phi), x * np.cos(phi) - s * np.sin(phi)], axis=-1)
    tracks = places - jitter(0) + (np.array(SHAPE) - 1) / 2
    tracks[3, 5:9] = np.nan
    fit = fit_beads(tracks, TILTS, SHAPE)
    assert fit.alignment.tilt_axis_deg == pytest.approx(AXIS, abs=1e-6)
    assert np.nanmax(np.abs(fit.residuals)) < 1e-6
    assert shift_errors(fit.alignment.shifts, jitter(0)).max() < 1e-6
    np.testing.assert_allclose(
        fit.positions - fit.positions.mean(0), positions - positions.mean(0), atol=1e-6
    )


def test_one_false_place_is_named_and_does_little_harm():
    _, raw = beads(0, shifts=jitter(0), tilt_axis_deg=AXIS)
    tracks = track_beads(raw, TILTS, 2.5)
    bead, tilt = 2, np.flatnonzero(np.isfinite(tracks[2, :, 0]))[4]
    tracks[bead, tilt] += [8, -5]
    fit = fit_beads(tracks, TILTS, SHAPE)
    assert fit.outliers[bead, tilt]
    assert shift_errors(fit.alignment.shifts, jitter(0), offset=True).max() < 0.2


def test_a_projected_sphere_is_found_where_it_is():
    z, y, x = np.ogrid[-15.5:16, -31.5:32, -31.5:32]
    centre = np.array([2.3, -11.6, 7.2])
    distance = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
    sphere = np.clip(3.5 - distance, 0, 1).astype(np.float32)
    images = Projector(TiltGeometry([0.0, 40.0], sphere.shape))(sphere)
    for tilt, image in zip((0.0, 40.0), images, strict=True):
        s = centre[1] * np.cos(np.deg2rad(tilt)) + centre[0] * np.sin(np.deg2rad(tilt))
        np.testing.assert_allclose(find_beads(image, 3.0), [[s + 31.5, centre[2] + 31.5]], atol=0.1)


# What is refused


@pytest.mark.parametrize("method", ["centre of mass", "correlation", "fiducials"])
@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (
            lambda y, t: (y[0], t),
            ValueError,
            r"images: got shape \(80, 96\), expected \(n_tilts, n_rows, nx\)",
        ),
        (lambda y, t: (y, t[1:]), ValueError, "tilts_deg: got shape .28,., expected one tilt for each of 29"),
        (lambda y, t: (y[:2], t[:2]), ValueError, "images: got 2 tilts, expected at least 3"),
        (lambda y, t: (y, 0 * t), ValueError, "tilts_deg: got 1 different angles"),
        (lambda y, t: (y, t * np.nan), ValueError, "tilts_deg: got 29 NaN"),
        (lambda y, t: (np.ones_like(y), t), ValueError, "images: got 29 constant ones.*nothing to align"),
        (lambda y, t: (np.where(y > 1, np.nan, y), t), ValueError, "images: got .* NaN or infinite"),
        (lambda y, t: (y.astype(int), t), TypeError, "images: got dtype int64"),
    ],
)
def test_series_that_cannot_be_aligned_are_refused(method, spoil, error, message):
    images, tilts = spoil(particle(0), TILTS)
    with pytest.raises(error, match=message):
        align(images, tilts, method=method, bead_radius=2.5 if method == "fiducials" else None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(method="magic"), "method: got 'magic', expected one of centre of mass, correlation, fiducials"),
        (dict(n_rounds=-1), "n_rounds: got -1"),
        (dict(method="fiducials"), "bead_radius: got None"),
        (dict(bead_radius=2.0), "bead_radius: got 2.0"),
        (dict(method="fiducials", bead_radius=0.2), "radius: got 0.2"),
        (dict(method="correlation", thickness=-1), "thickness: got -1"),
        (dict(thickness=10), "thickness: got 10"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        align(particle(0), TILTS, **options)


def test_a_dark_specimen_on_a_bright_field_is_refused_by_moments():
    with pytest.raises(ValueError, match="darker than the vacuum"):
        align(1 - particle(0), TILTS)


def test_series_without_beads_says_how_many_were_seen():
    with pytest.raises(ValueError, match=r"got 1 beads of radius 2\.5 that can be followed \(1 seen"):
        track_beads(blob_images([(0, 3, 5)], sigma=1.7), TILTS, 2.5)


def test_an_image_without_any_bead_is_named():
    tracks = np.random.default_rng(0).uniform(20, 60, (5, len(TILTS), 2))
    tracks[:, 7] = np.nan
    with pytest.raises(ValueError, match="no bead is seen in image 7"):
        fit_beads(tracks, TILTS, SHAPE)


def test_stretching_an_image_seen_edge_on_is_refused():
    tilts = np.linspace(-90, 90, len(TILTS))
    with pytest.raises(ValueError, match=r"got up to 90°.*stretch=False"):
        cross_correlation_shifts(particle(0), tilts)


def test_callback_is_told_after_each_step():
    seen = []
    align(middle(particle(0, shifts=jitter(0))), TILTS, callback=seen.append)
    assert len(seen) >= 2
    assert seen[0].misfits == () and len(seen[-1].misfits) >= 1


# The needle, from its raw stack


@pytest.fixture(scope="module")
def needle():
    return data.needle()


@pytest.fixture(scope="module")
def aligned(needle):
    """The needle aligned by the defaults: its alignment, its images, and the seconds it took."""
    start = time.perf_counter()
    found = align(needle.images, needle.tilts_deg)
    return found, found.apply(needle.images), time.perf_counter() - start


@pytest.mark.data
def test_needle_takes_less_than_a_minute(aligned):
    assert aligned[2] < 60


@pytest.mark.data
@pytest.mark.parametrize("column", COLUMNS)
def test_needle_turns_about_the_centre_of_the_field(needle, aligned, column):
    axis, residual = fit_centre_of_mass(aligned[1][:, :, column], needle.tilts_deg)
    assert residual < 0.15
    assert axis == pytest.approx(127.5, abs=0.2)


@pytest.mark.data
def test_needle_reconstructs_alike_from_even_and_odd_tilts(needle, aligned):
    assert even_odd_correlation(aligned[1], needle.tilts_deg).min() >= 0.94


@pytest.mark.data
def test_needle_reconstructs_as_well_as_by_the_answer_key(needle, aligned):
    """Interpolated alike, because whatever smooths the images makes the halves more alike."""
    key = Alignment(
        needle.tilts_deg, needle.shifts, needle.tilt_axis_deg, needle.tilt_axis_offset - 0.5, needle.tilts_deg
    )
    for smooth in (True, False):
        ours, theirs = (
            even_odd_correlation(a.apply(needle.images, smooth=smooth), needle.tilts_deg)
            for a in (aligned[0], key)
        )
        assert (ours > theirs - 0.003).all()


@pytest.mark.data
def test_needle_shifts_are_those_recorded_by_others(needle, aligned):
    found = aligned[0]
    difference = without_gauge(
        found.shifts - needle.shifts, needle.tilts_deg, tilt_axis_deg=found.tilt_axis_deg, offset=True
    )
    assert np.median(np.linalg.norm(difference, axis=1)) < 0.2
    assert np.abs(difference).max() < 0.5


@pytest.mark.data
def test_needle_tilt_axis_is_that_recorded_by_others(needle, aligned):
    assert aligned[0].tilt_axis_deg == pytest.approx(needle.tilt_axis_deg, abs=0.2)


@pytest.mark.data
def test_needle_tilt_axis_follows_from_half_of_the_images_too(needle):
    half = align_by_moments(needle.images[::2], needle.tilts_deg[::2])
    other = align_by_moments(needle.images[1::2], needle.tilts_deg[1::2])
    assert half.tilt_axis_deg == pytest.approx(other.tilt_axis_deg, abs=0.1)


@pytest.mark.data
def test_needle_by_correlation_agrees_with_the_needle_by_moments(needle, aligned):
    tilts = needle.tilts_deg[::2]  # half of them cost half the time
    found = align(needle.images[::2], tilts, method="correlation")
    difference = without_gauge(
        found.shifts - aligned[0].shifts[::2], tilts, tilt_axis_deg=found.tilt_axis_deg, offset=True
    )
    assert np.median(np.linalg.norm(difference, axis=1)) < 0.3
    assert found.tilt_axis_deg == pytest.approx(aligned[0].tilt_axis_deg, abs=0.5)
