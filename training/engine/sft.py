"""Supervised fine-tuning on demonstrations.

1. The loss counts response tokens only, the end token among them.
2. It is divided by the response tokens of the whole step, not averaged over the means of passes.
3. A pass holds the tokens of several examples side by side, without padding.
4. Logits exist at response positions only, one chunk at a time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from training.engine import processes
from training.engine.answers import HeldOutAnswers, tell_samples
from training.engine.batches import own_passes
from training.engine.chat import check_prompt, of_row, render_to_fit
from training.engine.config import SFTConfig
from training.engine.errors import EngineError
from training.engine.events import EventWriter
from training.engine.logprobs import response_logprobs
from training.engine.loop import Loop
from training.engine.models import Trainee, load_trainee
from training.engine.packing import Tokens, make_pass
from training.engine.pairs import Tally, warn_if_cut
from training.engine.reference import Reference
from training.engine.run_dir import RunDir, Spec, write_json
from training.engine.saving import save_trained

Metrics = dict[str, float]


@dataclass(frozen=True)
class Demonstration:
    """A prompt and the response to learn."""

    id: str
    messages: list[dict[str, str]]
    tokens: Tokens


def run(run_dir: RunDir, spec: Spec, config: SFTConfig, events: EventWriter) -> None:
    """Train on demonstrations and save. EngineError for data or models that will not do."""
    began = time.monotonic()

    # 1. Model and data.
    events.write("phase", name="loading model", done=0, total=1)
    trainee = load_trainee(spec, config)
    tally = Tally()
    train = read_demonstrations(run_dir, "train", trainee, config.max_length, tally, events)
    held_out = read_demonstrations(run_dir, "eval", trainee, config.max_length, tally, events)[: config.eval_rows]
    if not train:
        raise EngineError("there is no demonstration to train on")
    prompts = [{"id": item.id, "prompt": item.messages} for item in held_out or train]
    answers = HeldOutAnswers(prompts, trainee, config, max_length=config.max_length, seed=spec.seed)
    base = spec.models["base"]
    reference = Reference(trainee, None, base, config.precision)
    loop = Loop(run_dir, config, events, trainee, row_ids=[item.id for item in train], seed=spec.seed)
    loop.start(eval_rows=len(held_out))

    # 2. Steps, with evaluations before, between and after.
    with loop.checkpoint_when_stopped():
        while True:
            if loop.eval_due():
                evaluate(loop, held_out, answers, reference)
            if loop.step == loop.total:
                break
            for _, rows in loop.steps():
                examples = [train[row].tokens for row in rows]
                loss = accumulate_gradients(trainee, examples, loop)
                loop.finish_step({"loss": loss}, tokens=sum(item.length for item in examples))
                if loop.eval_due():
                    break

    # 3. Save.
    events.write("phase", name="saving", done=0, total=1)
    before, after = loop.state["before"], loop.state["after"]
    metrics = after | {f"{name}_before": value for name, value in before.items()}
    save_trained(run_dir, trainee, base=base, kind="sft", extra={"method": "sft", "metrics": metrics})
    result = {"method": "sft", "metrics": metrics, "seconds": time.monotonic() - began, "steps": loop.total}
    write_json(run_dir.result_path, result | {"dropped": tally.dropped, "truncated": tally.truncated})
    events.write("done", metrics=metrics)


def read_demonstrations(
    run_dir: RunDir, name: str, trainee: Trainee, max_length: int, tally: Tally, events: EventWriter
) -> list[Demonstration]:
    """The demonstrations of a data file; empty responses are dropped and counted. EngineError names a malformed row."""
    found, cut, dropped = [], 0, 0
    for number, row in enumerate(run_dir.rows(name), start=1):
        check_prompt(row, f"{name} row {number}")
        if not isinstance(row.get("response"), str):
            raise EngineError(f"{name} row {number}: response must be text")
        if not isinstance(row.get("response_ended", True), bool):
            raise EngineError(f"{name} row {number}: response_ended must be true or false")
        if not row["response"].strip():
            dropped += 1
            continue
        with of_row(f"{name} row {number}"):
            fitted = render_to_fit(
                trainee.tokenizer, row["prompt"], row["response"], max_length, ended=row.get("response_ended", True)
            )
        cut += bool(fitted.prompt_cut or fitted.response_cut)
        tokens = Tokens(fitted.prompt_ids, fitted.response_ids)
        found.append(Demonstration(str(row.get("id", number)), row["prompt"], tokens))
    if dropped:
        events.write("warning", message=f"{dropped} {name} rows were left out: their responses are empty")
    warn_if_cut(cut, len(found), name, max_length, events)
    tally.dropped += dropped
    tally.truncated += cut
    return found


def accumulate_gradients(trainee: Trainee, examples: Sequence[Tokens], loop: Loop) -> float:
    """Gradients of the mean negative log-probability of these examples' response tokens; returns that mean.

    Of several processes, each has its share of the gradients.
    """
    tokens = sum(len(item.response_ids) for item in examples)
    total = torch.zeros((), device=trainee.device)
    for indices in own_passes(trainee.core, [item.length for item in examples], loop.config.tokens_per_pass):
        loop.leave_if_requested()
        batch = make_pass([examples[index] for index in indices], trainee.device)
        # -Σ_t log π(y_t | x, y_<t) / response tokens of the step
        loss = -response_logprobs(trainee.core, batch).sum() / tokens
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return float(processes.total(total))


def evaluate(loop: Loop, held_out: Sequence[Demonstration], answers: HeldOutAnswers, reference: Reference) -> None:
    """Held-out loss, and fresh answers with their length and KL. Kept in ``loop.state``."""
    began = time.monotonic()
    metrics: Metrics = {}
    if held_out:
        metrics["loss"] = held_out_loss(loop, [item.tokens for item in held_out])
    measured, samples = answers.measure(reference, loop)
    metrics |= measured
    tell_samples(loop.events, loop.step, samples)
    loop.state["after" if loop.step else "before"] = metrics
    loop.events.write("eval", step=loop.step, metrics=metrics)
    loop.evaluated(began)


@torch.no_grad()
def held_out_loss(loop: Loop, examples: Sequence[Tokens]) -> float:
    """Mean negative log-probability of all response tokens."""
    total, done = torch.zeros((), dtype=torch.float64), 0
    for indices in own_passes(loop.trainee.core, [item.length for item in examples], loop.config.tokens_per_pass):
        loop.phase("evaluating", done * processes.count(), len(examples))
        batch = make_pass([examples[index] for index in indices], loop.trainee.device)
        total -= response_logprobs(loop.trainee.core, batch).double().sum().cpu()
        done += len(indices)
    return float(processes.total(total)) / sum(len(item.response_ids) for item in examples)
