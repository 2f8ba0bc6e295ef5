"""Scenes and tiers for the checks of lab 6: drawn anew for every case, and sealed by never being written.

The truth of a scene is in memory only. A tier's file is written without it, other than by
`etlab.course.challenge.make_tier`, which puts the truth into a second file beside the first.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from etlab.course.challenge import Tier, load_tier, tiers
from etlab.course.scenes import PRESETS, Problem, Truth, hdf5, simulate
from etlab.course.scenes.draw import scene_name
from etlab.course.scenes.problem import digest, write_problem, write_truth
from etlab.course.scenes.published import spec_ranges
from etlab.course.scenes.simulation import DOSE
from etlab.forward import Detector, Mismatch, Optics
from etlab.geometry import TiltGeometry, linear_tilts
from etlab.phantoms import SCENES, Fiducials

RANGES = spec_ranges("dev")
WIDTHS = {name: high - low for name, (low, high) in RANGES.items()}
SMALL = PRESETS["small"]
# half the tilts of a field as narrow as beads allow: a quarter of the time
COARSE = TiltGeometry(linear_tilts(70, 4), (32, 48, 48), n_rows=60, voxel_nm=SMALL.voxel_nm)
SPARSE = replace(
    SMALL, tilts_deg=linear_tilts(70, 5)
)  # to calibrate: beads suffice, in two fifths of the time
TINY = TiltGeometry(linear_tilts(60, 12), (16, 32, 32), n_rows=40, voxel_nm=8.0)  # for tiers and their files

# where in the range of the dev tier a microscope lies: nowhere near zero, nor near the middle, which one can guess
SHARES = {
    "tilt_angle": ((0.0, 0.1), (0.9, 1.0)),
    "tilt_axis": ((0.0, 0.1), (0.9, 1.0)),
    "defocus_gradient": ((0.0, 0.3), (0.6, 1.0)),
}
# δ, φ [deg] and g [nm/µm], least and most of either sign: several times a tier's, so that it matters to every row
FAR_OFF = (2.0, 1.5, 18.0), (3.0, 2.0, 24.0)


def hard_to_guess(rng: np.random.Generator) -> Mismatch:
    """Return a microscope within the ranges of the dev tier, away from what one would guess."""
    spec = {}
    for name, parts in SHARES.items():
        low, high = parts[rng.integers(2)]
        spec[name] = float(RANGES[name][0] + rng.uniform(low, high) * WIDTHS[name])
    return Mismatch(**spec)


def far_off(rng: np.random.Generator) -> Mismatch:
    """Return a microscope much farther from its log file than any in a tier."""
    return Mismatch(*(rng.choice([-1, 1], 3) * rng.uniform(*FAR_OFF)).tolist())


def scene(
    rng: np.random.Generator,
    mismatch: Mismatch,
    geometry: TiltGeometry = COARSE,
    *,
    dose: float | None = DOSE,
) -> tuple[Problem, Truth]:
    """Return a specimen of one of the four families, as this microscope records it, and its truth."""
    sample = simulate(
        str(rng.choice(SCENES)), geometry, int(rng.integers(2**32)), mismatch, detector=Detector(dose=dose)
    )
    assert sample.fiducials is not None  # asked for by default
    problem = Problem(sample.y, geometry, sample.optics, sample.fiducials, RANGES)
    return problem, Truth(sample.x_true, mismatch)


def tiny_scene(rng: np.random.Generator) -> tuple[Problem, Truth]:
    """Return random densities on a few voxels, where it does not matter what is seen: quick to draw and to score."""
    truth = Truth(rng.random(TINY.volume_shape, np.float32), far_off(rng))
    beads = Fiducials.for_field(TINY.volume_shape[2])
    nothing = np.zeros(TINY.images_shape, np.float32)
    problem = Problem(nothing, TINY, Optics(), beads, RANGES)
    return replace(problem, y=problem.operator(truth.mismatch)(truth.x_true)), truth


def copied(problem: Problem) -> Problem:
    """Return the same problem with images of its own, which a student may change."""
    return replace(problem, y=problem.y.copy())


def written_tier(
    path: Path, scenes: list[tuple[Problem, Truth]], numbers: list[int], *, public: bool
) -> Tier:
    """Return a tier of these scenes under these numbers: public, with their truth, or dev, with none anywhere."""
    head = {"format": tiers.FORMAT, "version": tiers.VERSION, "preset": "small"}
    head |= {"tier": "public", "key": "none"} if public else {"tier": "dev", "key": "secret"}
    with hdf5.new_file(path) as file:
        hdf5.label(file, head)
        for number, (problem, truth) in zip(numbers, scenes, strict=True):
            group = file.create_group(scene_name(number))
            write_problem(group, problem)
            hdf5.label(group, {"sha256": digest(problem)})
            if public:
                write_truth(group, truth)
    return load_tier(path)
