"""A training run: one loop for all networks.

AdamW, fifty steps of warm-up, then a cosine to zero over the budget, gradients clipped to norm 1, and a running average
of the weights, which is what is validated and exported. The budget is a number of steps or of minutes (on a CPU, of
processor time), in which validation does not count. An interrupted run goes on where it was: it is saved once a minute.
"""

from __future__ import annotations

import datetime
import math
import platform
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

from etlab.atomic import replacing
from etlab.solvers.learned.slices import SliceNetwork, padded_to
from training.export import restore
from training.networks import n_parameters
from training.objectives import Supervised
from training.settings import Settings, TrainingError

BATCH = 8
WARM_UP = 50  # steps
DECAY = 0.99  # of the running average of the weights, per step
SAVE_EVERY = 60.0  # seconds
N_VALIDATIONS = 16  # times over a run that the curve is taken


class Run:
    """A network on its way: weights, their average, optimiser, progress and validation curve."""

    def __init__(self, settings: Settings, device: torch.device):
        self.settings, self.device = settings, device
        torch.manual_seed(settings.seed)
        self.network = settings.recipe.network()
        if settings.start is not None:
            restore(self.network, Path(settings.start))
        self.network.to(device, memory_format=torch.channels_last)
        # the weights are averaged; the statistics of the normalisations, averages themselves, are copied
        self.average = AveragedModel(self.network, avg_fn=running_average)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=self.settings.recipe.rate, betas=(0.9, 0.99)
        )
        # on a processor its own time, so that neither other programs nor a pause eat into the budget
        self.clock = time.process_time if device.type == "cpu" else time.perf_counter
        self.objective: Supervised | None = None  # made by `train`
        self.step, self.seconds = 0, 0.0
        self.curve: list[tuple[int, float, float]] = []  # step, mean loss since the last entry, validation

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        if self.settings.steps is not None:
            return min(1.0, self.step / self.settings.steps)
        return min(1.0, self.seconds / (60 * self.settings.minutes))

    def train_step(self, objective) -> float:
        """One batch; returns its loss."""
        began = self.clock()
        fast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16")
        with fast:
            objective.prepare(self.step, self.progress, self.predictor())
        rng = np.random.default_rng((self.settings.seed, self.step))  # a resumed run draws what it would have
        inputs, targets = (
            torch.from_numpy(padded_to(np.ascontiguousarray(array), self.network.multiple)[0]).to(self.device)
            for array in objective.batch(rng, BATCH)
        )
        for group in self.optimiser.param_groups:
            warm = min(1.0, (self.step + 1) / WARM_UP)
            group["lr"] = self.settings.recipe.rate * warm * 0.5 * (1 + math.cos(math.pi * self.progress))
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with fast:
            answer = self.network(inputs)
        loss = objective.loss(answer.float(), targets, inputs)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.average.update_parameters(self.network)
        self.step += 1
        loss = float(loss.detach())
        self.seconds += self.clock() - began
        return loss

    def predictor(self) -> SliceNetwork:
        """Return the averaged network as a function of arrays, as `etlab.solvers.learned` wants it."""
        return predictor(self.average.module, self.device)

    def save(self, path: Path, objective) -> None:
        """Write all of it, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimiser")}
        state |= dict(settings=asdict(self.settings), step=self.step, seconds=self.seconds)
        state |= dict(curve=self.curve, objective=objective.state())
        with replacing(path) as part:
            torch.save(state, part)

    def resume(self, path: Path) -> dict:
        """Go on from a checkpoint; returns the objective's state. Raises TrainingError if it is of another run."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["settings"] != asdict(self.settings):
            raise TrainingError(f"{path}: is of a run with other settings; --restart throws it away")
        for name in ("network", "average", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds, self.curve = state["step"], state["seconds"], state["curve"]
        return state["objective"]


def running_average(average: torch.Tensor, weight: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    """Return the average after ``n`` steps and one more; early on it forgets faster, so that the first weights go."""
    n = int(n)
    return average.lerp(weight, 1 - min(DECAY, (1 + n) / (10 + n)))


def predictor(network: nn.Module, device: torch.device) -> SliceNetwork:
    """Return a PyTorch network as a function of arrays."""

    def predict(slices: np.ndarray) -> np.ndarray:
        padded, (rows, columns) = padded_to(slices, network.multiple)
        network.eval()
        with torch.no_grad():
            answer = network(torch.from_numpy(padded).to(device)).float().cpu().numpy()
        return answer[:, :, rows, columns]

    return predict


def train(
    settings: Settings,
    *,
    device: str = "cpu",
    checkpoint: Path | None = None,
    restart: bool = False,
    progress: bool = True,
) -> Run:
    """Train to the end of the budget, resuming from ``checkpoint`` if it is there.

    Raises TrainingError if the checkpoint is of other settings, ValueError for settings that mean nothing.
    """
    run = Run(settings, torch.device(device))
    checkpoint = checkpoint or settings.checkpoint
    state = run.resume(checkpoint) if checkpoint.exists() and not restart else {}
    run.objective = objective = settings.objective(progress=progress)
    objective.restore(state)
    saved, losses = time.monotonic(), []
    validated = run.progress
    if not run.curve:
        run.curve.append((0, math.nan, objective.validate(run.predictor())))
    looks = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
    with tqdm(
        total=1.0,
        initial=run.progress,
        desc=settings.name,
        disable=not progress,
        bar_format=looks,
        mininterval=1.0,
    ) as bar:
        while run.progress < 1:
            losses.append(run.train_step(objective))
            bar.update(run.progress - bar.n)
            if run.progress == 1 or run.progress - validated >= 1 / N_VALIDATIONS:
                validated = run.progress
                run.curve.append((run.step, float(np.mean(losses)), objective.validate(run.predictor())))
                losses.clear()
                bar.set_postfix_str(f"step {run.step}, validation {run.curve[-1][2]:.2f}")
            if run.progress == 1 or time.monotonic() - saved > SAVE_EVERY:
                run.save(checkpoint, objective)
                saved = time.monotonic()
    return run


def card(run: Run, difference: float, *, threads: int) -> dict[str, object]:
    """Return what a reader of the weights should know."""
    settings, objective = run.settings, run.objective
    machine = torch.cuda.get_device_name() if run.device.type == "cuda" else platform.machine()
    return {
        "name": settings.name,
        "about": settings.recipe.about,
        "learns from": objective.learns_from,
        **objective.describe(),
        "begun with": Path(settings.start).name if settings.start else "new weights",
        "parameters": n_parameters(run.network),
        "seed": settings.seed,
        "steps": run.step,
        "batch": BATCH,
        "precision": settings.precision,
        "minutes of training": round(run.seconds / 60, 1),  # of processor time on a CPU
        "machine": f"{run.device.type}, {machine}, {threads} thread{'s' if threads > 1 else ''}",
        "versions": {name: version(name) for name in ("etlab", "torch", "onnx", "onnxruntime", "numpy")},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "validation": objective.validated_by,
        "validation before": round(run.curve[0][2], 2),
        "validation after": round(run.curve[-1][2], 2),
        "curve": [
            [step, None if math.isnan(loss) else round(loss, 6), round(v, 2)] for step, loss, v in run.curve
        ],
        "onnxruntime differs from PyTorch by": float(f"{difference:.1e}"),
        "limits": settings.limits,
    }
