"""IsoNet refined on one's own tilt series: nothing is simulated but the noise of turned pieces, and no truth is known.

The series must be aligned: tilt axis along the rows of its images and half-way between the first and the last row.
What the simulated series have declared is taken from the images: the unit of density that the network takes for 1
(`density_of`), and the noise (`training.noise`). The model is the projector, without blur.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from etlab.alignment.refine import specimen_shape
from etlab.course.scenes.simulation import binned
from etlab.data import needle
from etlab.forward import Detector, TiltSeriesModel
from etlab.geometry import TiltGeometry
from etlab.io import read_series
from etlab.metrics import psnr
from etlab.pipeline.density import density_of
from etlab.solvers._sirt import sirt
from etlab.solvers._tv import tv
from etlab.solvers._wbp import wbp
from etlab.solvers.learned._isonet import SIRT_ITERATIONS, isonet
from etlab.solvers.learned.slices import SliceNetwork, by_slices
from training import data
from training.isotropy import NEIGHBOURS, Isotropy
from training.noise import estimated_detector
from training.settings import Settings, TrainingError

NEEDLE = "needle"
NEEDLE_BIN = 3  # 85 × 85 pixels, which keeps a refinement to minutes
CONVERGED = 100  # iterations of SIRT: what IsoNet starts from, SIRT_ITERATIONS, is still smooth
N_HELD_OUT = 4  # turned pieces
LIMITS = (
    "Learned from one series and is for this one, with the scale named here. Assumes that the specimen looks alike in "
    "all directions and that the series is aligned. Never saw a truth; its answers in the missing wedge are a guess."
)


@dataclass(frozen=True, eq=False)
class Recorded:
    """Aligned ``images`` (n_tilts, n_rows, nx) on ``geometry``; vacuum is 0, the unit of intensity anything."""

    images: np.ndarray
    geometry: TiltGeometry

    @property
    def model(self) -> TiltSeriesModel:
        """Return the projector: no blur is known."""
        return TiltSeriesModel(self.geometry, optics=None)

    def chosen(self, tilts: np.ndarray) -> Recorded:
        """Some of the tilts, by a mask."""
        return Recorded(self.images[tilts], replace(self.geometry, tilts_deg=self.geometry.tilts_deg[tilts]))


@dataclass(frozen=True)
class OwnSeries:
    """Which series, and how it is to be read. Lengths are in pixels, after binning where there is any.

    ``path`` is an MRC or HDF5 file, or "needle". ``thickness`` is that of a flat specimen, None for one as thick as
    its image is high. ``background`` is the intensity of vacuum. ``up_to`` keeps tilts beyond this angle from training.
    """

    path: str
    tilts: str | None = None
    axis: str = "x"
    bin: int = 1
    thickness: int | None = None
    background: float = 0.0
    dose: float | None = None
    up_to: float | None = None

    def read(self) -> Recorded:
        """Return all tilts of the series. Raises FileNotFoundError or ValueError, naming the file or the option."""
        if self.path == NEEDLE:
            if self.tilts is not None or self.axis != "x":
                raise TrainingError("--tilts, --axis: mean nothing for the needle, whose own are known")
            series = needle()
            # others aligned it, its axis on row 128: without row 0 that is the middle of the rest
            images, tilts_deg = series.aligned[:, 1:], series.tilts_deg
        else:
            series = read_series(self.path, tilts=self.tilts, axis=self.axis)
            images, tilts_deg = series.images, series.tilts_deg
        images = binned_about_axis(images - np.float32(self.background), self.bin)
        shape = specimen_shape(images.shape[1:], tilts_deg, self.thickness)
        return Recorded(images, TiltGeometry(tilts_deg, shape, images.shape[1]))

    def parts(self) -> tuple[Recorded, Recorded | None]:
        """Return the tilts to learn from, and those beyond ``up_to``."""
        series = self.read()
        if self.up_to is None:
            return series, None
        near = np.abs(series.geometry.tilts_deg) <= self.up_to
        if near.all() or near.sum() < 3:
            raise TrainingError(
                f"--up-to: got {self.up_to:g}°, which leaves {near.sum()} of {near.size} tilts to learn from; "
                "expected an angle with at least three tilts within and one beyond it"
            )
        return series.chosen(near), series.chosen(~near)


@dataclass(frozen=True)
class Refinement(Settings):
    """A run on one's own series. ``start`` is the ONNX file of weights to begin with; None begins with new ones."""

    series: OwnSeries = OwnSeries(NEEDLE)
    start: str | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.name != "isonet":
            raise TrainingError(
                f"--on: got {self.name}, but only isonet learns without a truth from one series"
            )

    @property
    def stem(self) -> str:
        """Return a name for files: that of the network and of the series."""
        return f"{self.name}-{Path(self.series.path).stem}"

    @property
    def limits(self) -> str:
        """Return what the card says of the network's limits."""
        return LIMITS

    @property
    def checkpoint(self) -> Path:
        """In the user's cache folder, one for each series and seed."""
        return data.cache_folder() / "runs" / f"{self.stem}-seed{self.seed}.pt"

    def objective(self, *, progress: bool = True) -> OwnIsotropy:
        """Return what the network is asked for."""
        return OwnIsotropy(self.series, progress=progress)


class OwnIsotropy(Isotropy):
    """`Isotropy` of one series, validated by turned pieces that are never learned from."""

    learns_from = "one's own series, no truth: its reconstruction, turned and recorded anew"
    validated_by = "PSNR of the network's answer for turned pieces of SIRT that it did not learn from [dB]"

    def __init__(self, series: OwnSeries, *, progress: bool = True):
        self.series = series
        recorded, _ = series.parts()
        operator = recorded.model
        measured = sirt(operator, recorded.images, n_iter=SIRT_ITERATIONS, progress=progress)
        self.scale = density_of(measured)
        images = recorded.images / np.float32(self.scale)
        self.fingerprint = zlib.crc32(images)
        detector = estimated_detector(images) if series.dose is None else Detector(dose=series.dose)
        self.begin(operator, detector)
        self.samples = [{"wbp": wbp(operator, images), "sirt": measured / np.float32(self.scale)}]
        rng = np.random.default_rng(1)
        self.held_out = [self.turned_pair(rng, "sirt") for _ in range(N_HELD_OUT)]

    def describe(self) -> dict[str, object]:
        """Return the series, and what was taken from it."""
        geometry = self.operator.geometry
        tilts_deg = geometry.tilts_deg
        return {
            "series": Path(self.series.path).name,
            "tilts": f"{geometry.n_tilts}, {tilts_deg.min():g}° to {tilts_deg.max():g}°",
            "images": list(geometry.images_shape),
            "binned by": self.series.bin,
            "volume": list(geometry.volume_shape),
            "scale": float(f"{self.scale:.6g}"),  # for the solver: scale=
            "counts per unit line integral": self.detector.dose and float(f"{self.detector.dose:.3g}"),
            "read noise": float(f"{self.detector.read_noise:.3g}"),
        }

    def validate(self, predict: SliceNetwork) -> float:
        """Return the mean PSNR; not of a truth, for SIRT, of which the pieces are, has a wedge of its own."""
        answers = (by_slices(predict, [seen], n_neighbours=NEIGHBOURS) for seen, _ in self.held_out)
        return float(
            np.mean([psnr(a, turned) for a, (_, turned) in zip(answers, self.held_out, strict=True)])
        )

    def state(self) -> dict:
        """Return which round it is, and of which images."""
        return super().state() | {"fingerprint": self.fingerprint}

    def restore(self, state: dict) -> None:
        """Of what `state` gave. Raises TrainingError if that was of other images."""
        if state and state["fingerprint"] != self.fingerprint:
            raise TrainingError(
                f"{self.series.path}: has changed since the run was begun; --restart begins anew"
            )
        super().restore(state)


def binned_about_axis(images: np.ndarray, factor: int) -> np.ndarray:
    """Means over blocks of ``factor``² pixels; rows that do not fill a block go, as many below as above.

    Raises ValueError if the tilt axis, half-way up, would not stay there.
    """
    if factor < 1:
        raise ValueError(f"bin: got {factor}, expected a positive number of pixels")
    _, n_rows, nx = images.shape
    left = n_rows % factor
    while left % 2 and left < n_rows:
        left += factor
    if left >= n_rows or nx < factor:
        raise ValueError(
            f"bin: got {factor}, which {n_rows} × {nx} pixels cannot be binned by without moving the tilt axis"
            + ("; with an odd number of rows it must be odd" if n_rows % 2 > factor % 2 else "")
        )
    inside = images[:, left // 2 : n_rows - left // 2, : nx - nx % factor]
    return binned(np.ascontiguousarray(inside), (1, factor, factor))


def predictions(series: OwnSeries, weights: dict[str, Path], scale: float) -> dict[str, dict[str, float]]:
    """Return how well volumes from the tilts up to ``up_to`` predict the images beyond: relative error and correlation.

    Methods that learn nothing, which IsoNet has to beat, and, under the names in ``weights``, IsoNet with these
    weights. There is no truth in it, but an answer that no method has seen: the images were recorded.
    """
    near, beyond = series.parts()
    volumes = {
        f"SIRT, {n_iter} iterations": sirt(near.model, near.images, n_iter=n_iter)
        for n_iter in (SIRT_ITERATIONS, CONVERGED)
    }
    volumes["total variation"] = tv(near.model, near.images / np.float32(scale)) * np.float32(scale)
    for name, path in weights.items():
        volumes[name] = isonet(near.model, near.images, scale=scale, weights=path)
    return {name: agreement(beyond.model(volume), beyond.images) for name, volume in volumes.items()}


def agreement(predicted: np.ndarray, images: np.ndarray) -> dict[str, float]:
    """‖y − ŷ‖ / ‖y‖ and the correlation coefficient."""
    error = float(np.linalg.norm(images - predicted) / np.linalg.norm(images))
    correlation = float(np.corrcoef(images.ravel(), predicted.ravel())[0, 1])
    return {"relative error": round(error, 4), "correlation": round(correlation, 4)}
