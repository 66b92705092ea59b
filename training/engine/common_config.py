"""The options that several methods have in common. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from training.engine.options import option


@dataclass(frozen=True, kw_only=True)
class CommonConfig:
    """What every method that trains can be told of memory, precision, adapter and checkpoints."""

    tokens_per_pass: int = option(
        0,
        help="Tokens of one forward pass; a step takes several passes. 0: what suits the machine; less memory: 512.",
        unit="tokens",
        low=0,
        high=10_000_000,
        source="measured on 2 CPU cores, see batches.py",
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
