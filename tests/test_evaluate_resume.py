"""Evaluators that are killed, that work side by side, and workers that break: no record is lost or counted twice."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dask
import numpy as np
import pytest

from etlab.course.challenge import evaluate as evaluation
from etlab.course.challenge import standings
from etlab.course.challenge.evaluate_all import evaluate_all, found_submissions
from etlab.course.challenge.records import Records
from etlab.course.challenge.tiers import found_tiers
from tests.classroom import (
    LIMITS,
    ZEROS,
    Breaking,
    alive,
    classroom,
    descendants,
    found_backend,
    light,
    reached_by_an_outsider,
    score_each_answer_once,
    scored_once,
)

KILLS = 8
CLASS = {
    "ann": ZEROS,
    "bob": "raise ValueError('bob cannot do it')",
    "dave": {"public.h5": b"no answers at all"},
    "mallory": {"main.py": "nothing of use"},
}
FORK = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def backend():
    return found_backend()


@pytest.fixture(autouse=True, scope="module")
def score_once():
    with pytest.MonkeyPatch.context() as patch:
        score_each_answer_once(patch)
        yield


@pytest.fixture
def room(tmp_path, tmp_path_factory):
    return classroom(tmp_path_factory, tmp_path / "course")


@pytest.fixture(scope="module")
def start(backend):
    """``start(room, names) -> Process``: an evaluator of its own that writes the board at its end."""
    started = []

    def run(room, names):
        evaluator = room.evaluator(backend)

        def noted(command, **options):
            with (room.folder / "runs.txt").open("a") as file:
                file.write(f"{options['folder'].parents[2].name}\n")
            return light(command, **options)

        evaluation.sandbox.run = noted  # in the child alone
        for name in names:
            evaluator(room.submissions / name)
        standings.write(room.results, evaluator.tiers)

    def do(room, names=tuple(CLASS)):
        process = FORK.Process(target=run, args=(room, names))
        process.start()
        started.append(process)
        return process

    yield do
    for process in started:
        process.kill()
        process.join()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, start):
    """A class evaluated once, and how long a scene took."""
    room = classroom(tmp_path_factory, tmp_path_factory.mktemp("undisturbed") / "course")
    for name, files in CLASS.items():
        room.hand_in(name, files)
    for tier in room.tiers.values():  # before the fork, so that no child has to score the zeros of `light`
        for scene, problem in tier.items():
            zeros = np.zeros(problem.geometry.volume_shape, np.float32)
            scored_once(problem, zeros, dict.fromkeys(problem.spec_ranges, 0.0), tier.truth(scene))
    begun = time.monotonic()
    process = start(room)
    process.join()
    assert process.exitcode == 0
    return room, (time.monotonic() - begun) / len(runs(room))


def runs(room):
    return (room.folder / "runs.txt").read_text().splitlines()


def board(room):
    return json.loads((room.results / "leaderboard.json").read_text())["rows"]


def files(room):
    """All that is in the results, hidden files too."""
    return {path.relative_to(room.results).as_posix() for path in room.results.rglob("*")}


def gone(token, patience_s=10):
    """Whether everything that has ``token`` in its command ends by itself."""
    until = time.monotonic() + patience_s
    while alive(token) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(token)


def test_killed_again_and_again_it_comes_to_the_same_board(room, undisturbed, start, tmp_path, monkeypatch):
    expected, scene_s = undisturbed
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for name, content in CLASS.items():
        room.hand_in(name, content)
    chance, kills, recorded = random.Random(1), 0, {}
    while True:
        process = start(room)
        process.join(chance.uniform(0, 1.1 * scene_s) if kills < KILLS else None)
        if process.exitcode is not None:
            assert process.exitcode == 0 and board(room) == board(expected)
            if kills >= KILLS:
                break
            shutil.rmtree(room.results)  # quicker than thought: once more from the start
            recorded.clear()
            continue
        process.kill()
        process.join()
        kills += 1
        assert gone(room.token), "a sandbox outlives its evaluator"
        for path in room.results.glob("*/*/scene_*.json"):
            first = recorded.setdefault(path, path.stat().st_mtime_ns)
            assert path.stat().st_mtime_ns == first, "what is recorded was evaluated again"
    assert len(Records(room.results).all()) == 3 * len(CLASS)
    assert files(room) == files(expected), "temporary files pile up"
    assert not list((tmp_path / "temporary").iterdir()), "temporary files pile up elsewhere"


def test_two_evaluators_on_one_folder_share_the_work(room, undisturbed, start):
    expected, _ = undisturbed
    for name, content in CLASS.items():
        room.hand_in(name, content)
    both = [start(room), start(room, tuple(CLASS)[::-1])]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert board(room) == board(expected) and files(room) == files(expected)
    assert sorted(runs(room)) == sorted(runs(expected)), "each scene is run once"


def test_boards_written_at_once_are_whole(room):
    def write(n):
        for _ in range(n):
            standings.write(room.results, room.tiers.values())

    room.results.mkdir()
    (room.results / ".leaderboard.html.123.part").touch()
    write(1)
    writers = [FORK.Process(target=write, args=[10]) for _ in range(3)]
    for one in writers:
        one.start()
    while any(one.is_alive() for one in writers):
        assert board(room) == []
        assert (room.results / "leaderboard.html").read_text().endswith("</html>\n")
    assert [one.exitcode for one in writers] == [0, 0, 0]
    assert files(room) == {".lock", "leaderboard.json", "leaderboard.html"}


def test_a_class_on_two_workers_and_what_breaks_costs_itself_alone(room, backend):
    for name in ("ann", "bob", "raises", "dies once"):
        room.hand_in(name, ZEROS)
    evaluator = room.evaluator(backend, ("public",), kind=Breaking)
    found, _ = found_submissions(room.submissions)
    failed = evaluate_all(evaluator, found, workers=2, progress=False)
    assert failed == {"raises": "ArithmeticError: ?[31mnobody thought of that"}
    records = Records(room.results).all()
    assert [(one.submission, one.status) for one in records] == [
        (name, "scored") for name in ("ann", "bob", "dies once")
    ]
    assert len(standings.write(room.results, evaluator.tiers)) == 3
    assert not list(room.results.glob("*/.private"))
    assert gone(room.token) and not descendants()


def test_workers_elsewhere(room, backend, tmp_path):
    """A scheduler in another process, whose current folder is another one."""
    for name in ("ann", "bob"):
        room.hand_in(name, {"main.py": "refused, and so nothing has to be run"})
    cluster = (
        "import sys; from distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:\n"
        "        print(cluster.scheduler_address, flush=True); sys.stdin.read()\n"
    )
    (tmp_path / "cluster.py").write_text(cluster)
    elsewhere = subprocess.Popen(
        [sys.executable, "cluster.py"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with elsewhere:
        address = elsewhere.stdout.readline().strip()
        evaluator = room.evaluator(backend, ("public",), LIMITS)
        # workers elsewhere do not have the tests' modules
        evaluator = dataclasses.replace(evaluator, tiers=found_tiers(room.challenge)[:1])
        found, _ = found_submissions(os.path.relpath(room.submissions))
        failed = evaluate_all(evaluator, found, scheduler=address, progress=False)
        elsewhere.stdin.close()
    assert failed == {}
    assert [(one.submission, one.status) for one in Records(room.results).all()] == [
        ("ann", "refused"),
        ("bob", "refused"),
    ]


def test_a_scheduler_that_does_not_answer(room, backend):
    room.hand_in("ann", ZEROS)
    found, _ = found_submissions(room.submissions)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(OSError, match=r"127\.0\.0\.1"),
    ):
        evaluate_all(room.evaluator(backend), found, scheduler="tcp://127.0.0.1:9", progress=False)


def listening(pids):
    """Where processes listen: addresses of the internet and of local sockets."""
    held = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            held |= {os.readlink(one)[8:-1] for one in Path(f"/proc/{pid}/fd").iterdir() if one.is_symlink()}
    found = []
    for family, host in (("tcp", "127.0.0.1"), ("tcp6", "::1")):
        for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == "0A" and rest[5] in held:
                found.append((host, int(local.split(":")[1], 16)))
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        _, _, _, flags, _, _, inode, *path = line.split()
        if int(flags, 16) & 0x10000 and inode in held:
            found.append("\0" + path[0][1:] if path[0].startswith("@") else path[0])
    return found


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_an_outsider_would_be_noticed(tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as abstract,
        tempfile.NamedTemporaryFile() as file,
    ):
        abstract.bind(f"\0{tmp_path}")
        abstract.listen()
        os.chmod(file.name, 0o644)
        expected = [server.getsockname(), f"\0{tmp_path}"]
        assert set(expected) <= set(listening([os.getpid()]))
        reached = reached_by_an_outsider(expected, [file.name, "/etc/shadow"])
        assert reached == [list(expected[0]), expected[1], file.name]


@pytest.mark.parametrize("name", [".lock", ".leaderboard.json.{}.part", ".leaderboard.html.{}.part"])
def test_a_link_that_somebody_put_among_the_results_is_not_written_through(tmp_path, name):
    name = name.format(os.getpid())
    ours = tmp_path / "ours.txt"
    ours.write_text("precious")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / name).symlink_to(ours)
    with contextlib.suppress(OSError):
        standings.write(tmp_path / "results", [])
    assert ours.read_text() == "precious"


@pytest.fixture
def open_room(tmp_path_factory):
    """A classroom that everybody may look into, unlike pytest's folders."""
    with tempfile.TemporaryDirectory() as folder:
        room = classroom(tmp_path_factory, Path(folder) / "course")
        room.results.mkdir()
        for one in (Path(folder), room.folder, room.results):
            one.chmod(0o755)
        yield room


def test_nobody_else_reaches_the_command_and_killed_it_leaves_nothing_running(open_room, backend):
    """The command with its workers: another user finds no door, and whatever it started ends with it."""
    room = open_room
    room.hand_in("ann", "import time\ntime.sleep(99)")
    room.hand_in("bob", "import time\ntime.sleep(99)")
    room.evaluator(backend)
    command = ["challenge", "evaluate-all", str(room.submissions), "--workers", "2"]
    folders = ["--challenge", str(room.challenge), "--results", str(room.results)]
    process = subprocess.Popen(
        [sys.executable, "-c", "from etlab.cli import app; app()", *command, *folders],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 300
        sandboxes = f"{room.token}/results/"
        while len(list(Path(room.results).glob("*/.private/*/problem.h5"))) < 2 or len(alive(sandboxes)) < 3:
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.05)
        session = [
            pid
            for pid in map(int, filter(str.isdecimal, os.listdir("/proc")))
            if of_session(pid, process.pid)
        ]
        assert len(session) >= 3, "the command and its workers"
        places = listening(session)
        assert not [one for one in places if not isinstance(one, str)], "a port is open to every user"
        if os.getuid() == 0:
            files = [one for one in room.results.rglob("*") if one.is_file() and one.name != ".lock"]
            assert files and reached_by_an_outsider(places, files) == []
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert gone(room.token), "sandboxes outlive the command"
    until = time.monotonic() + 20
    while left := [pid for pid in session if of_session(pid, process.pid)]:
        assert time.monotonic() < until, f"workers outlive the command: {left}"
        time.sleep(0.1)


def of_session(pid, session):
    try:
        return os.getsid(pid) == session
    except ProcessLookupError:
        return False
