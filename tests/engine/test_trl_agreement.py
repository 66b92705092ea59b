"""DPO, reward model and SFT against an independent implementation: TRL's own trainers on a random tiny model in fp32.

Log-probs, loss and the gradient of every parameter to 1e-5 of its norm, with adapters and in full training.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from trl import DPOConfig as PeerDPOConfig
from trl import DPOTrainer, RewardTrainer, SFTTrainer
from trl import RewardConfig as PeerRewardConfig
from trl import SFTConfig as PeerSFTConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.reward_trainer import DataCollatorForPreference as DataCollatorForScores
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from tests.engine import test_reward
from tests.engine.test_dpo import QuietLoop, gradients, make_pairs, make_trainee
from tests.engine.test_sft import QuietLoop as SFTLoop
from training.engine import dpo, reward, sft
from training.engine.classifier import new_reward_model
from training.engine.config import DPOConfig, RewardConfig
from training.engine.models import Trainee, load_base
from training.engine.pairs import Pair
from training.engine.run_dir import ModelRef

CPU = torch.device("cpu")
QUIET: dict[str, Any] = {"report_to": "none", "use_cpu": True, "bf16": False, "gradient_checkpointing": False}
ROWS = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}])

training = pytest.mark.parametrize("lora", [True, False], ids=["adapter", "full"])


def copy_for_peer(trainee: Trainee, folder: str, tmp_path: Path, *, auto: Any = AutoModelForCausalLM) -> Any:
    """The trainee's weights in a model that TRL can train, by way of the disk; ``folder`` is what it started from."""
    if trainee.peft is None:
        trainee.core.save_pretrained(tmp_path / "trainee")
        return auto.from_pretrained(tmp_path / "trainee", dtype=torch.float32)
    trainee.peft.save_pretrained(str(tmp_path / "adapter"))
    model = auto.from_pretrained(folder, dtype=torch.float32)
    return PeftModel.from_pretrained(model, str(tmp_path / "adapter"), is_trainable=True)


def assert_same_gradients(ours: dict[str, torch.Tensor], model: torch.nn.Module) -> None:
    """Every trainable parameter has a gradient on both sides, and they differ by at most 1e-5 of its norm."""
    theirs = {name: item.grad for name, item in model.named_parameters() if item.requires_grad}
    assert set(ours) == set(theirs)
    apart = {}
    for name, expected in theirs.items():
        assert expected is not None
        assert expected.norm() > 0
        apart[name] = float((ours[name] - expected).norm() / expected.norm())
    assert max(apart.values()) <= 1e-5, max(apart, key=lambda name: apart[name])


def moved(trainee: Trainee) -> Trainee:
    """The trainee with weights that are not those it started from."""
    torch.manual_seed(6)
    with torch.no_grad():
        for item in trainee.trainable().values():
            item.add_(0.02 * torch.randn_like(item))
    return trainee


def dpo_peer(trainee: Trainee, folder: str, tmp_path: Path, options: dict[str, Any]) -> Any:
    """TRL's trainer on the same weights; its reference is adapters off, or the base in a model of its own."""
    reference = None if trainee.peft else AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    peer = DPOTrainer(
        model=copy_for_peer(trainee, folder, tmp_path),
        ref_model=reference,
        args=PeerDPOConfig(output_dir=str(tmp_path), **QUIET, **options),
        train_dataset=ROWS,
        processing_class=trainee.tokenizer,
    )
    if trainee.peft is not None:
        peer.model.delete_adapter("ref")  # a copy of the adapter as it was given, which TRL would refer to
    return peer


def dpo_batch(pairs: list[Pair], reference_BK: torch.Tensor | None = None) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [
        {
            "prompt_ids": pair.chosen.prompt_ids,
            "chosen_ids": pair.chosen.response_ids,
            "rejected_ids": pair.rejected.response_ids,
        }
        for pair in pairs
    ]
    if reference_BK is not None:
        for row, (chosen, rejected) in zip(rows, reference_BK.tolist(), strict=True):
            row |= {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
    batch: dict[str, Any] = DataCollatorForPreference(pad_token_id=0)(rows)
    return batch


def reference_logprobs(folder: str, trainee: Trainee, pairs: list[Pair]) -> torch.Tensor:
    base = load_base(ModelRef(folder), dtype=torch.float32, device=CPU)
    with torch.no_grad():
        return torch.stack(dpo.pair_logprobs(Trainee(base, trainee.tokenizer, CPU), pairs), dim=1)


@training
@pytest.mark.parametrize("cached", [True, False], ids=["reference cached", "reference computed"])
@pytest.mark.parametrize(
    ("options", "peer_options"),
    [
        ({}, {}),
        ({"loss": "ipo", "average_logprobs": True}, {"loss_type": ["ipo"]}),
        ({"loss": "robust", "label_smoothing": 0.2}, {"loss_type": ["robust"], "label_smoothing": 0.2}),
        ({"average_logprobs": True}, {"loss_type": ["sigmoid_norm"]}),
    ],
    ids=["sigmoid", "ipo", "robust", "averaged"],
)
def test_dpo_agrees(
    base_folder: str, tmp_path: Path, lora: bool, cached: bool, options: dict[str, Any], peer_options: dict[str, Any]
) -> None:
    trainee, pairs = moved(make_trainee(base_folder, lora=lora)), make_pairs()
    reference_BK = reference_logprobs(base_folder, trainee, pairs)
    peer = dpo_peer(trainee, base_folder, tmp_path, {"beta": 0.3, **peer_options})
    peer.precompute_ref_logps = cached
    config = DPOConfig(beta=0.3, **options)
    metrics = dpo.accumulate_gradients(trainee, pairs, reference_BK, config, QuietLoop())  # type: ignore[arg-type]
    loss = peer.compute_loss(peer.model, dpo_batch(pairs, reference_BK if cached else None))
    loss.backward()
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert_same_gradients(gradients(trainee), peer.model)


@training
def test_dpo_log_probs_of_every_sequence_agree(base_folder: str, tmp_path: Path, lora: bool) -> None:
    trainee, pairs = moved(make_trainee(base_folder, lora=lora)), make_pairs()
    peer = dpo_peer(trainee, base_folder, tmp_path, {})
    reference_BK = torch.stack(peer.compute_ref_log_probs(peer.ref_model or peer.model, dpo_batch(pairs)), dim=1)
    torch.testing.assert_close(reference_logprobs(base_folder, trainee, pairs), reference_BK, rtol=1e-5, atol=0)
    told = []
    peer.model.eval()  # its metrics are then told as those of an evaluation
    for pair in pairs:
        peer.compute_loss(peer.model, dpo_batch([pair]))
        told.append([peer._metrics["eval"][f"logps/{side}"][-1] for side in ("chosen", "rejected")])
    with torch.no_grad():
        policy_BK = torch.stack(dpo.pair_logprobs(trainee, pairs), dim=1)
    torch.testing.assert_close(policy_BK, torch.tensor(told), rtol=1e-5, atol=0)
    assert (policy_BK - reference_BK).abs().min() > 1e-3


@training
def test_the_reward_model_agrees(base_folder: str, tmp_path: Path, lora: bool) -> None:
    trainee = moved(test_reward.make_trainee(base_folder, lora=lora))
    pairs = [replace(pair, margin=0.5 * place) for place, pair in enumerate(make_pairs())]
    whole = new_reward_model(ModelRef(base_folder), torch.float32, pad_id=0, seed=0)
    whole.save_pretrained(tmp_path / "whole")
    model = copy_for_peer(trainee, str(tmp_path / "whole"), tmp_path, auto=AutoModelForSequenceClassification)
    arguments = PeerRewardConfig(output_dir=str(tmp_path), center_rewards_coefficient=0.05, **QUIET)
    peer = RewardTrainer(model=model, args=arguments, train_dataset=ROWS, processing_class=trainee.tokenizer)
    batch = DataCollatorForScores(pad_token_id=0)(
        [
            {
                "chosen_ids": [*pair.chosen.prompt_ids, *pair.chosen.response_ids],
                "rejected_ids": [*pair.rejected.prompt_ids, *pair.rejected.response_ids],
                "margin": pair.margin,
            }
            for pair in pairs
        ]
    )
    config = RewardConfig(centring=0.05, margin_scale=1.0)
    metrics = reward.accumulate_gradients(trainee, pairs, config, QuietLoop())  # type: ignore[arg-type]
    loss = peer.compute_loss(peer.model, batch)
    loss.backward()
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert_same_gradients(gradients(trainee), peer.model)


@training
def test_sft_agrees(base_folder: str, tmp_path: Path, lora: bool) -> None:
    trainee = moved(make_trainee(base_folder, lora=lora))
    examples = [pair.rejected for pair in make_pairs()]
    peer = SFTTrainer(
        model=copy_for_peer(trainee, base_folder, tmp_path),
        args=PeerSFTConfig(output_dir=str(tmp_path), **QUIET),
        train_dataset=Dataset.from_list([{"text": "a b c"}]),
        processing_class=trainee.tokenizer,
    )
    batch = DataCollatorForLanguageModeling(pad_token_id=0)(
        [
            {
                "input_ids": [*item.prompt_ids, *item.response_ids],
                "labels": [*[-100] * len(item.prompt_ids), *item.response_ids],
            }
            for item in examples
        ]
    )
    loop: Any = SFTLoop(100_000)
    ours = sft.accumulate_gradients(trainee, examples, loop)
    loss = peer.compute_loss(peer.model, batch)
    loss.backward()
    assert ours == pytest.approx(loss.item(), rel=1e-5)
    assert_same_gradients(gradients(trainee), peer.model)
