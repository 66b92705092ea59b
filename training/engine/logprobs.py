"""Log-probabilities of whole responses under a model: the pass that SFT and DPO share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from training.engine import processes
from training.engine.backbone import last_hidden, narrow_products
from training.engine.batches import own_passes
from training.engine.maths import sum_by_row, token_logprobs
from training.engine.models import head_is_frozen, logits_of
from training.engine.packing import Pass, Tokens, make_pass
from training.engine.sharding import with_weights


def response_logprobs(model: PreTrainedModel, batch: Pass) -> Tensor:
    """log p of every response token of a pass, (N,), nats, fp32. Logits exist at response positions only."""

    def work() -> Tensor:
        hidden_NH = last_hidden(model, batch)[batch.before_N]
        with narrow_products(model):
            return token_logprobs(hidden_NH, batch.token_N, partial(logits_of, model), frozen=head_is_frozen(model))

    return with_weights(model, work)


def sequence_logprobs(model: PreTrainedModel, sequences: Sequence[Tokens], device: torch.device) -> Tensor:
    """Sum over response tokens of log p, (B,), nats, in one pass."""
    batch = make_pass(sequences, device)
    return sum_by_row(response_logprobs(model, batch), batch.row_N, batch.sequences)


@torch.no_grad()
def all_logprobs(
    model: PreTrainedModel,
    groups_of_sequences: Sequence[Sequence[Tokens]],
    device: torch.device,
    *,
    tokens_per_pass: int,
    on_pass: Callable[[int], None],
) -> Tensor:
    """Sequence log-probs of examples of K sequences each, (examples, K), on the CPU.

    Neighbours share what they begin with. ``on_pass`` hears how many examples are done before each pass, by this
    process's pace, and may raise to stop.
    """
    width = len(groups_of_sequences[0]) if groups_of_sequences else 0
    found = torch.zeros(len(groups_of_sequences), width)
    tokens = [group[0].length + sum(len(item.response_ids) for item in group[1:]) for group in groups_of_sequences]
    done = 0
    for indices in own_passes(model, tokens, tokens_per_pass):
        on_pass(done * processes.count())
        sequences = [item for index in indices for item in groups_of_sequences[index]]
        found[indices] = sequence_logprobs(model, sequences, device).view(-1, width).cpu()
        done += len(indices)
    return processes.total(found)
