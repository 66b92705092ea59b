"""Checkpoints: everything a run needs to go on as if nothing had happened.

checkpoints/step-000120/ holds tensors.safetensors (trainable weights, optimiser, random state) and state.json (step,
whatever the method adds, the hash of the tensors). It is written aside, fsynced, renamed. The order of the data and
the randomness of a step follow from (seed, step), so they need no place here. No pickle anywhere.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.engine.errors import EngineError
from training.engine.run_dir import RunDir, sha256_of, write_json


@dataclass(frozen=True)
class Checkpoint:
    """What was read back: the step it was written after, tensors by name, the method's own state."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def save(run_dir: RunDir, step: int, tensors: dict[str, Tensor], state: dict[str, Any], *, keep: int) -> Path:
    """Write the checkpoint of a step and drop all but the ``keep`` newest. Returns its folder."""
    run_dir.checkpoints_path.mkdir(exist_ok=True)
    final = run_dir.checkpoints_path / f"step-{step:06d}"
    aside = run_dir.checkpoints_path / f".step-{step:06d}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    tensors = {**tensors, "rng/torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["rng/cuda"] = torch.cuda.get_rng_state()
    save_file({name: item.detach().cpu().contiguous() for name, item in tensors.items()}, aside / "tensors.safetensors")
    _sync(aside / "tensors.safetensors")
    digest = sha256_of(aside / "tensors.safetensors")
    write_json(aside / "state.json", {"step": step, "sha256": digest, "python_rng": random.getstate(), "state": state})
    _sync(aside)
    shutil.rmtree(final, ignore_errors=True)
    os.rename(aside, final)
    _sync(run_dir.checkpoints_path)
    for old in run_dir.checkpoints()[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_latest(run_dir: RunDir) -> Checkpoint | None:
    """The newest checkpoint that is whole; None when the run has none. EngineError when all of them are damaged."""
    found = run_dir.checkpoints()
    for path in reversed(found):
        checkpoint = _load(path)
        if checkpoint is not None:
            return checkpoint
    if found:
        raise EngineError(f"no checkpoint in {run_dir.checkpoints_path} is whole; remove the folder to start again")
    return None


def _load(path: Path) -> Checkpoint | None:
    """A checkpoint, or None if it is damaged. The random state is put back."""
    try:
        content = json.loads((path / "state.json").read_text(encoding="utf-8"))
        if sha256_of(path / "tensors.safetensors") != content["sha256"]:
            return None
        tensors = load_file(path / "tensors.safetensors")
        version, numbers, gauss = content["python_rng"]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None
    random.setstate((version, tuple(numbers), gauss))
    torch.set_rng_state(tensors.pop("rng/torch"))
    on_gpu = tensors.pop("rng/cuda", None)
    if on_gpu is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(on_gpu)
    return Checkpoint(step=int(content["step"]), tensors=tensors, state=content["state"])


def training_tensors(parameters: dict[str, nn.Parameter], optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights and the optimiser's state under flat names: weight/<name>, optimiser/<key>/<name>."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        tensors[f"weight/{name}"] = parameter
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser/{key}/{name}"] = torch.as_tensor(value)
    return tensors


def restore_training(
    parameters: dict[str, nn.Parameter], optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Put back what :func:`training_tensors` took. EngineError when the checkpoint is of another model."""
    names = {name.removeprefix("weight/") for name in tensors if name.startswith("weight/")}
    if names != set(parameters):
        raise EngineError("the checkpoint does not belong to this model: its trainable weights have other names")
    for name, parameter in parameters.items():
        with torch.no_grad():
            parameter.copy_(tensors[f"weight/{name}"])
    for full_name, value in tensors.items():
        if full_name.startswith("optimiser/"):
            _, key, name = full_name.split("/", 2)
            parameter = parameters[name]
            # Adam's step counter lives on the CPU unless the optimiser is fused.
            place = torch.device("cpu") if key == "step" and not optimiser.defaults.get("fused") else parameter.device
            optimiser.state[parameter][key] = value.to(place)


def _sync(path: Path) -> None:
    """Bring a file or a folder's entries to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
