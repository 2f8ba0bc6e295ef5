"""What anyone can check in the published tables."""

import numpy as np
import pytest

from etlab.course.scenes.published import TABLES, published
from etlab.metrics import standard_score

TIERS = ("public", "dev", "hidden")


def blind_cells():
    return [
        {key: row[f"{tier}_{key}"] for key in ("score", "psnr_db", "ssim")}
        for row in published("blind")
        for tier in TIERS
    ]


def implied_consistency(cell, psnr_norm):
    return (cell["score"] - 0.4 * psnr_norm - 0.4 * cell["ssim"]) / 0.2


def test_the_standard_scores_follow_from_psnr_and_ssim():
    rows = published("standard")
    assert len(rows) == 9
    for row in rows:
        assert standard_score(row["psnr_db"], row["ssim"]) == pytest.approx(row["score"], abs=6e-4)


def test_the_overall_blind_scores_are_the_mean_of_the_three_tiers():
    rows = published("blind")
    assert len(rows) == 9
    for row in rows:
        assert np.mean([row[f"{tier}_score"] for tier in TIERS]) == pytest.approx(row["overall"], abs=6e-4)


def test_every_blind_ssim_is_one_function_of_psnr():
    cells = blind_cells()
    assert len(cells) == 27
    for cell in cells:
        assert 1 / (1 + np.exp(-0.2 * (cell["psnr_db"] - 18))) == pytest.approx(cell["ssim"], abs=6e-4)


def test_with_one_normalisation_consistency_would_exceed_one_and_with_another_it_does_not():
    with_15_30 = [implied_consistency(cell, (cell["psnr_db"] - 15) / 30) for cell in blind_cells()]
    with_10_40 = [implied_consistency(cell, (cell["psnr_db"] - 10) / 40) for cell in blind_cells()]
    assert sum(value > 1 for value in with_15_30) == 8
    assert min(with_10_40) > 0.755 and max(with_10_40) < 0.945


def test_in_the_gallery_the_corrected_operator_beats_the_ideal_one_in_every_scene():
    rows = published("gallery")
    assert len(rows) == 4
    assert all(row["III_psnr"] > row["I_psnr"] for row in rows)


def test_both_boards_have_the_same_nine_methods():
    blind = {row["method"].removesuffix(" + gradient") for row in published("blind")}
    standard = {row["method"] for row in published("standard")}
    assert blind == standard


def test_each_spec_range_holds_its_tiers_three_parameters():
    rows = published("spec_ranges")
    assert {(row["tier"], row["parameter"]) for row in rows} == {
        (tier, name) for tier in TIERS for name in ("tilt_angle", "tilt_axis", "defocus_gradient")
    }
    assert all(row["min"] < row["max"] for row in rows)


def test_an_unknown_table_is_refused():
    with pytest.raises(ValueError, match=f"table: got 'hidden', expected one of {TABLES[0]}"):
        published("hidden")
