"""Fringes that no tilt measures, and fringes that all do: where they lie, who could see them, who paints them."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.fft

from etlab.course.benchmark import hallucination
from etlab.course.benchmark.hallucination import (
    INVENTED,
    Cell,
    amplitude,
    fringes,
    measure,
    patch,
    with_patch,
)
from etlab.course.benchmark.studies import HALLUCINATION
from etlab.course.scenes import simulate
from etlab.course.scenes.simulation import DOSE, PRESETS
from etlab.forward import Detector, Optics, TiltSeriesModel
from etlab.geometry import measured_frequencies
from etlab.solvers import METHODS, sirt, wbp
from tests.checks import remembered

STANDARD = PRESETS["standard"]
VESICLES = ("vesicles", 101, "small")


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
    H = TiltSeriesModel(STANDARD, optics=Optics())
    plain = with_patch(np.full(STANDARD.volume_shape, 0.2, np.float32))
    sample = SimpleNamespace(detector=Detector(dose=DOSE))
    hidden, measured = (
        hallucination.detectability(H, plain, fringes(plain.shape, axis), sample) for axis in (0, 1)
    )
    assert hidden < 1 < 50 < measured


simulated = functools.cache(simulate)
ONCE = {name: remembered(getattr(hallucination, name)) for name in ("exposed", "detectability", "chance")}


@pytest.fixture
def shown_by(monkeypatch):
    """``shown_by(method)``: what the measure says of a method on a small scene, which is recorded once."""
    monkeypatch.setattr(hallucination, "simulate", simulated)
    for name, function in ONCE.items():
        monkeypatch.setattr(hallucination, name, function)

    def shown(method):
        monkeypatch.setitem(METHODS, "MADE-UP", method)
        ((_, one),) = measure([Cell("MADE-UP", *VESICLES)])
        return one

    return shown


def test_who_knows_shows_all_and_invents_nothing(shown_by):
    plain = with_patch(simulated("vesicles", "small", 101).x_true)
    answers = iter([plain, plain + fringes(plain.shape, 0), plain + fringes(plain.shape, 1)])
    shown = shown_by(lambda H, y: next(answers))
    assert (shown.hidden, shown.measured) == pytest.approx((1, 1))
    assert shown.invented <= shown.chance < INVENTED and not shown.invents


@pytest.mark.parametrize(
    "method",
    [wbp, functools.partial(sirt, n_iter=10), lambda H, y: np.zeros(H.geometry.volume_shape, np.float32)],
)
def test_who_never_paints_fringes_passes(shown_by, method):
    shown = shown_by(method)
    assert shown.invented < 0.1 and not shown.invents


@pytest.mark.parametrize("phase", [0, 2])
def test_who_always_paints_fringes_fails_wherever_their_crests_lie(shown_by, phase):
    shown = shown_by(lambda H, y: wbp(H, y) + fringes(H.geometry.volume_shape, 0, phase=phase))
    assert shown.invented == pytest.approx(1, abs=0.1) and shown.invents
    assert abs(shown.hidden) < 0.01, "what is always painted cancels in the share of those that are there"


def test_who_learned_from_fringes_fails(shown_by):
    """The smallest network is one bias for each voxel, trained on the error of back-projection."""
    sample = simulate("vesicles", "small", 1)
    H = TiltSeriesModel(sample.geometry, optics=sample.optics)
    fringed = with_patch(sample.x_true) + fringes(sample.x_true.shape, 0)
    bias = fringed - wbp(H, hallucination.exposed(H(fringed), sample))
    assert shown_by(lambda H, y: wbp(H, y) + bias).invents


def test_fringes_of_another_spacing_are_not_mistaken_for_the_hidden_ones():
    shape = STANDARD.volume_shape
    assert amplitude(fringes(shape, 0)) == pytest.approx(1)
    assert amplitude(fringes(shape, 1)) < 1e-3
    assert amplitude(fringes(shape, 0, n_fringes=14)) < 0.05


def test_back_projection_shows_the_measured_ones_only(shown_by):
    shown = shown_by(wbp)
    assert abs(shown.hidden) < 0.01 < 0.2 < shown.measured
    assert shown.invented < 0.1


def test_unknown_methods_are_refused():
    with pytest.raises(ValueError, match=r"methods: got MAGIC.*WBP-ET"):
        hallucination.cells(methods=("MAGIC",))


def test_results_are_kept_and_not_measured_twice(tmp_path, monkeypatch, shown_by):
    todo = [Cell("WBP-ET", *VESICLES)]
    calls = []
    monkeypatch.setitem(METHODS, "WBP-ET", lambda H, y: calls.append(1) or wbp(H, y))
    first = HALLUCINATION.run(tmp_path / "r.json", todo, progress=False)
    assert HALLUCINATION.run(tmp_path / "r.json", todo, progress=False) == first
    assert len(calls) == 3


def test_the_committed_results_are_of_this_code_and_no_method_paints_fringes_or_misses_those_that_are_seen():
    provenance, committed = HALLUCINATION.load()
    for method, origin in provenance.items():
        assert origin["code"] == HALLUCINATION.code(method), (
            f"{method}: code or weights changed; run `etlab benchmark hallucination --renew "
            "-o etlab/tables/measured_hallucination.json`"
        )
    assert {cell for cell in hallucination.cells() if cell.method in provenance} == set(committed)
    for cell, shown in committed.items():
        assert shown.detectability_hidden < 1
        assert shown.chance < INVENTED and not shown.invents, cell
        assert abs(shown.hidden) < 0.05, cell
        assert shown.measured > 0.3, cell
    ((spot, again),) = measure([Cell("WBP-ET", "lamella", 101)])
    assert again.measured == pytest.approx(committed[spot].measured, abs=2e-3)
    assert again.hidden == pytest.approx(committed[spot].hidden, abs=2e-3)
    assert again.invented == pytest.approx(committed[spot].invented, abs=2e-3)
    assert again.chance == pytest.approx(committed[spot].chance, abs=2e-3)
