"""Proximal policy optimisation against a reward model (Schulman et al. 2017, 1707.06347; RLHF: Ziegler et al. 2019,
1909.08593; Ouyang et al. 2022, 2203.02155). The details that make it work:

 1. No dropout in any model, so that the same weights give the same log-probs twice.
 2. The first minibatch of each iteration must find ratio 1, clip fraction 0 and KL 0 to the rollout, or the run stops.
 3. Prompts are left-padded while sampling (positions from the mask) and packed in training; masks go by length.
 4. Log-probs of rollout, reference and training divide logits by the sampling temperature; nothing is truncated.
 5. The log-probs of the ratio come from the training forward, in the same micro-batches, not from the sampler.
 6. The score is paid at the last token; an answer that did not end pays a penalty.
 7. KL to the reference is paid per token, estimator k1; k3 is only logged. β is fixed or steered to a target. A rollout
    whose KL passes `max_kl` ends training, and the policy of the last rollout below it is the result.
 8. Scores are normalised by the reward model's stored mean and std, then clipped.
 9. Advantages by GAE; the value after the last token is 0.
10. Advantages are standardised over all response tokens of the rollout.
11. One rollout holds many answers, each minibatch a random part of them.
12. The reference may follow the policy as a moving average; off by default.
13. Clipped policy and value losses, clipped gradient norm, Adam with eps 1e-5.
14. The value function has its own learning rate and may be trained alone at first; it starts as the reward model,
    its scores normalised, or at 0 where it is a head on the policy.
15. Losses are divided by the response tokens of the whole minibatch, not averaged over micro-batches.
16. An iteration's epochs end when the policy has moved too far; log-ratios are clamped; the run stops when a loss or
    gradient is not finite.
17. One frozen backbone carries policy, value and reward as adapters; the reference is that backbone with adapters off.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.engine import chat, ppo_maths, processes, stop
from training.engine.batches import tokens_of_pass
from training.engine.config import PPOConfig
from training.engine.errors import EngineError
from training.engine.events import EventWriter
from training.engine.generate import Sample, generate
from training.engine.models import derived_seed
from training.engine.ppo_loading import prepare
from training.engine.ppo_models import POLICY
from training.engine.ppo_rollout import (
    Clock,
    Minibatches,
    Piece,
    Prompt,
    choose_prompts,
    cut_micro_batches,
    cut_minibatches,
    describe_advantages,
    describe_rollout,
    mean_of,
    name_prompts,
    over_own_tokens,
    retell,
)
from training.engine.ppo_state import (
    PPO,
    Metrics,
    go_back_below,
    is_over_bound,
    keep_below,
    resume,
    save_checkpoint,
    undone_by_sigterm,
)
from training.engine.run_dir import RunDir, Spec, write_json
from training.engine.saving import save_trained
from training.engine.schedule import learning_rate

ALARM = 1e-5  # detail 2
TOLD = ("loss", "policy_loss", "value_loss", "ratio", "ratio_deviation", "clip_fraction", "approx_kl")  # of a minibatch


def run(run_dir: RunDir, spec: Spec, config: PPOConfig, events: EventWriter) -> None:
    """Align the base model with the reward model. EngineError says in one sentence why a run cannot be."""
    began = time.monotonic()
    events.write("phase", name="loading model", done=0, total=1)
    ppo = prepare(run_dir, spec, config, events)
    if not resume(run_dir, ppo, events):
        evaluation = evaluate(ppo)
        ppo.before = evaluation.metrics
        tell_evaluation(ppo, evaluation, events)
    while ppo.iteration < config.iterations and not ppo.over:
        started = time.monotonic()
        with undone_by_sigterm(run_dir, ppo, events):
            metrics = iterate(ppo)
        over = is_over_bound(ppo, metrics["kl"])
        if over:
            go_back_below(ppo, metrics["kl"], events)
        eta = 0.0 if over else (time.monotonic() - started) * (config.iterations - ppo.iteration)
        events.write("step", step=ppo.iteration, total_steps=config.iterations, eta_s=round(eta, 1), metrics=metrics)
        last = over or ppo.iteration == config.iterations
        if last or ppo.iteration % config.checkpoint_every == 0 or processes.any_of(stop.requested()):
            save_checkpoint(run_dir, ppo, events)
        stop.leave_if_requested()
    evaluation = evaluate(ppo)
    if not ppo.over and is_over_bound(ppo, evaluation.metrics["kl"]):  # no rollout has measured the last update
        go_back_below(ppo, evaluation.metrics["kl"], events)
        evaluation = evaluate(ppo)
    tell_evaluation(ppo, evaluation, events)
    finish(run_dir, ppo, events, evaluation.metrics, seconds=time.monotonic() - began)


# 1. One iteration.


def iterate(ppo: PPO) -> Metrics:
    """Sample, score, estimate advantages, and train on the rollout. Returns what is logged.

    Raises Stopped on SIGTERM: before the first update always, between updates if the iteration can be undone.
    """
    config, iteration, clock = ppo.config, ppo.iteration, Clock()

    # Answers from the current policy.
    ppo.tell("sampling answers", 0, config.rollout_batch)
    prompts = choose_prompts(ppo.train, size=config.rollout_batch, iteration=iteration, seed=ppo.spec.seed)
    samples = answer(ppo, prompts, seed=derived_seed(ppo.spec.seed, "rollout", iteration))
    clock.lap("generation", sum(len(sample.token_ids) for sample in samples))

    # Scores, log-probs and values, in the micro-batches that training will use.
    minibatches = cut_minibatches(
        prompts,
        samples,
        config.minibatches,
        tokens_of_pass(config.tokens_per_pass, ppo.models.trainee.core),
        ppo.models.trainee.device,
        seed=derived_seed(ppo.spec.seed, "minibatches", iteration),
    )
    pieces = [piece for minibatch in minibatches for piece in minibatch]
    for done, piece in enumerate(pieces):
        stop.leave_if_requested()
        ppo.tell("scoring answers", done, len(pieces))
        measure(ppo, piece)
    tokens = processes.total_of(sum(piece.batch.tokens for piece in pieces))
    clock.lap("scoring", tokens)
    metrics = describe_rollout(pieces) | {"beta": ppo.beta}

    # No update from beyond the bound on KL.
    if is_over_bound(ppo, metrics["kl"]):
        ppo.iteration += 1
        return metrics | clock.rates | {"optimizer_steps": 0.0}
    keep_below(ppo)

    # Rewards and advantages.
    for piece in pieces:
        estimate(ppo, piece)
    metrics |= describe_advantages(pieces)
    standardize_all(pieces)

    # Clipped updates.
    rate = set_learning_rates(ppo)
    steps = train_on(ppo, minibatches)
    clock.lap("training", tokens * max(1, len(steps) // len(minibatches)))
    if config.adaptive_beta:
        ppo.beta = ppo_maths.adapt_beta(
            ppo.beta, kl=metrics["kl"], target=config.kl_target, horizon=config.kl_horizon, answers=len(samples)
        )
    ppo.iteration += 1
    return metrics | mean_of(steps) | clock.rates | {"lr": rate, "optimizer_steps": float(len(steps))}


def answer(ppo: PPO, prompts: list[Prompt], *, seed: int) -> list[Sample]:
    """One answer of the current policy to each prompt."""
    ppo.models.activate(POLICY)
    return generate(
        ppo.models.trainee.core,
        [prompt.ids for prompt in prompts],
        numbers=list(range(len(prompts))),
        stop_ids=ppo.stop_ids,
        max_new_tokens=ppo.config.max_new_tokens,
        temperature=ppo.config.temperature,
        seed=seed,
        batch_rows=len(prompts),
        on_token=stop.leave_if_requested,
    )


@torch.no_grad()
def measure(ppo: PPO, piece: Piece) -> None:
    """Score, log-probs under policy and reference, values: everything about a rollout that training holds fixed."""
    models, batch, reader = ppo.models, piece.batch, ppo.models.reader
    policy, piece.entropy_BR = models.policy_and_entropy(batch)
    piece.old_logprob_BR, piece.old_value_BR = policy.logprob_BR, models.values(batch, policy.hidden_NH)
    piece.reference_logprob_BR = models.reference_logprobs(batch)
    piece.kl_BR = ppo_maths.kl_k1(piece.old_logprob_BR, piece.reference_logprob_BR)
    read = batch if reader is None else retell(piece, models.trainee.tokenizer, reader.tokenizer, reader.max_length)
    piece.score_B = ppo_maths.normalized_score(
        models.scores(read), mean=ppo.score_mean, std=ppo.score_std, clip=ppo.config.reward_clip
    )


def estimate(ppo: PPO, piece: Piece) -> None:
    """Rewards per token, then advantages and returns (details 6 to 9)."""
    config, is_response_BR = ppo.config, piece.batch.is_response_BR
    score_B = piece.score_B - torch.where(piece.ended(), 0.0, config.missing_eos_penalty)
    reward_BR = ppo_maths.token_rewards(score_B, piece.kl_BR, is_response_BR, beta=ppo.beta)
    piece.advantage_BR, piece.return_BR = ppo_maths.gae(
        reward_BR, piece.old_value_BR, is_response_BR, gamma=config.gamma, lambda_=config.gae_lambda
    )


def standardize_all(pieces: list[Piece]) -> None:
    """Advantages of the whole rollout to mean 0 and variance 1 (detail 10)."""
    own_N = over_own_tokens(pieces, lambda piece: piece.advantage_BR)
    advantage_1N = processes.concatenated(own_N)[None]
    standard_N = ppo_maths.standardize(advantage_1N, torch.ones_like(advantage_1N, dtype=torch.bool))[0]
    own_N = processes.own_part(standard_N, len(own_N))
    for piece, part_N in zip(pieces, torch.split(own_N, [piece.response_tokens for piece in pieces]), strict=True):
        piece.advantage_BR = torch.zeros_like(piece.advantage_BR).masked_scatter(piece.batch.is_response_BR, part_N)


# 2. Training on a rollout.


def set_learning_rates(ppo: PPO) -> float:
    """The schedule, by iteration, for policy and value. Returns the policy's rate."""
    config = ppo.config
    for group in ppo.optimizer.param_groups:
        group["lr"] = learning_rate(
            ppo.iteration + 1,
            config.iterations,
            peak=group["peak_lr"],
            warmup_share=config.warmup_share,
            shape=config.schedule,
        )
    return float(ppo.optimizer.param_groups[0]["lr"])


def train_on(ppo: PPO, minibatches: Minibatches) -> list[Metrics]:
    """Epochs over the rollout until they are done or the policy has moved too far. Returns the metrics of each step."""
    config = ppo.config
    steps: list[Metrics] = []
    generator = torch.Generator().manual_seed(derived_seed(ppo.spec.seed, "epochs", ppo.iteration))
    for epoch in range(config.epochs):
        for place in torch.randperm(len(minibatches), generator=generator).tolist():
            if ppo.can_undo:
                stop.leave_if_requested()
            ppo.tell("training", len(steps), config.epochs * len(minibatches))
            metrics = accumulate(ppo, minibatches[place])
            batch = name_prompts(minibatches[place])
            where = f"iteration {ppo.iteration + 1}, epoch {epoch + 1}, minibatch {place + 1} ({batch})"
            check_finite(metrics, where)
            if not steps:
                check_first(metrics, where)
            if metrics["ratio_deviation"] > config.max_ratio_deviation or metrics["approx_kl"] > config.max_approx_kl:
                ppo.optimizer.zero_grad(set_to_none=True)
                return steps
            metrics["grad_norm"] = step(ppo, where)
            steps.append(metrics)
            if config.ema_rate > 0:
                ppo.models.move_reference(config.ema_rate)
    return steps


def accumulate(ppo: PPO, minibatch: list[Piece]) -> Metrics:
    """Add up the gradients of a minibatch, piece by piece; returns its losses and how far the policy has moved.

    Of several processes, each has its share of the gradients; what is returned is of the whole minibatch.
    """
    config, models = ppo.config, ppo.models
    learns = ppo.iteration >= config.value_warmup  # the policy; the value always does
    shared = models.shares_value_backbone()
    tokens = processes.total_of(sum(piece.response_tokens for piece in minibatch))
    totals: dict[str, Tensor | float] = dict.fromkeys(TOLD, 0.0)
    for piece in minibatch:
        is_response_BR = piece.batch.is_response_BR
        with torch.set_grad_enabled(learns):
            policy = models.policy(piece.batch)
            policy_loss = ppo_maths.policy_loss(
                policy.logprob_BR,
                piece.old_logprob_BR,
                piece.advantage_BR,
                is_response_BR,
                clip=config.clip,
                tokens=tokens,
            )
        if learns and not shared:
            # Before the value's adapter speaks: a backward pass that recomputes must find the policy's.
            policy_loss.backward()  # type: ignore[no-untyped-call]
        value_loss = ppo_maths.value_loss(
            models.values(piece.batch, policy.hidden_NH),
            piece.old_value_BR,
            piece.return_BR,
            is_response_BR,
            clip=config.value_clip,
            tokens=tokens,
        )
        loss = config.value_coefficient * value_loss
        (policy_loss + loss if learns and shared else loss).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            told = {"loss": policy_loss + loss, "policy_loss": policy_loss, "value_loss": value_loss}
            told |= ppo_maths.movement(
                policy.logprob_BR, piece.old_logprob_BR, is_response_BR, clip=config.clip, tokens=tokens
            )
            for name, value in told.items():
                totals[name] += value
    return processes.totals({name: float(value) for name, value in totals.items()})


def step(ppo: PPO, where: str) -> float:
    """Clip the gradients of policy and value apart, take the step, and return the policy's gradient norm."""
    bound = ppo.config.max_grad_norm
    processes.sum_gradients(list(ppo.models.trainable().values()))
    norm = float(nn.utils.clip_grad_norm_(ppo.models.policy_parameters().values(), bound))
    value_norm = float(nn.utils.clip_grad_norm_(ppo.models.value_parameters().values(), bound))
    check_finite({"gradient": norm, "gradient of the value": value_norm}, where)
    if norm == 0 and ppo.iteration == ppo.config.value_warmup:
        raise EngineError(f"{where}: the policy's gradient is 0, so nothing would be learnt")
    ppo.optimizer.step()
    ppo.optimizer.zero_grad(set_to_none=True)
    return norm


def check_first(metrics: Metrics, where: str) -> None:
    """The cheapest alarm there is (detail 2): before the first step the policy is the one that was measured."""
    if metrics["ratio_deviation"] > ALARM or metrics["clip_fraction"] > 0 or metrics["approx_kl"] > ALARM:
        raise EngineError(
            f"{where}: the policy's log-probs are not those of the rollout although no step was taken "
            f"(mean |ratio - 1| {metrics['ratio_deviation']:.2g}); the forward pass is not reproducible"
        )


def check_finite(metrics: Metrics, where: str) -> None:
    """EngineError naming the place when a loss is not a number; the checkpoint before stays as it is."""
    wrong = [name for name, value in metrics.items() if not math.isfinite(value)]
    if wrong:
        raise EngineError(f"{where}: {wrong[0].replace('_', ' ')} is not finite; lower the learning rate")


# 3. What is told.


@dataclass(frozen=True)
class Evaluation:
    """Means over the held-out prompts, and some of the answers."""

    metrics: Metrics
    samples: list[dict[str, object]]


def evaluate(ppo: PPO) -> Evaluation:
    """Answer the same held-out prompts with the same seed as every time, and score the answers."""
    ppo.tell("evaluating", 0, len(ppo.held_out))
    samples = answer(ppo, ppo.held_out, seed=derived_seed(ppo.spec.seed, "evaluation"))
    every = list(range(len(samples)))
    trainee = ppo.models.trainee
    room = tokens_of_pass(ppo.config.tokens_per_pass, trainee.core)
    pieces = cut_micro_batches(ppo.held_out, samples, every, room, trainee.device)
    for piece in pieces:
        measure(ppo, piece)
    score_B = torch.zeros(len(samples))
    for piece in pieces:
        score_B[piece.rows] = piece.score_B.cpu()
    scores = processes.total(score_B).tolist()
    shown: list[dict[str, object]] = [
        {
            "id": ppo.held_out[row].id,
            "prompt": ppo.held_out[row].messages,
            "text": chat.decode(ppo.models.trainee.tokenizer, samples[row].token_ids),
            "ended": samples[row].ended,
            "tokens": len(samples[row].token_ids),
            "score": scores[row],
        }
        for row in every[: ppo.config.sample_prompts]
    ]
    return Evaluation(describe_rollout(pieces), shown)


def tell_evaluation(ppo: PPO, evaluation: Evaluation, events: EventWriter) -> None:
    """Write the events of an evaluation."""
    events.write("eval", step=ppo.iteration, metrics=evaluation.metrics)
    events.write("sample", step=ppo.iteration, samples=evaluation.samples)


def finish(run_dir: RunDir, ppo: PPO, events: EventWriter, after: Metrics, *, seconds: float) -> None:
    """Save the policy, the manifest and the result."""
    events.write("phase", name="saving", done=0, total=1)
    save_trained(
        run_dir, ppo.models.only_policy(), base=ppo.spec.models["base"], kind="policy", extra={"method": "ppo"}
    )
    metrics = after | {f"{name}_before": value for name, value in ppo.before.items()} | {"beta": ppo.beta}
    result = {
        "method": "ppo",
        "metrics": metrics,
        "seconds": round(seconds, 1),
        "steps": ppo.iteration,
        "kept_iteration": ppo.below_iteration if ppo.over else ppo.iteration,
        "dropped": 0,
        "truncated": sum(prompt.cut for prompt in ppo.train),
    }
    write_json(run_dir.result_path, result)
    events.write("done", metrics=metrics)
