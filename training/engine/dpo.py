"""Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290).

1. Policy and reference are one backbone: the reference is the adapters switched off, or a model named for it.
2. The reference's log-probs are computed once and kept in a file named by what they depend on (see ``reference.py``).
3. A pass holds the tokens of several pairs side by side, without padding, and the prompt of a pair once.
4. Logits exist at response positions only, one chunk at a time.
5. The loss of a step is a weighted mean over its pairs, whatever the passes it was cut into.
6. Dropout is off everywhere, so before the first step the margin is 0 and the loss ln 2 (IPO: 1/(4β²)).
   An adapter's, if asked for, is on in training passes alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from training.engine import processes
from training.engine.answers import HeldOutAnswers, tell_samples
from training.engine.batches import own_passes
from training.engine.config import DPOConfig
from training.engine.events import EventWriter
from training.engine.logprobs import all_logprobs, sequence_logprobs
from training.engine.loop import Loop
from training.engine.maths import dpo_loss, ipo_loss, robust_dpo_loss, share_won
from training.engine.models import Trainee, load_trainee
from training.engine.packing import on_device
from training.engine.pairs import Pair, read_train_and_eval
from training.engine.reference import Reference, known_logprobs
from training.engine.run_dir import RunDir, Spec, write_json
from training.engine.saving import save_trained

Metrics = dict[str, float]


def run(run_dir: RunDir, spec: Spec, config: DPOConfig, events: EventWriter) -> None:
    """Train a policy on preference pairs and save it. EngineError for data or models that will not do."""
    began = time.monotonic()

    # 1. Model and data.
    events.write("phase", name="loading model", done=0, total=1)
    trainee = load_trainee(spec, config)
    train, held_out, tally = read_train_and_eval(
        run_dir, trainee.tokenizer, config.max_length, config.eval_rows, events
    )
    prompts = [{"id": pair.id, "prompt": pair.messages} for pair in held_out or train]
    answers = HeldOutAnswers(prompts, trainee, config, max_length=config.max_length, seed=spec.seed)
    base = spec.models["base"]
    reference = Reference(trainee, spec.models.get("reference"), base, config.precision)
    loop = Loop(run_dir, config, events, trainee, row_ids=[pair.id for pair in train], seed=spec.seed)
    loop.start(eval_rows=len(held_out))

    # 2. The reference's log-probs of every answer, once.
    with loop.checkpoint_when_stopped():
        folder = Path(spec.cache or run_dir.path)
        reference_BK, held_out_reference_BK = known_logprobs(reference, train, held_out, loop, folder)

    # 3. Steps, with evaluations before, between and after.
    with loop.checkpoint_when_stopped():
        while True:
            if loop.eval_due():
                evaluate(loop, held_out, held_out_reference_BK, answers, reference, config)
            if loop.step == loop.total:
                break
            for _, rows in loop.steps():
                pairs = [train[row] for row in rows]
                metrics = accumulate_gradients(trainee, pairs, reference_BK[rows], config, loop)
                loop.finish_step(metrics, tokens=sum(pair.chosen.length + pair.rejected.length for pair in pairs))
                if loop.eval_due():
                    break

    # 4. Save.
    events.write("phase", name="saving", done=0, total=1)
    before, after = loop.state["before"], loop.state["after"]
    metrics = after | {f"{name}_before": value for name, value in before.items()}
    save_trained(run_dir, trainee, base=base, kind="policy", extra={"method": "dpo", "metrics": metrics})
    result = {"method": "dpo", "metrics": metrics, "seconds": time.monotonic() - began, "steps": loop.total}
    write_json(run_dir.result_path, result | {"dropped": tally.dropped, "truncated": tally.truncated})
    events.write("done", metrics=metrics)


def accumulate_gradients(
    trainee: Trainee, pairs: Sequence[Pair], reference_BK: Tensor, config: DPOConfig, loop: Loop
) -> Metrics:
    """Gradients of the weighted mean loss over these pairs, pass by pass; the metrics of the step.

    Of several processes, each has its share of the gradients.
    """
    weight = sum(pair.weight for pair in pairs)
    lines = [torch.zeros(len(METRICS), 0, device=trainee.device)]
    for indices in own_passes(trainee.core, [pair.tokens for pair in pairs], config.tokens_per_pass):
        loop.leave_if_requested()
        chosen_B, rejected_B = pair_logprobs(trainee, [pairs[index] for index in indices])
        loss_B, line = losses(chosen_B, rejected_B, [pairs[i] for i in indices], reference_BK[indices], config)
        weight_B = on_device([pairs[index].weight for index in indices], loss_B.device) / weight
        (loss_B * weight_B).sum().backward()  # type: ignore[no-untyped-call]
        lines.append(line * weight_B)
    total = processes.total(torch.cat(lines, dim=1).sum(1))
    return dict(zip(METRICS, total.tolist(), strict=True))


def pair_logprobs(trainee: Trainee, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """log p of the chosen and of the rejected answers, (B,) and (B,), in one pass."""
    sequences = [item for pair in pairs for item in (pair.chosen, pair.rejected)]
    logprob_BK = sequence_logprobs(trainee.core, sequences, trainee.device).view(-1, 2)
    return logprob_BK[:, 0], logprob_BK[:, 1]


METRICS = ("loss", "accuracy", "margin", "reward_chosen", "reward_rejected", "logprob_chosen", "logprob_rejected")


def losses(
    chosen_B: Tensor, rejected_B: Tensor, pairs: Sequence[Pair], reference_BK: Tensor, config: DPOConfig
) -> tuple[Tensor, Tensor]:
    """The loss of every pair, (B,), and its METRICS, (7, B), without gradient.

    Log-probs come as sums over response tokens and are told as such. The loss and the rewards, β·(log π − log π_ref),
    use them so, or divided by the answer's tokens when the config averages them.
    """
    reference_BK = on_device(reference_BK, chosen_B.device)
    policy_BK = torch.stack((chosen_B, rejected_B), dim=1)
    tokens_BK = torch.ones_like(reference_BK)
    if config.average_logprobs:
        lengths = [[len(pair.chosen.response_ids), len(pair.rejected.response_ids)] for pair in pairs]
        tokens_BK = on_device(lengths, chosen_B.device)
    loss_B = pair_losses(policy_BK / tokens_BK, reference_BK / tokens_BK, pairs, config)
    with torch.no_grad():
        reward_BK = config.beta * (policy_BK - reference_BK) / tokens_BK
        margin_B = reward_BK[:, 0] - reward_BK[:, 1]
        rows = (loss_B, share_won(margin_B), margin_B, reward_BK[:, 0], reward_BK[:, 1], chosen_B, rejected_B)
        return loss_B, torch.stack(rows).detach()


def pair_losses(policy_BK: Tensor, reference_BK: Tensor, pairs: Sequence[Pair], config: DPOConfig) -> Tensor:
    """The loss that the config names, (B,), from log-probs of chosen and rejected, (B, 2) each."""
    policy_margin_B = policy_BK[:, 0] - policy_BK[:, 1]
    reference_margin_B = reference_BK[:, 0] - reference_BK[:, 1]
    if config.loss == "ipo":
        return ipo_loss(policy_margin_B, reference_margin_B, beta=config.beta)
    if config.loss == "robust":
        return robust_dpo_loss(policy_margin_B, reference_margin_B, beta=config.beta, flip_rate=config.label_smoothing)
    offset_B = config.margin_scale * on_device([pair.margin for pair in pairs], policy_BK.device)
    return dpo_loss(
        policy_margin_B,
        reference_margin_B,
        beta=config.beta,
        label_smoothing=config.label_smoothing,
        offset_B=offset_B,
    )


def evaluate(
    loop: Loop,
    held_out: Sequence[Pair],
    reference_BK: Tensor,
    answers: HeldOutAnswers,
    reference: Reference,
    config: DPOConfig,
) -> None:
    """Held-out metrics, and fresh answers with their length and KL. Kept in ``loop.state``."""
    began = time.monotonic()
    metrics: Metrics = {}
    if held_out:
        logprob_BK = all_logprobs(
            loop.trainee.core,
            [(pair.chosen, pair.rejected) for pair in held_out],
            loop.trainee.device,
            tokens_per_pass=config.tokens_per_pass,
            on_pass=lambda done: loop.phase("evaluating", done, len(held_out)),
        )
        _, line = losses(logprob_BK[:, 0], logprob_BK[:, 1], held_out, reference_BK, config)
        metrics = dict(zip(METRICS, line.mean(1).tolist(), strict=True))
    measured, samples = answers.measure(reference, loop)
    metrics |= measured
    tell_samples(loop.events, loop.step, samples)
    loop.state["after" if loop.step else "before"] = metrics
    loop.events.write("eval", step=loop.step, metrics=metrics)
    loop.evaluated(began)
