"""Submissions evaluated in the sandbox: honest ones get their score, and those that mean harm none but their own."""

import dataclasses
import functools
import json
import os
import re
import shutil
import socket
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from etlab.course.challenge import evaluate as evaluation
from etlab.course.challenge import make_tier, standings, write_submission
from etlab.course.challenge.handin import HandInError
from etlab.course.challenge.records import Records, without_errors
from etlab.course.sandbox import Outcome, SandboxError, Unsafe, warm
from etlab.course.sandbox.warm import cache_folder
from etlab.course.scenes import score_answer
from etlab.forward import Mismatch
from tests.classroom import (
    IN_SANDBOX,
    LIMITS,
    ZEROS,
    classroom,
    contents,
    descendants,
    forked,
    found_backend,
    lightly,
    score_each_answer_once,
)

SECRET = "a secret of the teacher's"
SHORT = dataclasses.replace(LIMITS, wall_s=2)
SMALL = dataclasses.replace(LIMITS, wall_s=60, memory_mb=400, processes=32)


@pytest.fixture(scope="module")
def backend():
    return found_backend()


@pytest.fixture
def room(tmp_path, tmp_path_factory, monkeypatch):
    score_each_answer_once(monkeypatch)
    return classroom(tmp_path_factory, tmp_path / "course", 2)


@pytest.fixture
def attacks(room, backend, monkeypatch):
    """``attacks({name: files}) -> {name: record}``: what becomes of them on one scene; the host must be unharmed.

    ``how`` is another way than `sandbox.run`, where what is tested is not what the sandbox shows or hides.
    """

    def do(submissions, tier="dev", limits=LIMITS, how=None):
        monkeypatch.setattr(evaluation.sandbox, "run", how or IN_SANDBOX)
        before = contents(room.folder)
        evaluator = room.evaluator(backend, (tier,), limits)
        folders = [
            room.hand_in(
                name, {"solve.py": ZEROS + textwrap.dedent(files)} if isinstance(files, str) else files
            )
            for name, files in submissions.items()
        ]
        with ThreadPoolExecutor(1 if how is forked else 2) as pool:
            records = [record for (record,) in pool.map(evaluator, folders)]
        assert not descendants(), "somebody is still running"
        changed = {Path(path) for path, _ in set(contents(room.folder).items()) ^ set(before.items())}
        own = [folder / name for folder in (room.submissions, room.results) for name in submissions]
        others = {path for path in changed if not any(path.is_relative_to(one) for one in own)}
        assert others <= {room.results, cache_folder(room.results)}
        for name in submissions:
            assert {one.name for one in (room.results / name).iterdir()} == {".lock", tier}
        rows = standings.write(room.results, evaluator.tiers)
        assert all(0 <= row["tiers"][tier]["score"] <= 1 for row in rows) and len(rows) == len(records)
        assert all(one.reason.isprintable() and len(one.reason) <= 300 for one in records)
        return dict(zip(submissions, records, strict=True))

    return do


@pytest.fixture
def attack(attacks):
    """``attack(files or code after ZEROS, ...) -> record``: the same of one."""
    return lambda files, **options: attacks({"eve": files}, **options)["eve"]


def worth(room, tier, scene="scene_00", value=0.0):
    """The score of a volume of one value, computed here."""
    problem = room.tiers[tier][scene]
    x_hat = np.full(problem.geometry.volume_shape, value, np.float32)
    score = score_answer(problem, x_hat, Mismatch(), room.tiers[tier].truth(scene))
    return without_errors(score) if tier == "hidden" else score


def answers(room, tier, value):
    problems = room.tiers[tier]
    return {
        name: (np.full(problem.geometry.volume_shape, value, np.float32), Mismatch())
        for name, problem in problems.items()
    }


def check_that_it_is_worth_no_more_than_zeros(record, room):
    assert record.status == "scored", record.log
    assert record.score == worth(room, record.tier)


# Honest submissions.


def test_code_with_a_module_beside_it_is_scored_on_every_scene(room, backend):
    files = {
        "solve.py": """
            from concurrent.futures import ProcessPoolExecutor
            from parts.helper import volume
            import glob, h5py, os, sys

            def solve(problem):
                for process in glob.glob("/proc/[0-9]*"):
                    print(open(f"{process}/cmdline", "rb").read())
                print(sys.argv, sorted(os.environ.items()), sorted(os.listdir("/")), list(h5py.File("/problem.h5")))
                print([os.path.getsize(path) for path in glob.glob("/submission/*")], os.uname().nodename)
                with ProcessPoolExecutor(2) as pool:
                    return list(pool.map(volume, [problem]))[0]
        """,
        "parts/helper.py": """
            import numpy as np
            def volume(problem):
                return np.full(problem.geometry.volume_shape, 0.1), dict.fromkeys(problem.spec_ranges, 0.0)
        """,
    }
    seen = []
    records = room.evaluator(backend, ("dev", "hidden"))(room.hand_in("ann", files), report=seen.append)
    assert sorted(map(repr, seen)) == sorted(map(repr, records)) and {
        repr(one) for one in Records(room.results).all()
    } == set(map(repr, records))
    assert [(one.tier, one.scene) for one in records] == [("dev", "scene_00"), ("hidden", "scene_00")]
    for one in records:
        assert one.status == "scored", one.log
        assert one.score == worth(room, one.tier, one.scene, 0.1)
        assert one.seconds > 0 and one.cpu_seconds > 0
        assert Records(room.results).path("ann", one.tier, one.scene).with_suffix(".png").is_file()
    logs = {re.sub(r'"uid": \d+', "", one.log) for one in records}
    assert len(logs) == 1, "the program can tell one scene or tier from another"
    assert not re.search("public|dev/|hidden|scene_01", records[0].log), records[0].log


PROGRAM = """\
#!/usr/bin/env python
import sys
import numpy as np
from etlab.course.scenes import hdf5
from etlab.course.challenge import write_submission
from etlab.course.scenes.problem import read_problem

with hdf5.opened(sys.argv[1]) as file:
    (name,) = file
    problem = read_problem(file[name])
volume = np.full(problem.geometry.volume_shape, 0.1, np.float32)
write_submission(sys.argv[2], {name: (volume, dict.fromkeys(problem.spec_ranges, 0.0))})
"""


COPIED = '#!/bin/sh\ncp "$(dirname "$0")/made.h5" "$2"\n'


def test_a_program_that_reads_and_writes_hdf5(attack, room):
    record = attack({"solve": PROGRAM}, how=forked)
    assert record.status == "scored", record.log
    assert record.score == worth(room, "dev", value=0.1)


def test_a_program_that_is_no_python_and_a_umask_that_hides_everything(attack, room, tmp_path, request):
    request.addfinalizer(functools.partial(os.umask, os.umask(0o077)))
    write_submission(tmp_path / "answer.h5", answers(room, "dev", 0.1))
    record = attack({"solve": COPIED, "made.h5": (tmp_path / "answer.h5").read_bytes()})
    assert record.status == "scored", record.log
    assert record.score == worth(room, "dev", value=0.1)


def test_answers_without_code_have_nothing_to_say_to_the_hidden_tier(room, backend, monkeypatch):
    folder = room.hand_in("ann", {})
    folder.mkdir()
    for tier in ("public", "dev", "hidden"):
        write_submission(folder / f"{tier}.h5", answers(room, tier, 0.1))
    monkeypatch.setattr(evaluation.sandbox, "run", forked)
    records = room.evaluator(backend)(folder)
    assert [one.status for one in records] == ["scored", "scored", "scored", "missing"]
    assert [one.score for one in records[:3]] == [
        worth(room, one.tier, one.scene, 0.1) for one in records[:3]
    ]
    assert not (room.results / "ann" / "attempts.json").exists(), "nothing was run on the hidden tier"
    (row,) = standings.write(room.results, room.tiers.values())
    assert row["tiers"]["hidden"]["score"] == 0 and row["tiers"]["hidden"]["scored"] == 0
    assert row["problems"] == ["hidden scene_00: missing: neither code nor answers were handed in"]


def test_a_crash_on_one_scene_costs_that_scene(room, backend, monkeypatch):
    monkeypatch.setattr(evaluation.sandbox, "run", forked)
    first = float(room.tiers["public"]["scene_00"].y.sum())
    code = (
        ZEROS + f"\ndef solve(problem):\n    1 / int(problem.y.sum() != {first!r})\n    return zeros(problem)"
    )
    records = room.evaluator(backend, ("public",))(room.hand_in("ann", code))
    assert [one.status for one in records] == ["failed", "scored"]
    assert records[0].reason == "ZeroDivisionError: division by zero" and "Traceback" in records[0].log
    assert records[0].score.score == 0 and records[1].score == worth(room, "public", "scene_01")
    (row,) = standings.write(room.results, [room.tiers["public"]])
    assert row["tiers"]["public"]["score"] == round(records[1].score.score / 2, 3)


# Stealing.


def test_nothing_of_the_teacher_s_can_be_read_or_written_or_reached(attack, room):
    room.key.unlink()
    room.key.write_text(SECRET)
    kept = [room.key, *room.challenge.rglob("*.h5"), room.submissions / "bob" / "solve.py"]
    places = [room.folder, room.challenge, room.challenge / "sealed", room.submissions, room.results]
    places += [Path("/submission/.."), Path("/proc/1/root/root"), Path("/proc/1/cwd")]
    prefixes = [Path(sys.prefix), Path(sys.base_prefix)]
    python = {part for one in prefixes for folder in (one, one.resolve()) for part in folder.parts}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        record = attack(f"""
            import glob, os, socket, sys, etlab

            def tried(what, do):
                try:
                    print(what, do())
                except OSError:
                    pass

            def solve(problem):
                for path in {[str(path) for path in kept]}:
                    for way in (path, "/proc/1/root" + path, "/proc/self/root" + path, "/submission/../.." + path):
                        tried("READ", lambda: len(open(way, "rb").read()))
                for place in {[str(place) for place in places]}:
                    there = lambda: sorted(set(os.listdir(place)) - set(os.listdir("/")) - {python})
                    tried("LISTED", there)
                print("HELD", [os.readlink(one) for one in glob.glob("/proc/*/fd/*") if os.path.isfile(one)])
                folders = ["/", "/etc", "/usr", "/submission", "/numba", "/opt", "/dev", "/root", "/proc/sys/kernel",
                           "/var", sys.prefix, os.path.dirname(etlab.__file__)]
                for folder in folders + {[str(room.folder), str(room.results)]}:
                    tried("WRITTEN", lambda: open(folder + "/written", "w"))
                for file in ("/problem.h5", "/submission/solve.py", etlab.__file__, sys.executable, {str(room.key)!r}):
                    for do in (os.remove, lambda file: os.chmod(file, 0o777), lambda file: open(file, "r+")):
                        tried("CHANGED", lambda: do(file))
                for host in ("127.0.0.1", "1.1.1.1", "example.org"):
                    address = host, {listening.getsockname()[1]}
                    tried("CONNECTED", lambda: socket.create_connection(address, timeout=2))
                return zeros(problem)
        """)
        with pytest.raises(TimeoutError):
            listening.accept()
    check_that_it_is_worth_no_more_than_zeros(record, room)
    for done in ("READ", "WRITTEN", "CHANGED", "CONNECTED"):
        assert done not in record.log, record.log
    assert "HELD []" in record.log
    listed = [line for line in record.log.splitlines() if line.startswith("LISTED")]
    assert all(line.endswith("[]") for line in listed), listed


def external(file, truth):
    file["scene_00"] = h5py.ExternalLink(truth, "/scene_00")


def soft(file, truth):
    file["other"] = 1
    file["scene_00"] = h5py.SoftLink("/other")


def virtual(file, truth):
    layout = h5py.VirtualLayout((32, 64, 64), "f4")
    layout[:] = h5py.VirtualSource(truth, "/scene_00/truth/x_true", (32, 64, 64))
    file.create_group("scene_00").create_virtual_dataset("x_hat", layout)
    with_spec(file)


def raw(file, truth):
    elsewhere = [(truth, 0, 4 * 32 * 64 * 64)]
    file.create_group("scene_00").create_dataset("x_hat", (32, 64, 64), "f4", external=elsewhere)
    with_spec(file)


def with_spec(file):
    for name in ("tilt_angle", "tilt_axis", "defocus_gradient"):
        file[f"scene_00/corrected_spec/{name}"] = 0.0


WRITTEN = {  # a way to point to the truth in a file, and what is said of it
    external: "got a link to it",
    soft: "got a link to it",
    virtual: "data that lie in another",
    raw: "data that lie in another",
}
PUT = {
    "symlink": 'ln -s "$TRUTH" "$2"',
    "symlink to the problem": 'ln -s "$1" "$2"',
    "pipe": 'mkfifo "$2"',
    "folder": 'mkdir "$2"',
}


def test_answers_that_point_elsewhere(attacks, room, tmp_path):
    """The program is a script of the shell: files are made here, and copied there."""
    truth = str(room.challenge / "sealed" / "dev.h5")
    submissions = {way: {"solve": f"#!/bin/sh\nTRUTH='{truth}'\n{code}\n"} for way, code in PUT.items()}
    for way in WRITTEN:
        with h5py.File(tmp_path / "made.h5", "w") as file:
            file.attrs.update(format=np.bytes_("etlab submission"), version=np.bytes_("1"))
            way(file, truth)
        made = (tmp_path / "made.h5").read_bytes()
        submissions[way.__name__] = {"solve": COPIED, "made.h5": made}
    for way, record in attacks(submissions, how=forked).items():
        assert record.status == "failed" and record.score.score == 0, way
        assert "Error" in record.reason, (way, record.log)
    for way, reason in WRITTEN.items():
        assert reason in Records(room.results).read(way.__name__, "dev", "scene_00").reason, way


# What is left behind in place of an answer.


LEAVE = """
import array, os
n = 32 * 64 * 64
x_hat, spec = array.array("f", bytes(4 * n)), '{"tilt_angle": 0, "tilt_axis": 0, "defocus_gradient": 0}'
def leave(x_hat=x_hat, spec=spec):
    if x_hat is not None: open("x_hat.f32", "wb").write(x_hat)
    if spec is not None: open("spec.json", "wb").write(spec if isinstance(spec, bytes) else spec.encode())
%s
os._exit(0)
"""
LEFT = {
    "nothing": ("", "x_hat: the program left none"),
    "no spec": ("leave(spec=None)", "spec: the program left none"),
    "a link to the truth": (
        "os.symlink(TRUTH, 'x_hat.f32'); leave(None)",
        "x_hat: the program left none",
    ),
    "a pipe": ("os.mkfifo('x_hat.f32'); leave(None)", "x_hat: the program left none"),
    "a spec that is a pipe": ("os.mkfifo('spec.json'); leave(spec=None)", "spec: the program left none"),
    "a folder": ("os.mkdir('x_hat.f32'); leave(None)", "x_hat: the program left none|expected a file"),
    "too little": ("leave(x_hat[1:])", "x_hat: got 524,284 bytes, expected 524,288"),
    "too much": ("leave(x_hat + x_hat[:1])", "x_hat: expected a file of at most 524,288 bytes"),
    "odd bytes": ("open('x_hat.f32', 'wb').write(bytes(n * 4 - 1)); leave(None)", "x_hat: "),
    "NaN": ("x_hat[7] = float('nan'); leave()", "x_hat: got NaN, infinite or huge values"),
    "infinity": ("x_hat[7] = float('-inf'); leave()", "x_hat: got NaN, infinite or huge values"),
    "huge values": ("x_hat[0] = 1e38; leave()", "x_hat: got NaN, infinite or huge values"),
    "an endless file": ("open('big', 'wb').write(bytes(80 << 20)); leave()", None),
}  # fmt: skip
SPECS = {
    "NaN": '{"tilt_angle": NaN, "tilt_axis": 0, "defocus_gradient": 0}',
    "infinity": '{"tilt_angle": -Infinity, "tilt_axis": 0, "defocus_gradient": 0}',
    "text": '{"tilt_angle": "0", "tilt_axis": 0, "defocus_gradient": 0}',
    "truth values": '{"tilt_angle": false, "tilt_axis": 0, "defocus_gradient": 0}',
    "null": '{"tilt_angle": null, "tilt_axis": 0, "defocus_gradient": 0}',
    "out of range": '{"tilt_angle": 90, "tilt_axis": 0, "defocus_gradient": 0}',
    "four thousand digits": '{"tilt_angle": 1%s, "tilt_axis": 0, "defocus_gradient": 0}' % ("0" * 4000),
    "a large exponent": '{"tilt_angle": 1e999, "tilt_axis": 0, "defocus_gradient": 0}',
    "a number more": '{"tilt_angle": 0, "tilt_axis": 0, "defocus_gradient": 0, "score": 1}',
    "a number less": '{"tilt_angle": 0, "tilt_axis": 0}',
    "nesting": "[" * 4000,
    "nesting in it": '{"tilt_angle": %s, "tilt_axis": 0, "defocus_gradient": 0}' % ("[" * 1900 + "]" * 1900),
    "a list": "[0, 0, 0]",
    "a number": "0",
    "nothing": "",
    "too long": " " * 4097,
    "no UTF-8": b'{"tilt_angle": 0, "tilt_axis\xff": 0, "defocus_gradient": 0}',
}  # fmt: skip


def test_what_is_left_behind_instead_of_an_answer(attacks, room):
    begin = f"TRUTH = {str(room.challenge / 'sealed' / 'dev.h5')!r}\n"
    programs = {kind: {"solve.py": begin + LEAVE % code} for kind, (code, _) in LEFT.items()}
    control = {"an answer": {"solve.py": LEAVE % "leave()"}}
    specs = {
        f"spec of {kind}": {"solve.py": LEAVE % f"leave(spec={SPECS[kind]!r})"}
        for kind in ("NaN", "four thousand digits")
    }
    records = attacks(programs | control | specs, how=lightly)
    check_that_it_is_worth_no_more_than_zeros(records.pop("an answer"), room)
    assert records.pop("an endless file").status == "output"
    for kind, record in records.items():
        assert record.score.score == 0 and record.status == "wrong answer", kind
        expected = LEFT[kind][1] if kind in LEFT else "corrected_spec: "
        assert re.match(expected, record.reason), (kind, record.reason)


@pytest.mark.parametrize("kind", SPECS)
def test_a_spec_that_is_no_three_numbers_in_their_ranges(room, tmp_path, monkeypatch, kind):
    """Without the sandbox: there are many of them, and what it hands over is plain files."""
    spec = SPECS[kind] if isinstance(SPECS[kind], bytes) else SPECS[kind].encode()

    def leave(command, *, folder, **_):
        (folder / "x_hat.f32").write_bytes(bytes(4 * 32 * 64 * 64))
        (folder / "spec.json").write_bytes(spec)
        return Outcome("done", 0, "", 1.0, 1.0)

    monkeypatch.setattr(evaluation.sandbox, "run", leave)
    (record,) = room.evaluator(Unsafe(), ("dev",))(room.hand_in("ann", ZEROS))
    assert record.status == "wrong answer" and record.score.score == 0
    assert record.reason.startswith(("corrected_spec: ", "spec: expected a file of at most 4,096 bytes"))


# What solve returns and raises.


RETURNED = {
    "nothing": ("None", "TypeError"),
    "the images": ("problem.y, Mismatch()", "got shape"),
    "a volume alone": ("zeros(problem)[0]", "too many values to unpack"),
    "another shape": ("zeros(problem)[0][None], Mismatch()", "got shape"),
    "objects": ("zeros(problem)[0].astype(object), Mismatch()", "got dtype object"),
    "complex numbers": ("zeros(problem)[0] * 1j, Mismatch()", "got dtype complex64"),
    "NaN": ("zeros(problem)[0] * np.nan, Mismatch()", "NaN or infinite"),
    "no spec": ("zeros(problem)[0], None", "corrected_spec: expected a Mismatch"),
    "a spec outside its range": ("zeros(problem)[0], Mismatch(tilt_angle=9)", "expected -"),
    "huge values": ("zeros(problem)[0] + np.float32(1e30), Mismatch()", "x_hat: got NaN, infinite or huge"),
}


def test_what_solve_returns(attacks):
    programs = {kind: f"def solve(problem): return {code}" for kind, (code, _) in RETURNED.items()}
    for kind, record in attacks(programs, how=forked).items():
        assert record.status in ("failed", "wrong answer") and record.score.score == 0, kind
        assert RETURNED[kind][1] in record.reason, (kind, record.log)


RAISED = {
    "exit": ("raise SystemExit(0)", "wrong answer", "x_hat: the program left none"),
    "exit with words": ("raise SystemExit('enough')", "failed", "enough"),
    "interrupt": ("raise KeyboardInterrupt", "failed", "KeyboardInterrupt"),
    "recursion": ("solve(problem)", "failed", "RecursionError"),
    "memory": ("raise MemoryError", "failed", "MemoryError"),
    "commands to a terminal": (
        r"print('\x1b[2J\x1b]0;\u202eowned\x07' * 99); import os; os._exit(3)",
        "failed",
        "owned",
    ),
    "crash": ("import ctypes; ctypes.string_at(0)", "failed", ""),
}


def test_what_solve_raises(attacks):
    programs = {kind: f"def solve(problem): {code}" for kind, (code, *_) in RAISED.items()}
    for kind, record in attacks(programs, how=forked).items():
        _, status, reason = RAISED[kind]
        assert (record.status, record.score.score) == (status, 0), (kind, record.log)
        assert reason in record.reason, (kind, record.log)


FILES = {
    "no UTF-8": ({"solve.py": b"x = '\xff'\n"}, "SyntaxError"),
    "a syntax error": ({"solve.py": b"def solve(problem) return 1"}, "SyntaxError"),
    "no solve": ({"solve.py": b"def solver(problem): pass"}, "AttributeError"),
    "a null byte": ({"solve.py": b"x = 1\0"}, "null byte"),
    "an empty program": ({"solve": b""}, "Exec format error"),
    "a damaged program": ({"solve": b"\x7fELF nonsense"}, "Exec format error"),
    "a program for nobody": ({"solve": b"#!/no/such/program\n"}, "FileNotFoundError"),
    "a program that fails": ({"solve": b"#!/bin/sh\nexit 3\n"}, "non-zero exit status 3"),
}


def test_files_that_are_no_program(attacks):
    for kind, record in attacks({kind: files for kind, (files, _) in FILES.items()}, how=forked).items():
        # The reason is cut, and paths outside the sandbox are long.
        assert record.status == "failed" and FILES[kind][1] in record.reason + record.log, (kind, record.log)


# Cheating from within.


CHEATS = {
    "other scores": """
        import etlab.course.scenes.scoring as scoring, etlab.course.scenes.problem as problems, etlab.metrics
        from etlab.course.challenge import run_scene, submission, tiers, evaluate, records

        perfect = scoring.Score(1.0, 99.0, 1.0, 1.0, 0.0, 0.0, 0.0)
        for module in (scoring, submission, evaluate, problems, etlab.metrics, records):
            for name in ("score_answer", "read_problem", "psnr", "ssim", "consistency", "blind_score"):
                setattr(module, name, lambda *_, **__: perfect)
        scoring.Score.__init__ = lambda *_: None
    """,
    "objects with methods of their own": """
        class Array(np.ndarray):
            def tofile(self, *_): raise SystemExit(0)
            def __array_finalize__(self, _): print("made")
            def __array__(self, *_, **__): return np.ones(self.shape, np.float32)
            __eq__ = __le__ = lambda *_: True

        class Numbers(dict):
            def __getitem__(self, name): return 0.0
            def __eq__(self, other): return True
            def __iter__(self): return iter(("tilt_angle", "tilt_axis", "defocus_gradient"))

        def solve(problem):
            return zeros(problem)[0].view(Array), Numbers(tilt_angle=9, tilt_axis=9, defocus_gradient=9)
    """,
}


def all_at_once(results):
    """Modules that hide real ones, files that look like a score, and processes that stay behind."""
    code = f"""
        import json, os, time
        def solve(problem):
            perfect = dict(score=1.0, psnr_db=99, ssim=1, consistency=1)
            content = json.dumps(dict(submission="eve", tier="dev", scene="scene_00", status="scored", score=perfect))
            names = ("scene_00.json", "score.json", "record.json", "dev/scene_00.json", "leaderboard.json",
                     "eve/dev/scene_00.json", "../leaderboard.json", "{results}/eve/dev/scene_00.json")
            for name in names:
                try:
                    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
                    open(name, "w").write(content)
                except OSError as error:
                    print(error)
            for _ in range(5):
                if not os.fork():
                    os.setsid()
                    if os.fork(): os._exit(0)
                    while True:
                        try:
                            np.ones(32 * 64 * 64, np.float32).tofile("/answer/later.part")
                            os.replace("/answer/later.part", "/answer/later.f32")
                        except OSError: pass
                        time.sleep(0.01)
            return zeros(problem)
    """
    hidden = ("numpy.py", "etlab/__init__.py", "etlab/course/challenge/__init__.py", "h5py.py", "json.py")
    return {"solve.py": ZEROS + textwrap.dedent(code)} | dict.fromkeys(hidden, "raise ImportError('hidden')")


def test_cheats_are_worth_what_they_hand_in(attacks, room):
    for record in attacks(CHEATS, how=forked).values():
        check_that_it_is_worth_no_more_than_zeros(record, room)


def test_cheats_that_the_sandbox_stops(attacks, room):
    record = attacks({"all at once": all_at_once(str(room.results))})["all at once"]
    check_that_it_is_worth_no_more_than_zeros(record, room)


def test_what_is_not_checked_in_there_is_checked_out_here(attacks, room):
    unchecked = """
        import etlab.course.scenes.scoring as scoring
        scoring.checked = lambda name, array, shape: array
        scoring.checked_spec = lambda spec, ranges: spec
        def solve(problem):
            return BOTH
    """
    records = attacks(
        {
            "other shape": unchecked.replace("BOTH", "problem.y[:1], Mismatch()"),
            "other spec": unchecked.replace("BOTH", "zeros(problem)[0], Mismatch(tilt_angle=5)"),
        },
        how=forked,
    )
    reasons = [(record.status, record.reason.split(":")[0]) for record in records.values()]
    assert reasons == [("wrong answer", "x_hat"), ("wrong answer", "corrected_spec")]


# More than there is.


# What else has no end, `tests/test_sandbox.py` tries.
ENDLESS = {
    "talk": ("while True: print('x' * 100000)", SHORT, "wall time"),
    "remember": ("kept = b'x' * (600 << 20); time.sleep(99)", SMALL, "memory"),
    "leave files": (
        "open('/answer/big', 'wb').write(bytes((64 << 20) + 4096)); time.sleep(99)",
        SMALL,
        "output",
    ),
}


@pytest.mark.parametrize("limits", [SHORT, SMALL], ids=["short", "small"])
def test_limits_end_it(attacks, limits):
    programs = {
        kind: {"solve.py": f"import time\n{code}"}
        for kind, (code, one, _) in ENDLESS.items()
        if one is limits
    }
    for kind, record in attacks(programs, limits=limits, how=lightly).items():
        assert record.status == ENDLESS[kind][2] and record.score.score == 0, (kind, record.log)
        assert len(record.log) <= limits.log_kb * 1024 and record.seconds < limits.wall_s + 10


# What is refused as a whole.


def test_a_refused_submission_has_zero_on_every_scene_and_says_why(room, backend):
    folder = room.hand_in("ann", ZEROS)
    (folder / "truth.h5").symlink_to(room.challenge / "sealed" / "dev.h5")
    records = room.evaluator(backend)(folder)
    assert [one.status for one in records] == ["refused"] * 4
    assert {one.reason for one in records} == {
        "truth.h5: expected files and folders that can be read, got a link or something else"
    }
    (row,) = standings.write(room.results, room.tiers.values())
    assert row["overall"] == 0 and len(row["problems"]) == 4
    (folder / "truth.h5").unlink()
    (folder / "solve.py").rename(folder / "main.py")
    assert "expected solve.py" in room.evaluator(backend)(folder)[0].reason, "the new reason, not the old one"


def test_names_that_cannot_be_shown_and_sources_that_are_not_there(room, backend):
    evaluator = room.evaluator(backend)
    with pytest.raises(HandInError, match="name: got one that begins with 'baseline'"):
        evaluator(room.hand_in("baseline CS-ET", ZEROS))
    with pytest.raises(FileNotFoundError, match="ann: expected a folder or a zip, found nothing"):
        evaluator(room.submissions / "ann")
    assert list(room.results.iterdir()) == [cache_folder(room.results)], "nothing is recorded of them"


def test_files_where_every_program_could_read_them_are_refused(room, backend):
    evaluator = room.evaluator(backend)
    inside = Path(sys.prefix) / "results"
    with pytest.raises(SandboxError, match="results lies in a folder of Python"):
        dataclasses.replace(evaluator, results=inside)(room.hand_in("ann", ZEROS))
    with pytest.raises(SandboxError, match="results lies in a folder of Python"):
        dataclasses.replace(evaluator, results=inside).warm()
    with pytest.raises(SandboxError, match=r"etlab lies in a folder of Python"):
        evaluator(Path(evaluation.__file__).parents[2])
    assert not inside.exists()


# Records. Nothing is run here; what a run leaves is put there.


@pytest.fixture
def runs(monkeypatch):
    """The scenes that were run, in their order; every answer is zeros."""
    seen = []

    def leave(command, *, folder, **_):
        seen.append(command)
        (folder / "x_hat.f32").write_bytes(bytes(4 * 32 * 64 * 64))
        (folder / "spec.json").write_text('{"tilt_angle": 0, "tilt_axis": 0, "defocus_gradient": 0}')
        return Outcome("done", 0, "", 1.0, 1.0)

    monkeypatch.setattr(evaluation.sandbox, "run", leave)
    return seen


ALL = {("public", "scene_00"), ("public", "scene_01"), ("dev", "scene_00"), ("hidden", "scene_00")}


def recorded(room):
    return {(one.tier, one.scene) for one in Records(room.results).all()}


def test_what_is_recorded_is_not_run_again_unless_asked_for(room, runs):
    folder, evaluator = room.hand_in("ann", ZEROS), room.evaluator(Unsafe())
    first = evaluator(folder)
    assert recorded(room) == ALL and len(runs) == 4
    assert len({tuple(command) for command in runs}) == 1, "a program is told what it is given"
    assert repr(evaluator(folder)) == repr(first) and len(runs) == 4
    evaluator(folder, renew=True)
    assert len(runs) == 8
    shutil.make_archive(str(room.folder / "ann"), "zip", folder)
    evaluator(room.folder / "ann.zip")
    assert len(runs) == 8, "a zip of the same files is the same submission"


def test_the_scenes_of_all_tiers_are_run_in_a_random_order(room, runs):
    """Or the time since the submission was copied would tell a program which tier it is given."""
    folder, evaluator = room.hand_in("ann", ZEROS), room.evaluator(Unsafe())
    orders = set()
    for _ in range(12):
        order = []
        made = evaluator(
            folder, renew=True, report=lambda one, order=order: order.append((one.tier, one.scene))
        )
        orders.add(tuple(order))
        assert [one.tier for one in made] == ["public", "public", "dev", "hidden"]
    assert len(orders) > 3 and {order[0][0] for order in orders} > {"public"}


def test_a_changed_submission_is_run_again_and_never_mixed_with_the_old_one(room, runs):
    folder, evaluator = room.hand_in("ann", ZEROS), room.evaluator(Unsafe())
    evaluator(folder)
    (folder / "helper.py").touch()

    def stop(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluator(folder, report=stop)
    assert len(recorded(room)) == 1 and len(list(room.results.glob("ann/*/scene_*.png"))) == 1
    evaluator(folder)
    assert recorded(room) == ALL and len(runs) == 8


def test_a_changed_problem_is_run_again_and_no_other(room, runs):
    folder = room.hand_in("ann", ZEROS)
    room.evaluator(Unsafe())(folder)
    path = room.challenge / "dev.h5"
    for one in (path, room.challenge / "sealed" / "dev.h5"):
        one.unlink()
    make_tier(path, "dev", n_scenes=1, preset="small", key=b"another key, which is secret")
    rows = standings.standings(Records(room.results).all(), room.tiers.values())
    assert "dev" not in rows[0]["tiers"], "a record of another problem does not count"
    room.evaluator(Unsafe())(folder)
    assert len(runs) == 5 and recorded(room) == ALL


NO_JSON = (
    "",
    "{",
    "null",
    "[]",
    "{}",
    '{"score": {}}',
    '{"score": 1}',
    "\udcff",
    '{"score": []}',
    "[" * 5000,
)
NO_RECORD = {  # what is changed in a sound one
    "a score of 7": {"score": {"score": 7.0}},
    "a score that its terms do not give": {"score": {"score": 1.0}},
    "a negative score": {"score": {"score": -0.1}},
    "a score that is a text": {"score": {"score": "0.9"}},
    "a score that is true": {"score": {"score": True}},
    "no score": {"score": {"score": None}},
    "a list of scores": {"score": {"score": [1]}},
    "NaN": {"score": {"score": float("nan")}},
    "an SSIM of 2": {"score": {"ssim": 2.0}},
    "a PSNR that is a text": {"score": {"psnr_db": "30"}},
    "an error of 400 digits": {"score": {"tilt_axis_error": 10**400}},
    "a status that there is not": {"status": "perfect"},
    "a status that is a number": {"status": 1},
    "a failure with a score": {"status": "failed"},
    "a reason that is a list": {"reason": ["x"]},
    "a log that is a number": {"log": 1},
    "a log that is nothing": {"log": None},
    "a time that is a text": {"seconds": "1"},
    "a negative time": {"seconds": -1.0},
    "a sum that is a number": {"submission_sha256": 1},
    "a sum that is none": {"problem_sha256": "0" * 63},
    "another submission": {"submission": "bob"},
}


def test_a_damaged_record_is_treated_as_missing(room, runs):
    folder, evaluator = room.hand_in("ann", ZEROS), room.evaluator(Unsafe())
    evaluator(folder)
    path = Records(room.results).path("ann", "dev", "scene_00")
    sound = json.loads(path.read_text())
    damaged = [json.dumps(sound | changed | {"score": sound["score"] | changed.get("score", {})})
               for changed in NO_RECORD.values()]  # fmt: skip
    for content in (*NO_JSON, *damaged):
        path.write_bytes(content.encode(errors="surrogateescape"))
        assert recorded(room) == ALL - {("dev", "scene_00")}, content
        (row,) = standings.write(room.results, room.tiers.values())
        assert row["overall"] is None and "dev" not in row["tiers"]
    evaluator(folder)
    assert len(runs) == 5 and recorded(room) == ALL


def test_only_their_owner_can_read_records(room, runs, request):
    request.addfinalizer(functools.partial(os.umask, os.umask(0)))
    room.evaluator(Unsafe())(room.hand_in("ann", ZEROS))
    for path in (room.results / "ann").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0 or path.name == ".lock", path
    assert (room.results / "ann").stat().st_mode & 0o077 == 0
    assert len(list(room.results.glob("ann/hidden/*"))) == 2


def test_a_folder_of_records_under_another_name_does_not_count_twice(room, runs):
    room.evaluator(Unsafe())(room.hand_in("ann", ZEROS))
    shutil.copytree(room.results / "ann", room.results / "ann (copy)")
    (room.results / "ann" / "dev" / "scene_00.part.json").write_text("{")
    assert recorded(room) == ALL


def test_what_a_killed_evaluator_left_is_cleared_away(room, runs):
    left = room.results / "ann" / ".private" / "submission"
    left.mkdir(parents=True)
    (left / "solve.py").touch()
    room.evaluator(Unsafe())(room.hand_in("ann", ZEROS))
    assert not left.parent.exists()


def test_two_evaluators_do_not_run_the_same_submission_at_once(room, runs):
    folder, evaluator = room.hand_in("ann", ZEROS), room.evaluator(Unsafe())
    both = [threading.Thread(target=evaluator, args=[folder]) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(runs) == 4


def test_a_sandbox_that_fails_is_nobody_s_zero(room, monkeypatch):
    def broken(*_, **__):
        raise SandboxError("no room for a process")

    monkeypatch.setattr(evaluation.sandbox, "run", broken)
    with pytest.raises(SandboxError):
        room.evaluator(Unsafe())(room.hand_in("ann", ZEROS))
    assert Records(room.results).all() == []


# Warming up.


def test_kernels_are_compiled_once_and_what_a_killed_evaluator_left_of_them_is_replaced(room, monkeypatch):
    evaluator, seen = room.evaluator(Unsafe()), []
    cache, older = cache_folder(room.results), room.results / ".numba-0123456789ab"
    cache.rename(older)
    for left in (cache.with_name(f"{cache.name}.part"), room.results / ".numba"):
        left.mkdir()
        (left / "half").touch()

    def compiled(command, *, folder, **_):
        seen.append(command)
        assert not folder.exists() or not any(folder.iterdir())
        (folder / "kernel").mkdir(parents=True, mode=0o700)
        (folder / "kernel" / "a.nbi").touch(mode=0o600)
        return Outcome("done", 0, "", 1.0, 1.0)

    monkeypatch.setattr(evaluation.sandbox, "run", compiled)
    evaluator.warm()
    evaluator.warm()
    assert len(seen) == 1
    assert (cache / "kernel" / "a.nbi").stat().st_mode & 0o044 == 0o044
    assert {path.name for path in room.results.iterdir()} == {cache.name, ".lock"}
    monkeypatch.setattr(warm, "version", lambda _: "9.9.9")
    assert cache_folder(room.results) != cache, "after an upgrade they are compiled anew"


def test_if_etlab_itself_does_not_run_it_is_said(room, monkeypatch):
    (room.folder / "results").mkdir()
    evaluator = dataclasses.replace(room.evaluator(Unsafe()), results=room.folder / "other")
    monkeypatch.setattr(
        evaluation.sandbox,
        "run",
        lambda *_, folder, **__: (folder.mkdir(), Outcome("failed", 1, "no numba", 1.0, 1.0))[1],
    )
    with pytest.raises(SandboxError, match="etlab itself does not run in none: no numba"):
        evaluator.warm()
    assert {path.name for path in evaluator.results.iterdir()} == {".lock"}


# The board.


def test_what_a_program_said_about_hidden_data_is_not_on_the_board(room, monkeypatch):
    outcome = Outcome("failed", 1, "the truth is 42\n", 1.0, 1.0)
    monkeypatch.setattr(evaluation.sandbox, "run", lambda *_, **__: outcome)
    room.evaluator(Unsafe())(room.hand_in("ann", ZEROS))
    (row,) = standings.write(room.results, room.tiers.values())
    assert row["problems"][2:] == [
        "dev scene_00: failed: the truth is 42",
        "hidden: no valid answer to 1 of 1 scenes",
    ]
    board = json.loads((room.results / "leaderboard.json").read_text())
    assert board["rows"] == [row] and not list(room.results.glob("*.part"))


HOW_IT_ENDS = {  # ways in which a program could spell out what it has seen
    "a text": Outcome("failed", 1, "δ is 0.4271\n", 1.0, 1.0),
    "a number": Outcome("failed", 77, "", 1.0, 1.0),
    "a limit": Outcome("memory", None, "", 1.0, 1.0),
    "too few bytes": (b"", b"{}"),
    "a spec": (bytes(4 * 32 * 64 * 64), b'{"tilt_angle": 90.4271, "tilt_axis": 0, "defocus_gradient": 0}'),
}


def test_however_a_program_ends_on_hidden_data_the_board_says_the_same(room, monkeypatch):
    said, evaluator = set(), room.evaluator(Unsafe(), ("hidden",))
    for outcome in HOW_IT_ENDS.values():

        def run(*_, folder, outcome=outcome, **__):
            if isinstance(outcome, Outcome):
                return outcome
            for name, content in zip(("x_hat.f32", "spec.json"), outcome, strict=True):
                (folder / name).write_bytes(content)
            return Outcome("done", 0, "δ is 0.4271", 1.0, 1.0)

        monkeypatch.setattr(evaluation.sandbox, "run", run)
        (record,) = evaluator(room.hand_in("ann", ZEROS), renew=True)
        assert record.reason == "" and record.status != "scored"
        standings.write(room.results, evaluator.tiers)
        said.add(
            (room.results / "leaderboard.json").read_text() + (room.results / "leaderboard.html").read_text()
        )
    assert len(said) == 1 and "4271" not in said.pop()


def test_submissions_do_not_solve_for_the_hidden_spec(room, monkeypatch):
    """n + 1 answers with known differences, and their RMS errors, are n + 1 equations for the truth of n scenes."""
    evaluator, shown = room.evaluator(Unsafe(), ("dev", "hidden")), []
    for angle in (0.1, 0.2, 0.3):

        def run(*_, folder, angle=angle, **__):
            spec = dict(tilt_angle=angle, tilt_axis=0.0, defocus_gradient=0.0)
            (folder / "x_hat.f32").write_bytes(bytes(4 * 32 * 64 * 64))
            (folder / "spec.json").write_text(json.dumps(spec))
            return Outcome("done", 0, "", 1.0, 1.0)

        monkeypatch.setattr(evaluation.sandbox, "run", run)
        records = evaluator(room.hand_in("ann", ZEROS + f"# {angle}"))
        assert [one.status for one in records] == ["scored", "scored"]
        (row,) = standings.write(room.results, evaluator.tiers)
        errors = [value for tier in row["tiers"].values() for key, value in tier.items() if "_error" in key]
        assert errors == [None] * 6
        shown.append(json.dumps([one["score"] for one in row["tiers"].values()]))
        numbers = re.findall(r"(?<!\d)\d+\.\d+", json.dumps(row["tiers"]))
        assert all(len(one.split(".")[1]) <= 3 for one in numbers), numbers
        html = (room.results / "leaderboard.html").read_text()
        values = re.findall(r'data-value="(\d+\.\d+)"', html)
        assert values and all(len(one.split(".")[1]) <= 3 for one in values)
        hidden = json.loads(Records(room.results).path("ann", "hidden", "scene_00").read_text())
        assert all(hidden["score"][key] != hidden["score"][key] for key in hidden["score"] if "_error" in key)


def test_attempts_at_the_hidden_tier_are_logged_and_limited(room, runs):
    evaluator = dataclasses.replace(room.evaluator(Unsafe()), attempts=2)
    for version in (1, 2, 2):
        evaluator(room.hand_in("ann", ZEROS + f"# version {version}"))
    noted = json.loads((room.results / "ann" / "attempts.json").read_text())
    assert len(noted) == 2 and set(noted[0]) == {"submission_sha256", "date"}
    before = contents(room.results / "ann")
    with pytest.raises(HandInError, match="attempts: got version 3, expected at most 2"):
        evaluator(room.hand_in("ann", ZEROS + "# version 3"))
    with pytest.raises(HandInError, match="attempts: got version 3, expected at most 2"):
        evaluator(
            room.hand_in("ann", ZEROS + "# version 1")
        )  # or two versions in turn would be any number of runs
    room.hand_in("ann", ZEROS + "# version 2")
    assert contents(room.results / "ann") == before, "what was recorded before stays"
    evaluator(room.hand_in("bob", ZEROS))
    dataclasses.replace(evaluator, tiers=evaluator.tiers[:2])(room.submissions / "ann")
    assert len(json.loads((room.results / "ann" / "attempts.json").read_text())) == 2, (
        "without the hidden tier"
    )
    (room.results / "bob" / "attempts.json").write_text("{")
    with pytest.raises(ValueError, match=r"attempts\.json: damaged; correct it, or delete it"):
        evaluator(room.hand_in("bob", ZEROS + "# version 2"))


def test_the_public_tier_ranks_nobody(room, runs):
    """Its truth is public: whoever returns it is no better for that."""
    room.evaluator(Unsafe())(room.hand_in("ann", ZEROS))
    (row,) = standings.standings(Records(room.results).all(), room.tiers.values())
    tiers = row["tiers"]
    assert row["overall"] == pytest.approx((tiers["dev"]["score"] + tiers["hidden"]["score"]) / 2, abs=0.001)

    def one(name, public, dev, hidden):
        scores = {"public": public, "dev": dev, "hidden": hidden}
        tiers = {tier: {"score": score} for tier, score in scores.items() if score is not None}
        return {"name": name, "tiers": tiers, "overall": standings.overall(tiers)}

    cheat, honest, half = one("a", 0.96, 0.3, 0.3), one("b", 0.1, 0.4, 0.4), one("c", 0.99, 0.35, None)
    assert [row["name"] for row in standings.ranked([half, cheat, honest])] == ["b", "a", "c"]
    assert half["overall"] is None
