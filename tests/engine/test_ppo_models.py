"""The roles of PPO and their passes: who lends the backbone, who reads what, and what must agree."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from tests.engine.families import families
from tests.engine.ppo_runs import (
    CPU,
    SMALL,
    build_models,
    build_reward_model,
    events_of,
    make_spec,
    pieces_of,
    prepared,
    some_answers,
    some_batch,
    start_run,
)
from training.engine import chat
from training.engine.config import PPOConfig
from training.engine.errors import EngineError
from training.engine.generate import Sample
from training.engine.models import load_tokenizer
from training.engine.ppo_loading import load_models
from training.engine.ppo_models import make_batch


def test_logprobs_and_entropy_are_those_of_the_plain_model_at_the_temperature(ppo_models):
    config = PPOConfig(**{**SMALL, "temperature": 0.7})
    loaded = load_models(make_spec(ppo_models), config)
    prompts, responses = some_answers(ppo_models)
    batch = some_batch(ppo_models)
    plain = AutoModelForCausalLM.from_pretrained(ppo_models / "base")
    found, entropy_BR = loaded.policy_and_entropy(batch)
    with torch.no_grad():
        assert torch.equal(loaded.policy(batch).logprob_BR, found.logprob_BR)
        reference_BR = loaded.reference_logprobs(batch)
        for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
            logits_RV = plain(input_ids=torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
            logprob_RV = torch.log_softmax(logits_RV / 0.7, -1)
            expected_R = logprob_RV.gather(1, torch.tensor(response)[:, None])[:, 0]
            size = len(response)
            torch.testing.assert_close(found.logprob_BR[row, :size], expected_R, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(reference_BR[row, :size], expected_R, rtol=1e-5, atol=1e-5)
            expected_entropy_R = -(logprob_RV.exp() * logprob_RV).sum(-1)
            torch.testing.assert_close(entropy_BR[row, :size], expected_entropy_R, rtol=1e-5, atol=1e-5)
    for value_BR in (found.logprob_BR, entropy_BR, reference_BR):
        assert value_BR[~batch.is_response_BR].abs().sum() == 0


def test_scores_are_those_of_transformers_whether_the_reward_model_is_an_adapter_or_whole(ppo_models):
    prompts, responses = some_answers(ppo_models)
    plain = AutoModelForSequenceClassification.from_pretrained(ppo_models / "reward" / "merged")
    with torch.no_grad():
        expected_B = torch.stack(
            [
                plain(input_ids=torch.tensor([prompt + response])).logits[0, 0]
                for prompt, response in zip(prompts, responses, strict=True)
            ]
        )
    batch = make_batch(prompts, responses, CPU)
    assert expected_B.std() > 1e-3
    for adapter in (True, False):
        loaded = load_models(make_spec(ppo_models, adapter=adapter), PPOConfig(**SMALL))
        assert (loaded.reward_model is None) == adapter
        torch.testing.assert_close(loaded.scores(batch), expected_B, rtol=1e-4, atol=1e-5)


def test_company_changes_nothing(ppo_models):
    loaded = load_models(make_spec(ppo_models), PPOConfig(**{**SMALL, "value_backbone": "own"}))
    prompts, responses = some_answers(ppo_models)
    batch = make_batch(prompts, responses, CPU)
    shortest = min(range(4), key=lambda row: len(responses[row]))
    alone = make_batch([prompts[shortest]], [responses[shortest]], CPU)
    width = len(responses[shortest])
    with torch.no_grad():
        for found_BR, alone_BR in (
            (loaded.policy(batch).logprob_BR, loaded.policy(alone).logprob_BR),
            (loaded.reference_logprobs(batch), loaded.reference_logprobs(alone)),
            (loaded.values(batch, None), loaded.values(alone, None)),
        ):
            torch.testing.assert_close(found_BR[shortest, :width], alone_BR[0], rtol=1e-5, atol=1e-5)
            assert not found_BR[shortest, width:].any()
        torch.testing.assert_close(loaded.scores(batch)[shortest], loaded.scores(alone)[0], rtol=1e-5, atol=1e-5)


def test_a_value_model_of_its_own_starts_as_the_normalised_reward_model(ppo_models):
    prompts, responses = some_answers(ppo_models)
    # The value stands before a token, the score at it: of an answer one token longer, the last value is the score.
    batch = make_batch(prompts, responses, CPU)
    longer = make_batch(prompts, [[*response, 5] for response in responses], CPU)
    for adapter in (True, False):
        loaded = load_models(make_spec(ppo_models, adapter=adapter), PPOConfig(**{**SMALL, "value_backbone": "own"}))
        with torch.no_grad():
            value_BR = loaded.values(longer, None)
            last_B = torch.stack([value_BR[row, len(response)] for row, response in enumerate(responses)])
            torch.testing.assert_close(last_B, (loaded.scores(batch) - 1.25) / 0.25, rtol=1e-4, atol=1e-4)


def test_a_value_head_on_the_policy_starts_at_zero(ppo_models):
    loaded = load_models(make_spec(ppo_models), PPOConfig(**SMALL))
    batch = some_batch(ppo_models)
    with torch.no_grad():
        assert loaded.values(batch, loaded.policy(batch).hidden_NH).abs().sum() == 0


def test_the_reference_stays_the_base_while_the_policy_moves(ppo_models):
    loaded = load_models(make_spec(ppo_models), PPOConfig(**SMALL))
    batch = some_batch(ppo_models)
    with torch.no_grad():
        start_BR = loaded.policy(batch).logprob_BR
        for item in loaded.policy_parameters().values():
            item.add_(0.05)
        assert torch.equal(loaded.reference_logprobs(batch), start_BR)
        assert (loaded.policy(batch).logprob_BR - start_BR).abs().max() > 1e-2


@pytest.mark.parametrize("lora", [True, False])
def test_a_moving_reference_goes_towards_the_policy(ppo_models, lora):
    loaded = load_models(make_spec(ppo_models), PPOConfig(**{**SMALL, "ema_rate": 0.5, "lora": lora}))
    batch = some_batch(ppo_models)
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


def test_with_adapters_every_role_stands_on_one_backbone(ppo_models):
    loaded = load_models(make_spec(ppo_models), PPOConfig(**{**SMALL, "value_backbone": "own", "ema_rate": 0.1}))
    assert (loaded.value_model, loaded.reward_model, loaded.reference_model) == (None, None, None)
    base = AutoModelForCausalLM.from_pretrained(ppo_models / "base")
    held = {name: item for name, item in loaded.trainee.peft.named_parameters() if ".lora_" not in name}
    assert sum(item.numel() for item in held.values()) == sum(item.numel() for item in base.parameters())
    assert not any(item.requires_grad for item in held.values())
    assert set(loaded.trainee.peft.peft_config) == {"default", "value", "reward", "reference"}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_no_role_has_dropout_whatever_the_models_say(tmp_path, checkpointing):
    folder = tmp_path / "models"
    build_models(folder, *families["gpt2"]())
    for place in ("base", "reward/merged"):
        path = folder / place / "config.json"
        drops = {"embd_pdrop": 0.5, "resid_pdrop": 0.5, "attn_pdrop": 0.5}
        path.write_text(json.dumps({**json.loads(path.read_text()), **drops}))
    options = {"gradient_checkpointing": checkpointing, "epochs": 1, "minibatches": 1, "iterations": 1}
    for adapter in (True, False):
        run_dir, code = start_run(tmp_path / f"run-{adapter}", make_spec(folder, adapter=adapter, **options))
        assert code == 0
        [step] = events_of(run_dir, "step")
        assert (step["metrics"]["kl"], step["metrics"]["ratio_deviation"]) == (0.0, 0.0)


# Reward models that are not of the policy's family.


def _other_tokenizer(ppo_models):
    """The tiny tokenizer with one more word, an end token of its own and another template."""
    tokenizer = AutoTokenizer.from_pretrained(ppo_models / "base")
    tokenizer.add_special_tokens({"eos_token": "<|stop|>"})
    tokenizer.chat_template = (
        "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}<|stop|>{% endfor %}"
        "{% if add_generation_prompt %}[assistant] {% endif %}"
    )
    return tokenizer


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("backbone", ["shared", "own"])
def test_a_reward_model_of_another_size_serves_as_a_model_of_its_own(tmp_path, ppo_models, lora, backbone):
    reward = build_reward_model(tmp_path / "other", load_tokenizer(str(ppo_models / "base")))
    spec = make_spec(ppo_models, reward=reward, lora=lora, value_backbone=backbone, iterations=2)
    loaded = load_models(spec, PPOConfig(**spec.config))
    assert loaded.reader is None
    plain = AutoModelForSequenceClassification.from_pretrained(reward.path)
    prompts, responses = some_answers(ppo_models)
    rows = [torch.tensor([[*prompt, *response]]) for prompt, response in zip(prompts, responses, strict=True)]
    expected = [plain(input_ids=row).logits.item() for row in rows]
    torch.testing.assert_close(loaded.scores(some_batch(ppo_models)), torch.tensor(expected), rtol=1e-4, atol=1e-6)
    _, code = start_run(tmp_path / "run", spec)
    assert code == 0


def test_a_reward_model_of_another_tokenizer_reads_the_text_in_its_own_template(tmp_path, ppo_models):
    own, other = load_tokenizer(str(ppo_models / "base")), _other_tokenizer(ppo_models)
    reward = build_reward_model(tmp_path / "other", other)
    run = prepared(tmp_path / "run", make_spec(ppo_models, reward=reward))
    end = chat.end_token_id(own)
    said = ["Paris.", "Blue is one", ""]
    samples = [
        Sample([*own(said[0])["input_ids"], end], ended=True),
        Sample(own(said[1])["input_ids"], ended=False),
        Sample([end], ended=True),
    ]
    [piece] = pieces_of(run, samples)
    plain = AutoModelForSequenceClassification.from_pretrained(reward.path)
    expected = {}
    for row, prompt in zip(piece.rows, piece.prompts, strict=True):
        # An answer that ended has the reader's end token, one that was cut has none.
        end_token = "<|stop|>" if samples[row].ended else ""
        read = f"[user] {prompt.messages[0]['content']}<|stop|>[assistant] {said[row]}{end_token}"
        with torch.no_grad():
            expected[row] = plain(input_ids=other(read, return_tensors="pt")["input_ids"]).logits.item() / 0.25
    found = dict(zip(piece.rows, piece.score_B.tolist(), strict=True))
    assert found == pytest.approx(expected, rel=1e-4)
    assert len({round(score, 4) for score in found.values()}) == 3


def test_training_by_a_reward_model_of_another_tokenizer_runs_and_says_so(tmp_path, ppo_models):
    reward = build_reward_model(tmp_path / "other", _other_tokenizer(ppo_models))
    run_dir, code = start_run(tmp_path / "run", make_spec(ppo_models, reward=reward))
    assert code == 0
    assert any("it reads answers as text" in event["message"] for event in events_of(run_dir, "warning"))


def test_the_same_tokenizer_with_another_template_is_read_as_text_too(tmp_path, ppo_models):
    tokenizer = load_tokenizer(str(ppo_models / "base"))
    tokenizer.chat_template = tokenizer.chat_template.replace("<|start|>", "<|start|> ")
    loaded = load_models(
        make_spec(ppo_models, reward=build_reward_model(tmp_path / "other", tokenizer)), PPOConfig(**SMALL)
    )
    assert loaded.reader is not None
    assert load_models(make_spec(ppo_models, adapter=False), PPOConfig(**SMALL)).reader is None


def test_a_value_model_cannot_start_from_a_reward_model_of_another_tokenizer(tmp_path, ppo_models):
    reward = build_reward_model(tmp_path / "other", _other_tokenizer(ppo_models))
    with pytest.raises(EngineError, match="another tokenizer, so no value model can start from it; set value_backbone"):
        load_models(make_spec(ppo_models, reward=reward), PPOConfig(**{**SMALL, "value_backbone": "own"}))


def test_prompts_leave_room_in_the_smallest_context_that_reads_them(tmp_path, ppo_models):
    reward = build_reward_model(
        tmp_path / "other", load_tokenizer(str(ppo_models / "base")), max_position_embeddings=24
    )
    run = prepared(tmp_path / "run", make_spec(ppo_models, reward=reward))
    assert max(len(prompt.ids) for prompt in run.train) == 24 - SMALL["max_new_tokens"]
    assert any(prompt.cut for prompt in run.train)
