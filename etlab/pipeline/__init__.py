"""Reconstruction in slabs along the tilt axis, for series and volumes larger than memory, on one machine or many."""

from typing import TYPE_CHECKING

from etlab.lazy import getter

if TYPE_CHECKING:
    from etlab.pipeline.aligned import write_prepared
    from etlab.pipeline.density import estimate_density
    from etlab.pipeline.folder import SlabError
    from etlab.pipeline.methods import Method
    from etlab.pipeline.plan import Plan, bytes_of, plan_slabs
    from etlab.pipeline.prepare import Prepared, estimate_alignment
    from etlab.pipeline.reconstruction import Reconstruction, reconstruct
    from etlab.pipeline.vacuum import vacuum_of
    from etlab.pipeline.verdict import Verdict, judge

__all__ = [
    "Method",
    "Plan",
    "Prepared",
    "Reconstruction",
    "SlabError",
    "Verdict",
    "bytes_of",
    "estimate_alignment",
    "estimate_density",
    "judge",
    "plan_slabs",
    "reconstruct",
    "vacuum_of",
    "write_prepared",
]

__getattr__ = getter(
    __name__,
    {
        "aligned": ["write_prepared"],
        "density": ["estimate_density"],
        "folder": ["SlabError"],
        "methods": ["Method"],
        "plan": ["Plan", "bytes_of", "plan_slabs"],
        "prepare": ["Prepared", "estimate_alignment"],
        "reconstruction": ["Reconstruction", "reconstruct"],
        "vacuum": ["vacuum_of"],
        "verdict": ["Verdict", "judge"],
    },
)
