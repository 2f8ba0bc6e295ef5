"""Reconstruction in slabs along the tilt axis, for series and volumes larger than memory, on one machine or many."""

from etlab.slabs.aligned import write_prepared
from etlab.slabs.density import density_in
from etlab.slabs.folder import SlabError, SlabFolder
from etlab.slabs.methods import SOLVERS, Method
from etlab.slabs.plan import Plan, Slab, bytes_of, planned
from etlab.slabs.prepare import Prepared, estimated, most_frequent, sample, vacuum_of
from etlab.slabs.reconstruct import Reconstruction, reconstruct
from etlab.slabs.verdict import Verdict, judge

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
