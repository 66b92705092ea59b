"""Proximal policy optimisation against a reward model (Schulman et al. 2017, 1707.06347; RLHF: Ziegler et al. 2019,
1909.08593; Ouyang et al. 2022, 2203.02155). The details that make it work:

 1. No dropout in any model, so that the same weights give the same log-probs twice.
 2. The first minibatch of each iteration must find ratio 1, clip fraction 0 and KL 0 to the rollout, or the run stops.
 3. Prompts are left-padded while sampling (positions from the mask) and right-padded in training; masks go by length.
 4. Log-probs of rollout, reference and training divide logits by the sampling temperature; nothing is truncated.
 5. The log-probs of the ratio come from the training forward, in the same micro-batches, not from the sampler.
 6. The score is paid at the last token; an answer that did not end pays a penalty.
 7. KL to the reference is paid per token, estimator k1; k3 is only logged. β is fixed or steered to a target.
 8. Scores are normalised by the reward model's stored mean and std, then clipped.
 9. Advantages by GAE; the value after the last token is 0.
10. Advantages are standardised over all response tokens of the rollout.
11. One rollout holds many answers, each minibatch a random part of them.
12. The reference may follow the policy as a moving average; off by default.
13. Clipped policy and value losses, clipped gradient norm, Adam with eps 1e-5.
14. The value function has its own learning rate and may be trained alone at first; it starts as the reward model, or
    at 0 where it is a head on the policy.
15. Losses are divided by the response tokens of the whole minibatch, not averaged over micro-batches.
16. An iteration's epochs end when the policy has moved too far; log-ratios are clamped; the run stops when a loss or
    gradient is not finite.
17. One frozen backbone carries policy, value and reward as adapters; the reference is that backbone with adapters off.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.engine import chat, checkpoint, ppo_maths, stop
from training.engine.batches import cut_by_length
from training.engine.config import PPOConfig
from training.engine.errors import EngineError, Stopped
from training.engine.events import EventWriter
from training.engine.generate import Sample, generate, stop_token_ids
from training.engine.models import derived_seed
from training.engine.ppo_loading import load_models, reward_statistics
from training.engine.ppo_models import PPOModels, make_batch
from training.engine.ppo_rollout import Clock, Piece, describe_advantages, describe_rollout, mean_of
from training.engine.run_dir import RunDir, Spec, write_json
from training.engine.sample import prompt_room
from training.engine.saving import save_trained
from training.engine.schedule import learning_rate

ADAM_EPSILON = 1e-5  # detail 13
ALARM = 1e-5  # detail 2
MANY_CUT = 0.05


@dataclass(frozen=True)
class Prompt:
    """A prompt of the data file and its ids."""

    id: str
    messages: list[dict[str, str]]
    ids: list[int]
    cut: bool


Minibatches = list[list[Piece]]


@dataclass
class PPO:
    """Everything a run holds on to. `beta` moves when it is adaptive; `iteration` counts the finished ones."""

    spec: Spec
    config: PPOConfig
    models: PPOModels
    optimizer: torch.optim.Optimizer
    train: list[Prompt]
    held_out: list[Prompt]
    stop_ids: frozenset[int]
    score_mean: float
    score_std: float
    beta: float
    iteration: int = 0
    tell: Callable[[str, int, int], None] = lambda name, done, total: None  # what is being done, and how far it is


def run(run_dir: RunDir, spec: Spec, config: PPOConfig, events: EventWriter) -> None:
    """Align the base model with the reward model. EngineError says in one sentence why a run cannot be."""
    began = time.monotonic()
    events.write("phase", name="loading model", done=0, total=1)
    ppo = prepare(run_dir, spec, config, events)
    trained = sum(item.numel() for item in ppo.models.policy_parameters().values())
    events.write(
        "start",
        total_steps=config.iterations,
        device=str(ppo.models.trainee.device),
        parameters=sum(item.numel() for item in ppo.models.trainee.core.parameters()),
        trainable_parameters=trained,
        train_rows=len(ppo.train),
        eval_rows=len(ppo.held_out),
    )
    before = resume(run_dir, ppo) or evaluate(ppo, events, step=0)
    while ppo.iteration < config.iterations:
        started = time.monotonic()
        metrics = iterate_or_leave(run_dir, ppo, before, events)
        eta = (time.monotonic() - started) * (config.iterations - ppo.iteration)
        events.write("step", step=ppo.iteration, total_steps=config.iterations, eta_s=round(eta, 1), metrics=metrics)
        if ppo.iteration % config.checkpoint_every == 0 or ppo.iteration == config.iterations or stop.requested():
            save_checkpoint(run_dir, ppo, before, events)
        stop.leave_if_requested()
    after = evaluate(ppo, events, step=config.iterations)
    finish(run_dir, ppo, events, before, after, seconds=time.monotonic() - began)


# 1. What a run needs.


def prepare(run_dir: RunDir, spec: Spec, config: PPOConfig, events: EventWriter) -> PPO:
    """Load models and prompts and set up the optimiser. EngineError for anything missing."""
    models = load_models(spec, config)
    tokenizer, core = models.trainee.tokenizer, models.trainee.core
    room = prompt_room(core.config, max_length=config.max_length, max_new_tokens=config.max_new_tokens)

    def prompts(name: str) -> list[Prompt]:
        found = []
        for place, row in enumerate(run_dir.rows(name)):
            rendered = chat.render_to_fit(tokenizer, row["prompt"], None, room)
            found.append(Prompt(str(row.get("id", place)), row["prompt"], rendered.prompt_ids, rendered.prompt_cut > 0))
        return found

    def tell(name: str, done: int, total: int) -> None:
        events.write("phase", name=name, done=done, total=total)

    train, held_out = prompts("train"), prompts("eval")[: config.eval_prompts]
    if not train:
        raise EngineError("there is no prompt to train on: the data file 'train' is missing or empty")
    if not held_out:
        held_out = train[: config.eval_prompts]
        events.write("warning", message="No prompt is held out: the evaluation uses training prompts.")
    cut = sum(prompt.cut for prompt in train)
    if cut > MANY_CUT * len(train):
        events.write("warning", message=f"{cut} of {len(train)} prompts are too long and lost their beginning.")
    groups = [
        {"params": list(models.policy_parameters().values()), "peak_lr": config.learning_rate},
        {"params": list(models.value_parameters().values()), "peak_lr": config.value_learning_rate},
    ]
    ppo = PPO(
        spec=spec,
        config=config,
        models=models,
        optimizer=torch.optim.Adam(groups, lr=config.learning_rate, eps=ADAM_EPSILON),
        train=train,
        held_out=held_out,
        stop_ids=stop_token_ids(core, tokenizer),
        score_mean=0.0,
        score_std=1.0,
        beta=config.beta,
        tell=tell,
    )
    statistics = reward_statistics(spec.models["reward"])
    if statistics is None:
        events.write("warning", message="The reward model has no stored mean and std: its scores are used as they are.")
    else:
        ppo.score_mean, ppo.score_std = statistics
    return ppo


def save_checkpoint(run_dir: RunDir, ppo: PPO, before: dict[str, float], events: EventWriter) -> None:
    """Write what a resumed run needs: weights, optimiser, a moving reference, β and the first evaluation."""
    tensors = checkpoint.training_tensors(ppo.models.trainable(), ppo.optimizer)
    tensors |= {f"reference/{name}": item for name, item in ppo.models.moving_reference().items()}
    state = {"beta": ppo.beta, "before": before}
    path = checkpoint.save(run_dir, ppo.iteration, tensors, state, keep=ppo.config.keep_checkpoints)
    events.write("checkpoint", step=ppo.iteration, path=str(path.relative_to(run_dir.path)))


def resume(run_dir: RunDir, ppo: PPO) -> dict[str, float] | None:
    """Go on from the newest checkpoint. Returns the evaluation from before training, None when there is none."""
    found = checkpoint.load_latest(run_dir)
    if found is None:
        return None
    checkpoint.restore_training(ppo.models.trainable(), ppo.optimizer, found.tensors)
    with torch.no_grad():
        for name, item in ppo.models.moving_reference().items():
            item.copy_(found.tensors[f"reference/{name}"])
    ppo.iteration, ppo.beta = found.step, float(found.state["beta"])
    return dict(found.state["before"])


def iterate_or_leave(run_dir: RunDir, ppo: PPO, before: dict[str, float], events: EventWriter) -> dict[str, float]:
    """One iteration; SIGTERM in its midst undoes it and leaves a checkpoint of its start.

    The copy that undoes it is small for adapters. Full training finishes the iteration's updates instead.
    """
    start = None
    if ppo.models.trainee.peft is not None:
        start = checkpoint.training_tensors(ppo.models.trainable(), ppo.optimizer)
        start |= {f"reference/{name}": item for name, item in ppo.models.moving_reference().items()}
        start = {name: item.detach().clone() for name, item in start.items()}
    try:
        return iterate(ppo, may_leave=start is not None)
    except Stopped:
        if start is not None:
            ppo.optimizer.state.clear()
            checkpoint.restore_training(ppo.models.trainable(), ppo.optimizer, start)
            with torch.no_grad():
                for name, item in ppo.models.moving_reference().items():
                    item.copy_(start[f"reference/{name}"])
        save_checkpoint(run_dir, ppo, before, events)
        raise


# 2. One iteration.


def iterate(ppo: PPO, *, may_leave: bool) -> dict[str, float]:
    """Sample, score, estimate advantages, and train on the rollout. Returns what is logged.

    Raises Stopped on SIGTERM: before the first update always, between updates if it `may_leave`.
    """
    config, iteration = ppo.config, ppo.iteration
    clock = Clock()

    # Answers from the current policy.
    ppo.tell("sampling answers", 0, config.rollout_batch)
    prompts = choose_prompts(ppo, iteration)
    samples = answer(ppo, prompts, seed=derived_seed(ppo.spec.seed, "rollout", iteration))
    clock.lap("generation", sum(len(sample.token_ids) for sample in samples))

    # Scores, log-probs and values, in the micro-batches that training will use.
    minibatches = cut_minibatches(ppo, prompts, samples, iteration)
    pieces = [piece for minibatch in minibatches for piece in minibatch]
    for done, piece in enumerate(pieces):
        stop.leave_if_requested()
        ppo.tell("scoring answers", done, len(pieces))
        measure(ppo, piece)
    clock.lap("scoring", sum(piece.batch.tokens for piece in pieces))

    # Rewards and advantages.
    for piece in pieces:
        estimate(ppo, piece)
    advantages = describe_advantages(pieces)
    standardize_all(pieces)

    # Clipped updates.
    set_learning_rates(ppo)
    steps = train_on(ppo, minibatches, may_leave=may_leave)
    clock.lap("training", sum(piece.batch.tokens for piece in pieces) * max(1, len(steps) // len(minibatches)))

    metrics = describe_rollout(pieces) | advantages | mean_of(steps) | clock.rates()
    metrics |= {"beta": ppo.beta, "lr": ppo.optimizer.param_groups[0]["lr"], "optimizer_steps": float(len(steps))}
    if config.adaptive_beta:
        ppo.beta = ppo_maths.adapt_beta(
            ppo.beta, kl=metrics["kl"], target=config.kl_target, horizon=config.kl_horizon, answers=len(samples)
        )
    ppo.iteration += 1
    return metrics


def choose_prompts(ppo: PPO, iteration: int) -> list[Prompt]:
    """The prompts of an iteration: the training prompts in a new order each time round, nothing remembered."""
    count, size = len(ppo.train), ppo.config.rollout_batch
    chosen = []
    orders: dict[int, list[int]] = {}
    for place in range(iteration * size, (iteration + 1) * size):
        turn, offset = divmod(place, count)
        if turn not in orders:
            generator = torch.Generator().manual_seed(derived_seed(ppo.spec.seed, "prompts", turn))
            orders[turn] = torch.randperm(count, generator=generator).tolist()
        chosen.append(ppo.train[orders[turn][offset]])
    return chosen


def answer(ppo: PPO, prompts: list[Prompt], *, seed: int) -> list[Sample]:
    """One answer of the current policy to each prompt."""
    ppo.models.activate("default")
    return generate(
        ppo.models.trainee.core,
        [prompt.ids for prompt in prompts],
        numbers=list(range(len(prompts))),
        stop_ids=ppo.stop_ids,
        max_new_tokens=ppo.config.max_new_tokens,
        temperature=ppo.config.temperature,
        seed=seed,
        on_token=stop.leave_if_requested,
    )


def cut_minibatches(ppo: PPO, prompts: list[Prompt], samples: list[Sample], iteration: int) -> Minibatches:
    """Random minibatches of the rollout, each cut into micro-batches of similar length under the token limit."""
    generator = torch.Generator().manual_seed(derived_seed(ppo.spec.seed, "minibatches", iteration))
    order = torch.randperm(len(samples), generator=generator).tolist()
    count = min(ppo.config.minibatches, len(order))
    return [cut_micro_batches(ppo, prompts, samples, order[start::count]) for start in range(count)]


def cut_micro_batches(ppo: PPO, prompts: list[Prompt], samples: list[Sample], rows: list[int]) -> list[Piece]:
    """Pieces of similar length, each of at most `tokens_per_pass` positions with padding (or one row)."""
    lengths = [len(prompts[row].ids) + len(samples[row].token_ids) for row in rows]
    groups = [[rows[place] for place in group] for group in cut_by_length(lengths, 1, ppo.config.tokens_per_pass)]
    device = ppo.models.trainee.device
    nothing = torch.zeros(0, device=device)
    return [
        Piece(
            rows=group,
            batch=make_batch([prompts[row].ids for row in group], [samples[row].token_ids for row in group], device),
            score_B=nothing,
            ended_B=torch.tensor([samples[row].ended for row in group], device=device),
            old={},
            advantage_BR=nothing,
            return_BR=nothing,
        )
        for group in groups
    ]


@torch.no_grad()
def measure(ppo: PPO, piece: Piece) -> None:
    """Score, log-probs under policy and reference, values: everything about a rollout that training holds fixed."""
    models, batch = ppo.models, piece.batch
    policy = models.policy(batch)
    reference_BR = models.reference_logprobs(batch)
    piece.old = {
        "logprob_BR": policy.logprob_BR,
        "reference_BR": reference_BR,
        "entropy_BR": models.entropy(batch, policy.hidden_NH),
        "kl_BR": ppo_maths.kl_k1(policy.logprob_BR, reference_BR),
        "value_BR": models.values(batch, policy.hidden_NH),
    }
    piece.score_B = (models.scores(batch) - ppo.score_mean) / ppo.score_std


def estimate(ppo: PPO, piece: Piece) -> None:
    """Rewards per token, then advantages and returns (details 6 to 9)."""
    config, is_response_BR = ppo.config, piece.batch.is_response_BR
    score_B = piece.score_B.clamp(-config.reward_clip, config.reward_clip)
    score_B = score_B - torch.where(piece.ended_B, 0.0, config.missing_eos_penalty)
    reward_BR = ppo_maths.token_rewards(score_B, piece.old["kl_BR"], is_response_BR, beta=ppo.beta)
    piece.advantage_BR, piece.return_BR = ppo_maths.gae(
        reward_BR, piece.old["value_BR"], is_response_BR, gamma=config.gamma, lambda_=config.gae_lambda
    )


def standardize_all(pieces: list[Piece]) -> None:
    """Advantages of the whole rollout to mean 0 and variance 1 (detail 10)."""
    sizes = [piece.batch.is_response_BR for piece in pieces]
    flat_1N = torch.cat([piece.advantage_BR[mask] for piece, mask in zip(pieces, sizes, strict=True)])[None]
    standard_N = ppo_maths.standardize(flat_1N, torch.ones_like(flat_1N, dtype=torch.bool))[0]
    for piece, part_N in zip(pieces, torch.split(standard_N, [int(mask.sum()) for mask in sizes]), strict=True):
        piece.advantage_BR = torch.zeros_like(piece.advantage_BR).masked_scatter(piece.batch.is_response_BR, part_N)


# 3. Training on a rollout.


def set_learning_rates(ppo: PPO) -> None:
    """The schedule, by iteration, for policy and value."""
    config = ppo.config
    for group in ppo.optimizer.param_groups:
        group["lr"] = learning_rate(
            ppo.iteration + 1,
            config.iterations,
            peak=group["peak_lr"],
            warmup_share=config.warmup_share,
            shape=config.schedule,
        )


def train_on(ppo: PPO, minibatches: Minibatches, *, may_leave: bool) -> list[dict[str, float]]:
    """Epochs over the rollout until they are done or the policy has moved too far. Returns the metrics of each step."""
    config = ppo.config
    steps: list[dict[str, float]] = []
    generator = torch.Generator().manual_seed(derived_seed(ppo.spec.seed, "epochs", ppo.iteration))
    for epoch in range(config.epochs):
        for place in torch.randperm(len(minibatches), generator=generator).tolist():
            if may_leave:
                stop.leave_if_requested()
            ppo.tell("training", len(steps), config.epochs * len(minibatches))
            metrics = accumulate(ppo, minibatches[place])
            where = f"iteration {ppo.iteration + 1}, epoch {epoch + 1}, minibatch {place + 1}"
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


def accumulate(ppo: PPO, minibatch: list[Piece]) -> dict[str, float]:
    """Add up the gradients of a minibatch, piece by piece; returns its losses and how far the policy has moved."""
    config, models = ppo.config, ppo.models
    frozen = ppo.iteration < config.value_warmup
    tokens = int(sum(piece.batch.is_response_BR.sum() for piece in minibatch))
    totals: defaultdict[str, Tensor | float] = defaultdict(float)
    for piece in minibatch:
        batch, old = piece.batch, piece.old
        mask_BR = batch.is_response_BR
        with torch.set_grad_enabled(not frozen):
            policy = models.policy(batch)
            policy_loss = ppo_maths.policy_loss(
                policy.logprob_BR, old["logprob_BR"], piece.advantage_BR, mask_BR, clip=config.clip, tokens=tokens
            )
        if not frozen and not models.shares_value_backbone():
            policy_loss.backward()  # type: ignore[no-untyped-call]  # before the value's adapter speaks: a recomputing backward must find the policy's
        value_BR = models.values(batch, policy.hidden_NH)
        value_loss = ppo_maths.value_loss(
            value_BR, old["value_BR"], piece.return_BR, mask_BR, clip=config.value_clip, tokens=tokens
        )
        together = not frozen and models.shares_value_backbone()
        loss = config.value_coefficient * value_loss + (policy_loss if together else 0.0)
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            log_ratio_BR = ppo_maths.clamped_log_ratio(policy.logprob_BR, old["logprob_BR"], mask_BR)
            ratio_BR = log_ratio_BR.exp()
            totals["loss"] += policy_loss.detach() + config.value_coefficient * value_loss.detach()
            totals["policy_loss"] += policy_loss.detach()
            totals["value_loss"] += value_loss.detach()
            totals["ratio"] += ppo_maths.masked_sum(ratio_BR, mask_BR) / tokens
            totals["ratio_deviation"] += ppo_maths.masked_sum((ratio_BR - 1).abs(), mask_BR) / tokens
            totals["clip_fraction"] += (
                ppo_maths.masked_sum(((ratio_BR - 1).abs() > config.clip).float(), mask_BR) / tokens
            )
            totals["approx_kl"] += (
                ppo_maths.masked_sum(ppo_maths.kl_k3(old["logprob_BR"], policy.logprob_BR), mask_BR) / tokens
            )
    return {name: float(value) for name, value in totals.items()}


def check_first(metrics: dict[str, float], where: str) -> None:
    """The cheapest alarm there is (detail 2): before the first step the policy is the one that was measured."""
    if metrics["ratio_deviation"] > ALARM or metrics["clip_fraction"] > 0 or metrics["approx_kl"] > ALARM:
        raise EngineError(
            f"{where}: the policy's log-probs are not those of the rollout although no step was taken "
            f"(mean |ratio - 1| {metrics['ratio_deviation']:.2g}); the forward pass is not reproducible"
        )


def check_finite(metrics: dict[str, float], where: str) -> None:
    """EngineError naming the place when a loss is not a number; the checkpoint before stays as it is."""
    wrong = [name for name, value in metrics.items() if not math.isfinite(value)]
    if wrong:
        raise EngineError(f"{where}: {wrong[0].replace('_', ' ')} is not finite; lower the learning rate")


def step(ppo: PPO, where: str) -> float:
    """Clip the gradients of policy and value apart, take the step, and return the policy's gradient norm."""
    config = ppo.config
    policy = list(ppo.models.policy_parameters().values())
    norm = float(nn.utils.clip_grad_norm_(policy, config.max_grad_norm))
    value_norm = float(nn.utils.clip_grad_norm_(ppo.models.value_parameters().values(), config.max_grad_norm))
    check_finite({"gradient": norm, "gradient of the value": value_norm}, where)
    if norm == 0 and ppo.iteration == config.value_warmup:
        raise EngineError(f"{where}: the policy's gradient is 0, so nothing would be learnt")
    ppo.optimizer.step()
    ppo.optimizer.zero_grad(set_to_none=True)
    return norm


# 4. What is told.


def evaluate(ppo: PPO, events: EventWriter, *, step: int) -> dict[str, float]:
    """Answer the same held-out prompts with the same seed as every time, score the answers, and tell."""
    events.write("phase", name="evaluating", done=0, total=len(ppo.held_out))
    samples = answer(ppo, ppo.held_out, seed=derived_seed(ppo.spec.seed, "evaluation"))
    pieces = cut_micro_batches(ppo, ppo.held_out, samples, list(range(len(samples))))
    for piece in pieces:
        measure(ppo, piece)
    metrics = describe_rollout(pieces)
    events.write("eval", step=step, metrics=metrics)
    scores = {row: float(score) for piece in pieces for row, score in zip(piece.rows, piece.score_B, strict=True)}
    shown = [
        {
            "id": prompt.id,
            "prompt": prompt.messages,
            "text": chat.decode(ppo.models.trainee.tokenizer, sample.token_ids),
            "ended": sample.ended,
            "tokens": len(sample.token_ids),
            "score": scores[place],
        }
        for place, (prompt, sample) in enumerate(zip(ppo.held_out, samples, strict=True))
    ]
    events.write("sample", step=step, samples=shown[: ppo.config.sample_prompts])
    return metrics


def finish(
    run_dir: RunDir, ppo: PPO, events: EventWriter, before: dict[str, float], after: dict[str, float], *, seconds: float
) -> None:
    """Save the policy, the manifest and the result."""
    events.write("phase", name="saving", done=0, total=1)
    base = ppo.spec.models["base"]
    save_trained(run_dir, ppo.models.only_policy(), base=base, kind="policy", extra={"method": "ppo"})
    metrics = {**after, **{f"{name}_before": value for name, value in before.items()}, "beta": ppo.beta}
    result = {
        "method": "ppo",
        "metrics": metrics,
        "seconds": round(seconds, 1),
        "steps": ppo.iteration,
        "dropped": 0,
        "truncated": sum(prompt.cut for prompt in ppo.train),
    }
    write_json(run_dir.result_path, result)
    events.write("done", metrics=metrics)
