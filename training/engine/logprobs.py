"""Log-probabilities of whole responses under a model: the pass that SFT and DPO share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from training.engine.batches import Pass, Tokens, cut_by_length, make_pass
from training.engine.maths import sum_by_row, token_logprobs
from training.engine.models import last_hidden, logits_of


def response_logprobs(model: PreTrainedModel, batch: Pass) -> Tensor:
    """log p of every response token of a pass, (N,), nats, fp32. Logits exist at response positions only."""
    hidden_BSH = last_hidden(model, batch.ids_BS)
    hidden_NH = hidden_BSH[batch.row_N, batch.before_N]
    return token_logprobs(hidden_NH, batch.token_N, lambda hidden: logits_of(model, hidden))


def sequence_logprobs(model: PreTrainedModel, sequences: Sequence[Tokens], device: torch.device) -> Tensor:
    """Sum over response tokens of log p, (B,), nats, in one pass."""
    batch = make_pass(sequences, device)
    return sum_by_row(response_logprobs(model, batch), batch.row_N, batch.rows)


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

    Passes are cut by length; ``on_pass`` hears how many examples are done before each one, and may raise to stop.
    """
    width = len(groups_of_sequences[0]) if groups_of_sequences else 0
    found = torch.zeros(len(groups_of_sequences), width)
    lengths = [max(item.length for item in group) for group in groups_of_sequences]
    done = 0
    for indices in cut_by_length(lengths, width, tokens_per_pass):
        on_pass(done)
        sequences = [item for index in indices for item in groups_of_sequences[index]]
        found[indices] = sequence_logprobs(model, sequences, device).view(-1, width).cpu()
        done += len(indices)
    return found
