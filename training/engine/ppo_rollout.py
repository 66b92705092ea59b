"""A rollout as data: which prompts, how it is cut into minibatches and micro-batches, and what is told of it.

Means run over answers or over response tokens, never over padding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from training.engine import chat, ppo_maths, processes
from training.engine.batches import cut_share
from training.engine.generate import Sample
from training.engine.loop import name_rows
from training.engine.models import derived_seed
from training.engine.ppo_models import Batch, make_batch
from training.engine.run_dir import RunDir


@dataclass(frozen=True)
class Prompt:
    """A prompt of the data file and its ids; `cut` when it was too long and lost its beginning."""

    id: str
    messages: list[dict[str, str]]
    ids: list[int]
    cut: bool


@dataclass
class Piece:
    """A micro-batch of a rollout with all that training needs; measured and trained in the same shape (detail 5)."""

    rows: list[int]  # places in the rollout
    prompts: list[Prompt]
    samples: list[Sample]
    batch: Batch
    # What is measured before the first update and then held fixed.
    score_B: Tensor = field(init=False)  # normalised and clipped, before the penalty
    old_logprob_BR: Tensor = field(init=False)
    reference_logprob_BR: Tensor = field(init=False)
    entropy_BR: Tensor = field(init=False)
    old_value_BR: Tensor = field(init=False)
    kl_BR: Tensor = field(init=False)
    # What follows from it.
    advantage_BR: Tensor = field(init=False)
    return_BR: Tensor = field(init=False)

    def ended(self) -> Tensor:
        """Whether each answer ended by itself, (B,)."""
        return torch.tensor([sample.ended for sample in self.samples], device=self.batch.is_response_BR.device)

    @property
    def response_tokens(self) -> int:
        return sum(len(sample.token_ids) for sample in self.samples)


Minibatches = list[list[Piece]]


# Prompts, and the cut.


def read_prompts(run_dir: RunDir, name: str, tokenizer: PreTrainedTokenizerBase, room: int) -> list[Prompt]:
    """The prompts of a data file, each within `room` tokens. EngineError names a malformed row."""
    found = []
    for number, row in enumerate(run_dir.rows(name), start=1):
        with chat.of_row(f"{name} row {number}"):
            chat.check_messages(row.get("prompt", []))
            rendered = chat.render_to_fit(tokenizer, row["prompt"], None, room)
        found.append(Prompt(str(row.get("id", number)), row["prompt"], rendered.prompt_ids, rendered.prompt_cut > 0))
    return found


def choose_prompts(prompts: Sequence[Prompt], *, size: int, iteration: int, seed: int) -> list[Prompt]:
    """The prompts of an iteration: all prompts in a new order each time round, nothing remembered."""
    chosen = []
    orders: dict[int, list[int]] = {}
    for place in range(iteration * size, (iteration + 1) * size):
        turn, offset = divmod(place, len(prompts))
        if turn not in orders:
            generator = torch.Generator().manual_seed(derived_seed(seed, "prompts", turn))
            orders[turn] = torch.randperm(len(prompts), generator=generator).tolist()
        chosen.append(prompts[orders[turn][offset]])
    return chosen


def cut_minibatches(
    prompts: Sequence[Prompt],
    samples: Sequence[Sample],
    count: int,
    tokens_per_pass: int,
    device: torch.device,
    *,
    seed: int,
) -> Minibatches:
    """`count` random parts of the rollout (detail 11), each cut into micro-batches."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(samples), generator=generator).tolist()
    count = min(count, len(order))
    parts = [order[start::count] for start in range(count)]
    return [cut_micro_batches(prompts, samples, rows, tokens_per_pass, device) for rows in parts]


def cut_micro_batches(
    prompts: Sequence[Prompt],
    samples: Sequence[Sample],
    rows: Sequence[int],
    tokens_per_pass: int,
    device: torch.device,
) -> list[Piece]:
    """Pieces of similar length, each of at most `tokens_per_pass` tokens (or one row): this process's share of them."""
    lengths = [len(prompts[row].ids) + len(samples[row].token_ids) for row in rows]
    pieces = []
    for places in cut_share(lengths, processes.share(lengths), tokens_per_pass):
        group = [rows[place] for place in places]
        asked, said = [prompts[row] for row in group], [samples[row] for row in group]
        batch = make_batch([prompt.ids for prompt in asked], [sample.token_ids for sample in said], device)
        pieces.append(Piece(group, asked, said, batch))
    return pieces


def retell(piece: Piece, tokenizer: PreTrainedTokenizerBase, reader: PreTrainedTokenizerBase, max_length: int) -> Batch:
    """The piece as a model of another tokenizer reads it: answers decoded, all rendered by the reader's own template.

    An answer that did not end has no end token there either.
    """
    prompts, responses = [], []
    for prompt, sample in zip(piece.prompts, piece.samples, strict=True):
        text = chat.decode(tokenizer, sample.token_ids)
        rendered = chat.render_to_fit(reader, prompt.messages, text, max_length, ended=sample.ended)
        prompts.append(rendered.prompt_ids)
        responses.append(rendered.response_ids)
    return make_batch(prompts, responses, piece.batch.is_response_BR.device)


# What is told.


class Clock:
    """Seconds and tokens of the parts of an iteration."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.rates: dict[str, float] = {}

    def lap(self, name: str, tokens: int) -> None:
        """What went on since the last lap was `name` and got through so many tokens."""
        now = time.monotonic()
        self.rates[f"{name}_tokens_per_second"] = tokens / max(now - self.last, 1e-9)
        self.rates[f"{name}_seconds"] = now - self.last
        self.last = now


def over_tokens(pieces: Sequence[Piece], value_BR: Callable[[Piece], Tensor]) -> Tensor:
    """A value of every response token of the pieces of all processes, (N,)."""
    return processes.concatenated(over_own_tokens(pieces, value_BR))


def over_own_tokens(pieces: Sequence[Piece], value_BR: Callable[[Piece], Tensor]) -> Tensor:
    """The same of this process's pieces."""
    found = [value_BR(piece)[piece.batch.is_response_BR] for piece in pieces]
    return torch.cat(found) if found else torch.zeros(0)


def over_answers(pieces: Sequence[Piece], value_B: Callable[[Piece], Tensor]) -> Tensor:
    """A value of every answer of the pieces of all processes, (B,)."""
    found = [value_B(piece) for piece in pieces]
    return processes.concatenated(torch.cat(found) if found else torch.zeros(0))


def describe_rollout(pieces: Sequence[Piece]) -> dict[str, float]:
    """Score, distance to the reference, entropy and length of a rollout."""
    score_B = over_answers(pieces, lambda piece: piece.score_B)
    ended_B = over_answers(pieces, lambda piece: piece.ended().float())
    k1_N = over_tokens(pieces, lambda piece: piece.kl_BR)
    k3_N = over_tokens(pieces, lambda piece: ppo_maths.kl_k3(piece.old_logprob_BR, piece.reference_logprob_BR))
    answers = len(score_B)
    return {
        "score": float(score_B.mean()),
        "score_std": float(score_B.std(correction=0)),
        "kl": float(k1_N.sum()) / answers,
        "kl_k3": float(k3_N.sum()) / answers,
        "kl_per_token": float(k1_N.mean()),
        "kl_k3_per_token": float(k3_N.mean()),
        "entropy": float(over_tokens(pieces, lambda piece: piece.entropy_BR).mean()),
        "response_tokens": len(k1_N) / answers,
        "share_ended": float(ended_B.mean()),
    }


def describe_advantages(pieces: Sequence[Piece]) -> dict[str, float]:
    """Mean and spread of the advantages before they are standardised, and how well the value foresaw the returns."""
    advantage_N = over_tokens(pieces, lambda piece: piece.advantage_BR)
    return_N = over_tokens(pieces, lambda piece: piece.return_BR)
    value_N = over_tokens(pieces, lambda piece: piece.old_value_BR)
    return {
        "advantage_mean": float(advantage_N.mean()),
        "advantage_std": float(advantage_N.std(correction=0)),
        "explained_variance": float(ppo_maths.explained_variance(value_N, return_N, torch.ones_like(value_N).bool())),
    }


def name_prompts(minibatch: Sequence[Piece]) -> str:
    """Whose answers a minibatch holds, those of other processes among them."""
    shares = processes.gather([prompt.id for piece in minibatch for prompt in piece.prompts])
    return name_rows([name for share in shares for name in share])


def mean_of(steps: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each metric over the steps of an iteration."""
    names = steps[0] if steps else {}
    return {name: sum(item[name] for item in steps) / len(steps) for name in names}
