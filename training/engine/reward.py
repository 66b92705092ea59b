"""A Bradley-Terry reward model (Christiano et al. 2017; Ouyang et al. 2022, arXiv 2203.02155, eq. 1).

1. The score is read at the last response token, which is the end token unless the answer was cut.
2. The head starts with std 1/sqrt(H + 1), or as it is where the base is a sequence classifier with one output. It is
   trained and saved in fp32 beside the adapters.
3. Chosen and rejected of a pair share one pass and its prompt; the loss is a weighted mean over the pairs of a step.
4. A margin from the strength of the vote, and a small pull of the scores towards 0 (centring).
5. The weights of the step with the best held-out accuracy are kept; of equal ones, that with the lowest loss. After
   ``patience`` evaluations without a better one the run ends there.
6. Evaluations tell how far σ(score difference) can be believed, and the accuracy by strength and by length.
7. The mean and standard deviation of the scores of a policy's own answers go into the manifest: PPO normalises by them.
   Where the run names no policy, training answers serve, which are samples of it or its like.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from training.engine import processes
from training.engine.answers import distinct_prompts
from training.engine.backbone import last_hidden
from training.engine.batches import own_passes
from training.engine.calibration import calibration
from training.engine.chat import decode, render_to_fit
from training.engine.config import RewardConfig
from training.engine.events import EventWriter
from training.engine.generate import generate, stop_token_ids
from training.engine.loop import Loop
from training.engine.maths import reward_loss, share_won
from training.engine.models import Trainee, load_base, load_reward_trainee, load_tokenizer, pick_dtype
from training.engine.packing import Tokens, make_pass, on_device
from training.engine.pairs import Pair, read_train_and_eval
from training.engine.run_dir import RunDir, Spec, write_json
from training.engine.sample import prompt_room
from training.engine.saving import save_trained
from training.engine.sharding import with_weights

Metrics = dict[str, Any]  # numbers, and of an evaluation also tables
NORMALISING_PAIRS = 64  # training pairs whose answers give the mean and std of the scores where no policy is named


def run(run_dir: RunDir, spec: Spec, config: RewardConfig, events: EventWriter) -> None:
    """Train a reward model on preference pairs and save it. EngineError for data or models that will not do."""
    began = time.monotonic()

    # 1. Model and data.
    events.write("phase", name="loading model", done=0, total=1)
    trainee = load_reward_trainee(spec, config)
    train, held_out, tally = read_train_and_eval(
        run_dir, trainee.tokenizer, config.max_length, config.eval_rows, events
    )
    loop = Loop(run_dir, config, events, trainee, row_ids=[pair.id for pair in train], seed=spec.seed)
    loop.start(eval_rows=len(held_out))

    # 2. The policy's answers, now that a policy which cannot be loaded has cost no training yet.
    with loop.checkpoint_when_stopped():
        answers = policy_answers(run_dir, spec, config, train, loop)

        # 3. Steps, with evaluations before, between and after; the best weights are set aside.
        while True:
            if loop.eval_due():
                evaluate(loop, held_out, config)
            if loop.step == loop.total or out_of_patience(loop, config):
                break
            for _, rows in loop.steps():
                pairs = [train[row] for row in rows]
                metrics = accumulate_gradients(trainee, pairs, config, loop)
                loop.finish_step(metrics, tokens=sum(pair.chosen.length + pair.rejected.length for pair in pairs))
                if loop.eval_due():
                    break
        if loop.kept:
            loop.put_weights(loop.kept)

        # 4. Normalisation: the scores of the policy's answers, or of training answers, get mean 0 and std 1.
        source = "answers of the policy" if answers else "training answers"
        known = train[:NORMALISING_PAIRS]
        score_B = score_answers(loop, answers) if answers else score_pairs(loop, known, "normalising")
        mean, std = float(score_B.mean()), max(float(score_B.std()), 1e-6)

    # 5. Save.
    events.write("phase", name="saving", done=0, total=1)
    before, after = loop.state["before"], loop.state["best"]["metrics"]
    metrics = after | {f"{name}_before": value for name, value in before.items()}
    metrics |= {"best_step": float(loop.state["best"]["step"]), "score_mean": mean, "score_std": std}
    normalisation = {"mean": mean, "std": std, "of": source, "answers": score_B.numel()}
    extra = {"method": "reward", "reward": normalisation, "metrics": metrics}
    save_trained(run_dir, trainee, base=spec.models["base"], kind="reward", extra=extra)
    result = {"method": "reward", "metrics": metrics, "seconds": time.monotonic() - began, "steps": loop.step}
    result |= {"dropped": tally.dropped, "truncated": tally.truncated, "stopped_early": loop.step < loop.total}
    write_json(run_dir.result_path, result)
    events.write("done", metrics=metrics)


def score(trainee: Trainee, sequences: Sequence[Tokens]) -> Tensor:
    """Scores at the last response token, (B,), fp32, in one pass."""
    batch = make_pass(sequences, trainee.device)

    def work() -> Tensor:
        hidden_BH = last_hidden(trainee.core, batch)[batch.last_B]
        head = cast(nn.Module, trainee.core.score)
        return cast(Tensor, head(hidden_BH.float()))

    return with_weights(trainee.core, work)[:, 0]


def accumulate_gradients(trainee: Trainee, pairs: Sequence[Pair], config: RewardConfig, loop: Loop) -> Metrics:
    """Gradients of the weighted mean loss over these pairs, pass by pass; the metrics of the step.

    Of several processes, each has its share of the gradients.
    """
    weight = sum(pair.weight for pair in pairs)
    lines = [torch.zeros(len(METRICS), 0, device=trainee.device)]
    for indices in own_passes(trainee.core, [pair.tokens for pair in pairs], config.tokens_per_pass):
        loop.leave_if_requested()
        group = [pairs[index] for index in indices]
        score_BK = score(trainee, [item for pair in group for item in (pair.chosen, pair.rejected)]).view(-1, 2)
        loss_B, line = losses(score_BK, group, config)
        weight_B = on_device([pair.weight for pair in group], loss_B.device) / weight
        (loss_B * weight_B).sum().backward()  # type: ignore[no-untyped-call]
        lines.append(line * weight_B)
    total = processes.total(torch.cat(lines, dim=1).sum(1))
    return dict(zip(METRICS, total.tolist(), strict=True))


METRICS = ("loss", "accuracy", "margin", "reward_chosen", "reward_rejected")


def losses(score_BK: Tensor, pairs: Sequence[Pair], config: RewardConfig) -> tuple[Tensor, Tensor]:
    """The loss of every pair, (B,), and its METRICS, (5, B), without gradient, from scores (B, 2)."""
    chosen_B, rejected_B = score_BK[:, 0], score_BK[:, 1]
    margin_B = config.margin_scale * on_device([pair.margin for pair in pairs], score_BK.device)
    loss_B = reward_loss(chosen_B, rejected_B, margin_B=margin_B, centring=config.centring)
    with torch.no_grad():
        won_by_B = chosen_B - rejected_B
        return loss_B, torch.stack((loss_B, share_won(won_by_B), won_by_B, chosen_B, rejected_B)).detach()


@torch.no_grad()
def score_pairs(loop: Loop, pairs: Sequence[Pair], phase: str) -> Tensor:
    """Scores of chosen and rejected, (pairs, 2), on the CPU."""
    found = torch.zeros(len(pairs), 2)
    done = 0
    for indices in own_passes(loop.trainee.core, [pair.tokens for pair in pairs], loop.config.tokens_per_pass):
        loop.phase(phase, done * processes.count(), len(pairs))
        sequences = [item for index in indices for item in (pairs[index].chosen, pairs[index].rejected)]
        found[indices] = score(loop.trainee, sequences).view(-1, 2).cpu()
        done += len(indices)
    return processes.total(found)


def evaluate(loop: Loop, held_out: Sequence[Pair], config: RewardConfig) -> None:
    """Held-out metrics and tables into ``loop.state``; the weights are kept when they are the best so far."""
    began = time.monotonic()
    metrics: Metrics = {}
    if held_out:
        score_BK = score_pairs(loop, held_out, "evaluating")
        _, line = losses(score_BK, held_out, config)
        metrics = dict(zip(METRICS, line.mean(1).tolist(), strict=True))
        metrics |= calibration(score_BK[:, 0] - score_BK[:, 1], held_out)
    if loop.step == 0:
        loop.state["before"] = metrics
    elif "best" not in loop.state or is_better(metrics, loop.state["best"]["metrics"]):
        loop.state["best"] = {"step": loop.step, "metrics": metrics}
        loop.state["without_better"] = 0
        loop.kept = loop.weights()
    else:
        loop.state["without_better"] += 1
    loop.events.write("eval", step=loop.step, metrics=metrics)
    loop.evaluated(began)


def out_of_patience(loop: Loop, config: RewardConfig) -> bool:
    """Whether so many evaluations in a row brought no better step that the run is to end."""
    return 0 < config.patience <= int(loop.state.get("without_better", 0))


def is_better(metrics: Metrics, best: Metrics) -> bool:
    """Higher accuracy, or the same and a lower loss. Without held-out pairs the last step is the best."""
    if not metrics:
        return True
    return (metrics["accuracy"], -metrics["loss"]) > (best["accuracy"], -best["loss"])


def policy_answers(
    run_dir: RunDir, spec: Spec, config: RewardConfig, train: Sequence[Pair], loop: Loop
) -> list[Tokens]:
    """Answers of the policy that the spec names to training prompts, sampled once and kept; [] where it names none."""
    if "policy" not in spec.models:
        return []
    path = run_dir.path / "policy_answers.json"
    if path.is_file():
        return [Tokens(*item) for item in json.loads(path.read_text(encoding="utf-8"))]
    found = sample_policy(spec, config, train, loop)
    if processes.is_main():
        write_json(path, found)
    return [Tokens(*item) for item in found]


@torch.no_grad()
def score_answers(loop: Loop, answers: Sequence[Tokens]) -> Tensor:
    """Scores, (B,), on the CPU, one by one: they are few. Leaves between two after SIGTERM."""
    scores = []
    for number, answer in enumerate(answers):
        loop.phase("normalising", number, len(answers))
        scores.append(score(loop.trainee, [answer]).cpu())
    return torch.cat(scores)


def sample_policy(
    spec: Spec, config: RewardConfig, train: Sequence[Pair], loop: Loop
) -> list[tuple[list[int], list[int]]]:
    """Answers to training prompts, sampled from the policy at temperature 1: prompt and response ids for the scores.

    They pass through text, so the policy may have a tokenizer of its own. An answer that did not end has no end token.
    """
    policy = spec.models["policy"]
    device, tokenizer = loop.trainee.device, load_tokenizer(policy.path)
    model = load_base(policy, dtype=pick_dtype(config.precision, device), device=device)
    rows = distinct_prompts([{"prompt": pair.messages} for pair in train], config.policy_answers)
    prompts = [rows[number % len(rows)]["prompt"] for number in range(config.policy_answers)]
    room = prompt_room(model.config, max_length=config.max_length, max_new_tokens=config.policy_tokens)
    loop.phase("sampling the policy", 0, len(prompts))
    answers = generate(
        model,
        [render_to_fit(tokenizer, prompt, None, room).prompt_ids for prompt in prompts],
        stop_ids=stop_token_ids(model, tokenizer),
        max_new_tokens=config.policy_tokens,
        seed=spec.seed,
        numbers=[number // len(rows) for number in range(len(prompts))],
        on_progress=lambda done: loop.phase("sampling the policy", done, len(prompts)),
        on_token=loop.leave_if_requested,
    )
    found = []
    for prompt, answer in zip(prompts, answers, strict=True):
        text = decode(tokenizer, answer.token_ids)
        fitted = render_to_fit(loop.trainee.tokenizer, prompt, text, config.max_length, ended=answer.ended)
        found.append((fitted.prompt_ids, fitted.response_ids))
    return found
