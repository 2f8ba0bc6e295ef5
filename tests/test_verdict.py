"""What `etlab reconstruct` says of a series: wrong copies are suspicious and the cause is named, right ones are not."""

import functools
import json
import re

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import block_reduce
from typer.testing import CliRunner

from etlab import data
from etlab.cli import app
from etlab.io import read_volume, write_mrc
from etlab.pipeline import Prepared, judge
from tests.test_align import TILTS, blob_images, particle
from tests.test_align import film as sparse_film

pytestmark = pytest.mark.usefixtures("empty_page")
COSINES = np.cos(np.deg2rad(TILTS))[:, None, None]


@functools.cache
def film(seed):
    """A flat specimen that reaches far beyond the field, of so many blobs that its mass follows the law of a film."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform([-6, -150, -60], [6, 150, 60], (1500, 3))
    return blob_images(positions, sigma=1.8, amplitudes=rng.uniform(0.3, 1, 1500))


class InMemory:
    """A series as `Prepared` takes it."""

    pixel_nm, axis = 1.0, "x"

    def __init__(self, images, tilts_deg):
        self.images, self.tilts_deg = np.ascontiguousarray(images, np.float32), tilts_deg
        self.shape = self.images.shape

    def read(self, x0, x1):
        return np.ascontiguousarray(self.images[:, :, x0:x1])


def said(images, tilts_deg=TILTS):
    return judge(Prepared(InMemory(images, tilts_deg))).in_words()


def moved(images, largest=4):
    rng = np.random.default_rng(5)
    shifts = rng.uniform(-largest, largest, (len(images), 2))
    return np.stack(
        [ndimage.shift(one, by, order=1, mode="nearest") for one, by in zip(images, shifts, strict=True)]
    )


def one_brighter(images):
    images = images.copy()
    images[7] *= 2
    return images


def turned(images, degrees=30):
    return np.stack([ndimage.rotate(one, -degrees, reshape=False, order=1, mode="nearest") for one in images])


def stuck(images):
    images = images.copy()
    images[:, 10, 20] = 100 * images.max()
    return images


def half_empty(images):
    images = images.copy()
    images[::2] = 0
    return images


def magnified(images, by):
    """Enlarge each image about its centre by up to a share ``by``."""
    centre = (np.array(images.shape[1:]) - 1) / 2
    scales = 1 + np.random.default_rng(0).uniform(-by, by, len(images))
    return np.stack(
        [
            ndimage.affine_transform(one, [1 / z, 1 / z], centre - centre / z, order=1, mode="nearest")
            for one, z in zip(images, scales, strict=True)
        ]
    )


def gains(images):
    return images * np.random.default_rng(0).uniform(0.7, 1.3, (len(images), 1, 1))


WRONG = {
    "transposed": (
        lambda y: y.swapaxes(1, 2),
        "the tilt axis seems to be the wrong one, or the images transposed",
    ),
    "unaligned": (moved, "the images are not aligned"),
    "negated": (lambda y: -y, "as if the images were negated"),
    "inverted": (lambda y: y.max() - y, "as if they were negated|as if the images were negated"),
    "one brighter": (one_brighter, r"the image at -35° is scaled wrongly"),
    "gains": (gains, "the images are scaled differently"),
    "less their means": (lambda y: y - y.mean(axis=(1, 2), keepdims=True), "a mean of 0"),
    "turned": (turned, r"turned by about (2[5-9]|3[0-5])°.*use --tilt-axis (2[5-9]|3[0-5])"),
    "stuck pixel": (stuck, "some pixels.*--despike"),
    "half empty": (half_empty, "empty: images 0, 2, 4 and 12 more"),
}
WRONG_FILM = WRONG | {
    "magnified": (lambda y: magnified(y, 0.04), "the magnification changes by [2-4]"),
    "means alike": (lambda y: y / y.mean(axis=(1, 2), keepdims=True), "they were scaled one by one"),
    "background": (lambda y: y + y.mean(), "vacuum is not 0"),
}
WRONG_PARTICLE = WRONG | {
    "exposures with 1/cos": (lambda y: y / COSINES[: len(y)], "should be the same at all tilts"),
    "drift of the beam": (
        lambda y: y * np.linspace(1, 0.5, len(y))[:, None, None],
        "should be the same at all tilts",
    ),
    "background": (lambda y: y + 0.3 * y.max(), "a background of about"),
    "background twice": (lambda y: y - 0.3 * y.max(), "negated|too much background"),
}


@pytest.mark.parametrize("scale", [1, 1e-6, 1e6])
@pytest.mark.parametrize("specimen", [film, sparse_film, particle])
def test_right_series_are_not_suspicious_whatever_their_unit(specimen, scale):
    assert said(scale * specimen(0)).startswith("verdict: nothing suspicious")


def test_right_series_in_noise_are_not_suspicious():
    for images in (film(1), particle(1)):
        noise = np.random.default_rng(0).normal(0, 0.1 * images.max(), images.shape)
        assert said(images + noise).startswith("verdict: nothing suspicious")


@pytest.mark.parametrize("wrong", WRONG_FILM)
def test_wrong_copies_of_a_film_are_suspicious(wrong):
    spoil, cause = WRONG_FILM[wrong]
    assert_named(said(spoil(film(0))), cause)


@pytest.mark.parametrize("wrong", WRONG_PARTICLE)
def test_wrong_copies_of_a_particle_are_suspicious(wrong):
    spoil, cause = WRONG_PARTICLE[wrong]
    assert_named(said(spoil(particle(0))), cause)


def assert_named(line, cause):
    assert line.startswith("suspicious: ") and "\n" not in line
    assert re.search(cause, line), line


DOSE_SYMMETRIC = np.argsort(np.abs(TILTS), kind="stable")
BIDIRECTIONAL = np.r_[14:29, 13:-1:-1]


@pytest.mark.parametrize("specimen", [film, particle])
def test_angles_are_suspicious_only_where_they_belong_to_other_images(specimen):
    for order in (np.arange(29)[::-1], DOSE_SYMMETRIC, BIDIRECTIONAL):
        assert said(specimen(0)[order], TILTS[order]).startswith("verdict: nothing suspicious")
    for order in (np.random.default_rng(0).permutation(29), BIDIRECTIONAL):
        assert_named(said(specimen(0), TILTS[order]), "belong to other images")


@pytest.mark.parametrize("seed", range(1, 4))
def test_right_films_are_not_suspicious_and_turned_ones_are(seed):
    assert said(film(seed)).startswith("verdict: nothing suspicious")
    assert_named(said(turned(film(seed), -60)), r"--tilt-axis -(5[4-9]|6[0-6])")


def test_few_electrons_are_no_other_magnification():
    counts = np.random.default_rng(0).poisson(film(0) / film(0).mean() * 4)
    assert said(counts).startswith("verdict: nothing suspicious")


@pytest.fixture(scope="module")
def needle():
    return data.needle()


@pytest.mark.data
@pytest.mark.parametrize(
    "wrong",
    [None, "transposed", "unaligned", "negated", "gains", "exposures with 1/cos", "turned", "stuck pixel"],
)
def test_only_wrong_copies_of_the_needle_are_suspicious(needle, wrong):
    images, raw = (block_reduce(one, (1, 4, 4), np.mean) for one in (needle.aligned, needle.images))
    if wrong is None:
        assert said(images, needle.tilts_deg).startswith("verdict: nothing suspicious")
    elif wrong == "unaligned":
        assert_named(said(raw, needle.tilts_deg), WRONG["unaligned"][1])
    elif wrong == "exposures with 1/cos":
        cosines = np.cos(np.deg2rad(needle.tilts_deg))[:, None, None]
        assert_named(said(images / cosines, needle.tilts_deg), WRONG_PARTICLE[wrong][1])
    else:
        assert_named(said(WRONG[wrong][0](images), needle.tilts_deg), WRONG[wrong][1])


@pytest.mark.data
def test_wrong_angles_and_a_wrong_height_of_the_needle_are_no_wrong_axis(needle):
    """Each was called transposed, or was not called suspicious at all."""
    images, tilts = block_reduce(needle.aligned, (1, 4, 4), np.mean), needle.tilts_deg
    assert_named(said(np.roll(images, 4, axis=1), tilts), "use --axis-offset 4")
    assert "axis" not in said(images, tilts / 2)
    assert_named(said(np.log1p(np.maximum(images, 0)), tilts), "a background of about")
    for others in (np.random.default_rng(0).permutation(tilts), np.r_[tilts[38::-1], tilts[39:]]):
        assert_named(said(images, others), "belong to other images")


@pytest.mark.data
def test_height_of_the_needles_axis_is_seen_to_half_a_pixel(needle):
    """It was published with its axis on row 128, half a row above the middle."""
    verdict = judge(Prepared(InMemory(block_reduce(needle.aligned, (1, 4, 4), np.mean), needle.tilts_deg)))
    assert 4 * verdict.axis_offset[0] == pytest.approx(0.5, abs=0.2)


def test_an_axis_off_the_middle_is_named_with_its_remedy():
    assert "use --axis-offset 5" in said(np.roll(particle(0), 5, axis=1))
    assert "use --axis-offset -5" in said(np.roll(particle(0), -5, axis=1))


def test_angles_in_radians_are_suspicious():
    assert "as if they were in radians" in said(particle(0), np.deg2rad(TILTS))


def etlab(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done


def saved(folder, images, name="series"):
    write_mrc(folder / f"{name}.mrc", np.ascontiguousarray(images, np.float32), voxel_nm=1.0, overwrite=True)
    np.savetxt(folder / f"{name}.tlt", TILTS[: len(images)])
    return folder / f"{name}.mrc"


def test_reconstruct_says_it_before_and_after_and_writes_it(tmp_path):
    out = tmp_path / "out.mrc"
    common = ("-o", out, "-m", "sirt", "--iterations", 2, "--bin", 2, "--overwrite")
    right = etlab("reconstruct", saved(tmp_path, particle(0)), *common)
    assert not [line for line in right.output.splitlines() if line.startswith("suspicious: ")]
    assert "verdict: nothing suspicious" in right.stdout
    assert json.loads(out.with_suffix(".json").read_text())["verdict"]["suspicious"] == []
    wrong = etlab("reconstruct", tmp_path / "series.mrc", "--axis", "y", *common)
    for stream in (wrong.stdout, wrong.stderr):
        (line,) = [line for line in stream.splitlines() if line.startswith("suspicious: ")]
        assert "use --axis x" in line
    (told,) = json.loads(out.with_suffix(".json").read_text())["verdict"]["suspicious"][:1]
    assert "use --axis x" in told


def test_align_judges_what_it_has_aligned(tmp_path):
    done = etlab("align", saved(tmp_path, moved(particle(0))), "-o", tmp_path / "out.mrc", "--rounds", 0)
    assert "verdict: nothing suspicious" in done.stdout
    assert json.loads((tmp_path / "out.json").read_text())["verdict"]["jitter [pixels]"] < 0.5


@pytest.mark.parametrize("method", ["wbp", "tv", "diffusion"])
def test_the_unit_of_intensity_scales_the_volume_and_changes_nothing_else(tmp_path, method):
    """λ and dose are in units of the specimen's density; a fixed λ gives an empty volume for a unit of 1e-6."""
    if method == "diffusion":
        pytest.importorskip("onnxruntime")
    images = block_reduce(particle(0), (1, 4, 4), np.mean)[::3]
    options = {"tv": ("--iterations", 5), "diffusion": ("--option", "n_steps=2"), "wbp": ()}[method]
    volumes = []
    for unit in (1.0, 1e-6, 1e6):
        series = saved(tmp_path, unit * images)
        np.savetxt(tmp_path / "series.tlt", TILTS[::3])
        common = ("-o", tmp_path / "out.mrc", "-m", method, "--no-fsc", "--overwrite")
        done = etlab("reconstruct", series, *common, *options)
        volumes.append(read_volume(tmp_path / "out.mrc")[0] / unit)
    assert volumes[0].max() > 0.1
    for other in volumes[1:]:
        np.testing.assert_allclose(other, volumes[0], atol=1e-4 * volumes[0].max())
    assert method != "tv" or "lam = 0.05 is a share of it" in done.stdout
