"""Slabs along the tilt axis: the same volume as in memory, whatever the width, and whatever happens on the way."""

import itertools
import json
import multiprocessing
import os
import resource
import shutil
import signal
import threading
import time
import tracemalloc
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tqdm.auto import tqdm

from etlab.alignment import Alignment
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.io import open_series, read_volume, write_mrc
from etlab.phantoms import scene
from etlab.pipeline import Method, Prepared, SlabError, bytes_of, plan_slabs, reconstruct
from etlab.pipeline.assemble import assemble, residual_curve
from etlab.pipeline.folder import Facts, SlabFolder, code_digest
from etlab.pipeline.methods import SOLVERS, TRAITS
from etlab.pipeline.plan import LIBRARIES, READING, Plan, Slab, slab_bytes
from etlab.pipeline.prepare import SPLINE, estimate_alignment, sample, small_enough
from etlab.pipeline.run import Task, executor, make_slabs, wait_for, workers_of
from etlab.pipeline.vacuum import most_frequent
from etlab.projector import Projector

TILTS = linear_tilts(60, 6)
NZ, N_ROWS, NX = 24, 40, 70


@pytest.fixture(scope="module")
def specimen():
    """A volume [z, y, x] and its images; wide enough along x for several slabs."""
    truth = scene("lamella", (NZ, N_ROWS, NX), 1, fiducials=False)
    images = Projector(TiltGeometry(TILTS, truth.shape, N_ROWS))(truth)
    return truth, images + np.random.default_rng(0).normal(0, 0.3, images.shape).astype(np.float32)


@pytest.fixture
def series(tmp_path, specimen):
    """The images as a file, 2 nm a pixel."""
    return saved(tmp_path / "series.mrc", specimen[1])


def saved(path, images, tilts_deg=TILTS):
    write_mrc(path, images, voxel_nm=2.0)
    np.savetxt(path.with_suffix(".tlt"), tilts_deg)
    return Prepared(open_series(path))


def in_memory(images, method, shape=(NZ, N_ROWS), callback=lambda status: None):
    """The same method on the whole series at once."""
    _, n_rows, nx = images.shape
    return method(Projector(TiltGeometry(TILTS, (*shape, nx), n_rows)), images, callback)


def relative(one, other):
    return np.linalg.norm(one - other) / np.linalg.norm(other)


def by_slabs(images, method, folder, width, overlap):
    """A volume from slabs of one width, as `reconstruct` makes it but for the file."""
    plan = Plan((0, images.shape[2]), width, overlap, 2, 0.0)
    planes = []
    with executor(2) as pool, folder.held():
        make_slabs(Task(images, method, overlap, folder, code_digest()), plan.slabs, pool)
        assemble(folder, plan.slabs, lambda z0, block: planes.append(block))
    return np.concatenate(planes)


# The same volume.


@pytest.mark.parametrize("width", [1, 16, 64])
@pytest.mark.parametrize("method", ["wbp", "sirt", "sart", "genfire"])
def test_slabs_of_any_width_make_the_volume_that_memory_makes(series, specimen, tmp_path, method, width):
    options = {} if method == "wbp" else {"n_iter": 3}
    method = Method(method, options)
    folder = SlabFolder(tmp_path / "slabs" / "one", "print", (NZ, N_ROWS))
    volume = by_slabs(series, method, folder, width, method.traits.overlap)
    assert relative(volume, in_memory(specimen[1], method)) < 1e-6


@pytest.mark.parametrize("method", ["dncnn", "isonet", "cryocare", "deeprecon", "unrolled"])
def test_networks_see_the_neighbours_of_a_slab(series, specimen, tmp_path, method):
    pytest.importorskip("onnxruntime")
    method = Method(method, {})
    folder = SlabFolder(tmp_path / "slabs" / "one", "print", (NZ, N_ROWS))
    expected = in_memory(specimen[1], method)
    assert relative(by_slabs(series, method, folder, 32, method.traits.overlap), expected) < 1e-5
    fewer = SlabFolder(tmp_path / "slabs" / "fewer", "print", (NZ, N_ROWS))
    assert relative(by_slabs(series, method, fewer, 32, method.traits.overlap - 1), expected) > 1e-5


def test_overlap_brings_total_variation_near_the_whole(series, specimen, tmp_path):
    method = Method("tv", {"n_iter": 60, "tol": 0.0, "lam": 0.2})
    expected = in_memory(specimen[1], method)
    errors = [
        relative(
            by_slabs(series, method, SlabFolder(tmp_path / "slabs" / str(n), "print", (NZ, N_ROWS)), 32, n),
            expected,
        )
        for n in (0, 6)
    ]
    assert errors[1] < errors[0] / 4


def test_every_solver_has_its_traits():
    assert TRAITS.keys() == SOLVERS.keys()
    assert {name for name, traits in TRAITS.items() if traits.overlap is None} == {"tv", "diffusion"}


def test_residuals_of_slabs_add_up_to_that_of_the_whole(series, specimen, tmp_path):
    expected = []
    method = Method("sirt", {"n_iter": 5})
    in_memory(specimen[1], method, callback=lambda status: expected.append(status.residual))
    folder = SlabFolder(tmp_path / "slabs" / "one", "print", (NZ, N_ROWS))
    slabs = Plan((0, NX), 16, 0, 1, 0.0).slabs
    with executor(1) as pool, folder.held():
        facts = make_slabs(Task(series, method, 0, folder, code_digest()), slabs, pool)
    np.testing.assert_allclose(residual_curve(list(facts.values())), expected, rtol=1e-5)


def test_a_slab_that_stopped_early_keeps_its_last_residual():
    facts = [Facts(3.0, (1.0, 0.5, 0.5)), Facts(4.0, (1.0,))]
    np.testing.assert_allclose(
        residual_curve(facts), [1, np.sqrt((1.5**2 + 16) / 25), np.sqrt((1.5**2 + 16) / 25)]
    )
    assert len(residual_curve([Facts(1.0)])) == 0


# The prepared series.


@pytest.mark.parametrize(("turn", "offset", "spread"), [(0.0, 3.0, 0.0), (-4.0, -2.5, 6.0), (8.0, 0.0, 80.0)])
def test_aligned_columns_are_those_of_the_whole_aligned(series, specimen, turn, offset, spread):
    shifts = np.random.default_rng(1).normal(0, 1, (len(TILTS), 2)) * [2, spread]
    alignment = Alignment(TILTS, shifts, turn, offset, np.zeros(len(TILTS)))
    expected = alignment.apply(specimen[1], smooth=False)
    aligned = replace(series, alignment=alignment)
    for x0, x1 in ((0, 9), (20, 36), (69, 70), (0, NX)):
        np.testing.assert_allclose(aligned.read(x0, x1), expected[:, :, x0:x1], atol=2e-5)
    np.testing.assert_allclose(aligned.whole(), expected, atol=2e-5)


def test_in_bright_field_line_integrals_are_logarithms(tmp_path, specimen):
    """Beer's law undone: what is darker than a thousandth of vacuum, or negative by noise, stays finite."""
    integrals = 3 * specimen[1] / specimen[1].max()
    intensities = 500 * np.exp(-integrals)
    intensities[0, 0, :2] = 0, -4
    dark = replace(saved(tmp_path / "dark.mrc", intensities), background=500.0, bright_field=True)
    integrals[0, 0, :2] = np.log(1000)
    np.testing.assert_allclose(dark.read(0, NX), integrals, atol=1e-5)
    binned = intensities.reshape(len(TILTS), N_ROWS // 2, 2, NX // 2, 2).mean(axis=(2, 4))
    seen = replace(dark, binning=2).read(0, NX // 2)
    np.testing.assert_allclose(seen[1:], -np.log(binned[1:] / 500), atol=1e-5)


def test_few_columns_are_read_for_a_small_turn(series):
    alignment = Alignment(TILTS, np.zeros((len(TILTS), 2)), 3.0, 0.0, np.zeros(len(TILTS)))
    first, stop = replace(series, alignment=alignment).reach(30, 40)
    mixed = np.ceil(np.sin(np.deg2rad(3)) * N_ROWS / 2)
    assert 30 - mixed - SPLINE - 1 <= first <= 30 - mixed
    assert 40 + mixed <= stop <= 40 + mixed + SPLINE + 1


def test_binning_averages_about_the_axis(tmp_path, specimen):
    images = specimen[1]
    binned = replace(saved(tmp_path / "series.mrc", images[:, :38, :69]), binning=4, background=2.0)
    assert binned.shape == (len(TILTS), 9, 17) and binned.pixel_nm == 8.0
    expected = images[:, 1:37, :68].reshape(len(TILTS), 9, 4, 17, 4).mean(axis=(2, 4)) - 2
    np.testing.assert_allclose(binned.read(0, 17), expected, atol=1e-5)
    np.testing.assert_array_equal(binned.read(5, 9), binned.read(0, 17)[:, :, 5:9])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rows": (0, 39), "binning": 2}, "move the tilt axis"),
        ({"rows": (10, 90)}, "rows: got 10:90"),
        ({"binning": 41}, "binning: got 41"),
        ({"binning": 0}, "binning: got 0"),
        ({"bright_field": True}, "background: got 0, expected vacuum's intensity"),
    ],
)
def test_what_cannot_be_prepared_is_said(series, change, says):
    with pytest.raises(ValueError, match=says):
        replace(series, **change)


@pytest.mark.parametrize(("n_rows", "binning"), [(512, 1), (1024, 2), (1025, 3), (1027, 5), (4096, 8)])
def test_an_alignment_is_estimated_from_images_of_512_pixels_about_the_axis(n_rows, binning):
    series = SimpleNamespace(shape=(3, n_rows, 100), tilts_deg=np.zeros(3), pixel_nm=1.0)
    assert small_enough(Prepared(series)).binning == binning
    assert small_enough(Prepared(series, rows=(0, 100))).binning == 1


def test_an_offset_axis_and_chosen_rows_put_a_point_where_it_is(tmp_path):
    """A rod at y = 5, z = -3 from an axis that lies on row 23.5: half-way up rows 4 … 43, or 4 above that of 0 … 39."""
    n_rows, theta, axis = 44, np.deg2rad(TILTS), 23.5
    rows = np.arange(n_rows)[:, None] - axis - (5 * np.cos(theta) - 3 * np.sin(theta))
    images = np.exp(-(rows.T[:, :, None] ** 2) / 4).astype(np.float32).repeat(16, axis=2)
    whole = saved(tmp_path / "rod.mrc", images)
    offset = Alignment(TILTS, np.zeros((len(TILTS), 2)), 0.0, 4.0, np.zeros(len(TILTS)))
    for name, prepared in {
        "rows": replace(whole, rows=(4, 44)),
        "offset": replace(whole, rows=(0, 40), alignment=offset),
    }.items():
        reconstruct(
            prepared, tmp_path / f"{name}.mrc", Method("sirt", {"n_iter": 20}), thickness=21, fsc=False
        )
        volume, _ = read_volume(tmp_path / f"{name}.mrc")
        z, y = np.unravel_index(volume[:, :, 8].argmax(), (21, 40))
        assert (z - 10, y - 19.5) == pytest.approx((-3, 5), abs=0.51), name


def test_vacuum_is_the_most_frequent_intensity(series):
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(-31886, 7, 5000), rng.uniform(-31886, -20000, 7000)])
    assert most_frequent(values) == pytest.approx(-31886, abs=4)
    assert sample(series).shape == (len(TILTS), N_ROWS, 32)


def test_an_alignment_estimated_from_binned_images_is_in_pixels_of_the_images(tmp_path, monkeypatch):
    truth = np.zeros((48, 96, 96), np.float32)
    for z, y, x in np.random.default_rng(2).integers(-12, 12, (30, 3)):
        truth[24 + z - 2 : 24 + z + 3, 48 + y - 2 : 48 + y + 3, 48 + 2 * x - 2 : 48 + 2 * x + 3] = 1
    images = Projector(TiltGeometry(TILTS, truth.shape, 96))(truth)
    moved = np.stack([np.roll(one, t % 5 - 2, axis=0) for t, one in enumerate(images)])
    prepared = saved(tmp_path / "series.mrc", moved)
    expected = estimate_alignment(prepared, n_rounds=0).shifts
    monkeypatch.setattr("etlab.pipeline.prepare.SEEN", 64)
    found = estimate_alignment(prepared, n_rounds=0).shifts
    np.testing.assert_allclose(found - found.mean(axis=0), expected - expected.mean(axis=0), atol=0.3)


# The plan.


class Large:
    """A series of which nothing is read."""

    shape, tilts_deg, pixel_nm = (61, 1024, 1024), linear_tilts(60, 2), 1.0


LARGE = Prepared(Large())


def test_memory_decides_on_width_and_number():
    sirt = Method("sirt", {})
    held = slab_bytes(LARGE, (512, 1024), sirt, 64, 0)
    assert held == 4 * 64 * (512 * 1024 + 2 * 61 * 1024)
    plan = plan_slabs(LARGE, (512, 1024), sirt, memory=4e9, workers=2)
    assert (plan.width, plan.at_once, len(plan.slabs)) == (64, 2, 16)
    assert plan.n_bytes == LIBRARIES + 2 * (READING + held) < 4e9
    narrow = plan_slabs(LARGE, (512, 1024), sirt, memory=LIBRARIES + 2 * (READING + held / 2), workers=2)
    assert (narrow.width, narrow.at_once) == (32, 2)
    fewer = plan_slabs(LARGE, (512, 1024), sirt, memory=LIBRARIES + READING + held / 2, workers=2)
    assert (fewer.width, fewer.at_once) == (32, 1)
    kept = plan_slabs(LARGE, (512, 1024), sirt, memory=LIBRARIES + READING + held, workers=2, width=64)
    assert (kept.width, kept.at_once) == (64, 1)
    processes = plan_slabs(LARGE, (512, 1024), sirt, memory=4e9, workers=8, by="processes")
    assert processes.n_bytes == LIBRARIES + processes.at_once * (
        LIBRARIES + READING + slab_bytes(LARGE, (512, 1024), sirt, processes.width, 0)
    )
    cluster = plan_slabs(
        LARGE, (512, 1024), sirt, memory=LIBRARIES + READING + held, workers=100, by="cluster"
    )
    assert (cluster.width, cluster.at_once) == (64, 16)


def test_every_slice_is_in_one_slab():
    for width, columns in itertools.product((1, 7, 64), ((0, 100), (13, 77))):
        slabs = Plan(columns, width, 2, 1, 0.0).slabs
        assert [x for slab in slabs for x in range(slab.x0, slab.x1)] == list(range(*columns))
        even, odd = Plan(columns, width, 2, 1, 0.0).halves
        assert columns[0] <= even.x0 < even.x1 <= columns[1] and (even.half, odd.half) == ("even", "odd")


def test_too_little_memory_is_said_with_what_is_needed():
    with pytest.raises(
        MemoryError, match=r"sirt in slabs of width 1, 512 × 1024 voxels a slice, needs 0\.55 GB"
    ):
        plan_slabs(LARGE, (512, 1024), Method("sirt", {}), memory=0.5e9, workers=2)
    tv = Method("tv", {})
    with pytest.raises(MemoryError, match=r"tv couples all slices.*overlap"):
        plan_slabs(LARGE, (512, 1024), tv, memory=4e9, workers=2)
    assert plan_slabs(LARGE, (512, 1024), tv, memory=4e9, workers=2, overlap=8).overlap == 8
    assert len(plan_slabs(LARGE, (512, 1024), tv, memory=2e10, workers=2).slabs) == 1


@pytest.mark.parametrize("method", ["wbp", "sirt", "sart", "tv", "genfire"])
def test_a_slab_holds_no_more_than_planned(tmp_path, method):
    shape = (96, 128)
    images = np.random.default_rng(0).random((31, 128, 64), dtype=np.float32)
    prepared = saved(tmp_path / "series.mrc", images, linear_tilts(60, 4))
    method = Method(method, {} if method == "wbp" else {"n_iter": 2})
    folder = SlabFolder(tmp_path / "slabs" / "one", "print", shape)
    task = Task(prepared, method, 0, folder, code_digest())
    folder.path.mkdir(parents=True)
    task(Slab(0, 32))  # what is loaded and compiled once
    tracemalloc.start()
    task(Slab(0, 64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < slab_bytes(prepared, shape, method, 64, 0) + READING / 10


@pytest.mark.parametrize(("text", "n_bytes"), [("4GB", 4e9), ("500 mb", 5e8), ("2GiB", 2**31), ("1e", None)])
def test_sizes_are_read(text, n_bytes):
    if n_bytes is None:
        with pytest.raises(ValueError, match="expected a size such as 4GB"):
            bytes_of(text)
    else:
        assert bytes_of(text) == n_bytes


# Whatever happens.

SIRT = Method("sirt", {"n_iter": 4})


@pytest.fixture
def narrow(monkeypatch):
    """Slabs of 8 slices, so that a small volume has several."""
    monkeypatch.setattr("etlab.pipeline.plan.WIDTHS", (8,))


def volume_of(path):
    return read_volume(path)[0]


def run(series, out, method=SIRT, **options):
    return reconstruct(series, out, method, thickness=NZ, workers=2, **options)


def test_the_file_holds_the_volume_and_nothing_is_left_beside_it(series, specimen, tmp_path, narrow):
    result = run(series, tmp_path / "volume.mrc")
    expected = in_memory(specimen[1], SIRT)
    volume, voxel_nm = read_volume(tmp_path / "volume.mrc")
    assert relative(volume, expected) < 1e-6 and voxel_nm == pytest.approx(2.0)
    np.testing.assert_array_equal(result.sections.x, volume[:, :, NX // 2])
    np.testing.assert_array_equal(result.sections.y, volume[:, N_ROWS // 2])
    np.testing.assert_array_equal(result.sections.z, volume[NZ // 2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["series.mrc", "series.tlt", "volume.mrc"]
    frequencies, correlation = result.fsc
    assert correlation[0] > 0.9 and correlation[-1] < 0.5 and frequencies[-1] == 0.5


def test_chosen_columns_are_those_of_the_whole(series, specimen, tmp_path):
    run(series, tmp_path / "part.mrc", columns=(20, 50), fsc=False)
    np.testing.assert_allclose(
        volume_of(tmp_path / "part.mrc"), in_memory(specimen[1], SIRT)[:, :, 20:50], atol=1e-6
    )


def in_a_child(function, *arguments):
    """Start ``function`` in a forked process: all is loaded and compiled there already."""
    # tqdm's own is shared with the child, and a child that is killed with it keeps it
    tqdm.set_lock(threading.RLock())
    child = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    child.start()
    return child


def test_killed_at_random_and_resumed_the_volume_is_the_same_byte_for_byte(series, tmp_path, narrow):
    started = time.monotonic()
    run(series, tmp_path / "expected.mrc")
    took = time.monotonic() - started
    out, rng, ends, resumed = tmp_path / "volume.mrc", np.random.default_rng(5), [], 0
    while ends.count(-signal.SIGKILL) < 10 or not out.exists():
        assert len(ends) < 200, "no run comes to its end"
        out.unlink(missing_ok=True)  # finished too soon: once more
        child = in_a_child(run, series, out)
        child.join(rng.uniform(0.02, 1.2) * took)
        if child.exitcode is None:
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            resumed += bool(list(tmp_path.glob("volume.mrc.slabs/*/*.f32")))
        ends.append(child.exitcode)
        assert child.exitcode in (0, -signal.SIGKILL)
    assert resumed > 1
    assert out.read_bytes() == (tmp_path / "expected.mrc").read_bytes()
    if child.exitcode == 0:
        assert not list(tmp_path.glob(".volume*")) and not (tmp_path / "volume.mrc.slabs").exists()


def test_finished_slabs_are_not_made_again(series, tmp_path, narrow, monkeypatch):
    out = tmp_path / "volume.mrc"
    with pytest.raises(ZeroDivisionError):
        run(series, out, finish=lambda result: 1 / 0)
    assert not out.exists()
    monkeypatch.setattr(Task, "__call__", lambda *arguments: pytest.fail("a slab was made again"))
    assert n_there_in(series, out) == 11 and out.exists()


def n_there_in(series, out, **options):
    """How many slabs a run finds from earlier ones."""
    there = []
    run(series, out, **options, begin=lambda plan, n_there: there.append(n_there), overwrite=True)
    return there[0]


def stopped_run(series, out, method=SIRT):
    """A run that has all its slabs and no volume."""
    with pytest.raises(ZeroDivisionError):
        run(series, out, method, finish=lambda result: 1 / 0)
    (folder,) = (path for path in out.with_name(out.name + ".slabs").iterdir() if path.is_dir())
    return folder


@pytest.mark.parametrize("damage", ["flipped", "cut", "no facts", "half facts"])
def test_a_damaged_slab_is_made_again(series, specimen, tmp_path, narrow, damage):
    out = tmp_path / "volume.mrc"
    folder = stopped_run(series, out)
    data, about = folder / "000016-000024.f32", folder / "000016-000024.json"
    if damage == "flipped":
        content = bytearray(data.read_bytes())
        content[1000] ^= 1
        data.write_bytes(content)
    elif damage == "cut":
        os.truncate(data, 100)
    elif damage == "no facts":
        about.unlink()
    else:
        about.write_text(about.read_text()[:50])
    assert n_there_in(series, out) == 10
    assert relative(volume_of(out), in_memory(specimen[1], SIRT)) < 1e-6


def test_other_settings_begin_anew_and_leave_the_slabs_of_the_first(series, specimen, tmp_path, narrow):
    out = tmp_path / "volume.mrc"
    first = stopped_run(series, out)
    for other in (
        {"method": Method("sirt", {"n_iter": 5})},
        {"method": Method("sirt", {"n_iter": 4, "nonnegative": False})},
    ):
        assert n_there_in(series, out, **other) == 0
        assert relative(volume_of(out), in_memory(specimen[1], other["method"])) < 1e-6
        assert first.is_dir()
    turned = replace(
        series, alignment=Alignment(TILTS, np.zeros((len(TILTS), 2)), 1.0, 0.0, np.zeros(len(TILTS)))
    )
    for changed in (
        replace(series, background=1.0),
        turned,
        saved(tmp_path / "series.mrc.2", specimen[1] * 2),
    ):
        assert n_there_in(changed, out) == 0
    shutil.rmtree(first.parent)


def test_slabs_with_another_fingerprint_are_not_taken(tmp_path):
    folder = SlabFolder(tmp_path / "slabs" / "one", "print", (2, 3))
    with folder.held():
        folder.save(Slab(0, 4), np.ones((2, 3, 4), np.float32), Facts(1.0, (0.5,)))
    assert folder.facts(Slab(0, 4)).norm == 1.0
    assert replace(folder, fingerprint="another").facts(Slab(0, 4)) is None


def test_less_memory_on_the_second_run_keeps_the_width(series, tmp_path, monkeypatch):
    out = tmp_path / "volume.mrc"
    monkeypatch.setattr("etlab.pipeline.plan.WIDTHS", (16, 8))
    stopped_run(series, out)
    monkeypatch.setattr("etlab.pipeline.plan.WIDTHS", (8,))
    plans = []
    run(series, out, begin=lambda plan, n_there: plans.append((plan.width, n_there)))
    assert plans == [(16, 7)]


def test_two_runs_do_not_work_on_one_volume(series, tmp_path, narrow):
    out = tmp_path / "volume.mrc"

    def second(result):
        with pytest.raises(SlabError, match=f"another run is at work on it .process {os.getpid()}"):
            run(series, out)

    run(series, out, finish=second)
    assert out.exists()


def test_a_full_disk_is_said_and_leaves_no_half_file(series, tmp_path, narrow, monkeypatch):
    out = tmp_path / "volume.mrc"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * NZ * N_ROWS * 8 - 1, before[1]))
    try:
        with pytest.raises(OSError, match="large"):
            run(series, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not out.exists() and not list(tmp_path.glob("*.slabs"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"need \d+ kB more, the disk has 1 kB free"):
        run(series, out)


def test_an_error_in_one_slab_ends_the_run_and_keeps_the_others(series, tmp_path, narrow, monkeypatch):
    read = Prepared.read

    def failing(self, x0, x1):
        if x0 >= 40:
            raise ValueError("NaN in column 40")
        return read(self, x0, x1)

    monkeypatch.setattr(Prepared, "read", failing)
    with pytest.raises(ValueError, match="NaN in column 40"):
        run(series, tmp_path / "volume.mrc")
    assert not (tmp_path / "volume.mrc").exists()
    assert list(tmp_path.glob("volume.mrc.slabs/*/*.f32")) and not list(
        tmp_path.glob("volume.mrc.slabs/*/*.part")
    )


def test_half_sets_that_fail_cost_no_volume(series, specimen, tmp_path, narrow, monkeypatch):
    make_slab = Task.__call__

    def failing(self, slab, *more):
        if slab.half:
            raise ValueError("too few tilts")
        make_slab(self, slab, *more)

    monkeypatch.setattr(Task, "__call__", failing)
    with pytest.warns(UserWarning, match="no correlation of half sets: too few tilts"):
        result = run(series, tmp_path / "volume.mrc")
    assert result.fsc is None
    np.testing.assert_allclose(volume_of(tmp_path / "volume.mrc"), in_memory(specimen[1], SIRT), atol=1e-5)


def interrupted(series, out):
    """What the user sees who interrupts: the process ends by KeyboardInterrupt."""
    # as in a terminal: what a shell runs in the background ignores interrupts, tests too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run(series, out, Method("sirt", {"n_iter": 100_000}))
    except KeyboardInterrupt:
        os._exit(42)


def test_an_interrupt_ends_the_run_within_an_iteration(series, tmp_path):
    child = in_a_child(interrupted, series, tmp_path / "volume.mrc")
    while child.is_alive() and not list(tmp_path.glob("volume.mrc.slabs/*/width.json")):
        time.sleep(0.01)
    time.sleep(0.3)
    os.kill(child.pid, signal.SIGINT)
    child.join(120)
    assert child.exitcode == 42
    assert not list(tmp_path.glob("volume*"))


def test_what_makes_no_sense_is_said_before_any_work(series, tmp_path):
    out = tmp_path / "volume.mrc"
    for error, says, options in (
        (ValueError, "columns: got 60:90", {"columns": (60, 90)}),
        (ValueError, "overlap: got -1", {"overlap": -1}),
        (MemoryError, "memory: got 0.10 GB", {"memory": 1e8}),
    ):
        with pytest.raises(error, match=says):
            run(series, out, **options)
    with pytest.raises(ValueError, match="thickness: got 0"):
        reconstruct(series, out, SIRT, thickness=0)
    with pytest.raises(ValueError, match="expected one of wbp, sirt"):
        Method("fbp", {})
    with pytest.raises(ValueError, match="sirt: no option 'window', expected one of n_iter, nonnegative"):
        Method("sirt", {"window": "hann"})
    out.write_text("mine")
    with pytest.raises(FileExistsError, match="exists"):
        run(series, out)
    assert out.read_text() == "mine" and not list(tmp_path.glob("*.slabs"))


# dask.


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    options = dict(n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=":0")
    with distributed.LocalCluster(**options) as started:
        yield started


def test_a_cluster_says_how_many_it_can_take(cluster):
    assert workers_of(cluster.scheduler_address) == (2, None)


def test_a_worker_killed_in_the_middle_costs_nothing(series, tmp_path, narrow, cluster, monkeypatch):
    run(series, tmp_path / "expected.mrc")
    from distributed import Client

    with Client(cluster.scheduler_address) as client:
        pids = list(client.run(os.getpid).values())
    killed = []
    facts = SlabFolder.facts

    def killing(self, slab):
        found = facts(self, slab)
        if found and not killed and len(list(self.path.glob("*.json"))) >= 3:
            os.kill(pids[0], signal.SIGKILL)
            killed.append(pids[0])
        return found

    monkeypatch.setattr(SlabFolder, "facts", killing)
    out = tmp_path / "volume.mrc"
    reconstruct(series, out, SIRT, thickness=NZ, scheduler=cluster.scheduler_address)
    assert killed and out.read_bytes() == (tmp_path / "expected.mrc").read_bytes()


def test_processes_of_this_machine_make_the_same(series, tmp_path, narrow):
    pytest.importorskip("distributed")
    run(series, tmp_path / "expected.mrc", fsc=False)
    run(series, tmp_path / "volume.mrc", fsc=False, processes=True)
    assert (tmp_path / "volume.mrc").read_bytes() == (tmp_path / "expected.mrc").read_bytes()


def test_a_slab_that_kills_its_workers_is_an_error_in_words():
    class KilledWorker(Exception):
        pass

    for raised, says in (
        (KilledWorker("x"), "want of memory"),
        (CancelledError(), "is its scheduler still there"),
    ):
        future = Future()
        future.set_exception(raised)
        with pytest.raises(SlabError, match=says):
            wait_for(future, Slab(0, 8))


def test_workers_with_another_version_of_the_code_are_refused(series, tmp_path):
    folder = SlabFolder(tmp_path / "slabs" / "one", "print", (NZ, N_ROWS))
    with pytest.raises(SlabError, match="another version"):
        Task(series, SIRT, 0, folder, "other code")(Slab(0, 8))


def test_the_facts_of_a_run_are_plain_json(series, tmp_path, narrow):
    folder = stopped_run(series, tmp_path / "volume.mrc")
    about = json.loads((folder / "000000-000008.json").read_text())
    assert len(about["facts"]["residuals"]) == 4 and about["facts"]["peak_bytes"] > 1e7
