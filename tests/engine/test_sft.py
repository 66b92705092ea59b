"""Supervised fine-tuning: the loss is transformers' own, per token, whatever the passes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.engine.conftest import DEMONSTRATIONS
from tests.engine.test_dpo import gradients, make_pairs, make_trainee
from training.engine import sft
from training.engine.__main__ import BAD_INPUT, DONE, main
from training.engine.config import SFTConfig
from training.engine.models import Trainee
from training.engine.packing import Tokens
from training.engine.run_dir import RunDir


class QuietLoop:
    """Stands in for the loop: nothing is stopped, passes have the size asked for."""

    def __init__(self, tokens_per_pass: int) -> None:
        self.config = SFTConfig(tokens_per_pass=tokens_per_pass)

    def leave_if_requested(self) -> None:
        return None


def accumulate(trainee: Trainee, tokens_per_pass: int) -> tuple[float, dict[str, torch.Tensor]]:
    trainee.module.zero_grad()
    loop: Any = QuietLoop(tokens_per_pass)
    loss = sft.accumulate_gradients(trainee, [pair.rejected for pair in make_pairs()], loop)
    return loss, {name: item.clone() for name, item in gradients(trainee).items()}


def test_the_loss_and_its_gradients_are_those_of_transformers(base_folder: str) -> None:
    trainee = make_trainee(base_folder, lora=False)
    examples: list[Tokens] = [pair.rejected for pair in make_pairs()]
    loss, ours = accumulate(trainee, 100_000)

    trainee.module.zero_grad()
    width = max(item.length for item in examples)
    ids = torch.zeros(len(examples), width, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for row, item in enumerate(examples):
        ids[row, : item.length] = torch.tensor([*item.prompt_ids, *item.response_ids])
        labels[row, len(item.prompt_ids) : item.length] = torch.tensor(item.response_ids)
    theirs = trainee.core(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels, use_cache=False).loss
    theirs.backward()

    assert loss == pytest.approx(theirs.item(), rel=1e-5)
    expected = gradients(trainee)
    largest = max(float(item.abs().max()) for item in expected.values())
    assert max(float((ours[name] - expected[name]).abs().max()) for name in ours) <= 1e-5 * largest


def test_the_loss_is_weighted_by_tokens_over_the_step_not_by_passes(base_folder: str) -> None:
    trainee = make_trainee(base_folder, lora=True)
    whole, gradient = accumulate(trainee, 100_000)
    alone, pieces = accumulate(trainee, 16)
    assert alone == pytest.approx(whole, rel=1e-5)
    largest = max(float(item.abs().max()) for item in gradient.values())
    assert largest > 0
    assert max(float((gradient[name] - pieces[name]).abs().max()) for name in gradient) <= 1e-5 * largest


def test_training_lowers_the_held_out_loss(make_run: Callable[..., RunDir]) -> None:
    run_dir = make_run("sft", epochs=12.0, learning_rate=2e-2)
    assert main([str(run_dir.path)]) == DONE
    result = run_dir.result()
    assert result is not None
    metrics = result["metrics"]
    assert metrics["loss"] < metrics["loss_before"] - 0.5
    assert metrics["kl_before"] == 0.0
    assert metrics["kl"] > 0
    assert {"response_tokens", "response_tokens_before", "share_ended"} <= set(metrics)
    assert (run_dir.manifest() or {})["kind"] == "sft"


def test_empty_responses_are_left_out(make_run: Callable[..., RunDir]) -> None:
    run_dir = make_run("sft", train=[{**DEMONSTRATIONS[0], "response": ""}, DEMONSTRATIONS[1]])
    assert main([str(run_dir.path)]) == DONE
    assert (run_dir.result() or {})["dropped"] == 1


@pytest.mark.parametrize(
    ("train", "reason"),
    [([], "no demonstration"), ([{"prompt": [{"role": "user", "content": "a"}]}], "row 1")],
)
def test_data_that_will_not_do_is_refused(
    make_run: Callable[..., RunDir], capsys: pytest.CaptureFixture[str], train: list[dict[str, Any]], reason: str
) -> None:
    assert main([str(make_run("sft", train=train).path)]) == BAD_INPUT
    assert reason in capsys.readouterr().err
