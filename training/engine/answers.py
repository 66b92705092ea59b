"""Sampled answers to held-out prompts at every evaluation: what they say, how long they are, how far they moved.

The same prompts and the same random numbers every time, so that the difference is the training's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from training.engine.batches import cut_to_budget
from training.engine.chat import decode, render_to_fit
from training.engine.config import SamplingDuringTraining
from training.engine.events import EventWriter
from training.engine.generate import Sample, generate, stop_token_ids
from training.engine.logprobs import response_logprobs
from training.engine.loop import Loop
from training.engine.maths import sum_by_row
from training.engine.models import Trainee
from training.engine.packing import Tokens, make_pass
from training.engine.ppo_maths import kl_k1, kl_k3
from training.engine.reference import Reference
from training.engine.sample import prompt_room

Row = dict[str, Any]

PHASE = "sampling answers"


def distinct_prompts(rows: Sequence[Row], number: int) -> list[Row]:
    """The first rows with different prompts, at most ``number``."""
    seen: dict[str, Row] = {}
    for row in rows:
        seen.setdefault(str(row["prompt"]), row)
    return list(seen.values())[:number]


class HeldOutAnswers:
    """Samples answers to a fixed set of held-out prompts and measures them."""

    def __init__(
        self, rows: Sequence[Row], trainee: Trainee, config: SamplingDuringTraining, *, max_length: int, seed: int
    ) -> None:
        self.trainee, self.config, self.seed = trainee, config, seed
        self.rows = distinct_prompts(rows, max(config.sample_prompts, config.length_prompts))
        self.prompts: list[list[int]] = []
        if self.rows:
            room = prompt_room(trainee.core.config, max_length=max_length, max_new_tokens=config.sample_tokens)
            rendered = [render_to_fit(trainee.tokenizer, row["prompt"], None, room) for row in self.rows]
            self.prompts = [item.prompt_ids for item in rendered]

    def measure(self, reference: Reference, loop: Loop) -> tuple[dict[str, float], list[Row]]:
        """(metrics, samples for the run's page); both empty without prompts. Leaves between batches after SIGTERM.

        Metrics: response_tokens (mean), share_ended and, for answers drawn at temperature 1, kl and kl_k3 to the
        reference in nats per answer, estimated on these answers.
        """
        if not self.prompts:
            return {}, []
        loop.phase(PHASE, 0, len(self.prompts))
        answers = self._sample(lambda done: loop.phase(PHASE, done, len(self.prompts)))
        metrics = {
            "response_tokens": sum(len(item.token_ids) for item in answers) / len(answers),
            "share_ended": sum(item.ended for item in answers) / len(answers),
        }
        if self.config.sample_temperature == 1.0:
            metrics |= self._kl(answers, reference)
        shown = zip(self.rows[: self.config.sample_prompts], answers, strict=False)
        return metrics, [self._told(row, answer) for row, answer in shown]

    def _sample(self, on_batch: Callable[[int], None]) -> list[Sample]:
        return generate(
            self.trainee.core,
            self.prompts,
            stop_ids=stop_token_ids(self.trainee.core, self.trainee.tokenizer),
            max_new_tokens=self.config.sample_tokens,
            temperature=self.config.sample_temperature,
            seed=self.seed,
            on_progress=on_batch,
        )

    def _told(self, row: Row, answer: Sample) -> Row:
        text = decode(self.trainee.tokenizer, answer.token_ids)
        name = str(row.get("id", ""))
        return {
            "id": name,
            "prompt": row["prompt"],
            "text": text,
            "ended": answer.ended,
            "tokens": len(answer.token_ids),
        }

    @torch.no_grad()
    def _kl(
        self,
        answers: Sequence[Sample],
        reference: Reference,
    ) -> dict[str, float]:
        """Mean over answers of the two estimators summed over an answer's tokens."""
        sequences = [Tokens(prompt, item.token_ids) for prompt, item in zip(self.prompts, answers, strict=True)]
        lengths = [item.length for item in sequences]
        groups = [[sequences[index] for index in indices] for indices in cut_to_budget(lengths, 8192)]
        passes = [make_pass(group, self.trainee.device) for group in groups]
        policy = [response_logprobs(self.trainee.core, batch) for batch in passes]
        with reference.speaks() as model:
            base = [response_logprobs(model, batch) for batch in passes]
        k1: list[Tensor] = []
        k3: list[Tensor] = []
        for batch, policy_N, base_N in zip(passes, policy, base, strict=True):
            k1.append(sum_by_row(kl_k1(policy_N, base_N), batch.row_N, batch.sequences))
            k3.append(sum_by_row(kl_k3(policy_N, base_N), batch.row_N, batch.sequences))
        return {"kl": float(torch.cat(k1).mean()), "kl_k3": float(torch.cat(k3).mean())}


def tell_samples(events: EventWriter, step: int, samples: list[Row]) -> None:
    """The sample event, if there is anything to show."""
    if samples:
        events.write("sample", step=step, samples=samples)
