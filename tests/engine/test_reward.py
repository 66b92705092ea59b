"""The reward model: its oracles, what is kept and what is saved."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from tests.engine.conftest import PREFERENCES
from tests.engine.test_dpo import QuietLoop, gradients, make_pairs
from tests.engine.test_dpo import make_trainee as make_policy
from training.engine import reward, stop
from training.engine.__main__ import BAD_INPUT, DONE, STOPPED, main
from training.engine.calibration import calibration_error
from training.engine.chat import render
from training.engine.config import RewardConfig
from training.engine.errors import EngineError
from training.engine.events import read_events
from training.engine.generate import Sample
from training.engine.models import (
    LoraShape,
    Trainee,
    add_lora,
    load_reward,
    load_tokenizer,
    new_reward_model,
    reward_tokenizer,
    train_everything,
)
from training.engine.packing import Tokens
from training.engine.pairs import Pair
from training.engine.run_dir import ModelRef, RunDir, Spec
from training.engine.saving import save_trained

CPU = torch.device("cpu")


def make_trainee(folder: str, *, lora: bool) -> Trainee:
    core = new_reward_model(ModelRef(folder), torch.float32, pad_id=0, seed=0)
    tokenizer = reward_tokenizer(load_tokenizer(folder))
    if not lora:
        return train_everything(core, tokenizer)
    return add_lora(core, tokenizer, LoraShape(4, 8, "all-linear"), reward=True, seed=1)


def accumulate(trainee: Trainee, **config: Any) -> dict[str, float]:
    return reward.accumulate_gradients(trainee, make_pairs(), RewardConfig(**config), QuietLoop())  # type: ignore[arg-type]


def test_a_head_of_zeros_gives_ln_2(base_folder: str) -> None:
    trainee = make_trainee(base_folder, lora=False)
    trainee.core.score.weight.data.zero_()  # type: ignore[union-attr,operator]
    metrics = accumulate(trainee)
    assert metrics["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert (metrics["margin"], metrics["accuracy"]) == (0.0, 0.5)


def test_the_loss_is_a_weighted_mean_over_the_pairs_of_a_step_whatever_the_passes(base_folder: str) -> None:
    trainee, pairs = make_trainee(base_folder, lora=False), make_pairs()
    heavy = [replace(pairs[0], weight=2.0), *pairs[1:]]

    def gradient(given: list[Pair], **config: Any) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
        trainee.module.zero_grad()
        metrics = reward.accumulate_gradients(trainee, given, RewardConfig(**config), QuietLoop())  # type: ignore[arg-type]
        return metrics, {name: item.clone() for name, item in gradients(trainee).items()}

    told, expected = gradient([pairs[0], *pairs])
    largest = max(float(item.abs().max()) for item in expected.values())
    for found in (gradient(heavy), gradient(heavy, tokens_per_pass=16)):
        assert found[0] == pytest.approx(told, rel=1e-5, abs=1e-6)
        assert max(float((found[1][name] - expected[name]).abs().max()) for name in expected) <= 1e-5 * largest
    assert gradient(pairs)[0]["loss"] != pytest.approx(told["loss"], rel=1e-3)


def test_the_score_is_read_at_the_last_token_whatever_the_padding(base_folder: str) -> None:
    trainee, pairs = make_trainee(base_folder, lora=True), make_pairs()
    sequences = [item for pair in pairs for item in (pair.chosen, pair.rejected)]
    with torch.no_grad():
        together_B = reward.score(trainee, sequences)
        alone_B = torch.cat([reward.score(trainee, [item]) for item in sequences])
        lengthened = Tokens(sequences[0].prompt_ids, [*sequences[0].response_ids, 9])
        assert reward.score(trainee, [lengthened])[0] != alone_B[0]
    torch.testing.assert_close(together_B, alone_B, rtol=1e-5, atol=1e-5)


def test_the_head_starts_with_the_spread_of_the_literature(base_folder: str) -> None:
    weight = make_trainee(base_folder, lora=False).core.score.weight  # type: ignore[union-attr]
    assert weight.dtype == torch.float32  # type: ignore[union-attr]
    assert weight.std().item() == pytest.approx(1 / math.sqrt(65), rel=0.25)  # type: ignore[union-attr,operator]
    # 64 draws: their std is within a quarter of the true one but for 4 in 1000 seeds.


def run_to_end(run_dir: RunDir) -> dict[str, float]:
    assert main([str(run_dir.path)]) == DONE
    result = run_dir.result()
    assert result is not None
    metrics: dict[str, float] = result["metrics"]
    return metrics


def test_training_separates_chosen_from_rejected(make_run: Callable[..., RunDir]) -> None:
    metrics = run_to_end(make_run("reward", epochs=10.0, learning_rate=5e-3))
    assert metrics["accuracy"] == 1.0
    assert metrics["margin"] > metrics["margin_before"] + 0.5
    assert metrics["reward_chosen"] > metrics["reward_rejected"]


def test_the_best_step_is_kept_not_the_last(make_run: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch) -> None:
    accuracies = iter([0.1, 0.4, 0.9, 0.6, 0.9])
    losses = reward.losses

    def scripted(*args: Any) -> Any:
        loss_B, rows = losses(*args)
        if not torch.is_grad_enabled() or not loss_B.requires_grad:
            rows = rows.clone()
            rows[reward.METRICS.index("accuracy")] = next(accuracies)
            rows[reward.METRICS.index("loss")] = 1.0
        return loss_B, rows

    monkeypatch.setattr(reward, "losses", scripted)
    kept: list[Any] = []
    put = reward.Loop.put_weights
    monkeypatch.setattr(reward.Loop, "put_weights", lambda loop, weights: (kept.append(weights), put(loop, weights))[1])
    steady: dict[str, Any] = {"learning_rate": 1e-2, "schedule": "constant", "warmup_share": 0.0}
    run_dir = make_run("reward", epochs=2.0, eval_every=1, **steady)
    metrics = run_to_end(run_dir)
    assert (metrics["best_step"], metrics["accuracy"]) == (2.0, pytest.approx(0.9))
    assert len(kept) == 1
    # What is saved are the weights of that step: those of a run of two steps.
    monkeypatch.undo()
    short = make_run("reward", name="short", max_steps=2, held_out=[], **steady)
    run_to_end(short)
    found, expected = (
        load_file(item.model_path / "adapter" / "adapter_model.safetensors") for item in (run_dir, short)
    )
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def test_saved_and_loaded_again_it_gives_the_same_score_bit_for_bit(base_folder: str, tmp_path: Path) -> None:
    trainee = make_trainee(base_folder, lora=True)
    torch.manual_seed(5)
    for name, item in trainee.module.named_parameters():
        if "lora_B" in name:
            item.data.normal_(std=0.1)
    sequences = [pair.chosen for pair in make_pairs()]
    run_dir = RunDir.create(tmp_path / "run", Spec(method="reward", config={}))
    with torch.no_grad():
        in_memory_B = reward.score(trainee, sequences)
        save_trained(run_dir, trainee, base=ModelRef(base_folder), kind="reward", extra={})
        merged_in_memory_B = reward.score(Trainee(trainee.core, trainee.tokenizer, CPU), sequences)

        base = new_reward_model(ModelRef(base_folder), torch.float32, pad_id=0, seed=99)
        adapter: Any = PeftModel.from_pretrained(base, str(run_dir.model_path / "adapter"))
        adapter_B = reward.score(Trainee(adapter.get_base_model(), trainee.tokenizer, CPU, adapter), sequences)
        merged = load_reward(ModelRef(str(run_dir.model_path / "merged")), dtype=torch.float32, device=CPU)
        merged_B = reward.score(Trainee(merged, trainee.tokenizer, CPU), sequences)
    assert torch.equal(adapter_B, in_memory_B)
    assert torch.equal(merged_B, merged_in_memory_B)
    torch.testing.assert_close(merged_B, adapter_B, rtol=1e-5, atol=1e-6)


def test_transformers_alone_gives_the_score_of_ours(make_run: Callable[..., RunDir]) -> None:
    run_dir = make_run("reward", epochs=4.0, learning_rate=5e-3)
    run_to_end(run_dir)
    folder = str(run_dir.model_path / "merged")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder)
    prompt_ids, response_ids = render(tokenizer, PREFERENCES[0]["prompt"], "Paris.")
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([prompt_ids + response_ids])).logits[0, 0]
        found = reward.score(Trainee(model, tokenizer, CPU), [Tokens(prompt_ids, response_ids)])[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_merged_and_adapter_score_alike_and_apart_from_the_base(
    make_run: Callable[..., RunDir], base_folder: str
) -> None:
    run_dir = make_run("reward", epochs=4.0, learning_rate=5e-3)
    run_to_end(run_dir)
    merged = load_reward(ModelRef(str(run_dir.model_path / "merged")), dtype=torch.float32, device=CPU)
    adapter = str(run_dir.model_path / "adapter")
    adapted = load_reward(ModelRef(base_folder, adapter=adapter), dtype=torch.float32, device=CPU)
    fresh = new_reward_model(ModelRef(base_folder), torch.float32, pad_id=0, seed=3)
    ids = torch.tensor([[5, 60, 100, 200, 300, 2]])
    with torch.no_grad():
        scores = [model(input_ids=ids).logits.item() for model in (merged, adapted, fresh)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    assert abs(scores[0] - scores[2]) > 1e-3


def test_padding_a_batch_with_the_saved_tokenizer_leaves_scores_alone(make_run: Callable[..., RunDir]) -> None:
    run_dir = make_run("reward")
    run_to_end(run_dir)
    folder = run_dir.model_path / "merged"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert tokenizer.pad_token_id == model.config.pad_token_id != tokenizer.eos_token_id
    texts = ["Paris.<|end|>", "Bees make honey and wax.<|end|>"]
    with torch.no_grad():
        together = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits[:, 0]
        alone = [model(**tokenizer(text, return_tensors="pt")).logits[0, 0] for text in texts]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-5, atol=1e-6)


def test_the_manifest_normalises_the_scores_of_training_answers(make_run: Callable[..., RunDir]) -> None:
    run_dir = make_run("reward", epochs=2.0, learning_rate=5e-3)
    metrics = run_to_end(run_dir)
    manifest = run_dir.manifest()
    assert manifest is not None
    model = load_reward(ModelRef(str(run_dir.model_path / "merged")), dtype=torch.float32, device=CPU)
    tokenizer = load_tokenizer(str(run_dir.model_path / "merged"))
    trainee = Trainee(core=model, tokenizer=tokenizer, device=CPU)
    sequences = [
        Tokens(*render(tokenizer, row["prompt"], row[side])) for row in PREFERENCES for side in ("chosen", "rejected")
    ]
    with torch.no_grad():
        scores = reward.score(trainee, sequences)
    normalised = (scores - manifest["reward"]["mean"]) / manifest["reward"]["std"]
    assert float(normalised.mean()) == pytest.approx(0.0, abs=1e-3)
    assert float(normalised.std()) == pytest.approx(1.0, abs=1e-3)
    assert metrics["score_std"] == manifest["reward"]["std"]


def test_without_held_out_pairs_the_last_step_is_kept(make_run: Callable[..., RunDir]) -> None:
    run_dir = make_run("reward", held_out=[], epochs=3.0)
    assert run_to_end(run_dir)["best_step"] == 6.0


def test_the_score_of_a_policy_version_starts_from_its_merged_weights(
    base_folder: str, make_run: Callable[..., RunDir]
) -> None:
    run_dir = make_run("dpo", learning_rate=5e-3, epochs=2.0)
    assert main([str(run_dir.path)]) == DONE
    version = ModelRef(base_folder, adapter=str(run_dir.model_path / "adapter"))
    model: Any = new_reward_model(version, torch.float32, pad_id=0, seed=0)
    merged: Any = AutoModelForCausalLM.from_pretrained(run_dir.model_path / "merged")
    ids = torch.tensor([[5, 60, 100]])
    with torch.no_grad():
        found = model.base_model(input_ids=ids).last_hidden_state
        expected = merged.base_model(input_ids=ids).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    kinds = [item["kind"] for item in read_events(run_dir.events_path, 0)[0]]
    assert kinds[-1] == "done"


def always_worse(patch: pytest.MonkeyPatch) -> None:
    """After the first evaluation no step is better."""
    patch.setattr(reward, "is_better", lambda metrics, best: False)


def test_a_run_without_a_better_step_ends_after_its_patience_with_the_best(
    make_run: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    always_worse(monkeypatch)
    run_dir = make_run("reward", epochs=10.0, eval_every=2, patience=3, learning_rate=5e-3)
    metrics = run_to_end(run_dir)
    result = run_dir.result() or {}
    assert (metrics["best_step"], result["steps"], result["stopped_early"]) == (2.0, 8, True)
    events = read_events(run_dir.events_path, 0)[0]
    assert [item["step"] for item in events if item["kind"] == "eval"] == [0, 2, 4, 6, 8]
    assert [item["step"] for item in events if item["kind"] == "step"] == list(range(1, 9))
    at_best = next(item["metrics"] for item in events if item["kind"] == "eval" and item["step"] == 2)
    assert at_best.items() <= metrics.items()


@pytest.mark.parametrize("patience", [0, 10])
def test_without_patience_or_with_enough_of_it_every_step_is_taken(
    make_run: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    always_worse(monkeypatch)
    run_dir = make_run("reward", epochs=5.0, eval_every=2, patience=patience)
    run_to_end(run_dir)
    result = run_dir.result() or {}
    assert (result["steps"], result["stopped_early"]) == (10, False)


def test_a_better_step_renews_the_patience(make_run: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch) -> None:
    better = iter([False, False, True, False, False, False])  # at the evaluations of steps 2 to 7
    monkeypatch.setattr(reward, "is_better", lambda metrics, best: next(better))
    run_dir = make_run("reward", epochs=10.0, eval_every=1, patience=3)
    assert run_to_end(run_dir)["best_step"] == 4.0
    assert (run_dir.result() or {})["steps"] == 7


@pytest.mark.parametrize("looks_left", [1, 2, 4, 9])
def test_a_stopped_run_goes_on_to_the_same_early_end(
    make_run: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch, looks_left: int
) -> None:
    """Stopped at the last place where it looks for SIGTERM, while normalising, and at places before that."""
    always_worse(monkeypatch)
    options: dict[str, Any] = {"epochs": 10.0, "eval_every": 2, "patience": 2, "checkpoint_every": 4}
    whole, broken = make_run("reward", name="whole", **options), make_run("reward", name="broken", **options)
    looks = 0

    def requested(after: float) -> bool:
        nonlocal looks
        looks += 1
        return looks > after

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stop, "requested", lambda: requested(math.inf))
        expected = run_to_end(whole)
        last, looks = looks - looks_left, 0
        patch.setattr(stop, "requested", lambda: requested(last))
        assert main([str(broken.path)]) == STOPPED
    assert run_to_end(broken) == expected
    weights = [load_file(item.model_path / "adapter" / "adapter_model.safetensors") for item in (whole, broken)]
    assert weights[0].keys() == weights[1].keys()
    assert [name for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])] == []
    assert (broken.result() or {})["steps"] == 6


def test_evaluations_tell_how_far_the_scores_can_be_believed(make_run: Callable[..., RunDir]) -> None:
    strong = [{**row, "margin": float(place % 4)} for place, row in enumerate(PREFERENCES)]
    run_dir = make_run("reward", held_out=strong)
    metrics: dict[str, Any] = run_to_end(run_dir)
    assert metrics["ece"] == calibration_error(metrics["reliability"])
    assert sum(item["pairs"] for item in metrics["reliability"]) == len(strong)
    assert [item["strength"] for item in metrics["accuracy_by_strength"]] == [0, 1, 2, 3]
    assert [(item["chosen"], item["pairs"]) for item in metrics["accuracy_by_length"]] == [("shorter", len(strong))]
    assert metrics["accuracy_by_length"][0]["accuracy"] == pytest.approx(metrics["accuracy"])
    evaluations = [item["metrics"] for item in read_events(run_dir.events_path, 0)[0] if item["kind"] == "eval"]
    assert evaluations[0]["reliability"] == metrics["reliability_before"]
    assert evaluations[-1]["reliability"] == metrics["reliability"]


def test_with_a_policy_its_own_answers_are_what_is_normalised(
    make_run: Callable[..., RunDir], base_folder: str
) -> None:
    options: dict[str, Any] = {"policy_answers": 12, "policy_tokens": 6, "learning_rate": 5e-3}
    run_dir = make_run("reward", models={"policy": ModelRef(base_folder)}, **options)
    metrics = run_to_end(run_dir)
    told = (run_dir.manifest() or {})["reward"]
    assert (told["of"], told["answers"]) == ("answers of the policy", 12)
    answers = [Tokens(*item) for item in json.loads((run_dir.path / "policy_answers.json").read_text())]
    assert len({tuple(item.prompt_ids) for item in answers}) == len(PREFERENCES)
    assert len({(tuple(item.prompt_ids), tuple(item.response_ids)) for item in answers}) == 12
    merged = load_reward(ModelRef(str(run_dir.model_path / "merged")), dtype=torch.float32, device=CPU)
    with torch.no_grad():
        score_B = reward.score(Trainee(merged, load_tokenizer(base_folder), CPU), answers)
    assert told["mean"] == pytest.approx(float(score_B.mean()), rel=1e-4, abs=1e-5)
    assert told["std"] == pytest.approx(float(score_B.std()), rel=1e-4)
    assert (metrics["score_mean"], metrics["score_std"]) == (told["mean"], told["std"])


def test_answers_of_the_policy_pass_through_text_and_keep_whether_they_ended(
    make_run: Callable[..., RunDir], base_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy has a tokenizer of its own; an answer that did not end gets no end token."""
    tokenizer: Any = load_tokenizer(base_folder)
    other = tokenizer.train_new_from_iterator(["Hello! It is good to see you."] * 4, vocab_size=290)
    policy: Any = AutoModelForCausalLM.from_pretrained(base_folder)
    policy.resize_token_embeddings(len(other))
    policy.save_pretrained(tmp_path / "policy")
    other.save_pretrained(tmp_path / "policy")
    theirs, ours = other("Hello! It is")["input_ids"], tokenizer("Hello! It is")["input_ids"]
    assert theirs != ours
    answers = [Sample([*theirs, other.eos_token_id], True), Sample(theirs, False)]
    monkeypatch.setattr(reward, "generate", lambda *args, **rest: answers)
    run_dir = make_run("reward", models={"policy": ModelRef(str(tmp_path / "policy"))}, policy_answers=2)
    run_to_end(run_dir)
    found = json.loads((run_dir.path / "policy_answers.json").read_text())
    assert [response_ids for _, response_ids in found] == [[*ours, tokenizer.eos_token_id], ours]
    prompts = [render(tokenizer, row["prompt"])[0] for row in PREFERENCES[:2]]
    assert [prompt_ids for prompt_ids, _ in found] == prompts


def test_without_a_policy_the_manifest_says_training_answers(make_run: Callable[..., RunDir]) -> None:
    run_dir = make_run("reward")
    run_to_end(run_dir)
    told = (run_dir.manifest() or {})["reward"]
    assert (told["of"], told["answers"]) == ("training answers", 2 * len(PREFERENCES))


def test_a_policy_that_cannot_be_loaded_ends_the_run_before_its_first_step(
    make_run: Callable[..., RunDir], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = make_run("reward", models={"policy": ModelRef(str(tmp_path / "nothing"))})
    assert main([str(run_dir.path)]) == BAD_INPUT
    assert "nothing" in capsys.readouterr().err
    assert "step" not in {item["kind"] for item in read_events(run_dir.events_path, 0)[0]}


def make_classifier(folder: str, outputs: int, target: Path) -> str:
    """A sequence classifier on the tiny base with a head of so many outputs, saved with its tokenizer."""
    torch.manual_seed(8)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=outputs)
    model.score.weight.data.normal_(std=0.3)
    model.config.pad_token_id = 0
    model.save_pretrained(target)
    load_tokenizer(folder).save_pretrained(target)
    return str(target)


def test_a_classifier_with_one_output_is_gone_on_with_from_its_own_head(
    make_run: Callable[..., RunDir], base_folder: str, tmp_path: Path
) -> None:
    folder = make_classifier(base_folder, 1, tmp_path / "classifier")
    theirs: Any = AutoModelForSequenceClassification.from_pretrained(folder)
    ours: Any = new_reward_model(ModelRef(folder), torch.float32, pad_id=0, seed=3)
    assert torch.equal(ours.score.weight, theirs.score.weight)
    fresh: Any = new_reward_model(ModelRef(base_folder), torch.float32, pad_id=0, seed=3)
    assert not torch.equal(fresh.score.weight, theirs.score.weight)

    run_dir = make_run("reward", models={"base": ModelRef(folder)}, held_out=PREFERENCES[:1], learning_rate=5e-3)
    metrics = run_to_end(run_dir)
    tokenizer = load_tokenizer(folder)
    prompt_ids, response_ids = render(tokenizer, PREFERENCES[0]["prompt"], PREFERENCES[0]["chosen"])
    with torch.no_grad():
        expected = theirs(input_ids=torch.tensor([prompt_ids + response_ids])).logits.item()
    assert metrics["reward_chosen_before"] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert metrics["reward_chosen"] != pytest.approx(expected, rel=1e-3)
    adapted = ModelRef(folder, adapter=str(run_dir.model_path / "adapter"))
    with torch.no_grad():
        found = load_reward(adapted, dtype=torch.float32, device=CPU)(
            input_ids=torch.tensor([prompt_ids + response_ids])
        ).logits.item()
    assert found == pytest.approx(metrics["reward_chosen"], rel=1e-4, abs=1e-5)


def test_a_classifier_with_two_outputs_is_refused_by_name(
    make_run: Callable[..., RunDir], base_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_classifier(base_folder, 2, tmp_path / "classifier")
    run_dir = make_run("reward", models={"base": ModelRef(folder)})
    assert main([str(run_dir.path)]) == BAD_INPUT
    assert "has 2 outputs; a reward model has one" in capsys.readouterr().err


@pytest.mark.parametrize("lora", [True, False])
def test_the_head_is_saved_as_it_was_trained_bit_for_bit(base_folder: str, tmp_path: Path, lora: bool) -> None:
    trainee = make_trainee(base_folder, lora=lora)
    torch.manual_seed(7)
    head = next(item for name, item in trainee.trainable().items() if "score" in name)
    head.data.normal_()
    expected = head.detach().clone()
    run_dir = RunDir.create(tmp_path / "run", Spec(method="reward", config={}))
    save_trained(run_dir, trainee, base=ModelRef(base_folder), kind="reward", extra={})
    files = sorted(run_dir.model_path.rglob("*model.safetensors"))
    assert [path.parent.name for path in files] == (["adapter", "merged"] if lora else ["merged"])
    heads = [item for path in files for name, item in load_file(path).items() if "score" in name]
    assert len(heads) == len(files)
    assert [torch.equal(item, expected) for item in heads] == [True] * len(files)
    refs = [ModelRef(str(run_dir.model_path / "merged"))]
    if lora:
        refs.append(ModelRef(base_folder, adapter=str(run_dir.model_path / "adapter")))
    formats = (torch.float32, torch.bfloat16)
    loaded: list[Any] = [load_reward(ref, dtype=dtype, device=CPU) for ref in refs for dtype in formats]
    loaded += [new_reward_model(ref, dtype, pad_id=0, seed=9) for ref in refs for dtype in formats]
    assert [torch.equal(model.score.weight, expected) for model in loaded] == [True] * 4 * len(refs)
    assert {next(model.base_model.parameters()).dtype for model in loaded} == set(formats)


def test_a_reward_adapter_is_gone_on_with_from_its_own_scores(base_folder: str, tmp_path: Path) -> None:
    trainee = make_trainee(base_folder, lora=True)
    torch.manual_seed(5)
    for name, item in trainee.module.named_parameters():
        if "lora_B" in name:
            item.data.normal_(std=0.1)
    assert trainee.peft is not None
    trainee.peft.save_pretrained(str(tmp_path / "adapter"))
    again = new_reward_model(ModelRef(base_folder, adapter=str(tmp_path / "adapter")), torch.float32, pad_id=0, seed=9)
    sequences = [pair.chosen for pair in make_pairs()]
    with torch.no_grad():
        expected_B = reward.score(trainee, sequences)
        found_B = reward.score(Trainee(again, trainee.tokenizer, CPU), sequences)
    torch.testing.assert_close(found_B, expected_B, rtol=1e-5, atol=1e-6)
    classifier = make_classifier(base_folder, 1, tmp_path / "classifier")
    with pytest.raises(EngineError, match="does not fit a classifier"):
        new_reward_model(ModelRef(classifier, adapter=str(tmp_path / "policy")), torch.float32, pad_id=0, seed=9)


def test_a_policys_adapter_is_no_reward_model(base_folder: str, tmp_path: Path) -> None:
    make_policy(base_folder, lora=True).peft.save_pretrained(str(tmp_path))  # type: ignore[union-attr]
    with pytest.raises(EngineError, match="is not a reward model's: it was not trained to score"):
        load_reward(ModelRef(base_folder, adapter=str(tmp_path)), dtype=torch.float32, device=CPU)


def test_an_adapter_that_lacks_weights_is_refused_where_peft_would_draw_them(base_folder: str, tmp_path: Path) -> None:
    trainee = make_trainee(base_folder, lora=True)
    assert trainee.peft is not None
    trainee.peft.save_pretrained(str(tmp_path))
    ref, file = ModelRef(base_folder, adapter=str(tmp_path)), tmp_path / "adapter_model.safetensors"
    load_reward(ref, dtype=torch.float32, device=CPU)
    weights = load_file(file)
    kept = {name: item for name, item in weights.items() if ".layers.1." not in name}
    assert kept.keys() < weights.keys()
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(EngineError, match=f"lacks {len(weights) - len(kept)} of its weights, .*layers.1.* among them"):
        load_reward(ref, dtype=torch.float32, device=CPU)


def test_a_classifier_whose_head_is_not_in_its_files_is_refused(base_folder: str, tmp_path: Path) -> None:
    folder = make_classifier(base_folder, 1, tmp_path / "classifier")
    file = tmp_path / "classifier" / "model.safetensors"
    kept = {name: item for name, item in load_file(file).items() if "score" not in name}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(EngineError, match=r"lacks 1 of its weights, score\.weight among them"):
        new_reward_model(ModelRef(folder), torch.float32, pad_id=0, seed=0)
