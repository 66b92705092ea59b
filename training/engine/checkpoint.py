"""Checkpoints: everything a run needs to go on as if nothing had happened.

checkpoints/step-000120/ holds tensors.safetensors (trainable weights, optimiser, random state), best.safetensors (the
weights of the best step so far, where a method keeps one) and state.json (step, whatever the method adds, the hashes of
the two). It is written aside, fsynced, renamed. The order of the data and the learning rate of a step follow from
(seed, step), so they need no place here. No pickle anywhere.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.engine import processes, sharding
from training.engine.errors import EngineError
from training.engine.events import EventWriter
from training.engine.run_dir import RunDir, sha256_of, write_json

TENSORS, BEST = "tensors.safetensors", "best.safetensors"
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError)


@dataclass(frozen=True)
class Checkpoint:
    """What was read back: the step it was written after, tensors by name, the method's own state, the best weights.

    ``damaged`` are the names of newer ones that are not whole.
    """

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    best: dict[str, Tensor] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)


def save(
    run_dir: RunDir,
    step: int,
    tensors: dict[str, Tensor],
    state: dict[str, Any],
    *,
    keep: int,
    best: dict[str, Tensor] | None = None,
) -> Path:
    """Write the checkpoint of a step and drop all but the ``keep`` newest. Returns its folder.

    EngineError when a weight is not finite: the checkpoint before is worth more. An error while writing, such as a full
    disk, leaves the checkpoints there are and nothing half-written.
    """
    wrong = [name for name, item in tensors.items() if name.startswith("weight/") and not torch.isfinite(item).all()]
    if wrong:
        name = wrong[0].removeprefix("weight/")
        raise EngineError(f"after step {step} the weights in {name} are not finite; lower the learning rate")
    run_dir.checkpoints_path.mkdir(exist_ok=True)
    final = run_dir.checkpoints_path / f"step-{step:06d}"
    aside = run_dir.checkpoints_path / f".step-{step:06d}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        hashes = {TENSORS: _write(aside / TENSORS, tensors | _random_tensors())}
        if best:
            hashes[BEST] = _write(aside / BEST, best)
        content = {"step": step, "sha256": hashes, "python_rng": random.getstate(), "state": state}
        write_json(aside / "state.json", content)
        _sync(aside)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    shutil.rmtree(final, ignore_errors=True)  # killed here, the run finds the one aside: it is whole
    os.rename(aside, final)
    _sync(run_dir.checkpoints_path)
    for old in run_dir.checkpoints()[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def resume(run_dir: RunDir, events: EventWriter) -> Checkpoint | None:
    """:func:`load_latest`, by the main process first. What an interrupted run has lost is told as a warning."""
    with processes.main_first():
        found = load_latest(run_dir)
    if found is None and events.has_told("step"):
        events.write("warning", message="The run was interrupted before its first checkpoint: it begins again.")
    if found is not None and found.damaged:
        lost = ", ".join(found.damaged)
        events.write("warning", message=f"Damaged checkpoints ({lost}): the run goes on from step {found.step}.")
    return found


def load_latest(run_dir: RunDir) -> Checkpoint | None:
    """The newest checkpoint that is whole; None when the run has none. EngineError when all of them are damaged."""
    _rename_whole_ones(run_dir)
    found = run_dir.checkpoints()
    damaged: list[str] = []
    for path in reversed(found):
        checkpoint = _load(path)
        if checkpoint is not None:
            return replace(checkpoint, damaged=damaged)
        damaged.append(path.name)
    if found:
        raise EngineError(f"no checkpoint in {run_dir.checkpoints_path} is whole; remove the folder to start again")
    return None


def _rename_whole_ones(run_dir: RunDir) -> None:
    """Finish what a kill cut short between the removal of a step's older checkpoint and the renaming of its new one."""
    for aside in run_dir.checkpoints_path.glob(".step-*"):
        final = aside.with_name(aside.name[1:])
        if not final.exists() and _content(aside) is not None:
            os.rename(aside, final)


def _content(path: Path) -> dict[str, Any] | None:
    """What state.json says, or None unless the files beside it are the ones it names."""
    try:
        content = json.loads((path / "state.json").read_text(encoding="utf-8"))
        whole = TENSORS in content["sha256"] and all(
            sha256_of(path / name) == digest for name, digest in content["sha256"].items()
        )
    except DAMAGED:
        return None
    return content if whole and isinstance(content, dict) else None


def _load(path: Path) -> Checkpoint | None:
    """A checkpoint, or None if it is damaged. The random state is put back."""
    content = _content(path)
    if content is None:
        return None
    try:
        tensors = load_file(path / TENSORS)
        best = load_file(path / BEST) if BEST in content["sha256"] else {}
        version, numbers, gauss = content["python_rng"]
        step, state = int(content["step"]), content["state"]
    except DAMAGED:
        return None
    random.setstate((version, tuple(numbers), gauss))
    _put_random_state(tensors)
    return Checkpoint(step=step, tensors=tensors, state=state, best=best)


def _random_tensors() -> dict[str, Tensor]:
    """The random state of torch, of the GPU if there is one, and of numpy; Python's own is kept as JSON."""
    _, keys, position, has_gauss, gauss = numpy.random.get_state(legacy=True)
    tensors = {
        "rng/torch": torch.get_rng_state(),
        "rng/numpy": torch.from_numpy(numpy.asarray(keys).astype(numpy.int64)),
        "rng/numpy_place": torch.tensor([position, has_gauss, gauss], dtype=torch.float64),
    }
    if torch.cuda.is_available():
        tensors["rng/cuda"] = torch.cuda.get_rng_state()
    return tensors


def _put_random_state(tensors: dict[str, Tensor]) -> None:
    """Take the random state out of a checkpoint's tensors and put it back."""
    torch.set_rng_state(tensors.pop("rng/torch"))
    keys, place = tensors.pop("rng/numpy").numpy(), tensors.pop("rng/numpy_place").tolist()
    numpy.random.set_state(("MT19937", keys.astype(numpy.uint32), int(place[0]), int(place[1]), place[2]))
    on_gpu = tensors.pop("rng/cuda", None)
    if on_gpu is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(on_gpu)


def _write(path: Path, tensors: dict[str, Tensor]) -> str:
    """Write tensors to the disk; returns the file's hash."""
    save_file({name: item.detach().cpu().contiguous() for name, item in tensors.items()}, path)
    _sync(path)
    return sha256_of(path)


def training_tensors(parameters: dict[str, nn.Parameter], optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights and the optimiser's state under flat names: weight/<name>, optimiser/<key>/<name>.

    Sharded ones are put together for the main process.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        tensors[f"weight/{name}"] = sharding.whole_for_main(parameter)
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser/{key}/{name}"] = sharding.whole_for_main(torch.as_tensor(value))
    return tensors


def restore_training(
    parameters: dict[str, nn.Parameter], optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Put back what :func:`training_tensors` took. EngineError when the checkpoint is of another model."""
    names = {name.removeprefix("weight/") for name in tensors if name.startswith("weight/")}
    if names != set(parameters):
        raise EngineError("the checkpoint does not belong to this model: its trainable weights have other names")
    if any(tensors[f"weight/{name}"].shape != parameter.shape for name, parameter in parameters.items()):
        raise EngineError("the checkpoint does not belong to this model: its trainable weights have other shapes")
    for name, parameter in parameters.items():
        with torch.no_grad():
            parameter.copy_(sharding.like(parameter, tensors[f"weight/{name}"]))
    for full_name, value in tensors.items():
        if full_name.startswith("optimiser/"):
            _, key, name = full_name.split("/", 2)
            parameter = parameters[name]
            if key == "step":  # Adam's counter lives on the CPU unless the optimiser is fused
                fused = optimiser.defaults.get("fused")
                optimiser.state[parameter][key] = value.to(parameter.device if fused else torch.device("cpu"))
            else:
                optimiser.state[parameter][key] = sharding.like(parameter, value)


def _sync(path: Path) -> None:
    """Bring a file or a folder's entries to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
