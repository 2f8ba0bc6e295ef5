"""Thousands of damaged files: each is an answer or an error that is meant for it, and never anything else.

They are read in a process of its own, so that a crash of the HDF5 library, an endless loop or a grab for memory is
noticed; the file that did it is kept. ``ETLAB_FUZZ`` is how many, ``ETLAB_FUZZ_SEED`` which:

    ETLAB_FUZZ=1000000 ETLAB_FUZZ_SEED=1 python -m pytest tests/test_fuzz_submission.py
"""

import faulthandler
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import h5py
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from test_hostile_files import ATTACKS, GEOMETRY, HARMLESS, SCENE, SHAPE, X_HAT, sound, write_tiny_tier

from etlab.course.challenge import SubmissionError, load_tier, score_submission
from etlab.course.challenge.submission import read_answer
from etlab.course.scenes import AnswerError, FileError
from etlab.course.scenes.hdf5 import LARGEST

COUNT, SEED = (
    int(os.environ.get(name, default)) for name, default in (("ETLAB_FUZZ", 1_000), ("ETLAB_FUZZ_SEED", 0))
)
MEMORY = 1 << 30  # bytes that reading may add to the process
SECONDS = 20  # for a single file, on a machine that has much else to do
DEEP = 20  # every so many files are scored, too
NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)


def hang():
    faulthandler.dump_traceback_later(0.5, exit=True)
    time.sleep(60)


FAULTS = {  # what must not happen, and how it is told
    "crash": (faulthandler._sigsegv, "Segmentation fault|access violation"),
    "hang": (hang, "Timeout"),
    "memory": (lambda: np.ones(4 * MEMORY, np.uint8), "MemoryError"),
    "error": (lambda: {}["absent"], "KeyError"),
}


# ---- the tests: each starts this file as a program


def fuzzed(kind, count, folder, seed=SEED):
    """Run the program below on ``count`` files, and return what it counted."""
    print(f"{kind}: seed {seed}, {count} files")
    here = Path(__file__).resolve()
    path = os.pathsep.join([str(here.parent.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, here, kind, str(seed), str(count), str(folder)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600 + count,
    )
    if done.returncode:
        number = (folder / "number").read_text() if (folder / "number").exists() else "none"
        pytest.fail(
            f"{kind}, seed {seed}, file number {number}, kept as {folder / 'input.h5'}: "
            f"exit status {done.returncode}\n{done.stderr[:1500]}\n…\n{done.stderr[-1500:]}"
        )
    counted = json.loads(done.stdout.splitlines()[-1])
    print(counted)
    return counted


def test_damaged_submissions_are_answers_or_errors(tmp_path):
    counted = fuzzed("bytes", COUNT, tmp_path)
    assert counted["files"] == COUNT
    # damage that is always or never noticed at once would test nothing
    assert 0.05 < counted["answers"] / COUNT < 0.8
    assert counted["complaints"] > 15


def test_submissions_of_any_structure_are_answers_or_errors(tmp_path):
    counted = fuzzed("structures", max(COUNT // 20, 100), tmp_path)
    assert counted["answers"] > 0.02 * counted["files"]
    assert counted["complaints"] > 10


def test_damaged_tiers_are_problems_or_errors(tmp_path):
    counted = fuzzed("tiers", max(COUNT // 10, 100), tmp_path)
    assert counted["complaints"] > 15


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_else_happens_is_noticed(tmp_path, fault):
    if fault == "memory" and not sys.platform.startswith("linux"):
        pytest.skip("memory can be limited on Linux only")
    with pytest.raises(pytest.fail.Exception, match="file number 3, kept as") as failure:
        fuzzed(fault, 10, tmp_path)
    failure.match(FAULTS[fault][1])
    assert (tmp_path / "input.h5").stat().st_size > 0


# ---- the program


def main(kind, seed, count, folder):
    """Read ``count`` files; whatever goes wrong ends the process."""
    folder = Path(folder)
    tier = write_tiny_tier(folder / "dev.h5", folder / "truth.h5")
    score_submission(sound(folder / "sound.h5"), tier)
    reader = Reader(folder, tier)
    limit_memory()
    faulthandler.enable()
    if kind == "structures":
        run_structures(reader, int(seed), int(count))
    else:
        run_bytes(reader, kind, int(seed), int(count))
    print(
        json.dumps({"files": reader.files, "answers": reader.answers, "complaints": len(reader.complaints)})
    )


def limit_memory():
    if sys.platform.startswith("linux"):
        import resource

        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))


class Reader:
    """Reads what is at ``path`` and counts what became of it."""

    def __init__(self, folder, tier):
        self.path, self.tier, self.problem = folder / "input.h5", tier, tier[SCENE]
        self.number = (folder / "number").open("w")
        self.files, self.answers, self.complaints = 0, 0, Counter()

    def __call__(self, read):
        self.number.seek(0)
        self.number.write(f"{self.files}")
        self.number.flush()
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            read()
            self.answers += 1
        except (FileError, AnswerError, SubmissionError) as error:
            assert str(error).isprintable() and len(str(error)) < 500
            self.complaints["".join(one for one in str(error) if not one.isdigit())] += 1
        faulthandler.cancel_dump_traceback_later()
        self.files += 1

    def answer(self):
        """Read it as an answer, which then has to be one; now and then, score it."""
        x_hat, spec = read_answer(self.path, SCENE, self.problem)
        assert x_hat.shape == SHAPE and x_hat.dtype == np.float32 and np.abs(x_hat).max() <= LARGEST
        for name, (low, high) in self.problem.spec_ranges.items():
            assert low <= getattr(spec, name) <= high
        if self.files % DEEP == 0:
            score = score_submission(self.path, self.tier).scenes[SCENE]
            assert 0 <= score.score <= 1 and 0 <= score.consistency <= 1

    def problem_in_a_tier(self):
        """Read it as a tier, whose problem then has to be one that can be scored."""
        problem = load_tier(self.path)[SCENE]
        assert np.isfinite(problem.y).all() and problem.geometry.volume_shape == GEOMETRY.volume_shape


def run_bytes(reader, kind, seed, count):
    """Sound files, damaged at random; or, to test the test, one of the things that must not happen."""
    corpus = tiers(reader) if kind == "tiers" else submissions(reader)
    read = reader.problem_in_a_tier if kind == "tiers" else reader.answer
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        reader.path.write_bytes(damaged(corpus, rng))
        reader(FAULTS[kind][0] if number == 3 and kind in FAULTS else read)


# ---- damage to bytes


def submissions(reader):
    """Sound submissions in several layouts, each with the place of its volume, where damage is only another answer."""
    x_hat = np.full(SHAPE, 0.5, np.float32)
    made = []
    for options, libver in (
        ({}, "earliest"),
        ({"chunks": (4, 8, 8), "compression": "gzip", "shuffle": True, "fletcher32": True}, "earliest"),
        ({"chunks": SHAPE, "maxshape": (None, 8, 8), "compression": "gzip"}, "earliest"),
        ({"dtype": "f8"}, "earliest"),
        ({}, "latest"),
        ({"chunks": (4, 8, 8), "compression": "gzip", "fletcher32": True}, "latest"),
    ):
        path = sound(reader.path.with_name("made.h5"))
        with h5py.File(path) as source, h5py.File(reader.path, "w", libver=libver) as file:
            for name in source.attrs:
                file.attrs[name] = source.attrs[name]
            source.copy(f"{SCENE}/corrected_spec", file.create_group(SCENE))
            where = file.create_dataset(X_HAT, data=x_hat, **options).id.get_offset()
        made.append((reader.path.read_bytes(), where and slice(where, where + x_hat.nbytes)))
        path.unlink()
    return made


def tiers(reader):
    write_tiny_tier(reader.path)
    return [(reader.path.read_bytes(), None)]


def damaged(corpus, rng):
    """One of the files, damaged in one to six places."""
    content, volume = corpus[rng.integers(len(corpus))]
    content = bytearray(content)
    for _ in range(rng.integers(1, 7)):
        place = int(rng.integers(len(content)))
        if volume and volume.start <= place < volume.stop and rng.random() < 0.9:
            place = int(rng.integers(volume.start))
        content = DAMAGES[rng.integers(len(DAMAGES))](content, place, rng, corpus)
        if not content:
            break
    return bytes(content)


def another_byte(content, place, rng, _):
    content[place] = rng.integers(256)
    return content


def flipped_bit(content, place, rng, _):
    content[place] ^= 1 << rng.integers(8)
    return content


def one_more_or_less(content, place, rng, _):
    content[place] = (content[place] + rng.choice([-1, 1])) % 256
    return content


def another_number(content, place, rng, _):
    size = int(rng.choice([1, 2, 4, 8]))
    number = NUMBERS[rng.integers(len(NUMBERS))] % (1 << 8 * size)
    place -= place % size  # most numbers in HDF5 are aligned
    content[place : place + size] = number.to_bytes(size, "little")
    return content


def another_address(content, place, rng, _):
    """Eight bytes that point to somewhere in the file: itself, for one."""
    place -= place % 8
    content[place : place + 8] = (int(rng.integers(len(content))) & ~7).to_bytes(8, "little")
    return content


def copied_from_elsewhere(content, place, rng, corpus):
    source = corpus[rng.integers(len(corpus))][0]
    start, size = int(rng.integers(len(source))), int(rng.choice([4, 8, 32, 256]))
    content[place : place + size] = source[start : start + size]
    return content


def left_out(content, place, rng, _):
    del content[place : place + int(rng.choice([1, 8, 64]))]
    return content


def cut_off(content, place, rng, _):
    return content[:place] if rng.random() < 0.2 else content


DAMAGES = (
    *(another_byte, flipped_bit, one_more_or_less, another_number, another_address) * 3,
    copied_from_elsewhere,
    left_out,
    cut_off,
)


# ---- files of any structure


@st.composite
def volumes(draw):
    """How a data set is made, soundly or not."""
    dtype = draw(
        st.sampled_from(["f4", "f4", "f4", ">f4", "f8", "f2", "i4", "c8", "S4", "?", "V8", np.longdouble])
    )
    shape = draw(
        st.one_of(*[st.just(SHAPE)] * 4, st.tuples(), st.lists(st.integers(0, 9), max_size=4).map(tuple))
    )
    options = {"dtype": dtype, "shape": shape}
    if shape and draw(st.booleans()):
        options["chunks"] = tuple(draw(st.integers(1, max(n, 1))) for n in shape)
        options["compression"] = draw(st.sampled_from([None, "gzip", "lzf"]))
        options["shuffle"], options["fletcher32"] = draw(st.booleans()), draw(st.booleans())
        if draw(st.booleans()):
            options["maxshape"] = (None,) * len(shape)
    return options, draw(st.sampled_from([True, True, True, False])), draw(st.floats(width=32))


def write_volume(file, made):
    options, written, value = made
    del file[X_HAT]
    file.create_dataset(X_HAT, **options)
    if written and np.dtype(options["dtype"]).kind in "fi" and file[X_HAT].size:
        with np.errstate(all="ignore"):
            file[X_HAT][...] = np.full(options["shape"], value).astype(options["dtype"])


def run_structures(reader, seed, count):
    """A volume of any kind, and up to three of the attacks of `test_hostile_files`, one upon the other."""
    slow = ("bomb", "gzip_in_gzip", "thousands", "elsewhere", "groups_in_groups")
    changes = {
        name: change for name, change in (ATTACKS | HARMLESS).items() if not any(one in name for one in slow)
    }

    attacks = st.none() | st.lists(st.sampled_from(list(changes)), max_size=3)

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(
        volumes(),
        attacks,
        st.sampled_from(["earliest", "latest"]),
    )
    def run(made, names, libver):
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        reader.path.unlink(missing_ok=True)
        sound(reader.path)
        with h5py.File(reader.path, "r+", libver=libver) as file:
            try:
                write_volume(file, made)
                for name in names or ():
                    changes[name](file, reader.tier.sealed)
            except (ValueError, TypeError, KeyError, OSError, RuntimeError, AttributeError):
                pass  # one attack took away what the next begins with, or HDF5 will not write it
        reader(reader.answer)

    run()


if __name__ == "__main__":
    main(*sys.argv[1:])
