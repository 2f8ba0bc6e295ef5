"""The projector against an explicit matrix, analytic projections and the laws it must obey."""

import subprocess
import sys

import numpy as np
import pytest

from etlab import projector as projector_module
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.projector import Projector
from etlab.reference import sparse_matrix

TILTS = {
    "even spacing": linear_tilts(70, 10),
    "axes and diagonals": np.array([0.0, 45, -45, 90, -90, 135, 180]),
    "uneven, unsorted": np.array([33.3, -61.7, 0.01, 12.5, -0.01, 89.9]),
    "a single tilt": np.array([21.0]),
}
SHAPES = {  # (nz, ny, nx), n_rows
    "even": ((16, 24, 12), 24),
    "odd": ((15, 23, 11), 23),
    "wide detector": ((16, 23, 70), 40),
    "narrow detector": ((16, 24, 130), 11),
    "taller than wide": ((33, 9, 64), 20),
    "longer than a tile": ((9, 70, 65), 81),
    "few slices": ((20, 21, 3), 22),
    "a lone slice": ((70, 71, 1), 72),
    "one plane": ((1, 12, 9), 12),
    "one column": ((12, 1, 9), 12),
    "one row": ((6, 7, 9), 1),
}
every_geometry = pytest.mark.parametrize(
    "geometry",
    [TiltGeometry(tilts, *shape) for shape in SHAPES.values() for tilts in TILTS.values()],
    ids=[f"{s}-{t}" for s in SHAPES for t in TILTS],
)


def signed(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def relative(a, b):
    assert a.shape == b.shape
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@every_geometry
def test_projection_equals_the_explicit_matrix(geometry):
    volume = signed(geometry.volume_shape)
    expected = sparse_matrix(geometry) @ volume.reshape(-1, volume.shape[2])
    assert relative(Projector(geometry)(volume), expected.reshape(geometry.images_shape)) < 1e-6


@every_geometry
def test_backprojection_equals_the_transposed_matrix(geometry):
    images = signed(geometry.images_shape)
    expected = sparse_matrix(geometry).T @ images.reshape(-1, images.shape[2])
    assert relative(Projector(geometry).T(images), expected.reshape(geometry.volume_shape)) < 1e-6


@every_geometry
def test_adjoint_on_signed_data(geometry, capsys):
    assert Projector(geometry).dot_test() < 1e-6
    assert "⟨A x, y⟩" in capsys.readouterr().out


@every_geometry
def test_sums_are_projections_of_ones(geometry):
    A = Projector(geometry)
    rows, columns = A.sums()
    ones = np.ones(geometry.volume_shape, np.float32), np.ones(geometry.images_shape, np.float32)
    np.testing.assert_allclose(np.broadcast_to(rows, ones[1].shape), A(ones[0]), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.broadcast_to(columns, ones[0].shape), A.T(ones[1]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("nx", [3, 70])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_step_equals_adding_the_scaled_backprojection(nx, nonnegative):
    geometry = TiltGeometry(TILTS["uneven, unsorted"], (15, 22, nx), 25)
    A = Projector(geometry)
    volume, images = signed(geometry.volume_shape, 1).astype(np.float32), signed(geometry.images_shape, 2)
    scale = np.abs(signed((15, 22, 1), 3))
    expected = volume + scale * A.T(images)
    if nonnegative:
        expected = np.maximum(expected, 0)
    A.step(volume, images, scale, nonnegative=nonnegative)
    assert relative(volume, expected) < 1e-6


@pytest.mark.parametrize("nx", [1, 70])
def test_the_number_of_threads_does_not_change_a_bit(nx):
    geometry = TiltGeometry(linear_tilts(70, 5), (30, 70, nx), 90)
    volume, images = signed(geometry.volume_shape), signed(geometry.images_shape)
    one, three = Projector(geometry, n_threads=1), Projector(geometry, n_threads=3)
    np.testing.assert_array_equal(one(volume), three(volume))
    np.testing.assert_array_equal(one.T(images), three.T(images))


def test_without_numba_the_numbers_are_the_same(monkeypatch):
    geometry = TiltGeometry(linear_tilts(60, 15), (13, 14, 10), 17)
    volume, images = signed(geometry.volume_shape, 1), signed(geometry.images_shape, 2)
    fast = Projector(geometry)(volume), Projector(geometry).T(images)
    monkeypatch.setattr(projector_module, "kernels", None)
    slow = Projector(geometry)(volume), Projector(geometry).T(images)
    assert relative(fast[0], slow[0]) < 1e-6
    assert relative(fast[1], slow[1]) < 1e-6


def test_without_numba_etlab_imports_works_and_says_so_once():
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np, etlab.projector as p\n"
        "from etlab.geometry import TiltGeometry\n"
        "A = p.Projector(TiltGeometry([0, 30], (4, 5, 6)))\n"
        "A = p.Projector(TiltGeometry([0, 30], (4, 5, 6)))\n"
        "print(np.abs(A(np.ones((4, 5, 6)))[0] - 4).max() < 1e-6)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    assert done.stderr.count("numba is not installed") == 1


# --- conventions -------------------------------------------------------------------------------------------------


def centre_of_mass_row(image):
    rows = np.arange(image.shape[0]) - (image.shape[0] - 1) / 2
    return (rows @ image).sum() / image.sum()


def blob(shape, z, y, sigma=2.0):
    """A Gaussian at (y, z) from the centre, the same in every slice, with its exact line integrals at tilt θ."""
    zz, yy = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape[:2]), indexing="ij")
    slice_ = np.exp(-((zz - z) ** 2 + (yy - y) ** 2) / (2 * sigma**2))
    volume = np.repeat(slice_[:, :, None], shape[2], axis=2)

    def images(tilts_deg, n_rows):
        s = np.arange(n_rows) - (n_rows - 1) / 2
        theta = np.deg2rad(tilts_deg)[:, None]
        centre = y * np.cos(theta) + z * np.sin(theta)
        integral = sigma * np.sqrt(2 * np.pi) * np.exp(-((s - centre) ** 2) / (2 * sigma**2))
        return np.repeat(integral[:, :, None], shape[2], axis=2)

    return volume, images


def test_point_above_axis_moves_up_with_positive_tilt():
    volume, _ = blob((40, 40, 1), z=8, y=0)
    images = Projector(TiltGeometry([-30.0, 0, 30], volume.shape))(volume)
    rows = [centre_of_mass_row(image) for image in images]
    np.testing.assert_allclose(rows, [-4, 0, 4], atol=1e-3)


def test_projection_at_zero_tilt_is_the_sum_over_z():
    volume = signed((12, 16, 10))
    image = Projector(TiltGeometry([0.0], volume.shape))(volume)[0]
    np.testing.assert_allclose(image, volume.sum(axis=0), atol=1e-5)


def test_projection_at_ninety_degrees_is_the_sum_over_y_with_z_upwards():
    volume = signed((12, 12, 10))
    image = Projector(TiltGeometry([90.0], volume.shape))(volume)[0]
    np.testing.assert_allclose(image, volume.sum(axis=1), atol=1e-5)


def test_opposite_views_are_mirror_images():
    volume = signed((14, 15, 9))
    images = Projector(TiltGeometry([25.0, 205.0], volume.shape, 31))(volume)
    np.testing.assert_allclose(images[0], images[1, ::-1], atol=1e-4)


@pytest.mark.parametrize("n", [(40, 40), (41, 41), (40, 41), (33, 48)])
def test_a_centred_voxel_or_pair_stays_centred_at_every_angle(n):
    volume, _ = blob((*n, 1), z=0, y=0)
    images = Projector(TiltGeometry(np.arange(0, 180, 7.0), volume.shape, 48))(volume)
    assert max(abs(centre_of_mass_row(image)) for image in images) < 1e-3


@pytest.mark.parametrize("nx", [1, 16])
def test_mass_is_conserved_at_every_tilt(nx):
    volume, _ = blob((48, 48, nx), z=3, y=-4, sigma=3)
    images = Projector(TiltGeometry(np.arange(-90, 91, 5.0), volume.shape, 64))(volume)
    # Joseph's weights of one voxel do not sum to exactly 1; those of a smooth object do, to within its sampling.
    np.testing.assert_allclose(images.sum(axis=(1, 2)), volume.sum(), rtol=1e-4)


@pytest.mark.parametrize("n", [48, 49])
def test_a_gaussian_projects_to_its_analytic_line_integrals(n):
    tilts = np.arange(-90, 91, 5.0)
    volume, exact = blob((n, n, 9), z=6, y=-4, sigma=3.0)
    images = Projector(TiltGeometry(tilts, volume.shape, 60))(volume)
    # Linear interpolation blurs a Gaussian of σ = 3 voxels by about 1/(12 σ²) = 0.9 %.
    assert relative(images, exact(tilts, 60)) < 0.01


def test_slices_along_the_tilt_axis_are_independent():
    geometry = TiltGeometry(linear_tilts(60, 20), (10, 11, 80))
    volume = np.zeros(geometry.volume_shape)
    volume[:, :, 37] = signed((10, 11))
    images = Projector(geometry)(volume)
    assert np.abs(images[:, :, 37]).max() > 0
    assert np.abs(np.delete(images, 37, axis=2)).max() == 0


def test_an_off_centre_disc_projects_to_its_chords():
    n, radius, y, z = 96, 20.0, 13.0, -9.0
    fine = 8  # the disc's area in each voxel, by counting sub-voxels
    coordinate = (np.arange(n * fine) - (n * fine - 1) / 2) / fine
    inside = (coordinate[:, None] - z) ** 2 + (coordinate[None, :] - y) ** 2 < radius**2
    slice_ = inside.reshape(n, fine, n, fine).mean(axis=(1, 3))
    tilts = np.arange(-85, 90, 10.0)
    images = Projector(TiltGeometry(tilts, (n, n, 1)))(slice_[:, :, None].astype(np.float32))[:, :, 0]
    s = np.arange(n) - (n - 1) / 2
    centre = y * np.cos(np.deg2rad(tilts)) + z * np.sin(np.deg2rad(tilts))
    chord = 2 * np.sqrt(np.maximum(radius**2 - (s - centre[:, None]) ** 2, 0))
    assert relative(images, chord) < 0.02
    flipped = 2 * np.sqrt(np.maximum(radius**2 - (s + centre[:, None]) ** 2, 0))
    assert relative(images, flipped) > 0.5  # the sign matters


# --- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("volume", "error", "message"),
    [
        (np.zeros((4, 5, 7)), ValueError, r"volume: got shape \(4, 5, 7\), expected \(4, 5, 6\)"),
        (np.zeros((4, 5)), ValueError, "volume: got shape"),
        (np.zeros((4, 5, 6), int), TypeError, "volume: got dtype int64, expected a floating one"),
        (np.zeros((4, 5, 6), complex), TypeError, "complex128"),
        (np.full((4, 5, 6), np.nan), ValueError, "volume: got 120 NaN"),
        (np.full((4, 5, 6), np.inf), ValueError, "volume: got 120 NaN or infinite"),
        (np.full((4, 5, 6), "x", dtype=object), TypeError, "object"),
        (None, TypeError, "volume"),
    ],
)
def test_a_volume_that_does_not_fit_names_what_came_and_what_was_expected(volume, error, message):
    with pytest.raises(error, match=message):
        Projector(TiltGeometry([0, 10], (4, 5, 6)))(volume)


def test_images_that_do_not_fit_name_what_came_and_what_was_expected():
    A = Projector(TiltGeometry([0, 10], (4, 5, 6)))
    with pytest.raises(ValueError, match=r"images: got shape \(3, 5, 6\), expected \(2, 5, 6\)"):
        A.T(np.zeros((3, 5, 6)))


def test_step_refuses_a_volume_that_it_could_not_change_in_place():
    A = Projector(TiltGeometry([0, 10], (4, 5, 6)))
    with pytest.raises(TypeError, match="volume: got float64"):
        A.step(np.zeros((4, 5, 6)), np.zeros((2, 5, 6)), np.ones((4, 5)))
