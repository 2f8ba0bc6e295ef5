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

import numpy as np
import pytest

from etlab.challenge import evaluate as evaluation
from etlab.challenge import make_tier, score_answer, standings, write_submission
from etlab.challenge.handin import HandInError
from etlab.challenge.records import Records
from etlab.challenge.sandbox import Outcome, SandboxError, Unsafe
from etlab.forward import Mismatch
from tests.classroom import LIMITS, ZEROS, classroom, contents, descendants, found_backend

SECRET = "a secret of the teacher's"
SHORT = dataclasses.replace(LIMITS, wall_s=4)
SMALL = dataclasses.replace(LIMITS, wall_s=60, memory_mb=400, processes=32)


@pytest.fixture(scope="module")
def backend():
    return found_backend()


@pytest.fixture
def room(tmp_path, tmp_path_factory):
    return classroom(tmp_path_factory, tmp_path / "course", 2)


@pytest.fixture
def attacks(room, backend):
    """``attacks({name: files}) -> {name: record}``: what becomes of them on one scene; the host must be unharmed."""

    def do(submissions, tier="dev", limits=LIMITS):
        before = contents(room.folder)
        evaluator = room.evaluator(backend, (tier,), limits)
        folders = [
            room.hand_in(
                name, {"solve.py": ZEROS + textwrap.dedent(files)} if isinstance(files, str) else files
            )
            for name, files in submissions.items()
        ]
        with ThreadPoolExecutor(2) as pool:
            records = [record for (record,) in pool.map(evaluator, folders)]
        assert not descendants(), "somebody is still running"
        changed = {Path(path) for path, _ in set(contents(room.folder).items()) ^ set(before.items())}
        own = [folder / name for folder in (room.submissions, room.results) for name in submissions]
        others = {path for path in changed if not any(path.is_relative_to(one) for one in own)}
        assert others <= {room.results, room.results / ".numba"}
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
    return score_answer(problem, x_hat, Mismatch(), room.tiers[tier].truth(scene))


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
            import sys

            def solve(problem):
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
    records = room.evaluator(backend)(room.hand_in("ann", files), report=seen.append)
    assert seen == records and {repr(one) for one in Records(room.results).all()} == set(map(repr, records))
    assert [(one.tier, one.scene) for one in records] == [
        *(("public", "scene_00"), ("public", "scene_01")),
        *(("dev", "scene_00"), ("hidden", "scene_00")),
    ]
    for one in records:
        assert one.status == "scored", one.log
        assert one.score == worth(room, one.tier, one.scene, 0.1)
        assert one.seconds > 0 and one.cpu_seconds > 0
        assert Records(room.results).path("ann", one.tier, one.scene).with_suffix(".png").is_file()


PROGRAM = """\
#!/usr/bin/env python
import sys
import numpy as np
from etlab.challenge import hdf5, write_submission
from etlab.challenge.problem import read_problem

with hdf5.opened(sys.argv[1]) as file:
    (name,) = file
    problem = read_problem(file[name])
volume = np.full(problem.geometry.volume_shape, 0.1, np.float32)
write_submission(sys.argv[2], {name: (volume, dict.fromkeys(problem.spec_ranges, 0.0))})
"""


def test_a_program_that_reads_and_writes_hdf5(attack, room):
    record = attack({"solve": PROGRAM})
    assert record.status == "scored", record.log
    assert record.score == worth(room, "dev", value=0.1)


def test_a_program_that_is_no_python_and_a_umask_that_hides_everything(attack, room, tmp_path, request):
    request.addfinalizer(functools.partial(os.umask, os.umask(0o077)))
    write_submission(tmp_path / "answer.h5", answers(room, "dev", 0.1))
    script = '#!/bin/sh\ncp "$(dirname "$0")/made.h5" "$2"\n'
    record = attack({"solve": script, "made.h5": (tmp_path / "answer.h5").read_bytes()})
    assert record.status == "scored", record.log
    assert record.score == worth(room, "dev", value=0.1)


def test_answers_without_code_have_nothing_to_say_to_the_hidden_tier(room, backend):
    folder = room.hand_in("ann", {})
    folder.mkdir()
    for tier in ("public", "dev", "hidden"):
        write_submission(folder / f"{tier}.h5", answers(room, tier, 0.1))
    records = room.evaluator(backend)(folder)
    assert [one.status for one in records] == ["scored", "scored", "scored", "missing"]
    assert [one.score for one in records[:3]] == [
        worth(room, one.tier, one.scene, 0.1) for one in records[:3]
    ]
    (row,) = standings.write(room.results, room.tiers.values())
    assert row["tiers"]["hidden"]["score"] == 0 and row["tiers"]["hidden"]["scored"] == 0
    assert row["problems"] == ["hidden scene_00: missing: neither code nor answers were handed in"]


def test_a_crash_on_one_scene_costs_that_scene(room, backend):
    code = (
        ZEROS
        + "\nimport sys\ndef solve(problem):\n    1 / (sys.argv[-1] != 'scene_00')\n    return zeros(problem)"
    )
    records = room.evaluator(backend, ("public",))(room.hand_in("ann", code))
    assert [one.status for one in records] == ["failed", "scored"]
    assert records[0].reason == "ZeroDivisionError: division by zero" and "Traceback" in records[0].log
    assert records[0].score.score == 0 and records[1].score == worth(room, "public", "scene_01")
    (row,) = standings.write(room.results, [room.tiers["public"]])
    assert row["tiers"]["public"]["score"] == records[1].score.score / 2


# Stealing.


def test_nothing_of_the_teacher_s_can_be_read(attack, room):
    room.key.unlink()
    room.key.write_text(SECRET)
    kept = [room.key, *room.challenge.rglob("*.h5"), room.submissions / "bob" / "solve.py"]
    places = [room.folder, room.challenge, room.challenge / "sealed", room.submissions, room.results]
    places += [Path("/submission/.."), Path("/proc/1/root/root"), Path("/proc/1/cwd")]
    prefixes = [Path(sys.prefix), Path(sys.base_prefix)]
    python = {part for one in prefixes for folder in (one, one.resolve()) for part in folder.parts}
    record = attack(f"""
        import glob, os

        def solve(problem):
            for path in {[str(path) for path in kept]}:
                for way in (path, "/proc/1/root" + path, "/proc/self/root" + path, "/submission/../.." + path):
                    try:
                        print("READ", way, len(open(way, "rb").read()))
                    except OSError:
                        pass
            for place in {[str(place) for place in places]}:
                try:
                    print("LISTED", place, sorted(set(os.listdir(place)) - set(os.listdir("/")) - {python}))
                except OSError:
                    pass
            print("HELD", [os.readlink(one) for one in glob.glob("/proc/*/fd/*") if os.path.isfile(one)])
            return zeros(problem)
    """)
    check_that_it_is_worth_no_more_than_zeros(record, room)
    assert "READ" not in record.log
    assert "HELD []" in record.log
    listed = [line for line in record.log.splitlines() if line.startswith("LISTED")]
    assert all(line.endswith("[]") for line in listed), listed


WRITTEN = {
    "external": "file['scene_00'] = h5py.ExternalLink(TRUTH, '/scene_00')",
    "soft": "file['other'] = 1; file['scene_00'] = h5py.SoftLink('/other')",
    "virtual": """
        layout = h5py.VirtualLayout((32, 64, 64), 'f4')
        layout[:] = h5py.VirtualSource(TRUTH, '/scene_00/truth/x_true', (32, 64, 64))
        scene = file.create_group('scene_00')
        scene.create_virtual_dataset('x_hat', layout)
        for name in ('tilt_angle', 'tilt_axis', 'defocus_gradient'):
            scene['corrected_spec/' + name] = 0.0
    """,
    "raw": """
        scene = file.create_group('scene_00')
        scene.create_dataset('x_hat', (32, 64, 64), 'f4', external=[(TRUTH, 0, 4 * 32 * 64 * 64)])
        for name in ('tilt_angle', 'tilt_axis', 'defocus_gradient'):
            scene['corrected_spec/' + name] = 0.0
    """,
}
PUT = {
    "symlink": "os.symlink(TRUTH, sys.argv[2])",
    "symlink to the problem": "os.symlink(sys.argv[1], sys.argv[2])",
    "pipe": "os.mkfifo(sys.argv[2])",
    "folder": "os.mkdir(sys.argv[2])",
}


def test_answers_that_point_elsewhere(attacks, room):
    begin = "#!/usr/bin/env python\nimport os, sys, h5py\nimport numpy as np\n"
    begin += f"TRUTH = {str(room.challenge / 'sealed' / 'dev.h5')!r}\n"
    opened = "with h5py.File(sys.argv[2], 'w') as file:\n"
    opened += "    file.attrs.update(format=np.bytes_('etlab submission'), version=np.bytes_('1'))\n"
    programs = PUT | {
        way: opened + textwrap.indent(textwrap.dedent(code).strip(), "    ") for way, code in WRITTEN.items()
    }
    for way, record in attacks({way: {"solve": begin + code} for way, code in programs.items()}).items():
        assert record.status == "failed" and record.score.score == 0, way
        assert "Error" in record.reason, (way, record.log)
    for way, reason in (
        ("external", "got a link to it"),
        ("soft", "got a link to it"),
        ("virtual", "data that lie in another"),
        ("raw", "data that lie in another"),
    ):
        assert reason in Records(room.results).read(way, "dev", "scene_00").reason, way


# What is left behind in place of an answer.


LEAVE = """
import os, sys
import numpy as np
n = 32 * 64 * 64
x_hat, spec = np.zeros(n, np.float32), '{"tilt_angle": 0, "tilt_axis": 0, "defocus_gradient": 0}'
def leave(x_hat=x_hat, spec=spec):
    if x_hat is not None: x_hat.tofile("x_hat.f32")
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
    "too much": ("leave(np.zeros(n + 1, np.float32))", "x_hat: expected a file of at most 524,288 bytes"),
    "odd bytes": ("open('x_hat.f32', 'wb').write(bytes(n * 4 - 1)); leave(None)", "x_hat: "),
    "NaN": ("x_hat[7] = np.nan; leave()", "x_hat: got NaN, infinite or huge values"),
    "infinity": ("x_hat[7] = -np.inf; leave()", "x_hat: got NaN, infinite or huge values"),
    "huge values": ("leave(x_hat + np.float32(1e38))", "x_hat: got NaN, infinite or huge values"),
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
    records = attacks(programs | control | specs)
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
    for kind, record in attacks(programs).items():
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
    for kind, record in attacks(programs).items():
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
    for kind, record in attacks({kind: files for kind, (files, _) in FILES.items()}).items():
        assert record.status == "failed" and FILES[kind][1] in record.reason, (kind, record.log)


# Cheating from within.


CHEATS = {
    "other scores": """
        import etlab.challenge.scoring as scoring, etlab.challenge.problem as problems, etlab.metrics
        from etlab.challenge import run_scene, submission, tiers, evaluate, records

        perfect = scoring.Score(1.0, 99.0, 1.0, 1.0, 0.0, 0.0, 0.0)
        for module in (scoring, submission, evaluate, problems, etlab.metrics, records):
            for name in ("score_answer", "read_problem", "psnr", "ssim", "consistency", "blind_score"):
                setattr(module, name, lambda *_, **__: perfect)
        scoring.Score.__init__ = lambda *_: None
    """,
    "files that look like a score": """
        import json, os
        def solve(problem):
            perfect = dict(score=1.0, psnr_db=99, ssim=1, consistency=1)
            content = json.dumps(dict(submission="eve", tier="dev", scene="scene_00", status="scored", score=perfect))
            names = ("scene_00.json", "score.json", "record.json", "dev/scene_00.json", "leaderboard.json",
                     "eve/dev/scene_00.json", "../leaderboard.json", "RESULTS/eve/dev/scene_00.json")
            for name in names:
                try:
                    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
                    open(name, "w").write(content)
                except OSError as error:
                    print(error)
            return zeros(problem)
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
    "processes that stay behind": """
        import os, time
        def solve(problem):
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
    """,
    "modules that hide real ones": {"solve.py": ZEROS}
    | dict.fromkeys(
        ("numpy.py", "etlab/__init__.py", "etlab/challenge/__init__.py", "h5py.py", "json.py"),
        "raise ImportError('hidden')",
    ),
}


def test_cheats_are_worth_what_they_hand_in(attacks, room):
    programs = {
        name: code if isinstance(code, dict) else code.replace("RESULTS", str(room.results))
        for name, code in CHEATS.items()
    }
    for record in attacks(programs).values():
        check_that_it_is_worth_no_more_than_zeros(record, room)


def test_what_is_not_checked_in_there_is_checked_out_here_and_nobody_else_is_killed(attacks, room):
    unchecked = """
        import etlab.challenge.scoring as scoring
        scoring.checked = lambda name, array, shape: array
        scoring.checked_spec = lambda spec, ranges: spec
        def solve(problem):
            return BOTH
    """
    records = attacks(
        {
            "other shape": unchecked.replace("BOTH", "problem.y[:1], Mismatch()"),
            "other spec": unchecked.replace("BOTH", "zeros(problem)[0], Mismatch(tilt_angle=5)"),
            "killer": """
                import os, signal
                def solve(problem):
                    for pid in (os.getppid(), 1, -1, 0):
                        try: os.kill(pid, signal.SIGKILL if pid else signal.SIGTERM)
                        except OSError: pass
                    return zeros(problem)
            """,
        }
    )
    killer = records.pop("killer")
    assert killer.status == "failed" or killer.score == worth(room, "dev")
    reasons = [(record.status, record.reason.split(":")[0]) for record in records.values()]
    assert reasons == [("wrong answer", "x_hat"), ("wrong answer", "corrected_spec")]


def test_nothing_can_be_written_outside(attack, room):
    record = attack(f"""
        import os, sys, etlab
        def solve(problem):
            folders = ["/", "/etc", "/usr", "/submission", "/numba", "/opt", "/dev", "/root", "/proc/sys/kernel",
                       "/var", sys.prefix, os.path.dirname(etlab.__file__), *{[str(room.folder), str(room.results)]}]
            for folder in folders:
                try:
                    open(folder + "/written", "w").close()
                    print("WRITTEN", folder)
                except OSError:
                    pass
            for file in ("/problem.h5", "/submission/solve.py", etlab.__file__, sys.executable, {str(room.key)!r}):
                for do in (os.remove, lambda file: os.chmod(file, 0o777), lambda file: open(file, "r+")):
                    try:
                        do(file)
                        print("CHANGED", file)
                    except OSError:
                        pass
            return zeros(problem)
    """)
    check_that_it_is_worth_no_more_than_zeros(record, room)
    assert "WRITTEN" not in record.log and "CHANGED" not in record.log, record.log


def test_no_network(attack, room):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        record = attack(f"""
            import socket
            def solve(problem):
                for host in ("127.0.0.1", "1.1.1.1", "example.org"):
                    try:
                        socket.create_connection((host, {listening.getsockname()[1]}), timeout=2)
                        print("CONNECTED", host)
                    except OSError as error: print(error)
                return zeros(problem)
        """)
        with pytest.raises(TimeoutError):
            listening.accept()
    check_that_it_is_worth_no_more_than_zeros(record, room)
    assert "CONNECTED" not in record.log


# More than there is.


TIGHT = dataclasses.replace(LIMITS, cpu_s=3)
ENDLESS = {
    "sleep": ("while True: time.sleep(1)", SHORT, ("wall time",)),
    "say a gigabyte": ("print('x' * (1 << 30)); solve(problem)", SHORT, ("wall time", "memory")),
    "talk": ("while True: print('x' * 100000)", SHORT, ("wall time",)),
    "fork": ("while True: os.fork()", SMALL, ("processes", "failed", "memory", "wall time")),
    "remember": ("kept = [bytearray(b'x' * (1 << 24)) for _ in range(1 << 20)]", SMALL, ("memory", "failed")),
    "keep files": (
        "open('/tmp/big', 'wb').write(bytes(700 << 20)); time.sleep(99)",
        SMALL,
        ("memory", "failed"),
    ),
    "leave files": (
        "open('/answer/big', 'wb').write(bytes(99 << 20)); time.sleep(99)",
        SMALL,
        ("output", "failed"),
    ),
    "compute": ("while True: pass", TIGHT, ("processor time", "failed")),
}


@pytest.mark.parametrize("limits", [SHORT, SMALL, TIGHT], ids=["short", "small", "tight"])
def test_limits_end_it(attacks, limits):
    programs = {
        kind: f"import os, time\ndef solve(problem):\n    {code}"
        for kind, (code, one, _) in ENDLESS.items()
        if one is limits
    }
    for kind, record in attacks(programs, limits=limits).items():
        assert record.status in ENDLESS[kind][2] and record.score.score == 0, (kind, record.log)
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
    assert {path.name for path in room.results.iterdir()} == {".numba"}, "nothing is recorded of them"


def test_files_where_every_program_could_read_them_are_refused(room, backend):
    evaluator = room.evaluator(backend)
    inside = Path(sys.prefix) / "results"
    with pytest.raises(SandboxError, match="results lies in a folder of Python"):
        dataclasses.replace(evaluator, results=inside)(room.hand_in("ann", ZEROS))
    with pytest.raises(SandboxError, match="results lies in a folder of Python"):
        dataclasses.replace(evaluator, results=inside).warm()
    with pytest.raises(SandboxError, match=r"etlab lies in a folder of Python"):
        evaluator(Path(evaluation.__file__).parents[1])
    assert not inside.exists()


# Records. Nothing is run here; what a run leaves is put there.


@pytest.fixture
def runs(monkeypatch):
    """The scenes that were run, in their order; every answer is zeros."""
    seen = []

    def leave(command, *, folder, **_):
        seen.append(tuple(command[-2:]))
        (folder / "x_hat.f32").write_bytes(bytes(4 * 32 * 64 * 64))
        (folder / "spec.json").write_text('{"tilt_angle": 0, "tilt_axis": 0, "defocus_gradient": 0}')
        return Outcome("done", 0, "", 1.0, 1.0)

    monkeypatch.setattr(evaluation.sandbox, "run", leave)
    return seen


ALL = [("public", "scene_00"), ("public", "scene_01"), ("dev", "scene_00"), ("hidden", "scene_00")]


def test_what_is_recorded_is_not_run_again_unless_asked_for(room, runs):
    folder, evaluator = room.hand_in("ann", ZEROS), room.evaluator(Unsafe())
    first = evaluator(folder)
    assert runs == ALL
    assert repr(evaluator(folder)) == repr(first) and runs == ALL
    evaluator(folder, renew=True)
    assert runs == ALL * 2
    shutil.make_archive(str(room.folder / "ann"), "zip", folder)
    evaluator(room.folder / "ann.zip")
    assert runs == ALL * 2, "a zip of the same files is the same submission"


def test_a_changed_submission_is_run_again_and_never_mixed_with_the_old_one(room, runs):
    folder, evaluator = room.hand_in("ann", ZEROS), room.evaluator(Unsafe())
    evaluator(folder)
    (folder / "helper.py").touch()

    def stop(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluator(folder, report=stop)
    assert [(one.tier, one.scene) for one in Records(room.results).all()] == ALL[:1]
    assert not list(room.results.glob("ann/*/scene_00.png"))[1:]
    evaluator(folder)
    assert runs == ALL * 2


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
    assert runs == [*ALL, ("dev", "scene_00")]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"score": {}}',
        '{"score": 1}',
        "\udcff",
        '{"submission": "ann", "score": []}',
    ],
)
def test_a_damaged_record_is_as_good_as_none(room, runs, content):
    folder, evaluator = room.hand_in("ann", ZEROS), room.evaluator(Unsafe())
    evaluator(folder)
    records = Records(room.results)
    records.path("ann", "dev", "scene_00").write_bytes(content.encode(errors="surrogateescape"))
    assert len(records.all()) == 3 and standings.write(room.results, room.tiers.values())
    evaluator(folder)
    assert runs == [*ALL, ("dev", "scene_00")] and len(records.all()) == 4


def test_a_folder_of_records_under_another_name_does_not_count_twice(room, runs):
    room.evaluator(Unsafe())(room.hand_in("ann", ZEROS))
    shutil.copytree(room.results / "ann", room.results / "ann (copy)")
    (room.results / "ann" / "dev" / "scene_00.part.json").write_text("{")
    assert len(Records(room.results).all()) == 4


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
    assert runs == ALL


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
    (room.results / ".numba").rmdir()
    (room.results / ".numba.part").mkdir()
    (room.results / ".numba.part" / "half").touch()

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
    assert (room.results / ".numba" / "kernel" / "a.nbi").stat().st_mode & 0o044 == 0o044
    assert {path.name for path in room.results.iterdir()} == {".numba", ".lock"}


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
    assert row["problems"][2:] == ["dev scene_00: failed: the truth is 42", "hidden scene_00: failed"]
    board = json.loads((room.results / "leaderboard.json").read_text())
    assert board["rows"] == [row] and not list(room.results.glob("*.part"))
