"""Drawing the scenes of a tier: specimen, noise and mismatch, each anew.

The mismatch is uniform in the tier's published ranges: were it the middle of its range, the range would give it away.
Public scenes come from public seeds, those of dev and hidden from the key.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from etlab.course.scenes import keys
from etlab.course.scenes.problem import SPEC, Problem, Truth
from etlab.course.scenes.published import spec_ranges
from etlab.course.scenes.simulation import simulate
from etlab.forward import Mismatch
from etlab.phantoms import SCENES

TIERS = ("public", "dev", "hidden")


def draw(tier: str, i: int, preset: str = "standard", key: bytes = keys.DEMO_KEY) -> tuple[Problem, Truth]:
    """Draw scene number ``i`` of one of ``TIERS`` and its truth; the scenes go round the four families.

    Both presets show the same draw at two sizes. The key plays no part in the public tier. Raises ValueError for an
    unknown tier or preset.
    """

    def seed(purpose: str) -> Any:
        if tier == "public":
            return {"scene": i // len(SCENES), "mismatch": [i, 0]}[purpose]
        return keys.seed(key, f"{tier} {i} {purpose}")

    ranges = spec_ranges(tier)
    rng = np.random.default_rng(seed("mismatch"))
    mismatch = Mismatch(**{name: float(rng.uniform(*ranges[name])) for name in SPEC})
    sample = simulate(SCENES[i % len(SCENES)], preset, seed("scene"), mismatch)
    return Problem(sample.y, sample.geometry, sample.optics, sample.fiducials, ranges), Truth(  # type: ignore[arg-type]  # it has beads
        sample.x_true, mismatch
    )


def scene_name(i: int) -> str:
    """Return what scene number ``i`` is called in files and on boards."""
    return f"scene_{i:02d}"
