"""Full training in bf16: products are narrow, weights and their gradients are fp32, and what must agree agrees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.engine.ppo_runs import make_spec, prepared
from tests.engine.test_dpo import CPU, make_pairs
from training.engine import ppo as ppo_module
from training.engine.__main__ import DONE, main
from training.engine.backbone import last_hidden, packs
from training.engine.logprobs import sequence_logprobs
from training.engine.models import load_base, load_tokenizer, train_everything
from training.engine.packing import make_pass
from training.engine.run_dir import ModelRef, RunDir

NO_SAMPLES: dict[str, Any] = {"sample_prompts": 0}


def gradients(folder: str, products: torch.dtype) -> dict[str, torch.Tensor]:
    """Of the log-prob of some answers, with the products in this format."""
    core = load_base(ModelRef(folder), dtype=torch.float32, device=CPU)
    trainee = train_everything(core, load_tokenizer(folder), products)
    sequences = [pair.chosen for pair in make_pairs()]
    sequence_logprobs(trainee.core, sequences, CPU).sum().backward()
    assert packs(core)
    return {name: item.grad for name, item in trainee.trainable().items() if item.grad is not None}


def test_gradients_are_those_of_fp32_but_for_the_rounding_of_products(base_folder: str) -> None:
    exact, narrow = gradients(base_folder, torch.float32), gradients(base_folder, torch.bfloat16)
    assert exact.keys() == narrow.keys()
    assert {item.dtype for item in narrow.values()} == {torch.float32}
    apart = {name: float((narrow[name] - item).norm() / item.norm()) for name, item in exact.items()}
    # bf16 keeps 8 bits, so each product is off by up to 2^-9 of itself; two layers and a head add up some dozens.
    assert max(apart.values()) < 0.05
    assert min(apart.values()) > 1e-5


def test_products_are_narrow_without_gradients_too(base_folder: str) -> None:
    batch = make_pass([pair.chosen for pair in make_pairs()], CPU)
    found = []
    for products in (torch.float32, torch.bfloat16):
        core = load_base(ModelRef(base_folder), dtype=torch.float32, device=CPU)
        trainee = train_everything(core, load_tokenizer(base_folder), products)
        with torch.no_grad():
            without = last_hidden(trainee.core, batch)
        assert torch.equal(without, last_hidden(trainee.core, batch))
        found.append(without)
    assert not torch.equal(*found)
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("method", ["dpo", "sft", "reward"])
def test_a_run_learns_in_fp32_and_starts_as_its_reference(make_run: Callable[..., RunDir], method: str) -> None:
    more = {} if method == "reward" else NO_SAMPLES
    run_dir = make_run(method, lora=False, precision="bf16", epochs=4.0, learning_rate=1e-3, **more)
    assert main([str(run_dir.path)]) == DONE
    metrics = (run_dir.result() or {})["metrics"]
    assert metrics["loss"] < metrics["loss_before"]
    if method != "reward":
        assert metrics["kl_before"] == 0.0
    if method == "dpo":
        assert metrics["margin_before"] == 0.0
    weights = load_file(run_dir.model_path / "merged" / "model.safetensors")
    assert {item.dtype for item in weights.values()} == {torch.float32}
    assert not any(torch.equal(item, item.bfloat16().float()) for name, item in weights.items() if "proj" in name)


def test_ppos_first_pass_of_training_repeats_the_rollout_bit_for_bit(tmp_path: Path, ppo_models: Path) -> None:
    options = {"lora": False, "precision": "bf16", "value_backbone": "own", "epochs": 1, "max_approx_kl": 1e3}
    ppo = prepared(tmp_path, make_spec(ppo_models, **options))
    metrics = ppo_module.iterate(ppo)
    assert metrics["kl"] == 0.0  # the reference multiplies as the policy does
    ppo_module.iterate(ppo)  # or the alarm would have stopped it
    assert ppo.iteration == 2
