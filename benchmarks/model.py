"""One application of the forward model at benchmark size: where the time goes, and the library's way to the same.

    .venv/bin/pip install -r benchmarks/requirements.txt
    .venv/bin/python benchmarks/model.py

As in ``projector.py``: interleaved rounds, smallest processor time of one thread on all sides. H = B·R·A is timed
whole and in its parts; beside it the jacobian. The peers are what one would write first: ``scipy.ndimage.rotate`` of
order 3 for every image, and ``scipy.ndimage.gaussian_filter`` for bands of rows, each with the width of blur in its
middle. How far their results are from ours is printed beside; theirs come without an adjoint.
"""

from __future__ import annotations

import argparse

import numpy as np
from projector import fastest
from scipy.ndimage import gaussian_filter, rotate

from etlab.course.scenes.simulation import PRESETS
from etlab.forward import GROUP, Mismatch, TiltSeriesModel
from etlab.phantoms import scene

MISMATCH = Mismatch(tilt_angle=0.25, tilt_axis=0.15, defocus_gradient=5.0)
BAND = 10  # rows blurred alike by the peer
TRUNCATE = 4.0  # widths at which the peer cuts its Gaussian, scipy's default


def grouped(operation, images: np.ndarray) -> np.ndarray:
    """``operation`` on as many images at a time as the model takes."""
    return np.concatenate([operation(images[i : i + GROUP]) for i in range(0, len(images), GROUP)])


def rotate_each(images: np.ndarray) -> np.ndarray:
    """The peer's rotation, image by image."""
    # scipy turns from the first axis towards the second, ours from x towards the rows
    return np.stack([rotate(image, -MISMATCH.tilt_axis, reshape=False, order=3) for image in images])


def blur_bands(images: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """The peer's blur: bands of ``BAND`` rows, cut out with as much margin as their Gaussian reaches."""
    n_rows, blurred = images.shape[1], np.empty_like(images)
    for first in range(0, n_rows, BAND):
        last = min(first + BAND, n_rows)
        width = float(sigma[first:last].mean())
        reach = int(np.ceil(TRUNCATE * width))
        above = max(first - reach, 0)
        band = images[:, above : last + reach]
        filtered = gaussian_filter(band, (0, width, width), truncate=TRUNCATE)
        blurred[:, first:last] = filtered[:, first - above : last - above]
    return blurred


def main() -> None:
    """Measure and print times, shares and ratios."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=7, help="rounds of the interleaved measurement")
    rounds = options.parse_args().rounds
    geometry = PRESETS["standard"]
    H = TiltSeriesModel(geometry, mismatch=MISMATCH, n_threads=1)
    A, R, B = H.projector, H.rotation, H.blur
    volume = scene("lamella", geometry.volume_shape, 0)
    projected = A(volume)
    turned = grouped(R, projected)
    images = grouped(B, turned)
    seconds = fastest(
        {
            "H": lambda: H(volume),
            "A": lambda: A(volume),
            "R": lambda: grouped(R, projected),
            "B": lambda: grouped(B, turned),
            "Hᵀ": lambda: H.T(images),
            "Aᵀ": lambda: A.T(images),
            "Rᵀ": lambda: grouped(R.T, images),
            "Bᵀ": lambda: grouped(B.T, images),
            "jacobian": lambda: H.jacobian(volume),
            "rotate": lambda: rotate_each(projected),
            "gaussian_filter": lambda: blur_bands(turned, B.sigma),
        },
        rounds,
    )
    size = "×".join(map(str, geometry.volume_shape))
    print(f"{size} voxels, {geometry.tilts_deg.size} tilts of {geometry.n_rows} rows, one thread")
    for whole, parts in (("H", "A R B"), ("Hᵀ", "Aᵀ Rᵀ Bᵀ"), ("jacobian", "")):
        shares = ", ".join(f"{part} {seconds[part] / seconds[whole]:.0%}" for part in parts.split())
        print(
            f"{whole:9s}{1e3 * seconds[whole]:8.1f} ms  {seconds[whole] / seconds['A']:5.1f} × A   {shares}"
        )
    peers = {
        "R": ("rotate", rotate_each(projected), turned),
        "B": ("gaussian_filter", blur_bands(turned, B.sigma), images),
    }
    for part, (peer, theirs, ours) in peers.items():
        difference = np.linalg.norm(theirs - ours) / np.linalg.norm(ours)
        ratio = seconds[peer] / seconds[part]
        print(
            f"{part:9s}{1e3 * seconds[part]:8.1f} ms  {seconds[part] / seconds['A']:5.1f} × A   "
            f"{peer} {1e3 * seconds[peer]:.1f} ms, {ratio:.1f} × ours, results {difference:.1%} apart"
        )


if __name__ == "__main__":
    main()
