"""Make the checks of students' notebooks, in a process that runs no student's code: ``python run_checks.py FOLDER``.

Whoever runs a notebook connects to ``FOLDER/control`` and says the name of its folder in FOLDER. As long as it stays
connected, a process of that run's own listens at ``open/socket`` in there: no notebook stands in another's door.
A kernel that comes to a check connects with the cell's number; the check's source is in ``checks.json``, the verdict
goes to ``verdict-N.json``, and the first connection for a cell is the only one that counts. Ends when its stdin is
closed.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import json
import os
import re
import resource
import selectors
import signal
import socket
import struct
import sys
import tempfile
import warnings
from multiprocessing.connection import Connection
from pathlib import Path

from far_calls import HELLO, Gone, Student, TimeUp

from etlab.atomic import replacing
from etlab.course import grading

MEMORY = 3 << 30  # bytes of one check, most of them its own
OWN_S = 60  # seconds of the processor that a check may take beside those of each of its statements
AT_THE_DOOR = 64  # connections that have not said yet which cell they are of
LONGEST = 255  # bytes of a folder's name
PROOF = re.compile(r"^✓ .* \[seed=\d+\]$", re.MULTILINE)
CELL = re.compile(rb"(\d{1,5}) *")
OTHERS = 1_800_000_000  # the least uid that a sandbox of root's takes on


def main(folder: str) -> None:
    """Serve runs until stdin is closed; then end with every check that still runs."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(socket.AF_UNIX) as control, selectors.DefaultSelector() as waiting:
        control.bind(str(Path(folder, "control")))
        control.listen()
        waiting.register(control, selectors.EVENT_READ)
        waiting.register(sys.stdin, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is sys.stdin:
                    os.killpg(0, signal.SIGKILL)
                way, _ = control.accept()
                with way:
                    if _forked(control, waiting):
                        _alone(_serve, way, Path(folder, way.recv(LONGEST).decode()))


def _forked(*closed):
    """Return whether this is a new process, where these are closed. There is none if the machine is full of them."""
    try:
        if os.fork():
            return False
    except OSError:
        return False
    for one in closed:
        one.close()
    return True


def _alone(function, *arguments):
    """Call the function and end this process, whatever happens in it."""
    try:
        function(*arguments)
    finally:
        os._exit(0)


def _serve(whole: socket.socket, run: Path) -> None:
    """Answer at the door of one run, until the run closes its connection."""
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as waiting:
        place = run / "open" / "socket"
        listener.bind(str(place))
        place.chmod(0o666)  # in the sandbox root is another user
        listener.listen(AT_THE_DOOR)
        waiting.register(listener, selectors.EVENT_READ)
        waiting.register(whole, selectors.EVENT_READ)
        whole.sendall(b"ready")
        while True:
            for key, _ in waiting.select():
                if key.fileobj is whole:
                    return
                if key.fileobj is listener:
                    _let_in(listener, waiting)
                elif key.fileobj.fileno() >= 0:  # or it has just been closed for want of room
                    waiting.unregister(key.fileobj)
                    with key.fileobj as way:
                        _begin(way, run, (listener, waiting, whole))


def _let_in(listener, waiting):
    """Take a connection if it is of a sandbox of ours; of too many, the oldest that has said nothing goes."""
    try:
        way, _ = listener.accept()
    except OSError:  # it has gone again, or there are too many files open
        return
    if not _ours(way):
        way.close()
        return
    at_the_door = [key.fileobj for key in waiting.get_map().values()][2:]
    if len(at_the_door) >= AT_THE_DOOR:
        waiting.unregister(at_the_door[0])
        at_the_door[0].close()
    waiting.register(way, selectors.EVENT_READ)


def _ours(way: socket.socket) -> bool:
    """Return whether the other end is this user, or, as root, one that only sandboxes take on."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    _, uid, _ = struct.unpack("3i", way.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid == os.getuid() or (os.getuid() == 0 and uid >= OTHERS)


def _begin(way, run, doors):
    """Make the check that this connection is for, in a process of its own."""
    try:
        found = CELL.fullmatch(way.recv(HELLO, socket.MSG_DONTWAIT))
        if not found:
            return
        cell = int(found[1])
        os.close(os.open(run / f"begun-{cell}", os.O_CREAT | os.O_EXCL))
        checks = json.loads((run / "checks.json").read_text(encoding="utf-8"))
    except OSError:  # gone again, or tried before
        return
    if str(cell) in checks["sources"] and _forked(*doors):
        to = run / f"verdict-{cell}.json"
        _alone(_judge, way, checks["sources"][str(cell)], checks["seconds"], to)


def _judge(way, source, seconds, to):
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, hard))
    # what a student returns can keep a check busy, which has no other clock while it looks at it
    longest = int(seconds * len(ast.parse(source).body) + OWN_S)
    resource.setrlimit(resource.RLIMIT_CPU, (longest, longest))
    with contextlib.suppress(Gone, OSError), _scratch() as scratch:
        tempfile.tempdir = scratch
        with Connection(way.detach()) as connection:
            student = Student(connection, seconds, Path(scratch))
            with replacing(to) as part:
                part.write_text(json.dumps(verdict(source, student)), encoding="utf-8")
            student.end()


def _scratch():
    """Make a folder of the same name as one that the student's process can write to in its sandbox."""
    return tempfile.TemporaryDirectory(prefix="etlab-check-", dir="/tmp")


def verdict(source: str, student: Student) -> dict:
    """Run a check's cell. Returns what it said and, unless it held, its error; "TimeUp" if there was no time.

    A check that says nothing proves nothing: each must leave its line with a mark and a seed.
    """
    said, error = io.StringIO(), None
    try:
        with contextlib.redirect_stdout(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            n_checks = _run(source, student)
        if len(PROOF.findall(said.getvalue())) < n_checks:
            raise grading.CheckFailed("The check came to its end without saying that it holds.")
    except TimeUp:
        error = {"name": "TimeUp", "words": "", "shown": []}
    except grading.CheckFailed as failure:
        error = _error(failure, failure._render_traceback_())
    except Exception as mistake:
        error = _error(mistake, [f"{type(mistake).__name__}: {mistake}"])
    return {"said": said.getvalue(), "error": error}


def _error(error, shown):
    return {"name": type(error).__name__, "words": str(error), "shown": shown}


def _run(source, student):
    """Run the statements with the student's names; each has the whole time. Returns how many checks there are."""
    names = _Names(student)
    for statement in ast.parse(source).body:
        student.restart()
        code = compile(ast.Module([statement], type_ignores=[]), "<check>", "exec")
        exec(code, {"__builtins__": builtins}, names)
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return sum(isinstance(call, ast.Attribute) and call.attr.startswith("check_") for call in calls)


class _Names(dict):
    """Names of a check's cell; what it does not define is the student's."""

    def __init__(self, student):
        self._student = student

    def __missing__(self, name):
        if hasattr(builtins, name):
            raise KeyError(name)
        return self._student.named(name)


if __name__ == "__main__":
    main(sys.argv[1])
