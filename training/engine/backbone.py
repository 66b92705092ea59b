"""The forward pass that every method shares: a pass of packed tokens in, last hidden states out.

transformers lets a model's attention be replaced by name. Ours does what its own ``sdpa`` does, and, when a pass hands
its ``Rows`` down, spreads the packed tokens over rows first (see ``packing.py``). A model whose attention does not go
through that door (linear attention, attention sinks) is recognised by a probe and gets padded rows instead.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from training.engine.packing import Pass, Rows, Tails, Tokens, from_rows, make_pass, to_rows

NAME = "packed"
PROBE = (Tokens([1, 2, 3], [4, 5]), Tokens([1, 2, 3], [6]), Tokens([7], [2, 4, 1]))
# Packed and padded rows differ by rounding; the probe takes this many units of it for a wrong pass.
ROUNDING = 1000.0

_packs: weakref.WeakKeyDictionary[nn.Module, bool] = weakref.WeakKeyDictionary()
_products_in: weakref.WeakKeyDictionary[nn.Module, torch.dtype] = weakref.WeakKeyDictionary()


def last_hidden(model: PreTrainedModel, batch: Pass) -> Tensor:
    """Last hidden states of every token of a pass, (T, H)."""
    hidden = _packed_hidden if packs(model) else _padded_hidden  # the probe compares in the format of the weights
    with narrow_products(model):
        return hidden(model, batch)


def multiply_in(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """Mixed precision: from now on the products of this model's passes are made in this number format, whatever that of
    its weights; where it is the same, nothing changes."""
    if dtype != next(model.parameters()).dtype:
        _products_in[model] = dtype
    return model


@contextlib.contextmanager
def narrow_products(model: PreTrainedModel) -> Iterator[None]:
    """Inside, products are made in the format that :func:`multiply_in` was told for this model, if it was."""
    dtype, device = _products_in.get(model), next(model.parameters()).device
    with torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None):
        yield


def packs(model: PreTrainedModel) -> bool:
    """Whether this model takes packed tokens; found out once by comparing both ways on a few tokens."""
    if model not in _packs:
        _packs[model] = _probe(model)
    return _packs[model]


def _packed_hidden(model: PreTrainedModel, batch: Pass) -> Tensor:
    output = model.base_model(
        input_ids=batch.ids_T[None],
        position_ids=batch.position_T[None],
        # A mask of four axes is handed down as it is; our attention does not look at it.
        attention_mask=torch.zeros((1, 1, 1, 1), dtype=torch.bool, device=batch.ids_T.device),
        use_cache=False,
        rows=batch.rows,
    )
    return cast(Tensor, output.last_hidden_state[0])


def _padded_hidden(model: PreTrainedModel, batch: Pass) -> Tensor:
    """One padded row per sequence. Causal attention never looks right, so no mask is needed."""
    ids_BS = batch.ids_T[batch.rows.source_BS]
    hidden_BSH = model.base_model(input_ids=ids_BS, use_cache=False).last_hidden_state
    return from_rows(hidden_BSH, batch.rows)


@torch.no_grad()
def _probe(model: PreTrainedModel) -> bool:
    before = model.config._attn_implementation
    batch = make_pass(PROBE, next(model.parameters()).device)
    try:
        model.set_attn_implementation(NAME)
        packed_TH = _packed_hidden(model, batch)
        padded_TH = _padded_hidden(model, batch)
        unit = torch.finfo(padded_TH.dtype).eps * float(padded_TH.abs().max())
        if float((packed_TH - padded_TH).abs().max()) <= ROUNDING * unit:
            return True
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        pass
    model.set_attn_implementation(before)
    return False


def attention(
    module: nn.Module,
    query_BhSD: Tensor,
    key_BkSD: Tensor,
    value_BkSD: Tensor,
    attention_mask: Tensor | None,
    *,
    rows: Rows | None = None,
    scaling: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: heads first in, (B, S, heads, D) out. h query heads, k key heads."""
    if kwargs.get("s_aux") is not None:
        raise NotImplementedError("attention sinks")
    if rows is None and softcap is None:
        return sdpa_attention_forward(
            module, query_BhSD, key_BkSD, value_BkSD, attention_mask, scaling=scaling, **kwargs
        )
    if rows is None:
        return _attend(query_BhSD, key_BkSD, value_BkSD, attention_mask, scaling, softcap).transpose(1, 2), None
    if rows.tails is None:
        query, key, value = (_spread(item, rows) for item in (query_BhSD, key_BkSD, value_BkSD))
        mask = _window_mask(query.shape[2], sliding_window, query.device)
        mixed_FX = _places_first(_attend(query, key, value, mask, scaling, softcap))
        mixed_TX = from_rows(mixed_FX.view(*rows.source_BS.shape, -1), rows)
    else:
        mixed_FX = _attend_with_tails(query_BhSD, key_BkSD, value_BkSD, rows.tails, scaling, softcap, sliding_window)
        mixed_TX = from_rows(mixed_FX[None], rows.tails.queries)
    return mixed_TX.view(1, mixed_TX.shape[0], query_BhSD.shape[1], -1), None


def _attend_with_tails(
    query_1hTD: Tensor,
    key_1kTD: Tensor,
    value_1kTD: Tensor,
    tails: Tails,
    scaling: float | None,
    softcap: float | None,
    window: int | None,
) -> Tensor:
    """Whole rows by causal attention, tails by a mask over their rows; (F, X), as ``tails.queries`` are laid out."""
    key, value = (_spread(item, tails.keys) for item in (key_1kTD, value_1kTD))
    query_1hFD = _spread(query_1hTD, tails.queries)
    places, border = key.shape[2], tails.whole * key.shape[2]
    parts = [
        (
            _cut(query_1hFD[:, :, :border], places),
            slice(None, tails.whole),
            _window_mask(places, window, key.device),
        ),
        (
            _cut(query_1hFD[:, :, border:], tails.place_QW.shape[1]),
            slice(tails.whole, None),
            _sees(tails.place_QW[:, None], places, window),
        ),
    ]
    mixed = [_attend(query, key[rows], value[rows], mask, scaling, softcap) for query, rows, mask in parts]
    return torch.cat([_places_first(item) for item in mixed])


def _cut(query_1hFD: Tensor, places: int) -> Tensor:
    """Rows of so many places that stood one after the other, (rows, h, places, D)."""
    heads, _, width = query_1hFD[0].shape
    return query_1hFD[0].reshape(heads, -1, places, width).transpose(0, 1)


def _places_first(mixed_BhSD: Tensor) -> Tensor:
    """(B, h, S, D) -> (B·S, h·D)."""
    return mixed_BhSD.transpose(1, 2).flatten(2).flatten(0, 1)


def _spread(value_1hTD: Tensor, rows: Rows) -> Tensor:
    """Packed heads, (1, h, T, D), over rows, (B, h, S, D)."""
    heads, width = value_1hTD.shape[1], value_1hTD.shape[3]
    value_TX = value_1hTD[0].transpose(0, 1).reshape(-1, heads * width)
    return to_rows(value_TX, rows).view(*rows.source_BS.shape, heads, width).transpose(1, 2)


def _window_mask(places: int, window: int | None, device: torch.device) -> Tensor | None:
    """Who sees whom with a sliding window, (S, S), True is seen; None where plain causal attention says the same."""
    if window is None or places <= window:
        return None
    return _sees(torch.arange(places, device=device), places, window)


def _sees(place_W: Tensor, places: int, window: int | None) -> Tensor:
    """What the queries at these places of a row see of it: nothing behind them. (..., W) -> (..., W, S)."""
    behind_WS = place_W[..., None] - torch.arange(places, device=place_W.device)
    return (behind_WS >= 0) & (behind_WS < (places if window is None else window))


def _attend(
    query_BhSD: Tensor,
    key_BkSD: Tensor,
    value_BkSD: Tensor,
    mask: Tensor | None,
    scaling: float | None,
    softcap: float | None,
) -> Tensor:
    """Causal attention, or by a boolean mask, (B, h, S, D)."""
    if softcap is None:
        narrow = query_BhSD.dtype
        # The processor's kernel goes backward through bf16 at a quarter of its speed in fp32. Forward must not differ:
        # PPO compares log-probs with and without gradient to 1e-5.
        wide = torch.float32 if query_BhSD.device.type == "cpu" else narrow
        with torch.autocast("cpu", enabled=False):  # which would narrow them again
            mixed_BhSD = F.scaled_dot_product_attention(
                query_BhSD.to(wide),
                key_BkSD.to(wide),
                value_BkSD.to(wide),
                attn_mask=mask,
                is_causal=mask is None,
                scale=scaling,
                enable_gqa=True,
            )
        return mixed_BhSD.to(narrow)
    groups = query_BhSD.shape[1] // key_BkSD.shape[1]
    key, value = key_BkSD.repeat_interleave(groups, 1), value_BkSD.repeat_interleave(groups, 1)
    scale = query_BhSD.shape[-1] ** -0.5 if scaling is None else scaling
    score_BhSS = query_BhSD @ key.transpose(2, 3) * scale
    score_BhSS = torch.tanh(score_BhSS / softcap) * softcap
    if mask is None:
        queries, keys = score_BhSS.shape[2:]
        mask = torch.ones((queries, keys), dtype=torch.bool, device=key.device).tril(keys - queries)
    score_BhSS = score_BhSS.masked_fill(~mask, torch.finfo(score_BhSS.dtype).min)
    return score_BhSS.softmax(-1, dtype=torch.float32).to(value.dtype) @ value


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
