"""Scenes: what they promise about values, seeds, scale, film and beads; phantoms against their exact projections."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from etlab.arrays import require_memory
from etlab.course.scenes.simulation import binned
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.phantoms import SCENES, Fiducials, ellipsoids, gaussians, scene, shepp_logan, specimen
from etlab.phantoms.canvas import Canvas, GaussianField, ellipsoid
from etlab.phantoms.specimens import FAMILIES
from etlab.projector import Projector

SMALL = (32, 64, 64)
STANDARD = (64, 128, 128)
every_scene = pytest.mark.parametrize("name", SCENES)
drawn = functools.cache(specimen)  # not to be changed: several tests look at the same scene


@pytest.fixture
def nothing_but_film_and_beads(monkeypatch):
    """Scenes without their specimen, whose painting takes longer than all the rest; the beads lie where they lie."""
    for name in SCENES:
        monkeypatch.setitem(FAMILIES, name, lambda canvas, rng, stand: None)


def test_the_specimen_has_no_say_in_where_the_beads_lie(request):
    before = [drawn(name, SMALL, 5).bead_positions for name in SCENES]
    request.getfixturevalue("nothing_but_film_and_beads")
    np.testing.assert_array_equal([specimen(name, SMALL, 5).bead_positions for name in SCENES], before)


def relative(a, b):
    assert a.shape == b.shape
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@every_scene
@pytest.mark.parametrize("shape", [SMALL, (48, 64, 64), (33, 81, 70), (30, 48, 100)])
def test_values_lie_between_nothing_and_gold(name, shape):
    volume = drawn(name, shape, 5).volume
    assert volume.shape == shape and volume.dtype == np.float32 and volume.flags.c_contiguous
    assert volume.min() == 0
    assert volume.max() == pytest.approx(1, abs=1e-6)


@every_scene
def test_specimen_is_less_dense_than_gold_and_stays_inside_the_field(name):
    bare = drawn(name, SMALL, 5, film=False, fiducials=False).volume
    assert 0.3 < bare.max() <= 0.6 + 1e-6
    assert (bare > 0.1).mean() > 0.05
    for axis in range(3):
        border = np.take(bare, [0, -1], axis=axis)
        assert border.max() == 0


@every_scene
def test_same_seed_same_bits(name):
    np.testing.assert_array_equal(scene(name, SMALL, 5), drawn(name, SMALL, 5).volume)


@every_scene
def test_different_seeds_are_different_scenes(name):
    assert relative(scene(name, SMALL, 3), drawn(name, SMALL, 5).volume) > 0.3


def test_the_four_scenes_of_one_seed_have_their_beads_in_different_places():
    first, second = (specimen(name, SMALL, 0).bead_positions for name in SCENES[:2])
    assert not np.allclose(first[:, 1:], second[:, 1:])


@every_scene
def test_film_and_beads_leave_the_specimen_alone(name):
    bare = drawn(name, SMALL, 5, film=False, fiducials=False).volume
    with_film = specimen(name, SMALL, 5, fiducials=False)
    z = np.arange(32) - 15.5
    away = np.abs(z - with_film.film.z) > 3
    np.testing.assert_array_equal(with_film.volume[away], bare[away])


@every_scene
def test_twice_the_voxels_show_the_same_object(name):
    # edges are one voxel wide on either grid: binning softens them a little more
    half, full = (drawn(name, shape, 5, film=False, fiducials=False).volume for shape in (SMALL, STANDARD))
    assert relative(binned(full, (2, 2, 2)), half) < 0.12
    assert full.mean() == pytest.approx(half.mean(), rel=0.02)


@every_scene
def test_a_finer_grid_shows_the_same_scene_film_and_beads_too(name):
    coarse, fine = drawn(name, SMALL, 5), specimen(name, SMALL, 5, oversampling=2)
    assert fine.volume.shape == STANDARD
    shown = binned(fine.volume, (2, 2, 2))
    assert relative(shown, coarse.volume) < 0.12
    assert relative(np.roll(shown, 1, axis=1), coarse.volume) > 0.3  # what one voxel off would give
    assert shown.mean() == pytest.approx(coarse.volume.mean(), rel=0.01)
    assert fine.film == coarse.film and fine.fiducials == coarse.fiducials
    np.testing.assert_array_equal(fine.bead_positions, coarse.bead_positions)


@every_scene
def test_film_is_flat_three_voxels_thick_and_ends_inside_the_field(name):
    s = specimen(name, STANDARD, 6)
    across = s.volume[:, 3:5, 4:-4].mean(axis=(1, 2)), s.volume[:, 4:-4, 3:5].mean(axis=(1, 2))
    z = np.arange(64) - 31.5
    for profile in across:  # along the border, where neither specimen nor a bead's centre is
        near = np.abs(z - s.film.z) < 2.2
        assert profile[near].sum() == pytest.approx(0.2 * 3, rel=0.01)
        assert (profile * z)[near].sum() / profile[near].sum() == pytest.approx(s.film.z, abs=0.01)
        assert profile[np.abs(z - s.film.z) < 1].min() == pytest.approx(0.2, rel=0.01)
    assert s.volume[:, [0, -1]].max() == 0 and s.volume[:, :, [0, -1]].max() == 0


@every_scene
@pytest.mark.parametrize(("shape", "count", "separation"), [(SMALL, 12, 10), (STANDARD, 20, 14)])
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_beads_keep_the_declared_rules(name, shape, count, separation, seed, nothing_but_film_and_beads):
    s = specimen(name, shape, seed)
    z, y, x = s.bead_positions.T
    assert len(z) == count == s.fiducials.count
    assert separation == s.fiducials.separation
    apart = np.hypot(y[:, None] - y, x[:, None] - x)[~np.eye(count, dtype=bool)]
    assert apart.min() >= separation
    assert max(np.abs(y).max(), np.abs(x).max()) <= shape[1] / 2 - 6
    far = np.abs(y) > 0.55 * shape[1] / 2
    assert far.sum() >= count / 2
    assert (y[far] > 0).any() and (y[far] < 0).any()


@every_scene
def test_beads_touch_one_face_of_the_film_from_outside(name, nothing_but_film_and_beads):
    for seed in range(4):
        s = specimen(name, SMALL, seed)
        height = s.bead_positions[:, 0] - s.film.z
        assert len(set(np.sign(height))) == 1
        gap = np.abs(height) - s.film.thickness / 2 - s.fiducials.radius
        assert np.abs(gap).max() <= 0.1
        assert np.abs(s.bead_positions[:, 0]).max() + 3 < 16  # none is cut by the volume's face


def test_specimen_and_beads_are_on_opposite_faces_and_either_may_be_up():
    sides = set()
    for seed in range(4):
        s = drawn("vesicles", SMALL, seed)
        bare = drawn("vesicles", SMALL, seed, film=False, fiducials=False).volume
        centre = (bare.sum(axis=(1, 2)) * (np.arange(32) - 15.5)).sum() / bare.sum()
        side = np.sign(s.bead_positions[0, 0] - s.film.z)
        assert side == -np.sign(centre - s.film.z)
        sides.add(side)
    assert sides == {-1, 1}


def test_a_painted_bead_has_its_declared_profile():
    s = specimen("lamella", SMALL, 0)
    z, y, x = (np.arange(n) - (n - 1) / 2 for n in SMALL)
    away = np.sign(s.bead_positions[0, 0] - s.film.z)
    for position in s.bead_positions:
        r = np.sqrt(
            sum(
                d**2
                for d in np.meshgrid(
                    *(a - p for a, p in zip((z, y, x), position, strict=True)), indexing="ij"
                )
            )
        )
        outside = (r < 4) & (away * (z - s.film.z) > 2)[:, None, None]  # of the film
        np.testing.assert_allclose(s.volume[outside], s.fiducials.profile(r[outside]), atol=1e-5)


def test_bead_profile_is_half_at_the_radius_and_one_edge_wide():
    beads = Fiducials(count=1, separation=10)
    np.testing.assert_allclose(beads.profile(np.array([0, 2.0, 2.5, 3.0, 9])), [1, 1, 0.5, 0, 0])
    assert replace(beads, contrast=0.7).profile(np.array(0.0)) == pytest.approx(0.7)


def test_gaussian_field_has_unit_variance_and_does_not_depend_on_the_grid():
    field = GaussianField(np.random.default_rng(0), np.array([0.5, 0.5, 0.5]), 0.03)
    axis = np.linspace(-0.5, 0.5, 65)
    values = field(*np.ix_(axis, axis, axis))
    assert values.mean() == pytest.approx(0, abs=0.05)
    assert values.std() == pytest.approx(1, abs=0.05)
    elsewhere = field(*np.ix_(axis[::4], axis[::2], axis[5:9]))
    np.testing.assert_allclose(elsewhere, values[::4, ::2, 5:9], atol=1e-5)
    np.testing.assert_allclose(field.at([[axis[3], axis[40], axis[7]]]), values[3, 40, 7], rtol=1e-4)


def test_painting_preserves_the_mass_of_a_ball():
    canvas = Canvas((32, 32, 32))
    canvas.paint(ellipsoid((0.01, -0.02, 0.03), 9.3 * canvas.voxel), 0.5)
    assert canvas.volume.sum() == pytest.approx(0.5 * 4 / 3 * np.pi * 9.3**3, rel=5e-3)


GEOMETRY = TiltGeometry(linear_tilts(70, 10), (40, 48, 44), n_rows=70)


def test_projected_gaussians_equal_their_closed_form():
    volume, images = gaussians(GEOMETRY, [(3, -5, 2), (-6, 8.3, -4)], [3.0, 2.5], [1.0, 0.4])
    assert relative(Projector(GEOMETRY)(volume), images) < 0.01
    assert images.sum(axis=(1, 2)) == pytest.approx(volume.sum(), rel=1e-3)


def test_projected_ellipsoids_equal_their_closed_form():
    centres, axes = [(2, -5, 2), (-5, 7, -4)], [(9, 14, 12), (5, 9, 7)]
    volume, images = ellipsoids(GEOMETRY, centres, axes, [0.6, 0.3], turned_deg=[25, -40])
    assert relative(Projector(GEOMETRY)(volume), images) < 0.04


def test_a_turned_ellipsoid_is_thinnest_where_its_long_axis_lies_in_the_image():
    flat, geometry = [(3, 16, 5)], TiltGeometry([0.0, 30, -30], (40, 48, 12), n_rows=70)
    _, images = ellipsoids(geometry, [(0, 0, 0)], flat, [1.0], turned_deg=30)
    assert images[1].max() < images[0].max() < images[2].max()


def test_shepp_logan_slice_equals_its_sinogram():
    geometry = TiltGeometry(linear_tilts(80, 10), (96, 96, 3), n_rows=110)
    volume, images = shepp_logan(geometry)
    assert volume.min() >= 0 and volume.max() == pytest.approx(1)
    assert relative(Projector(geometry)(volume), images) < 0.04


def test_unknown_scene_lists_what_exists():
    with pytest.raises(ValueError, match=r"name: got 'virus'.*lamella, nanorods, vesicles, catalyst"):
        scene("virus", SMALL, 0)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((8, 64, 64), {}, r"shape: got \(8, 64, 64\), expected at least \(30, 48, 48\) with fiducials"),
        ((32, 16, 64), dict(fiducials=False), r"expected at least \(16, 32, 32\)"),
        ((32, 64), {}, "three sizes"),
        (SMALL, dict(film=False), "beads lie on the film"),
    ],
)
def test_impossible_scenes_are_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        scene("lamella", shape, 0, **options)


def test_a_volume_larger_than_memory_says_how_much_it_needs():
    with pytest.raises(MemoryError, match=r"needs \d+\.\d GiB of memory, this machine has"):
        scene("lamella", (20000, 20000, 20000), 0)
    require_memory(1e6, "little")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([(0, 0)], [1.0], [1.0]), "centres: got shape"),
        (([(0, 0, 0)], [1.0], [1.0, 2.0]), "densities: got 2, expected 1"),
        (([(0, 0, 0)], [1.0, 2.0], [1.0]), "sigmas: got 2, expected 1"),
        (([(0, 0, 0)], [-1.0], [1.0]), "sigmas: got -1"),
    ],
)
def test_gaussians_that_do_not_match_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        gaussians(GEOMETRY, *arguments)
