"""What runs inside the sandbox: one scene, one submission; ``python -m etlab.course.challenge.run_scene``.

It loads the student's code into this very process, so nothing here guards anything: the evaluator trusts the sandbox
alone, and reads from it two files that need no parser to speak of, ``x_hat.f32``, raw float32 numbers, and
``spec.json``. Answers that come as HDF5, from a student's program or handed in, are read here, too, so that a file
that breaks the HDF5 library breaks the sandbox and not the evaluator.

A program is told neither tier nor scene: whatever it is given stands in the file as `SCENE`.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from etlab.compiled import take_kernels

SCENE = "scene_00"  # every problem's name in its file


def main(
    problem_file: str, submission: str, out: str, cache: str, answers: str = "", scene: str = ""
) -> None:
    """Answer the problem in ``problem_file`` and leave the answer in ``out``. Paths are as the sandbox shows them.

    ``answers`` and ``scene`` are file and group of an answer that was handed in instead of a program.
    """
    take_kernels(Path(cache))
    from etlab.course.challenge.submission import read_answer
    from etlab.course.scenes import hdf5
    from etlab.course.scenes.problem import read_problem
    from etlab.course.scenes.scoring import checked_answer

    with hdf5.opened(problem_file) as file:
        problem = read_problem(hdf5.group(file, SCENE))
    folder = Path(submission)
    if (folder / "solve.py").is_file():
        sys.path.insert(0, str(folder))
        x_hat, spec = importlib.import_module("solve").solve(problem)
    elif (folder / "solve").is_file():
        answer = Path(out, "answer.h5")
        subprocess.run(
            [str(folder / "solve"), problem_file, str(answer)], check=True, env=_this_python_first()
        )
        x_hat, spec = read_answer(answer, SCENE, problem)
        answer.unlink()
    else:
        x_hat, spec = read_answer(folder / answers, scene, problem)
    x_hat, spec = checked_answer(problem, x_hat, spec)
    x_hat.tofile(Path(out, "x_hat.f32"))
    Path(out, "spec.json").write_text(json.dumps(asdict(spec)), encoding="utf-8")


def _this_python_first() -> dict[str, str]:
    """Return an environment in which ``#!/usr/bin/env python`` is the Python with etlab in it."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


if __name__ == "__main__":
    main(*sys.argv[1:])
