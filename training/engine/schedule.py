"""The learning rate as a function of the step, and the optimiser step with its guards."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from training.engine.errors import EngineError
from training.engine.sharding import whole


def learning_rate(step: int, total: int, *, peak: float, warmup_share: float, shape: str) -> float:
    """Rate of step 1 … total: rises linearly to ``peak`` over the warm-up, then falls by ``shape``, never to 0."""
    warmup = round(warmup_share * total)
    if step <= warmup:
        return peak * step / warmup
    gone = (step - 1 - warmup) / max(1, total - warmup)
    return peak * {"cosine": 0.5 * (1 + math.cos(math.pi * gone)), "linear": 1 - gone, "constant": 1.0}[shape]


def make_optimiser(parameters: Iterable[nn.Parameter], *, weight_decay: float, eps: float = 1e-8) -> torch.optim.AdamW:
    """AdamW, fused on a GPU."""
    parameters = list(parameters)
    on_gpu = parameters[0].device.type == "cuda"
    return torch.optim.AdamW(parameters, lr=0.0, weight_decay=weight_decay, eps=eps, fused=on_gpu or None)


def apply_step(
    optimiser: torch.optim.Optimizer, *, rate: float, max_grad_norm: float, step: int, batch: str = ""
) -> float:
    """Clip, step, clear the gradients; returns the norm before clipping. ``batch`` names the rows in a message.

    EngineError when the norm is not finite (nothing is changed then), or 0 in the first step: nothing would be learned.
    """
    parameters = [item for group in optimiser.param_groups for item in group["params"]]
    norm = float(whole(nn.utils.clip_grad_norm_(parameters, max_grad_norm)))
    if not math.isfinite(norm):
        where = f"step {step} ({batch})" if batch else f"step {step}"
        raise EngineError(f"the gradient of {where} is not finite; lower the learning rate or use fp32")
    if norm == 0 and step == 1:
        raise EngineError("the gradient of the first step is 0, so nothing would be learned")
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return norm
