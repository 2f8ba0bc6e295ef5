"""Fringes that no tilt measures, and fringes that all do: where they lie, who could see them, and who shows them."""

import numpy as np
import pytest
import scipy.fft

from etlab.challenge import hallucination, simulate
from etlab.challenge.hallucination import Cell, code_hash, fringes, load, measure, patch, run, with_patch
from etlab.challenge.simulate import PRESETS
from etlab.forward import TiltSeriesModel
from etlab.geometry import measured_frequencies
from etlab.solvers import METHODS, wbp

STANDARD = PRESETS["standard"]


def share_measured(volume):
    """Of a volume's energy, what lies between the outermost tilts."""
    mask = measured_frequencies(volume.shape[:2], STANDARD.tilts_deg)[:, :, None]
    within = scipy.fft.irfft2(scipy.fft.rfft2(volume, axes=(0, 1)) * mask, volume.shape[:2], axes=(0, 1))
    return np.vdot(within, within) / np.vdot(volume, volume)


def test_fringes_across_z_lie_in_the_missing_wedge_and_those_across_y_outside():
    assert share_measured(fringes(STANDARD.volume_shape, axis=0)) < 1e-4
    assert share_measured(fringes(STANDARD.volume_shape, axis=1)) > 0.9999


def test_with_fringes_the_specimen_stays_between_nothing_and_the_densest():
    volume = np.random.default_rng(0).random((32, 64, 64), np.float32)
    for axis in (0, 1):
        with_fringes = with_patch(volume) + fringes(volume.shape, axis)
        assert with_fringes.min() >= 0 and with_fringes.max() <= 1
    assert patch(volume.shape).max() == pytest.approx(1, abs=0.02)


def test_an_ideal_observer_could_not_find_the_hidden_fringes_and_could_not_miss_the_others():
    sample = simulate("lamella", "standard", 1)
    H = TiltSeriesModel(sample.geometry, optics=sample.optics)
    plain = with_patch(sample.x_true)
    hidden, measured = (
        hallucination.detectability(H, plain, fringes(plain.shape, axis), sample) for axis in (0, 1)
    )
    assert hidden < 1 < 50 < measured


def test_the_share_shown_is_one_for_who_knows_and_nought_for_who_says_the_same_always(monkeypatch):
    truth = simulate("vesicles", "small", 101).x_true
    plain = with_patch(truth)
    answers = iter([plain, plain + fringes(truth.shape, 0), plain + fringes(truth.shape, 1)])
    monkeypatch.setitem(METHODS, "KNOWS", lambda H, y: next(answers))
    monkeypatch.setitem(METHODS, "ALWAYS", lambda H, y: plain)
    shown = {
        cell.method: one
        for cell, one in measure([Cell(m, "vesicles", 101, "small") for m in ("KNOWS", "ALWAYS")])
    }
    assert (shown["KNOWS"].hidden, shown["KNOWS"].measured) == pytest.approx((1, 1))
    assert (shown["ALWAYS"].hidden, shown["ALWAYS"].measured) == (0, 0)


def test_back_projection_shows_the_measured_ones_only():
    ((_, shown),) = measure([Cell("WBP-ET", "lamella", 101, "small")])
    assert abs(shown.hidden) < 0.01 < 0.2 < shown.measured


def test_unknown_methods_are_refused():
    with pytest.raises(ValueError, match=r"methods: got MAGIC.*WBP-ET"):
        hallucination.cells(methods=("MAGIC",))


def test_results_are_kept_and_not_measured_twice(tmp_path, monkeypatch):
    todo = [Cell("WBP-ET", "lamella", 101, "small")]
    calls = []
    monkeypatch.setitem(METHODS, "WBP-ET", lambda H, y: calls.append(1) or wbp(H, y))
    monkeypatch.setattr(hallucination, "provenance", lambda method: {"code": "this"})
    first = run(tmp_path / "r.json", todo, progress=False)
    assert run(tmp_path / "r.json", todo, progress=False) == first
    assert len(calls) == 3


def test_the_committed_results_are_of_this_code_and_nobody_shows_what_nobody_measured():
    provenance, committed = load()
    for method, origin in provenance.items():
        assert origin["code"] == code_hash(method), (
            f"{method}: code or weights changed; run `etlab benchmark hallucination --renew "
            "-o etlab/tables/measured_hallucination.json`"
        )
    assert {cell for cell in hallucination.cells() if cell.method in provenance} == set(committed)
    for cell, shown in committed.items():
        assert shown.detectability_hidden < 1
        assert abs(shown.hidden) < 0.05, cell
        assert shown.measured > 0.3, cell
    ((spot, again),) = measure([Cell("WBP-ET", "lamella", 101)])
    assert again.measured == pytest.approx(committed[spot].measured, abs=2e-3)
    assert again.hidden == pytest.approx(committed[spot].hidden, abs=2e-3)
