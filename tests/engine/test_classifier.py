"""Reward models that are no plain decoders: what they read, score, learn and leave behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch.nn import functional as F  # noqa: N812 - the name everybody uses
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DebertaConfig,
    DebertaForSequenceClassification,
    Gemma3TextConfig,
    Gemma3TextForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    XLNetConfig,
    XLNetForSequenceClassification,
)

from tests.engine.conftest import PREFERENCES
from tests.engine.encoders import PLACES, bert_tokenizer, encoders, modernbert_tokenizer, save_encoder
from tests.engine.ppo_runs import SMALL as SMALL_PPO
from tests.engine.ppo_runs import make_spec, pieces_of, prepared, start_run
from tests.engine.test_dpo import QuietLoop, gradients
from tests.engine.test_readme import blocks
from training.engine import reward, stop
from training.engine.__main__ import BAD_INPUT, DONE, STOPPED, main
from training.engine.backbone import multiply_in, outside_backbone, score_head
from training.engine.chat import render, render_to_fit
from training.engine.classifier import (
    MOST_PADDING,
    load_reward,
    load_reward_trainee,
    new_reward_model,
    of_like_length,
    reward_tokenizer,
)
from training.engine.config import PPOConfig, RewardConfig
from training.engine.errors import EngineError
from training.engine.generate import Sample
from training.engine.models import LoraShape, Trainee, add_lora, load_tokenizer, reads_at_most, train_everything
from training.engine.packing import Tokens
from training.engine.pairs import Pair
from training.engine.ppo_loading import load_models
from training.engine.run_dir import ModelRef, RunDir, Spec
from training.engine.saving import save_trained

CPU = torch.device("cpu")
TEXTS = [
    ("Say hello.", "Hello!"),
    ("What do bees make?", "Bees make honey and wax. " * 3),
    ("Say hello.", "Go to bed at the same time every night, and keep the room dark."),
    ("How many days has a week?", "Paris."),
]

each = pytest.mark.parametrize("name", list(encoders))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder of model and tokenizer for each encoder."""
    return {name: save_encoder(name, tmp_path_factory.mktemp(name) / "full") for name in (*encoders, "bart")}


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def make_trainee(folder: str, *, lora: bool = False) -> Trainee:
    core = new_reward_model(ModelRef(folder), torch.float32, pad_id=0, seed=0)
    tokenizer = reward_tokenizer(load_tokenizer(folder), core)
    if not lora:
        return train_everything(core, tokenizer)
    trainee = add_lora(core, tokenizer, LoraShape(4, 8, "all-linear"), reward=True, seed=1)
    torch.manual_seed(5)
    for name, item in trainee.module.named_parameters():
        if "lora_B" in name:
            item.data.normal_(std=0.1)
    return trainee


def as_tokens(trainee: Trainee) -> list[Tokens]:
    return [Tokens(*render(trainee.tokenizer, ask(prompt), answer)) for prompt, answer in TEXTS]


def plain_scores(model: Any, tokenizer: Any) -> torch.Tensor:
    """What transformers alone gives the texts, each alone, (B,)."""
    return torch.stack([model(**tokenizer(*pair, return_tensors="pt")).logits[0, 0] for pair in TEXTS])


def plain(folder: str) -> tuple[Any, Any]:
    return AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@each
@torch.no_grad()
def test_its_score_is_that_of_transformers_for_the_pair_of_texts(folders: dict[str, str], name: str) -> None:
    trainee = make_trainee(folders[name])
    expected_B = plain_scores(*plain(folders[name]))
    assert expected_B.std() > 1e-2
    torch.testing.assert_close(reward.score(trainee, as_tokens(trainee)), expected_B, rtol=1e-5, atol=1e-5)


@each
def test_loss_and_gradients_are_the_formulas_on_each_row_alone(folders: dict[str, str], name: str) -> None:
    trainee = make_trainee(folders[name])
    rows = as_tokens(trainee)
    pairs = [
        Pair("0", [], Tokens(rows[0].prompt_ids, rows[0].response_ids), rows[2], 0.0, 1.0),
        Pair("1", [], rows[1], rows[3], 2.0, 0.5),
    ]
    config = RewardConfig(margin_scale=0.5, centring=0.01)
    metrics = reward.accumulate_gradients(trainee, pairs, config, QuietLoop())  # type: ignore[arg-type]

    model, tokenizer = plain(folders[name])
    score_B = plain_scores(model, tokenizer)
    expected = torch.zeros(())
    for chosen, rejected, margin, weight in ((0, 2, 0.0, 1.0), (1, 3, 1.0, 0.5)):
        loss = -F.logsigmoid(score_B[chosen] - score_B[rejected] - margin)
        expected = expected + weight * (loss + 0.01 * (score_B[chosen] + score_B[rejected]) ** 2) / 1.5
    expected.backward()
    assert metrics["loss"] == pytest.approx(expected.item(), rel=1e-5)
    theirs = dict(model.named_parameters())
    largest = max(float(item.grad.abs().max()) for item in theirs.values())
    found = gradients(trainee)
    assert found.keys() == theirs.keys()
    assert max(float((found[key] - theirs[key].grad).abs().max()) for key in found) <= 1e-5 * largest


def test_of_a_row_at_most_a_quarter_is_padding() -> None:
    lengths = [9, 40, 12, 39, 30, 7, 3, 10]
    groups = of_like_length(lengths)
    assert groups == [[1, 3, 4], [2, 7, 0], [5], [6]]
    assert [rows for rows in groups if lengths[rows[-1]] < (1 - MOST_PADDING) * lengths[rows[0]]] == []


@pytest.mark.parametrize("name", ["roberta", "bart"])
@torch.no_grad()
def test_company_in_a_pass_changes_no_score(folders: dict[str, str], name: str) -> None:
    trainee = make_trainee(folders[name])
    rows = [Tokens(item.prompt_ids, item.response_ids[-cut:]) for item in as_tokens(trainee) for cut in (2, 3, 4)]
    assert len(of_like_length([row.length for row in rows])) < len(rows)
    alone_B = torch.cat([reward.score(trainee, [row]) for row in rows])
    torch.testing.assert_close(reward.score(trainee, rows), alone_B, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_it_has_no_dropout_of_any_kind(folders: dict[str, str]) -> None:
    trainee = make_trainee(folders["bart"])
    rows, at_rest_B = as_tokens(trainee), reward.score(trainee, as_tokens(trainee))
    trainee.core.train()  # as gradient checkpointing asks for
    assert torch.equal(torch.stack([reward.score(trainee, rows) for _ in range(4)]), at_rest_B.expand(4, -1))


def test_adapters_learn_where_a_forward_writes_into_what_a_layer_returns() -> None:
    tokenizer = bert_tokenizer()
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    both_ways = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "num_labels": 1}
    core = DebertaForSequenceClassification(DebertaConfig(vocab_size=len(tokenizer), **shape, **both_ways)).eval()
    trainee = add_lora(core, tokenizer, LoraShape(4, 8, "all-linear"), reward=True, seed=1)
    reward.score(trainee, as_tokens(trainee)).sum().backward()
    learnt = [name for name, item in gradients(trainee).items() if "lora_B" in name and item.any()]
    assert len(learnt) == sum("lora_B" in name for name in trainee.trainable()) > 0


# What it reads.


def test_a_conversation_is_the_first_text_and_the_answer_the_second() -> None:
    tokenizer: Any = bert_tokenizer()
    model = encoders["bert"]()[0]
    reward_tokenizer(tokenizer, model)
    turns = [{"role": "system", "content": "Paris."}, *ask("Say hello.")]
    for messages, text in (
        (ask("Say [SEP] hello."), "Say [SEP] hello."),
        (turns, "System: Paris.\n\nUser: Say hello."),
    ):
        prompt_ids, response_ids = render(tokenizer, messages, "Hello! [SEP]", ended=False)
        first, second = (tokenizer(text, split_special_tokens=True)["input_ids"] for text in (text, "Hello! [SEP]"))
        assert (prompt_ids, response_ids) == (first, second[1:])
        assert (prompt_ids + response_ids).count(tokenizer.sep_token_id) == 2
    assert render(tokenizer, turns)[1] == []


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_what_is_cut_is_text_not_what_stands_around_it(folders: dict[str, str], name: str) -> None:
    trainee = make_trainee(folders[name])
    long = "bees make honey and wax " * 20
    whole = render_to_fit(trainee.tokenizer, ask(long), long, 10_000)
    short = render_to_fit(trainee.tokenizer, ask(long), long, 40)
    assert len(short.prompt_ids) + len(short.response_ids) == 40
    ends = 1 if name == "bert" else 2  # separators after the prompt
    assert short.prompt_ids[0] == whole.prompt_ids[0] == trainee.tokenizer.cls_token_id
    assert short.prompt_ids[1:] == whole.prompt_ids[1 - len(short.prompt_ids) :]
    assert short.prompt_ids[-ends:] == [trainee.tokenizer.sep_token_id] * ends
    assert short.response_ids == [*whole.response_ids[: len(short.response_ids) - 1], trainee.tokenizer.sep_token_id]
    assert short.prompt_cut + short.response_cut == len(whole.prompt_ids) + len(whole.response_ids) - 40


@torch.no_grad()
def test_a_chat_template_is_followed_where_there_is_one(folders: dict[str, str], tmp_path: Path) -> None:
    model, tokenizer = plain(folders["bert"])
    tokenizer.chat_template = (
        "[CLS]{% for m in messages %}{{ m['role'] }} {{ m['content'] }}[SEP]{% endfor %}"
        "{% if add_generation_prompt %}assistant {% endif %}"
    )
    model.save_pretrained(tmp_path), tokenizer.save_pretrained(tmp_path)
    trainee = make_trainee(str(tmp_path))
    conversation = [*ask("Say hello."), {"role": "assistant", "content": "Hello!"}]
    read = tokenizer.apply_chat_template(conversation, return_tensors="pt", return_dict=True)
    prompt_ids, response_ids = render(trainee.tokenizer, ask("Say hello."), "Hello!")
    assert prompt_ids + response_ids == read["input_ids"][0].tolist()
    found_B = reward.score(trainee, [Tokens(prompt_ids, response_ids)])
    torch.testing.assert_close(found_B, model(**read).logits[:, 0], rtol=1e-5, atol=1e-5)


@each
def test_a_row_may_be_as_long_as_the_positions_and_a_longer_max_length_is_refused(
    folders: dict[str, str], name: str
) -> None:
    def load(max_length: int) -> Trainee:
        spec = Spec(method="reward", config={}, models={"base": ModelRef(folders[name])})
        return load_reward_trainee(spec, RewardConfig(max_length=max_length, precision="fp32"))

    trainee = load(PLACES)
    long = "bees make honey and wax " * 40
    row = render_to_fit(trainee.tokenizer, ask(long), long, PLACES)
    assert len(row.prompt_ids) + len(row.response_ids) == PLACES == reads_at_most(trainee.core)
    with torch.no_grad():
        assert reward.score(trainee, [Tokens(row.prompt_ids, row.response_ids)]).isfinite().all()
    with pytest.raises(EngineError, match=f"max_length is {PLACES + 1}, but the model reads at most {PLACES} tokens"):
        load(PLACES + 1)


# Runs, and what they leave.


def encoder_run(make_run: Callable[..., RunDir], folder: str, **options: Any) -> RunDir:
    rows = {"train": PREFERENCES[:4], "held_out": PREFERENCES[4:6]}
    return make_run("reward", models={"base": ModelRef(folder)}, **rows, **options)


@each
def test_a_run_with_adapters_leaves_what_transformers_and_peft_score_alike(
    make_run: Callable[..., RunDir], folders: dict[str, str], name: str
) -> None:
    run_dir = encoder_run(make_run, folders[name], epochs=2.0, learning_rate=5e-3)
    assert main([str(run_dir.path)]) == DONE
    merged, adapter = run_dir.model_path / "merged", str(run_dir.model_path / "adapter")
    model, tokenizer = plain(str(merged))
    base: Any = AutoModelForSequenceClassification.from_pretrained(folders[name])
    with torch.no_grad():
        before_B, merged_B = plain_scores(base, tokenizer), plain_scores(model, tokenizer)
        peft_B = plain_scores(PeftModel.from_pretrained(base, adapter), AutoTokenizer.from_pretrained(adapter))
    torch.testing.assert_close(merged_B, peft_B, rtol=1e-5, atol=1e-5)
    assert (merged_B - before_B).abs().max() > 1e-3
    for ref in (ModelRef(str(merged)), ModelRef(folders[name], adapter=adapter)):
        ours = load_reward(ref, dtype=torch.float32, device=CPU)
        trainee = Trainee(ours, reward_tokenizer(load_tokenizer(str(merged)), ours), CPU)
        with torch.no_grad():
            torch.testing.assert_close(reward.score(trainee, as_tokens(trainee)), merged_B, rtol=1e-5, atol=1e-5)
    weights = load_file(f"{adapter}/adapter_model.safetensors")
    heads = {key.split(".")[2] for key in weights if "lora_" not in key}
    assert heads == outside_backbone(model).keys()
    assert [key for key in weights if "lora_" in key and key.split(".")[2] in heads] == []


@each
@pytest.mark.parametrize("lora", [True, False], ids=["adapter", "full"])
def test_saved_and_loaded_again_it_is_the_same_bit_for_bit(
    folders: dict[str, str], tmp_path: Path, name: str, lora: bool
) -> None:
    trainee = make_trainee(folders[name], lora=lora)
    torch.manual_seed(7)
    with torch.no_grad():
        for item in trainee.trainable().values():
            item.add_(torch.randn_like(item) * 0.02)
        rows, told_B = as_tokens(trainee), []
        told_B.append(reward.score(trainee, rows))
        run_dir = RunDir.create(tmp_path / "run", Spec(method="reward", config={}))
        save_trained(run_dir, trainee, base=ModelRef(folders[name]), kind="reward", extra={})
        merged = {key.replace(".base_layer", ""): item for key, item in trainee.core.state_dict().items()}
        again = load_reward(ModelRef(str(run_dir.model_path / "merged")), dtype=torch.float32, device=CPU)
        assert all(torch.equal(item, merged[key]) for key, item in again.state_dict().items())
        # The last bit of a score depends on where in memory the weights begin.
        rounding = {"rtol": 1e-6, "atol": 1e-6}
        merged_B = reward.score(Trainee(trainee.core, trainee.tokenizer, CPU), rows)
        torch.testing.assert_close(reward.score(Trainee(again, trainee.tokenizer, CPU), rows), merged_B, **rounding)
        if lora:
            base = new_reward_model(ModelRef(folders[name]), torch.float32, pad_id=0, seed=9)
            adapted: Any = PeftModel.from_pretrained(base, str(run_dir.model_path / "adapter"))
            found_B = reward.score(Trainee(adapted.get_base_model(), trainee.tokenizer, CPU), rows)
            torch.testing.assert_close(found_B, told_B[0], **rounding)
        torch.testing.assert_close(merged_B, told_B[0], rtol=1e-5, atol=1e-5)


def test_a_full_run_trains_every_weight(make_run: Callable[..., RunDir], folders: dict[str, str]) -> None:
    run_dir = encoder_run(make_run, folders["bert"], lora=False, epochs=2.0, learning_rate=1e-3)
    assert main([str(run_dir.path)]) == DONE
    before, after = (
        load_file(Path(folder) / "model.safetensors") for folder in (folders["bert"], run_dir.model_path / "merged")
    )
    assert before.keys() == after.keys()
    moved = [key for key in before if not torch.equal(before[key], after[key])]
    assert {"classifier.weight", "bert.pooler.dense.weight", "bert.embeddings.word_embeddings.weight"} <= {*moved}


def test_a_stopped_run_goes_on_to_the_same_weights(
    make_run: Callable[..., RunDir], folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"epochs": 3.0, "learning_rate": 5e-3, "batch_size": 2, "gradient_checkpointing": True}
    whole, broken = (encoder_run(make_run, folders["modern"], name=name, **options) for name in ("whole", "broken"))
    assert main([str(whole.path)]) == DONE
    looks = iter(range(10_000))
    monkeypatch.setattr(stop, "requested", lambda: next(looks) > 12)
    assert main([str(broken.path)]) == STOPPED
    monkeypatch.setattr(stop, "requested", lambda: False)
    assert main([str(broken.path)]) == DONE
    one, other = (load_file(item.model_path / "adapter" / "adapter_model.safetensors") for item in (whole, broken))
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


@each
@torch.no_grad()
def test_its_head_stays_in_fp32_over_a_backbone_in_bf16(folders: dict[str, str], name: str) -> None:
    narrow = load_reward(ModelRef(folders[name]), dtype=torch.bfloat16, device=CPU)
    model, tokenizer = plain(folders[name])
    assert {item.dtype for item in narrow.base_model.parameters()} == {torch.bfloat16}
    for key, head in outside_backbone(narrow).items():
        expected = getattr(model, key).state_dict()
        assert [key for key, item in head.state_dict().items() if not torch.equal(item, expected[key])] == []
    wide = multiply_in(load_reward(ModelRef(folders[name]), dtype=torch.float32, device=CPU), torch.bfloat16)
    expected_B = plain_scores(model, tokenizer)
    for ours in (narrow, wide):
        trainee = Trainee(ours, reward_tokenizer(load_tokenizer(folders[name]), ours), CPU)
        score_B = reward.score(trainee, as_tokens(trainee))
        assert score_B.dtype == torch.float32
        assert not torch.equal(score_B, score_B.bfloat16().float())  # no product of the head was rounded to bf16
        assert (score_B - expected_B).abs().max() > 1e-4  # but those of the backbone were
        torch.testing.assert_close(score_B, expected_B, rtol=0.1, atol=0.1)  # bf16 keeps 3 digits of each product


@torch.no_grad()
def test_the_readmes_lines_print_its_score(
    folders: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/reward/model").mkdir(parents=True)
    Path("runs/reward/model/merged").symlink_to(folders["bert"])
    [(_, lines)] = blocks("Reward models that are no decoders")
    exec(lines, {})
    trainee = make_trainee(folders["bert"])
    expected = reward.score(trainee, [Tokens(*render(trainee.tokenizer, ask("What do bees make?"), "Honey."))]).item()
    assert float(capsys.readouterr().out) == pytest.approx(expected, rel=1e-4, abs=1e-6)


# PPO.


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_ppo_lets_it_read_the_text_of_answers(
    tmp_path: Path, ppo_models: Path, folders: dict[str, str], name: str
) -> None:
    run = prepared(tmp_path / "run", make_spec(ppo_models, reward=ModelRef(folders[name])))
    own = load_tokenizer(str(ppo_models / "base"))
    said = ["Paris.", "Blue is one"]
    samples = [
        Sample([*own(said[0])["input_ids"], int(own.eos_token_id)], ended=True),  # type: ignore[arg-type]
        Sample(own(said[1])["input_ids"], ended=False),
    ]
    [piece] = pieces_of(run, samples)
    model, tokenizer = plain(folders[name])
    expected = {}
    for row, prompt in zip(piece.rows, piece.prompts, strict=True):
        with torch.no_grad():
            read = tokenizer(prompt.messages[0]["content"], said[row], return_tensors="pt")
            expected[row] = model(**read).logits.item()
    assert dict(zip(piece.rows, piece.score_B.tolist(), strict=True)) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_ppo_lets_it_read_text_where_the_policy_has_the_same_tokenizer(tmp_path: Path, folders: dict[str, str]) -> None:
    tokenizer = modernbert_tokenizer()
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    reward_model = ModelRef(folders["modern"])
    run = prepared(tmp_path / "run", make_spec(tmp_path, reward=reward_model))
    samples = [Sample([*tokenizer("Paris.", add_special_tokens=False)["input_ids"], 3], ended=True)]
    [piece] = pieces_of(run, samples)
    model, theirs = plain(folders["modern"])
    with torch.no_grad():
        expected = model(**theirs(piece.prompts[0].messages[0]["content"], "Paris.", return_tensors="pt")).logits.item()
    assert float(piece.score_B) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(EngineError, match="scores whole texts, so no value model can start from it"):
        load_models(make_spec(tmp_path, reward=reward_model), PPOConfig(**{**SMALL_PPO, "value_backbone": "own"}))


def test_ppo_runs_to_its_end_with_the_adapter_of_one(
    tmp_path: Path, ppo_models: Path, make_run: Callable[..., RunDir], folders: dict[str, str]
) -> None:
    trained = encoder_run(make_run, folders["deberta"], max_steps=1)
    assert main([str(trained.path)]) == DONE
    judge = ModelRef(folders["deberta"], adapter=str(trained.model_path / "adapter"))
    _, code = start_run(tmp_path / "ppo", make_spec(ppo_models, reward=judge, iterations=1))
    assert code == DONE


# What is refused.


def refusal(run_dir: RunDir, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([str(run_dir.path)]) == BAD_INPUT
    return capsys.readouterr().err


def test_shard_is_refused(folders: dict[str, str]) -> None:
    spec = Spec(method="reward", config={}, models={"base": ModelRef(folders["bert"])})
    config = replace(RewardConfig(max_length=64), lora=False, shard=True)
    with pytest.raises(EngineError, match="a classifier of type bert cannot be sharded; switch shard off"):
        load_reward_trainee(spec, config)


def test_an_encoder_without_a_head_is_refused(
    make_run: Callable[..., RunDir], capsys: pytest.CaptureFixture[str], folders: dict[str, str], tmp_path: Path
) -> None:
    model = encoders["distil"]()[0]
    model.base_model.save_pretrained(tmp_path / "bare")
    load_tokenizer(folders["distil"]).save_pretrained(tmp_path / "bare")
    told = refusal(encoder_run(make_run, str(tmp_path / "bare")), capsys)
    assert "a model of type distilbert cannot carry a score head: give a classifier with one output" in told


def test_two_outputs_are_refused(folders: dict[str, str], tmp_path: Path) -> None:
    AutoModelForSequenceClassification.from_pretrained(
        folders["bert"], num_labels=2, ignore_mismatched_sizes=True
    ).save_pretrained(tmp_path)
    with pytest.raises(EngineError, match="has 2 outputs; a reward model has one"):
        new_reward_model(ModelRef(str(tmp_path)), torch.float32, pad_id=0, seed=0)
    with pytest.raises(EngineError, match="has 2 outputs; it must have one"):
        load_reward(ModelRef(str(tmp_path)), dtype=torch.float32, device=CPU)


def test_a_head_that_lacks_weights_is_refused(folders: dict[str, str], tmp_path: Path) -> None:
    encoders["roberta"]()[0].save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    kept = {key: item for key, item in load_file(file).items() if key != "classifier.dense.weight"}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(EngineError, match=r"lacks 1 of its weights, classifier\.dense\.weight among them"):
        load_reward(ModelRef(str(tmp_path)), dtype=torch.float32, device=CPU)


def test_a_model_that_looks_at_padding_is_refused(tmp_path: Path) -> None:
    XLNetForSequenceClassification(
        XLNetConfig(vocab_size=60, d_model=32, n_layer=1, n_head=2, d_inner=32, num_labels=1, initializer_range=0.3)
    ).save_pretrained(tmp_path)
    with pytest.raises(EngineError, match="of type xlnet gives a text another score when padding stands beside it"):
        load_reward(ModelRef(str(tmp_path)), dtype=torch.float32, device=CPU)


@torch.no_grad()
def test_a_score_layer_over_a_backbone_that_looks_both_ways_is_no_decoders(tmp_path: Path) -> None:
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    for looks_ahead in (False, True):
        config = Gemma3TextConfig(
            vocab_size=60,
            head_dim=16,
            num_key_value_heads=2,
            num_labels=1,
            use_bidirectional_attention=looks_ahead,
            **shape,
        )
        torch.manual_seed(0)
        Gemma3TextForSequenceClassification(config).save_pretrained(tmp_path)
        ours = load_reward(ModelRef(str(tmp_path)), dtype=torch.float32, device=CPU)
        assert (score_head(ours) is None) == looks_ahead
        rows = [Tokens([5, 6], [7, 8, 9, 10]), Tokens([5, 6], [7, 8, 11])]
        theirs: Any = AutoModelForSequenceClassification.from_pretrained(tmp_path)
        ids = [torch.tensor([row.prompt_ids + row.response_ids]) for row in rows]
        expected_B = torch.stack([theirs(input_ids=row).logits[0, 0] for row in ids])
        found_B = reward.score(Trainee(ours, bert_tokenizer(), CPU), rows)
        torch.testing.assert_close(found_B, expected_B, rtol=1e-5, atol=1e-5)
        with_adapters = add_lora(ours, bert_tokenizer(), LoraShape(4, 8, "all-linear"), reward=True, seed=1)
        assert (score_head(with_adapters.core) is None) == looks_ahead
