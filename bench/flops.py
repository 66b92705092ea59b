"""The floating-point operations that the work HAS to take, as pure functions of counts. What an arm does beyond them
(padding, a prompt twice, a head at prompt positions, recomputation) is not counted, so it lowers its share of the peak.
What a sequence and the one before it in a batch begin with is counted once.

Per token and matmul weight: 2 forward, 2 for the gradient of the activations, 2 for the gradient of the weight (Kaplan
et al. 2020, arXiv 2001.08361, §2.1). With LoRA the frozen weights need the first two, the adapters all three. The LM
head is needed where a response token is predicted, forward and backward to the hidden states. Attention is counted
apart: 2 matmuls forward and 4 backward, each 2 × heads × head size operations a layer for every key that a query sees.

Left out, all below 2 %: norms, rotations, softmaxes, the score head, the optimiser. Counted although it could be saved:
the gradient of the first layer's inputs, which nobody needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.data import Row
from training.engine.packing import alike_at_start


@dataclass(frozen=True)
class Shape:
    """Matmul weights of a model's layers, of its LM head, of its adapters; and layers × heads × head size."""

    layers_weights: int
    head_weights: int
    adapter_weights: int
    attention_width: int


@dataclass(frozen=True)
class Flops:
    """Operations of matmuls with weights, and of attention."""

    matmul: float
    attention: float

    def __add__(self, other: Flops) -> Flops:
        return Flops(self.matmul + other.matmul, self.attention + other.attention)

    def __mul__(self, times: float) -> Flops:
        return Flops(self.matmul * times, self.attention * times)


def shape_of(config: Any, *, rank: int) -> Shape:
    """The shape of a Llama-like model (Llama, Qwen2, SmolLM) with adapters of this rank on all linear layers."""
    hidden, inner = config.hidden_size, config.intermediate_size
    head_size = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
    queries, keys = config.num_attention_heads * head_size, config.num_key_value_heads * head_size
    layer = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden)]
    layer += [(hidden, inner), (hidden, inner), (inner, hidden)]
    return Shape(
        layers_weights=config.num_hidden_layers * sum(rows * columns for rows, columns in layer),
        head_weights=hidden * config.vocab_size,
        adapter_weights=config.num_hidden_layers * sum(rank * (rows + columns) for rows, columns in layer),
        attention_width=config.num_hidden_layers * queries,
    )


def forward(shape: Shape, *, tokens: int, head_rows: int, seen: int, adapters: bool = True) -> Flops:
    """A forward pass: tokens through the layers, the head at ``head_rows``, ``seen`` pairs of query and key."""
    weights = shape.layers_weights + (shape.adapter_weights if adapters else 0)
    return Flops(2.0 * weights * tokens + 2.0 * shape.head_weights * head_rows, 4.0 * shape.attention_width * seen)


def training(shape: Shape, *, tokens: int, head_rows: int, seen: int) -> Flops:
    """Forward and backward of adapter training."""
    matmul = 4.0 * shape.layers_weights * tokens + 6.0 * shape.adapter_weights * tokens
    return Flops(matmul + 4.0 * shape.head_weights * head_rows, 12.0 * shape.attention_width * seen)


def seen_by(length: int) -> int:
    """Pairs of query and key in a causal sequence: token i sees i tokens, itself among them."""
    return length * (length + 1) // 2


def dpo(shape: Shape, batch: Sequence[Row]) -> Flops:
    """One step on these pairs, the reference known."""
    tokens, seen = _counted(_answers(batch))
    return training(
        shape, tokens=tokens, head_rows=sum(len(row.chosen_ids) + len(row.rejected_ids) for row in batch), seen=seen
    )


def reward(shape: Shape, batch: Sequence[Row]) -> Flops:
    """One step on these pairs, no LM head."""
    tokens, seen = _counted(_answers(batch))
    return training(shape, tokens=tokens, head_rows=0, seen=seen)


def sft(shape: Shape, batch: Sequence[Row]) -> Flops:
    """One step on the chosen answers of these pairs."""
    tokens, seen = _counted([*row.prompt_ids, *row.chosen_ids] for row in batch)
    return training(shape, tokens=tokens, head_rows=sum(len(row.chosen_ids) for row in batch), seen=seen)


def sampling(shape: Shape, prompts: Sequence[int], answers: Sequence[int], *, adapters: bool = False) -> Flops:
    """Answers of these lengths to prompts of these lengths: every token but an answer's last goes through once."""
    return forward(
        shape,
        tokens=sum(prompts) + sum(answers) - len(answers),
        head_rows=sum(answers),
        seen=sum(seen_by(prompt + answer - 1) for prompt, answer in zip(prompts, answers, strict=True)),
        adapters=adapters,
    )


def scoring(shape: Shape, prompts: Sequence[Sequence[int]], answer: int, *, own_value: bool) -> Flops:
    """PPO's measuring of a part of a rollout: policy, reference (no adapters), reward, and a value that is not shared.

    ``prompts`` as ids, each with an answer of so many tokens.
    """
    tokens, seen = _counted(_rollout(prompts, answer))
    head_rows = len(prompts) * answer
    policy = forward(shape, tokens=tokens, head_rows=head_rows, seen=seen)
    reference = forward(shape, tokens=tokens, head_rows=head_rows, seen=seen, adapters=False)
    body = forward(shape, tokens=tokens, head_rows=0, seen=seen)
    return policy + reference + body * (2 if own_value else 1)


def ppo_training(shape: Shape, prompts: Sequence[Sequence[int]], answer: int, *, own_value: bool, epochs: int) -> Flops:
    """PPO's updates on such a part: policy and, when it is not shared, value, so many times."""
    tokens, seen = _counted(_rollout(prompts, answer))
    once = training(shape, tokens=tokens, head_rows=len(prompts) * answer, seen=seen)
    if own_value:
        once = once + training(shape, tokens=tokens, head_rows=0, seen=seen)
    return once * epochs


def _answers(batch: Iterable[Row]) -> Iterator[list[int]]:
    for row in batch:
        yield [*row.prompt_ids, *row.chosen_ids]
        yield [*row.prompt_ids, *row.rejected_ids]


def _rollout(prompts: Iterable[Sequence[int]], answer: int) -> Iterator[list[int]]:
    """Prompts with answers of ids that are none."""
    return ([*prompt, *[-1 - place] * answer] for place, prompt in enumerate(prompts))


def _counted(sequences: Iterable[Sequence[int]]) -> tuple[int, int]:
    """Tokens of a batch, and pairs of query and key."""
    tokens = seen = 0
    before: Sequence[int] = ()
    for sequence in sequences:
        alike = alike_at_start(before, sequence)
        tokens += len(sequence) - alike
        seen += seen_by(len(sequence)) - seen_by(alike)
        before = sequence
    return tokens, seen
