"""Public tilt series: where they are, and a download that can be resumed.

Nothing in the course needs them. Each data set has the licence that its own page states: look there before
you use it. Zenodo and figshare list the files of a record with sizes and MD5; EMPIAR publishes no checksums.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from etlab.data import DataError

TIMEOUT_S = 60
BLOCK = 2**20
EMPIAR = "https://ftp.ebi.ac.uk/empiar/world_availability"


@dataclass(frozen=True)
class Remote:
    """A file to download; size in bytes and MD5 in hexadecimal are None if they are not published."""

    name: str
    url: str
    size: int | None = None
    md5: str | None = None

    def __post_init__(self) -> None:
        last = Path(self.name).name
        if (
            not last
            or last != self.name
            or last.startswith(".")
            or not self.url.startswith(("https://", "http://"))
        ):
            raise DataError(
                f"the server offers a file {self.name!r} at {self.url!r}, which is not to be trusted"
            )


@dataclass(frozen=True)
class Archive:
    """A data set: what it is, its page, its licence as far as known, a caution, and a function that lists its files."""

    about: str
    page: str
    licence: str
    careful: str
    files: Callable[[], list[Remote]]


def zenodo(record: int) -> list[Remote]:
    """Ask Zenodo for the files of a record."""
    files = _ask(f"https://zenodo.org/api/records/{record}")["files"]
    return [
        Remote(file["key"], file["links"]["self"], file["size"], file["checksum"].removeprefix("md5:"))
        for file in files
    ]


def figshare(article: int) -> list[Remote]:
    """Ask figshare for the files of an article."""
    files = _ask(f"https://api.figshare.com/v2/articles/{article}/files")
    return [
        Remote(file["name"], file["download_url"], file["size"], file.get("computed_md5")) for file in files
    ]


def empiar_ribosomes() -> list[Remote]:
    """Return the stacks, tilts, order and aligned tomograms of EMPIAR-10045, seven of each."""
    return [
        Remote(name, f"{EMPIAR}/10045/data/ribosomes/Tomograms/{number:02d}/{name}")
        for number in range(5, 12)
        for name in (
            f"IS002_291013_{number:03d}.{ending}" for ending in ("mrcs", "mrc", "tlt", "order", "trial")
        )
    ]


ARCHIVES = {
    "empiar-10045": Archive(
        about="Ribosomes in ice, seven tilt series in cryo-TEM (Bharat & Scheres); a stack has about 900 MB.",
        page="https://www.ebi.ac.uk/empiar/EMPIAR-10045/",
        licence="see its page",
        careful="A pixel is 2.17 Å to 2.28 Å, depending on the source. Mostly noise: not for a first reconstruction.",
        files=empiar_ribosomes,
    ),
    "figshare-2185342": Archive(
        about="Nanomaterials in STEM, five tilt series with reconstructions (Levin et al., Sci. Data 3 (2016) 160041).",
        page="https://doi.org/10.6084/m9.figshare.2185342",
        licence="reported to be CC BY 4.0; see its page",
        careful="Angles and the size of a pixel may be in separate files, or in the paper.",
        files=lambda: figshare(2185342),
    ),
    "zenodo-2578866": Archive(
        about="A small tilt series in HAADF-STEM.",
        page="https://zenodo.org/records/2578866",
        licence="reported to be CC BY 4.0; see its page",
        careful="Look at the record for angles and the direction of the tilt axis.",
        files=lambda: zenodo(2578866),
    ),
}


def download(remote: Remote, folder: Path) -> Path:
    """Download a file into ``folder`` and return its path; a file that exists is only verified.

    A partial download is kept as ``.NAME.part`` and resumed by the next call; the file takes its name once it is
    complete and has the published size and MD5.

    Raises DataError if the server cannot be reached, breaks off, or sends something else; OSError for a full disk.
    """
    path = folder / remote.name
    if path.exists():
        _verify(remote, path)
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{remote.name}.part"
    try:
        size = _fetch(remote, part)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise DataError(
            f"cannot download {remote.url}: {getattr(error, 'reason', error)}. If this machine is offline, connect it; "
            f"or put the file into {folder} by other means. The partial download is kept; repeat the command to resume"
        ) from error
    done = part.stat().st_size
    if size is not None and done < size:
        raise DataError(
            f"{remote.url}: broke off after {done} of {size} bytes, which are kept; repeat the command to resume"
        )
    try:
        _verify(replace(remote, size=size), part)
    except DataError:
        part.unlink()
        raise
    os.replace(part, path)
    return path


def matching(files: list[Remote], pattern: str) -> list[Remote]:
    """Return the files whose names match a pattern of the shell. Raises ValueError if there are none."""
    found = [file for file in files if fnmatch(file.name, pattern)]
    if not found:
        names = ", ".join(file.name for file in files)
        raise ValueError(f"--only: got {pattern!r}, which none of the files matches: {names}")
    return found


def _fetch(remote: Remote, part: Path) -> int | None:
    """Append the missing bytes to ``part``; return the size of the whole file, None if it is unknown."""
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing is missing, unless what is here is none of the file
            raise
        return int(error.headers.get("Content-Range", f"/{done}").rpartition("/")[2])
    with response:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            done = 0  # the server begins again, and so do we
        announced = response.headers.get("Content-Length")
        size = remote.size if announced is None else done + int(announced)
        if remote.size not in (None, size):
            raise DataError(
                f"{remote.url}: has {size} bytes, but its archive says {remote.size}; nothing is downloaded"
            )
        with (
            part.open("ab" if done else "wb") as file,
            tqdm(total=size, initial=done, unit="B", unit_scale=True, desc=remote.name) as bar,
        ):
            while block := response.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    return size


def _verify(remote: Remote, path: Path) -> None:
    """Raise DataError if the size or MD5 of the file differs from the published one."""
    size = path.stat().st_size
    if remote.size is not None and size != remote.size:
        raise DataError(
            f"{path}: has {size} bytes, but {remote.url} has {remote.size}; remove it and try again"
        )
    if remote.md5 is not None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found != remote.md5:
            raise DataError(f"{path}: MD5 is {found}, expected {remote.md5}; remove it and try again")


def _ask(url: str) -> Any:
    """Return the JSON at an address."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            return json.load(response)
    except (OSError, ValueError) as error:  # URLError and timeouts are OSErrors, bad JSON is a ValueError
        reason = getattr(error, "reason", error)
        raise DataError(f"cannot list the files at {url}: {reason}. Is this machine offline?") from error
