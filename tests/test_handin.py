"""What is handed in: an honest folder or zip is copied, and whatever means harm leaves nothing behind."""

import io
import os
import resource
import shutil
import socket
import stat
import struct
import tempfile
import time
import tracemalloc
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import pytest

from etlab.course.challenge import unpack
from etlab.course.challenge.evaluate_all import found_submissions
from etlab.course.challenge.handin import HandInError, copied, submission_name

CODE = b"def solve(problem): ...\n"
MB = 1 << 20
STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14


@pytest.fixture
def submission(tmp_path):
    """A folder with nothing but solve.py."""
    folder = tmp_path / "ann"
    folder.mkdir()
    (folder / "solve.py").write_bytes(CODE)
    return folder


@pytest.fixture
def take(tmp_path):
    """``take(source) -> HandIn``; if it is refused, nothing of it may be left."""
    target = tmp_path / "copy"

    def do(source):
        try:
            return copied(source, target, "ann")
        except HandInError as error:
            assert not target.exists(), "what was refused is still there"
            assert "\n" not in str(error) and str(error).isprintable() and len(str(error)) < 300
            assert str(tmp_path) not in str(error), "the board would show the evaluator's folders"
            raise

    return do


@pytest.fixture
def zipped(tmp_path):
    """``zipped({name or ZipInfo: content}) -> Path``: a zip with solve.py and these entries."""

    def do(entries=(), name="ann.zip", code=True):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            if code:
                archive.writestr("solve.py", CODE)
            for entry, content in dict(entries).items():
                archive.writestr(entry, content)
        return tmp_path / name

    return do


def entry(name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def raw_zip(entries, *, method=DEFLATED, flags=0):
    """A zip made by hand, whose headers may lie: (name, packed content, claimed size, CRC) each."""
    body, table = io.BytesIO(), io.BytesIO()
    for name, packed, size, crc in entries:
        common = struct.pack("<HHHHHIIIHH", 20, flags, method, 0, 0, crc, len(packed), size, len(name), 0)
        table.write(b"PK\1\2" + b"\x14\0" + common + struct.pack("<HHHII", 0, 0, 0, 0, body.tell()) + name)
        body.write(b"PK\3\4" + common + name + packed)
    n, size, start = len(entries) & 0xFFFF, table.tell(), body.tell()
    return (
        body.getvalue() + table.getvalue() + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, n, n, size, start, 0)
    )


def zeros_packed(n_bytes):
    """So many zeros by deflate, without packing each of them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(MB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (n_bytes // MB) + packer.flush()


@contextmanager
def as_ordinary_user():
    """Root may read everything; for a while it is somebody else."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


# What is honest.


def test_a_folder_is_copied_with_its_folders_and_rights(take, submission):
    (submission / "parts" / "deep").mkdir(parents=True)
    (submission / "parts" / "deep" / "helper.py").write_text("x = 1\n")
    (submission / "solve").write_text("#!/bin/sh\n")
    (submission / "solve").chmod(0o700)
    (submission / "solve.py").chmod(0o400)
    handed_in = take(submission)
    assert handed_in.name == "ann" and handed_in.program.name == "solve.py"
    files = {path.relative_to(handed_in.folder).as_posix() for path in handed_in.folder.rglob("*.py")}
    assert files == {"solve.py", "parts/deep/helper.py"}
    modes = [
        stat.S_IMODE((handed_in.folder / name).stat().st_mode) for name in ("solve", "solve.py", "parts")
    ]
    assert modes == [0o755, 0o644, 0o755], (
        "others must be able to read it: in the sandbox root is one of them"
    )


def test_a_copy_can_be_read_in_the_sandbox_whatever_the_umask(take, submission):
    (submission / "parts").mkdir()
    (submission / "parts" / "helper.py").touch()
    before = os.umask(0o077)
    try:
        folder = take(submission).folder
    finally:
        os.umask(before)
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o044 == 0o044


def test_a_zip_is_the_same_submission_as_the_folder_that_it_was_made_of(take, submission, tmp_path, zipped):
    (submission / "a").mkdir()
    (submission / "a" / "helper.py").write_bytes(b"x = 1\n")
    (submission / "solve").write_bytes(b"#!/bin/sh\n")
    (submission / "solve").chmod(0o755)
    archive = zipped(
        {"a/": b"", "a/helper.py": b"x = 1\n", entry("solve", stat.S_IFREG | 0o755): b"#!/bin/sh\n"}
    )
    first = take(submission)
    first.folder.rename(tmp_path / "first")
    assert take(archive).sha256 == first.sha256


def test_zips_as_windows_makes_them(take, zipped):
    folder = take(zipped({"parts\\": b"", "parts\\helper.py": b"x = 1\n", "./": b""})).folder
    assert (folder / "parts" / "helper.py").read_bytes() == b"x = 1\n"


def test_answers_are_found_but_none_to_the_hidden_tier(take, tmp_path):
    folder = tmp_path / "ann"
    folder.mkdir()
    for tier in ("public", "dev", "hidden"):
        (folder / f"{tier}.h5").touch()
    handed_in = take(folder)
    assert handed_in.program is None
    assert handed_in.answers("public").name == "public.h5" and handed_in.answers("dev").name == "dev.h5"
    assert handed_in.answers("hidden") is None


def test_whoever_zips_the_folder_itself_is_told(take, zipped):
    with pytest.raises(HandInError, match=r"found solve.py in the folder 'ann': hand in what is in it"):
        take(zipped({"ann/solve.py": CODE}, code=False))
    with pytest.raises(HandInError, match="found none of them"):
        take(zipped({"main.py": CODE}, code=False))


# Identity.


def test_the_identity_changes_with_whatever_is_in_it_and_with_nothing_else(take, submission, tmp_path):
    def identity():
        handed_in = take(submission)
        handed_in.folder.rename(tmp_path / f"copy-{len(list(tmp_path.iterdir()))}")
        return handed_in.sha256

    seen = [identity()]
    os.utime(submission / "solve.py", (1, 1))
    (submission / "solve.py").chmod(0o600)
    assert identity() == seen[0], "neither times nor other rights are part of it"
    changes = (
        lambda: (submission / "solve.py").write_bytes(CODE + b"\n"),
        lambda: (submission / "solve.py").chmod(0o755),
        lambda: (submission / "data.bin").write_bytes(b"ab"),
        lambda: (submission / "data.bin").rename(submission / "data.bi"),
        lambda: (submission / "data.bi").write_bytes(b"ba"),
        lambda: (submission / "folder").mkdir(),
        lambda: (submission / "data.bi").rename(submission / "folder" / "data.bi"),
    )
    for change in changes:
        change()
        seen.append(identity())
    assert len(set(seen)) == len(seen)


# Zips that mean harm.


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../solve.py", "leads out"),
        ("a/../../solve.py", "leads out"),
        ("/etc/passwd", "leads out"),
        ("//server/share", "leads out"),
        ("..\\solve.py", "leads out"),
        ("\\\\server\\share", "leads out"),
        ("C:\\solve.py", "leads out"),
        ("c:solve.py", "leads out"),
        ("a/b:stream", "leads out"),
        ("solve.py/x", "solve.py: got two things of this name"),
        ("/".join("a" * 40), "more than 32 folders"),
        ("/".join("a" * 3000), "more than 32 folders"),
        ("n" * 300, "expected a name that a file can have"),
        ("a/" + "/".join(["n" * 250] * 20), "cannot be read: File name too long"),
        ("../\x1b[2J\u202egnp.exe\n", r"\.\./\?\[2J\?gnp\.exe\?: .*leads out"),
    ],
)
def test_paths_that_lead_out_or_cannot_be(take, zipped, tmp_path, name, message):
    before = set(tmp_path.parent.rglob("*"))
    archive = zipped({name: b"evil"})
    with pytest.raises(HandInError, match=message):
        take(archive)
    assert set(tmp_path.parent.rglob("*")) - before <= {archive}


@pytest.mark.parametrize("kind", ["S_IFLNK", "S_IFCHR", "S_IFBLK", "S_IFIFO", "S_IFSOCK"])
def test_links_and_devices_in_a_zip(take, zipped, kind):
    with pytest.raises(HandInError, match="expected files and folders, got a link or device"):
        take(zipped({entry("data", getattr(stat, kind) | 0o777): b"/etc/passwd"}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a", "./a"), ("a", "b//../b", "b")]
)
def test_a_name_that_comes_twice(take, tmp_path, names):
    with zipfile.ZipFile(tmp_path / "ann.zip", "w") as archive:
        for name in ("solve.py", *names):
            archive.writestr(name, CODE)
    with pytest.raises(HandInError, match=r"two things of this name|leads out"):
        take(tmp_path / "ann.zip")


def good_zip(**options):
    return raw_zip([(b"solve.py", CODE, len(CODE), zlib.crc32(CODE))], method=STORED, **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (good_zip(flags=1), "without a password"),
        (good_zip()[:-10], "not a zip file"),
        (good_zip()[10:], "cannot be read"),
        (good_zip().replace(CODE, CODE.upper()), "Bad CRC-32"),
        (b"", "not a zip file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(1000), "not a zip file"),
        (b"Rar!\x1a\x07\x01\x00", "not a zip file"),
        (raw_zip([(b"solve.py", b"\xff" * 50, 500, 0)]), "cannot be read"),
        (raw_zip([(b"solve.py", CODE, 10, 0)], method=BZIP2), "packed by 'deflate'"),
        (raw_zip([(b"solve.py", CODE, 10, 0)], method=LZMA), "packed by 'deflate'"),
        (raw_zip([(b"solve.py", CODE, 10, 0)], method=99), "packed by 'deflate'"),
        (raw_zip([(b"\xff\xfe.py", b"", 0, 0)], flags=0x800), "cannot be read as a zip"),
        (raw_zip([(b"solve.py", b"", 0, 0)]).replace(b"PK\3\4", b"PK\3\5"), "cannot be read as a zip"),
    ],
)
def test_zips_that_are_none(take, tmp_path, content, message):
    (tmp_path / "ann.zip").write_bytes(content)
    with pytest.raises(HandInError, match=message):
        take(tmp_path / "ann.zip")


def test_a_zip_with_a_byte_changed_or_cut_off_is_refused_or_read_but_nothing_else(take, tmp_path):
    whole, refused = good_zip(), 0
    for cut in range(0, len(whole), 7):
        changed = whole[:cut] + bytes([whole[cut] ^ 0xFF]) + whole[cut + 1 :]
        for content in (changed, whole[:cut]):
            (tmp_path / "ann.zip").write_bytes(content)
            try:
                shutil.rmtree(take(tmp_path / "ann.zip").folder)
            except HandInError:
                refused += 1
    assert refused > len(whole) // 7, "what is cut off is always noticed"


GIGABYTES = zeros_packed(10 << 30)
ENDLESS = {
    "ten gigabytes of zeros": (
        lambda: raw_zip([(b"solve.py", GIGABYTES, 0xFFFFFFFF, 0)]),
        "got more than 256 MiB, unpacked",
    ),
    "a size that is a lie": (
        lambda: raw_zip([(b"solve.py", GIGABYTES, 100, 0)]),
        "Bad CRC-32",
    ),
    "many that are large together": (
        lambda: raw_zip([(b"%d" % i, zeros_packed(100 * MB), 100 * MB, zlib.crc32(bytes(100 * MB))) for i in range(4)]),
        "got more than 256 MiB, unpacked",
    ),
    "a hundred thousand files": (
        lambda: raw_zip([(b"%d" % i, b"", 0, 0) for i in range(100_000)]),
        "a table of contents for far more than 1000 files",
    ),
    "eleven hundred files": (
        lambda: raw_zip([(b"%d" % i, b"", 0, 0) for i in range(1100)]),
        "got 1100 files, expected at most 1000",
    ),
    "folders without end": (
        lambda: raw_zip([(b"%d/" % i + b"a/" * 30, b"", 0, 0) for i in range(900)]),
        "got more than 1000 files and folders",
    ),
}  # fmt: skip


@pytest.mark.parametrize("bomb", ENDLESS)
def test_bombs_are_given_up_in_little_time_and_memory(take, tmp_path, bomb):
    made, message = ENDLESS[bomb]
    (tmp_path / "ann.zip").write_bytes(made())
    tracemalloc.start()
    begun = time.process_time()
    try:
        with pytest.raises(HandInError, match=message):
            take(tmp_path / "ann.zip")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - begun < 10
    assert peak < 40 * MB


# Folders that mean harm.


@pytest.mark.parametrize("link_to", ["/etc/passwd", "/etc", "nowhere", "solve.py", ".", "../sealed/dev.h5"])
def test_links_in_a_folder(take, submission, link_to, tmp_path):
    (tmp_path / "sealed").mkdir()
    (tmp_path / "sealed" / "dev.h5").write_bytes(b"the truth")
    (submission / "data").mkdir()
    (submission / "data" / "link").symlink_to(link_to)
    with pytest.raises(HandInError, match=r"link: expected files and folders.* got a link"):
        take(submission)


def test_a_submission_that_is_itself_a_link(take, submission, tmp_path):
    for name, to in (("bob", submission), ("bob.zip", "/etc/passwd"), ("eve", "nowhere")):
        (tmp_path / name).symlink_to(to)
        with pytest.raises(HandInError, match="got a link"):
            take(tmp_path / name)


def test_pipes_and_sockets_are_refused_at_once(take, submission, monkeypatch):
    os.mkfifo(submission / "pipe")
    with pytest.raises(HandInError, match="pipe: expected files and folders, got something else"):
        take(submission)
    with pytest.raises(HandInError, match="got something else"):
        take(submission / "pipe")
    (submission / "pipe").unlink()
    monkeypatch.chdir(submission)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        with pytest.raises(HandInError, match="socket: expected files and folders"):
            take(submission)
    with pytest.raises(HandInError, match="expected files and folders, got something else"):
        take(Path("/dev/zero"))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_cannot_be_read_is_not_left_out_in_silence(kind):
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o777)
        with as_ordinary_user():
            folder = Path(place, "ann")
            (folder / "data").mkdir(parents=True)
            (folder / "solve.py").write_bytes(CODE)
            (folder / "data" / "x").touch()
            closed = folder / "data" / "x" if kind == "file" else folder / "data"
            closed.chmod(0)
            try:
                with pytest.raises(HandInError, match=r"can be read|cannot be read: Permission denied"):
                    copied(folder, Path(place, "copy"), "ann")
            finally:
                closed.chmod(0o700)
            assert not Path(place, "copy").exists()


def test_folders_without_end(take, submission):
    (submission / "/".join("a" * 40)).mkdir(parents=True)
    with pytest.raises(HandInError, match="more than 32 folders"):
        take(submission)


def test_a_folder_deeper_than_a_path_can_be_long(take, submission):
    here = os.open(submission, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=here)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    with pytest.raises(HandInError, match=r"expected a name that a file can have|cannot be read"):
        take(submission)


def test_too_many_and_too_large(take, submission):
    for i in range(1000):
        (submission / f"{i}").mkdir()
    with pytest.raises(HandInError, match="more than 1000 files and folders"):
        take(submission)
    for i in range(1000):
        (submission / f"{i}").rmdir()
    with (submission / "holes").open("wb") as file:
        file.truncate(10 << 40)
    with pytest.raises(HandInError, match="more than 256 MiB"):
        take(submission)


@pytest.mark.parametrize(
    "name", [b"a\nb", b"\x1b[31m", b"\xff\xfe", "\u202egnp.exe".encode(), "а".encode(), b"-rf *", b"\\..\\x", b"$(id)"]
)  # fmt: skip
def test_odd_names_inside_are_copied_and_never_shown_as_they_are(take, submission, tmp_path, name):
    odd = os.path.join(os.fsencode(submission), name)
    Path(os.fsdecode(odd)).write_bytes(b"x")
    handed_in = take(submission)
    assert os.listdir(os.fsencode(handed_in.folder)).count(name) == 1 and len(handed_in.sha256) == 64
    handed_in.folder.rename(tmp_path / "first")
    os.unlink(odd)
    os.symlink("/etc/passwd", odd)
    with pytest.raises(HandInError, match="got a link"):
        take(submission)


def test_a_folder_that_becomes_a_link_while_it_is_copied_is_not_followed(
    take, submission, monkeypatch, tmp_path
):
    (tmp_path / "truth").write_bytes(b"the truth")
    (submission / "parts").mkdir()
    (submission / "parts" / "x").write_bytes(b"honest")
    (tmp_path / "sealed").mkdir()
    (tmp_path / "sealed" / "x").write_bytes(b"the truth")
    copy_folder = unpack.Copy.folder

    def swap(self, inside):
        copy_folder(self, inside)
        if inside.name == "parts" and not (submission / "parts").is_symlink():
            (submission / "parts").rename(tmp_path / "elsewhere")
            (submission / "parts").symlink_to(tmp_path / "sealed")

    monkeypatch.setattr(unpack.Copy, "folder", swap)
    folder = take(submission).folder
    assert not [path for path in folder.rglob("*") if path.is_file() and b"truth" in path.read_bytes()]


def test_a_file_that_grows_while_it_is_copied(take, submission, monkeypatch):
    class Endless(io.BytesIO):
        def read(self, n=-1):
            return bytes(n)

        def fileno(self):
            return 0

    monkeypatch.setattr("etlab.course.challenge.handin.open_plain", lambda *_: Endless())
    with pytest.raises(HandInError, match="more than 256 MiB"):
        take(submission)


def test_a_folder_that_goes_away_while_it_is_copied(take, submission, monkeypatch):
    (submission / "parts").mkdir()
    monkeypatch.setattr(unpack.Copy, "folder", lambda self, inside: (submission / "solve.py").unlink())
    with pytest.raises(HandInError, match=r"solve\.py: expected files and folders that can be read"):
        take(submission)


def test_want_of_files_here_is_not_the_student_s_fault(take, submission):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            take(submission)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# Names.


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("ann", "ann"),
        ("Group 7 (a).zip", None),
        ("Group 7.zip", "Group 7"),
        ("ann.tar.ZIP", "ann.tar"),
        ("a.b_c+d-e", "a.b_c+d-e"),
        ("n" * 60, "n" * 60),
        ("n" * 61, None),
        (".hidden", None),
        ("-rf", None),
        (" ann", None),
        ("", "here"),
        ("..", None),
        ("ann\nbob", None),
        ("ann\n", None),
        ("ann\x1b[2J", None),
        ("аnn", None),  # a Cyrillic letter
        ("ann\u202e", None),
        ("ann\u200b", None),
        ("１", None),
        ("<b>ann", None),
        ("ann;id", None),
        ("ann ", None),
        ("ann .zip", None),
        ("ann  b", None),
        ("ann b", "ann b"),
        ("CS-ET", None),
        ("cs-et.zip", None),
        ("CS ET", None),
        ("CS-ET + gradient", None),
        ("DiffET+gradient", None),
        ("my CS-ET", "my CS-ET"),
        ("baseline CS-ET + gradient", None),
        ("Baseline", None),
        ("leaderboard.json", None),
        ("Leaderboard.html.zip", None),
    ],
)
def test_names_that_a_board_shows(file, name, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    source = Path(file) if file in ("", "..") else Path("some folder", file)
    if name and file != "..":
        assert submission_name(source) == name
    elif file != "..":
        with pytest.raises(HandInError, match="name: "):
            submission_name(source)


def test_everything_in_a_class_s_folder_is_evaluated_or_named(tmp_path):
    for name in ("ann", "bob", "baseline x", "é\x1b"):
        (tmp_path / name).mkdir()
    for name in ("eve.zip", "mallory.ZIP", "notes.txt", "dave.rar", ".DS_Store"):
        (tmp_path / name).touch()
    found, refused = found_submissions(tmp_path)
    assert set(found) == {"ann", "bob", "eve", "mallory"} and all(
        path.is_absolute() for path in found.values()
    )
    assert set(refused) == {"baseline x", "é?", "notes.txt", "dave.rar"}
    for name in ("ann.zip", "BOB.zip"):
        (tmp_path / name).touch()
    found, more = found_submissions(tmp_path)
    assert set(found) == {"eve", "mallory"}, "they cost nobody else"
    assert set(more) - set(refused) == {"ann", "ann.zip", "bob", "BOB.zip"}
    assert more["ann"] == more["ann.zip"] == "name: got ann and ann.zip, expected one submission of this name"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="found none"):
        found_submissions(tmp_path / "empty")
    (tmp_path / "empty" / "ann ").mkdir()
    assert found_submissions(tmp_path / "empty")[0] == {}
