"""`etlab fetch`: downloads that break off, go on, or are not what was promised. This machine plays the archive."""

import hashlib
import http.server
import json
import threading

import pytest
from typer.testing import CliRunner

from etlab import data
from etlab.cli import app
from etlab.io import open_series
from etlab.pipeline import archives
from etlab.pipeline.archives import Remote, download, matching

CONTENT = bytes(range(256)) * 5000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
NOBODY = "http://127.0.0.1:9/stack.mrc"  # the discard port: nobody answers


class Archive(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT under any name, in ranges if asked; ``breaks_after`` bytes it hangs up."""

    breaks_after = None
    knows_ranges = True
    answers = None
    asked = None

    def do_GET(self):
        self.asked.append(self.headers.get("Range"))
        if self.path in self.answers:
            body = json.dumps(self.answers[self.path]).encode()
            first = 0
        elif self.path == "/missing":
            return self.send_error(404)
        else:
            wanted = self.headers.get("Range") if self.knows_ranges else None
            first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            body = CONTENT[first:]
        if first >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.breaks_after])
        return None

    def log_message(self, *arguments):
        pass


@pytest.fixture
def archive():
    class Server(Archive):
        asked, answers = [], {}

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Server.url = f"http://127.0.0.1:{server.server_port}"
    yield Server
    server.shutdown()
    server.server_close()


def remote(archive, **facts):
    return Remote("stack.mrc", f"{archive.url}/stack.mrc", **facts)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_arrives_whole_and_is_not_fetched_twice(archive, tmp_path):
    path = download(remote(archive, size=len(CONTENT), md5=MD5), tmp_path / "new")
    assert path.read_bytes() == CONTENT
    assert names(tmp_path / "new") == ["stack.mrc"]
    download(remote(archive, size=len(CONTENT), md5=MD5), tmp_path / "new")
    assert archive.asked == [None]


def test_download_that_broke_off_goes_on_where_it_was(archive, tmp_path):
    archive.breaks_after = 700_000
    with pytest.raises(data.DataError, match=r"broke off after 700000 of 1280000 bytes, which are kept"):
        download(remote(archive), tmp_path)
    assert names(tmp_path) == [".stack.mrc.part"]
    archive.breaks_after = None
    assert download(remote(archive), tmp_path).read_bytes() == CONTENT
    assert archive.asked == [None, "bytes=700000-"]
    assert names(tmp_path) == ["stack.mrc"]


def test_server_that_knows_no_ranges_begins_again(archive, tmp_path):
    (tmp_path / ".stack.mrc.part").write_bytes(CONTENT[:1000])
    archive.knows_ranges = False
    assert download(remote(archive), tmp_path).read_bytes() == CONTENT


def test_download_that_was_killed_before_it_got_its_name_needs_no_more(archive, tmp_path):
    (tmp_path / ".stack.mrc.part").write_bytes(CONTENT)
    assert download(remote(archive, md5=MD5), tmp_path).read_bytes() == CONTENT


def test_part_that_is_longer_than_the_file_is_thrown_away(archive, tmp_path):
    (tmp_path / ".stack.mrc.part").write_bytes(CONTENT + b"more")
    with pytest.raises(data.DataError, match=r"has 1280004 bytes, but .* has 1280000"):
        download(remote(archive), tmp_path)
    assert names(tmp_path) == []
    assert download(remote(archive), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [
        ({"md5": "0" * 32}, f"MD5 is {MD5}, expected 0+"),
        ({"size": 3}, r"has 1280000 bytes, but its archive says 3"),
    ],
)
def test_something_else_than_what_was_published_is_not_kept(archive, tmp_path, facts, complaint):
    with pytest.raises(data.DataError, match=complaint):
        download(remote(archive, **facts), tmp_path)
    assert names(tmp_path) == []


def test_damaged_file_of_that_name_is_reported_and_not_overwritten(archive, tmp_path):
    (tmp_path / "stack.mrc").write_bytes(b"my own")
    with pytest.raises(data.DataError, match=r"stack\.mrc: has 6 bytes"):
        download(remote(archive, size=len(CONTENT)), tmp_path)
    assert (tmp_path / "stack.mrc").read_bytes() == b"my own"


@pytest.mark.parametrize("url", [NOBODY, "missing"])
def test_no_network_or_no_such_file_says_what_to_do(archive, tmp_path, url):
    url = f"{archive.url}/missing" if url == "missing" else url
    with pytest.raises(
        data.DataError, match=rf"cannot download {url}: .*offline, connect it; or put the file into"
    ):
        download(Remote("stack.mrc", url), tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["../stack.mrc", "/etc/stack.mrc", ".bashrc", "", "a/b"])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(data.DataError, match="not to be trusted"):
        Remote(name, "https://example.org/x")


def test_places_on_this_machine_are_refused():
    with pytest.raises(data.DataError, match="not to be trusted"):
        Remote("passwd", "file:///etc/passwd")


def test_records_of_zenodo_and_figshare_are_understood(archive, monkeypatch):
    archive.answers["/zenodo"] = {
        "files": [
            {"key": "a.mrc", "size": 3, "checksum": f"md5:{MD5}", "links": {"self": f"{archive.url}/a.mrc"}}
        ]
    }
    archive.answers["/figshare"] = [
        {"name": "b.tif", "size": 4, "computed_md5": MD5, "download_url": f"{archive.url}/b"}
    ]
    ask = archives._ask
    monkeypatch.setattr(
        archives, "_ask", lambda url: ask(f"{archive.url}/{'zenodo' if 'zenodo' in url else 'figshare'}")
    )
    assert archives.zenodo(1) == [Remote("a.mrc", f"{archive.url}/a.mrc", 3, MD5)]
    assert archives.figshare(1) == [Remote("b.tif", f"{archive.url}/b", 4, MD5)]


def test_every_data_set_names_its_page_and_licence():
    for archive in archives.ARCHIVES.values():
        assert archive.page.startswith("https://")
        assert archive.licence
    stacks = matching(archives.empiar_ribosomes(), "*.mrcs")
    assert len(stacks) == 7
    assert stacks[-1].url.endswith("/10045/data/ribosomes/Tomograms/11/IS002_291013_011.mrcs")
    with pytest.raises(ValueError, match=r"--only: got '\*\.tif', which none of the files matches"):
        matching(archives.empiar_ribosomes(), "*.tif")


# ---- the command


def run(*words):
    return CliRunner().invoke(app, ["fetch", *map(str, words)])


@pytest.fixture
def small_set(archive, monkeypatch):
    files = [Remote(name, f"{archive.url}/{name}", len(CONTENT), MD5) for name in ("a.mrc", "a.tlt")]
    made = archives.Archive("Small.", "https://example.org", "CC0", "Careful.", lambda: files)
    monkeypatch.setitem(archives.ARCHIVES, "small", made)


def test_nothing_is_downloaded_before_files_are_chosen(small_set, tmp_path, monkeypatch, archive):
    monkeypatch.chdir(tmp_path)
    assert "empiar-10045" in run().stdout
    said = run("small")
    assert said.exit_code == 0
    assert "a.mrc  1.3 MB" in said.stdout
    assert "licence: CC0" in said.stdout
    assert "choose with --only" in said.stdout
    assert names(tmp_path) == archive.asked == []


def test_chosen_files_are_put_where_asked(small_set, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("small", "--only", "*.tlt").exit_code == 0
    assert names(tmp_path / "small") == ["a.tlt"]
    assert run("small", "--only", "*", "-o", tmp_path / "there").exit_code == 0
    assert names(tmp_path / "there") == ["a.mrc", "a.tlt"]


def test_errors_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "EMPIAR", "http://127.0.0.1:9")
    done = run("empiar-10045", "--only", "*_011.tlt", "-o", tmp_path)
    assert done.exit_code == 1
    assert done.stderr.startswith(
        "error: cannot download http://127.0.0.1:9/10045/data/ribosomes/Tomograms/11/"
    )
    assert done.stderr.count("\n") == 1
    assert "expected needle or one of empiar-10045" in run("nothing").stderr


def test_the_needle_comes_as_a_whole():
    assert (
        run("needle", "--only", "*.mrc").stderr
        == "error: --only: got '*.mrc', but the needle comes as a whole\n"
    )


@pytest.mark.data
def test_the_file_to_go_on_with_is_named():
    (first, *_) = run("needle").stdout.split(":")
    assert open_series(first).shape == (77, 256, 256)
