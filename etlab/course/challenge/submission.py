"""Submissions: answers to the scenes of one tier in an HDF5 file, and what they are worth.

Layout, version 1: the root's attributes are format ("etlab submission") and version, texts of fixed length (in h5py,
``numpy.bytes_``); a group for each scene, named as in the tier's file, holds ``x_hat`` (nz, ny, nx), floats, and a
group ``corrected_spec`` with the numbers ``tilt_angle`` [deg], ``tilt_axis`` [deg] and ``defocus_gradient`` [nm/µm].
Whatever else is in the file is not looked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from etlab.arrays import checked
from etlab.course.challenge.tiers import Tier, load_tier
from etlab.course.scenes import hdf5
from etlab.course.scenes.hdf5 import FileError
from etlab.course.scenes.problem import LIMITS, SPEC, Problem, write
from etlab.course.scenes.scoring import AnswerError, Score, Spec, checked_spec, score_answer
from etlab.forward import Mismatch

FORMAT, VERSION = "etlab submission", "1"
MAX_BYTES = 1 << 30  # a hundred standard volumes in double precision


class SubmissionError(ValueError):
    """Raised for a submission that cannot be scored; the message names each scene that is wrong, and why.

    Parameters
    ----------
    *args
        The message, as for `ValueError`.

    Examples
    --------
    >>> write_submission("mine.h5", {})
    Traceback (most recent call last):
    etlab.course.challenge.submission.SubmissionError: answers: got none, expected {scene: (x_hat, corrected_spec)}
    """


@dataclass(frozen=True)
class Report:
    """The scores of a submission on one tier, and their means; printed, a table.

    Parameters
    ----------
    tier
        "public", "dev" or "hidden".
    scenes
        A `Score` for each scene. Where the truth is sealed, all but the consistency is NaN.

    Examples
    --------
    >>> from etlab.course.scenes import Score
    >>> first, second = Score(0.5, 24, 0.8, 0.9, 0, 0, 0), Score(0.7, 28, 0.9, 0.9, 0, 0, 0)
    >>> round(Report("public", {"scene_00": first, "scene_01": second}).score, 3)
    0.6
    """

    tier: str
    scenes: dict[str, Score]

    @property
    def score(self) -> float:
        """Return the mean score over the scenes of the tier."""
        return float(np.mean([one.score for one in self.scenes.values()]))

    @property
    def consistency(self) -> float:
        """Return the mean consistency over the scenes of the tier."""
        return float(np.mean([one.consistency for one in self.scenes.values()]))

    def __str__(self) -> str:
        lines = [f"{'':10s}{'score':>7s}{'PSNR [dB]':>10s}{'SSIM':>7s}{'consist.':>9s}   spec: found − true"]
        for name, one in self.scenes.items():
            delta, phi, g = one.tilt_angle_error, one.tilt_axis_error, one.defocus_gradient_error
            errors = f"{delta:+.3f}° {phi:+.3f}° {g:+.2f} nm/µm"
            lines.append(
                f"{name:10s}{one.score:7.3f}{one.psnr_db:10.2f}{one.ssim:7.3f}{one.consistency:9.3f}   {errors}"
            )
        lines.append(f"{self.tier} tier: score {self.score:.3f}, consistency {self.consistency:.3f}")
        if np.isnan(self.score):
            lines.append("the truth of this tier is sealed: only the consistency can be checked here")
        return "\n".join(lines)


def write_submission(
    path: str | os.PathLike,
    answers: Mapping[str, tuple[np.ndarray, Spec]],
    *,
    tier: Tier | str | os.PathLike | None = None,
    overwrite: bool = False,
) -> None:
    """Write answers to the scenes of a tier as a submission, whole or not at all.

    Parameters
    ----------
    path
        The HDF5 file to write.
    answers
        ``{scene: (x_hat, corrected_spec)}``: the volume (nz, ny, nx), and a `Mismatch` or a mapping with its three
        numbers [deg, deg, nm/µm].
    tier
        An open tier or its file, against whose problems the answers are checked first.
    overwrite
        Whether to replace a file that exists.

    Raises
    ------
    SubmissionError
        If the answers would be refused.
    FileExistsError
        If the file exists, unless ``overwrite``.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "mine.h5")
    >>> write_submission(path, {"scene_00": (np.zeros((32, 64, 64), np.float32), Mismatch(tilt_angle=0.2))})
    >>> path.exists()
    True
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} is already there; ask for overwriting, or choose another name")
    if tier is not None:
        tier = tier if isinstance(tier, Tier) else load_tier(tier)
        _scored(tier, lambda name, _: _given(answers, name))
    if not answers:
        raise SubmissionError("answers: got none, expected {scene: (x_hat, corrected_spec)}")
    with hdf5.new_file(path) as file:
        hdf5.label(file, {"format": FORMAT, "version": VERSION})
        for name, (x_hat, spec) in answers.items():
            try:
                write_answer(file.create_group(name), x_hat, spec)
            except AnswerError as error:
                raise SubmissionError(f"{name}: {error}") from error


def write_answer(scene: h5py.Group, x_hat: np.ndarray, corrected_spec: Spec) -> None:
    """Write one answer into an empty group of an HDF5 file. Raises AnswerError if it could be one to no problem."""
    spec = checked_spec(corrected_spec, LIMITS)
    try:
        x_hat = checked("x_hat", x_hat, np.shape(x_hat))
    except (TypeError, ValueError) as error:
        raise AnswerError(str(error)) from error
    if np.abs(x_hat).max(initial=0) > hdf5.LARGEST:
        raise AnswerError(f"x_hat: got values beyond ±{hdf5.LARGEST:g}, expected densities, gold = 1")
    write(scene, "x_hat", x_hat)
    numbers = scene.create_group("corrected_spec")
    for name in SPEC:
        write(numbers, name, np.float64(getattr(spec, name)))


def read_answer(path: str | os.PathLike, name: str, problem: Problem) -> tuple[np.ndarray, Mismatch]:
    """Read the answer to one scene, by a stranger. Raises FileError or AnswerError if it is not one to this problem."""
    with hdf5.opened(path, max_bytes=MAX_BYTES) as file:
        check_format(file)
        scene = hdf5.group(file, name)
        numbers = hdf5.group(scene, "corrected_spec")
        spec = {one: hdf5.number(numbers, one) for one in SPEC}
        x_hat = hdf5.array(scene, "x_hat", problem.geometry.volume_shape)
    return x_hat, checked_spec(spec, problem.spec_ranges)


def score_submission(path: str | os.PathLike, tier: Tier | str | os.PathLike) -> Report:
    """Score a submission on a tier, with its truth if that is at hand.

    Parameters
    ----------
    path
        The submission.
    tier
        An open tier or its file; see `load_tier` for its truth.

    Returns
    -------
    Report
        A score for each scene, and their means.

    Raises
    ------
    SubmissionError
        Naming every scene that is missing or wrong.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> from etlab.course.challenge import make_tier
    >>> folder = Path(tempfile.mkdtemp())
    >>> tier = make_tier(folder / "public.h5", n_scenes=1, preset="small")
    >>> truth = tier.truth("scene_00")
    >>> write_submission(folder / "mine.h5", {"scene_00": (truth.x_true, truth.mismatch)}, tier=tier)
    >>> score_submission(folder / "mine.h5", tier).scenes["scene_00"].ssim
    1.0
    """
    tier = tier if isinstance(tier, Tier) else load_tier(tier)
    path = Path(path)
    path.stat()
    return Report(tier.tier, _scored(tier, lambda name, problem: read_answer(path, name, problem)))


def _scored(tier: Tier, answer: Callable[[str, Problem], tuple[np.ndarray, Spec]]) -> dict[str, Score]:
    """Score each scene. Raises SubmissionError with all that is wrong."""
    scenes: dict[str, Score] = {}
    wrong = []
    for name, problem in tier.items():
        truth = tier.truth(name) if tier.has_truth else None
        try:
            scenes[name] = score_answer(problem, *answer(name, problem), truth)
        except (AnswerError, FileError) as error:
            wrong.append(f"{name}: {error}")
    if wrong:
        raise SubmissionError("; ".join(wrong))
    return scenes


def _given(answers: Mapping[str, tuple[np.ndarray, Spec]], name: str) -> tuple[np.ndarray, Spec]:
    """Return the answer to a scene. Raises AnswerError if there is none."""
    if name not in answers:
        raise AnswerError("missing")
    return answers[name]


def check_format(file: h5py.File) -> None:
    """Raise FileError if a file does not say that it is a submission."""
    found = hdf5.text(file, "format"), hdf5.text(file, "version")
    if found != (FORMAT, VERSION):
        raise FileError(
            f"got format {found[0]!r}, version {found[1]!r}, expected {FORMAT!r}, version {VERSION}"
        )
