"""The arms of sampling: the engine's sampler, and transformers' generate, on the prompts of the data.

A turn is all prompts, each answered with up to so many tokens at temperature 1 from the whole vocabulary. Tokens are
those of the answers up to their first end token. What must agree beforehand are the greedy answers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from bench.data import read_rows
from bench.turns import ArmSpec, Turns
from training.engine.generate import generate, stop_token_ids
from training.engine.models import load_base, load_tokenizer, pick_dtype
from training.engine.run_dir import ModelRef

NEW_TOKENS = 128
PROOF_TOKENS = 16


def ours_arm(spec: ArmSpec, turns: Turns) -> None:
    """All prompts through the engine's sampler."""
    model, stops = load(spec)
    prompts = [row.prompt_ids for row in read_rows(spec.data)]
    most = int(spec.options.get("new_tokens", NEW_TOKENS))
    if spec.proof:
        greedy = generate(model, prompts, stop_ids=stops, max_new_tokens=PROOF_TOKENS, temperature=0.0)
        turns.prove(0.0, as_tensors([item.token_ids for item in greedy]))
    turns.ready()
    for seed in itertools.count():
        turns.wait()
        samples = generate(model, prompts, stop_ids=stops, max_new_tokens=most, seed=seed)
        turns.done(sum(len(item.token_ids) for item in samples))


def transformers_arm(spec: ArmSpec, turns: Turns) -> None:
    """All prompts through generate, in batches of like length, the shortest prompts first."""
    model, stops = load(spec)
    prompts = sorted((row.prompt_ids for row in read_rows(spec.data)), key=len)
    most = int(spec.options.get("new_tokens", NEW_TOKENS))
    if spec.proof:
        unsorted = [row.prompt_ids for row in read_rows(spec.data)]
        turns.prove(0.0, as_tensors(answer(model, unsorted, stops, PROOF_TOKENS, sample=False)))
    turns.ready()
    while True:
        turns.wait()
        tokens = 0
        for start in range(0, len(prompts), spec.batch):
            answers = answer(model, prompts[start : start + spec.batch], stops, most, sample=True)
            tokens += sum(map(len, answers))
        turns.done(tokens)


def load(spec: ArmSpec) -> tuple[PreTrainedModel, frozenset[int]]:
    device = torch.device(spec.device)
    model = load_base(ModelRef(spec.model), dtype=pick_dtype(spec.precision, device), device=device)
    return model, stop_token_ids(model, load_tokenizer(spec.model))


@torch.no_grad()
def answer(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], stops: frozenset[int], most: int, *, sample: bool
) -> list[list[int]]:
    """One batch through transformers' generate, left-padded; each answer up to its first end token."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=model.device)
    is_token = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    chosen = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0} if sample else {"do_sample": False}
    found = model.generate(  # type: ignore[operator]
        input_ids=ids,
        attention_mask=is_token.to(model.device),
        max_new_tokens=most,
        eos_token_id=sorted(stops),
        pad_token_id=0,
        use_cache=True,
        **chosen,
    )
    return [until_stop(row, stops) for row in found[:, width:].tolist()]


def until_stop(ids: Sequence[int], stops: frozenset[int]) -> list[int]:
    """The ids up to the first end token, that one included."""
    ends = (place + 1 for place, token in enumerate(ids) if token in stops)
    return list(ids[: next(ends, len(ids))])


def as_tensors(answers: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    return {f"answer {place}": torch.tensor(ids, dtype=torch.float32) for place, ids in enumerate(answers)}
