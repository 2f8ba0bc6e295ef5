"""A trained network as an ONNX file, checked against PyTorch, and its model card."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from torch import nn

from etlab.atomic import replacing
from etlab.solvers.learned.network import load

logging.getLogger("torch.onnx").setLevel(
    logging.ERROR
)  # it warns of operators of torchvision at every export

TOLERANCE = 1e-5  # largest difference between onnxruntime and PyTorch, for answers of order one
MOST_BYTES = 4_000_000


class ExportError(RuntimeError):
    """What was exported is not what was trained, or too large."""


def export(network: nn.Module, path: Path) -> float:
    """Write ``network`` to ``path``, whole or not at all; returns the largest difference to PyTorch on three shapes.

    Raises ExportError if that exceeds ``TOLERANCE`` or the file exceeds ``MOST_BYTES``.
    """
    network = network.to("cpu").eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        onnx.save(_as_onnx(network), part)
        if (size := part.stat().st_size) > MOST_BYTES:
            raise ExportError(f"{path.name}: {size} bytes, at most {MOST_BYTES} are allowed")
        difference = largest_difference(network, part)
        if not difference <= TOLERANCE:  # NaN too
            raise ExportError(f"{path.name}: onnxruntime differs from PyTorch by {difference:.1e}")
    return difference


def restore(network: nn.Module, path: Path) -> None:
    """Give ``network`` the parameters in an exported file.

    Raises FileNotFoundError if there is none, ExportError if it does not hold those of such a network.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        initializers = onnx.load(path).graph.initializer
    except DecodeError as error:
        raise ExportError(f"{path}: not an ONNX file") from error
    kept = {one.name: torch.from_numpy(onnx.numpy_helper.to_array(one).copy()) for one in initializers}
    # how many batches a normalisation has seen is not exported and decides nothing
    wanted = {
        name: value for name, value in network.state_dict().items() if "num_batches_tracked" not in name
    }
    missing = [name for name, value in wanted.items() if name not in kept or kept[name].shape != value.shape]
    if missing:
        raise ExportError(
            f"{path}: {len(missing)} of {len(wanted)} parameters are not there ({missing[0]}, …): the file is of "
            "another network or was exported with its layers merged; export it again"
        )
    network.load_state_dict({name: kept[name] for name in wanted}, strict=False)


def largest_difference(network: nn.Module, path: Path) -> float:
    """Between the network and its file, on three shapes of random slices."""
    exported = load(path.stem, path)
    rng = np.random.default_rng(0)
    m = network.multiple
    shapes = [(1, 64, 128), (3, 4 * m, 2 * m), (2, 3 * m, 5 * m)]
    worst = 0.0
    for n, nz, ny in shapes:
        slices = rng.uniform(0.01, 1, (n, network.channels, nz, ny)).astype(np.float32)
        with torch.no_grad():
            wanted = network(torch.from_numpy(slices)).numpy()
        worst = max(worst, float(np.max(np.abs(exported(slices) - wanted))))
    return worst


def _as_onnx(network: nn.Module) -> onnx.ModelProto:
    m = network.multiple
    # neither 1 nor equal, or the exporter takes the sizes of the example for all there are
    example = torch.rand(2, network.channels, 4 * m, 6 * m) + 0.01
    batch, nz, ny = (torch.export.Dim(name) for name in ("batch", "nz", "ny"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            external_data=False,
            verbose=False,
            optimize=False,  # it would merge layers, and `restore` could not part them; onnxruntime merges them anyway
            input_names=["slices"],
            output_names=["answer"],
            dynamic_shapes=({0: batch, 2: m * nz, 3: m * ny},),
        )
    model = program.model_proto
    # the exporter notes where in which file on this machine each operation stands: of no use to others
    del model.metadata_props[:], model.graph.metadata_props[:]
    model.graph.ClearField("value_info")
    for node in model.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for part in (*model.graph.initializer, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
    onnx.helper.set_model_props(model, {"multiple": str(m)})
    onnx.checker.check_model(model)
    return model


def write_card(path: Path, card: dict[str, object]) -> None:
    """The model card beside the weights ``path``, with their SHA-256, whole or not at all."""
    card = card | {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    with replacing(path.with_suffix(".json")) as part:
        part.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
