"""A Bradley-Terry reward model (Christiano et al. 2017; Ouyang et al. 2022, arXiv 2203.02155, eq. 1).

1. The score is read at the last response token, which is the end token unless the answer was cut.
2. The head starts with std 1/sqrt(H + 1) and is trained and saved in fp32 beside the adapters.
3. Chosen and rejected of a pair share one pass and its prompt; the loss is a weighted mean over the pairs of a step.
4. A margin from the strength of the vote, and a small pull of the scores towards 0 (centring).
5. The weights of the step with the best held-out accuracy are kept; of equal ones, that with the lowest loss.
6. The mean and standard deviation of its scores over training answers go into the manifest: PPO normalises by them.
   The training answers serve because they are samples of the policy or its like and are at hand without sampling.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from training.engine.backbone import last_hidden
from training.engine.batches import cut_to_budget
from training.engine.config import RewardConfig
from training.engine.errors import EngineError
from training.engine.events import EventWriter
from training.engine.loop import Loop
from training.engine.maths import reward_loss, share_won
from training.engine.models import Trainee, load_reward_trainee
from training.engine.packing import Tokens, make_pass
from training.engine.pairs import Pair, Tally, read_pairs
from training.engine.run_dir import RunDir, Spec, write_json
from training.engine.saving import save_trained

Metrics = dict[str, float]
NORMALISING_PAIRS = 64  # training pairs whose answers give the mean and std of the scores


def run(run_dir: RunDir, spec: Spec, config: RewardConfig, events: EventWriter) -> None:
    """Train a reward model on preference pairs and save it. EngineError for data or models that will not do."""
    began = time.monotonic()

    # 1. Model and data.
    events.write("phase", name="loading model", done=0, total=1)
    trainee = load_reward_trainee(spec, config)
    tally = Tally()
    train = read_pairs(run_dir, "train", trainee.tokenizer, config.max_length, tally, events)
    held_out = read_pairs(run_dir, "eval", trainee.tokenizer, config.max_length, tally, events)[: config.eval_rows]
    if not train:
        raise EngineError("there is no pair to train on")
    loop = Loop(run_dir, config, events, trainee, row_ids=[pair.id for pair in train], seed=spec.seed)
    loop.start(eval_rows=len(held_out))

    # 2. Steps, with evaluations before, between and after; the best weights are set aside.
    while True:
        if loop.eval_due():
            evaluate(loop, held_out, config)
        if loop.step == loop.total:
            break
        for _, rows in loop.steps():
            pairs = [train[row] for row in rows]
            metrics = accumulate_gradients(trainee, pairs, config, loop)
            loop.finish_step(metrics, tokens=sum(pair.chosen.length + pair.rejected.length for pair in pairs))
            if loop.eval_due():
                break
    if loop.kept:
        loop.put_weights(loop.kept)

    # 3. Normalisation: scores of training answers get mean 0 and std 1 by these two numbers.
    score_BK = score_pairs(loop, train[:NORMALISING_PAIRS], "normalising")
    mean, std = float(score_BK.mean()), max(float(score_BK.std()), 1e-6)

    # 4. Save.
    events.write("phase", name="saving", done=0, total=1)
    before, after = loop.state["before"], loop.state["best"]["metrics"]
    metrics = after | {f"{name}_before": value for name, value in before.items()}
    metrics |= {"best_step": float(loop.state["best"]["step"]), "score_mean": mean, "score_std": std}
    normalisation = {"mean": mean, "std": std, "of": "training answers", "answers": score_BK.numel()}
    extra = {"method": "reward", "reward": normalisation, "metrics": metrics}
    save_trained(run_dir, trainee, base=spec.models["base"], kind="reward", extra=extra)
    result = {"method": "reward", "metrics": metrics, "seconds": time.monotonic() - began, "steps": loop.total}
    write_json(run_dir.result_path, result | {"dropped": tally.dropped, "truncated": tally.truncated})
    events.write("done", metrics=metrics)


def score(trainee: Trainee, sequences: Sequence[Tokens]) -> Tensor:
    """Scores at the last response token, (B,), fp32, in one pass."""
    batch = make_pass(sequences, trainee.device)
    hidden_BH = last_hidden(trainee.core, batch)[batch.last_B]
    head = cast(nn.Module, trainee.core.score)
    score_BK: Tensor = head(hidden_BH.float())
    return score_BK[:, 0]


def accumulate_gradients(trainee: Trainee, pairs: Sequence[Pair], config: RewardConfig, loop: Loop) -> Metrics:
    """Gradients of the weighted mean loss over these pairs, pass by pass; the metrics of the step."""
    weight = sum(pair.weight for pair in pairs)
    lines: list[Tensor] = []
    for indices in cut_to_budget([pair.tokens for pair in pairs], config.tokens_per_pass):
        loop.leave_if_requested()
        group = [pairs[index] for index in indices]
        score_BK = score(trainee, [item for pair in group for item in (pair.chosen, pair.rejected)]).view(-1, 2)
        loss_B, line = losses(score_BK, group, config)
        weight_B = torch.tensor([pair.weight for pair in group], device=loss_B.device) / weight
        (loss_B * weight_B).sum().backward()  # type: ignore[no-untyped-call]
        lines.append(line * weight_B)
    return dict(zip(METRICS, torch.cat(lines, dim=1).sum(1).tolist(), strict=True))


METRICS = ("loss", "accuracy", "margin", "reward_chosen", "reward_rejected")


def losses(score_BK: Tensor, pairs: Sequence[Pair], config: RewardConfig) -> tuple[Tensor, Tensor]:
    """The loss of every pair, (B,), and its METRICS, (5, B), without gradient, from scores (B, 2)."""
    chosen_B, rejected_B = score_BK[:, 0], score_BK[:, 1]
    margin_B = config.margin_scale * torch.tensor([pair.margin for pair in pairs], device=score_BK.device)
    loss_B = reward_loss(chosen_B, rejected_B, margin_B=margin_B, centring=config.centring)
    with torch.no_grad():
        won_by_B = chosen_B - rejected_B
        return loss_B, torch.stack((loss_B, share_won(won_by_B), won_by_B, chosen_B, rejected_B)).detach()


@torch.no_grad()
def score_pairs(loop: Loop, pairs: Sequence[Pair], phase: str) -> Tensor:
    """Scores of chosen and rejected, (pairs, 2), on the CPU."""
    found = torch.zeros(len(pairs), 2)
    done = 0
    for indices in cut_to_budget([pair.tokens for pair in pairs], loop.config.tokens_per_pass):
        loop.phase(phase, done, len(pairs))
        sequences = [item for index in indices for item in (pairs[index].chosen, pairs[index].rejected)]
        found[indices] = score(loop.trainee, sequences).view(-1, 2).cpu()
        done += len(indices)
    return found


def evaluate(loop: Loop, held_out: Sequence[Pair], config: RewardConfig) -> None:
    """Held-out metrics into ``loop.state``; the weights are kept when they are the best so far."""
    began = time.monotonic()
    metrics: Metrics = {}
    if held_out:
        _, line = losses(score_pairs(loop, held_out, "evaluating"), held_out, config)
        metrics = dict(zip(METRICS, line.mean(1).tolist(), strict=True))
    if loop.step == 0:
        loop.state["before"] = metrics
    elif "best" not in loop.state or is_better(metrics, loop.state["best"]["metrics"]):
        loop.state["best"] = {"step": loop.step, "metrics": metrics}
        loop.kept = loop.weights()
    loop.events.write("eval", step=loop.step, metrics=metrics)
    loop.evaluated(began)


def is_better(metrics: Metrics, best: Metrics) -> bool:
    """Higher accuracy, or the same and a lower loss. Without held-out pairs the last step is the best."""
    if not metrics:
        return True
    return (metrics["accuracy"], -metrics["loss"]) > (best["accuracy"], -best["loss"])
