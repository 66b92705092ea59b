"""Our arms of DPO, reward model and SFT: the engine's own step, its optimiser, its events, on given ids."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from bench.data import Row, batches_of, read_rows
from bench.levers import CACHED_REFERENCE, LEVERS, Lever
from bench.turns import ArmSpec, Turns, new_folder
from training.engine import dpo, reward, sft
from training.engine.classifier import load_reward_trainee
from training.engine.config import load_config
from training.engine.events import EventWriter
from training.engine.loop import Loop
from training.engine.models import Trainee, load_trainee
from training.engine.packing import Tokens
from training.engine.pairs import Pair
from training.engine.reference import compute_logprobs
from training.engine.run_dir import ModelRef, RunDir, Spec

RANK, ALPHA = 16, 32
# What both sides train with. A small rate: the losses of thousands of turns on the same pairs must stay finite.
SHARED: dict[str, Any] = {"learning_rate": 1e-5, "schedule": "constant", "warmup_share": 0.0, "max_grad_norm": 1.0}
BETA, CENTRING = 0.1, 0.01
MANY_STEPS = 100_000
NO_LEVER = Lever(works=())


@dataclass
class Training:
    """A run that is set up and not begun."""

    run_dir: RunDir
    config: Any
    trainee: Trainee
    loop: Loop
    rows: list[Row]
    batches: list[list[Row]]


def dpo_arm(spec: ArmSpec, turns: Turns) -> None:
    """One optimiser step of DPO a turn."""
    lever = LEVERS.get(spec.without, NO_LEVER)
    with lever.context():
        run = set_up(spec, beta=BETA, **lever.config)
        began = time.perf_counter()
        reference_BK = reference_logprobs(run, run.rows)
        seconds = time.perf_counter() - began
        batches = [
            ([as_pair(row) for row in batch], reference_BK[place * spec.batch :][: len(batch)], batch)
            for place, batch in enumerate(run.batches)
        ]
        if spec.proof:
            pairs, known_BK, _ = batches[0]
            metrics = dpo.accumulate_gradients(run.trainee, pairs, known_BK, run.config, run.loop)
            prove(run, metrics["loss"], turns)
        turns.ready(reference_seconds=seconds)
        for pairs, known_BK, rows in itertools.cycle(batches):
            turns.wait()
            if spec.without == CACHED_REFERENCE:
                known_BK = reference_logprobs(run, rows)
            metrics = dpo.accumulate_gradients(run.trainee, pairs, known_BK, run.config, run.loop)
            finish(run, metrics, sum(row.pair_tokens for row in rows), turns)


def reward_arm(spec: ArmSpec, turns: Turns) -> None:
    """One optimiser step of the reward model a turn."""
    lever = LEVERS.get(spec.without, NO_LEVER)
    with lever.context():
        run = set_up(spec, centring=CENTRING, **lever.config)
        batches = [([as_pair(row) for row in batch], batch) for batch in run.batches]
        if spec.proof:
            metrics = reward.accumulate_gradients(run.trainee, batches[0][0], run.config, run.loop)
            prove(run, metrics["loss"], turns)
        turns.ready()
        for pairs, rows in itertools.cycle(batches):
            turns.wait()
            metrics = reward.accumulate_gradients(run.trainee, pairs, run.config, run.loop)
            finish(run, metrics, sum(row.pair_tokens for row in rows), turns)


def sft_arm(spec: ArmSpec, turns: Turns) -> None:
    """One optimiser step of SFT on the chosen answers a turn."""
    lever = LEVERS.get(spec.without, NO_LEVER)
    with lever.context():
        run = set_up(spec, **lever.config)
        batches = [([Tokens(row.prompt_ids, row.chosen_ids) for row in batch], batch) for batch in run.batches]
        if spec.proof:
            prove(run, sft.accumulate_gradients(run.trainee, batches[0][0], run.loop), turns)
        turns.ready()
        for examples, rows in itertools.cycle(batches):
            turns.wait()
            loss = sft.accumulate_gradients(run.trainee, examples, run.loop)
            finish(run, {"loss": loss}, sum(row.chosen_tokens for row in rows), turns)


def set_up(spec: ArmSpec, **options: Any) -> Training:
    """Model with the given adapter, optimiser and loop, as the engine makes them; no checkpoint falls into a turn."""
    rows = read_rows(spec.data)
    config = {
        **SHARED,
        "lora_rank": RANK,
        "lora_alpha": ALPHA,
        "batch_size": spec.batch,
        "precision": spec.precision,
        "max_steps": MANY_STEPS,
        "checkpoint_every": MANY_STEPS,
        **spec.options,
        **options,
    }
    run_dir = RunDir.create(
        new_folder(spec, "run"), Spec(method=spec.work, config=config, models={"base": ModelRef(spec.model)}), {}
    )
    stored = run_dir.spec()
    checked: Any = load_config(spec.work, config)
    trainee = (load_reward_trainee if spec.work == "reward" else load_trainee)(stored, checked)
    put_weights(trainee.trainable(), spec.adapter)
    row_ids = [str(number) for number in range(len(rows))]
    loop = Loop(run_dir, checked, EventWriter(run_dir.events_path), trainee, row_ids=row_ids, seed=0)
    return Training(run_dir, checked, trainee, loop, rows, batches_of(rows, spec.batch))


def put_weights(parameters: dict[str, nn.Parameter], path: str) -> None:
    """The same start for every arm. ValueError unless both sides train exactly the same weights."""
    found = load_file(path)
    if set(found) != set(parameters):
        raise ValueError(f"other weights are trained than {path} holds: {sorted(set(found) ^ set(parameters))[:3]}")
    for name, item in parameters.items():
        item.data.copy_(found[name])


def as_pair(row: Row) -> Pair:
    return Pair(
        id="",
        messages=[],
        chosen=Tokens(row.prompt_ids, row.chosen_ids),
        rejected=Tokens(row.prompt_ids, row.rejected_ids),
        margin=0.0,
        weight=1.0,
    )


def reference_logprobs(run: Training, rows: Sequence[Row]) -> Tensor:
    """log π_ref of both answers of every pair, (pairs, 2), as a DPO run computes it before its first step."""
    with run.trainee.as_reference():
        found_BK, _ = compute_logprobs(run.trainee.core, [as_pair(row) for row in rows], [], run.loop)
    return found_BK


def prove(run: Training, loss: float, turns: Turns) -> None:
    """Leave loss and gradients of the first batch, then forget them."""
    parameters = run.trainee.trainable()
    turns.prove(loss, {name: item.grad for name, item in parameters.items() if item.grad is not None})
    run.loop.optimiser.zero_grad(set_to_none=True)


def finish(run: Training, metrics: dict[str, float], tokens: int, turns: Turns) -> None:
    """Clip, step, write the event, and say that the turn is over."""
    run.loop.finish_step(metrics, tokens=tokens)
    turns.done(tokens)
