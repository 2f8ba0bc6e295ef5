"""The command line of the challenge: what it says, what it writes, and how it fails."""

import builtins
import functools
import json
import os
import re

import pytest
from typer.testing import CliRunner

from etlab.cli import app
from etlab.cli.challenge import DEMO_NOTICE
from etlab.course import sandbox
from etlab.course.challenge import load_tier, tiers, workers, write_submission
from etlab.course.challenge.evaluate import Evaluator
from etlab.course.sandbox.warm import cache_folder
from etlab.forward import Mismatch
from etlab.solvers import wbp
from tests.classroom import ZEROS, classroom, forked, found_backend, score_each_answer_once


def command(*arguments):
    """Run it; stdout and stderr apart. What goes wrong is said in a line and never as a traceback."""
    done = CliRunner().invoke(app, ["challenge", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "Traceback" not in done.output
    return done


def fails(*arguments, says):
    done = command(*arguments)
    assert done.exit_code == 1, done.output
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert re.search(says, line), line


@pytest.fixture(scope="module", autouse=True)
def once():
    """Draw a scene once, and score equal answers once: here it is said and written, not computed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiers, "draw", functools.cache(tiers.draw))
        score_each_answer_once(patch)
        yield


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A challenge of one scene in each tier, made with the command and the key that everybody has."""
    folder = tmp_path_factory.mktemp("demo") / "challenge"
    for tier in ("public", "dev", "hidden"):
        done = command("make", "--tier", tier, "--out", folder, "--scenes", 1, "--preset", "small")
        assert done.exit_code == 0 and f"{tier}.h5: 1 scenes, small" in done.stdout
        assert (DEMO_NOTICE in done.stderr) == (tier != "public"), "the public tier is drawn from no key"
        assert ("keep it" in done.stdout) == (tier != "public")
        assert ("do not hand out" in done.stdout) == (tier == "hidden")
    return folder


@pytest.fixture
def room(tmp_path, tmp_path_factory):
    """A challenge with a secret key, and results in which nothing has to be compiled."""
    made = classroom(tmp_path_factory, tmp_path / "course")
    cache_folder(made.results).mkdir(parents=True)
    return made


@pytest.fixture
def at_once(monkeypatch):
    """Nothing is started: not a worker, and not a sandbox, which other tests try."""
    here = lambda work, items, _: ((one, work(one)) for one in items)  # noqa: E731
    monkeypatch.setattr(workers, "side_by_side", here)
    monkeypatch.setattr(sandbox, "find", lambda **_: sandbox.Unsafe())
    monkeypatch.setattr(sandbox, "run", forked)


def answers(path, tier):
    problems = load_tier(tier)
    write_submission(
        path, {name: (wbp(problem.operator(), problem.y), Mismatch()) for name, problem in problems.items()}
    )
    return path


# Keys and tiers.


def test_a_key_is_made_once(tmp_path):
    done = command("key", tmp_path / "key")
    assert done.exit_code == 0 and "keep it secret" in done.stdout
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    before = (tmp_path / "key").read_text()
    assert before.strip() not in done.output
    fails("key", tmp_path / "key", says="never overwritten")
    assert (tmp_path / "key").read_text() == before
    fails("key", tmp_path / "nowhere" / "key", says="No such file")


def test_with_a_secret_key_nothing_is_said_of_demo(tmp_path):
    command("key", tmp_path / "key")
    options = ("--out", tmp_path, "--scenes", 1, "--preset", "small", "--key", tmp_path / "key")
    done = command("make", "--tier", "dev", *options)
    assert done.exit_code == 0 and "demo" not in done.output
    assert (tmp_path / "sealed" / "dev.h5").stat().st_mode & 0o077 == 0
    assert load_tier(tmp_path / "dev.h5").key == "secret"


def test_what_cannot_be_made(demo, tmp_path):
    fails("make", "--tier", "dev", "--out", demo, "--preset", "small", says="already there")
    fails("make", "--tier", "private", "--out", tmp_path, says="got 'private', expected one of public, dev")
    fails("make", "--tier", "public", "--out", tmp_path, "--preset", "tiny", says="got 'tiny'")
    (tmp_path / "key").write_text("too short")
    fails("make", "--tier", "dev", "--out", tmp_path, "--key", tmp_path / "key", says="hexadecimal digits")
    fails("make", "--tier", "dev", "--out", tmp_path, "--key", tmp_path / "none", says="No such file")
    assert command("make", "--tier", "dev", "--scenes", 0).exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_tier_is_overwritten_if_asked_for(tmp_path):
    options = ("--tier", "public", "--out", tmp_path, "--preset", "small", "--scenes")
    command("make", *options, 1)
    assert command("make", *options, 2, "--overwrite").exit_code == 0
    assert len(load_tier(tmp_path / "public.h5")) == 2


# Scores.


def test_the_public_tier_is_scored_with_a_picture(demo, tmp_path):
    made, picture = answers(tmp_path / "answers.h5", demo / "public.h5"), tmp_path / "report.png"
    done = command("score", made, demo / "public.h5", "--report", picture)
    assert done.exit_code == 0, done.output
    assert re.search(r"public tier: score 0\.\d{3}, consistency 0\.\d{3}", done.stdout)
    assert picture.read_bytes().startswith(b"\x89PNG") and "shows truth, answer and difference" in done.stdout
    assert DEMO_NOTICE not in done.stderr
    fails("score", made, demo / "public.h5", "--report", picture, says="use --overwrite")
    fails("score", made, demo / "public.h5", "--report", tmp_path / "report.xyz", says="xyz")
    assert {path.name for path in tmp_path.iterdir()} == {"answers.h5", "report.png"}
    again = command("score", made, demo / "public.h5", "--report", picture, "--overwrite")
    assert again.exit_code == 0


def test_of_the_dev_tier_only_the_consistency_is_known_without_its_truth(demo, tmp_path):
    made = answers(tmp_path / "answers.h5", demo / "dev.h5")
    done = command("score", made, demo / "dev.h5")
    assert done.exit_code == 0 and "dev tier: score nan" in done.stdout and DEMO_NOTICE in done.stderr
    assert "only the consistency can be checked" in done.stdout
    fails("score", made, demo / "dev.h5", "--report", tmp_path / "r.png", says="its truth is sealed")
    done = command("score", made, demo / "dev.h5", "--sealed", demo / "sealed" / "dev.h5")
    assert done.exit_code == 0 and re.search(r"dev tier: score 0\.\d{3}", done.stdout)


def test_what_cannot_be_scored(demo, tmp_path):
    made = answers(tmp_path / "answers.h5", demo / "public.h5")
    fails("score", tmp_path / "none.h5", demo / "public.h5", says="none.h5")
    fails("score", made, tmp_path / "none.h5", says="none.h5")
    fails("score", demo / "public.h5", demo / "public.h5", says="expected 'etlab submission'")
    fails("score", made, made, says="expected 'etlab challenge'")
    fails(
        "score",
        made,
        demo / "dev.h5",
        "--sealed",
        demo / "public.h5",
        says="expected 'etlab challenge truth'",
    )
    (tmp_path / "nonsense.h5").write_bytes(b"nonsense")
    fails("score", tmp_path / "nonsense.h5", demo / "public.h5", says="nonsense.h5: damaged")


# One submission.


def test_a_submission_is_evaluated(room, monkeypatch):
    backend = found_backend()
    monkeypatch.setattr(sandbox, "find", lambda **_: backend)
    monkeypatch.setattr(sandbox, "run", forked)
    folders = ("--challenge", room.challenge, "--results", room.results)
    done = command("evaluate", room.hand_in("ann", ZEROS), *folders)
    assert done.exit_code == 0, done.output
    for tier in ("public", "dev", "hidden"):
        assert re.search(rf"^{tier} +scene_00  0\.\d{{3}}  \(\d+ s\)$", done.stdout, re.M)
    assert re.search(r"^  1 ann +0\.\d{3} +0\.\d{3} +0\.\d{3} +0\.\d{3}$", done.stdout, re.M)
    assert "demo" not in done.output and "WARNING" not in done.output
    board = json.loads((room.results / "leaderboard.json").read_text())
    assert [row["name"] for row in board["rows"]] == ["ann"]
    monkeypatch.setattr(Evaluator, "_run", lambda *_: pytest.fail("it is recorded already"))
    again = command("evaluate", room.submissions / "ann", *folders)
    assert sorted(again.stdout.splitlines()) == sorted(done.stdout.splitlines())


def test_a_version_too_many_is_named_and_changes_nothing(room, at_once):
    folders = ("--challenge", room.challenge, "--results", room.results, "--attempts", 1, "--unsafe")
    room.hand_in("ann", ZEROS)
    assert command("evaluate-all", room.submissions, *folders).exit_code == 0
    board = json.loads((room.results / "leaderboard.json").read_text())["rows"]
    fails(
        "evaluate",
        room.hand_in("ann", ZEROS + "# again"),
        *folders,
        says="attempts: got version 2, expected at",
    )
    done = command("evaluate-all", room.submissions, *folders)
    assert done.exit_code == 1 and "not evaluated: ann: attempts: got version 2" in done.stderr
    assert json.loads((room.results / "leaderboard.json").read_text())["rows"] == board


def test_what_is_evaluated_with_the_key_of_everybody_says_so_once(demo, tmp_path, at_once):
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "main.py").touch()
    cache_folder(tmp_path / "results").mkdir(parents=True)
    for name, source in (("evaluate", tmp_path / "ann"), ("evaluate-all", tmp_path)):
        done = command(name, source, "--challenge", demo, "--results", tmp_path / "results", "--unsafe")
        assert done.stderr.count(DEMO_NOTICE) == 1


def test_a_refused_submission_is_refused_in_words(room):
    found_backend()
    folder = room.hand_in("ann", {"main.py": "x = 1"})
    done = command("evaluate", folder, "--challenge", room.challenge, "--results", room.results)
    assert done.exit_code == 0
    assert (
        "public  scene_00  refused: expected solve.py, solve, public.h5 or dev.h5 at its top" in done.stdout
    )


def test_what_cannot_be_evaluated(room, tmp_path, monkeypatch):
    found_backend()
    ann = room.hand_in("ann", ZEROS)
    folders = ("--challenge", room.challenge, "--results", room.results)
    fails(
        "evaluate",
        room.submissions / "none",
        *folders,
        says="none: expected a folder or a zip, found nothing",
    )
    fails("evaluate", room.hand_in("baseline x", ZEROS), *folders, says="name: got one that begins")
    fails(
        "evaluate", ann, "--challenge", tmp_path, "--results", room.results, says="expected public.h5, dev.h5"
    )
    fails("evaluate", ann, *folders, "--wall", 0, says="wall_s: got 0")
    fails("evaluate", ann, *folders, "--memory", -1, says="memory_mb: got -1")
    fails("evaluate-all", tmp_path / "none", *folders, says="none")
    (tmp_path / "empty").mkdir()
    fails("evaluate-all", tmp_path / "empty", *folders, says="expected folders or zips")
    (room.challenge / "sealed" / "dev.h5").unlink()
    fails("evaluate", ann, *folders, says="dev.h5")
    assert {path.name for path in room.results.iterdir()} <= {cache_folder(room.results).name, ".lock"}


def test_without_a_sandbox_nothing_is_run_unless_asked_for_and_warned_of(room, monkeypatch):
    monkeypatch.setattr(sandbox, "find_bubblewrap", lambda: None)
    folders = ("--challenge", room.challenge, "--results", room.results)
    for name, source in (("evaluate", room.hand_in("ann", ZEROS)), ("evaluate-all", room.submissions)):
        fails(name, source, *folders, says="nothing here can run a program safely.*apt install bubblewrap")
    assert not list(room.results.glob("ann"))
    monkeypatch.setattr(sandbox, "run", forked)
    done = command("evaluate", room.submissions / "ann", *folders, "--unsafe")
    assert done.exit_code == 0 and "WARNING: no sandbox" in done.stderr
    assert re.search(r"^  1 ann +0\.\d{3}", done.stdout, re.M)


def test_with_a_sandbox_unsafe_makes_no_difference(room):
    found_backend()
    folder = room.hand_in("ann", {"main.py": "x = 1"})
    done = command("evaluate", folder, "--challenge", room.challenge, "--results", room.results, "--unsafe")
    assert "WARNING" not in done.output


# A class.


def test_a_class_is_evaluated(room, at_once):
    room.hand_in("ann", ZEROS)
    room.hand_in("bob", {"main.py": "x = 1"})
    folders = ("--challenge", room.challenge, "--results", room.results, "--unsafe")
    done = command("evaluate-all", room.submissions, *folders, "--workers", 1)
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["overall", "dev", "hidden", "public", "(practice)"]
    assert lines[1][:2] == ["1", "ann"] and lines[2] == ["2", "bob", *["0.000"] * 4]
    assert "leaderboard.html shows it" in done.stdout
    board = json.loads((room.results / "leaderboard.json").read_text())
    assert [(row["name"], row["kind"]) for row in board["rows"]] == [
        ("ann", "submission"),
        ("bob", "submission"),
    ]
    html = (room.results / "leaderboard.html").read_text()
    assert "ann" in html and "data:image/png;base64," not in html, "their programs saw hidden scenes"
    (room.submissions / "notes.txt").touch()
    room.hand_in("-rf", ZEROS)
    done = command("evaluate-all", room.submissions, *folders, "--workers", 1)
    assert done.exit_code == 1, "somebody was left out"
    assert "not evaluated: notes.txt: expected a folder or a zip" in done.stderr
    assert "not evaluated: -rf: name: expected" in done.stderr
    assert json.loads((room.results / "leaderboard.json").read_text())["rows"] == board["rows"]


def test_a_scheduler_that_is_none(room):
    found_backend()
    room.hand_in("ann", ZEROS)
    folders = ("--challenge", room.challenge, "--results", room.results)
    fails("evaluate-all", room.submissions, *folders, "--scheduler", "nonsense://x", says="nonsense")
    done = command("evaluate-all", room.submissions, *folders, "--scheduler", "tcp://127.0.0.1:x")
    assert "WARNING: a dask scheduler without TLS" in done.stderr and done.exit_code == 1


def test_dask_is_needed_for_a_scheduler_only(room, monkeypatch, at_once):
    real = builtins.__import__
    monkeypatch.setattr(
        builtins,
        "__import__",
        lambda name, *rest: real("no_" + name if name == "distributed" else name, *rest),
    )
    room.hand_in("ann", {"main.py": "x = 1"})
    folders = ("--challenge", room.challenge, "--results", room.results, "--unsafe")
    assert command("evaluate-all", room.submissions, *folders).exit_code == 0
    folders += ("--scheduler", "tls://127.0.0.1:9")
    fails("evaluate-all", room.submissions, *folders, says=r"needs dask: pip install 'dask\[distributed\]'")


def test_relative_folders_are_those_of_whoever_types_them(room, monkeypatch, at_once):
    monkeypatch.chdir(room.folder)
    room.hand_in("ann", {"main.py": "x = 1"})
    assert command("evaluate-all", "submissions", "--workers", 1).exit_code == 0
    assert (room.results / "leaderboard.html").is_file()
    monkeypatch.chdir(room.submissions / "ann")
    done = command("evaluate", ".", "-c", os.path.join("..", "..", "challenge"), "-o", "../../results")
    assert done.exit_code == 0 and "  1 ann" in done.stdout
