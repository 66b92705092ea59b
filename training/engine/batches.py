"""From examples to batches: which rows a step takes, and how they are cut into passes.

The rows of a step follow from (seed, step) alone, so a resumed run needs no memory of where it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedModel

from training.engine import processes, sharding
from training.engine.models import derived_seed


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


def tokens_of_pass(wanted: int, model: PreTrainedModel) -> int:
    """How many tokens a pass may hold: what is wanted, or for 0 the fewest that keep this machine at work.

    Products of a thousand rows run at a processor's peak in fp32; bf16 gains a little from more, a GPU starts kernels
    slower than it computes them. What a pass keeps for its backward grows with its tokens.
    """
    if wanted:
        return wanted
    if model.device.type == "cuda":
        return 8192
    return 1536 if model.dtype == torch.bfloat16 else 1024


def own_passes(model: PreTrainedModel, tokens: Sequence[int], tokens_per_pass: int) -> Iterator[list[int]]:
    """This process's share of the rows of a step, row numbers pass by pass; of one process alone, all of them.

    Cut as :func:`cut_to_budget` does, to :func:`tokens_of_pass`. With sharded weights all processes make as many
    passes, if need be empty ones: look for SIGTERM exactly once in each.
    """
    mine, tokens_per_pass = processes.share(tokens), tokens_of_pass(tokens_per_pass, model)
    groups = cut_share(tokens, mine, tokens_per_pass)
    yield from groups
    if processes.in_step():
        shares = [processes.share(tokens, rank) for rank in range(processes.count())]
        most = max(len(cut_share(tokens, rows, tokens_per_pass)) for rows in shares)
        for _ in range(most - len(groups)):
            sharding.pass_nothing(model)


def cut_share(tokens: Sequence[int], rows: Sequence[int], tokens_per_pass: int) -> list[list[int]]:
    """:func:`cut_to_budget` of these rows alone."""
    groups = cut_to_budget([tokens[row] for row in rows], tokens_per_pass)
    return [[rows[place] for place in group] for group in groups]


def cut_to_budget(tokens: Sequence[int], tokens_per_pass: int) -> list[list[int]]:
    """Indices grouped so that a pass keeps within its tokens and rows of like length stand together.

    ``tokens`` are what each example adds to a pass. An example that alone is over the budget gets a pass of its own.
    Longest first, so that a lack of memory shows at once.
    """
    groups: list[list[int]] = []
    room = 0
    for index in sorted(range(len(tokens)), key=lambda i: (-tokens[i], i)):
        if groups and tokens[index] <= room:
            groups[-1].append(index)
        else:
            groups.append([index])
            room = tokens_per_pass
        room -= tokens[index]
    return groups
