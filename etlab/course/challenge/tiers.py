"""The tiers of the blind challenge as files: what a solver is given, and, kept apart from it, the truth.

    public   problems and truth, to learn and to tune on
    dev      problems only; the truth is in a sealed file of the teacher's
    hidden   the same, and the problems stay with the teacher, too: code comes to them

Every scene is drawn anew: specimen, noise, and a mismatch uniform in the tier's published ranges. Public scenes come
from public seeds. Those of dev and hidden come from a secret key through HMAC-SHA-256, so nobody without the key can
draw them again; no seed stands in a file. The key *demo* is in the package: with it the measured board can be made
again, and so can its truth, by anyone.

Layout, version 1: the root's attributes are format ("etlab challenge"), version, tier, preset and key ("demo",
"secret" or "none"); a group for each scene, ``scene_00`` and so on, is as `etlab.course.scenes.problem` says, with a
SHA-256 of the problem as attribute. A sealed file has format "etlab challenge truth" and for each scene its ``truth``
and the SHA-256 of the problem that it belongs to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py
from tqdm.auto import tqdm

from etlab.course.scenes import hdf5
from etlab.course.scenes.draw import TIERS, draw, scene_name
from etlab.course.scenes.hdf5 import FileError
from etlab.course.scenes.keys import DEMO_KEY, checked_key
from etlab.course.scenes.problem import (
    Problem,
    Truth,
    digest,
    read_problem,
    read_truth,
    write_problem,
    write_truth,
)
from etlab.course.scenes.simulation import PRESETS

VERSION = "1"
FORMAT, SEALED_FORMAT = "etlab challenge", "etlab challenge truth"
KEYS = ("none", "demo", "secret")
MAX_SCENES = 1000


class Tier(Mapping[str, Problem]):
    """A tier file: a mapping from scene names to problems, each read when it is asked for.

    ``tier``, ``preset`` and ``key`` are as in the file. ``truth(name)`` gives the truth of a public scene, or of any
    if the sealed file is at hand.

    Parameters
    ----------
    path
        The tier file.
    sealed
        The evaluator's file of its truth.

    Raises
    ------
    FileError
        For a file that is something else, of another version or damaged.

    Examples
    --------
    >>> import tempfile
    >>> tier = make_tier(Path(tempfile.mkdtemp(), "public.h5"), n_scenes=1, preset="small")
    >>> list(tier), tier.tier, tier.has_truth
    (['scene_00'], 'public', True)
    >>> tier["scene_00"].y.shape
    (71, 80, 64)
    """

    def __init__(self, path: Path, sealed: Path | None = None) -> None:
        self.path, self.sealed = Path(path), None if sealed is None else Path(sealed)
        with hdf5.opened(self.path) as file:
            _check_format(file, FORMAT)
            self.tier, self.preset, self.key = (hdf5.text(file, name) for name in ("tier", "preset", "key"))
            if self.tier not in TIERS:
                raise FileError(f"tier: got {self.tier!r}, expected one of {', '.join(TIERS)}")
            if self.preset not in PRESETS or self.key not in KEYS:
                raise FileError(f"got preset {self.preset!r}, key {self.key!r}, expected those of a tier")
            self._names = _scene_names(file)
        if self.sealed:
            with hdf5.opened(self.sealed) as file:
                _check_format(file, SEALED_FORMAT)

    def __getitem__(self, name: str) -> Problem:
        if name not in self._names:
            raise KeyError(name)
        with hdf5.opened(self.path) as file:
            scene = hdf5.group(file, name)
            problem = read_problem(scene)
            if hdf5.text(scene, "sha256") != digest(problem):
                raise FileError(f"{name}: the contents do not fit their SHA-256; the file is damaged")
        return problem

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a problem that the file states; reading the problem checks it."""
        with hdf5.opened(self.path) as file:
            return hdf5.text(hdf5.group(file, name), "sha256")

    @property
    def has_truth(self) -> bool:
        """Return whether `truth` can be asked for."""
        return self.tier == "public" or self.sealed is not None

    def truth(self, name: str) -> Truth:
        """Return the truth of a scene. Raises ValueError if it is sealed, FileError if it is of another problem."""
        if not self.has_truth:
            raise ValueError(f"{self.path.name}: the truth of the {self.tier} tier is in a sealed file")
        problem = self[name]
        with hdf5.opened(self.sealed or self.path) as file:
            scene = hdf5.group(file, name)
            if hdf5.text(scene, "sha256") != digest(problem):
                raise FileError(f"{name}: this truth belongs to another problem, not to that in {self.path}")
            return read_truth(scene, problem.geometry.volume_shape)


def load_tier(path: str | os.PathLike, sealed: str | os.PathLike | None = None) -> Tier:
    """Open a tier file.

    Parameters
    ----------
    path
        The file that `make_tier` wrote.
    sealed
        The evaluator's file of its truth.

    Returns
    -------
    Tier
        A mapping from scene names to problems.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileError
        For a file that is something else, of another version or damaged.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "public.h5")
    >>> _ = make_tier(path, n_scenes=1, preset="small")
    >>> len(load_tier(path))
    1
    """
    return Tier(Path(path), None if sealed is None else Path(sealed))


def found_tiers(folder: str | os.PathLike) -> tuple[Tier, ...]:
    """Return the tiers in a folder, with their truth: TIER.h5 and sealed/TIER.h5, as `make_tier` names them.

    Raises FileNotFoundError if there is no tier, or the truth of one is missing.
    """
    folder, found = Path(folder), []
    for name in TIERS:
        path, sealed = folder / f"{name}.h5", folder / "sealed" / f"{name}.h5"
        if path.exists():
            found.append(load_tier(path, None if name == "public" else sealed))
    if not found:
        raise FileNotFoundError(
            f"{folder}: expected public.h5, dev.h5 or hidden.h5; make them: `etlab challenge make`"
        )
    return tuple(found)


def make_tier(
    path: str | os.PathLike,
    tier: str = "public",
    *,
    n_scenes: int = 4,
    preset: str = "standard",
    key: bytes | None = None,
    sealed: str | os.PathLike | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Tier:
    """Draw the scenes of a tier and write them to files, whole or not at all.

    Parameters
    ----------
    path
        The tier file to write.
    tier
        "public" (with its truth), "dev" or "hidden".
    n_scenes
        Number of scenes; they go round the four families.
    preset
        "standard" or "small".
    key
        From `etlab.course.scenes.keys.read_key`; None is *demo*, which hides nothing.
    sealed
        File of the truth of dev or hidden, which only its owner can read; by default in ``sealed/`` beside ``path``.
    overwrite
        Whether to replace files that exist.
    progress
        Whether to show a progress bar.

    Returns
    -------
    Tier
        The tier, with its truth at hand.

    Raises
    ------
    ValueError
        For an unknown tier or preset, no scene, or a key that is too short.
    FileExistsError
        If a file exists, unless ``overwrite``.

    Examples
    --------
    >>> import tempfile
    >>> tier = make_tier(Path(tempfile.mkdtemp(), "dev.h5"), "dev", n_scenes=1, preset="small")
    >>> tier.key, tier.has_truth, tier.sealed.name
    ('demo', True, 'dev.h5')
    """
    path = Path(path)
    if tier not in TIERS:
        raise ValueError(f"tier: got {tier!r}, expected one of {', '.join(TIERS)}")
    if preset not in PRESETS:
        raise ValueError(f"preset: got {preset!r}, expected one of {', '.join(PRESETS)}")
    if not 1 <= n_scenes <= MAX_SCENES:
        raise ValueError(f"n_scenes: got {n_scenes}, expected 1 to {MAX_SCENES}")
    key = DEMO_KEY if key is None else checked_key(key)
    sealed = None if tier == "public" else Path(sealed or path.parent / "sealed" / path.name)
    if sealed and sealed.resolve() == path.resolve():
        raise ValueError(f"sealed: got {sealed}, expected another file than that of the problems")
    for one in (path, sealed):
        if one and one.exists() and not overwrite:
            raise FileExistsError(f"{one} is already there; ask for overwriting, or choose another name")
    named = "none" if tier == "public" else "demo" if key == DEMO_KEY else "secret"
    head = {"version": VERSION, "tier": tier, "preset": preset, "key": named}
    with hdf5.new_file(path, private=tier == "hidden") as file, _new_sealed(sealed) as truths:
        hdf5.label(file, head | {"format": FORMAT})
        if truths:
            hdf5.label(truths, head | {"format": SEALED_FORMAT})
        for i in tqdm(range(n_scenes), desc=f"{tier} tier", unit="scene", disable=not progress):
            problem, truth = draw(tier, i, preset, key)
            scene = file.create_group(scene_name(i))
            write_problem(scene, problem)
            sealed_scene = truths.create_group(scene_name(i)) if truths else scene
            write_truth(sealed_scene, truth)
            for one in (scene, sealed_scene):
                hdf5.label(one, {"sha256": digest(problem)})
    return load_tier(path, sealed)


def _scene_names(file: h5py.File) -> tuple[str, ...]:
    """Return all that is in the file, if these are scenes; their names end up on boards and in file names."""
    if not 1 <= len(file) <= MAX_SCENES:
        raise FileError(f"got {len(file)} scenes, expected 1 to {MAX_SCENES}")
    names = sorted(file, key=lambda name: (len(name), name))
    if not set(names) <= {scene_name(i) for i in range(MAX_SCENES)}:
        raise FileError(f"expected groups called {scene_name(0)} and so on, and no others")
    return tuple(names)


def _check_format(file: h5py.File, expected: str) -> None:
    """Raise FileError for a file of another format or version."""
    if hdf5.text(file, "format") != expected or hdf5.text(file, "version") != VERSION:
        raise FileError(
            f"got format {hdf5.text(file, 'format')!r}, version {hdf5.text(file, 'version')!r}, "
            f"expected {expected!r}, version {VERSION}"
        )


@contextmanager
def _new_sealed(path: Path | None) -> Iterator[h5py.File | None]:
    """Open the sealed file, in a folder of its own that only its owner can enter; None for a tier without one."""
    if path is None:
        yield None
        return
    if not path.parent.exists():
        path.parent.mkdir(parents=True, mode=0o700)
    with hdf5.new_file(path, private=True) as file:
        yield file
