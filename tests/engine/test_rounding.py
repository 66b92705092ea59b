"""A model asked for in bf16: weights right on average, buffers untouched, the same in every process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from tests.engine.test_dpo import CPU
from training.engine.models import load_base, load_reward, new_reward_model
from training.engine.rounding import is_finer_than_bf16, narrow
from training.engine.run_dir import ModelRef

BF16_STEP = 2.0**-7  # between 1 and 2


def narrowed(weight: torch.Tensor) -> torch.Tensor:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data = weight
    narrow(layer, torch.bfloat16)
    assert layer.weight.dtype == torch.bfloat16
    return layer.weight.data.float()


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("share", [1 / 16, 1 / 2, 15 / 16])
def test_a_weight_becomes_a_neighbour_and_is_right_on_average(share: float, sign: float) -> None:
    count = 100_000
    found = narrowed(torch.full((count,), sign * (1 + share * BF16_STEP)))
    assert set(found.unique().tolist()) == {sign * 1.0, sign * (1 + BF16_STEP)}
    up = float((found != sign).float().mean())
    assert abs(up - share) < 4 * (share * (1 - share) / count) ** 0.5  # four standard deviations


def test_the_nearest_neighbour_would_lose_what_this_keeps() -> None:
    """The change of a merged adapter, a sixteenth of the last bit: its sum over a row of weights survives."""
    change = torch.full((64, 4096), BF16_STEP / 16)
    weight = 1 + change
    assert (weight.bfloat16().float() - 1).sum() == 0
    kept = (narrowed(weight) - 1).sum() / change.sum()
    assert abs(kept - 1) < 4 * (15 / weight.numel()) ** 0.5  # relative deviation of a sum of Bernoulli(1/16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_bf16_can_hold_is_left_as_it_is(dtype: torch.dtype) -> None:
    held = torch.tensor([0.0, -0.0, 1.0, -1.5, 2.0**-14, 240.0, float("inf")], dtype=dtype)
    assert torch.equal(narrowed(held), held.float())


def test_wider_formats_are_exact() -> None:
    layer = nn.Linear(8, 8, dtype=torch.bfloat16)
    before = layer.weight.data.clone()
    narrow(layer, torch.float32)
    assert layer.weight.dtype == torch.float32
    assert torch.equal(layer.weight.data, before.float())


def store(base_folder: str, folder: Path, dtype: torch.dtype) -> str:
    AutoModelForCausalLM.from_pretrained(base_folder, dtype=dtype).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("wanted", [torch.float32, torch.bfloat16])
def test_rotary_frequencies_are_never_rounded(
    base_folder: str, tmp_path: Path, stored: torch.dtype, wanted: torch.dtype
) -> None:
    folder = store(base_folder, tmp_path / "model", stored)
    model = load_base(ModelRef(folder), dtype=wanted, device=CPU)
    assert {item.dtype for item in model.parameters()} == {wanted}
    peer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found, right = dict(model.named_buffers()), dict(peer.named_buffers())
    assert any("inv_freq" in name for name in right)
    assert all(torch.equal(found[name], item) for name, item in right.items())
    assert not torch.equal(right["model.rotary_emb.inv_freq"], right["model.rotary_emb.inv_freq"].bfloat16().float())


def test_a_reward_model_keeps_its_rotary_frequencies_too(base_folder: str, tmp_path: Path) -> None:
    fresh = new_reward_model(ModelRef(base_folder), torch.bfloat16, pad_id=0, seed=0)
    fresh.save_pretrained(tmp_path / "reward")
    for model in (fresh, load_reward(ModelRef(str(tmp_path / "reward")), dtype=torch.bfloat16, device=CPU)):
        assert dict(model.named_buffers())["model.rotary_emb.inv_freq"].dtype == torch.float32
        assert next(model.parameters()).dtype == torch.bfloat16
        assert model.score.weight.dtype == torch.float32


def test_a_model_is_rounded_the_same_each_time(base_folder: str) -> None:
    first, second = (load_base(ModelRef(base_folder), dtype=torch.bfloat16, device=CPU) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    nearest = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.bfloat16)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), nearest.parameters(), strict=True))


def test_finer_formats_are_seen_in_the_files(base_folder: str, tmp_path: Path) -> None:
    assert is_finer_than_bf16(base_folder)
    assert is_finer_than_bf16(store(base_folder, tmp_path / "half", torch.float16))
    assert not is_finer_than_bf16(store(base_folder, tmp_path / "narrow", torch.bfloat16))
