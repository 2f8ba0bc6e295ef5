"""Simulated series with a known truth, problems without it, and scores: what benchmark and challenge share."""

from etlab.course.scenes.hdf5 import FileError
from etlab.course.scenes.problem import Problem, Truth
from etlab.course.scenes.scoring import AnswerError, Score, score_answer
from etlab.course.scenes.simulation import PRESETS, PUBLIC_SEEDS, Sample, simulate

__all__ = [
    "PRESETS",
    "PUBLIC_SEEDS",
    "AnswerError",
    "FileError",
    "Problem",
    "Sample",
    "Score",
    "Truth",
    "score_answer",
    "simulate",
]
