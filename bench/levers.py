"""What makes the engine fast, each of which an arm can do without: the name, and how it is switched off.

A lever is off by a change of the method's config, inside a context that puts something slower in place of a function of
the engine, or by a branch of the arm itself. To add one is to add a line to LEVERS. That an arm computes the same
without it is part of the bench's proof.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from transformers import PreTrainedModel

from training.engine import backbone, logprobs, models, reward, sft
from training.engine.backbone import last_hidden
from training.engine.maths import token_logprobs
from training.engine.models import head_is_frozen, logits_of
from training.engine.packing import Pass, make_pass

Patch = tuple[Any, str, Any]  # module, name, what stands there instead


@dataclass(frozen=True)
class Lever:
    """One lever: for which work it exists, and what takes it away."""

    works: tuple[str, ...]
    config: dict[str, Any] = field(default_factory=dict)
    context: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext


@contextlib.contextmanager
def replaced(*patches: Patch) -> Iterator[None]:
    """Inside, these names of these modules mean something else. AttributeError for a name that is not there."""
    with ExitStack() as stack:
        for module, name, instead in patches:
            stack.enter_context(patch.object(module, name, instead))
        yield


def logprobs_with_logits_everywhere(model: PreTrainedModel, batch: Pass) -> Tensor:
    """The engine's response_logprobs with the head at every token of the pass instead of those before a response's."""
    hidden_TH = last_hidden(model, batch)
    is_needless_T = torch.ones(len(hidden_TH), dtype=torch.bool, device=hidden_TH.device)
    is_needless_T[batch.before_N] = False
    hidden = torch.cat([hidden_TH[batch.before_N], hidden_TH[is_needless_T]])
    token = torch.cat([batch.token_N, batch.ids_T[is_needless_T]])
    found = token_logprobs(hidden, token, partial(logits_of, model), frozen=head_is_frozen(model))
    return found[: len(batch.token_N)]


alone = partial(make_pass, share=False)
CACHED_REFERENCE = "cached reference"

LEVERS: dict[str, Lever] = {
    # The arm computes the reference's log-probs in every step.
    CACHED_REFERENCE: Lever(works=("dpo",)),
    # Prompts of two answers, and what a chat template begins all conversations with.
    "shared beginnings": Lever(
        works=("dpo", "reward", "sft"),
        context=lambda: replaced(
            (logprobs, "make_pass", alone), (reward, "make_pass", alone), (sft, "make_pass", alone)
        ),
    ),
    # Padded rows, one for each sequence; a prompt cannot be shared among them.
    "packing": Lever(
        works=("dpo", "reward", "sft"), context=lambda: replaced((backbone, "packs", lambda model: False))
    ),
    "head at responses only": Lever(
        works=("dpo", "sft"),
        context=lambda: replaced(
            (logprobs, "response_logprobs", logprobs_with_logits_everywhere),
            (sft, "response_logprobs", logprobs_with_logits_everywhere),
        ),
    ),
    # The gradient of a log-prob by autograd, which keeps logits.
    "frozen head": Lever(
        works=("dpo", "sft"),
        context=lambda: replaced(
            (logprobs, "head_is_frozen", lambda model: False),
        ),
    ),
    "fused adapters": Lever(
        works=("dpo", "reward", "sft"), context=lambda: replaced((models, "fuse", lambda peft: None))
    ),
}


def levers_of(work: str) -> list[str]:
    """The levers that this work has."""
    return [name for name, lever in LEVERS.items() if work in lever.works]
