"""Tiers as files: what they hold, what they must not, and that the truth is drawn as it is published."""

import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import asdict
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from scipy.stats import kstest

from etlab.course.challenge import Tier, load_tier, make_tier, tiers
from etlab.course.scenes import PUBLIC_SEEDS, FileError, hdf5, keys
from etlab.course.scenes import draw as drawing
from etlab.course.scenes.draw import TIERS, draw
from etlab.course.scenes.problem import SPEC, UNITS, write_problem
from etlab.course.scenes.published import spec_ranges
from etlab.phantoms import SCENES

KEY, OTHER_KEY = b"a key of thirty-two bytes, secret", b"another key, which is secret, too"
SEALED = ("dev", "hidden")
MANY = 2000  # draws without a simulation
unix = pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All three tiers, one scene each."""
    folder = tmp_path_factory.mktemp("tiers")
    return {
        name: make_tier(folder / f"{name}.h5", name, n_scenes=1, preset="small", key=KEY) for name in TIERS
    }


@pytest.fixture
def drawn(monkeypatch):
    """``drawn(tier, i, key)``: family, seed and mismatch of a scene, with nothing simulated."""
    asked = []

    def recorded(family, preset, seed, mismatch):
        asked.append(SimpleNamespace(family=family, seed=seed, mismatch=mismatch))
        return SimpleNamespace(y=None, geometry=None, optics=None, fiducials=None, x_true=None)

    def one(tier, i, key=KEY):
        truth = draw(tier, i, "small", key)[1]
        assert truth.mismatch == asked[-1].mismatch
        return asked[-1]

    monkeypatch.setattr(drawing, "simulate", recorded)
    return one


@pytest.fixture
def quick(monkeypatch, made):
    """Drawing costs nothing: it is always the same problem."""
    pair = made["public"]["scene_00"], made["public"].truth("scene_00")
    monkeypatch.setattr(tiers, "draw", lambda *_: pair)


def everything(path):
    """All data sets of a file by name, and all attributes."""
    arrays, attributes = {}, {}
    with h5py.File(path) as file:
        attributes["/"] = dict(file.attrs)

        def visit(name, item):
            attributes[name] = dict(item.attrs)
            if isinstance(item, h5py.Dataset):
                arrays[name] = item[()]

        file.visititems(visit)
    return arrays, attributes


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# ---- what is in a file


@pytest.mark.parametrize("name", TIERS)
def test_what_is_written_comes_back(made, name):
    tier = load_tier(made[name].path, made[name].sealed)
    problem, truth = draw(name, 0, "small", KEY)
    read, read_truth = tier["scene_00"], tier.truth("scene_00")
    np.testing.assert_array_equal(read.y, problem.y)
    np.testing.assert_array_equal(read.geometry.tilts_deg, problem.geometry.tilts_deg)
    assert read.geometry.volume_shape == problem.geometry.volume_shape
    assert (read.geometry.n_rows, read.geometry.voxel_nm) == (80, 4.0)
    assert (read.optics, read.fiducials) == (problem.optics, problem.fiducials)
    assert read.spec_ranges == problem.spec_ranges == spec_ranges(name)
    np.testing.assert_array_equal(read_truth.x_true, truth.x_true)
    assert read_truth.mismatch == truth.mismatch


@pytest.mark.parametrize("name", TIERS)
def test_a_tier_is_a_mapping_and_says_what_it_is(made, name):
    tier = made[name]
    assert isinstance(tier, Mapping) and isinstance(tier, Tier)
    assert list(tier) == ["scene_00"] and len(tier) == 1 and "scene_00" in tier and "scene_01" not in tier
    with pytest.raises(KeyError):
        tier["scene_01"]
    assert (tier.tier, tier.preset, tier.key) == (name, "small", "none" if name == "public" else "secret")


def test_the_demo_key_is_named_as_what_it_is(tmp_path, quick):
    assert make_tier(tmp_path / "dev.h5", "dev", n_scenes=1, preset="small").key == "demo"
    assert make_tier(tmp_path / "public.h5", n_scenes=1, preset="small").key == "none"


def test_scenes_are_in_the_order_in_which_they_were_drawn(tmp_path, quick, monkeypatch):
    for one in ("write_problem", "write_truth"):
        monkeypatch.setattr(tiers, one, lambda *_: None)
    names = list(make_tier(tmp_path / "public.h5", n_scenes=101, preset="small"))
    assert names == sorted(names, key=lambda name: int(name.removeprefix("scene_")))
    assert names[-1] == "scene_100"


@pytest.mark.parametrize("name", TIERS)
def test_every_data_set_has_the_unit_that_is_published(made, name):
    for path in filter(None, (made[name].path, made[name].sealed)):
        arrays, attributes = everything(path)
        assert arrays
        for one in arrays:
            quantity = one.rsplit("/", 1)[1]
            unit = UNITS[quantity]
            assert unit and attributes[one] == {"units": unit}, one


def test_large_arrays_are_compressed_and_carry_a_checksum(made):
    with h5py.File(made["public"].path) as file:
        for name in ("scene_00/y", "scene_00/truth/x_true"):
            assert file[name].compression == "gzip" and file[name].fletcher32


# ---- what must not be in it


@pytest.mark.parametrize("name", SEALED)
def test_nothing_of_the_truth_is_in_the_problems(made, name):
    tier = made[name]
    truth, content = tier.truth("scene_00"), tier.path.read_bytes()
    arrays, attributes = everything(tier.path)
    assert {one.split("/")[1] for one in arrays} == {"y", "geometry", "optics", "fiducials", "spec_ranges"}
    numbers = np.concatenate([np.ravel(array).astype(float) for array in arrays.values()])
    for value in asdict(truth.mismatch).values():
        assert not np.isclose(numbers, value, rtol=1e-9, atol=0).any()
        assert struct.pack("<d", value) not in content and struct.pack("<f", value) not in content
    assert not any(array.shape == truth.x_true.shape for array in arrays.values())
    assert truth.x_true[16].tobytes() not in content
    assert set(attributes["/"]) == {"format", "version", "tier", "preset", "key"}
    assert set(attributes["scene_00"]) == {"sha256"}


@pytest.mark.parametrize("name", SEALED)
def test_neither_key_nor_seed_is_in_any_file(made, name):
    secrets = [KEY] + [
        seed.to_bytes(32, order)
        for purpose in ("scene", "mismatch")
        for seed in [keys.seed(KEY, f"{name} 0 {purpose}")]
        for order in ("big", "little")
    ]
    for path in (made[name].path, made[name].sealed):
        content = path.read_bytes()
        for secret in secrets:
            assert secret not in content and secret.hex().encode() not in content
            assert str(int.from_bytes(secret)).encode() not in content


@pytest.mark.parametrize("name", SEALED)
def test_the_truth_cannot_be_had_without_the_sealed_file(made, name):
    tier = load_tier(made[name].path)
    assert not tier.has_truth
    with pytest.raises(ValueError, match="sealed"):
        tier.truth("scene_00")
    with h5py.File(made[name].path) as file:
        assert "truth" not in file["scene_00"]


@unix
def test_truth_and_hidden_problems_are_for_their_owner_only(made):
    for name in SEALED:
        assert mode(made[name].sealed) == 0o600
        assert mode(made[name].sealed.parent) == 0o700
        assert made[name].sealed.parent != made[name].path.parent
    assert mode(made["hidden"].path) == 0o600
    assert mode(made["dev"].path) == mode(made["public"].path) == 0o644


@unix
def test_no_umask_opens_the_truth(tmp_path, quick):
    before = os.umask(0)
    try:
        tier = make_tier(tmp_path / "dev.h5", "dev", n_scenes=1, preset="small", key=KEY)
    finally:
        os.umask(before)
    assert (mode(tier.sealed), mode(tier.sealed.parent)) == (0o600, 0o700)


# ---- drawing


@pytest.mark.parametrize("name", SEALED)
def test_another_key_draws_another_scene(made, name):
    """That the same key draws the same again, `test_what_is_written_comes_back` sees."""
    first, other = made[name].truth("scene_00"), draw(name, 0, "small", OTHER_KEY)[1]
    assert not np.array_equal(first.x_true, other.x_true)
    assert all(getattr(first.mismatch, one) != getattr(other.mismatch, one) for one in SPEC)


def test_the_public_tier_is_the_same_with_every_key(drawn):
    for i in range(8):
        assert drawn("public", i, KEY) == drawn("public", i, OTHER_KEY)


@pytest.mark.parametrize("name", TIERS)
def test_the_mismatch_is_uniform_in_the_published_ranges(drawn, name):
    draws = [asdict(drawn(name, i).mismatch) for i in range(MANY)]
    columns = np.array([[one[parameter] for one in draws] for parameter in SPEC])
    for parameter, values in zip(SPEC, columns, strict=True):
        low, high = spec_ranges(name)[parameter]
        assert low <= values.min() and values.max() <= high
        assert kstest(values, "uniform", (low, high - low)).pvalue > 1e-3
    correlated = np.corrcoef(columns) - np.eye(3)
    assert np.abs(correlated).max() < 4 / np.sqrt(MANY)  # one says nothing about another
    following = [np.corrcoef(values[:-1], values[1:])[0, 1] for values in columns]
    assert np.abs(following).max() < 4 / np.sqrt(MANY)  # nor a scene about the next


def test_no_secret_scene_shares_its_seed_with_another_or_with_the_public_ones(drawn):
    seeds = [drawn(name, i, key).seed for name in SEALED for i in range(100) for key in (KEY, OTHER_KEY)]
    public = {drawn("public", i).seed for i in range(100)}
    assert len(set(seeds)) == len(seeds) == 400
    assert min(seeds) > 2**128  # so they cannot be tried one by one
    assert public.isdisjoint(seeds) and set(PUBLIC_SEEDS) <= public
    mismatch_seeds = {keys.seed(KEY, f"{name} {i} mismatch") for name in SEALED for i in range(100)}
    assert mismatch_seeds.isdisjoint(seeds) and len(mismatch_seeds) == 200


def test_scenes_go_round_the_families(drawn):
    assert [drawn("dev", i).family for i in range(2 * len(SCENES))] == 2 * list(SCENES)


# ---- files that are wrong


def relabelled(file, change):
    for name, value in change.items():
        file.attrs[name] = np.bytes_(value) if isinstance(value, str) else value


def altered(tier, tmp_path, change):
    """A copy of a tier's file, changed by hand."""
    path = tmp_path / "altered.h5"
    path.write_bytes(tier.path.read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    return path


@pytest.mark.parametrize("where", ["y", "truth/x_true"])
def test_flipped_bytes_are_noticed(made, tmp_path, where):
    content, tier = bytearray(made["public"].path.read_bytes()), made["public"]
    with h5py.File(tier.path) as file:
        chunk = file[f"scene_00/{where}"].id.get_chunk_info(0)
    content[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    path = tmp_path / "damaged.h5"
    path.write_bytes(content)
    damaged = load_tier(path)
    with pytest.raises(FileError, match=r"damaged\.h5: "):
        damaged["scene_00"] if where == "y" else damaged.truth("scene_00")


def test_changed_numbers_are_noticed(made, tmp_path):
    def change(file):
        file["scene_00/optics/d0"][()] = 5.0  # a sound number, but another one

    with pytest.raises(FileError, match=r"scene_00: .*SHA-256"):
        load_tier(altered(made["public"], tmp_path, change))["scene_00"]


@pytest.mark.parametrize("length", [0, 7, 100, 1000, 0.5, -1])
def test_truncated_files_are_refused(made, tmp_path, length):
    content = made["public"].path.read_bytes()
    path = tmp_path / "short.h5"
    path.write_bytes(content[: int(length * len(content)) if isinstance(length, float) else length])
    with pytest.raises(FileError, match=r"short\.h5"):
        load_tier(path)["scene_00"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": "etlab submission"}, "got format 'etlab submission'"),
        ({"version": "2"}, "version '2'"),
        ({"tier": "secret"}, "tier: got 'secret'"),
        ({"preset": "huge"}, "preset 'huge'"),
        ({"key": "\x1b[31m"}, r"key '\\x1b"),
        ({"version": 1}, "'version': expected a text"),
        ({"version": h5py.Empty("S1")}, "'version': expected a text"),
    ],
)
def test_a_file_that_says_it_is_something_else_is_refused(made, tmp_path, change, complaint):
    with pytest.raises(FileError, match=complaint):
        load_tier(altered(made["public"], tmp_path, lambda file: relabelled(file, change)))


def test_the_truth_of_another_tier_is_refused(made):
    with pytest.raises(FileError, match="belongs to another problem"):
        load_tier(made["dev"].path, made["hidden"].sealed).truth("scene_00")
    with pytest.raises(FileError, match="got format 'etlab challenge'"):
        load_tier(made["dev"].path, made["hidden"].path)
    with pytest.raises(FileError, match="got format 'etlab challenge truth'"):
        load_tier(made["dev"].sealed)


def test_there_is_no_tier_where_there_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_tier(tmp_path / "absent.h5")


# ---- writing


@pytest.mark.parametrize("there", ["public.h5", "sealed/public.h5"])
def test_nothing_is_overwritten_unasked(tmp_path, quick, there):
    (tmp_path / "sealed").mkdir()
    (tmp_path / there).write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="already there"):
        make_tier(tmp_path / "public.h5", "dev", n_scenes=1, preset="small", key=KEY)
    assert (tmp_path / there).read_bytes() == b"precious"
    assert [one.name for one in tmp_path.rglob("*.h5")] == ["public.h5"]
    make_tier(tmp_path / "public.h5", "dev", n_scenes=1, preset="small", key=KEY, overwrite=True)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_writing_leaves_what_was_there_and_nothing_else(tmp_path, quick, monkeypatch, error):
    old = {tmp_path / "dev.h5": b"old problems", tmp_path / "sealed" / "dev.h5": b"old truth"}
    (tmp_path / "sealed").mkdir()
    for path, content in old.items():
        path.write_bytes(content)
    written = []

    def fail(scene, problem):
        written.append(write_problem(scene, problem))
        if len(written) == 2:
            raise error("interrupted")

    monkeypatch.setattr(tiers, "write_problem", fail)
    with pytest.raises(error):
        make_tier(tmp_path / "dev.h5", "dev", n_scenes=3, preset="small", key=KEY, overwrite=True)
    with pytest.raises(error):
        written.clear()
        make_tier(tmp_path / "new.h5", "dev", n_scenes=3, preset="small", key=KEY)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == old


@unix
def test_a_file_is_private_from_its_first_byte_on(tmp_path):
    with hdf5.new_file(tmp_path / "a.h5", private=True):
        assert [mode(path) for path in tmp_path.iterdir()] == [0o600]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"tier": "secret"}, "tier: got 'secret', expected one of public, dev, hidden"),
        ({"preset": "huge"}, "preset: got 'huge'"),
        ({"n_scenes": 0}, "n_scenes: got 0"),
        ({"n_scenes": 1001}, "n_scenes: got 1001"),
        ({"key": b"short"}, "key: got 5 bytes"),
    ],
)
def test_impossible_tiers_are_refused_before_a_file_appears(tmp_path, wrong, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_tier(tmp_path / "a.h5", **{"tier": "dev", "preset": "small"} | wrong)
    assert not list(tmp_path.iterdir())


def test_truth_is_not_sealed_into_the_file_of_the_problems(tmp_path):
    path = tmp_path / "dev.h5"
    with pytest.raises(ValueError, match="expected another file"):
        make_tier(path, "dev", preset="small", key=KEY, sealed=tmp_path / "." / "dev.h5")
    assert not path.exists()


# ---- keys


def test_a_key_file_is_private_random_and_never_overwritten(tmp_path):
    for name in "ab":
        keys.new_key(tmp_path / name)
    a, b = (keys.read_key(tmp_path / name) for name in "ab")
    assert len(a) == len(b) == 32 and a != b
    with pytest.raises(FileExistsError, match="never overwritten"):
        keys.new_key(tmp_path / "a")
    assert keys.read_key(tmp_path / "a") == a


@unix
def test_a_key_file_is_for_its_owner_only(tmp_path):
    before = os.umask(0)
    try:
        keys.new_key(tmp_path / "key")
    finally:
        os.umask(before)
    assert mode(tmp_path / "key") == 0o600


@pytest.mark.parametrize("content", [b"", b"00" * 15, b"zz" * 32, b"0" * 33, b"\xff\xfe" * 32, b"\0" * 64])
def test_what_is_no_key_is_refused(tmp_path, content):
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ValueError, match="expected a key of at least 32 hexadecimal digits"):
        keys.read_key(tmp_path / "key")
