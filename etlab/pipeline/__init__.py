"""Reconstruction in slabs along the tilt axis, for series and volumes larger than memory, on one machine or many."""

from etlab.pipeline.aligned import write_prepared
from etlab.pipeline.density import density_in
from etlab.pipeline.folder import SlabError, SlabFolder
from etlab.pipeline.methods import SOLVERS, Method
from etlab.pipeline.plan import Plan, Slab, bytes_of, planned
from etlab.pipeline.prepare import Prepared, estimated, most_frequent, sample, vacuum_of
from etlab.pipeline.reconstruction import Reconstruction, reconstruct
from etlab.pipeline.verdict import Verdict, judge

__all__ = [
    "SOLVERS",
    "Method",
    "Plan",
    "Prepared",
    "Reconstruction",
    "Slab",
    "SlabError",
    "SlabFolder",
    "Verdict",
    "bytes_of",
    "density_in",
    "estimated",
    "judge",
    "most_frequent",
    "planned",
    "reconstruct",
    "sample",
    "vacuum_of",
    "write_prepared",
]
