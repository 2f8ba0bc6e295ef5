"""Calls between a check and a student's function in another process: what goes through, and that nothing else does."""

import importlib
import json
import struct
import threading
import types
from fractions import Fraction
from multiprocessing import Pipe

import numpy as np
import pytest

from etlab.course.grading.calling import CheckFailed, call
from etlab.forward import Mismatch
from tests.labs import ROOT, Lab, grade_id


@pytest.fixture(scope="module")
def far_calls():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools")
        yield importlib.import_module("far_calls")


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -3,
        2.5,
        float("inf"),
        "ö",
        [1, (2.0, "x"), {"a": None, 3: [4]}],
        Mismatch(1.0, 2.0, 3.0),
        {1, 2},
    ],
)
def test_plain_values_come_back_as_they_were(far_calls, value):
    found = far_calls.unpacked(far_calls.packed(value))
    assert type(found) is type(value) and found == value


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3)[:, ::-1],
        np.zeros((0, 3), np.int8),
        np.array(True),
        np.float32(2.5),
        1 + 2j,
        np.arange(3, dtype=">i4"),
        np.asfortranarray(np.eye(3, dtype=np.complex64)),
    ],
)
def test_arrays_come_back_as_they_were(far_calls, array):
    (found,) = far_calls.unpacked(far_calls.packed([array]))
    assert np.shape(found) == np.shape(array) and np.array_equal(found, array)
    assert np.asarray(found).dtype == np.asarray(array).dtype.newbyteorder("<")
    assert isinstance(found, np.ndarray) == isinstance(array, np.ndarray)


def test_other_things_come_back_as_their_names(far_calls):
    class Rubbish:
        pass

    found = far_calls.unpacked(far_calls.packed([Rubbish(), print, np.array([object()]), 10**5000]))
    names = ["Rubbish", "builtin_function_or_method", "ndarray", "int"]
    assert [type(one).__name__ for one in found] == names
    with pytest.raises((TypeError, ValueError)):
        np.asarray(found[0]).astype(float)


NUMBERS = {
    "objects": np.array([1, 2.5, 3], object),
    "range": range(3),
    "fractions": [Fraction(1, 2)] * 3,
    "float": [type("Mine", (float,), {})(7)] * 3,
    "masked": np.ma.masked_array([1.0, 2, 3], [0, 1, 0]),
}
NONE = {
    "texts": np.array(["1", "2", "3"]),
    "dates": np.array([1, 2, 3], "datetime64[s]"),
    "complex": np.ones(3, complex),
    "huge": [10**400] * 3,
    "without end": np.broadcast_to(1.0, (10**16,)),
    "raises": type("Raises", (), {"__array__": lambda *_, **__: 1 / 0})(),
}


@pytest.mark.parametrize("name", NUMBERS | NONE)
def test_an_answer_is_worth_the_same_in_the_notebook_and_in_grading(far_calls, name):
    answer = (NUMBERS | NONE)[name]
    for one in (answer, far_calls.unpacked(far_calls.packed(answer))):
        if name in NUMBERS:
            assert np.array_equal(call(lambda one=one: one, shape=(3,)), np.asarray(answer, float))
        else:
            with pytest.raises(CheckFailed, match="expected real numbers"):
                call(lambda one=one: one, shape=(3,))


def test_a_list_that_holds_itself_is_the_student_s_error(serving):
    endless = []
    endless.append(endless)
    with pytest.raises(Exception, match="recursion") as found:
        serving({"endless": lambda: endless}).named("endless")()
    assert type(found.value).__name__ == "RecursionError"


def message(tree, data=b""):
    head = json.dumps(tree).encode()
    return struct.pack("<I", len(head)) + head + data


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x00",
        b"cos\nsystem\n(S'true'\ntR.",
        message({"is": "array", "at": 0, "dtype": "|O", "shape": [1], "scalar": False}, b"\0" * 8),
        message({"is": "array", "at": 0, "dtype": "<f8", "shape": [10**9], "scalar": False}, b"\0" * 8),
        message({"is": "array", "at": 0, "dtype": "<f8", "shape": [-1], "scalar": False}, b"\0" * 8),
        message({"is": "array", "at": -8, "dtype": "<f8", "shape": [1], "scalar": False}, b"\0" * 8),
        message({"is": "made", "class": "Popen", "fields": {"args": "true"}}),
        message({"is": "made", "class": "Mismatch", "fields": {"tilt_angle": "steep"}}),
        message({"is": "other"}),
        message({}),
        struct.pack("<I", 400_000) + b"[" * 200_000 + b"]" * 200_000,
    ],
)
def test_what_is_no_answer_is_refused(far_calls, bad):
    with pytest.raises(far_calls.Unreadable):
        far_calls.unpacked(bad)


@pytest.fixture
def serving(far_calls, tmp_path, monkeypatch):
    """``serving(names) -> Student``: the far side runs in a thread, with no clock that ends this process."""
    import contextlib

    monkeypatch.setattr(far_calls, "_watched", lambda seconds: contextlib.nullcontext())
    students = []

    def start(names, seconds=20.0):
        here, there = Pipe()
        way = types.SimpleNamespace(socket=lambda *_: contextlib.nullcontext(Way()), AF_UNIX=None)
        monkeypatch.setattr(far_calls, "socket", way)
        monkeypatch.setattr(far_calls, "Connection", lambda _: there)
        threading.Thread(target=far_calls.answer, args=(names, "", "hello"), daemon=True).start()
        students.append(far_calls.Student(here, seconds, tmp_path))
        return students[-1]

    yield start
    for student in students:
        student.end()


class Way:
    def connect(self, address):
        pass

    def sendall(self, content):
        pass

    def detach(self):
        pass


def test_a_function_is_called_with_what_the_check_gives_it(serving):
    double = serving({"double": lambda x, *, times=2: times * x}).named("double")
    assert np.array_equal(double(np.arange(3)), [0, 2, 4])
    assert double(3, times=5) == 15
    assert double.__name__ == "<lambda>"


def test_names_are_looked_up(serving):
    student = serving({"n": 7})
    assert student.named("n") == 7
    with pytest.raises(NameError, match="'m' is not defined"):
        student.named("m")


def test_a_function_may_call_what_it_was_given_and_that_stays_with_the_check(serving):
    calls = []

    def count(x):
        calls.append(x)
        return x + 1

    apply = serving({"apply": lambda f, x: f(f(x))}).named("apply")
    assert apply(count, 5) == 7
    assert calls == [5, 6]

    def fails(x):
        raise ValueError("no")

    with pytest.raises(Exception, match="ValueError: no"):
        apply(fails, 5)


def test_an_error_says_what_and_where(serving):
    def careful(x):
        raise LookupError("nothing there")

    def stub():
        raise NotImplementedError

    student = serving({"careful": careful, "stub": stub, "leave": lambda: exit(3)})
    with pytest.raises(Exception, match="nothing there") as found:
        student.named("careful")(1)
    assert type(found.value).__name__ == "LookupError" and "of `careful`" in found.value.place
    with pytest.raises(NotImplementedError):
        student.named("stub")()
    with pytest.raises(Exception, match="3") as found:
        student.named("leave")()
    assert type(found.value).__name__ == "SystemExit"


@pytest.mark.parametrize(
    ("lab", "checks"),
    [
        ("lab-3-wbp-sirt", ["check-sirt-weights"]),  # asks for a pair
        ("lab-4-total-variation", ["check-largest-eigenvalue"]),  # gives functions that stay with the check
        ("lab-5-real-data", ["check-chain"]),  # gives a function of the package
        ("lab-6-leaderboard", ["check-score-rows", "check-hand-in"]),  # gives files, and takes them back
    ],
)
def test_what_checks_give_and_take_goes_through(serving, tmp_path, monkeypatch, lab, checks):
    monkeypatch.syspath_prepend(ROOT / "tools")
    verdict = importlib.import_module("run_checks").verdict
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names, lab = {}, Lab(lab)
    cells = lab.submission(lab.solutions()).cells
    for cell in cells:
        if cell.cell_type == "code" and grade_id(cell) not in lab.worth:
            exec(cell.source, names)
    for check in checks:
        (source,) = [cell.source for cell in cells if grade_id(cell) == check]
        found = verdict(source, serving(names))
        assert found["error"] is None and found["said"].startswith("✓")


def test_files_come_back_but_none_from_elsewhere(far_calls, tmp_path):
    far_calls._write(tmp_path / "in", "a/b.txt", b"x")
    assert (tmp_path / "in" / "a" / "b.txt").read_bytes() == b"x"
    for name in ("../b", "/etc/b", "a/../../b", "", "a\0b"):
        with pytest.raises(far_calls.Unreadable):
            far_calls._write(tmp_path / "in", name, b"x")


@pytest.mark.parametrize("wanted", [True, False])
def test_files_come_back_only_to_a_check_that_has_some(far_calls, tmp_path, wanted):
    sent = {"kind": "answer", "value": 1, "files": {"theirs": np.zeros(3, np.uint8)}}
    way = types.SimpleNamespace(
        send_bytes=lambda _: None, poll=lambda _: True, recv_bytes=lambda _: far_calls.packed(sent)
    )
    if wanted:
        (tmp_path / "folder").mkdir()
    assert far_calls.Student(way, 5.0, tmp_path)._called(0, (), {}) == 1
    assert (tmp_path / "theirs").exists() is wanted


def test_nobody_waits_longer_than_a_check_may_take(far_calls, serving, monkeypatch):
    monkeypatch.setattr(far_calls, "GRACE_S", 0.1)
    released = threading.Event()
    slow = serving({"slow": released.wait}, seconds=0.1).named("slow")
    with pytest.raises(far_calls.TimeUp):
        slow(30)
    released.set()
