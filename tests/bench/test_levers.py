"""Switching a lever off costs what it saves and changes nothing else."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.levers import LEVERS, levers_of, replaced
from training.engine import dpo
from training.engine.config import DPOConfig
from training.engine.models import load_trainee
from training.engine.packing import Tokens
from training.engine.pairs import Pair
from training.engine.run_dir import ModelRef, Spec
from training.engine.tiny import build_tiny

OPTIONS = {"precision": "fp32", "lora_rank": 4}


class QuietLoop:
    """Stands in for the loop where nothing is to be stopped."""

    def leave_if_requested(self) -> None:
        return None


class Counting(TorchDispatchMode):
    """Adds up matmul operations. torch's FlopCounterMode does not bear a gradient that is taken in a forward pass."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=found)
        return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("base")
    model, tokenizer = build_tiny(seed=0)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


def step(folder: str, lever: str = "") -> tuple[float, torch.Tensor, int]:
    """Loss, all gradients and matmul operations of one step on two pairs, without this lever."""
    context = LEVERS[lever].context() if lever else replaced()
    with context:
        config = DPOConfig(**OPTIONS)
        trainee = load_trainee(Spec("dpo", OPTIONS, models={"base": ModelRef(folder)}), config)
        torch.manual_seed(1)
        for item in trainee.trainable().values():
            item.data.normal_(std=0.05)
        pairs = [
            Pair("a", [], Tokens([5, 6, 7, 8, 9], [10, 11]), Tokens([5, 6, 7, 8, 9], [12]), 0.0, 1.0),
            Pair("b", [], Tokens([9, 8], [11, 13, 14]), Tokens([9, 8], [15]), 0.0, 1.0),
        ]
        with Counting() as counter:
            metrics = dpo.accumulate_gradients(trainee, pairs, torch.zeros(2, 2), config, QuietLoop())  # type: ignore[arg-type]
        gradients = [item.grad.flatten() for item in trainee.trainable().values() if item.grad is not None]
        return metrics["loss"], torch.cat(gradients), counter.total


@pytest.mark.parametrize("lever", [name for name in levers_of("dpo") if name != "cached reference"])
def test_without_a_lever_loss_and_gradients_are_the_same(folder: str, lever: str) -> None:
    loss, gradients, _ = step(folder)
    loss_without, gradients_without, _ = step(folder, lever)
    assert loss_without == pytest.approx(loss, rel=1e-5)
    assert float((gradients_without - gradients).norm()) <= 1e-4 * float(gradients.norm())


@pytest.mark.parametrize("lever", ["shared beginnings", "packing", "head at responses only"])
def test_without_it_there_is_more_to_compute(folder: str, lever: str) -> None:
    assert step(folder, lever)[2] > 1.05 * step(folder)[2]


def test_a_name_that_the_engine_has_lost_is_an_error() -> None:
    with pytest.raises(AttributeError), replaced((dpo, "no_such_function", None)):
        pass
