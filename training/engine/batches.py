"""From examples to batches: which rows a step takes, how they are cut into passes, how a pass is laid out.

The rows of a step follow from (seed, step) alone, so a resumed run needs no memory of where it was.
Axes: B sequences, S = prompt + response positions, N response tokens of a pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.engine.models import derived_seed


@dataclass(frozen=True)
class Tokens:
    """One prompt and one response as ids. The response has at least one token, the prompt too."""

    prompt_ids: list[int]
    response_ids: list[int]

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)


@dataclass(frozen=True)
class Pass:
    """Sequences right-padded for one forward pass.

    ``row_N`` and ``before_N`` say, for every response token, its sequence and the position before it, whose hidden
    state predicts it; ``token_N`` is the token itself. Padding appears in none of the three.
    """

    ids_BS: Tensor
    row_N: Tensor
    before_N: Tensor
    token_N: Tensor
    last_B: Tensor

    @property
    def rows(self) -> int:
        return self.ids_BS.shape[0]


def make_pass(sequences: Sequence[Tokens], device: torch.device, *, pad_id: int = 0) -> Pass:
    """Lay sequences out. What stands in the padding changes nothing: causal attention never looks right."""
    width = max(item.length for item in sequences)
    ids = [[*item.prompt_ids, *item.response_ids, *[pad_id] * (width - item.length)] for item in sequences]
    rows: list[int] = []
    before: list[int] = []
    tokens: list[int] = []
    for row, item in enumerate(sequences):
        rows += [row] * len(item.response_ids)
        before += range(len(item.prompt_ids) - 1, item.length - 1)
        tokens += item.response_ids
    return Pass(
        ids_BS=torch.tensor(ids, device=device),
        row_N=torch.tensor(rows, device=device),
        before_N=torch.tensor(before, device=device),
        token_N=torch.tensor(tokens, device=device),
        last_B=torch.tensor([item.length - 1 for item in sequences], device=device),
    )


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Steps that see every row once; the last one may be smaller."""
    return math.ceil(rows / batch_size)


def total_steps(rows: int, *, batch_size: int, epochs: float, max_steps: int) -> int:
    """How many steps a run takes; ``max_steps`` 0 means by epochs."""
    return max_steps or max(1, math.ceil(epochs * steps_per_epoch(rows, batch_size)))


def rows_of_step(step: int, rows: int, *, batch_size: int, seed: int) -> list[int]:
    """Row numbers of step 1, 2, …: a fresh permutation for every epoch, drawn from (seed, epoch)."""
    epoch, place = divmod(step - 1, steps_per_epoch(rows, batch_size))
    generator = torch.Generator().manual_seed(derived_seed(seed, "order", epoch))
    order: list[int] = torch.randperm(rows, generator=generator).tolist()
    return order[place * batch_size : (place + 1) * batch_size]


def cut_by_length(lengths: Sequence[int], sequences_each: int, tokens_per_pass: int) -> list[list[int]]:
    """Indices grouped so that rows of like length stand together and a padded pass keeps within its tokens.

    ``lengths`` are the longest sequence of each example, which has ``sequences_each`` of them. An example that alone
    is over the budget gets a pass of its own. Longest first, so that a lack of memory shows at once.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        widest = lengths[groups[-1][0]] if groups else 0
        if groups and (len(groups[-1]) + 1) * sequences_each * widest <= tokens_per_pass:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
