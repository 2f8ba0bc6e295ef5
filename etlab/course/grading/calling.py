"""Calling a student's function: whatever comes back, the student reads one paragraph that says what to do.

In grading the function runs in another process (``tools/far_calls.py``). So a check passes numbers, arrays, functions
and objects of `etlab` that can be pickled; it looks at nothing but the answer, at what its own functions were called
with, and at files in a temporary folder.
"""

from __future__ import annotations

import io
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr

import numpy as np

LARGEST = 1e100  # the squares of larger numbers overflow, the error becomes NaN, and NaN exceeds no tolerance


class CheckFailed(AssertionError):
    """A check that did not hold. In a notebook it shows its message only, without a traceback."""

    def _render_traceback_(
        self,
    ) -> list[str]:  # IPython asks an exception that has this method to draw itself
        return [f"\x1b[31mNot yet.\x1b[0m {self}"]


class NotWritten(CheckFailed):
    """The function still is the stub that was handed out."""


@contextmanager
def case(seed: int | None, statement: str) -> Iterator[np.random.Generator]:
    """Yield random numbers for a check; print the statement if it holds, and name the seed in both cases."""
    if seed is None:
        seed = int(np.random.default_rng().integers(2**32))
    try:
        yield np.random.default_rng(seed)
    except NotWritten:
        raise
    except CheckFailed as failure:
        failure.args = (f"{failure} [seed={seed}]",)
        raise
    print(f"✓ {statement} [seed={seed}]")


def call(function: Callable, *arguments: object, shape: tuple[int | None, ...]) -> np.ndarray:
    """Return the function's answer as a finite float64 array of this shape, where None stands for any length.

    Raises CheckFailed with what came instead. Arrays are passed as copies, since a student may change them.
    """
    answer = answered(function, *arguments)
    name = getattr(function, "__name__", "the function")
    expected = str(shape).replace("None", "n")
    try:
        array = np.asarray(answer)
        if array.dtype.kind not in "biufO":
            raise TypeError
        array = array.astype(np.float64)
    except Exception:  # whatever an object of the student's own raises
        kind = type(answer).__name__
        raise CheckFailed(f"`{name}` returned a {kind}, expected real numbers of shape {expected}.") from None
    if len(array.shape) != len(shape) or any(
        want not in (None, got) for want, got in zip(shape, array.shape, strict=True)
    ):
        hint = " It looks transposed." if len(shape) > 1 and array.shape == shape[::-1] else ""
        raise CheckFailed(f"`{name}` returned shape {array.shape}, expected {expected}.{hint}")
    if not np.isfinite(array).all():
        raise CheckFailed(f"`{name}` returned {np.sum(~np.isfinite(array))} NaN or infinite values.")
    if np.abs(array).max(initial=0) > LARGEST:
        raise CheckFailed(
            f"`{name}` returned {np.abs(array).max():.0e}, expected numbers below {LARGEST:.0e}."
        )
    return array


def answered(function: Callable, *arguments: object) -> object:
    """Return the function's answer, whatever it is but None. Raises CheckFailed if it stops or returns nothing."""
    name = getattr(function, "__name__", "the function")
    copies = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
    try:
        with _unheard():
            answer = function(*copies)
    except NotImplementedError:
        raise NotWritten(
            f"`{name}` is not written yet. Replace `raise NotImplementedError()` in its cell above by your "
            "code, run that cell, then run this one again."
        ) from None
    except Exception as error:
        place = getattr(error, "place", None) or place_of(error)  # known already if it was in another process
        raise CheckFailed(f"`{name}` stopped with {type(error).__name__}: {error} ({place}).") from error
    if answer is None:
        raise CheckFailed(f"`{name}` returned nothing. Does it end with `return …`?")
    return answer


def place_of(error: BaseException) -> str:
    """Say on which line an error was raised."""
    line = traceback.extract_tb(error.__traceback__)[-1]
    return f"line {line.lineno} of `{line.name}`" + (f": `{line.line}`" if line.line else "")


@contextmanager
def _unheard() -> Iterator[None]:
    """Keep warnings and log messages from stderr: nbgrader gives no points to a cell that writes there."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable()  # a handler keeps the stderr of when it was made
        try:
            yield
        finally:
            logging.disable(before)
