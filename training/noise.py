"""How noisy a recorded series is, from the series alone: variance against signal, as for a camera's transfer curve.

In a block of 2 × 2 pixels a b / c d the difference (a − b − c + d)/2 has the variance of one pixel's noise and hardly
any specimen. Blocks are grouped by their mean; in each group the largest differences, which are edges of the specimen,
are left out of the variance, and over the groups a line is drawn: counting noise is its slope, read noise its
intercept.
Interpolated images have smoother noise and come out too quiet; bin them first. Source of the idea: Janesick, Photon
Transfer, SPIE Press 2007.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls
from scipy.stats import chi2

from etlab.forward import Detector

GROUPS = 32  # evenly over the range of signal, so that vacuum, however much there is, counts as one
FEWEST = 100  # blocks in a group that counts
KEPT = 0.95  # of the differences in a group
OF_VARIANCE = chi2.cdf(chi2.ppf(KEPT, 1), 3)  # that the kept ones have, were all normal


def estimated_detector(images: np.ndarray) -> Detector:
    """Return the detector whose noise is that of ``images`` (n_tilts, n_rows, nx), in their units of intensity.

    Raises ValueError for images without 2 × 2 pixels.
    """
    a, b = images[:, :-1:2, :-1:2], images[:, :-1:2, 1::2]
    c, d = images[:, 1::2, :-1:2], images[:, 1::2, 1::2]
    if a.size == 0:
        raise ValueError(f"images: got shape {images.shape}, expected at least 2 × 2 pixels")
    means, details = ((a + b + c + d) / 4).ravel(), ((a - b - c + d) / 2).ravel()
    edges = np.linspace(means.min(), means.max(), GROUPS + 1)
    group = np.clip(np.searchsorted(edges, means, side="right") - 1, 0, GROUPS - 1)
    full = np.flatnonzero(np.bincount(group, minlength=GROUPS) >= FEWEST)
    signal = np.array([max(float(means[group == i].mean()), 0.0) for i in full])
    variance = np.array([trimmed_variance(details[group == i]) for i in full])
    known = variance > 0  # not where all pixels of vacuum are alike
    if not known.any():
        return Detector(dose=None)
    weight = 1 / variance[known]  # errors in proportion
    line = np.stack([signal[known] * weight, weight], axis=1)
    (slope, intercept), _ = nnls(line, variance[known] * weight)
    return Detector(dose=1 / float(slope) if slope > 0 else None, read_noise=float(np.sqrt(intercept)))


def trimmed_variance(differences: np.ndarray) -> float:
    """Of differences with mean 0, without the largest."""
    squares = np.sort(differences.astype(np.float64) ** 2)
    return float(squares[: max(1, int(KEPT * squares.size))].sum() / squares.size / OF_VARIANCE)
