"""Small PPO runs for the tests: models on disk, specs, prepared runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from training.engine import ppo
from training.engine.__main__ import main
from training.engine.config import PPOConfig
from training.engine.events import EventWriter, read_events
from training.engine.generate import Sample
from training.engine.models import LoraShape, add_lora, load_tokenizer, new_reward_model
from training.engine.ppo_loading import prepare
from training.engine.ppo_models import Batch, make_batch
from training.engine.ppo_rollout import Piece, Prompt, choose_prompts, cut_micro_batches
from training.engine.ppo_state import PPO
from training.engine.run_dir import ModelRef, RunDir, Spec
from training.engine.tiny import PAIRS, build_tiny

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "precision": "fp32",
    "iterations": 3,
    "rollout_batch": 8,
    "minibatches": 2,
    "max_new_tokens": 8,
    "lora_rank": 4,
    "lora_alpha": 8,
    "learning_rate": 3e-3,
    "schedule": "constant",
    "value_learning_rate": 3e-3,
    "max_kl": 0.0,
    "eval_prompts": 4,
    "checkpoint_every": 1,
}
ROWS = [{"id": str(place), "prompt": [{"role": "user", "content": text}]} for place, (text, _) in enumerate(PAIRS)]


def build_models(folder: Path, base: PreTrainedModel | None = None, tokenizer: Any = None) -> None:
    """A base (the tiny one by default), a reward model saved whole, and one saved as an adapter of the base, each with
    mean and std.
    """
    if base is None:
        base, tokenizer = build_tiny(seed=0)
    base.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    whole = new_reward_model(ModelRef(str(folder / "base")), torch.float32, pad_id=0, seed=1)
    trainee = add_lora(whole, tokenizer, LoraShape(4, 8, "all-linear"), reward=True, seed=2)
    assert trainee.peft is not None
    torch.manual_seed(3)
    for name, item in trainee.peft.named_parameters():
        if "lora_B" in name:
            item.data.normal_(std=0.05)
    trainee.peft.save_pretrained(str(folder / "reward" / "adapter"))
    tokenizer.save_pretrained(folder / "reward" / "adapter")
    merged = trainee.peft.merge_and_unload()
    merged.save_pretrained(folder / "reward" / "merged")
    tokenizer.save_pretrained(folder / "reward" / "merged")
    (folder / "reward" / "manifest.json").write_text(json.dumps({"reward": {"mean": 1.25, "std": 0.25}}))


def build_reward_model(folder: Path, tokenizer: PreTrainedTokenizerBase, **sizes: int) -> ModelRef:
    """A reward model of its own shape, saved whole, with mean and std."""
    torch.manual_seed(4)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), num_labels=1, pad_token_id=0, **{**shape, **sizes})
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "manifest.json").write_text(json.dumps({"reward": {"mean": 0.0, "std": 0.25}}))
    return ModelRef(str(folder))


def make_spec(models: Path, *, adapter: bool = True, reward: ModelRef | None = None, **options: Any) -> Spec:
    """A spec on the models of `build_models`; the reward model is the adapter, the whole one, or `reward`."""
    if reward is None:
        folder = models / "reward"
        reward = (
            ModelRef(str(models / "base"), str(folder / "adapter")) if adapter else ModelRef(str(folder / "merged"))
        )
    return Spec(
        method="ppo",
        config={**SMALL, **options},
        seed=1,
        models={"base": ModelRef(str(models / "base")), "reward": reward},
    )


def start_run(path: Path, spec: Spec) -> tuple[RunDir, int]:
    """Make the run directory and run it. Returns it and the exit code."""
    run_dir = RunDir.create(path, spec, {"train": ROWS, "eval": ROWS})
    return run_dir, main([str(path)])


def prepared(path: Path, spec: Spec) -> PPO:
    """A run that is set up and not begun."""
    run_dir = RunDir.create(path, spec, {"train": ROWS, "eval": ROWS})
    return prepare(run_dir, spec, PPOConfig(**spec.config), EventWriter(run_dir.events_path))


def events_of(run_dir: RunDir, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_events(run_dir.events_path, 0)[0] if event["kind"] == kind]


def some_answers(models: Path, count: int = 4) -> tuple[list[list[int]], list[list[int]]]:
    """Ids of a few prompts and of their answers."""
    tokenizer = load_tokenizer(str(models / "base"))
    return [tokenizer(text)["input_ids"] for text, _ in PAIRS[:count]], [
        tokenizer(text)["input_ids"] for _, text in PAIRS[:count]
    ]


def some_batch(models: Path) -> Batch:
    return make_batch(*some_answers(models), CPU)


def chosen_prompts(run: PPO, iteration: int = 0) -> list[Prompt]:
    return choose_prompts(run.train, size=run.config.rollout_batch, iteration=iteration, seed=1)


def pieces_of(run: PPO, samples: Sequence[Sample], *, tokens_per_pass: int = 4096) -> list[Piece]:
    """These answers to the first prompts, measured, with advantages."""
    prompts = chosen_prompts(run)[: len(samples)]
    pieces = cut_micro_batches(prompts, samples, list(range(len(samples))), tokens_per_pass, CPU)
    for piece in pieces:
        ppo.measure(run, piece)
        ppo.estimate(run, piece)
    return pieces


def rollout_of(run: PPO, *, tokens_per_pass: int = 4096) -> list[Piece]:
    """Answers of the policy, measured, with advantages."""
    return pieces_of(run, ppo.answer(run, chosen_prompts(run), seed=3), tokens_per_pass=tokens_per_pass)
