"""Sampled answers to held-out prompts, before and after training: what they say, how long they are, how far they moved.

The same prompts and the same random numbers every time, so that the difference is the training's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from training.engine import processes, sharding
from training.engine.batches import cut_to_budget
from training.engine.chat import decode, render_to_fit
from training.engine.config import SamplingDuringTraining
from training.engine.events import EventWriter
from training.engine.generate import Sample, generate, stop_token_ids
from training.engine.logprobs import response_logprobs
from training.engine.loop import Loop
from training.engine.maths import sum_by_row
from training.engine.models import Trainee, load_base, pick_dtype
from training.engine.packing import Tokens, make_pass
from training.engine.ppo_maths import kl_k1, kl_k3
from training.engine.run_dir import ModelRef

Row = dict[str, Any]
ReferenceMaker = Callable[[], contextlib.AbstractContextManager[PreTrainedModel]]


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
        room = max(1, max_length - config.sample_tokens)
        self.prompts = [render_to_fit(trainee.tokenizer, row["prompt"], None, room).prompt_ids for row in self.rows]

    def measure(self, reference: ReferenceMaker, loop: Loop) -> tuple[dict[str, float], list[Row]]:
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
        reference: ReferenceMaker,
    ) -> dict[str, float]:
        """Mean over answers of the two estimators summed over an answer's tokens."""
        sequences = [Tokens(prompt, item.token_ids) for prompt, item in zip(self.prompts, answers, strict=True)]
        lengths = [item.length for item in sequences]
        groups = [[sequences[index] for index in indices] for indices in cut_to_budget(lengths, 8192)]
        passes = [make_pass(group, self.trainee.device) for group in groups]
        policy = [response_logprobs(self.trainee.core, batch) for batch in passes]
        with reference() as model:
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


@contextlib.contextmanager
def reference_model(
    trainee: Trainee, ref: ModelRef | None, base: ModelRef, precision: str
) -> Iterator[PreTrainedModel]:
    """The frozen reference: a model of its own if one is named, else the trainee with adapters off, else the base."""
    if ref is None and trainee.peft is not None:
        with trainee.as_reference():
            yield trainee.core
    else:
        dtype = pick_dtype(precision, trainee.device) if trainee.peft is not None else torch.float32
        if processes.in_step():
            yield sharding.shard(load_base(ref or base, dtype=dtype, device=torch.device("cpu")))
        else:
            yield load_base(ref or base, dtype=dtype, device=trainee.device)
