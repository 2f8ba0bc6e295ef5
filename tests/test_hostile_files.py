"""Files by strangers: each attack ends in an error that names it, soon and in little memory, and never in a score.

Every attack begins with a sound file and changes one thing. What looks strange and does no harm is scored as ever.
"""

import faulthandler
import os
import sys
import time
import zlib
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pytest
from h5py import h5d, h5p, h5s, h5t, h5z

from etlab.course.challenge import SubmissionError, load_tier, score_submission, write_submission
from etlab.course.scenes import FileError, Problem, Truth, hdf5
from etlab.course.scenes.problem import digest, write_problem, write_truth
from etlab.course.scenes.published import spec_ranges
from etlab.forward import Mismatch, Optics, TiltSeriesModel
from etlab.geometry import TiltGeometry
from etlab.phantoms import Fiducials

GEOMETRY = TiltGeometry([-60.0, -30.0, 0.0, 30.0, 60.0], (8, 8, 8), n_rows=8)
SHAPE, SCENE = GEOMETRY.volume_shape, "scene_00"
X_HAT, AXIS, ANGLE = (
    f"{SCENE}/{name}" for name in ("x_hat", "corrected_spec/tilt_axis", "corrected_spec/tilt_angle")
)
MAX_SECONDS, MAX_MEMORY = 1.0, 300 << 20
unix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


def write_tiny_tier(path, sealed=None):
    """A tier of one scene of 8³ voxels; with ``sealed``, a dev tier."""
    x_true = np.random.default_rng(0).random(SHAPE, np.float32)
    truth = Truth(x_true, Mismatch(0.25, 0.125, 2.0))
    H = TiltSeriesModel(GEOMETRY, mismatch=truth.mismatch)
    problem = Problem(H(x_true), GEOMETRY, Optics(), Fiducials(4, 2.0), spec_ranges("dev"))
    head = {"version": "1", "tier": "dev" if sealed else "public", "preset": "small"}
    head["key"] = "demo" if sealed else "none"
    with h5py.File(path, "w") as file:
        hdf5.label(file, head | {"format": "etlab challenge"})
        write_problem(file.create_group(SCENE), problem)
        hdf5.label(file[SCENE], {"sha256": digest(problem)})
        if not sealed:
            write_truth(file[SCENE], truth)
    if sealed:
        with h5py.File(sealed, "w") as file:
            hdf5.label(file, head | {"format": "etlab challenge truth"})
            write_truth(file.create_group(SCENE), truth)
            hdf5.label(file[SCENE], {"sha256": digest(problem)})
    return load_tier(path, sealed)


@pytest.fixture(scope="module")
def tier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    made = write_tiny_tier(folder / "dev.h5", folder / "truth.h5")
    score_submission(sound(folder / "warm.h5"), made)  # so that no test has to wait for compilers
    return made


def sound(path):
    """A submission that is worth something, but not much."""
    write_submission(path, {SCENE: (np.full(SHAPE, 0.5, np.float32), Mismatch(0.1, 0.2, 3.0))})
    return path


@pytest.fixture(autouse=True)
def impatient():
    """A reader that never comes back ends the run, and says where it hangs."""
    faulthandler.dump_traceback_later(60, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


class Frugal:
    """Fails if what is done in it takes long or much memory."""

    def __enter__(self):
        self.memory, self.seconds = peak_memory(reset=True), time.process_time()

    def __exit__(self, *_):
        assert time.process_time() - self.seconds < MAX_SECONDS
        assert peak_memory() - self.memory < MAX_MEMORY


def peak_memory(reset=False):
    """Largest resident size in bytes since it was reset; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return 0
    if reset:
        with suppress(OSError):  # then it is the largest since the start
            Path("/proc/self/clear_refs").write_text("5")
    return int(status.read_text().split("VmHWM:")[1].split()[0]) << 10


# ---- attacks that write into a sound submission: (file, path of the truth)

ATTACKS, HARMLESS = {}, {}


def into(table, *names):
    """Enter a function in a table, once for each of the data sets ``names`` if it takes one."""

    def enter(function):
        for name in names or (None,):
            label = function.__name__ + (f"-{name.rsplit('/', 1)[-1]}" if name else "")
            table[label] = (lambda file, secret, n=name: function(file, secret, n)) if name else function
        return function

    return enter


def attack(*names):
    return into(ATTACKS, *names)


def harmless(*names):
    return into(HARMLESS, *names)


def remade(file, name, data=None, **options):
    """``name`` anew, otherwise than it was."""
    del file[name]
    return file.create_dataset(name, data=data, **options)


def low_level(file, name, kind=h5t.IEEE_F32LE, shape=SHAPE, properties=None):
    """``name`` anew, by the library's own functions."""
    del file[name]
    parent, last = name.rsplit("/", 1)
    return h5d.create(file[parent].id, last.encode(), kind, h5s.create_simple(shape), properties)


def shape_of(name):
    return SHAPE if name == X_HAT else ()


def truth_of(name):
    return f"{SCENE}/truth/{name.rsplit('/', 1)[1].replace('x_hat', 'x_true')}"


@attack(X_HAT, AXIS)
def external_link(file, secret, name):
    del file[name]
    file[name] = h5py.ExternalLink(secret, truth_of(name))


@attack()
def external_link_to_the_scene(file, secret):
    del file[SCENE]
    file[SCENE] = h5py.ExternalLink(secret, f"{SCENE}/truth")


@attack()
def external_link_to_the_spec(file, secret):
    del file[f"{SCENE}/corrected_spec"]
    file[f"{SCENE}/corrected_spec"] = h5py.ExternalLink(secret, f"{SCENE}/truth")


@attack(X_HAT, AXIS)
def soft_link(file, secret, name):
    file.move(name, "elsewhere")
    file[name] = h5py.SoftLink("/elsewhere")


@attack(X_HAT, AXIS)
def soft_link_through_an_external_one(file, secret, name):
    del file[name]
    file["outside"] = h5py.ExternalLink(secret, SCENE)
    file[name] = h5py.SoftLink(f"/outside/truth/{truth_of(name).rsplit('/', 1)[1]}")


@attack(X_HAT, AXIS)
def soft_link_to_itself(file, secret, name):
    del file[name]
    file[name] = h5py.SoftLink(f"/{name}")


@attack()
def loop_of_soft_links(file, secret):
    del file[SCENE]
    file[SCENE], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink(f"/{SCENE}")


@attack()
def dangling_link(file, secret):
    del file[SCENE]
    file[SCENE] = h5py.ExternalLink("/nonexistent/file.h5", "/")


@attack(X_HAT, AXIS)
def virtual_data_set(file, secret, name):
    del file[name]
    layout = h5py.VirtualLayout(shape_of(name) or (1,), np.float32)
    layout[...] = h5py.VirtualSource(secret, truth_of(name), shape_of(name) or (1,))
    file.create_virtual_dataset(name, layout)


@attack(X_HAT, AXIS)
def external_storage(file, secret, name):
    shape = shape_of(name) or (1,)
    remade(file, name, shape=shape, dtype="f4", external=[(str(secret), 0, 4 * int(np.prod(shape)))])


@attack(X_HAT, AXIS)
def external_storage_of_a_device(file, secret, name):
    remade(
        file, name, shape=shape_of(name) or (1,), dtype="f4", external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)]
    )


def of_type(label, values):
    def typed(file, secret, name):
        remade(file, name, values(shape_of(name), file))

    typed.__name__ = label
    attack(X_HAT, AXIS)(typed)


def filled(dtype, value=0):
    def values(shape, file):
        array = np.empty(shape, dtype)
        array[...] = value
        return array

    return values


def references(dtype, make):
    return lambda shape, file: filled(dtype, make(file))(shape, file)


for _label, _values in {
    "integers": filled("i4"),
    "unsigned": filled("u1"),
    "booleans": filled(bool),
    "complex": filled("c8"),
    "long double": filled(np.longdouble if np.dtype(np.longdouble).itemsize > 8 else "i8"),
    "bytes": filled("S8", b"0.5"),
    "text": filled(h5py.string_dtype(), "0.5"),
    "compound": filled([("value", "f4")]),
    "opaque": filled("V16", np.void(b"\x80\x04pickled")),
    "enum": filled(h5py.enum_dtype({"zero": 0})),
    "object references": references(h5py.ref_dtype, lambda file: file[SCENE].ref),
    "region references": references(h5py.regionref_dtype, lambda file: file[X_HAT].regionref[:2]),
}.items():
    of_type(_label, _values)


@attack(X_HAT, AXIS)
def variable_length(file, secret, name):
    remade(file, name, shape=shape_of(name), dtype=h5py.vlen_dtype("f4"))


@attack()
def array_type(file, secret):
    remade(file, X_HAT, shape=SHAPE[:2], dtype=np.dtype(("f4", SHAPE[2:])))


@attack()
def float_of_its_own(file, secret):
    kind = h5t.IEEE_F32LE.copy()
    kind.set_fields(31, 20, 11, 0, 20)
    low_level(file, X_HAT, kind).write(h5s.ALL, h5s.ALL, np.zeros(SHAPE, "f4"))


@attack()
def float_in_eight_bytes_of_padding(file, secret):
    kind = h5t.IEEE_F32LE.copy()
    kind.set_size(8)
    low_level(file, X_HAT, kind).write(h5s.ALL, h5s.ALL, np.zeros(SHAPE, "f4"))


def of_value(label, value, dtype="f8"):
    def valued(file, secret, name):
        data = np.zeros(shape_of(name), dtype)
        data.flat[-1] = value
        remade(file, name, data)

    valued.__name__ = label
    attack(X_HAT, AXIS)(valued)


of_value("NaN", np.nan)
of_value("infinite", np.inf)
of_value("minus infinite", -np.inf, "f2")
of_value("beyond float32", 1e300)
of_value("whose square overflows", 3e38, "f4")
of_value("denormal NaN", np.frombuffer(b"\x01\x00\x80\x7f", "<f4")[0], "f4")


@attack()
def wrong_shape(file, secret):
    remade(file, X_HAT, np.zeros((8, 8, 9), "f4"))


@attack()
def more_axes(file, secret):
    remade(file, X_HAT, np.zeros((1, *SHAPE), "f4"))


@attack()
def flat(file, secret):
    remade(file, X_HAT, np.zeros(512, "f4"))


@attack()
def scalar_for_a_volume(file, secret):
    remade(file, X_HAT, np.float32(0.5))


@attack()
def list_for_a_number(file, secret):
    remade(file, AXIS, np.zeros(1))


@attack(X_HAT, AXIS)
def empty(file, secret, name):
    remade(file, name, h5py.Empty("f4"))


@attack(X_HAT, AXIS)
def zero_size(file, secret, name):
    remade(file, name, np.zeros((0, 8, 8), "f4"))


@attack()
def hundred_gigabytes_never_written(file, secret):
    remade(file, X_HAT, shape=(3000, 3000, 3000), dtype="f4")


@attack()
def hundred_gigabytes_in_chunks(file, secret):
    remade(file, X_HAT, shape=(3000, 3000, 3000), dtype="f4", chunks=(8, 8, 8), compression="gzip")


@attack(X_HAT, AXIS)
def never_written(file, secret, name):
    remade(file, name, shape=shape_of(name), dtype="f4", fillvalue=0.5)


@attack()
def never_written_nor_filled(file, secret):
    """What is read then is whatever was in memory."""
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_fill_time(h5d.FILL_TIME_NEVER)
    low_level(file, X_HAT, properties=properties)


@attack()
def chunks_of_which_one_is_missing(file, secret):
    remade(file, X_HAT, shape=SHAPE, dtype="f4", chunks=(4, 8, 8))[:4] = 0.5


@attack()
def chunk_of_gigabytes(file, secret):
    remade(file, X_HAT, shape=SHAPE, dtype="f4", chunks=(8, 8, 2**23), maxshape=(None,) * 3)


@attack()
def chunks_that_are_mostly_padding(file, secret):
    """Each is small enough, but together they unpack to a thousand volumes."""
    remade(file, X_HAT, shape=SHAPE, dtype="f4", chunks=(1, 1024, 2048), maxshape=(None,) * 3)


def packed(file, raw, *, times=1, shuffle_last=False, chunk=SHAPE):
    """A chunk of ``raw`` bytes that gzip has packed ``times`` over, whatever it should hold."""
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_chunk(chunk)
    for _ in range(times):
        properties.set_deflate(9)
        raw = zlib.compress(raw, 9)
    if shuffle_last:
        properties.set_shuffle()
        raw = np.frombuffer(raw.ljust(-(-len(raw) // 4) * 4, b"\0"), "u1").reshape(-1, 4).T.tobytes()
    low_level(file, X_HAT, properties=properties).write_direct_chunk((0, 0, 0), raw)


@attack()
def gzip_bomb(file, secret):
    packed(file, bytes(3 << 20))


@attack()
def gzip_bomb_in_a_large_chunk(file, secret):
    packed(file, bytes(64 << 20))


@attack()
def gzip_in_gzip(file, secret):
    packed(file, bytes(256 << 20), times=2)


@attack()
def shuffled_gzip_bomb(file, secret):
    packed(file, bytes(3 << 20), shuffle_last=True)


@attack()
def chunk_that_unpacks_to_less(file, secret):
    packed(file, bytes(100))


@attack()
def chunk_that_is_no_gzip(file, secret):
    data = remade(file, X_HAT, shape=SHAPE, dtype="f4", chunks=SHAPE, compression="gzip")
    data.id.write_direct_chunk((0, 0, 0), b"not gzip" * 100)


@attack()
def checksum_that_is_wrong(file, secret):
    data = remade(file, X_HAT, shape=SHAPE, dtype="f4", chunks=SHAPE, fletcher32=True)
    data.id.write_direct_chunk((0, 0, 0), bytes(4 * 512) + b"1234")


@attack()
def chunk_shorter_than_its_checksum(file, secret):
    """HDF5 2.0.0 does not survive it."""
    data = remade(file, X_HAT, shape=SHAPE, dtype="f4", chunks=SHAPE, compression="gzip", fletcher32=True)
    data.id.write_direct_chunk((0, 0, 0), b"ab")


def filtered_by(label, **options):
    def filtered(file, secret):
        remade(file, X_HAT, np.zeros(SHAPE, "f4"), **options)

    ATTACKS[f"filter {label}"] = filtered


filtered_by("lzf", compression="lzf")
filtered_by("scale-offset", scaleoffset=3)
if h5z.filter_avail(h5z.FILTER_SZIP):
    filtered_by("szip", compression="szip")


def low_level_filter(label, code, flags=h5z.FLAG_OPTIONAL):
    def filtered(file, secret):
        properties = h5p.create(h5p.DATASET_CREATE)
        properties.set_chunk(SHAPE)
        properties.set_filter(code, flags, (1, 2, 3))
        made = low_level(file, X_HAT, properties=properties)
        made.write_direct_chunk((0, 0, 0), bytes(4 * 512))

    ATTACKS[f"filter {label}"] = filtered


low_level_filter("n-bit", h5z.FILTER_NBIT)
low_level_filter("of a third party", 32015)
low_level_filter("unknown", 511)


@attack(X_HAT, AXIS)
def group_for_a_data_set(file, secret, name):
    del file[name]
    file.create_group(name)


@attack(SCENE, f"{SCENE}/corrected_spec")
def data_set_for_a_group(file, secret, name):
    remade(file, name, 0.5)


@attack(SCENE, X_HAT, AXIS)
def type_for_something_else(file, secret, name):
    del file[name]
    file[name] = np.dtype("f4")


@attack(SCENE, f"{SCENE}/corrected_spec")
def cycle_of_hard_links(file, secret, name):
    del file[name]
    file[name] = file["/"]


@attack(SCENE, X_HAT, f"{SCENE}/corrected_spec", AXIS, ANGLE)
def missing(file, secret, name):
    del file[name]


def with_format(label, value):
    def formatted(file, secret):
        del file.attrs["format"]
        if value is not None:
            file.attrs["format"] = value

    ATTACKS[f"format {label}"] = formatted


with_format("missing", None)
with_format("a number", 1)
with_format("a list", ["etlab submission"] * 3)
with_format("a list of one", ["etlab submission"])
with_format("empty", h5py.Empty("S16"))
with_format("opaque", np.void(b"etlab submission"))
with_format("of variable length", "etlab submission")
with_format("long", np.bytes_(b"x" * 60_000))
with_format("not UTF-8", np.bytes_(b"\xff\xfe\xfd"))
with_format("numbers without end", np.zeros(8000))


@attack()
def format_that_is_a_reference(file, secret):
    file.attrs["format"] = file[SCENE].ref


# ---- what looks strange, and is scored


@harmless()
def thousands_of_other_scenes(file, secret):
    for i in range(3000):
        file.create_group(f"scene_{i + 100}")


@harmless()
def thousands_of_links(file, secret):
    for i in range(3000):
        file[f"{SCENE}/link{i}"] = h5py.ExternalLink(secret, f"{SCENE}/truth")


@harmless()
def groups_in_groups(file, secret):
    here = file[SCENE]
    for _ in range(1000):
        here = here.create_group("a")
    here["b"] = file["/"]


@harmless()
def hard_links(file, secret):
    file["volume"] = file[X_HAT]
    del file[X_HAT]
    file[X_HAT] = file["volume"]
    file[f"{SCENE}/root"] = file["/"]


@harmless()
def named_type(file, secret):
    file["float"] = np.dtype("f4")
    remade(file, X_HAT, file[X_HAT][()], dtype=file["float"])


@harmless()
def attributes_elsewhere(file, secret):
    file[X_HAT].attrs["comment"] = "x" * 60_000
    file[X_HAT].attrs["reference"] = file[SCENE].ref
    for i in range(1000):
        file[SCENE].attrs[f"attribute {i}"] = np.zeros(10)


@harmless()
def compact(file, secret):
    values = file[X_HAT][()]
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_layout(h5d.COMPACT)
    low_level(file, X_HAT, properties=properties).write(h5s.ALL, h5s.ALL, values)


@harmless()
def chunk_larger_than_its_data(file, secret):
    remade(file, X_HAT, file[X_HAT][()], chunks=(8, 512, 512), maxshape=(None,) * 3, compression="gzip")


@harmless()
def one_chunk_each(file, secret):
    remade(file, X_HAT, file[X_HAT][()], chunks=(1, 1, 1), compression="gzip", shuffle=True, fletcher32=True)


# ---- the tests


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(tier, tmp_path, name):
    path = sound(tmp_path / "attack.h5")
    with h5py.File(path, "r+") as file:
        ATTACKS[name](file, tier.sealed)
    with Frugal(), pytest.raises(SubmissionError, match=rf"^{SCENE}: ") as error:
        score_submission(path, tier)
    assert str(error.value).isprintable() and len(str(error.value)) < 500


@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_no_harm_is_scored_as_ever(tier, tmp_path, name):
    path = sound(tmp_path / "strange.h5")
    expected = score_submission(path, tier)
    with h5py.File(path, "r+") as file:
        HARMLESS[name](file, tier.sealed)
    with Frugal():
        assert score_submission(path, tier) == expected


def test_a_user_block_does_no_harm(tier, tmp_path):
    path = sound(tmp_path / "plain.h5")
    with h5py.File(tmp_path / "block.h5", "w", userblock_size=512) as file, h5py.File(path) as source:
        file.attrs.update(source.attrs)
        source.copy(SCENE, file)
    content = bytearray((tmp_path / "block.h5").read_bytes())
    content[:20] = b"#!/bin/sh\nrm -rf /\n\n"
    (tmp_path / "block.h5").write_bytes(content)
    assert score_submission(tmp_path / "block.h5", tier) == score_submission(path, tier)


@pytest.mark.parametrize(
    "content", [b"", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(4096), b"PK\x03\x04" * 500]
)
def test_what_is_no_hdf5_is_refused(tier, tmp_path, content):
    (tmp_path / "a.h5").write_bytes(content)
    with Frugal(), pytest.raises(SubmissionError, match=r"a\.h5: damaged"):
        score_submission(tmp_path / "a.h5", tier)
    with Frugal(), pytest.raises(FileError, match=r"a\.h5: damaged"):
        load_tier(tmp_path / "a.h5")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tier, tmp_path, share):
    path = sound(tmp_path / "a.h5")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with Frugal(), pytest.raises(SubmissionError, match=r"a\.h5: damaged"):
        score_submission(path, tier)


def test_a_folder_is_no_submission(tier, tmp_path):
    with pytest.raises(SubmissionError, match="expected a file"):
        score_submission(tmp_path, tier)
    with pytest.raises(FileError, match="expected a file"):
        load_tier(tmp_path)


@unix
def test_a_pipe_that_nobody_writes_to_keeps_nobody_waiting(tier, tmp_path):
    os.mkfifo(tmp_path / "a.h5")
    with Frugal(), pytest.raises(SubmissionError, match="expected a file"):
        score_submission(tmp_path / "a.h5", tier)
    with Frugal(), pytest.raises(FileError, match="expected a file"):
        load_tier(tmp_path / "a.h5")


@unix
def test_a_device_is_no_submission(tier):
    with Frugal(), pytest.raises(SubmissionError, match="expected a file"):
        score_submission("/dev/zero", tier)


def test_a_format_of_megabytes_is_refused(tier, tmp_path):
    """HDF5 reads an attribute when it is asked how long it is, so only the limit of the file's size limits it."""
    kind = h5t.C_S1.copy()
    kind.set_size(100 << 20)
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        h5py.h5a.create(file.id, b"format", kind, h5s.create(h5s.SCALAR))
    os.truncate(tmp_path / "a.h5", 101 << 20)
    with Frugal(), pytest.raises(SubmissionError, match=r"'format': got 104857600 bytes"):
        score_submission(tmp_path / "a.h5", tier)


@unix
def test_a_link_to_the_truth_is_no_submission(tier, tmp_path):
    (tmp_path / "a.h5").symlink_to(tier.sealed)
    with pytest.raises(SubmissionError, match="got format 'etlab challenge truth'"):
        score_submission(tmp_path / "a.h5", tier)


def test_a_file_of_hundreds_of_gigabytes_is_not_opened(tier, tmp_path):
    path = sound(tmp_path / "a.h5")
    try:
        os.truncate(path, 500 << 30)  # sparse: it takes no space
    except OSError:
        pytest.skip("no file of this size can be made here")
    if path.stat().st_blocks * 512 > 1 << 30:
        pytest.skip("no sparse files here")
    with Frugal(), pytest.raises(SubmissionError, match="got more than 1 GiB"):
        score_submission(path, tier)


# ---- tiers by strangers

ABSURD = [
    ("geometry/volume_shape", [1e6] * 3),
    ("geometry/volume_shape", [1e300] * 3),
    ("geometry/volume_shape", [8, 8, 8.5]),
    ("geometry/volume_shape", [0, 8, 8]),
    ("geometry/volume_shape", [-8, -8, 8]),
    ("geometry/volume_shape", [6, 8, 8]),
    ("geometry/volume_shape", [np.nan, 8, 8]),
    ("geometry/volume_shape", [2048, 2048, 2048]),
    ("geometry/volume_shape", [8, 8]),
    ("geometry/volume_shape", np.array([8, 8, 8])),
    ("geometry/n_rows", 1e9),
    ("geometry/n_rows", 0.0),
    ("geometry/n_rows", 8.5),
    ("geometry/n_rows", [8.0]),
    ("geometry/tilts", [np.nan] * 5),
    ("geometry/tilts", [1e6] * 5),
    ("geometry/tilts", np.zeros(1001)),
    ("geometry/tilts", np.zeros(0)),
    ("geometry/tilts", np.zeros((5, 1))),
    ("geometry/tilts", 0.0),
    ("geometry/tilts", h5py.Empty("f8")),
    ("geometry/voxel", 0.0),
    ("geometry/voxel", -1.0),
    ("geometry/voxel", np.nan),
    ("geometry/voxel", 1e8),
    ("optics/kappa", -1.0),
    ("optics/kappa", 1e6),
    ("optics/kappa", np.inf),
    ("optics/kappa", np.nan),
    ("optics/d0", 1e6),
    ("optics/d0", np.nan),
    ("fiducials/count", 1e8),
    ("fiducials/count", -1.0),
    ("fiducials/count", 2.5),
    ("fiducials/radius", 0.0),
    ("fiducials/radius", 1e8),
    ("fiducials/edge", 0.0),
    ("fiducials/separation", -1.0),
    ("fiducials/border", 1e8),
    ("fiducials/contrast", np.nan),
    *(
        (f"spec_ranges/{name}", ends)
        for name in asdict(Mismatch())
        for ends in (
            [1.0, -1.0],
            [0.5, 0.5],
            [-np.inf, np.inf],
            [np.nan, 1],
            [-1e6, 1e6],
            [0.0, 0.5, 1.0],
            0.0,
        )
    ),
    ("y", np.zeros(GEOMETRY.images_shape, np.float32)),
    ("y", np.full(GEOMETRY.images_shape, 1e-30, np.float32)),
    ("y", np.full(GEOMETRY.images_shape, np.nan, np.float32)),
    ("y", np.full(GEOMETRY.images_shape, 1e30, np.float32)),
    ("y", np.ones((5, 8, 9), np.float32)),
    ("y", np.ones(GEOMETRY.images_shape, int)),
]


def stranger(tmp_path, change):
    """A tier that was changed by hand."""
    path = tmp_path / "stranger.h5"
    write_tiny_tier(path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


@pytest.mark.parametrize(("name", "value"), ABSURD)
def test_an_absurd_problem_is_refused_for_what_is_absurd(tmp_path, name, value):
    path = stranger(tmp_path, lambda file: remade(file, f"{SCENE}/{name}", value))
    submission = sound(tmp_path / "submission.h5")
    with Frugal(), pytest.raises(FileError, match=r"^stranger\.h5: ") as error:
        load_tier(path)[SCENE]
    words = name.replace("volume_shape", "geometry|volume_shape").rsplit("/", 1)[-1].split("|")
    assert any(word in str(error.value) for word in (*words, "geometry"))
    assert "SHA-256" not in str(error.value) and "damaged" not in str(error.value)
    with pytest.raises(FileError):
        score_submission(submission, path)


def without_shape(file):
    remade(file, f"{SCENE}/y", shape=(1000, 10_000, 3000), dtype="f4")


def never_written_images(file):
    remade(file, f"{SCENE}/y", shape=GEOMETRY.images_shape, dtype="f4", fillvalue=1.0)


def scene_elsewhere(file):
    file.move(SCENE, "scene_01")
    file[SCENE] = h5py.SoftLink("/scene_01")


def scene_in_another_file(file):
    del file[SCENE]
    file[SCENE] = h5py.ExternalLink("other.h5", SCENE)


def scene_that_is_a_number(file):
    remade(file, SCENE, 0.5)


def scene_that_is_the_root(file):
    del file[SCENE]
    file[SCENE] = file["/"]


def scenes_without_end(file):
    for i in range(1, 1001):
        file.create_group(f"scene_{i:02d}")


def no_scene(file):
    del file[SCENE]


def scene_with_a_name_of_its_own(file):
    file.create_group("\x1b[31m")


def scene_with_a_long_name(file):
    file.create_group("x" * 60_000)


def no_checksum(file):
    del file[SCENE].attrs["sha256"]


def numbers_for_a_checksum(file):
    file[SCENE].attrs["sha256"] = np.zeros(32)


@pytest.mark.parametrize(
    "change",
    [
        without_shape,
        never_written_images,
        scene_elsewhere,
        scene_in_another_file,
        scene_that_is_a_number,
        scene_that_is_the_root,
        scenes_without_end,
        no_scene,
        scene_with_a_name_of_its_own,
        scene_with_a_long_name,
        no_checksum,
        numbers_for_a_checksum,
    ],
)
def test_a_hostile_tier_is_refused(tmp_path, change):
    path = stranger(tmp_path, change)
    with Frugal(), pytest.raises(FileError, match=r"^stranger\.h5: ") as error:
        load_tier(path)[SCENE]
    assert str(error.value).isprintable() and len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x_true", np.full(SHAPE, np.nan)),
        ("x_true", np.zeros((8, 8, 9))),
        ("tilt_axis", 1e3),
        ("tilt_axis", np.nan),
    ],
)
def test_an_absurd_truth_is_refused(tmp_path, name, value):
    path = stranger(tmp_path, lambda file: remade(file, f"{SCENE}/truth/{name}", value))
    with Frugal(), pytest.raises(FileError, match=f"{name}: got "):
        load_tier(path).truth(SCENE)


def test_the_reader_gives_up_at_the_first_of_too_many_chunks(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", shape=(100, 100, 100), dtype="f4", chunks=(1, 1, 1))
    with Frugal(), hdf5.opened(tmp_path / "a.h5") as file, pytest.raises(FileError, match="got chunks of"):
        hdf5.array(file, "x", (100, 100, 100))
