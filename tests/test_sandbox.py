"""The sandbox against programs that mean harm: what they get, and that this machine does not notice."""

import dataclasses
import fcntl
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest

from etlab.course.sandbox import Limits, SandboxError, exposed, find, inside, run
from etlab.course.sandbox.bubblewrap import Bubblewrap, find_bubblewrap
from etlab.course.sandbox.plain import Unsafe, translated
from tests.classroom import alive
from tools.sandbox import MISSING

SMALL = Limits(wall_s=15, cpu_s=20, memory_mb=128, processes=24, output_mb=4, log_kb=8)
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def backend():
    if not find_bubblewrap():
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(MISSING)
    found = find()
    assert isinstance(found, Bubblewrap)
    return found


@pytest.fixture
def attempt(backend, tmp_path):
    """``attempt(code, *arguments, visible={}, **limits) -> Outcome``, files in ``tmp_path / "out"``."""

    def do(code: str, *arguments: str, visible=(), backend=backend, **limits):
        command = ["python", "-c", textwrap.dedent(code), *arguments]
        wanted = dataclasses.replace(SMALL, **limits)
        return run(command, folder=tmp_path / "out", visible=dict(visible), limits=wanted, backend=backend)

    return do


# What an honest program needs.


def test_a_program_reads_what_is_shown_and_leaves_files(attempt, tmp_path):
    shown = tmp_path / "shown.txt"
    shown.write_text("hello")
    shown.chmod(0o644)
    outcome = attempt(
        """
        import os, sys
        os.makedirs("a/b")
        open("a/b/copy.txt", "w").write(open("/problem.txt").read() + sys.argv[1])
        print("out"); print("err", file=sys.stderr); print(os.getcwd(), os.environ["HOME"])
        """,
        " you",
        visible={"/problem.txt": shown},
    )
    assert outcome.ok and outcome.status == "done" and outcome.returncode == 0
    assert outcome.log == "out\nerr\n/answer /tmp\n"
    assert 0 < outcome.seconds < 10 and 0 <= outcome.cpu_seconds < 10
    assert (tmp_path / "out" / "a" / "b" / "copy.txt").read_text() == "hello you"


def test_the_packages_of_the_course_work_inside(attempt, tmp_path):
    outcome = attempt(
        """
        import h5py, numpy as np, onnxruntime
        from etlab.geometry import TiltGeometry
        from etlab.projector import Projector
        A = Projector(TiltGeometry(tilts_deg=np.array([-30.0, 0.0, 30.0]), volume_shape=(8, 8, 4)))
        images = A(np.ones((8, 8, 4), np.float32))
        with h5py.File("images.h5", "w") as file:
            file["images"] = images
        print(images.sum() > 0)
        """,
        wall_s=60,
        cpu_s=60,
        memory_mb=2048,
    )
    assert outcome.ok, outcome.log
    assert "True" in outcome.log
    assert (tmp_path / "out" / "images.h5").stat().st_size > 0


def test_its_exit_code_is_told(attempt):
    outcome = attempt("raise SystemExit(3)")
    assert (outcome.status, outcome.returncode, outcome.ok) == ("failed", 3, False)
    outcome = attempt("import os; os.kill(os.getpid(), 11)")
    assert (outcome.status, outcome.returncode) == ("failed", 128 + signal.SIGSEGV)


def test_a_command_that_is_not_there_has_failed(backend, tmp_path):
    outcome = run(["no-such-program"], folder=tmp_path / "out", visible={}, limits=SMALL, backend=backend)
    assert (outcome.status, outcome.returncode) == ("failed", 127)
    assert "no-such-program" in outcome.log


# What it must not see.


def test_no_file_that_is_not_shown_can_be_read(attempt, tmp_path):
    secret = secrets.token_hex()
    submission = tmp_path / "submissions" / "mine"
    submission.mkdir(parents=True)
    places = [tmp_path / "submissions" / "truth", Path.home() / f".etlab-{secret[:8]}"]
    with tempfile.NamedTemporaryFile(mode="w", suffix=".txt") as temporary:
        try:
            for place in [*places, Path(temporary.name)]:
                place.write_text(secret)
                place.chmod(0o644)
            paths = [str(place) for place in [*places, temporary.name]]
            outcome = attempt(
                """
                import os, sys
                def show(path):
                    try:
                        print(open(path).read())
                    except OSError as error:
                        print(type(error).__name__)
                for path in sys.argv[1:]:
                    os.symlink(path, "link")
                    for prefix in ("", "/proc/1/root", "/proc/self/root", "/proc/1/cwd", "/submission/.."):
                        show(prefix + path)
                    show("link")
                    os.remove("link")
                show("/submission/../truth")
                for process in os.listdir("/proc"):
                    if process.isdecimal():
                        show(f"/proc/{process}/environ")
                """,
                *paths,
                visible={"/submission": submission},
            )
        finally:
            places[1].unlink(missing_ok=True)
    assert outcome.ok, outcome.log
    assert secret not in outcome.log
    assert outcome.log.count("FileNotFoundError") + outcome.log.count("PermissionError") >= 19


def test_neither_variables_nor_open_files_nor_names_are_handed_on(attempt, monkeypatch, tmp_path):
    monkeypatch.setenv("ETLAB_KEY", "secret")
    shown = tmp_path / "shown.txt"
    shown.touch(mode=0o644)
    outcome = attempt(
        """
        import glob, os
        print(sorted(os.environ)); print(os.listdir("/proc/self/fd")); print(os.uname().nodename)
        said = [open(one, "rb").read() for one in glob.glob("/proc/[0-9]*/cmdline")]
        print([one for one in said if b"--ro-" + b"bind" in one])
        """,
        visible={"/shown.txt": shown},
    )
    assert outcome.ok and "ETLAB_KEY" not in outcome.log
    assert outcome.log.splitlines()[2:] == ["sandbox", "[]"], "it knows this machine's name or folders"
    assert outcome.log.splitlines()[1] == "['0', '1', '2', '3']"  # the last is the list's own


def test_nothing_can_be_written_elsewhere(attempt, tmp_path):
    shown = tmp_path / "submission"
    shown.mkdir()
    (shown / "program.py").write_text("before")
    outcome = attempt(
        """
        import os, sys
        folders = ["/", "/usr", "/etc", "/dev", "/opt", "/opt/etlab/etlab", "/submission", "/proc", "/proc/sys/kernel",
                   "/sys", sys.prefix, sys.base_prefix, "/root", "/home", "/var"]
        for folder in folders:
            try:
                open(f"{folder}/written", "w")
                print("written", folder)
            except OSError:
                pass
        for path in ("/submission/program.py", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern"):
            try:
                open(path, "w").write("after")
                print("written", path)
            except OSError:
                pass
        """,
        visible={"/submission": shown},
    )
    assert outcome.ok and outcome.log == ""
    assert [path.name for path in shown.iterdir()] == ["program.py"]
    assert (shown / "program.py").read_text() == "before"


def test_there_is_no_network(attempt):
    name = f"\0etlab-{secrets.token_hex(4)}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(name)
        abstract.listen()
        outcome = attempt(
            """
            import socket, sys
            port, name = int(sys.argv[1]), "\\0" + sys.argv[2]
            tries = [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_UNIX, name), (40, (2, 1)), (40, (1, 1))]
            for family, address in tries:
                try:
                    socket.socket(family).connect(address)
                    print("connected", family)
                except OSError as error:
                    print(error.errno)
            """,
            str(server.getsockname()[1]),
            name[1:],
        )
        assert outcome.ok and "connected" not in outcome.log and len(outcome.log.split()) == 4
        for listening in (server, abstract):
            listening.setblocking(False)
            with pytest.raises(BlockingIOError):
                listening.accept()


def test_the_kernel_refuses_what_would_hide_or_escape_or_tell_another_sandbox(attempt, tmp_path):
    shown = tmp_path / "shown.txt"
    shown.touch(mode=0o644)
    held, locked = shown.open(), shown.open("r+")
    fcntl.flock(held, fcntl.LOCK_EX)
    fcntl.lockf(locked, fcntl.LOCK_EX)
    outcome = attempt(
        """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        import fcntl, socket, sys
        with open(sys.argv[1]) as shown:
            fcntl.flock(shown, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(shown, fcntl.LOCK_SH | fcntl.LOCK_NB)
        one, other = socket.socketpair()
        before = one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, before // 2)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        fcntl.fcntl(one, fcntl.F_SETFL, fcntl.fcntl(one, fcntl.F_GETFL))
        calls = {
            "inotify": lambda: libc.inotify_init1(0),
            "a large pipe": lambda: libc.fcntl(os.pipe()[0], 1031, 1 << 20),
            "who holds a lock": lambda: libc.fcntl(one.fileno(), 5, bytes(64)),
            "memfd_create": lambda: libc.memfd_create(b"x", 0),
            "shmget": lambda: libc.shmget(0, 1 << 30, 0o1600),
            "unshare": lambda: libc.unshare(0x10000000),
            "ptrace": lambda: libc.ptrace(16, 1, 0, 0),
            "mount": lambda: libc.mount(b"x", b"/tmp", b"tmpfs", 0, None),
            "keyctl": lambda: libc.syscall(250, 0, 0),
            "mincore": lambda: libc.mincore(None, 0, None),
            "preadv2": lambda: libc.preadv2(0, None, 0, 0, 8),
            "cachestat": lambda: libc.syscall(451, 0, None, None, 0),
        }
        for name, call in calls.items():
            print(name, call(), ctypes.get_errno())
        status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
        print(status["CapEff"], status["CapPrm"], status["NoNewPrivs"], status["Seccomp"])
        """,
        "/shown.txt",
        visible={"/shown.txt": shown},
    )
    for lock in (held, locked):
        lock.close()
    assert outcome.ok, outcome.log
    lines = outcome.log.splitlines()
    assert [line.split()[-2:] for line in lines[:-1]] == [["-1", "1"]] * 12
    assert lines[-1].split() == ["0" * 16, "0" * 16, "1", "2"]


# What it must not use up.

HARM = {
    "one large allocation": ("memory", "a = bytearray(1 << 30); import time; time.sleep(60)"),
    "many children's memory": (
        "memory",
        """
        import os, time
        for _ in range(6):
            if os.fork() == 0:
                a = bytearray(100 << 20); time.sleep(60)
        time.sleep(60)
        """,
    ),
    "shared memory": (
        "memory",
        """
        import os, time
        for folder in ("/dev/shm", "/tmp"):
            with open(f"{folder}/fill", "wb") as file:
                for _ in range(80):
                    file.write(bytes(1 << 20))
        time.sleep(60)
        """,
    ),
    "an anonymous mapping": (
        "memory",
        "import mmap, time; m = mmap.mmap(-1, 1 << 30); m.write(bytes(400 << 20)); time.sleep(60)",
    ),
    "shared memory whose pages were dropped": (
        "memory",
        """
        import mmap, time
        for _ in range(40):
            m = mmap.mmap(-1, 8 << 20)
            m.write(bytes(8 << 20))
            m.madvise(mmap.MADV_DONTNEED)
            globals().setdefault("kept", []).append(m)
            time.sleep(0.1)
        time.sleep(60)
        """,
    ),
    "buffers of sockets": (
        "memory",
        """
        import os, socket, time
        def fill(one):
            one.setblocking(False)
            try:
                while True: one.send(bytes(4096))
            except BlockingIOError:
                return one
        kept = []
        for _ in range(5):
            if os.fork() == 0:
                for _ in range(100): kept += map(fill, socket.socketpair())
                time.sleep(60)
        time.sleep(60)
        """,
    ),
    "buffers of connections": (
        "memory",
        """
        import socket, time
        server, kept = socket.create_server(("127.0.0.1", 0)), []
        for _ in range(100):
            one = socket.create_connection(server.getsockname())
            one.setblocking(False)
            kept += [one, server.accept()[0]]
            try:
                while True: one.send(bytes(65536))
            except BlockingIOError: pass
        time.sleep(60)
        """,
    ),
    "a million empty files": (
        "memory",
        """
        import os
        for i in range(10 ** 7):
            os.close(os.open(f"/tmp/{i}", os.O_CREAT))
        """,
    ),
    "a fork bomb": ("processes", "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"),
    "many threads": (
        "processes",
        """
        import threading, time
        for _ in range(40):
            threading.Thread(target=time.sleep, args=(60,)).start()
        """,
    ),
    "much output": (
        "output",
        """
        import time
        with open("f", "wb", buffering=0) as file:
            for _ in range(8):
                file.write(bytes(1 << 20))
        time.sleep(60)
        """,
    ),
    "a sparse file": ("output", "import os; open('f', 'w').close(); os.truncate('f', 10 ** 11)"),
    "deleted but open files": (
        "output",
        """
        import os, time
        kept = []
        for _ in range(5):
            kept.append(open("f", "wb", buffering=0)); os.remove("f"); kept[-1].write(bytes(900_000))
        time.sleep(60)
        """,
    ),
    "deep folders": (
        "output",
        """
        import os
        for _ in range(3000):
            os.mkdir("d"); os.chdir("d")
        """,
    ),
    "many files": ("output", "for i in range(11_000): open(str(i), 'w')"),
}


def opened():
    """Count what this process has open by its target; the folder that is read to find out is closed by then."""
    paths = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return Counter(os.readlink(path) for path in paths if os.path.lexists(path))


@pytest.mark.parametrize("harm", HARM)
def test_no_limit_is_exceeded(attempt, tmp_path, harm):
    status, code = HARM[harm]
    token = secrets.token_hex()
    before = opened()
    outcome = attempt(code, token)
    assert outcome.status == status, outcome.log
    assert outcome.returncode is None and not outcome.ok
    assert outcome.seconds < SMALL.wall_s
    assert alive(token) == []
    assert list((tmp_path / "out").iterdir()) == []
    assert opened() <= before  # what was opened before may be closed by now


def test_one_that_sleeps_is_ended(attempt):
    token = secrets.token_hex()
    outcome = attempt(
        "import time; open('f', 'w').write('half'); print('asleep'); time.sleep(60)", token, wall_s=1.0
    )
    assert (outcome.status, outcome.returncode, outcome.log) == ("wall time", None, "asleep\n")
    assert 1.0 <= outcome.seconds < 2.0
    assert alive(token) == []


def test_processor_time_counts_for_all_processes(attempt):
    token = secrets.token_hex()
    code = """
    import os, signal
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.fork(); os.fork()
    while True:
        pass
    """
    outcome = attempt(code, token, cpu_s=1.0)
    assert outcome.status == "processor time"
    assert 1.0 < outcome.cpu_seconds < 3.0
    assert alive(token) == []


def test_children_that_have_ended_count(attempt):
    code = """
    import os, time
    for _ in range(10):
        if os.fork() == 0:
            while time.process_time() < 0.1: pass
            os._exit(0)
        os.wait()
    """
    outcome = attempt(code)
    assert outcome.ok
    assert outcome.cpu_seconds > 0.8


def test_a_gigabyte_of_words_is_forgotten_but_for_its_end(attempt):
    code = """
    import os
    for i in range(10_000):
        os.write(1, b"x" * 100_000)
    print("end")
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = attempt(code)
    assert outcome.ok
    assert len(outcome.log) <= SMALL.log_kb * 1024 and outcome.log.endswith("xend\n")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 32 * 1024


def test_what_is_not_text_is_still_told(attempt):
    outcome = attempt(r"import os; os.write(1, b'\xff\x00\x1b[2Jend')")
    assert outcome.ok and outcome.log.endswith("end")


def test_one_that_says_nothing_more_is_still_watched(attempt):
    closed = "import os, time; [os.close(fd) for fd in (0, 1, 2)]; time.sleep({})"
    outcome = attempt(closed.format(0.3))
    assert outcome.ok and outcome.seconds >= 0.3
    assert attempt(closed.format(60), wall_s=1.0).status == "wall time"
    assert attempt("import os, time; os.close(1); os.close(2); a = bytearray(1 << 30)").status == "memory"


# What must be gone afterwards.


def test_it_cannot_kill_what_watches_it(attempt):
    code = """
    import os
    for pid in (os.getppid(), 1, -1):
        try:
            os.kill(pid, 9)
        except OSError as error:
            print(error.errno)
    print("still here")
    """
    outcome = attempt(code)
    assert outcome.ok and outcome.log.endswith("still here\n")


def test_processes_in_the_background_are_gone(attempt):
    token = secrets.token_hex()
    code = """
    import os, time
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for fd in range(3): os.close(fd)
                time.sleep(60)
            os._exit(0)
    time.sleep(0.2)
    """
    outcome = attempt(code, token)
    assert outcome.ok and outcome.seconds < 10
    assert alive(token) == []


def test_two_runs_do_not_see_each_other(backend, tmp_path):
    # this Python may itself lie below /tmp, and its folder is then seen there
    look = "print(sum(p.isdecimal() for p in os.listdir('/proc')), [n for n in os.listdir('/tmp') if n[:4] == 'mine'])"
    code = f"import os, sys, time; open('/tmp/mine-' + sys.argv[1], 'w'); time.sleep(0.5); {look}"
    script = f"""
import sys, threading
from pathlib import Path
from etlab.course.sandbox import find, run
backend = find()
def one(name):
    print(run(["python", "-c", {code!r}, name], folder=Path(sys.argv[1]) / name, visible={{}}, backend=backend).log)
threads = [threading.Thread(target=one, args=(name,)) for name in "ab"]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    ran = subprocess.run(
        [sys.executable, "-c", script, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert sorted(line for line in ran.stdout.splitlines() if line) == ["2 ['mine-a']", "2 ['mine-b']"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("name", ["bubblewrap", "none"])
def test_nothing_outlives_the_evaluator(backend, tmp_path, how, name):
    token = secrets.token_hex()
    script = f"""
import sys
from pathlib import Path
from etlab.course.sandbox import find, run
from etlab.course.sandbox.plain import Unsafe
backend = find() if {name!r} == "bubblewrap" else Unsafe()
code = "import os, time; os.fork(); time.sleep(60)"
run(["python", "-c", code, {token!r}], folder=Path(sys.argv[1]), visible={{}}, backend=backend)
"""
    script_file = tmp_path / "evaluator.py"
    script_file.write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    evaluator = subprocess.Popen(
        [sys.executable, script_file, tmp_path / "out"], env=environment, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: len(alive(token)) >= 3)
    evaluator.send_signal(how)
    evaluator.wait()
    wait_until(lambda: alive(token) == [])


def wait_until(holds, patience_s=60.0):
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_hostile_leftovers_are_dropped(attempt, tmp_path):
    code = """
    import os, socket
    os.symlink("/etc/passwd", "link")
    os.symlink("/", "root")
    os.symlink("loop", "loop")
    os.mkfifo("pipe")
    socket.socket(socket.AF_UNIX).bind("socket")
    os.mkdir("locked")
    open("locked/inner", "w").write("inner")
    os.mkdir("empty", 0)
    open("secret", "w").write("secret")
    os.chmod("secret", 0)
    os.link("secret", "again")
    here = os.open(".", os.O_RDONLY)
    for _ in range(16):
        os.mkdir("x" * 250)
        os.chdir("x" * 250)
    open("y" * 250, "w").write("name")
    os.fchdir(here)
    open(b"\\xff\\n", "w").write("name")
    os.chmod("locked", 0)
    """
    assert attempt(code).ok
    out = tmp_path / "out"
    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if "xxx" not in str(path)}
    assert left == {"locked", "locked/inner", "secret", "again", os.fsdecode(b"\xff\n")}
    assert (out / "locked" / "inner").read_text() == "inner"
    assert all(path.stat().st_uid == os.getuid() and not path.is_symlink() for path in out.rglob("*"))
    assert all(path.stat().st_mode & 0o444 for path in out.rglob("*"))


# What the teacher is told.


def test_limits_are_positive_numbers():
    wrong = [
        ("wall_s", 0),
        ("cpu_s", float("nan")),
        ("cpu_s", float("inf")),
        ("memory_mb", 1.5),
        ("processes", -1),
    ]
    for name, value in [*wrong, ("output_mb", True), ("log_kb", "8")]:
        with pytest.raises(ValueError, match=name):
            Limits(**{name: value})


def test_paths_that_cannot_be_shown_are_refused(attempt, tmp_path):
    for path in ("submission", "/", "/answer/x", "/proc", "/submission/../x", "/usr"):
        with pytest.raises(ValueError, match="visible"):
            attempt("", visible={path: tmp_path})
    with pytest.raises(ValueError, match="does not exist"):
        attempt("", visible={"/submission": tmp_path / "nothing"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("here first")
    with pytest.raises(ValueError, match="folder"):
        attempt("")


@pytest.mark.skipif(os.getuid() != 0, reason="only as root does the program run as somebody else")
def test_as_root_unreadable_files_are_named(attempt, tmp_path):
    private = tmp_path / "submission"
    private.mkdir(mode=0o700)
    with pytest.raises(SandboxError, match="chmod -R a"):
        attempt("", visible={"/submission": private})


def test_what_would_be_exposed(tmp_path, monkeypatch):
    assert not exposed(tmp_path / "truth")
    assert not exposed(ROOT / "README.md") and not exposed(Path.home())
    assert (
        exposed(Path(sys.prefix) / "truth") and exposed(ROOT / "etlab" / "truth") and exposed(Path("/bin/sh"))
    )
    link = tmp_path / "link"
    link.symlink_to(ROOT / "etlab")
    assert exposed(link / "truth")
    monkeypatch.setattr(inside.sys, "prefix", str(Path.home()))
    with pytest.raises(SandboxError, match="home folder"):
        inside.python_folders()


def test_without_any_sandbox_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="apt install bubblewrap") as raised:
        find()
    assert "--unsafe" in str(raised.value)
    assert find(unsafe=True) == Unsafe()


def test_a_sandbox_that_does_not_work_says_why(monkeypatch, tmp_path):
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: no permission to make a namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(SandboxError, match="no permission to make a namespace"):
        find()
    assert find(unsafe=True) == Unsafe()


# The other ways.


def test_without_a_sandbox_limits_still_hold(attempt, tmp_path):
    shown = tmp_path / "shown.txt"
    shown.write_text("hello")
    code = "import sys; open('copy', 'w').write(open(sys.argv[1]).read()); print(sys.argv[2])"
    outcome = attempt(
        code, "/shown.txt", "--out=/answer/copy", visible={"/shown.txt": shown}, backend=Unsafe()
    )
    assert outcome.ok, outcome.log
    assert (tmp_path / "out" / "copy").read_text() == "hello"
    assert "/answer/copy" not in outcome.log and "/copy" in outcome.log


@pytest.mark.parametrize("harm", ["one large allocation", "many threads", "many files", "a sparse file"])
def test_without_a_sandbox_a_limit_ends_it(attempt, harm):
    token = secrets.token_hex()
    status, code = HARM[harm]
    outcome = attempt(code, token, backend=Unsafe())
    assert outcome.status == ("failed" if harm == "a sparse file" else status)
    assert alive(token) == []


def test_without_a_sandbox_time_is_limited(attempt):
    token = secrets.token_hex()
    outcome = attempt("import os, time; os.fork(); time.sleep(60)", token, wall_s=0.5, backend=Unsafe())
    assert outcome.status == "wall time" and outcome.seconds < 3
    assert alive(token) == []


def test_paths_are_translated_where_they_stand_alone():
    here = {"/answer": Path("/a"), "/submission": Path("/b"), "/submission/x": Path("/c")}
    told = {
        "/answer": "/a",
        "--out=/answer/v.h5": "--out=/a/v.h5",
        "/submission/x/y": "/c/y",
        "/answers": "/answers",
    }
    told |= {"/submission/p.py": "/b/p.py", "/home/answer": "/home/answer", "/answer:/submission": "/a:/b"}
    assert {text: translated(text, here) for text in told} == told
