"""A whole class in a few minutes: hand out, collect, grade, give feedback, add up, show a board.

    python tools/demo_class.py FOLDER [LAB ...]       (`make class` makes it in _build/class, with all labs)

Three imaginary students hand in every lab: Ada has solved all of it, Ernst made one mistake in each, Mary came half
way. The grades are compared with ``labs/expected-class.csv``; a difference of a point is an error.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import nbformat
import typer
from lab import LABS, Lab, grade_id, in_words, mark, names
from marks import COLUMNS
from run_apart import compiled
from tables import read_table, write_table
from tqdm import tqdm

from etlab.course import sandbox
from etlab.course.challenge import make_tier
from etlab.course.sandbox.warm import cache_folder
from etlab.course.scenes import keys

TOOLS = Path(__file__).resolve().parent
EXPECTED = LABS / "expected-class.csv"
AT_A_TIME = 2
MISTAKES = {  # lab -> the cell with Ernst's mistake, what stands there and what he wrote
    "lab-1-projector": ("landing-row", "s + (n_rows - 1) / 2", "s + n_rows / 2"),
    "lab-2-missing-wedge": ("measured-mask", "arctan2(f_z, f_y)", "arctan2(f_y, f_z)"),
    "lab-3-wbp-sirt": ("sirt-weights", "return R, C", "return C, R"),
    "lab-4-total-variation": ("resolvent", "q - sigma * y", "q + sigma * y"),
    "lab-5-real-data": ("tilt-axis", "return angle, height", "return -angle, height"),
    "lab-6-leaderboard": ("difference", "ddof=1", "ddof=0"),
}
MARKED = {"ada": 12, "ernst": 8}  # points of fifteen that the teacher gives for the answers in words
WORDS = (
    "The published row reconstructed with the true microscope; ours had to find it. I tried both: see above."
)
WBP = """
from etlab.forward import Mismatch
from etlab.solvers import wbp

def solve(problem):
    return wbp(problem.operator(), problem.y), Mismatch()
"""
UNFINISHED = """
def solve(problem):
    raise NotImplementedError("not finished yet")
"""
PROGRAMS = {
    "ada": (LABS / "starter-kit" / "solve.py").read_text(encoding="utf-8"),
    "ernst": WBP,
    "mary": UNFINISHED,
}


def main(folder: Path, labs: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Make the class in FOLDER, which is new or was made by this program."""
    begun = time.monotonic()
    if folder.exists() and not (folder / ".demo-class").exists():
        sys.exit(f"folder: {folder} exists; name a new one")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / ".demo-class").touch()
    hand_out(folder / "handed-out")
    labs = labs or names()
    for name in labs:
        hand_in(Lab(name), folder)
    tasks = [lambda: board(folder), *(lambda name=name: grade(name, folder) for name in reversed(labs))]
    with ThreadPoolExecutor(AT_A_TIME) as pool:  # what takes longest begins
        list(tqdm(pool.map(lambda task: task(), tasks), total=len(tasks), desc="class", unit="task"))
    totals, results = folder / "totals.csv", [folder / "results" / name for name in labs]
    run("adding up", [sys.executable, TOOLS / "totals.py", *results, "--to", totals])
    compare(totals, labs)
    print(totals.read_text(encoding="utf-8"), end="")
    print(
        f"{folder}: as expected; feedback in results/LAB/feedback, the board in challenge-results/leaderboard.html"
    )
    print(f"made in {time.monotonic() - begun:.0f} s")


def hand_out(folder: Path) -> None:
    """Return what students get."""
    shutil.copytree(LABS / "release", folder)
    shutil.copytree(LABS / "starter-kit", folder / "starter-kit")


def hand_in(lab: Lab, folder: Path) -> None:
    """The three students' notebooks."""
    solutions = lab.solutions() | {grade_id(cell): WORDS for cell in lab.source().cells if in_words(cell)}
    half = dict(list(lab.solutions().items())[: len(lab.solutions()) // 2])
    answers = {"ada": solutions, "ernst": solutions | lab.changed(*MISTAKES[lab.name]), "mary": half}
    for student, given in answers.items():
        path = folder / "submitted" / lab.name / student / f"{lab.name}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(lab.submission(given), path)


def grade(name: str, folder: Path) -> None:
    """Grade one lab; the answers in words have been read."""
    command = [
        sys.executable,
        TOOLS / "grade_labs.py",
        name,
        folder / "submitted" / name,
        folder / "results" / name,
    ]
    cells = [cell for cell in Lab(name).source().cells if in_words(cell)]
    if cells:
        marks = folder / f"marks-{name}.csv"
        rows = [[s, grade_id(cell), n, mark(cell)["points"], ""] for cell in cells for s, n in MARKED.items()]
        write_table(marks, [COLUMNS, *rows])
        command += ["--marks", marks]
    run(f"grading {name}", command)


def board(folder: Path) -> None:
    """A blind challenge with a scene in each tier, and the three students' programs on it."""
    etlab = [sys.executable, "-c", "from etlab.cli import app; app()", "challenge"]
    key, tiers, handed_in = folder / "key.txt", folder / "challenge", folder / "programs"
    for student, code in PROGRAMS.items():
        (handed_in / student).mkdir(parents=True)
        (handed_in / student / "solve.py").write_text(code, encoding="utf-8")
    keys.new_key(key)
    for tier in ("public", "dev", "hidden"):
        make_tier(tiers / f"{tier}.h5", tier, preset="small", n_scenes=1, key=keys.read_key(key))
    results = folder / "challenge-results"
    shutil.copytree(compiled(sandbox.find()), cache_folder(results))  # those that the labs are graded with
    run("the board", [*etlab, "evaluate-all", handed_in, "-c", tiers, "-o", results])


def compare(totals: Path, labs: list[str]) -> None:
    """Stop if a student has other points than expected in one of the labs."""
    found, expected = ({row["student"]: row for row in read_table(path)} for path in (totals, EXPECTED))
    for student, row in expected.items():
        for lab in labs:
            if float(found[student][lab]) != float(row[lab]):
                sys.exit(f"{student} has {found[student][lab]} points in {lab}, expected {row[lab]}")


def run(doing: str, command: list) -> None:
    """Run a command; stop with what it said if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{doing} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    typer.run(main)
