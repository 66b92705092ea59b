"""Full training of a model that is too large for one GPU: FSDP2 (`torch.distributed.fsdp.fully_shard`).

Each process holds a part of every weight, of its gradient and of the optimiser's state. A layer's weights are gathered
for the moment a pass needs them, and gradients are added up as the backward pass gives them back.

1. Every layer is a group of its own; embeddings, last norm and head are the root's, and a pass reads them several times
   (the head chunk by chunk), so the whole pass runs as one forward of the root: :func:`with_weights`.
2. A pass is an exchange. A process that has made its own passes makes empty ones until the others are done.
3. Checkpoints and saved models hold whole weights, so a run may go on with another number of processes, or one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from training.engine import processes, stop
from training.engine.backbone import last_hidden, packs
from training.engine.packing import Tokens, make_pass

T = TypeVar("T")
NOTHING = Tokens([1], [1])  # what an empty pass reads


def shard(model: PreTrainedModel) -> PreTrainedModel:
    """Share the weights out over the processes, each part on the device of its process. EngineError when alone."""
    processes.go_in_step()
    packs(model)  # its probe compares two forward passes: while the weights are whole
    layers = [module for module in model.modules() if type(module).__name__ in (model._no_split_modules or ())]
    for module in (*layers, model):
        fully_shard(module)
        # Added up, not averaged: a loss is divided by the weight of the whole step already.
        cast(FSDPModule, module).set_force_sum_reduction_for_comms(True)
        cast(FSDPModule, module).set_gradient_divide_factor(1.0)
    root = cast(Any, model)
    root.with_weights = _call
    register_fsdp_forward_method(root, "with_weights")
    return model


def _call(work: Callable[[], T]) -> T:
    return work()


def with_weights(model: PreTrainedModel, work: Callable[[], Tensor]) -> Tensor:
    """What ``work`` returns, which may read the model's weights outside of its forward."""
    if not isinstance(model, FSDPModule):
        return work()
    found: Tensor = cast(Any, model).with_weights(work)
    if not torch.is_grad_enabled():
        model.reshard()  # a backward pass would have; the root's weights must not outlive a change of the parts
    return found


def pass_nothing(model: PreTrainedModel) -> None:
    """An empty pass: the part that this process has in the passes of others. With gradients on it adds 0 to each."""
    stop.leave_if_requested()
    device = processes.device() or torch.device("cpu")

    def work() -> Tensor:
        outer = [item for item in model.parameters() if not isinstance(item, DTensor)]  # the root's, gathered now
        return last_hidden(model, make_pass([NOTHING], device)).sum() + torch.stack([x.sum() for x in outer]).sum()

    nothing = 0 * with_weights(model, work)
    if torch.is_grad_enabled():
        nothing.backward()  # type: ignore[no-untyped-call]


def whole(item: Tensor) -> Tensor:
    """The whole of a tensor of which each process may hold a part."""
    return item.full_tensor() if isinstance(item, DTensor) else item


def whole_for_main(item: Tensor) -> Tensor:
    """The whole on the CPU of the main process, which alone has room for more than its part; nothing on the others."""
    if not isinstance(item, DTensor):
        return item
    found = item.full_tensor()
    return found.cpu() if processes.is_main() else found.new_empty(0)


def like(item: Tensor, value: Tensor) -> Tensor:
    """A value as ``item`` is kept: on its device, and the part of it that this process holds."""
    if not isinstance(item, DTensor) or isinstance(value, DTensor):
        return value.to(item.device)
    # src_data_rank None: every process has the whole value, so nothing is sent.
    placed = distribute_tensor(value.to(item.device), item.device_mesh, item.placements, src_data_rank=None)
    return cast(Tensor, placed)


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """Every weight of the model by one of its names, on the CPU of the main process; nothing on the others."""
    cast(FSDPModule, model).reshard()
    weights = model.state_dict(keep_vars=True)
    names = {id(item): name for name, item in reversed(weights.items())}  # tied ones have two names, and go out once
    return {name: whole_for_main(weights[name].detach()) for name in reversed(list(names.values()))}
