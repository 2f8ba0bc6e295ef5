"""The challenge: benchmark samples, tiers, submissions and boards."""

from etlab.challenge.hdf5 import FileError
from etlab.challenge.problem import Problem, Truth
from etlab.challenge.scoring import AnswerError, Score, score_answer
from etlab.challenge.simulate import PRESETS, PUBLIC_SEEDS, Sample, simulate
from etlab.challenge.submission import Report, SubmissionError, score_submission, write_submission
from etlab.challenge.tiers import Tier, load_tier, make_tier

__all__ = [
    "PRESETS",
    "PUBLIC_SEEDS",
    "AnswerError",
    "FileError",
    "Problem",
    "Report",
    "Sample",
    "Score",
    "SubmissionError",
    "Tier",
    "Truth",
    "load_tier",
    "make_tier",
    "score_answer",
    "score_submission",
    "simulate",
    "write_submission",
]
