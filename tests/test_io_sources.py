"""What lies beside the images: which of several sources counts, and what is recorded about the tilt axis."""

import numpy as np
import pytest

from etlab.io import open_series, read_tilts
from etlab.io.angles import on_grid
from etlab.pipeline.describe import describe
from tests.files import make_mrc, make_tiff

TILTS = [-60.0, 0.0, 60.0]
MEASURED = [-59.6, 0.4, 60.1]
IMAGES = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
TITLE = "[T =     Tilt axis angle = {}, binning = 1  spot = 8  camera = 0]\n"


def mdoc(tilts, *, head="", lines=""):
    """SerialEM's text: a paragraph for each image."""
    return f"PixelSpacing = 5\n{head}\n" + "".join(
        f"[ZValue = {n}]\nTiltAngle = {tilt}\n{lines}\n" for n, tilt in enumerate(tilts)
    )


def labels(*texts):
    """Pairs for the header of an MRC file: its number of labels, and the labels."""
    return [(220, "i", len(texts)), *((224 + 80 * n, "80s", text.encode()) for n, text in enumerate(texts))]


@pytest.fixture
def images(tmp_path):
    return make_mrc(tmp_path / "ts.mrc", IMAGES)


# ---- which angles count


def test_measured_angles_come_before_nominal_ones(images, tmp_path):
    (tmp_path / "ts.rawtlt").write_text("-60\n0\n60\n")
    (tmp_path / "ts.mrc.mdoc").write_text(mdoc(MEASURED))
    series = open_series(images)
    assert series.tilts_deg.tolist() == MEASURED
    assert series.tilts_from.endswith("ts.mrc.mdoc")
    assert series.notes == ()  # less than half a degree apart


NOMINAL = {
    "a gap": [-60, -58, -54, -52],
    "two gaps, unsorted": [0, -2, 2, -8, 10],
    "two thirds": [round(n * 2 / 3, 2) for n in range(-90, 91)],
    "two thirds, one decimal": [round(n * 2 / 3, 1) for n in range(-90, 91)],
    "steps of two sizes": [-60, -59, -58, -56, -54],
    "single precision": np.float32([-0.1, 0, 0.1, 0.2, 60.1]),
    "one angle": [0, 0, 0],
}


@pytest.mark.parametrize("name", NOMINAL)
def test_what_was_asked_of_the_stage_is_nominal_and_what_it_did_is_not(name):
    angles = np.array(NOMINAL[name], float)
    assert on_grid(angles)
    if name != "one angle":
        moved = angles + np.random.default_rng(0).normal(0, 0.05, len(angles))
        assert not on_grid(moved) and not on_grid(np.round(moved, 2))


def test_nominal_angles_with_a_gap_give_way_and_are_called_nominal(images, tmp_path):
    (tmp_path / "ts.rawtlt").write_text("-60\n0\n20\n")
    assert "; nominal, from " in str(describe(images))
    (tmp_path / "ts.mdoc").write_text(mdoc([-59.6, 0.4, 20.1]))
    assert open_series(images).tilts_from.endswith("ts.mdoc")
    assert "; nominal" not in str(describe(images))


@pytest.mark.parametrize("name", ["ts.MDOC", "ts.mrc.MDOC", "ts.RAWTLT", "ts.Tlt"])
def test_endings_in_capitals_are_found(images, tmp_path, name):
    (tmp_path / name).write_text(mdoc(MEASURED) if "MDOC" in name else "-59.6\n0.4\n60.1\n")
    assert open_series(images).tilts_deg.tolist() == MEASURED


def test_of_two_measured_lists_the_first_counts_and_refined_angles_always_do(images, tmp_path):
    (tmp_path / "ts.mrc.mdoc").write_text(mdoc(MEASURED))
    (tmp_path / "ts.rawtlt").write_text("-61\n0.5\n60\n")
    assert open_series(images).tilts_deg.tolist() == [-61, 0.5, 60]
    (tmp_path / "ts.tlt").write_text("-60\n0\n60\n")
    assert open_series(images).tilts_deg.tolist() == TILTS


def test_sources_that_contradict_each_other_are_named(images, tmp_path):
    (tmp_path / "ts.tlt").write_text("-60\n0\n60\n")
    (tmp_path / "ts.rawtlt").write_text("60\n0\n-60\n")
    (tmp_path / "ts.mdoc").write_text(mdoc([1, 2]))
    (tmp_path / "ts.mrc.mdoc").write_text(mdoc(["steep"]))
    unreadable, turned, short = open_series(images).notes
    assert "ts.tlt" in turned and "ts.rawtlt" in turned and "differ by up to 120°" in turned
    assert "ts.mdoc gives 2 of them" in short
    assert unreadable.startswith("not used: ") and "ts.mrc.mdoc" in unreadable and "steep" in unreadable


def test_a_number_of_angles_that_fits_another_axis_gives_a_hint(images):
    with pytest.raises(ValueError, match=r"gives 5 angles .* holds 3 images of 4 × 5; .*another order\?"):
        open_series(images, tilts=np.arange(5))


# ---- texts of other editors


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "utf-8"]
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_angles_of_any_editor_are_read(tmp_path, encoding, line_end):
    lines = ["# refined", "", "-60.0", "  0.0 # untilted", "60.0", ""]
    (tmp_path / "a.tlt").write_bytes(line_end.join(lines).encode(encoding))
    assert read_tilts(tmp_path / "a.tlt").tolist() == TILTS
    content = line_end.join(mdoc(TILTS, head=TITLE.format(85.3)).split("\n"))
    (tmp_path / "a.tif.mdoc").write_bytes(content.encode(encoding))
    series = open_series(make_tiff(tmp_path / "a.tif", IMAGES), tilts=tmp_path / "a.tif.mdoc")
    assert series.tilts_deg.tolist() == TILTS
    assert series.pixel_nm == 0.5
    assert series.recorded_axis_deg == 85.3


def test_a_byte_order_mark_of_utf_16_big_endian_is_read(tmp_path):
    (tmp_path / "a.tlt").write_bytes(b"\xfe\xff" + "1\n2\n".encode("utf-16-be"))
    assert read_tilts(tmp_path / "a.tlt").tolist() == [1, 2]


def test_a_typographic_minus_is_one_and_a_decimal_comma_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "a.tlt").write_text("−60\n60\n", encoding="utf-8")
    assert read_tilts(tmp_path / "a.tlt").tolist() == [-60, 60]
    (tmp_path / "a.tlt").write_text("-60,5\n")
    with pytest.raises(ValueError, match=r"line 1: got '-60,5', .*write decimals with a point"):
        read_tilts(tmp_path / "a.tlt")
    (tmp_path / "a.tlt").write_text("1_0\n")
    with pytest.raises(ValueError, match="line 1: got '1_0'"):
        read_tilts(tmp_path / "a.tlt")


# ---- an .mdoc of frames


def test_the_mdoc_of_one_image_is_called_so_and_that_of_several_is_read(tmp_path):
    path = tmp_path / "frames.mdoc"
    path.write_text("T = SerialEM\n\n[FrameSet = 0]\nTiltAngle = -9.99\n")
    with pytest.raises(ValueError, match=r"frames of a single image \(\[FrameSet\]\)"):
        read_tilts(path)
    path.write_text("[FrameSet = 1]\nTiltAngle = 3\n[FrameSet = 0]\nTiltAngle = -9.99\n")
    assert read_tilts(path).tolist() == [-9.99, 3]


# ---- the tilt axis


@pytest.mark.parametrize(
    ("title", "rotation", "expected"),
    [
        ("0.4", 90.4, 0.4),
        ("-88.7", 1.3, -88.7),
        ("8.51e1", None, 85.1),
        ("175.0", None, -5.0),  # the same line
        (None, 174.8, 84.8),  # as in a file that has 84.8 in its title
        (None, 3.34915, -86.65085),
        (None, None, None),
    ],
)
def test_an_mdoc_tells_the_axis_from_the_vertical(images, tmp_path, title, rotation, expected):
    head = "" if title is None else TITLE.format(title)
    lines = "" if rotation is None else f"RotationAngle = {rotation}"
    (tmp_path / "ts.mdoc").write_text(mdoc(TILTS, head=head, lines=lines))
    series = open_series(images)
    assert series.recorded_axis_deg == (None if expected is None else pytest.approx(expected))
    assert (series.recorded_axis_from is None) == (expected is None)


def test_a_label_of_an_mrc_file_tells_the_axis(tmp_path):
    of_serialem = ("SerialEM: Digitized on a microscope", TITLE.format(-12.5)[4:-2])
    path = make_mrc(tmp_path / "ts.st", IMAGES, pairs=labels(*of_serialem, "NEWSTACK: Images copied"))
    series = open_series(path, tilts=TILTS)
    assert series.recorded_axis_deg == -12.5
    assert series.recorded_axis_from == str(path)


@pytest.mark.parametrize("later", ["NEWSTACK: Images copied, transformed", "clip: rotx", "CLIP: flipxy"])
def test_an_axis_recorded_before_the_images_were_turned_does_not_count(tmp_path, later):
    pairs = labels(TITLE.format(-12.5), later)
    assert (
        open_series(make_mrc(tmp_path / "a.st", IMAGES, pairs=pairs), tilts=TILTS).recorded_axis_deg is None
    )


def test_an_axis_recorded_with_raw_images_is_not_that_of_aligned_ones(tmp_path):
    (tmp_path / "ts.mdoc").write_text(mdoc(TILTS, head=TITLE.format(85.3)))
    assert open_series(make_mrc(tmp_path / "ts.ali", IMAGES)).recorded_axis_deg is None
    assert open_series(make_mrc(tmp_path / "ts.st", IMAGES)).recorded_axis_deg == 85.3


def test_an_mdoc_tells_axis_and_pixel_where_the_angles_are_in_another_file(tmp_path):
    (tmp_path / "ts.mdoc").write_text(mdoc(MEASURED, head=TITLE.format(85.3)))
    (tmp_path / "ts.tlt").write_text("-60\n0\n60\n")
    series = open_series(make_tiff(tmp_path / "ts.tif", IMAGES))
    assert (series.recorded_axis_deg, series.pixel_nm) == (85.3, 0.5)
    assert series.tilts_from.endswith("ts.tlt")
