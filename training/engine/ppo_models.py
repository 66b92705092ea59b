"""The five roles of PPO and the passes they share: policy, value, reward, reference, and who lends the backbone.

With adapters there is one frozen backbone: the policy is its adapter ("default"), the reward model is a second adapter
where it was trained on the same base, the value function a head on the policy or an adapter of its own, and the
reference is the backbone with adapters off. What does not fit this (full training, a reward model saved whole) gets a
model of its own; the passes stay the same.

Axes: B sequences, R response positions, H hidden, N response tokens of a batch, V vocabulary.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.engine import ppo_maths
from training.engine.backbone import last_hidden, narrow_products
from training.engine.errors import EngineError
from training.engine.maths import token_logprobs
from training.engine.models import Trainee, head_is_frozen, logits_of
from training.engine.packing import Pass, Tokens, make_pass

POLICY, VALUE, REWARD, REFERENCE = "default", "value", "reward", "reference"  # names of adapters


@dataclass(frozen=True)
class Batch:
    """Prompts with their answers, packed for a pass, and which places of (B, R) hold response tokens."""

    packed: Pass
    is_response_BR: Tensor

    @property
    def tokens(self) -> int:
        """Tokens of the pass, prompts included."""
        return len(self.packed.ids_T)


def make_batch(prompts: Sequence[list[int]], responses: Sequence[list[int]], device: torch.device) -> Batch:
    """Lay prompts and their responses out for the passes. A response has at least one token."""
    sequences = [Tokens(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
    length_B = torch.tensor([len(response) for response in responses])
    is_response_BR = torch.arange(int(length_B.max())) < length_B[:, None]
    return Batch(make_pass(sequences, device), is_response_BR.to(device))


@dataclass(frozen=True)
class PolicyPass:
    """What one pass of the policy gives per response token; 0 at padding. `hidden_NH` feeds a shared value head."""

    logprob_BR: Tensor
    hidden_NH: Tensor


@dataclass(frozen=True)
class Reader:
    """How a reward model of another tokenizer or chat template reads: in its own tokens, at most so many."""

    tokenizer: PreTrainedTokenizerBase
    max_length: int


class PPOModels:
    """Policy, value, reward and reference. Build with `ppo_loading.load_models`.

    `reader` is None when the reward model reads the very ids that the policy writes.
    """

    def __init__(
        self,
        *,
        trainee: Trainee,
        value_head: nn.Linear,
        value_model: PreTrainedModel | None,
        reward_model: PreTrainedModel | None,
        reward_head: nn.Linear,
        reference_model: PreTrainedModel | None,
        reference_moves: bool,
        temperature: float,
        reader: Reader | None = None,
    ) -> None:
        self.trainee, self.temperature, self.reader = trainee, temperature, reader
        self.value_head, self.value_model = value_head, value_model
        self.reward_head, self.reward_model = reward_head, reward_model
        self.reference_model, self.reference_moves = reference_model, reference_moves
        self._trainable = self._collect()

    # Parameters by role, under names that a checkpoint can use.

    def _collect(self) -> dict[str, nn.Parameter]:
        adapters = {} if self.trainee.peft is None else self.trainee.peft.peft_config
        marks = (f".{POLICY}.", f".{VALUE}.")
        found = {
            name: item
            for name, item in self.trainee.module.named_parameters()
            if (any(mark in name for mark in marks) if adapters else item.requires_grad)
        }
        if self.value_model is not None:
            found |= {f"value_model.{name}": item for name, item in self.value_model.named_parameters()}
        found |= {f"value_head.{name}": item for name, item in self.value_head.named_parameters()}
        for item in found.values():
            item.requires_grad_(True)
        return found

    def trainable(self) -> dict[str, nn.Parameter]:
        """Trainable parameters of policy and value by name, in a stable order."""
        return self._trainable

    def policy_parameters(self) -> dict[str, nn.Parameter]:
        """Trainable parameters of the policy. EngineError when there are none."""
        values = self.value_parameters()
        found = {name: item for name, item in self._trainable.items() if name not in values}
        if not found:
            raise EngineError("nothing is trainable: no module matches the adapter's targets")
        return found

    def value_parameters(self) -> dict[str, nn.Parameter]:
        """Trainable parameters of the value function that the policy does not share."""
        marks = ("value_model.", "value_head.", f".{VALUE}.")
        return {
            name: item
            for name, item in self._trainable.items()
            if name.startswith(marks[:2]) or (self.trainee.peft is not None and marks[2] in name)
        }

    def moving_reference(self) -> dict[str, Tensor]:
        """The weights of a reference that follows the policy; empty when it stands still."""
        if self._has_adapter(REFERENCE):
            return {n: p for n, p in self.trainee.module.named_parameters() if f".{REFERENCE}." in n}
        if self.reference_model is None or not self.reference_moves:
            return {}
        return dict(self.reference_model.named_parameters())

    def reading_ids(self) -> list[PreTrainedModel]:
        """Every model that a prompt and its answer must fit, in the policy's tokens."""
        reward_model = self.reward_model if self.reader is None else None
        return [
            model
            for model in (self.trainee.core, self.value_model, reward_model, self.reference_model)
            if model is not None
        ]

    # Which adapter speaks.

    def _has_adapter(self, name: str) -> bool:
        return self.trainee.peft is not None and name in self.trainee.peft.peft_config

    def activate(self, adapter: str) -> None:
        """Let this adapter alone speak, and learn, from now on. Without adapters there is only the policy."""
        if self.trainee.peft is not None and self.trainee.peft.active_adapter != adapter:
            self.trainee.peft.set_adapter(adapter)

    @contextlib.contextmanager
    def _reference_speaks(self) -> Iterator[PreTrainedModel]:
        if self.reference_model is not None:
            yield self.reference_model
        elif self._has_adapter(REFERENCE):
            self.activate(REFERENCE)
            yield self.trainee.core
            self.activate(POLICY)
        else:
            with self.trainee.as_reference():
                yield self.trainee.core

    # The passes.

    def policy(self, batch: Batch) -> PolicyPass:
        """Log-probs of the response tokens under the policy, with gradient where it is enabled."""
        self.activate(POLICY)
        core = self.trainee.core
        return self._pass(core, batch, lambda hidden_NH: self._logits(core, hidden_NH))

    @torch.no_grad()
    def policy_and_entropy(self, batch: Batch) -> tuple[PolicyPass, Tensor]:
        """The same without gradient, and the entropy before each token in nats, (B, R), from the same logits."""
        self.activate(POLICY)
        entropies: list[Tensor] = []

        def head(hidden_NH: Tensor) -> Tensor:
            logits_NV = self._logits(self.trainee.core, hidden_NH)
            entropies.append(ppo_maths.entropy(logits_NV))
            return logits_NV

        found = self._pass(self.trainee.core, batch, head)
        return found, _spread(torch.cat(entropies), batch)

    def reference_logprobs(self, batch: Batch) -> Tensor:
        """Log-probs of the response tokens under the reference, (B, R), 0 at padding, without gradient."""
        with torch.no_grad(), self._reference_speaks() as model:
            return self._pass(model, batch, lambda hidden_NH: self._logits(model, hidden_NH)).logprob_BR

    def values(self, batch: Batch, policy_hidden_NH: Tensor | None) -> Tensor:
        """The value before each response token, (B, R), 0 at padding. The hidden states are the policy's if shared."""
        if self.value_model is not None:
            hidden_NH = last_hidden(self.value_model, batch.packed)[batch.packed.before_N]
        elif self._has_adapter(VALUE):
            self.activate(VALUE)
            hidden_NH = last_hidden(self.trainee.core, batch.packed)[batch.packed.before_N]
        else:
            assert policy_hidden_NH is not None
            hidden_NH = policy_hidden_NH
        value_N = self.value_head(hidden_NH.to(self.value_head.weight.dtype))[:, 0]
        return _spread(value_N, batch)

    def shares_value_backbone(self) -> bool:
        """Whether the value head stands on the policy's hidden states."""
        return self.value_model is None and not self._has_adapter(VALUE)

    def scores(self, batch: Batch) -> Tensor:
        """The reward model's score of each sequence, read at its last token, (B,), without gradient."""
        model = self.reward_model
        if model is None:
            self.activate(REWARD)
            model = self.trainee.core
        with torch.no_grad():
            hidden_BH = last_hidden(model, batch.packed)[batch.packed.last_B]
            score_B = self.reward_head(hidden_BH.to(self.reward_head.weight.dtype))[:, 0].float()
        self.activate(POLICY)
        return cast(Tensor, score_B)

    def _pass(self, model: PreTrainedModel, batch: Batch, head: Callable[[Tensor], Tensor]) -> PolicyPass:
        """One forward of a model; `head` maps hidden states (N, H) to what the softmax sees, (N, V)."""
        hidden_NH = last_hidden(model, batch.packed)[batch.packed.before_N]
        with narrow_products(model):
            logprob_N = token_logprobs(hidden_NH, batch.packed.token_N, head, frozen=head_is_frozen(model))
        return PolicyPass(_spread(logprob_N, batch), hidden_NH)

    def _logits(self, model: PreTrainedModel, hidden_NH: Tensor) -> Tensor:
        """What the softmax sees, (N, H) -> (N, V) in fp32 (detail 4)."""
        return logits_of(model, hidden_NH).div_(self.temperature)

    def move_reference(self, rate: float) -> None:
        """π_ref ← (1 − η)·π_ref + η·π, weight by weight.

        With adapters the two factors are averaged, not their product: the same to first order in η.
        """
        policy = dict(self.trainee.module.named_parameters())
        with torch.no_grad():
            for name, item in self.moving_reference().items():
                item.lerp_(policy[name.replace(f".{REFERENCE}.", f".{POLICY}.")].to(item.dtype), rate)

    def only_policy(self) -> Trainee:
        """The policy alone, ready to be saved: every other adapter is dropped."""
        self.activate(POLICY)
        if self.trainee.peft is not None:
            for name in (VALUE, REWARD, REFERENCE):
                if self._has_adapter(name):
                    self.trainee.peft.delete_adapter(name)
        return self.trainee


def _spread(value_N: Tensor, batch: Batch) -> Tensor:
    """(N,) -> (B, R), 0 at padding."""
    value_BR = value_N.new_zeros(batch.is_response_BR.shape)
    return value_BR.masked_scatter(batch.is_response_BR, value_N)
