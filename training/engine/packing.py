"""A pass without padding: the tokens of all sequences stand side by side, and what neighbours begin with in common (a
prompt that several responses follow, the system prompt of a chat template) stands there once.

Everything but attention treats tokens one by one, so it never sees padding and computes a shared token once. Attention
needs to know who sees whom: it spreads its queries, keys and values over one row per sequence, where ordinary causal
attention is right, and takes the tokens' places back (see ``backbone.py``). What stands in the padding of those rows is
a copy of a real token that nothing reads, so it changes no value and no gradient.

A second answer to a long prompt would ask the prompt's questions again. On a processor such a tail brings the queries
of its own tokens alone, and attends to its whole row by a mask.

Axes: T tokens of a pass, B sequences, S places of the longest one, Q tails, W queries of the longest tail, F places of
queries in all, N response tokens, X any width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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


SHORT_TAIL = 3  # a tail is worth a mask, which plain causal attention does without, at a third of the row or less


@dataclass(frozen=True)
class Rows:
    """How tokens are spread over one row per sequence, and taken back.

    ``source_BS`` is the token at each place of a row, ``place_T`` the first place (b·S + s) of each token. A token that
    rows share has more places: ``copies`` holds (token_M, place_MK), those of as many places together.
    """

    source_BS: Tensor
    place_T: Tensor
    copies: tuple[tuple[Tensor, Tensor], ...]
    tails: Tails | None = None


@dataclass(frozen=True)
class Tails:
    """The same rows for attention that asks each question once: ``whole`` rows first, those that have tails after them.

    ``queries`` is a single row: S places of each whole row, then W of each tail. ``place_QW`` are a tail's places in
    its row.
    """

    keys: Rows
    queries: Rows
    whole: int
    place_QW: Tensor


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
    own: list[int] = []  # how many of them it shares with no sequence before it
    neighbour: list[int] = []
    for item in sequences:
        sequence = [*item.prompt_ids, *item.response_ids]
        alike = alike_at_start(neighbour, sequence) if share else 0
        shared = places[-1][:alike] if alike else []
        places.append([*shared, *range(len(ids), len(ids) + len(sequence) - alike)])
        own.append(len(sequence) - alike)
        ids += sequence[alike:]
        positions += range(alike, len(sequence))
        neighbour = sequence

    before: list[int] = []
    for row, item in zip(places, sequences, strict=True):
        before += row[len(item.prompt_ids) - 1 : -1]
    return Pass(
        ids_T=on_device(ids, device),
        position_T=on_device(positions, device),
        rows=replace(
            spread(places, tokens=len(ids), device=device),
            # Elsewhere than on a processor the fast kernels of attention take no mask.
            tails=with_tails(places, own, tokens=len(ids), device=device) if device.type == "cpu" else None,
        ),
        row_N=on_device([row for row, item in enumerate(sequences) for _ in item.response_ids], device),
        before_N=on_device(before, device),
        token_N=on_device([token for item in sequences for token in item.response_ids], device),
        last_B=on_device([row[-1] for row in places], device),
    )


def on_device(values: Sequence[Any] | Tensor, device: torch.device) -> Tensor:
    """Numbers as a tensor. On a GPU they come through pinned memory, so that the host need not wait for its queue."""
    found = torch.as_tensor(values)
    return found.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else found.to(device)


def alike_at_start(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with in common."""
    differing = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differing, min(len(one), len(other)))


def spread(places: Sequence[Sequence[int]], *, tokens: int, device: torch.device) -> Rows:
    """Rows from the tokens of each sequence."""
    width = max(map(len, places))
    places_of: list[list[int]] = [[] for _ in range(tokens)]
    for row, members in enumerate(places):
        for place, token in enumerate(members, start=row * width):
            places_of[token].append(place)
    alike: dict[int, list[int]] = {}
    for token, found in enumerate(places_of):
        alike.setdefault(len(found) - 1, []).append(token)

    return Rows(
        source_BS=on_device([filled(members, width) for members in places], device),
        place_T=on_device([found[0] for found in places_of], device),
        copies=tuple(
            (on_device(members, device), on_device([places_of[token][1:] for token in members], device))
            for count, members in sorted(alike.items())
            if count
        ),
    )


def with_tails(
    places: Sequence[Sequence[int]], own: Sequence[int], *, tokens: int, device: torch.device
) -> Tails | None:
    """Rows of which the short tails stand apart; None where there are none. ``own``: each sequence's own tokens."""
    width = max(map(len, places))
    is_tail = [count < len(row) and SHORT_TAIL * count <= width for row, count in zip(places, own, strict=True)]
    if not any(is_tail):
        return None
    whole = [row for row, found in zip(places, is_tail, strict=True) if not found]
    tails = [row for row, found in zip(places, is_tail, strict=True) if found]
    longest = max(1, *(count for count, found in zip(own, is_tail, strict=True) if found))
    queries = [token for row in whole for token in filled(row, width)]
    queries += [token for row in tails for token in filled(row[-longest:], longest)]
    asked = [filled(range(len(row))[-longest:], longest) for row in tails]
    return Tails(
        keys=spread([*whole, *tails], tokens=tokens, device=device),
        queries=replace(spread([queries], tokens=tokens, device=device), copies=()),
        whole=len(whole),
        place_QW=on_device(asked, device),
    )


def filled(members: Sequence[int], width: int) -> list[int]:
    """Members, the last one as often as it takes."""
    return [*members, *[members[-1]] * (width - len(members))]


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
        for token_M, place_MK in rows.copies:
            more_MX = grad_flat.index_select(0, place_MK.flatten()).view(*place_MK.shape, -1).sum(1)
            grad_TX.index_copy_(0, token_M, grad_TX.index_select(0, token_M) + more_MX)
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
