"""The blind challenge: tiers of problems, submissions, their evaluation, and the board."""

from etlab.course.challenge.submission import Report, SubmissionError, score_submission, write_submission
from etlab.course.challenge.tiers import Tier, load_tier, make_tier

__all__ = [
    "Report",
    "SubmissionError",
    "Tier",
    "load_tier",
    "make_tier",
    "score_submission",
    "write_submission",
]
