"""How a check calls a student's function: what it writes to stderr is not heard, and where it stopped is said."""

import logging
import sys
import warnings

import numpy as np
import pytest

from etlab.course.grading.calling import CheckFailed, call


def test_a_function_may_log_and_warn_without_being_heard(capsys):
    log = logging.getLogger("student")
    handler = logging.StreamHandler(sys.stderr)  # keeps the stderr of now, as `logging.basicConfig` does
    log.addHandler(handler)

    def noisy(x):
        log.error("here I am")
        logging.getLogger("another").error("and here")
        warnings.warn("careful", stacklevel=1)
        print("nothing", file=sys.stderr)
        return x

    try:
        assert call(noisy, np.ones(3), shape=(3,)).sum() == 3
        assert capsys.readouterr().err == ""
        log.error("afterwards")
        assert capsys.readouterr().err == "afterwards\n"
    finally:
        log.removeHandler(handler)


def test_an_error_of_a_function_in_another_process_names_its_own_place():
    def stops():
        error = LookupError("nothing there")
        error.place = "line 3 of `theirs`"
        raise error

    with pytest.raises(CheckFailed, match=r"LookupError: nothing there \(line 3 of `theirs`\)"):
        call(stops, shape=())
