"""The direction of the tilt axis is seen before anything is aligned, and an alignment begins there."""

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from etlab.alignment import Alignment, align, align_by_moments, find_tilt_axis
from etlab.alignment.direction import direction_seen, folded
from etlab.cli import app
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.io import write_mrc
from etlab.projector import Projector
from tests.test_align import TILTS, jitter, particle, small
from tests.test_verdict import film, turned


@pytest.mark.parametrize("degrees", [-40.3, 20.0, 70.0, 90.0])
def test_a_particle_shows_its_axis_however_it_lies_and_its_images_are_sorted(degrees):
    order = np.random.default_rng(0).permutation(len(TILTS))
    raw = particle(0, shifts=jitter(0), tilt_axis_deg=degrees)[order]
    seen = direction_seen(raw, TILTS[order])
    assert seen.differs
    assert abs(folded(seen.degrees - degrees)) < 3


@pytest.mark.parametrize("seed", range(4))
def test_a_film_shows_an_axis_that_leans_by_30_degrees_and_none_that_does_not(seed):
    assert not direction_seen(film(seed), TILTS).differs
    seen = direction_seen(turned(film(seed), 30), TILTS)
    assert seen.differs
    assert seen.degrees == pytest.approx(30, abs=6)


@pytest.mark.parametrize("shape", [(6, 24, 24), (12, 32, 32), (31, 64, 64)])
def test_noise_shows_no_axis(shape):
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(0, 1, shape)
        assert not direction_seen(noise, np.linspace(-60, 60, len(noise))).differs


def test_a_direction_has_no_arrow():
    np.testing.assert_array_equal(folded(np.array([254.0, 90, -90, -91, 45])), [74, 90, 90, 89, 45])


@pytest.mark.parametrize("degrees", [20, 45, -30])
def test_moments_find_an_axis_that_leans_far(degrees):
    """They stopped at 254°, 131° or 66°, or in a traceback."""
    found = align_by_moments(particle(0, shifts=jitter(0), tilt_axis_deg=degrees), TILTS)
    assert found.tilt_axis_deg == pytest.approx(degrees, abs=0.2)


def test_the_search_begins_where_it_is_told_and_says_that_the_images_show_another_axis():
    raw = particle(0, shifts=jitter(0), tilt_axis_deg=70)
    with pytest.warns(UserWarning, match=r"lies at about (69|70)°.*pass tilt_axis_deg=(69|70)"):
        align(raw, TILTS, n_rounds=0, tilt_axis_deg=-40)


def test_the_height_of_a_films_axis_stays_in_the_field():
    """Images moved out of it are constant, and predict each other perfectly."""
    raw = turned(film(0), 30)[::4, 16:64:2, 24:72:2]
    none = np.zeros((len(raw), 2))
    found = find_tilt_axis(raw, Alignment(TILTS[::4], none, 30.0, 0.0, none[:, 0]))
    assert abs(found.tilt_axis_offset) <= 6


def saved(folder, images, recorded):
    write_mrc(folder / "series.mrc", np.ascontiguousarray(images, np.float32), voxel_nm=1.0)
    sections = "".join(f"[ZValue = {n}]\nTiltAngle = {tilt}\n" for n, tilt in enumerate(TILTS))
    text = f"PixelSpacing = 10\n\n[T = Tilt axis angle = {recorded}, binning = 1]\n\n{sections}"
    (folder / "series.mrc.mdoc").write_text(text)
    return str(folder / "series.mrc")


def test_the_commands_say_what_is_recorded_and_begin_there(tmp_path):
    raw = small(particle(0, tilt_axis_deg=-30))
    series, out = saved(tmp_path, raw, 60.0), str(tmp_path / "out.mrc")
    note = "60.0° from the vertical, recorded in"
    wbp = ["reconstruct", series, "-o", out, "-m", "wbp", "--no-fsc", "--overwrite"]
    done = CliRunner().invoke(app, wbp)
    assert done.exit_code == 0, done.output
    assert note in done.stderr and "--tilt-axis -30.0 unless the images are aligned" in done.stderr
    assert re.search("suspicious: .* use --tilt-axis -(29|30|31),", done.stdout)
    assert note not in CliRunner().invoke(app, [*wbp, "--tilt-axis", "-30"]).stderr
    done = CliRunner().invoke(app, ["align", series, "-o", out, "--rounds", "0", "--overwrite"])
    assert note in done.stderr
    found = re.search(r"tilt axis at (\S+)°", done.stdout)[1]
    assert float(found) == pytest.approx(-30, abs=0.5)


def test_a_helix_along_the_axis_does_not_lean():
    """Its mass is the same all along, so hardly anything is seen in that direction."""
    z, y, x = np.meshgrid(*[np.arange(48) - 23.5] * 3, indexing="ij")
    turn = 2 * np.pi * x / 24
    helix = np.exp(-((y - 12 * np.cos(turn)) ** 2 + (z - 12 * np.sin(turn)) ** 2) / 8).astype(np.float32)
    tilts_deg = linear_tilts(60, 3)
    images = Projector(TiltGeometry(tilts_deg, helix.shape))(helix)
    assert not direction_seen(images, tilts_deg).differs
