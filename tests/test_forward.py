"""The forward model: adjoint, signs, sharpness, blur widths, derivatives, noise."""

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from etlab.blur import DefocusBlur, gaussian_blur
from etlab.forward import Detector, Mismatch, Optics, TiltSeriesModel, poisson_quantile
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.projector import Projector
from etlab.rotation import InPlaneRotation, odd_length
from etlab.solvers import sirt

SHARP = Optics(kappa=0)
MISMATCHES = [Mismatch(), Mismatch(1.0, 0.6, 20.0), Mismatch(-10, -10, -20), Mismatch(0, 10, 5)]


def geometry(shape=(12, 20, 16), n_rows=27, step=10):
    return TiltGeometry(linear_tilts(60, step), shape, n_rows)


def blob(shape, centre, sigma=2.0):
    """A Gaussian at ``centre``, in pixels from the middle of the array."""
    axes = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij", sparse=True)
    square = sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True))
    return np.exp(-square / (2 * sigma**2)).astype(np.float32)


def centroid(image):
    axes = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in image.shape), indexing="ij")
    return [float((axis * image).sum() / image.sum()) for axis in axes]


def specimen(shape=(32, 48, 48), seed=0):
    """Grey grains on a film with gold beads: as rough as a benchmark scene, inside the field."""
    rng = np.random.default_rng(seed)
    nz, ny, nx = shape
    grains = scipy.ndimage.gaussian_filter(rng.standard_normal(shape), 2.0)
    volume = 0.5 * np.clip(0.5 + 40 * (grains - 0.05), 0, 1)
    volume[nz // 2 - 1 : nz // 2 + 2] = np.maximum(volume[nz // 2 - 1 : nz // 2 + 2], 0.2)
    z, y, x = np.ogrid[:nz, :ny, :nx]
    for _ in range(8):
        cy, cx = rng.uniform(8, ny - 8), rng.uniform(8, nx - 8)
        distance = np.sqrt((z - nz // 2 - 4) ** 2 + (y - cy) ** 2 + (x - cx) ** 2)
        volume = np.maximum(volume, np.clip(3 - distance, 0, 1))
    volume[:, [*range(5), *range(ny - 5, ny)]] = 0
    volume[:, :, [*range(5), *range(nx - 5, nx)]] = 0
    return volume.astype(np.float32)


# the operator


@pytest.mark.parametrize("optics", [None, Optics(), Optics(d0=0)], ids=["sharp", "blurred", "d0=0"])
@pytest.mark.parametrize("mismatch", MISMATCHES, ids=str)
@pytest.mark.parametrize(
    ("shape", "n_rows"), [((12, 20, 16), 27), ((9, 17, 15), 24), ((5, 8, 1), 11), ((6, 7, 3), 5)]
)
def test_the_adjoint_is_exact_on_signed_data(shape, n_rows, mismatch, optics):
    H = TiltSeriesModel(geometry(shape, n_rows), mismatch=mismatch, optics=optics)
    assert H.dot_test() <= 1e-6


def test_without_mismatch_and_blur_the_model_is_the_projector():
    g = geometry()
    volume = specimen(g.volume_shape)
    A = Projector(g)
    images = A(volume)
    for optics in (None, SHARP):
        H = TiltSeriesModel(g, optics=optics)
        np.testing.assert_array_equal(H(volume), images)
        np.testing.assert_array_equal(H.T(images), A.T(images))
        for ours, theirs in zip(H.sums(), A.sums(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_operator_is_linear():
    H = TiltSeriesModel(geometry(), mismatch=MISMATCHES[1])
    x1, x2 = np.random.default_rng(0).standard_normal((2, *H.geometry.volume_shape)).astype(np.float32)
    np.testing.assert_allclose(H(2 * x1 - x2), 2 * H(x1) - H(x2), atol=2e-5)


def test_input_is_not_changed():
    H = TiltSeriesModel(geometry(), mismatch=MISMATCHES[1])
    volume = specimen(H.geometry.volume_shape)
    images = H(volume)
    kept = volume.copy(), images.copy()
    H.T(images), H.jacobian(volume)
    np.testing.assert_array_equal(volume, kept[0])
    np.testing.assert_array_equal(images, kept[1])


def test_a_tilt_angle_error_turns_the_specimen_not_the_nominal_geometry():
    g = geometry()
    volume = specimen(g.volume_shape)
    H = TiltSeriesModel(g, mismatch=Mismatch(tilt_angle=3.0), optics=None)
    turned = Projector(TiltGeometry(g.tilts_deg + 3, g.volume_shape, g.n_rows))
    np.testing.assert_array_equal(H(volume), turned(volume))
    np.testing.assert_array_equal(H.geometry.tilts_deg, g.tilts_deg)


def test_a_stage_tilted_too_far_moves_the_upper_side_of_the_specimen_up_the_image():
    g = TiltGeometry([0.0], (33, 33, 9))
    high = blob(g.volume_shape, (8, 0, 0))
    row, _ = centroid(TiltSeriesModel(g, mismatch=Mismatch(tilt_angle=5.0), optics=None)(high)[0])
    assert row == pytest.approx(8 * np.sin(np.deg2rad(5)), abs=5e-3)  # of Joseph's interpolation


def test_the_mass_of_an_image_is_kept():
    g = TiltGeometry(linear_tilts(60, 20), (16, 24, 48), 64)
    volume = blob(g.volume_shape, (1, -2, 3))
    images = TiltSeriesModel(g, mismatch=Mismatch(1, 5, 10))(volume)
    np.testing.assert_allclose(images.sum(axis=(1, 2)), volume.sum(), rtol=3e-3)


def test_same_numbers_whatever_the_number_of_threads():
    volume = specimen()
    one, two = (
        TiltSeriesModel(geometry(volume.shape, 64), mismatch=MISMATCHES[1], n_threads=n) for n in (1, 2)
    )
    images = one(volume)
    assert np.linalg.norm(two(volume) - images) <= 1e-5 * np.linalg.norm(images)
    back = one.T(images)
    assert np.linalg.norm(two.T(images) - back) <= 1e-5 * np.linalg.norm(back)


def test_with_mismatch_changes_only_the_mismatch():
    H = TiltSeriesModel(geometry(), optics=Optics(d0=3))
    other = H.with_mismatch(Mismatch(1, 2, 3))
    assert other.mismatch == Mismatch(1, 2, 3) and other.optics == H.optics and other.geometry is H.geometry


@pytest.mark.parametrize("tilts", [[3], [0, 5, 2], slice(2, 6), np.arange(13) % 2 == 0])
def test_a_subset_sees_the_same_images(tilts):
    H = TiltSeriesModel(geometry(), mismatch=MISMATCHES[1])
    volume = specimen(H.geometry.volume_shape)
    some = H.subset(tilts)
    np.testing.assert_allclose(some(volume), H(volume)[tilts], atol=1e-5)
    assert some.dot_test() <= 1e-6


@pytest.mark.parametrize("mismatch", MISMATCHES, ids=str)
@pytest.mark.parametrize("optics", [None, Optics()])
def test_its_sums_keep_sirt_from_diverging(mismatch, optics):
    H = TiltSeriesModel(geometry((16, 32, 32), 48), mismatch=mismatch, optics=optics)
    rows, columns = H.sums()
    x = np.random.default_rng(0).standard_normal(H.geometry.volume_shape).astype(np.float32)
    for _ in range(50):  # largest eigenvalue of C·Hᵀ·R·H: gradient steps of length 1 converge below 2
        x /= np.linalg.norm(x)
        x = H.T(H(x) / np.maximum(rows, 1e-6)) / columns
    assert np.linalg.norm(x) < 1.9


def test_sirt_on_the_right_model_beats_sirt_on_the_nominal_one():
    volume = specimen()
    g = TiltGeometry(linear_tilts(70, 5), volume.shape, 64)
    true, nominal = TiltSeriesModel(g, mismatch=Mismatch(3, 3, 20)), TiltSeriesModel(g)
    images = true(volume)
    error = [np.linalg.norm(sirt(H, images, n_iter=30) - volume) for H in (true, nominal)]
    assert error[0] < 0.85 * error[1]


# the rotation


def rotated(image, angle_deg):
    return InPlaneRotation(image.shape, angle_deg)(image)


@pytest.mark.parametrize("shape", [(40, 50), (41, 51)])
def test_a_positive_angle_turns_the_axis_from_x_towards_the_rows(shape):
    phi = np.deg2rad(9)
    for row, x in ((0, 15), (12, 0), (-7, 11)):
        landed = centroid(rotated(blob(shape, (row, x)), 9.0))
        assert landed[0] == pytest.approx(row * np.cos(phi) + x * np.sin(phi), abs=1e-3)
        assert landed[1] == pytest.approx(x * np.cos(phi) - row * np.sin(phi), abs=1e-3)


def test_no_angle_is_no_work():
    image = np.ones((8, 9), np.float32)
    assert (
        InPlaneRotation(image.shape, 0.0)(image) is image
        and InPlaneRotation(image.shape, 0.0).T(image) is image
    )


def test_nine_turns_by_ten_degrees_are_a_right_angle():
    image = blob((65, 65), (9, 14), 2.5) - blob((65, 65), (-4, 3), 3.0)
    turned = image
    for _ in range(9):
        turned = rotated(turned, 10.0)
    np.testing.assert_allclose(turned, np.rot90(image, -1), atol=1e-5)


def test_turning_there_and_back_gives_the_image_again():
    image = gaussian_blur(np.random.default_rng(0).standard_normal((60, 65)), 1.5) * blob((60, 65), (0, 0), 6)
    image = image.astype(np.float32)
    again = rotated(rotated(image, 7.0), -7.0)
    assert np.linalg.norm(again - image) <= 1e-5 * np.linalg.norm(image)


@given(st.floats(-10, 10), st.integers(4, 40), st.integers(4, 40))
@settings(max_examples=30, deadline=None)
def test_shears_are_orthogonal(angle, n_rows, nx):
    R = InPlaneRotation((n_rows, nx), angle)
    image = np.random.default_rng(0).standard_normal((n_rows, nx)).astype(np.float32)
    sheared = R._move_rows(R._move_x(R._pad(image), R._along_x), R._along_rows)
    assert np.linalg.norm(sheared) == pytest.approx(np.linalg.norm(image), rel=1e-5)


def test_the_transpose_is_the_turn_by_the_opposite_angle():
    image = np.random.default_rng(0).standard_normal((30, 40)).astype(np.float32)
    np.testing.assert_allclose(InPlaneRotation(image.shape, 6.0).T(image), rotated(image, -6.0), atol=1e-6)


def test_sharpness_does_not_depend_on_the_angle_which_interpolation_cannot_say():
    # Within a circle, so that the same content is seen at all angles; up to 80 % of the Nyquist frequency.
    rng = np.random.default_rng(0)
    spectrum = np.fft.fft2(rng.standard_normal((96, 96)))
    f = np.hypot(np.fft.fftfreq(96)[:, None], np.fft.fftfreq(96))
    image = np.fft.ifft2(spectrum * (f < 0.4)).real * blob((96, 96), (0, 0), 14)
    image = image.astype(np.float32)

    def power_above(turned):
        power = np.abs(np.fft.fft2(turned)) ** 2
        return power[f > 0.25].sum()

    start = power_above(image)
    for angle in (0.0, 0.3, 1.0, 5.0, 10.0):
        assert power_above(rotated(image, angle)) == pytest.approx(start, rel=2e-3)
    linear, cubic = (
        power_above(scipy.ndimage.rotate(image, 5.0, reshape=False, order=n)) / start for n in (1, 3)
    )
    assert linear < 0.5 and cubic < 0.95


def test_the_rotation_of_nothing_is_nothing_and_constants_stay_inside():
    R = InPlaneRotation((40, 40), 4.0)
    assert not R(np.zeros((40, 40), np.float32)).any()
    assert R(np.ones((40, 40), np.float32))[15:25, 15:25] == pytest.approx(1, abs=0.05)


def test_what_turns_out_of_the_field_does_not_come_in_on_the_other_side():
    corner = blob((40, 40), (17, 17), 1.2)
    turned = rotated(corner, 10.0)
    assert np.abs(turned[:20]).max() < 5e-3 and np.abs(turned[:, :20]).max() < 5e-3


def test_padded_lengths_are_odd_and_fast():
    assert [odd_length(n) for n in (1, 2, 10, 11, 145, 172)] == [1, 3, 15, 15, 147, 175]


# the blur


def blur(shape, sigma):
    return DefocusBlur(shape, np.asarray(sigma), variance_rate=np.zeros(shape[0]))


def test_each_row_is_as_blurred_as_the_formula_says():
    n_rows, nx, optics, g = 96, 81, Optics(), 18.0
    variance, _ = optics.variance(n_rows, g)
    B = blur((n_rows, nx), np.sqrt(variance))
    x = np.arange(nx) - (nx - 1) / 2
    for row in (8, 30, 50, 88):
        u = row - (n_rows - 1) / 2
        sigma = 0.10 * abs(6.0 + 18.0 * u / (n_rows / 2))
        sharp = np.zeros((n_rows, nx), np.float32)
        sharp[:, nx // 2] = 1  # a line across all rows: row u of the image is the kernel of row u along x
        profile = B(sharp)[row].astype(np.float64)
        # A band-limited kernel has no narrow support; its transform at low frequencies gives its width.
        f = 3 / nx
        assert profile @ np.cos(2 * np.pi * f * x) == pytest.approx(
            np.exp(-2 * (np.pi * f * sigma) ** 2), rel=1e-4
        )


@pytest.mark.parametrize("row", [20, 47, 70])
def test_the_blur_is_isotropic(row):
    variance, _ = Optics().variance(96, 18.0)
    B = blur((96, 95), np.sqrt(variance))
    seen = B.T(np.where((np.arange(96)[:, None] == row) & (np.arange(95) == 47), 1, 0).astype(np.float32))
    assert seen[row] == pytest.approx(np.roll(seen[:, 47], 47 - row)[:95], abs=2e-3)


def test_an_interior_point_spreads_as_a_band_limited_gaussian():
    n = 64
    point = np.zeros((n, n), np.float32)
    point[30, 33] = 1
    f = np.fft.fftfreq(n)
    kernel = np.fft.ifft2(np.exp(-2 * np.pi**2 * 1.5**2 * (f[:, None] ** 2 + f**2))).real
    expected = np.roll(kernel, (30, 33), axis=(0, 1))
    np.testing.assert_allclose(blur((n, n), np.full(n, 1.5))(point), expected, atol=1e-6)
    np.testing.assert_allclose(gaussian_blur(point, 1.5), expected, atol=1e-6)


def test_a_constant_image_stays_constant_in_every_row():
    variance, _ = Optics().variance(40, 20.0)
    B = blur((40, 30), np.sqrt(variance))
    np.testing.assert_allclose(B(np.full((40, 30), 3.0, np.float32)), 3.0, rtol=1e-5)


def test_a_uniform_blur_keeps_the_sum_even_at_the_border():
    image = np.zeros((24, 30), np.float32)
    image[0, 0], image[-1, 12] = 2, 1
    assert blur((24, 30), np.full(24, 2.0))(image).sum() == pytest.approx(3, rel=1e-5)


def test_a_positive_gradient_blurs_the_upper_rows():
    H = TiltSeriesModel(TiltGeometry([0.0], (1, 64, 64)), mismatch=Mismatch(defocus_gradient=15))
    noise = np.random.default_rng(0).standard_normal((1, 64, 64)).astype(np.float32)
    image = H(noise)[0]
    assert image[48:].std() < 0.5 * image[:16].std()  # D₀ and g·u add up above, cancel below


def test_without_defocus_at_the_centre_the_sign_of_the_gradient_cannot_be_known():
    one, other = (Optics(d0=0).variance(20, g)[0] for g in (8.0, -8.0))
    np.testing.assert_allclose(one, other)
    assert not np.allclose(Optics().variance(20, 8.0)[0], Optics().variance(20, -8.0)[0])


def test_zero_width_is_no_blur():
    image = np.random.default_rng(0).standard_normal((12, 14)).astype(np.float32)
    assert blur((12, 14), np.zeros(12))(image) is image
    almost = np.zeros(12)
    almost[3] = 1.0
    np.testing.assert_allclose(
        np.delete(blur((12, 14), almost)(image), 3, 0), np.delete(image, 3, 0), atol=1e-6
    )


def test_optics_of_a_finer_grid_blur_by_the_same_length():
    coarse, fine = Optics().variance(16, 10.0)[0], Optics().refined(2).variance(32, 10.0)[0]
    np.testing.assert_allclose(np.sqrt(fine).reshape(16, 2).mean(axis=1) / 2, np.sqrt(coarse))


# derivatives


# derivatives


def central_difference(H, volume, name, step):
    def moved(by):
        changed = {**vars(H.mismatch), name: getattr(H.mismatch, name) + by}
        return H.with_mismatch(Mismatch(**changed))(volume).astype(np.float64)

    return (moved(step) - moved(-step)) / (2 * step)


@pytest.mark.parametrize("mismatch", [Mismatch(), Mismatch(1.0, 0.6, 20.0), Mismatch(-0.4, -5, -8)], ids=str)
@pytest.mark.parametrize("volume", [blob((32, 48, 48), (3, -6, 4), 3.0), specimen()], ids=["smooth", "rough"])
def test_the_jacobian_is_what_small_changes_do(volume, mismatch):
    H = TiltSeriesModel(TiltGeometry(linear_tilts(70, 7), volume.shape, 64), mismatch=mismatch)
    rates = H.jacobian(volume)
    for rate, name, step, limit in zip(
        rates,
        ("tilt_angle", "tilt_axis", "defocus_gradient"),
        (0.05, 0.05, 0.5),
        (1e-2, 1e-3, 1e-2),
        strict=True,
    ):
        difference = central_difference(H, volume, name, step)
        assert np.linalg.norm(rate - difference) <= limit * np.linalg.norm(difference), name


@pytest.mark.parametrize("step", [0.01, 0.02, 0.1])
@pytest.mark.parametrize(
    ("volume", "limit"),
    [(blob((32, 48, 48), (3, -6, 4), 3.0), 0.01), (specimen(), 0.07)],
    ids=["smooth", "rough"],
)
def test_the_tilt_derivative_hangs_on_its_step_as_little_as_documented(volume, limit, step):
    H = TiltSeriesModel(TiltGeometry(linear_tilts(70, 7), volume.shape, 64))
    difference = central_difference(H, volume, "tilt_angle", step)
    assert np.linalg.norm(H.jacobian(volume)[0] - difference) <= limit * np.linalg.norm(difference)


def test_the_tilt_derivative_moves_points_as_the_formula_of_the_geometry_says():
    g = TiltGeometry(linear_tilts(60, 10) + 0.3, (32, 48, 48), 64)
    volume = blob(g.volume_shape, (3, -6, 4), 3.0)
    rate = TiltSeriesModel(g, optics=None).jacobian(volume)[0]
    theta = np.deg2rad(g.tilts_deg)
    row = np.arange(g.n_rows) - (g.n_rows - 1) / 2
    moments = (rate * row[:, None]).sum(axis=(1, 2)) / volume.sum()
    expected = np.pi / 180 * (6 * np.sin(theta) + 3 * np.cos(theta))  # ds/dθ = −y sin θ + z cos θ
    np.testing.assert_allclose(moments, expected, atol=0.02 * expected.max())


def test_the_derivative_with_the_axis_is_exact():
    image = np.random.default_rng(0).standard_normal((21, 30)).astype(np.float32)
    for angle in (0.0, 4.0):
        step = 1e-2
        difference = (
            InPlaneRotation(image.shape, angle + step)(image).astype(np.float64)
            - InPlaneRotation(image.shape, angle - step)(image)
        ) / (2 * step)
        rate = InPlaneRotation(image.shape, angle).rate(image)
        assert np.linalg.norm(rate - difference) <= 1e-3 * np.linalg.norm(difference)


def test_without_blur_focus_changes_nothing():
    H = TiltSeriesModel(geometry(), mismatch=Mismatch(defocus_gradient=5.0), optics=None)
    assert not H.jacobian(specimen(H.geometry.volume_shape))[2].any()


# the detector

FLAT = np.full((4, 300, 300), 3.0, np.float32)


@pytest.mark.parametrize(
    ("detector", "variance"),
    [
        (Detector(dose=5), 3 / 5),
        (Detector(dose=5, background=2), 5 / 5),
        (Detector(dose=None, read_noise=0.7), 0.49),
        (Detector(dose=np.inf, gain=2, read_noise=0.7), 0.49 / 4),
        (Detector(gain=3, dose=8, background=1, read_noise=0.6), 4 / 8 + 0.04),
    ],
    ids=["poisson", "background", "gaussian", "gain", "all"],
)
def test_exposures_are_unbiased_in_calibrated_units_and_vary_as_the_law_says(detector, variance):
    images = detector.expose(FLAT, 1)
    assert images.dtype == np.float32 and images.shape == FLAT.shape
    assert images.mean() == pytest.approx(3, abs=5 * np.sqrt(variance / FLAT.size))
    assert images.var() == pytest.approx(variance, rel=0.02)


def test_weak_signals_are_counted_in_whole_electrons():
    counts = Detector(dose=5, gain=7, background=0.4).expose(FLAT[:1] / 30, 2).astype(np.float64)
    np.testing.assert_allclose((counts + 0.4) * 5, np.round((counts + 0.4) * 5), atol=1e-5)


@pytest.mark.parametrize("mean", [1e-6, 0.1, 1, 5, 50, 500, 5000, 1e6])
def test_counts_are_quantiles_of_the_poisson_law(mean):
    rng = np.random.default_rng(0)
    means = mean * rng.uniform(0.1, 1.1, 20_000)
    means[:10] = 0
    draws = rng.random(means.size)
    draws[100:200], draws[200:300] = 1 - np.geomspace(1e-15, 0.1, 100), np.geomspace(1e-300, 0.1, 100)
    np.testing.assert_array_equal(poisson_quantile(draws, means), poisson.ppf(draws, means))


def test_a_seed_is_the_same_noise_where_images_differ_by_rounding():
    images = np.random.default_rng(0).uniform(0, 30, (4, 64, 64)).astype(np.float32)
    detector = Detector(dose=5)
    change = detector.expose(np.nextafter(images, np.float32(99)), 1) - detector.expose(images, 1)
    assert (np.abs(change) > 0.01).sum() <= 2


def test_dose_weights_share_the_noise():
    images = Detector(dose=5).expose(FLAT, 3, dose_weights=[0.5, 1, 1, 4])
    np.testing.assert_allclose(images.var(axis=(1, 2)), 3 / 5 / np.array([0.5, 1, 1, 4]), rtol=0.03)


def test_same_seed_same_bits():
    detector = Detector(read_noise=0.1)
    first = detector.expose(FLAT, np.random.default_rng(7))
    np.testing.assert_array_equal(first, detector.expose(FLAT, 7))
    assert (first != detector.expose(FLAT, 8)).mean() > 0.9


def test_without_noise_nothing_changes_not_even_negative_signals():
    images = np.linspace(-1, 2, 60, dtype=np.float32).reshape(1, 6, 10)
    np.testing.assert_allclose(Detector(dose=None, background=0.5).expose(images, 0), images, atol=1e-6)


def test_below_zero_no_electrons_are_counted():
    assert not Detector(dose=5).expose(np.full((1, 4, 4), -1.0), 0).any()


# what is refused


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Mismatch(tilt_angle=10.1), "tilt_angle: got 10.1.*±10°"),
        (lambda: Mismatch(tilt_axis=-11), "tilt_axis: got -11.*±10°"),
        (lambda: Mismatch(defocus_gradient=2000), "defocus_gradient: got 2000.*nm/µm"),
        (lambda: Mismatch(tilt_angle=float("nan")), "tilt_angle: got nan"),
        (lambda: Optics(kappa=-0.1), "kappa: got -0.1"),
        (lambda: Optics(d0=np.inf), "d0: got inf"),
        (lambda: Detector(dose=-5), "dose: got -5"),
        (lambda: Detector(dose=0), "dose: got 0"),
        (lambda: Detector(dose=1e12).expose(FLAT, 0), "dose: got 1e.12.*counts a pixel"),
        (lambda: Detector(gain=0), "gain: got 0"),
        (lambda: Detector(background=-1), "background: got -1"),
        (lambda: Detector(read_noise=np.nan), "read_noise: got nan"),
        (lambda: InPlaneRotation((4, 4), 45), "angle_deg: got 45"),
        (lambda: Detector().expose(FLAT[0], 0), r"images: got shape \(300, 300\)"),
        (lambda: Detector().expose(FLAT * np.nan, 0), "images: got 360000 NaN"),
        (lambda: Detector().expose(FLAT, 0, dose_weights=[1, 1]), r"dose_weights: got shape \(2,\)"),
        (lambda: Detector().expose(FLAT, 0, dose_weights=[1, 1, 1, -1]), "dose_weights.*positive"),
    ],
)
def test_impossible_settings_name_the_argument_and_what_came(make, named):
    with pytest.raises(ValueError, match=named):
        make()


@pytest.mark.parametrize("call", ["__call__", "jacobian", "T"])
def test_arrays_that_do_not_fit_are_refused(call):
    H = TiltSeriesModel(geometry())
    shape = H.geometry.images_shape if call == "T" else H.geometry.volume_shape
    name = "images" if call == "T" else "volume"
    with pytest.raises(ValueError, match=f"{name}: got shape"):
        getattr(H, call)(np.ones((*shape[:2], shape[2] + 1), np.float32))
    with pytest.raises(TypeError, match=f"{name}: got dtype int"):
        getattr(H, call)(np.ones(shape, int))
    with pytest.raises(ValueError, match=f"{name}: got 1 NaN"):
        holed = np.ones(shape, np.float32)
        holed[0, 0, 0] = np.nan
        getattr(H, call)(holed)
