"""What stands in the padding changes nothing: neither a loss nor a gradient, were it not even a number."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from tests.engine.families import families
from training.engine.batches import Tokens
from training.engine.chat import render
from training.engine.logprobs import sequence_logprobs
from training.engine.models import LoraShape, add_lora
from training.engine.reward import score

CPU = torch.device("cpu")
ANSWERS = ["Honey.", "Honey and wax, and some more of both of them.", "Who knows?"]


@contextmanager
def nan_in_padding(model: Any, lengths: list[int]) -> Iterator[list[int]]:
    """Whatever the backbone says after a row's last token becomes NaN; the list counts the places."""
    planted: list[int] = []

    def plant(module: Any, arguments: Any, output: Any) -> Any:
        hidden_BSH = output.last_hidden_state
        is_padding_BS = torch.arange(hidden_BSH.shape[1]) >= torch.tensor(lengths)[:, None]
        planted.append(int(is_padding_BS.sum()))
        output.last_hidden_state = torch.where(is_padding_BS[:, :, None], torch.nan, hidden_BSH)
        return output

    handle = model.base_model.register_forward_hook(plant)
    yield planted
    handle.remove()


@pytest.mark.parametrize("reward", [False, True])
def test_nan_in_the_padding_changes_no_loss_and_no_gradient(reward: bool) -> None:
    model, tokenizer = families["llama"]()
    if reward:
        model.score = torch.nn.Linear(32, 1, bias=False)
    trainee = add_lora(model, tokenizer, LoraShape(4, 8, "all-linear"), reward=False, seed=1)
    rows = [Tokens(*render(tokenizer, [{"role": "user", "content": "What do bees make?"}], text)) for text in ANSWERS]

    def measured() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        trainee.module.zero_grad()
        found_B = score(trainee, rows) if reward else sequence_logprobs(trainee.core, rows, CPU)
        found_B.sum().backward()
        return found_B.detach(), {n: p.grad.clone() for n, p in trainee.trainable().items() if p.grad is not None}

    plain_B, plain = measured()
    with nan_in_padding(trainee.core, [row.length for row in rows]) as planted:
        found_B, found = measured()
    assert planted[0] > 0
    assert torch.isfinite(plain_B).all()
    assert torch.equal(found_B, plain_B)
    assert plain.keys() == found.keys()
    assert [name for name in plain if not torch.equal(plain[name], found[name])] == []
    assert any(item.abs().max() > 0 for item in plain.values())
