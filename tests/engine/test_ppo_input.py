"""What PPO cannot work with is named in one sentence before the first step, with exit code 2."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from tests.engine.ppo_runs import ROWS, events_of, make_spec, start_run
from training.engine.__main__ import main
from training.engine.models import load_tokenizer
from training.engine.run_dir import ModelRef, RunDir


@pytest.fixture
def refused(tmp_path, capsys):
    """refused(spec, …) runs the spec, which must be refused before any step, and returns the sentence."""

    def run(spec, rows=ROWS):
        run_dir = RunDir.create(tmp_path / "run", spec, {"train": rows, "eval": rows[:2]})
        assert main([str(run_dir.path)]) == 2
        assert events_of(run_dir, "step") == []
        [error] = events_of(run_dir, "error")
        assert capsys.readouterr().err.endswith(f"{error['reason']}\n")
        assert "\n" not in error["reason"]
        return error["reason"]

    return run


@pytest.fixture
def copied(tmp_path, ppo_models):
    """The models in a folder that may be damaged."""
    shutil.copytree(ppo_models, tmp_path / "models")
    return tmp_path / "models"


@pytest.mark.parametrize("name", ["base", "reward"])
def test_a_missing_model(refused, ppo_models, name):
    spec = make_spec(ppo_models)
    del spec.models[name]
    assert f"PPO needs a {name} model and the spec names none" in refused(spec)


def test_no_prompts(refused, ppo_models):
    assert "there is no prompt to train on" in refused(make_spec(ppo_models), rows=[])


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"id": "2"}, "train row 2: a prompt must be a list of at least one message"),
        ({"prompt": "Hello?"}, "train row 2: a prompt must be a list of at least one message"),
        ({"prompt": [{"role": "user"}]}, "train row 2: a message needs a role"),
        ({"prompt": [{"role": "assistant", "content": "Hi."}]}, "train row 2: a prompt must not end with an assistant"),
    ],
)
def test_a_malformed_prompt_is_named_by_its_row(refused, ppo_models, row, sentence):
    assert sentence in refused(make_spec(ppo_models), rows=[ROWS[0], row])


def test_a_tokenizer_with_more_tokens_than_the_base_has_embeddings(refused, copied):
    model = AutoModelForCausalLM.from_pretrained(copied / "base")
    model.resize_token_embeddings(50)
    model.save_pretrained(copied / "base")
    assert "the tokenizer has more tokens than the model has embeddings" in refused(make_spec(copied))


def test_no_room_for_a_prompt_beside_the_answer(refused, ppo_models):
    assert "leave no room for a prompt within 8 tokens" in refused(make_spec(ppo_models, max_length=8))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"iteration": 3}, "iteration: unknown option of ppo"),
        ({"beta": -0.1}, "beta: must be at least 0"),
        ({"learning_rate": -1e-4}, "learning_rate: must be at least 1e-09"),
        ({"max_kl": -1.0}, "max_kl: must be at least 0"),
        ({"value_backbone": "both"}, "value_backbone: must be one of shared, own"),
        ({"lora_targets": "no_such_layer"}, "the adapter does not fit the model"),
    ],
)
def test_options_that_will_not_do(refused, ppo_models, options, sentence):
    assert sentence in refused(make_spec(ppo_models, **options))


def test_a_reference_of_its_own_cannot_move_with_an_adapter(refused, ppo_models):
    spec = make_spec(ppo_models, ema_rate=0.1)
    spec.models["reference"] = ModelRef(str(ppo_models / "base"))
    assert "a reference model of its own cannot follow an adapter: set ema_rate to 0" in refused(spec)


def test_a_reward_model_with_two_outputs(refused, copied):
    LlamaForSequenceClassification(
        LlamaConfig(vocab_size=512, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    ).save_pretrained(copied / "reward" / "merged")
    told = refused(make_spec(copied, adapter=False))
    assert f"the reward model in {copied}/reward/merged" in told
    assert "output" in told


def test_a_reward_adapter_without_a_head_of_one_output(refused, copied):
    path = copied / "reward" / "adapter" / "adapter_model.safetensors"
    weights = load_file(path)
    save_file({name: item for name, item in weights.items() if ".score." not in name}, path)
    assert "must have one linear head called score, with one output" in refused(make_spec(copied))


@pytest.mark.parametrize("damage", [b"", b"not safetensors at all"])
def test_a_damaged_reward_adapter(refused, copied, damage):
    (copied / "reward" / "adapter" / "adapter_model.safetensors").write_bytes(damage)
    assert "cannot be read" in refused(make_spec(copied))


def test_a_reward_adapter_of_another_shape(refused, copied):
    path = copied / "reward" / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "r": 2}))
    assert "does not fit this base" in refused(make_spec(copied))


@pytest.mark.parametrize("model", ["base", "reward/merged"])
def test_a_model_without_its_weights(refused, copied, model):
    (copied / model / "model.safetensors").unlink()
    assert "holds no safetensors" in refused(make_spec(copied, adapter=False))


def test_a_model_without_one_of_its_shards(refused, copied):
    base = AutoModelForCausalLM.from_pretrained(copied / "base")
    (copied / "base" / "model.safetensors").unlink()
    base.save_pretrained(copied / "base", max_shard_size="200KB")
    shards = sorted((copied / "base").glob("model-*.safetensors"))
    assert len(shards) > 1
    shards[0].unlink()
    assert "cannot be loaded" in refused(make_spec(copied))


def test_a_tokenizer_without_an_end_token(refused, copied):
    tokenizer = AutoTokenizer.from_pretrained(copied / "base")
    tokenizer.eos_token, tokenizer.chat_template = None, None
    tokenizer.save_pretrained(copied / "base")
    (copied / "base" / "chat_template.jinja").unlink(missing_ok=True)
    assert "no end-of-sequence token" in refused(make_spec(copied))


def test_a_tokenizer_whose_pad_is_its_end_token_serves(tmp_path, copied):
    for place in ("base", "reward/adapter"):
        tokenizer = load_tokenizer(str(copied / place))
        tokenizer.pad_token = tokenizer.eos_token
        tokenizer.save_pretrained(copied / place)
    run_dir, code = start_run(tmp_path / "run", make_spec(copied, epochs=1, minibatches=1, iterations=2))
    assert code == 0
    assert events_of(run_dir, "step")[0]["metrics"]["kl"] == 0.0


def test_a_reward_model_without_stored_numbers_is_used_as_it_is_with_a_warning(tmp_path, copied):
    (copied / "reward" / "manifest.json").unlink()
    run_dir, code = start_run(tmp_path / "run", make_spec(copied, iterations=1))
    assert code == 0
    assert "no stored mean" in events_of(run_dir, "warning")[0]["message"]
