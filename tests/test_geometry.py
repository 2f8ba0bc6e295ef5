import numpy as np
import pytest

from etlab.geometry import (
    TiltGeometry,
    bidirectional_order,
    dose_symmetric_order,
    linear_tilts,
    measured_frequencies,
    saxton_tilts,
)


def test_linear_tilts_span_the_range_in_equal_steps():
    tilts = linear_tilts(70, 2)
    assert tilts.size == 71
    np.testing.assert_allclose(np.diff(tilts), 2)
    assert tilts[0] == -70 and tilts[-1] == 70


@pytest.mark.parametrize(("max_tilt", "step"), [(70, 3), (70, 0), (70, -2), (-1, 1), (np.nan, 1)])
def test_a_step_that_does_not_divide_the_range_is_refused(max_tilt, step):
    with pytest.raises(ValueError, match=r"step|max_tilt"):
        linear_tilts(max_tilt, step)


def test_saxton_steps_shrink_as_the_cosine_and_are_symmetric():
    tilts = saxton_tilts(70, 3)
    np.testing.assert_allclose(tilts, -tilts[::-1])
    positive = tilts[tilts >= 0]
    steps = np.sin(np.deg2rad(np.diff(positive)))
    np.testing.assert_allclose(steps, np.sin(np.deg2rad(3)) * np.cos(np.deg2rad(positive[:-1])))
    assert positive[-1] <= 70 < positive[-1] + 3


def test_dose_symmetric_order_starts_low_and_alternates_in_pairs():
    tilts = linear_tilts(8, 2)
    order = dose_symmetric_order(tilts)
    assert tilts[order].tolist() == [0, 2, -2, -4, 4, 6, -6, -8, 8]


def test_bidirectional_order_goes_up_then_down_from_the_start():
    tilts = linear_tilts(4, 2)
    assert tilts[bidirectional_order(tilts)].tolist() == [0, 2, 4, -2, -4]
    assert tilts[bidirectional_order(tilts, start_deg=-2)].tolist() == [-2, 0, 2, 4, -4]


@pytest.mark.parametrize("tilts", [linear_tilts(60, 3), saxton_tilts(65, 4), np.array([5.0, -20, 30, 1])])
def test_every_order_takes_each_tilt_once(tilts):
    for order in (dose_symmetric_order(tilts), bidirectional_order(tilts)):
        assert sorted(order) == list(range(tilts.size))


def test_geometry_knows_its_shapes_and_defaults_to_as_many_rows_as_the_volume_is_wide():
    geometry = TiltGeometry([0, 10], (4, 6, 8))
    assert geometry.images_shape == (2, 6, 8)
    assert TiltGeometry([0, 10], (4, 6, 8), 11).images_shape == (2, 11, 8)


def test_geometry_keeps_its_own_copy_of_the_tilts():
    tilts = np.array([0.0, 10.0])
    geometry = TiltGeometry(tilts, (4, 4, 4))
    tilts[0] = 99
    assert geometry.tilts_deg[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        geometry.tilts_deg[0] = 5


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (dict(tilts_deg=[], volume_shape=(4, 4, 4)), "tilts_deg.*non-empty"),
        (dict(tilts_deg=[0, np.nan], volume_shape=(4, 4, 4)), "tilts_deg.*NaN"),
        (dict(tilts_deg=[[0, 1]], volume_shape=(4, 4, 4)), r"tilts_deg.*\(1, 2\)"),
        (dict(tilts_deg=["zero"], volume_shape=(4, 4, 4)), "tilts_deg"),
        (dict(tilts_deg=[0], volume_shape=(4, 4)), "volume_shape.*three"),
        (dict(tilts_deg=[0], volume_shape=(4, 0, 4)), "volume_shape.*positive"),
        (dict(tilts_deg=[0], volume_shape=(4, 4, 4), n_rows=-3), "n_rows.*-3"),
        (dict(tilts_deg=[0], volume_shape=(4, 4, 4), voxel_nm=0), "voxel_nm"),
    ],
)
def test_an_impossible_geometry_names_the_argument_and_what_came(arguments, named):
    with pytest.raises(ValueError, match=named):
        TiltGeometry(**arguments)


@pytest.mark.parametrize("tilts", [np.arange(-90, 90, 2), np.arange(0, 180, 2), np.arange(-180, 181, 5)])
def test_half_a_turn_measures_every_direction(tilts):
    assert measured_frequencies((32, 48), tilts).min() == 1


def test_a_direction_counts_the_same_half_a_turn_later():
    """Seen from the other side an image is its mirror: tilts from 120° to 240° are those from −60° to 60°."""
    expected = measured_frequencies((32, 48), np.arange(-60, 61, 2.0))
    assert 0.5 < expected.mean() < 0.8
    for turn in (-180, 180, 360):
        np.testing.assert_array_equal(
            measured_frequencies((32, 48), np.arange(-60, 61, 2.0) + turn), expected
        )


def test_a_range_across_the_vertical_is_the_one_around_it():
    """Tilts from 30° to 150° miss the directions around 0°, where f_z is zero."""
    measured = measured_frequencies((64, 64), np.arange(30, 151, 2.0))
    assert measured[0, 8] == 0 and measured[8, 0] == 1 and measured[-8, 0] == 1
