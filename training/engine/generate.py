"""Sampling answers from a causal language model: what the sample method and PPO's rollouts share.

1. Rows are sorted by prompt length and cut into batches, so there is little padding.
2. A prompt that is sampled several times is prefilled once; its cache is copied to its rows.
3. Keys and values live in a slab allocated once per batch: a step writes one column instead of copying the cache.
4. A row that ended leaves the batch: the slab is compacted as soon as an eighth of its rows are idle.
5. The token of (prompt, seed, n, position) is drawn by inverting the distribution at a number that depends on these
   four alone, so neither the order nor the company of a row changes its answer beyond rounding in the matmuls.
6. On the CPU each adapted layer multiplies twice instead of three times (adapters.widened).
7. What is padding is known by length, never by token id: pad may equal EOS.

Axes: B rows, P prompt positions, S slab positions, V vocabulary.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer

from training.engine import processes
from training.engine.adapters import widened
from training.engine.chat import end_token_id
from training.engine.models import logits_of
from training.engine.sharding import with_weights

IDLE_SHARE = 8  # compact when at least one row in eight is idle: a copy of the slab costs about one step
TOP_TOKENS = 512  # tokens sorted for top-p; the whole vocabulary is sorted only when these hold too little mass
PREFILL_TOKENS = 1024  # of prompts read at once, unless one alone has more
CHUNK = 256  # the distribution is inverted in two levels, chunks first: a cumulative sum over V is the slow part


@dataclass(frozen=True)
class Sample:
    """One answer: its token ids (the stop token included when it ended) and whether it ended by a stop token."""

    token_ids: list[int]
    ended: bool


class _SlabLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A cache layer with room for the whole answer, so that a step writes in place."""

    def __init__(self, slabs: tuple[Tensor, Tensor], length: int) -> None:
        """``slabs``: of keys and of values, (rows, heads, capacity, D). All prompts end at ``length``."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtype, self.device, self.is_initialized = slabs[0].dtype, slabs[0].device, True
        self.slabs, self.length = slabs, length
        self._show()

    def fill(self, states: tuple[Tensor, Tensor], rows: Tensor, prompts: Tensor) -> None:
        """Put prompts' keys and values into rows, each (prompts, heads, tokens, D), ending at ``length``.

        Zeros before them: attention is told not to look there, but a NaN that happens to lie there would get through.
        """
        start = self.length - states[0].shape[-2]
        for slab, found in zip(self.slabs, states, strict=True):
            slab[rows, :, :start] = 0
            slab[rows, :, start : self.length] = found[prompts]

    def _show(self) -> tuple[Tensor, Tensor]:
        """What is filled so far, as views: (rows, heads, length, D) each."""
        keys, values = (slab[:, :, : self.length] for slab in self.slabs)
        self.keys, self.values = keys, values
        return keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        end = self.length + key_states.shape[-2]
        for slab, states in zip(self.slabs, (key_states, value_states), strict=True):
            slab[:, :, self.length : end] = states
        self.length = end
        return self._show()

    def batch_select_indices(self, indices: Tensor) -> None:
        """Move the chosen rows, in ascending order, to the front; the others' room is left unused."""
        for slab in self.slabs:
            slab[: len(indices), :, : self.length] = slab[:, :, : self.length].index_select(0, indices)
        keys, values = self.slabs
        self.slabs = keys[: len(indices)], values[: len(indices)]
        self._show()


def _slab_layers(like: Sequence[DynamicLayer], *, rows: int, length: int, capacity: int) -> list[_SlabLayer]:
    """A layer for each of these, empty, in one piece of memory.

    One large piece goes back to the system when the batch is done. Of a piece for each layer an allocator keeps what
    the next batch's, a little longer or shorter, may not fit into.
    """
    states = [cast(Tensor, item) for layer in like for item in (layer.keys, layer.values)]
    shapes = [(rows, item.shape[1], capacity, item.shape[3]) for item in states]
    sizes = list(map(math.prod, shapes))
    parts = torch.split(states[0].new_empty(sum(sizes)), sizes)
    slabs = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
    return [_SlabLayer(pair, length) for pair in zip(slabs[::2], slabs[1::2], strict=True)]


def stop_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every token that ends an answer: the chat template's end of turn, the tokenizer's EOS, the generation config's.

    EngineError for a tokenizer that has none.
    """
    found: set[int] = {end_token_id(tokenizer)}
    for source in (tokenizer, model.config, model.generation_config):
        ids = getattr(source, "eos_token_id", None)
        found.update([ids] if isinstance(ids, int) else ids or [])
    return frozenset(found)


def generate(
    model: PreTrainedModel,
    prompts_ids: Sequence[Sequence[int]],
    *,
    stop_ids: Collection[int],
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    batch_rows: int = 64,
    batch_tokens: int = 32768,
    on_progress: Callable[[int], None] | None = None,
    on_token: Callable[[], None] | None = None,
) -> list[Sample]:
    """Sample one answer per row of `prompts_ids`, in that order.

    `numbers[i]` tells several answers to one prompt apart (default: 0 for all). An answer depends on
    (prompt ids, seed, number) and the sampling parameters, not on the batch it shares. Temperature 0 takes the most
    likely token; top_k 0 keeps them all. A batch holds at most `batch_rows` rows and `batch_tokens` slab positions.
    `on_progress` receives the number of rows done after each batch, `on_token` is called after each position; what they
    raise ends the sampling. Several processes share the rows out, and each returns all answers.

    Raises ValueError for an empty prompt, a `max_new_tokens` below 1, a temperature below 0 or a top_p outside (0, 1].
    """
    if max_new_tokens < 1 or temperature < 0 or not 0 < top_p <= 1:
        raise ValueError("max_new_tokens must be at least 1, temperature at least 0 and top_p in (0, 1]")
    if not all(len(prompt) for prompt in prompts_ids):
        raise ValueError("a prompt without tokens cannot be sampled from")
    numbers = [0] * len(prompts_ids) if numbers is None else numbers
    samples: dict[int, Sample] = {}
    # Sharded weights take a whole team for every pass: all processes sample all rows then.
    in_step = processes.in_step()
    own = range(len(prompts_ids)) if in_step else processes.share([len(prompt) for prompt in prompts_ids])
    order = sorted(own, key=lambda row: (len(prompts_ids[row]), row))
    was_training = model.training
    model.train(False)
    try:
        with torch.no_grad() if in_step else torch.inference_mode(), widened(model):
            for rows in _cut_batches(order, prompts_ids, max_new_tokens, batch_rows, batch_tokens):
                batch = _Batch(
                    model=model,
                    prompts=[list(prompts_ids[row]) for row in rows],
                    uniforms=[_uniforms(prompts_ids[row], seed, numbers[row]) for row in rows],
                    stop_ids=frozenset(stop_ids),
                    temperature=temperature,
                    top_p=top_p,
                    top_k=top_k,
                )
                samples.update(zip(rows, batch.run(max_new_tokens, on_token), strict=True))
                if on_progress is not None:
                    on_progress(len(samples) * (1 if in_step else processes.count()))
    finally:
        model.train(was_training)
    if not in_step:
        samples = {row: sample for part in processes.gather(samples) for row, sample in part.items()}
    return [samples[row] for row in range(len(prompts_ids))]


def _cut_batches(
    order: list[int], prompts_ids: Sequence[Sequence[int]], max_new_tokens: int, batch_rows: int, batch_tokens: int
) -> list[list[int]]:
    """Consecutive rows of `order` (ascending prompt length) under both limits; at least one row each."""
    batches: list[list[int]] = []
    for row in order:
        width = len(prompts_ids[row]) + max_new_tokens
        fits = batches and len(batches[-1]) < batch_rows and (len(batches[-1]) + 1) * width <= batch_tokens
        if fits:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def _uniforms(prompt_ids: Sequence[int], seed: int, number: int) -> random.Random:
    """The stream of uniform numbers of one answer, keyed by (prompt, seed, number)."""
    key = f"{seed}/{number}/{','.join(map(str, prompt_ids))}".encode()
    return random.Random(int.from_bytes(hashlib.blake2b(key, digest_size=16).digest(), "big"))  # noqa: S311 - not a secret


class _Batch:
    """Rows that are decoded together. `alive` lists the rows of the slab, some of which may have ended."""

    def __init__(
        self,
        *,
        model: PreTrainedModel,
        prompts: list[list[int]],
        uniforms: list[random.Random],
        stop_ids: frozenset[int],
        temperature: float,
        top_p: float,
        top_k: int,
    ) -> None:
        self.model, self.prompts, self.uniforms, self.stop_ids = model, prompts, uniforms, stop_ids
        self.temperature, self.top_p, self.top_k = temperature, top_p, top_k
        self.answers: list[list[int]] = [[] for _ in prompts]
        self.ended = [False] * len(prompts)
        self.alive = list(range(len(prompts)))

    def run(self, max_new_tokens: int, on_token: Callable[[], None] | None) -> list[Sample]:
        logits_BV = self._prefill(max_new_tokens)
        for position in range(max_new_tokens):
            tokens = self._draw(logits_BV)
            for row, token in zip(self.alive, tokens, strict=True):
                if not self.ended[row]:
                    self.answers[row].append(token)
                    self.ended[row] = token in self.stop_ids
            if on_token is not None:
                on_token()
            if position == max_new_tokens - 1 or all(self.ended[row] for row in self.alive):
                break
            logits_BV = self._step(self._compact(tokens))
        return [Sample(token_ids=ids, ended=ended) for ids, ended in zip(self.answers, self.ended, strict=True)]

    def _prefill(self, max_new_tokens: int) -> Tensor:
        """Run each distinct prompt once, some at a time, spread its cache over its rows; the first logits (B, V)."""
        distinct = list(dict.fromkeys(map(tuple, self.prompts)))
        place_of = {prompt: place for place, prompt in enumerate(distinct)}
        device = self.model.device
        prompt_B = torch.tensor([place_of[tuple(prompt)] for prompt in self.prompts], device=device)
        self.width = max(map(len, distinct))
        self.is_token_BS = torch.ones((len(prompt_B), self.width + max_new_tokens), dtype=torch.bool, device=device)
        self.cache = DynamicCache(config=self.model.config)
        logits = []
        for start, end in self._prefill_parts(distinct):
            part = DynamicCache(config=self.model.config)
            found, is_token_BP = self._read(distinct[start:end], part)
            logits.append(found)
            rows = ((prompt_B >= start) & (prompt_B < end)).nonzero()[:, 0]
            prompts = prompt_B[rows] - start
            self.is_token_BS[rows, : self.width] = nn.functional.pad(
                is_token_BP[prompts], (self.width - is_token_BP.shape[1], 0)
            )
            if start == 0:
                self.cache.layers = self._layers_like(part)
            self._take_over(part, rows, prompts)
        self.next_position_B = self.is_token_BS[:, : self.width].sum(1)
        return torch.cat(logits)[prompt_B]

    def _prefill_parts(self, distinct: list[tuple[int, ...]]) -> list[tuple[int, int]]:
        """Prompts to read at once, (first, behind the last): few, so that activations take little beside the cache.

        All of them where a layer keeps more than keys and values of every token (sliding windows, linear attention):
        two such layers cannot be put together.
        """
        if any(type(layer) is not DynamicLayer for layer in self.cache.layers):
            return [(0, len(distinct))]
        parts: list[tuple[int, int]] = []
        for place, prompt in enumerate(distinct):  # by ascending length
            start = parts[-1][0] if parts else 0
            if parts and (place + 1 - start) * len(prompt) <= PREFILL_TOKENS:
                parts[-1] = (start, place + 1)
            else:
                parts.append((place, place + 1))
        return parts

    def _read(self, prompts: list[tuple[int, ...]], cache: DynamicCache) -> tuple[Tensor, Tensor]:
        """Fill the cache; the logits after each prompt, (P, V), and where tokens stand, (P, longest)."""
        width, device = max(map(len, prompts)), self.model.device
        # Padding stands on the left, so that every row's next token falls into the same column of the slab.
        ids_PS = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device)
        lengths_P = torch.tensor([len(prompt) for prompt in prompts], device=device)
        is_token_PS = torch.arange(width, device=device) >= (width - lengths_P)[:, None]
        return self._forward(ids_PS, is_token_PS, (is_token_PS.cumsum(1) - 1).clamp_min(0), cache), is_token_PS

    def _take_over(self, part: DynamicCache, rows: Tensor, prompts: Tensor) -> None:
        """Move what was read into these rows of the cache, layer by layer."""
        for layer, found in zip(self.cache.layers, cast(list[Any], part.layers), strict=True):
            if isinstance(layer, _SlabLayer):
                layer.fill((found.keys, found.values), rows, prompts)
            else:
                found.batch_select_indices(prompts)

    def _layers_like(self, part: DynamicCache) -> list[Any]:
        """Slabs for plain layers; others know how to pick rows and are taken as they are."""
        plain = [layer for layer in part.layers if type(layer) is DynamicLayer]
        size = {"rows": len(self.prompts), "length": self.width, "capacity": self.is_token_BS.shape[1]}
        slabs = iter(_slab_layers(plain, **size) if plain else [])
        return [next(slabs) if type(layer) is DynamicLayer else layer for layer in part.layers]

    def _step(self, tokens_B: Tensor) -> Tensor:
        """Feed one token per row of the slab; returns the next logits (B, V)."""
        self.width += 1
        logits_BV = self._forward(
            tokens_B[:, None], self.is_token_BS[:, : self.width], self.next_position_B[:, None], self.cache
        )
        self.next_position_B = self.next_position_B + 1
        return logits_BV

    def _forward(self, ids: Tensor, is_token: Tensor, position_ids: Tensor, cache: DynamicCache) -> Tensor:
        def work() -> Tensor:
            output = cast(Any, self.model).base_model(
                input_ids=ids,
                attention_mask=is_token.long(),
                position_ids=position_ids,
                past_key_values=cache,
                use_cache=True,
            )
            # Rows side by side: of a slice of a longer tensor torch makes a product per row and copies the head.
            return logits_of(self.model, output.last_hidden_state[:, -1].contiguous())

        return with_weights(self.model, work)

    def _compact(self, tokens: list[int]) -> Tensor:
        """Drop ended rows when enough of them idle; returns the tokens to feed, (rows of the slab,)."""
        keep = [place for place, row in enumerate(self.alive) if not self.ended[row]]
        if (len(self.alive) - len(keep)) * IDLE_SHARE >= len(self.alive):
            index = torch.tensor(keep, device=self.model.device)
            self.cache.batch_select_indices(index)
            self.is_token_BS = self.is_token_BS[index]
            self.next_position_B = self.next_position_B[index]
            self.alive = [self.alive[place] for place in keep]
            tokens = [tokens[place] for place in keep]
        return torch.tensor(tokens, device=self.model.device)

    def _draw(self, logits_BV: Tensor) -> list[int]:
        if self.temperature == 0:
            return cast(list[int], logits_BV.argmax(-1).tolist())
        uniforms = [self.uniforms[row].random() for row in self.alive]
        uniform_B = torch.tensor(uniforms, dtype=torch.float64).to(logits_BV.device)
        probability_BV = torch.softmax(logits_BV.float() / self.temperature, dim=-1)
        return cast(list[int], draw_tokens(probability_BV, uniform_B, self.top_p, self.top_k).tolist())


def draw_tokens(probability_BV: Tensor, uniform_B: Tensor, top_p: float = 1.0, top_k: int = 0) -> Tensor:
    """Invert each row's distribution at its uniform number. (B, V), (B,) in [0, 1) -> token ids (B,).

    With top_k > 0 only that many of the most likely tokens are kept. With top_p < 1 only the nucleus of what is kept
    is drawn from: the most likely tokens up to the first that brings their share to top_p (Holtzman et al. 2020,
    1904.09751, section 3.1).
    """
    size = probability_BV.shape[1]
    if top_p >= 1 and not 0 < top_k < size:
        return invert_distribution(probability_BV, uniform_B)
    top_BK, token_BK = probability_BV.topk(min(top_k or TOP_TOKENS, size), dim=-1)
    if top_k:
        top_BK = top_BK / top_BK.sum(-1, keepdim=True)
    elif bool((top_BK.sum(-1) < top_p).any()):
        top_BK, token_BK = probability_BV.sort(dim=-1, descending=True)
    mass_before_BK = top_BK.cumsum(-1) - top_BK
    nucleus_BK = torch.where(mass_before_BK < top_p, top_BK, 0.0)
    chosen_B = invert_distribution(nucleus_BK, uniform_B)
    return token_BK.gather(1, chosen_B[:, None])[:, 0]


def invert_distribution(weight_BV: Tensor, uniform_B: Tensor) -> Tensor:
    """The index whose cumulative weight first exceeds uniform × total; never one of weight 0. (B, V), (B,) -> (B,).

    Weights need not sum to 1. Two levels: which chunk of 256, then which index inside it.
    """
    rows, size = weight_BV.shape
    chunks = -(-size // CHUNK)
    padded = nn.functional.pad(weight_BV, (0, chunks * CHUNK - size)).view(rows, chunks, CHUNK)
    chunk_weight_BC = padded.sum(-1).double()
    target_B = uniform_B * chunk_weight_BC.sum(-1)
    chunk_B = _first_above(chunk_weight_BC, target_B)
    before_B = (chunk_weight_BC.cumsum(-1) - chunk_weight_BC).gather(1, chunk_B[:, None])[:, 0]
    inside = padded[torch.arange(rows, device=weight_BV.device), chunk_B].double()
    return chunk_B * CHUNK + _first_above(inside, target_B - before_B)


def _first_above(weight_BK: Tensor, target_B: Tensor) -> Tensor:
    """First index whose cumulative weight exceeds the target; rounding past the end falls on the last positive one."""
    passed_B = (weight_BK.cumsum(-1) <= target_B[:, None]).sum(-1)
    place_K = torch.arange(weight_BK.shape[1], device=weight_BK.device)
    last_positive_B = torch.where(weight_BK > 0, place_K, 0).amax(-1)
    return torch.minimum(passed_B, last_positive_B)
