"""A pass without padding: the tokens of all sequences stand side by side, and what neighbours begin with in common (a
prompt that several responses follow, the system prompt of a chat template) stands there once.

Everything but attention treats tokens one by one, so it never sees padding and computes a shared token once. Attention
needs to know who sees whom: it spreads its queries, keys and values over one row per sequence, where ordinary causal
attention is right, and takes the tokens' places back (see ``backbone.py``). What stands in the padding of those rows is
a copy of a real token that nothing reads, so it changes no value and no gradient.

Axes: T tokens of a pass, B sequences, S places of the longest one, N response tokens, X any width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """One prompt and one response as ids. The response has at least one token, the prompt too."""

    prompt_ids: list[int]
    response_ids: list[int]

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)


@dataclass(frozen=True)
class Rows:
    """How tokens are spread over one row per sequence, and taken back.

    ``source_BS`` is the token at each place of a row, ``place_T`` the first place (b·S + s) of each token. A token that
    rows share has more places: ``copies`` holds (token_M, place_M), no token twice in one of them.
    """

    source_BS: Tensor
    place_T: Tensor
    copies: tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True)
class Pass:
    """Sequences laid out for one forward pass.

    ``row_N`` and ``before_N`` say, for every response token, its sequence and the token before it, whose hidden state
    predicts it; ``token_N`` is its id. ``last_B`` is the last token of each sequence.
    """

    ids_T: Tensor
    position_T: Tensor
    rows: Rows
    row_N: Tensor
    before_N: Tensor
    token_N: Tensor
    last_B: Tensor

    @property
    def sequences(self) -> int:
        return len(self.last_B)


def make_pass(sequences: Sequence[Tokens], device: torch.device, *, share: bool = True) -> Pass:
    """Lay sequences out side by side. A sequence shares what it and its left neighbour begin with."""
    ids: list[int] = []
    positions: list[int] = []
    places: list[list[int]] = []  # the tokens of each sequence, prompt and response
    neighbour: list[int] = []
    for item in sequences:
        sequence = [*item.prompt_ids, *item.response_ids]
        alike = alike_at_start(neighbour, sequence) if share else 0
        shared = places[-1][:alike] if alike else []
        places.append([*shared, *range(len(ids), len(ids) + len(sequence) - alike)])
        ids += sequence[alike:]
        positions += range(alike, len(sequence))
        neighbour = sequence

    def tensor(values: list[int]) -> Tensor:
        return torch.tensor(values, device=device)

    before: list[int] = []
    for row, item in zip(places, sequences, strict=True):
        before += row[len(item.prompt_ids) - 1 : -1]
    return Pass(
        ids_T=tensor(ids),
        position_T=tensor(positions),
        rows=spread(places, tokens=len(ids), device=device),
        row_N=tensor([row for row, item in enumerate(sequences) for _ in item.response_ids]),
        before_N=tensor(before),
        token_N=tensor([token for item in sequences for token in item.response_ids]),
        last_B=tensor([row[-1] for row in places]),
    )


def alike_at_start(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with in common."""
    differing = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differing, min(len(one), len(other)))


def spread(places: Sequence[Sequence[int]], *, tokens: int, device: torch.device) -> Rows:
    """Rows from the tokens of each sequence."""
    width = max(map(len, places))
    first = [-1] * tokens
    seen = [0] * tokens
    copies: list[tuple[list[int], list[int]]] = []
    for row, members in enumerate(places):
        for place, token in enumerate(members, start=row * width):
            if seen[token] == 0:
                first[token] = place
            else:
                if len(copies) < seen[token]:
                    copies.append(([], []))
                copies[seen[token] - 1][0].append(token)
                copies[seen[token] - 1][1].append(place)
            seen[token] += 1
    filled = [[*members, *[members[-1]] * (width - len(members))] for members in places]
    return Rows(
        source_BS=torch.tensor(filled, device=device),
        place_T=torch.tensor(first, device=device),
        copies=tuple((torch.tensor(a, device=device), torch.tensor(b, device=device)) for a, b in copies),
    )


def to_rows(value_TX: Tensor, rows: Rows) -> Tensor:
    """Spread tokens over their rows, (T, X) -> (B, S, X)."""
    return cast(Tensor, _ToRows.apply(value_TX, rows))  # type: ignore[no-untyped-call]


def from_rows(value_BSX: Tensor, rows: Rows) -> Tensor:
    """Take tokens back from the first place each has, (B, S, X) -> (T, X)."""
    return cast(Tensor, _FromRows.apply(value_BSX, rows))  # type: ignore[no-untyped-call]


class _ToRows(torch.autograd.Function):
    """Its gradient sums over the places of a token; the generic backward of an index does so one element at a time."""

    @staticmethod
    def forward(ctx: Any, value_TX: Tensor, rows: Rows) -> Tensor:
        ctx.rows = rows
        return value_TX.index_select(0, rows.source_BS.flatten()).view(*rows.source_BS.shape, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        rows: Rows = ctx.rows
        grad_flat = grads[0].flatten(0, 1)
        grad_TX = grad_flat.index_select(0, rows.place_T)
        for token_M, place_M in rows.copies:
            both_MX = grad_TX.index_select(0, token_M) + grad_flat.index_select(0, place_M)
            grad_TX.index_copy_(0, token_M, both_MX)
        return grad_TX, None


class _FromRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value_BSX: Tensor, rows: Rows) -> Tensor:
        ctx.rows = rows
        return value_BSX.flatten(0, 1).index_select(0, rows.place_T)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        rows: Rows = ctx.rows
        grad_TX = grads[0]
        grad_flat = grad_TX.new_zeros(rows.source_BS.numel(), grad_TX.shape[1])
        grad_flat.index_copy_(0, rows.place_T, grad_TX)
        return grad_flat.view(*rows.source_BS.shape, -1), None
