"""Low-rank adapters with less around them than PEFT's own forward: no copies of the activations in fp32, no extra
passes over the output. PEFT stays what makes, names, switches, saves and merges adapters.

For y = x Wᵀ + s·(x Aᵀ) Bᵀ and the gradient g of y, with h = x Aᵀ and u = s·g B:
∂x = g W + u A,  ∂A = uᵀ x,  ∂B = s·gᵀ h.   Axes: T tokens, I in, O out, R rank.

The two small products run in the number format of the layer, as the large one does, with A and B rounded for them; the
adapters themselves, their gradients' sums and the optimiser stay in fp32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from peft import PeftModel
from peft.tuners.lora.layer import Linear as LoraLinear
from peft.tuners.lora.layer import LoraLayer
from torch import Tensor, nn

FUSED, WIDE = "_computes_as_above", "_wide_product"  # entries of a layer's __dict__, no parameters and no modules


class TrainingDropout(nn.Dropout):
    """Dropout in passes with gradients, whatever the mode: evaluation, reference and sampling have none."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, training=torch.is_grad_enabled())


def drop_in_training_passes(peft: PeftModel) -> None:
    """Let the adapters' dropout know training passes by their gradients."""
    for module in peft.modules():
        if isinstance(module, LoraLayer):
            for name, dropout in module.lora_dropout.items():
                module.lora_dropout[name] = TrainingDropout(cast(nn.Dropout, dropout).p)


def fuse(peft: PeftModel) -> None:
    """Let every plain LoRA layer of the model compute as above, while exactly one adapter speaks."""
    for module in peft.modules():
        if isinstance(module, LoraLinear) and type(module.base_layer) is nn.Linear:
            _fuse_layer(module)


def _fuse_layer(layer: LoraLinear) -> None:
    by_peft = layer.forward
    base = cast(nn.Linear, layer.base_layer)

    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        name = _only_adapter(layer)
        if name is None or args or kwargs:
            return by_peft(x, *args, **kwargs)
        if (wide := layer.__dict__.get(WIDE)) is not None:
            return cast(Tensor, wide(x))
        down, up = cast(nn.Linear, layer.lora_A[name]).weight, cast(nn.Linear, layer.lora_B[name]).weight
        return low_rank_linear(x, base.weight, base.bias, down, up, layer.scaling[name])

    layer.forward = forward  # type: ignore[method-assign]
    layer.__dict__[FUSED] = True


@contextlib.contextmanager
def widened(model: nn.Module) -> Iterator[None]:
    """Inside, on the CPU, each fused layer computes [x, x Aᵀ] [W, s·B]ᵀ + b: two products and not three, with A and B
    rounded once. For many short passes without gradients while no weight changes; holds a second copy of the layers.
    """
    layers = [item for item in model.modules() if isinstance(item, LoraLinear) and FUSED in item.__dict__]
    layers = [item for item in layers if item.weight.device.type == "cpu" and _only_adapter(item)]
    try:
        for layer in layers:
            layer.__dict__[WIDE] = _wide_product(layer)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop(WIDE, None)


@torch.no_grad()
def _wide_product(layer: LoraLinear) -> Callable[[Tensor], Tensor]:
    name, base = cast(str, _only_adapter(layer)), cast(nn.Linear, layer.base_layer)
    dtype = base.weight.dtype
    down_RI = cast(nn.Linear, layer.lora_A[name]).weight.to(dtype)
    up_OR = layer.scaling[name] * cast(nn.Linear, layer.lora_B[name]).weight
    wide_OK = torch.cat([base.weight, up_OR.to(dtype)], dim=1)  # K = I + R

    def product(x: Tensor) -> Tensor:
        return F.linear(torch.cat([x, F.linear(x, down_RI)], dim=-1), wide_OK, base.bias)

    return product


def _only_adapter(layer: LoraLinear) -> str | None:
    """The adapter that speaks, when it is one, unmerged, plain, in a pass without dropout; else None."""
    if layer.disable_adapters or layer.merged:
        return None
    speaking = [name for name in layer.active_adapters if name in layer.lora_A]
    if len(speaking) != 1 or speaking[0] in layer.lora_variant:
        return None
    dropout = layer.lora_dropout[speaking[0]]
    drops = not isinstance(dropout, nn.Identity)
    if isinstance(dropout, TrainingDropout) and not torch.is_grad_enabled():
        drops = False
    biased = cast(nn.Linear, layer.lora_B[speaking[0]]).bias is not None
    return None if drops or biased else speaking[0]


def low_rank_linear(
    x: Tensor, weight_OI: Tensor, bias_O: Tensor | None, down_RI: Tensor, up_OR: Tensor, scale: float
) -> Tensor:
    """x Wᵀ + b + s·(x Aᵀ) Bᵀ, (…, I) -> (…, O). W and b are frozen, A (down) and B (up) may learn."""
    if not torch.is_grad_enabled():
        return _product(x, weight_OI, bias_O, down_RI.to(x.dtype), up_OR.to(x.dtype), scale)[0]
    y = _LowRankLinear.apply(x, weight_OI, bias_O, down_RI, up_OR, scale)  # type: ignore[no-untyped-call]
    return cast(Tensor, y)


def _product(
    x: Tensor, weight_OI: Tensor, bias_O: Tensor | None, down_RI: Tensor, up_OR: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """The output and h = x Aᵀ, (T, R)."""
    y = F.linear(x, weight_OI, bias_O)
    h_TR = F.linear(x, down_RI).flatten(0, -2)
    y.view(-1, y.shape[-1]).addmm_(h_TR, up_OR.t(), alpha=scale)
    return y, h_TR


class _LowRankLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_OI: Tensor,
        bias_O: Tensor | None,
        down_RI: Tensor,
        up_OR: Tensor,
        scale: float,
    ) -> Tensor:
        down, up = down_RI.to(x.dtype), up_OR.to(x.dtype)
        y, h_TR = _product(x, weight_OI, bias_O, down, up, scale)
        ctx.save_for_backward(x, weight_OI, down, up, h_TR)
        ctx.scale = scale
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight_OI, down_RI, up_OR, h_TR = ctx.saved_tensors
        grad_TO = grads[0].flatten(0, -2)
        u_TR = (grad_TO @ up_OR).mul_(ctx.scale)
        grad_x = grad_down = grad_up = None
        if ctx.needs_input_grad[0]:
            grad_TI = grad_TO @ weight_OI
            grad_x = grad_TI.addmm_(u_TR, down_RI).view(x.shape)
        if ctx.needs_input_grad[3]:
            grad_down = u_TR.t() @ x.flatten(0, -2)
        if ctx.needs_input_grad[4]:
            grad_up = (grad_TO.t() @ h_TR).mul_(ctx.scale)
        return grad_x, None, None, grad_down, grad_up, None
