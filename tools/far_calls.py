"""Calls between a check and a student's function that run in different processes.

The check's side sends pickles; the student's side sends JSON and plain numbers, since whatever it says is somebody
else's and must not be able to run code. A check thus learns nothing from a student's process but answers, and
a student's process learns nothing from a check but arguments.

This file is also shown to the student's kernel, which runs `answer` in place of a check: it imports nothing of
`etlab` unless it must.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import importlib
import io
import json
import os
import pickle
import socket
import struct
import sys
import time
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path, PurePosixPath

import numpy as np

HELLO = 8  # bytes of the first message: the number of the cell
LARGEST = 256 << 20  # bytes of a message from a student's process
LONGEST = 2000  # characters of a text in it
LARGEST_INTEGER = 1 << 1024  # what follows has no float, and may have no decimal digits either
KINDS = ("missing", "function", "value", "answer", "stopped", "ask")
GRACE_S = 3.0  # that the check waits longer than the student's process may take: to hear that it ended itself
HEAD = struct.Struct("<I")
MADE = {  # classes of `etlab` that students' functions return or hand on, rebuilt from their fields
    "etlab.course.challenge": ("Report",),
    "etlab.course.scenes": ("Problem", "Score"),
    "etlab.forward": ("Mismatch", "Optics"),
    "etlab.geometry": ("TiltGeometry",),
    "etlab.phantoms": ("Fiducials",),
}


class Unreadable(ValueError):
    """What came back is not what `packed` makes."""


class Opaque:
    """Stands for an object that cannot be sent, in a subclass of the same name: checks say what they were given."""


# ------------------------------------------------------------------------------------------ plain values as bytes


def packed(value: object) -> bytes:
    """Return a value as JSON and the bytes of its arrays. What has no plain form becomes its type's name."""
    arrays: list[np.ndarray] = []
    head = json.dumps(_plain(value, arrays)).encode()
    return b"".join([HEAD.pack(len(head)), head, *(array.tobytes() for array in arrays)])


def unpacked(message: bytes) -> object:
    """Return the value of `packed`. Raises Unreadable for anything else; runs nothing that the message names."""
    try:
        (size,) = HEAD.unpack_from(message)
        tree = json.loads(message[HEAD.size : HEAD.size + size])
        return _value(tree, memoryview(message)[HEAD.size + size :])
    except Exception as error:  # the fields of a class may be anything, and so may be what it says of them
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def _plain(value, arrays):
    if value is None or type(value) in (bool, float) or (type(value) is int and abs(value) < LARGEST_INTEGER):
        return value
    if type(value) is str:
        return value[:LONGEST]
    if isinstance(value, list | tuple | set | range):
        kind = "list" if isinstance(value, list | range) else "tuple" if isinstance(value, tuple) else "set"
        return {"is": kind, "items": [_plain(item, arrays) for item in value]}
    if isinstance(value, dict):
        items = [[_plain(key, arrays), _plain(item, arrays)] for key, item in value.items()]
        return {"is": "dict", "items": items}
    if type(value).__module__.startswith("etlab.") and type(value).__name__ in _known_names():
        fields = {f.name: _plain(getattr(value, f.name), arrays) for f in dataclasses.fields(value) if f.init}
        return {"is": "made", "class": type(value).__name__, "fields": fields}
    return _numbers(value, arrays)


def _numbers(value, arrays):
    """Numbers in whatever holds them (NumPy's, a table, another library's tensor), or the name of its type."""
    if isinstance(value, complex) or hasattr(value, "__array__"):
        try:
            array = np.asarray(value)
            array = array.astype(float) if array.dtype == object else array
        except Exception:
            array = np.empty(0, object)
        if array.dtype.kind in "biufc" and array.nbytes < LARGEST:
            array = array.astype(array.dtype.newbyteorder("<"))
            arrays.append(array)
            at = sum(one.nbytes for one in arrays[:-1])
            scalar = isinstance(value, np.generic | complex)
            shape = list(array.shape)
            return {"is": "array", "at": at, "dtype": array.dtype.str, "shape": shape, "scalar": scalar}
    try:
        return float(value)  # a fraction, or another library's number
    except Exception:
        return {"is": "other", "type": type(value).__name__[:80]}


def _value(tree, data):
    if not isinstance(tree, dict):
        return tree
    kind = tree["is"]
    if kind in ("list", "tuple", "set"):
        items = (_value(item, data) for item in tree["items"])
        return {"list": list, "tuple": tuple, "set": set}[kind](items)
    if kind == "dict":
        return {_value(key, data): _value(item, data) for key, item in tree["items"]}
    if kind == "made":
        fields = {str(name): _value(item, data) for name, item in tree["fields"].items()}
        return _class(tree["class"])(**fields)
    if kind == "array":
        return _array(tree, data)
    return type(str(tree["type"])[:80], (Opaque,), {})()


def _array(tree, data):
    dtype, shape = np.dtype(tree["dtype"]), tuple(int(n) for n in tree["shape"])
    if dtype.kind not in "biufc" or min(shape, default=0) < 0:
        raise Unreadable(f"got an array of {dtype} and shape {shape}")
    count = int(np.prod(shape, dtype=object))
    if count == 0:
        return np.empty(shape, dtype)
    array = np.frombuffer(data, dtype, count, int(tree["at"])).reshape(shape).copy()
    return array[()] if tree["scalar"] else array


def _known_names():
    return {name for names in MADE.values() for name in names}


def _class(name):
    (module,) = (module for module, names in MADE.items() if name in names)
    return getattr(importlib.import_module(module), name)


# ------------------------------------------------------------------------------------------ the check's side


class Over(BaseException):
    """The check cannot go on; not an Exception, so that no check takes it for a student's mistake."""


class TimeUp(Over):
    """The student's functions took longer than a check may."""


class Gone(Over):
    """The student's process ended."""


class Student:
    """A student's names and functions, as a check uses them from another process.

    ``seconds`` are what the functions may take from one `restart` to the next. Files that a check makes in ``folder``
    are there for the function, too, and come back as it left them.
    """

    def __init__(self, connection: Connection, seconds: float, folder: Path):
        self._connection, self._seconds, self._folder = connection, seconds, folder
        self._functions: list[Callable] = []
        self.restart()

    def restart(self) -> None:
        """Let the clock begin again."""
        self._left = self._seconds

    def named(self, name: str) -> object:
        """Return what the student's notebook holds under a name: a function to be called, or a value.

        Raises NameError if there is nothing, Gone or TimeUp if there is no answer.
        """
        found = self._asked({"do": "name", "name": name})
        if found["kind"] == "missing":
            raise NameError(f"name {name!r} is not defined")
        return (
            self._function(found["number"], str(found["name"]))
            if found["kind"] == "function"
            else found["value"]
        )

    def end(self) -> None:
        """Let the notebook go on."""
        self._send({"do": "end"})

    def _function(self, number, name):
        def function(*arguments, **keywords):
            return self._called(number, arguments, keywords)

        function.__name__ = function.__qualname__ = name
        function.of_student = number
        return function

    def _called(self, number, arguments, keywords):
        with_files = any(self._folder.iterdir())  # a check without files of its own takes none
        files = {str(path.relative_to(self._folder)): path.read_bytes() for path in _files(self._folder)}
        request = {"do": "call", "number": number, "arguments": arguments, "keywords": keywords}
        request |= {"files": files, "folder": str(self._folder), "seconds": self._left}
        reply = self._asked(request)
        while reply["kind"] == "ask":  # the student's function calls one that it was given
            reply = self._asked(self._own(reply))
        if reply["kind"] == "stopped":
            raise _error(reply)
        for name, content in reply["files"].items() if with_files else ():
            _write(self._folder, name, content.tobytes())
        return reply["value"]

    def _own(self, reply):
        try:
            function = self._functions[reply["function"]]
            return {"do": "take", "answer": function(*reply["arguments"], **reply["keywords"])}
        except Exception as error:
            return {"do": "take", "error": f"{type(error).__name__}: {error}"}

    def _asked(self, request):
        self._send(request)
        begun = time.monotonic()
        try:
            # The student's process ends itself when its time is up; a little later nobody waits any more.
            if not self._connection.poll(max(self._left, 0) + GRACE_S):
                raise TimeUp
            reply = unpacked(self._connection.recv_bytes(LARGEST))
            if not isinstance(reply, dict) or reply.get("kind") not in KINDS:
                raise Unreadable("no answer to what was asked")
        except (EOFError, OSError):
            raise (TimeUp if time.monotonic() - begun >= self._left else Gone) from None
        finally:
            self._left -= time.monotonic() - begun
        return reply

    def _send(self, request):
        stream = io.BytesIO()
        _Sender(stream, self._functions).dump(request)
        try:
            self._connection.send_bytes(stream.getvalue())
        except OSError:
            raise Gone from None


class _Sender(pickle.Pickler):
    """Sends functions that cannot be imported, such as closures, as numbers: they stay and are called from there."""

    def __init__(self, stream, functions):
        super().__init__(stream, protocol=5)
        self._functions = functions

    def persistent_id(self, value):
        if not isinstance(value, types.FunctionType):
            return None
        if hasattr(value, "of_student"):
            return "yours", value.of_student
        if getattr(sys.modules.get(value.__module__), value.__qualname__, None) is value:
            return None
        self._functions.append(value)
        return "ours", len(self._functions) - 1


def _error(reply):
    """Return the student's error, of a class of the same name, with the place where it was raised."""
    if reply["type"] == "NotImplementedError":
        return NotImplementedError(str(reply["text"]))
    error = type(str(reply["type"]), (Exception,), {})(str(reply["text"]))
    error.place = str(reply["place"])
    return error


# ------------------------------------------------------------------------------------------ the student's side


def answer(names: dict[str, object], address: str, hello: str) -> None:
    """Serve the functions among ``names`` to the check that listens at ``address``, until it has seen enough."""
    with socket.socket(socket.AF_UNIX) as way:
        way.connect(address)
        way.sendall(hello.encode().ljust(HELLO))
        connection = Connection(way.detach())
    functions: list[Callable] = []
    with connection:
        while (request := _received(connection, functions))["do"] != "end":
            if request["do"] == "name":
                reply = _found(names, request["name"], functions)
            else:
                reply = _tried(functions[request["number"]], request)
            connection.send_bytes(_packed(reply))


def _packed(reply):
    try:
        return packed(reply)
    except Exception as error:  # of a list that holds itself, say
        return packed(_stopped(error, "its answer cannot be read"))


def _found(names, name, functions):
    if name not in names:
        return {"kind": "missing"}
    if not callable(names[name]):
        return {"kind": "value", "value": names[name]}
    functions.append(names[name])
    shown = getattr(names[name], "__name__", name)
    return {"kind": "function", "number": len(functions) - 1, "name": str(shown)[:80]}


def _tried(function, request):
    """Return what the function answers, or how it stopped."""
    folder = Path(request["folder"])
    for name, content in request["files"].items():
        _write(folder, name, content)
    try:
        with _watched(request["seconds"]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = function(*request["arguments"], **request["keywords"])
    except BaseException as error:
        line = traceback.extract_tb(error.__traceback__)[-1]
        place = f"line {line.lineno} of `{line.name}`" + (f": `{line.line}`" if line.line else "")
        return _stopped(error, place)
    files = {}
    if request["files"] or folder.is_dir():
        files = {
            str(path.relative_to(folder)): np.frombuffer(path.read_bytes(), np.uint8)
            for path in _files(folder)
        }
    return {"kind": "answer", "value": value, "files": files}


def _stopped(error, place):
    return {"kind": "stopped", "type": type(error).__name__, "text": str(error), "place": place}


@contextmanager
def _watched(seconds: float) -> Iterator[None]:
    """End this process if a function takes longer, whatever it does: no thread of Python's is needed for it."""
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(max(seconds, 0.01), exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def _received(connection, functions):
    reader = pickle.Unpickler(io.BytesIO(connection.recv_bytes()))

    def found(key):
        whose, number = key
        return functions[number] if whose == "yours" else _asking(connection, functions, number)

    reader.persistent_load = found
    return reader.load()


def _asking(connection, functions, number):
    def given(*arguments, **keywords):
        question = {"kind": "ask", "function": number, "arguments": arguments, "keywords": keywords}
        connection.send_bytes(packed(question))
        reply = _received(connection, functions)
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply["answer"]

    return given


# ------------------------------------------------------------------------------------------ both sides


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def _write(folder: Path, name: str, content: bytes) -> None:
    """Write a file below the folder. Raises Unreadable for a name that leads elsewhere."""
    parts = PurePosixPath(name).parts
    if not parts or any(part in ("..", "/") for part in parts) or "\0" in name:
        raise Unreadable(f"got a file named {name!r}")
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
