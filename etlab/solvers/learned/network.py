"""A trained network from its weight file, run with onnxruntime alone."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from etlab.solvers.learned.slices import SliceNetwork, padded_to

WEIGHTS = Path(str(files("etlab") / "weights"))


class WeightsError(RuntimeError):
    """A network cannot be run; the message says why and what to do, in one line.

    Examples
    --------
    >>> try:
    ...     load("dncnn", "missing.onnx")
    ... except WeightsError as error:
    ...     print(error)
    there are no weights of 'dncnn' at missing.onnx: check the path
    """


def load(name: str, weights: str | os.PathLike | None = None) -> SliceNetwork:
    """Return the network ``name`` of the course, or the one in the ONNX file ``weights``.

    The result takes slices (n, channels, nz, ny) of any size, float32, and returns (n, 1, nz, ny).
    Raises WeightsError if onnxruntime or the file is missing or the file holds something else.
    """
    path = weight_file(name) if weights is None else Path(weights)
    if not path.is_file():
        remedy = f"make them with `python -m training.train {name}`" if weights is None else "check the path"
        raise WeightsError(f"there are no weights of {name!r} at {path}: {remedy}")
    return _session(path, path.stat().st_mtime_ns)


def weight_file(name: str) -> Path:
    """Return where the weights that come with etlab are."""
    return WEIGHTS / f"{name}.onnx"


@lru_cache(maxsize=4)
def _session(path: Path, modified: int) -> SliceNetwork:
    try:
        import onnxruntime
    except ImportError as error:
        raise WeightsError(
            "the learned methods need onnxruntime: pip install 'etlab[learned]', or pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        multiple = int(session.get_modelmeta().custom_metadata_map["multiple"])
    except Exception as error:  # onnxruntime has a class of its own for every way a file can be wrong
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path}: expected a network exported by `training.train` ({reason})") from error
    entry = session.get_inputs()[0]

    def network(slices: np.ndarray) -> np.ndarray:
        if slices.ndim != 4 or slices.shape[1] != entry.shape[1]:
            raise ValueError(f"slices: got shape {slices.shape}, expected (n, {entry.shape[1]}, nz, ny)")
        padded, (rows, columns) = padded_to(slices, multiple)
        (answer,) = session.run(None, {entry.name: padded})
        return answer[:, :, rows, columns]

    return network
