"""Our arms of PPO: the engine's own iteration on given prompts.

Answers run to their full length on both sides (no token ends one), so that every arm does the same work; the guards
that end an iteration early are set out of reach for the same reason.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.data import Row, read_rows
from bench.ours import ALPHA, RANK, put_weights
from bench.turns import ArmSpec, Turns, new_folder
from training.engine import ppo
from training.engine.config import PPOConfig, load_config
from training.engine.events import EventWriter
from training.engine.ppo_loading import prepare
from training.engine.ppo_models import POLICY, make_batch
from training.engine.ppo_rollout import Prompt
from training.engine.ppo_state import PPO
from training.engine.run_dir import ModelRef, RunDir, Spec

NEW_TOKENS, EPOCHS, MINIBATCHES = 32, 4, 4
LEARNING_RATE = 1e-6
OUT_OF_REACH = 1e3


def ppo_arm(spec: ArmSpec, turns: Turns) -> None:
    """One iteration a turn: answers, scores, advantages, epochs of updates."""
    rows = read_rows(spec.data)
    run = set_up(spec, rows)
    if spec.proof:
        prove(run, rows, turns)
    turns.ready()
    prompt_tokens = sum(len(row.prompt_ids) for row in rows)
    while True:
        turns.wait()
        metrics = ppo.iterate(run)
        steps = round(metrics["optimizer_steps"])
        if steps != EPOCHS * MINIBATCHES:
            raise RuntimeError(f"an iteration took {steps} optimiser steps, not {EPOCHS * MINIBATCHES}")
        parts = {name: value for name, value in metrics.items() if name.endswith("_seconds")}
        turns.done(prompt_tokens + round(metrics["response_tokens"] * len(rows)), **parts)


def set_up(spec: ArmSpec, rows: list[Row]) -> PPO:
    """A PPO run on these prompts that has not begun, with the given adapter."""
    config: dict[str, Any] = {
        "iterations": 100_000,
        "rollout_batch": len(rows),
        "minibatches": MINIBATCHES,
        "epochs": EPOCHS,
        "max_new_tokens": int(spec.options.get("new_tokens", NEW_TOKENS)),
        "learning_rate": LEARNING_RATE,
        "value_learning_rate": LEARNING_RATE,
        "max_ratio_deviation": OUT_OF_REACH,
        "max_approx_kl": OUT_OF_REACH,
        "max_kl": 0.0,
        "lora_rank": RANK,
        "lora_alpha": ALPHA,
        "precision": spec.precision,
        "value_backbone": spec.options.get("value_backbone", "shared"),
    }
    models = {"base": ModelRef(spec.model), "reward": ModelRef(spec.model, spec.reward)}
    message = [{"role": "user", "content": "The ids are put in its place."}]
    run_dir = RunDir.create(
        new_folder(spec, "run"), Spec("ppo", config, 0, models), {"train": [{"prompt": message} for _ in rows]}
    )
    checked = load_config("ppo", config)
    assert isinstance(checked, PPOConfig)
    run = prepare(run_dir, run_dir.spec(), checked, EventWriter(run_dir.events_path))
    run.train = [Prompt(str(place), message, row.prompt_ids, False) for place, row in enumerate(rows)]
    run.stop_ids = frozenset()
    weights = {name: item for name, item in run.models.policy_parameters().items() if f".{POLICY}." in name}
    put_weights(weights, spec.adapter)
    return run


def prove(run: PPO, rows: list[Row], turns: Turns) -> None:
    """Log-probs of the chosen answers under policy and reference, their scores, and the policy's gradients."""
    device = run.models.trainee.device
    batch = make_batch([row.prompt_ids for row in rows], [row.chosen_ids for row in rows], device)
    mask_BR = batch.is_response_BR
    logprob_BR = run.models.policy(batch).logprob_BR
    loss = -logprob_BR[mask_BR].mean()
    loss.backward()  # type: ignore[no-untyped-call]
    found: dict[str, Tensor] = {
        name: item.grad for name, item in run.models.policy_parameters().items() if item.grad is not None
    }
    with torch.no_grad():
        found["policy's log-probs"] = logprob_BR[mask_BR]
        found["reference's log-probs"] = run.models.reference_logprobs(batch)[mask_BR]
        found["scores"] = run.models.scores(batch)
    turns.prove(float(loss), found)
    run.optimizer.zero_grad(set_to_none=True)
