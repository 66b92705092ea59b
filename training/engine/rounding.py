"""Weights in a narrower number format.

Rounded to the nearest, a weight of bf16 (8 bits) forgets every change below half its last bit, and those of a merged
adapter mostly are: what training added would be lost all in one direction. Rounded at random, up with the share of the
way that a weight stands between its two neighbours, each weight is right on average, and over the many that go into a
product so is their sum (stochastic rounding, arXiv 1502.02551 §3).
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

FINER_THAN_BF16 = {"F64", "F32", "F16"}  # safetensors' names of number formats with more bits behind the point
SEED = 20_150_209  # one for all: the same weights are the same in every process and every run
_LOW_BITS = 16  # an fp32 number is a bf16 number and so many bits more


@torch.no_grad()
def narrow(model: nn.Module, dtype: torch.dtype) -> None:
    """Bring the weights, not the buffers, to a number format in place; where it is bf16 and theirs is finer, at random.

    Buffers stay as the model's own code made them: rotary frequencies in bf16 would put tokens at other places.
    """
    generator = torch.Generator().manual_seed(SEED)
    for weight in model.parameters():
        if not weight.is_floating_point():
            continue
        is_finer = weight.dtype in (torch.float64, torch.float32, torch.float16)
        if dtype == torch.bfloat16 and is_finer:
            weight.data = rounded_at_random(weight.data, generator)
        else:
            weight.data = weight.data.to(dtype)


def rounded_at_random(weight: Tensor, generator: torch.Generator) -> Tensor:
    """The weights in bf16: each one of its two neighbours there, whose mean over the generator's numbers is itself."""
    bits = weight.float().view(torch.int32)
    noise = torch.randint(0, 1 << _LOW_BITS, bits.shape, generator=generator, dtype=torch.int32).to(bits.device)
    return ((bits + noise) >> _LOW_BITS << _LOW_BITS).view(torch.float32).to(torch.bfloat16)


def is_finer_than_bf16(folder: str) -> bool:
    """Whether a model folder holds weights that bf16 would round. OSError and SafetensorError as its files give."""
    for file in Path(folder).glob("*.safetensors"):
        with safe_open(file, "pt") as found:
            if any(found.get_slice(name).get_dtype() in FINER_THAN_BF16 for name in found.keys()):  # noqa: SIM118 - no mapping
                return True
    return False
