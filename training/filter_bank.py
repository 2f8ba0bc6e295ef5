"""The objective of DeepRecon: back-projections of the bands of the images -> truth."""

from __future__ import annotations

import numpy as np
from tqdm.auto import tqdm

from etlab.solvers.learned._deeprecon import NEIGHBOURS, band_reconstructions
from etlab.solvers.learned.slices import SliceNetwork, by_slices
from training.data import Which, model
from training.objectives import Batch, Supervised, flipped, slab_of, slices_at


class FilterBank(Supervised):
    """All bands of a slice and its neighbours -> the slice."""

    kinds = ("images", "truth")
    learns_from = "pairs of images and truth"

    def __init__(self, training: list[Which], validation: list[Which], *, progress: bool = True):
        super().__init__(training, validation, progress=progress)
        for samples, operator in (
            (self.samples, model(training[0].preset)),
            (self.held_out, slab_of(model(training[0].preset))),
        ):
            for sample in tqdm(samples, desc="filtering", unit="sample", disable=not progress):
                bands = band_reconstructions(operator, sample.pop("images"))
                sample["bands"] = [band.astype(np.float16) for band in bands]

    def pair(self, sample: dict[str, np.ndarray], rng: np.random.Generator) -> Batch:
        """Return each band's slices are neighbours of each other, so they are mirrored band by band."""
        at = rng.integers(sample["truth"].shape[2])
        *bands, truth = flipped(
            rng,
            *(slices_at(band, at, NEIGHBOURS) for band in sample["bands"]),
            slices_at(sample["truth"], at, 1),
        )
        return np.concatenate(bands, axis=1), truth

    def reconstruct(self, predict: SliceNetwork, sample: dict[str, np.ndarray]) -> np.ndarray:
        """As the solver does it."""
        return by_slices(predict, sample["bands"], n_neighbours=NEIGHBOURS)
