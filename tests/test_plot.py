"""Figures: axes follow the conventions and carry units, and one ink reads on a light and on a dark page."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from etlab import plot
from etlab.forward import Detector, Mismatch, TiltSeriesModel
from etlab.geometry import TiltGeometry

WHITE, DARK = "#ffffff", "#121212"  # page backgrounds of sphinx-book-theme


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        plot.use_style()
        yield
        plt.close("all")


def luminance(colour):
    """Relative luminance as WCAG 2 defines it."""
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)


def contrast(one, other):
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_ink_reads_on_white_and_on_dark_pages():
    assert contrast(plt.rcParams["text.color"], WHITE) >= 4.5
    assert contrast(plt.rcParams["text.color"], DARK) >= 4.1


def test_lines_read_on_white_and_on_dark_pages():
    for colour in plt.rcParams["axes.prop_cycle"].by_key()["color"]:
        assert contrast(colour, WHITE) >= 2.8 and contrast(colour, DARK) >= 3, colour


def test_style_sheet_and_module_name_the_same_colours():
    assert to_rgb("#" + plt.rcParams["text.color"].lstrip("#")) == to_rgb(plot.INK)
    first = plt.rcParams["axes.prop_cycle"].by_key()["color"][0]
    assert to_rgb("#" + first.lstrip("#")) == to_rgb(plot.ACCENT)


def test_figures_are_transparent(tmp_path):
    fig, ax = plt.subplots()
    ax.plot([0, 1])
    fig.savefig(tmp_path / "f.png")
    assert plt.imread(tmp_path / "f.png")[0, 0, 3] == 0


def test_row_zero_is_at_the_bottom():
    ax = plot.show_image(None, np.eye(4))
    bottom, top = ax.get_ylim()
    assert bottom < 0 < top and ax.images[0].origin == "lower"


def test_labels_carry_pixels_or_nanometres():
    ax = plot.show_image(None, np.zeros((4, 6)))
    assert "[px]" in ax.get_xlabel() and "[px]" in ax.get_ylabel()
    ax = plot.show_slice(None, np.zeros((4, 6)), voxel_nm=2.0)
    assert ax.get_xlabel() == "y [nm]" and ax.get_ylabel() == "z [nm]"
    assert ax.get_xlim() == (-1.0, 11.0) and ax.get_ylim() == (-1.0, 7.0)


def test_sinogram_places_uneven_tilts_at_their_angles():
    tilts = np.array([-60.0, -10.0, 0.0, 50.0])
    ax = plot.show_sinogram(None, np.zeros((4, 8)), tilts)
    edges = ax.collections[0].get_coordinates()[:, 0, 1]
    assert all(low < tilt < high for low, tilt, high in zip(edges[:-1], tilts, edges[1:], strict=True))
    assert ax.get_ylabel() == "tilt θ [°]"


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"image: got shape \(2, 3, 4\)"):
        plot.show_image(None, np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match=r"tilts_deg: got shape \(3,\), expected \(4,\)"):
        plot.show_sinogram(None, np.zeros((4, 8)), [0, 1, 2])


@pytest.mark.parametrize("tilt", [-40.0, 0.0, 30.0])
def test_conventions_drawing_lands_the_voxel_where_the_formula_says(tilt):
    side, image = plot.conventions(tilt).axes
    dots = [
        line.get_xydata()[0]
        for line in side.lines
        if line.get_marker() == "o" and line.get_color() == plot.ACCENT
    ]
    voxel, landing = dots
    assert voxel[0] == pytest.approx(landing[0])  # the beam is vertical
    (image_dot,) = [line.get_xydata()[0] for line in image.lines if line.get_marker() == "o"]
    assert image_dot[1] == pytest.approx(landing[0])


def test_signal_chain_ends_in_the_recorded_image_and_in_what_the_mismatch_changes():
    volume = np.random.default_rng(0).random((8, 16, 16), np.float32)
    model = TiltSeriesModel(TiltGeometry([-20.0, 35.0], volume.shape, 20), mismatch=Mismatch(1.0, 2.0, 10.0))
    figure = plot.signal_chain(volume, model, Detector(), 3, tilt=1)
    drawn = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    assert len(drawn) == 6
    np.testing.assert_allclose(drawn[3], model(volume)[1], atol=1e-5)
    np.testing.assert_allclose(drawn[4], Detector().expose(model(volume)[1:], 3)[0], atol=1e-5)
    np.testing.assert_allclose(drawn[5], (model(volume) - model.with_mismatch(None)(volume))[1], atol=1e-5)
    assert "35° + δ, δ = 1°" in figure.axes[0].get_title()


def test_a_gallery_has_a_row_for_each_scene_and_a_titled_picture_for_each_scenario():
    slice_ = np.random.default_rng(0).random((8, 16))
    fig = plot.gallery({scene: {"truth": slice_, "I: 20.0 dB": slice_} for scene in ("lamella", "vesicles")})
    assert [ax.get_title() for ax in fig.axes] == 2 * ["truth", "I: 20.0 dB"]
    assert [ax.get_ylabel() for ax in fig.axes] == ["lamella", "", "vesicles", ""]
    assert all(ax.get_images()[0].get_clim() == (0, 1) for ax in fig.axes)
