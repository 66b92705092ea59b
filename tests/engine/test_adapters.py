"""Fused adapters: what PEFT's own forward gives, and its gradients; PEFT itself where more than one speaks."""

import copy

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from training.engine.adapters import fuse, widened


class Layers(nn.Module):
    """Two linear layers, one of them with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8, bias=True), nn.Linear(8, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


def make(dropout: float = 0.0) -> tuple[PeftModel, PeftModel]:
    """The same adapters twice: as PEFT computes them, and fused. B is not 0."""
    torch.manual_seed(0)
    shape = LoraConfig(r=3, lora_alpha=6, target_modules=["first", "second"], lora_dropout=dropout)
    plain = get_peft_model(Layers(), shape)  # type: ignore[arg-type]
    for name, item in plain.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(item)
    fused = copy.deepcopy(plain)
    fuse(fused)
    return plain, fused


def values_and_gradients(model: PeftModel, x: Tensor) -> dict[str, Tensor]:
    leaf = x.clone().requires_grad_()
    y = model(leaf)
    (y * torch.arange(y.numel()).view_as(y)).sum().backward()
    found = {name: item.grad for name, item in model.named_parameters() if item.grad is not None}
    model.zero_grad()
    return {"y": y.detach(), "x": leaf.grad, **found}  # type: ignore[dict-item]


@pytest.mark.parametrize("shape", [(4, 6), (2, 3, 6), (1, 1, 6)])
def test_values_and_every_gradient_are_those_of_peft(shape: tuple[int, ...]) -> None:
    plain, fused = make()
    x = torch.randn(*shape)
    theirs, ours = values_and_gradients(plain, x), values_and_gradients(fused, x)
    assert len(ours) == 2 + 4
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(fused(x), theirs["y"], rtol=1e-5, atol=1e-5)


def test_in_bf16_the_adapters_gradients_stay_in_fp32() -> None:
    _, fused = make()
    for name, item in fused.named_parameters():
        if "base_layer" in name:
            item.data = item.data.bfloat16()
    x = torch.randn(4, 6)
    exact = values_and_gradients(make()[0], x)
    found = values_and_gradients(fused, x.bfloat16())
    assert found["y"].dtype == torch.bfloat16
    for name, item in found.items():
        if "lora" in name:
            assert item.dtype == torch.float32
            # bf16 keeps 8 bits: three of its roundings in a row stay below 5 % of the largest entry
            assert float((item - exact[name]).abs().max()) < 0.05 * float(exact[name].abs().max())


def test_adapters_off_is_the_base_bit_for_bit() -> None:
    _, fused = make()
    x = torch.randn(4, 6)
    base = fused.get_base_model()
    with fused.disable_adapter():
        found = fused(x)
    expected = nn.functional.linear(
        torch.tanh(nn.functional.linear(x, base.first.base_layer.weight, base.first.base_layer.bias)),
        base.second.base_layer.weight,
    )
    assert torch.equal(found, expected)
    assert not torch.equal(fused(x), expected)


def test_another_adapter_speaks_when_it_is_chosen_and_both_when_both_are() -> None:
    plain, fused = make()
    x = torch.randn(4, 6)
    first = fused(x)
    for model in (plain, fused):
        torch.manual_seed(1)
        model.add_adapter("other", model.peft_config["default"])
        for name, item in model.named_parameters():
            if "lora_B.other" in name:
                nn.init.normal_(item)
        model.set_adapter("other")
    torch.testing.assert_close(fused(x), plain(x), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(fused(x), first)
    for model in (plain, fused):
        model.base_model.set_adapter(["default", "other"])
    torch.testing.assert_close(fused(x), plain(x), rtol=1e-5, atol=1e-5)


def test_an_adapter_with_dropout_is_left_to_peft() -> None:
    plain, fused = make(dropout=0.5)
    x = torch.randn(4, 6)
    torch.manual_seed(3)
    expected = plain(x)
    torch.manual_seed(3)
    assert torch.equal(fused(x), expected)


def test_a_merged_adapter_is_not_added_twice() -> None:
    plain, fused = make()
    x = torch.randn(4, 6)
    expected = plain(x)
    fused.merge_adapter()
    torch.testing.assert_close(fused(x), expected, rtol=1e-5, atol=1e-5)


def test_widened_layers_give_the_same_and_forget_it_afterwards() -> None:
    plain, fused = make()
    x = torch.randn(2, 3, 6)
    with torch.no_grad():
        with widened(fused):
            torch.testing.assert_close(fused(x), plain(x), rtol=1e-5, atol=1e-5)
            with fused.disable_adapter(), plain.disable_adapter():
                torch.testing.assert_close(fused(x), plain(x), rtol=1e-5, atol=1e-5)
        for model in (plain, fused):
            for name, item in model.named_parameters():
                if "lora_" in name:
                    item.mul_(2)
        torch.testing.assert_close(fused(x), plain(x), rtol=1e-5, atol=1e-5)


def test_layers_in_which_several_adapters_speak_are_not_widened() -> None:
    plain, fused = make()
    for model in (plain, fused):
        torch.manual_seed(1)
        model.add_adapter("other", LoraConfig(r=2, target_modules=["first", "second"], init_lora_weights=False))
        model.base_model.set_adapter(["default", "other"])
    x = torch.randn(4, 6)
    with torch.no_grad(), widened(fused):
        torch.testing.assert_close(fused(x), plain(x), rtol=1e-5, atol=1e-5)
