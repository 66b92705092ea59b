"""PPO end to end on tiny models, through the run directory, and the passes it is made of."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from training.engine import ppo as ppo_module
from training.engine import stop
from training.engine.__main__ import main
from training.engine.config import PPOConfig
from training.engine.errors import EngineError
from training.engine.events import EventWriter, read_events
from training.engine.generate import Sample
from training.engine.models import LoraShape, add_lora, load_tokenizer, new_reward_model
from training.engine.ppo import accumulate, check_first, choose_prompts, cut_micro_batches, estimate, measure, prepare
from training.engine.ppo_loading import load_models
from training.engine.ppo_models import make_batch
from training.engine.run_dir import ModelRef, RunDir, Spec
from training.engine.tiny import PAIRS, build_tiny

SMALL = {
    "precision": "fp32",
    "iterations": 3,
    "rollout_batch": 8,
    "minibatches": 2,
    "max_new_tokens": 8,
    "lora_rank": 4,
    "lora_alpha": 8,
    "learning_rate": 3e-3,
    "schedule": "constant",
    "value_learning_rate": 3e-3,
    "eval_prompts": 4,
    "checkpoint_every": 1,
}
ROWS = [{"id": str(place), "prompt": [{"role": "user", "content": text}]} for place, (text, _) in enumerate(PAIRS)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A base, a reward model saved whole, and one saved as an adapter of the base, each with mean and std."""
    folder = tmp_path_factory.mktemp("models")
    base, tokenizer = build_tiny(seed=0)
    base.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    whole = new_reward_model(ModelRef(str(folder / "base")), torch.float32, pad_id=0, seed=1)
    trainee = add_lora(whole, tokenizer, LoraShape(4, 8, "all-linear"), reward=True, seed=2)
    torch.manual_seed(3)
    for name, item in trainee.peft.named_parameters():
        if "lora_B" in name:
            item.data.normal_(std=0.05)
    trainee.peft.save_pretrained(str(folder / "reward" / "adapter"))
    tokenizer.save_pretrained(folder / "reward" / "adapter")
    merged = trainee.peft.merge_and_unload()
    merged.save_pretrained(folder / "reward" / "merged")
    tokenizer.save_pretrained(folder / "reward" / "merged")
    (folder / "reward" / "manifest.json").write_text(json.dumps({"reward": {"mean": 1.25, "std": 0.25}}))
    return folder


def _spec(models, *, adapter=True, **options):
    reward = ModelRef(str(models / "base"), str(models / "reward" / "adapter"))
    if not adapter:
        reward = ModelRef(str(models / "reward" / "merged"))
    return Spec(
        method="ppo",
        config={**SMALL, **options},
        seed=1,
        models={"base": ModelRef(str(models / "base")), "reward": reward},
    )


def _run(path, spec):
    run_dir = RunDir.create(path, spec, {"train": ROWS, "eval": ROWS[:4]})
    return run_dir, main([str(path)])


def _prepared(path, models, **options):
    """A run that is set up and not begun."""
    spec = _spec(models, **options)
    run_dir = RunDir.create(path, spec, {"train": ROWS, "eval": ROWS[:4]})
    return prepare(run_dir, spec, PPOConfig(**spec.config), EventWriter(run_dir.events_path))


def _events(run_dir, kind):
    return [event for event in read_events(run_dir.events_path, 0)[0] if event["kind"] == kind]


def _some_answers(tokenizer, count=4):
    prompts = [tokenizer(text)["input_ids"] for text, _ in PAIRS[:count]]
    responses = [tokenizer(text)["input_ids"] for _, text in PAIRS[:count]]
    return prompts, responses


# End to end.


@pytest.mark.parametrize("options", [{}, {"adapter": False}, {"lora": False, "learning_rate": 1e-3}])
def test_training_raises_the_mean_score(tmp_path, models, options):
    spec = _spec(models, iterations=14, rollout_batch=48, beta=0.01, missing_eos_penalty=0.0, **options)
    run_dir, code = _run(tmp_path, spec)
    assert code == 0
    metrics = run_dir.result()["metrics"]
    steps = [event["metrics"] for event in _events(run_dir, "step")]
    assert len(steps) == 14
    assert sum(step["score"] for step in steps[-3:]) / 3 > sum(step["score"] for step in steps[:3]) / 3 + 0.5
    assert metrics["score"] > metrics["score_before"] + 0.3
    assert 0 < metrics["kl_k3"] < 40


def test_a_run_tells_what_the_run_page_shows(tmp_path, models):
    run_dir, code = _run(tmp_path, _spec(models))
    assert code == 0
    evaluations, samples = _events(run_dir, "eval"), _events(run_dir, "sample")
    assert [event["step"] for event in evaluations] == [0, 3]
    assert set(evaluations[0]["metrics"]) == set(evaluations[1]["metrics"])
    assert [item["id"] for item in samples[0]["samples"]] == [item["id"] for item in samples[1]["samples"]]
    assert {"id", "prompt", "text", "ended", "tokens", "score"} <= set(samples[0]["samples"][0])
    [start] = _events(run_dir, "start")
    assert (start["total_steps"], start["train_rows"], start["eval_rows"]) == (3, 8, 4)
    logged = _events(run_dir, "step")[-1]["metrics"]
    wanted = "score score_std kl kl_k3 kl_per_token entropy response_tokens share_ended ratio clip_fraction approx_kl"
    wanted += " value_loss explained_variance advantage_mean advantage_std beta grad_norm lr loss"
    wanted += " generation_tokens_per_second scoring_tokens_per_second training_tokens_per_second"
    assert set(wanted.split()) <= set(logged)
    assert all(math.isfinite(logged[name]) for name in wanted.split())


def test_before_the_first_step_the_policy_is_the_reference_and_the_ratio_is_one(tmp_path, models):
    run_dir, _ = _run(tmp_path, _spec(models, epochs=1, minibatches=1))
    first = _events(run_dir, "step")[0]["metrics"]
    assert (first["kl"], first["kl_k3"]) == (0.0, 0.0)
    assert first["ratio"] == pytest.approx(1.0, abs=1e-5)
    assert (first["ratio_deviation"], first["clip_fraction"]) == (pytest.approx(0.0, abs=1e-5), 0.0)
    assert _events(run_dir, "step")[1]["metrics"]["kl_k3"] > 0


def test_what_is_saved_loads_without_this_project_and_is_the_trained_policy(tmp_path, models):
    run_dir, _ = _run(tmp_path, _spec(models))
    adapter, merged = run_dir.model_path / "adapter", run_dir.model_path / "merged"
    base = AutoModelForCausalLM.from_pretrained(models / "base")
    tokenizer = AutoTokenizer.from_pretrained(merged)
    ids = torch.tensor([tokenizer.apply_chat_template(ROWS[0]["prompt"], return_dict=False)])
    with torch.no_grad():
        plain = base(input_ids=ids).logits
        with_adapter = PeftModel.from_pretrained(base, adapter)(input_ids=ids).logits
        with_merged = AutoModelForCausalLM.from_pretrained(merged)(input_ids=ids).logits
    torch.testing.assert_close(with_adapter, with_merged, rtol=1e-4, atol=1e-4)
    assert (with_merged - plain).abs().max() > 1e-3
    names = set(load_file(adapter / "adapter_model.safetensors"))
    assert names
    assert [item.name for item in adapter.iterdir() if item.is_dir()] == []
    assert not [name for name in names if "reward" in name or "value" in name or "score" in name]


# Resume.


def _weights(run_dir):
    return load_file(run_dir.model_path / "merged" / "model.safetensors")


@pytest.mark.parametrize(
    ("options", "checks"),
    [({}, 11), ({}, 40), ({"ema_rate": 0.1, "value_backbone": "own"}, 25), ({"adaptive_beta": True}, 30)],
)
def test_a_stopped_run_that_goes_on_ends_with_the_same_weights(tmp_path, models, monkeypatch, options, checks):
    whole, _ = _run(tmp_path / "whole", _spec(models, **options))
    left = {"checks": checks}

    def asked():
        left["checks"] -= 1
        return left["checks"] < 0

    monkeypatch.setattr(stop, "requested", asked)
    monkeypatch.setattr(stop, "leave_if_requested", lambda: _raise_if(asked()))
    stopped, code = _run(tmp_path / "stopped", _spec(models, **options))
    assert code == 75
    assert stopped.checkpoints()
    monkeypatch.undo()
    assert main([str(stopped.path)]) == 0
    before, after = _weights(whole), _weights(stopped)
    assert set(before) == set(after)
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    told = [event["step"] for event in _events(stopped, "step")]
    assert told == [1, 2, 3]
    plain = whole.result()["metrics"]
    assert stopped.result()["metrics"] == plain


def _raise_if(asked):
    if asked:
        raise stop.Stopped


# The passes.


def test_logprobs_are_those_of_the_plain_model_at_the_temperature(models):
    config = PPOConfig(**{**SMALL, "temperature": 0.7})
    loaded = load_models(_spec(models), config)
    tokenizer = load_tokenizer(str(models / "base"))
    prompts, responses = _some_answers(tokenizer)
    batch = make_batch(prompts, responses, torch.device("cpu"))
    with torch.no_grad():
        found_BR = loaded.policy(batch).logprob_BR
        for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
            plain = AutoModelForCausalLM.from_pretrained(models / "base")
            logits_SV = plain(input_ids=torch.tensor([prompt + response])).logits[0]
            logprob_SV = torch.log_softmax(logits_SV / 0.7, -1)
            expected_R = torch.stack(
                [logprob_SV[len(prompt) - 1 + place, token] for place, token in enumerate(response)]
            )
            torch.testing.assert_close(found_BR[row, : len(response)], expected_R, rtol=1e-5, atol=1e-5)
    assert found_BR[~batch.is_response_BR].abs().sum() == 0


def test_scores_are_those_of_transformers_whether_the_reward_model_is_an_adapter_or_whole(models):
    prompts, responses = _some_answers(load_tokenizer(str(models / "base")))
    plain = AutoModelForSequenceClassification.from_pretrained(models / "reward" / "merged")
    with torch.no_grad():
        expected_B = torch.stack(
            [
                plain(input_ids=torch.tensor([prompt + response])).logits[0, 0]
                for prompt, response in zip(prompts, responses, strict=True)
            ]
        )
    batch = make_batch(prompts, responses, torch.device("cpu"))
    assert expected_B.std() > 1e-3
    for adapter in (True, False):
        loaded = load_models(_spec(models, adapter=adapter), PPOConfig(**SMALL))
        assert (loaded.reward_model is None) == adapter
        torch.testing.assert_close(loaded.scores(batch), expected_B, rtol=1e-4, atol=1e-5)


def test_padding_and_company_change_nothing(models):
    loaded = load_models(_spec(models), PPOConfig(**{**SMALL, "value_backbone": "own"}))
    prompts, responses = _some_answers(load_tokenizer(str(models / "base")))
    batch = make_batch(prompts, responses, torch.device("cpu"))
    place_S = torch.arange(batch.ids_BS.shape[1])
    junk = replace(batch, ids_BS=torch.where(place_S > batch.last_B[:, None], 17, batch.ids_BS))
    assert not torch.equal(junk.ids_BS, batch.ids_BS)
    with torch.no_grad():
        one, other = loaded.policy(batch), loaded.policy(junk)
        assert torch.equal(one.logprob_BR, other.logprob_BR)
        assert torch.equal(loaded.values(batch, None), loaded.values(junk, None))
        assert torch.equal(loaded.scores(batch), loaded.scores(junk))
        shortest = min(range(4), key=lambda row: len(responses[row]))
        alone = make_batch([prompts[shortest]], [responses[shortest]], torch.device("cpu"))
        alone_R = loaded.policy(alone).logprob_BR[0]
    torch.testing.assert_close(alone_R, one.logprob_BR[shortest, : len(alone_R)], rtol=1e-5, atol=1e-5)


def test_a_value_model_of_its_own_starts_as_the_reward_model(models):
    prompts, responses = _some_answers(load_tokenizer(str(models / "base")))
    # The value stands before a token, the score at it: of an answer one token longer, the last value is the score.
    batch = make_batch(prompts, responses, torch.device("cpu"))
    longer = make_batch(prompts, [[*response, 5] for response in responses], torch.device("cpu"))
    for adapter in (True, False):
        loaded = load_models(_spec(models, adapter=adapter), PPOConfig(**{**SMALL, "value_backbone": "own"}))
        with torch.no_grad():
            value_BR = loaded.values(longer, None)
            last_B = torch.stack([value_BR[row, len(response)] for row, response in enumerate(responses)])
            torch.testing.assert_close(last_B, loaded.scores(batch), rtol=1e-4, atol=1e-5)


def test_a_value_head_on_the_policy_starts_at_zero(models):
    loaded = load_models(_spec(models), PPOConfig(**SMALL))
    batch = make_batch(*_some_answers(load_tokenizer(str(models / "base"))), torch.device("cpu"))
    with torch.no_grad():
        assert loaded.values(batch, loaded.policy(batch).hidden_NH).abs().sum() == 0


def test_the_reference_stays_the_base_while_the_policy_moves(models):
    loaded = load_models(_spec(models), PPOConfig(**SMALL))
    batch = make_batch(*_some_answers(load_tokenizer(str(models / "base"))), torch.device("cpu"))
    with torch.no_grad():
        start_BR = loaded.policy(batch).logprob_BR
        for item in loaded.policy_parameters().values():
            item.add_(0.05)
        assert torch.equal(loaded.reference_logprobs(batch), start_BR)
        assert (loaded.policy(batch).logprob_BR - start_BR).abs().max() > 1e-2


@pytest.mark.parametrize("lora", [True, False])
def test_a_moving_reference_goes_towards_the_policy(models, lora):
    loaded = load_models(_spec(models), PPOConfig(**{**SMALL, "ema_rate": 0.5, "lora": lora}))
    batch = make_batch(*_some_answers(load_tokenizer(str(models / "base"))), torch.device("cpu"))
    with torch.no_grad():
        for item in loaded.policy_parameters().values():
            item.add_(0.02)
    policy_BR = loaded.policy(batch).logprob_BR.detach()
    distances = [(loaded.reference_logprobs(batch) - policy_BR).abs().sum().item()]
    for _ in range(20):
        loaded.move_reference(0.5)
        distances.append((loaded.reference_logprobs(batch) - policy_BR).abs().sum().item())
    assert distances[0] > 1
    assert distances[-1] < 1e-3 * distances[0]


# Details of an iteration.


def _measured(ppo, *, tokens_per_pass=None):
    prompts = choose_prompts(ppo, 0)
    samples = ppo_module.answer(ppo, prompts, seed=3)
    if tokens_per_pass is not None:
        ppo.config = replace(ppo.config, tokens_per_pass=tokens_per_pass)
    pieces = cut_micro_batches(ppo, prompts, samples, list(range(len(samples))))
    for piece in pieces:
        measure(ppo, piece)
        estimate(ppo, piece)
    return pieces


def test_micro_batches_give_the_gradient_of_the_whole(tmp_path, models):
    gradients = []
    for place, tokens in enumerate((100_000, 60)):
        ppo = _prepared(tmp_path / str(place), models)
        pieces = _measured(ppo, tokens_per_pass=tokens)
        assert (len(pieces) > 3) == (tokens == 60)
        accumulate(ppo, pieces)
        gradients.append({n: p.grad for n, p in ppo.models.trainable().items() if p.grad is not None})
    whole, parts = gradients
    assert set(whole) == set(parts)
    assert len(whole) > 10
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-6)


def test_an_unended_answer_pays_the_penalty_and_the_score_is_paid_at_its_last_token(tmp_path, models):
    ppo = _prepared(tmp_path, models, missing_eos_penalty=1.5, value_backbone="shared", gae_lambda=1.0)
    prompts = choose_prompts(ppo, 0)[:2]
    samples = [Sample([5, 6, 7], ended=True), Sample([5, 6], ended=False)]
    [piece] = cut_micro_batches(ppo, prompts, samples, [0, 1])
    measure(ppo, piece)
    estimate(ppo, piece)
    scores = dict(zip(piece.rows, piece.score_B.tolist(), strict=True))
    returns = dict(zip(piece.rows, piece.return_BR.tolist(), strict=True))
    # KL and values are 0 at the start, γ = λ = 1: the return of every token is the penalised score.
    assert returns[0] == pytest.approx([scores[0]] * 3, abs=1e-5)
    assert returns[1] == pytest.approx([scores[1] - 1.5] * 2 + [0.0], abs=1e-5)


def test_scores_are_normalised_with_the_numbers_stored_with_the_reward_model(tmp_path, models):
    ppo = _prepared(tmp_path, models)
    [piece] = _measured(ppo)
    raw_B = ppo.models.scores(piece.batch)
    torch.testing.assert_close(piece.score_B, (raw_B - 1.25) / 0.25)


def test_every_prompt_comes_once_before_any_comes_twice(tmp_path, models):
    ppo = _prepared(tmp_path, models, rollout_batch=3)
    ids = [prompt.id for iteration in range(8) for prompt in choose_prompts(ppo, iteration)]
    assert all(sorted(ids[turn * 8 : turn * 8 + 8]) == sorted(row["id"] for row in ROWS) for turn in range(3))
    assert ids[:8] != ids[8:16]


@pytest.mark.parametrize("backbone", ["shared", "own"])
def test_while_the_value_warms_up_the_policy_stands_still(tmp_path, models, backbone):
    ppo = _prepared(tmp_path, models, value_warmup=1, value_backbone=backbone, max_approx_kl=1e3)
    before = {name: item.detach().clone() for name, item in ppo.models.trainable().items()}
    values = set(ppo.models.value_parameters())
    ppo_module.iterate(ppo, may_leave=False)
    moved = {name for name, item in ppo.models.trainable().items() if not torch.equal(item, before[name])}
    assert moved == values
    ppo_module.iterate(ppo, may_leave=False)
    moved = {name for name, item in ppo.models.trainable().items() if not torch.equal(item, before[name])}
    assert moved > values


def test_an_iteration_ends_early_when_the_policy_has_moved_too_far(tmp_path, models):
    ppo = _prepared(tmp_path, models, learning_rate=0.05, epochs=10, minibatches=4)
    metrics = ppo_module.iterate(ppo, may_leave=False)
    assert 1 <= metrics["optimizer_steps"] < 40


def test_the_alarm_sounds_when_the_first_pass_does_not_repeat_the_rollout(tmp_path, models, monkeypatch, capsys):
    passes = ppo_module.PPOModels.policy

    def noisy(self, batch):
        found = passes(self, batch)
        return replace(found, logprob_BR=found.logprob_BR + 1e-3 * torch.rand_like(found.logprob_BR))

    monkeypatch.setattr(ppo_module.PPOModels, "policy", noisy)
    _, code = _run(tmp_path, _spec(models))
    assert code == 2
    assert "no step was taken" in capsys.readouterr().err


def test_the_alarm_is_silent_at_ratio_one():
    check_first({"ratio_deviation": 0.0, "clip_fraction": 0.0, "approx_kl": 0.0}, "here")
    with pytest.raises(EngineError, match="here: the policy's log-probs are not"):
        check_first({"ratio_deviation": 2e-5, "clip_fraction": 0.0, "approx_kl": 0.0}, "here")


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_place(tmp_path, models, monkeypatch, capsys):
    monkeypatch.setattr(ppo_module.ppo_maths, "value_loss", lambda *args, **kwargs: args[0].sum() * math.nan)
    _, code = _run(tmp_path, _spec(models))
    assert code == 2
    told = capsys.readouterr().err
    assert "iteration 1, epoch 1, minibatch" in told
    assert "loss is not finite" in told


def test_an_adaptive_beta_moves_and_is_told(tmp_path, models):
    run_dir, _ = _run(tmp_path, _spec(models, adaptive_beta=True, kl_horizon=80, kl_target=6.0))
    betas = [event["metrics"]["beta"] for event in _events(run_dir, "step")]
    # The first rollout has KL 0: error −0.2, 8 answers of a horizon of 80.
    assert betas[:2] == pytest.approx([0.05, 0.05 * (1 - 0.2 * 8 / 80)])


# Bad input.


def test_a_reward_model_of_another_tokenizer_is_refused(tmp_path, models, capsys):
    other = tmp_path / "other"
    shutil.copytree(models / "reward" / "merged", other)
    tokenizer = AutoTokenizer.from_pretrained(other)
    tokenizer.add_tokens(["newword"])
    tokenizer.save_pretrained(other)
    spec = _spec(models)
    spec.models["reward"] = ModelRef(str(other))
    _, code = _run(tmp_path / "run", spec)
    assert code == 2
    assert "another tokenizer" in capsys.readouterr().err


def test_a_missing_reward_model_is_one_sentence(tmp_path, models, capsys):
    spec = _spec(models)
    del spec.models["reward"]
    _, code = _run(tmp_path, spec)
    assert code == 2
    assert "PPO needs a reward model" in capsys.readouterr().err


def test_no_prompts_is_an_error(tmp_path, models, capsys):
    RunDir.create(tmp_path, _spec(models), {"train": [], "eval": []})
    assert main([str(tmp_path)]) == 2
    assert "no prompt to train on" in capsys.readouterr().err


def test_without_stored_numbers_the_scores_are_taken_as_they_are_with_a_warning(tmp_path, models):
    bare = tmp_path / "bare" / "adapter"
    shutil.copytree(models / "reward" / "adapter", bare)
    spec = _spec(models, iterations=1)
    spec.models["reward"] = ModelRef(str(models / "base"), str(bare))
    run_dir, code = _run(tmp_path / "run", spec)
    assert code == 0
    assert "no stored mean" in _events(run_dir, "warning")[0]["message"]
