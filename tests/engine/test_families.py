"""The families people use, on tiny random models: trained with adapters and in full, saved, loaded, sampled from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    ModernBertDecoderConfig,
    ModernBertDecoderForCausalLM,
)

from tests.engine.conftest import DEMONSTRATIONS, PREFERENCES, SHORT_SAMPLES, SMALL
from tests.engine.families import families
from training.engine.__main__ import BAD_INPUT, DONE, main
from training.engine.chat import render
from training.engine.classifier import load_reward
from training.engine.generate import generate, stop_token_ids
from training.engine.logprobs import sequence_logprobs
from training.engine.models import Trainee
from training.engine.packing import Tokens
from training.engine.reward import score
from training.engine.run_dir import ModelRef, RunDir, Spec

LONG = "Which of these is larger, and why do you think so? " * 3
WEIGHTS = "model.safetensors"
QUESTIONS = ["Say hello.", LONG, "What do bees make?"]


@pytest.fixture(params=families)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The folder of a family's tiny model, written once."""
    root = tmp_path_factory.mktemp("families")

    def folder(name: str) -> str:
        path = root / name
        if not path.exists():
            for item in families[name]():
                item.save_pretrained(path)
        return str(path)

    return folder


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., RunDir]:
    """train(folder, method, **config): a finished run of two steps."""

    def run(folder: str, method: str, **config: Any) -> RunDir:
        rows = DEMONSTRATIONS if method == "sft" else PREFERENCES
        options = {**SMALL, "max_steps": 2, "learning_rate": 1e-2, "schedule": "constant", **config}
        if method != "reward":
            options |= SHORT_SAMPLES
        spec = Spec(method=method, config=options, seed=3, models={"base": ModelRef(folder)})
        run_dir = RunDir.create(tmp_path / method, spec, {"train": rows, "eval": rows[:2]})
        assert main([str(run_dir.path)]) == DONE
        return run_dir

    return run


def prompts_of(tokenizer: Any) -> list[list[int]]:
    return [render(tokenizer, [{"role": "user", "content": text}])[0] for text in QUESTIONS]


def test_sampling_is_transformers_own_greedy_search(family: str) -> None:
    model, tokenizer = families[family]()
    prompts, stop_ids = prompts_of(tokenizer), stop_token_ids(model, tokenizer)
    ours = generate(model, prompts, stop_ids=stop_ids, max_new_tokens=20, temperature=0.0)
    assert len(set(map(len, prompts))) == len(prompts)  # rows that share a batch need padding
    for prompt, answer in zip(prompts, ours, strict=True):
        ids = torch.tensor([prompt])
        theirs = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=20,
            eos_token_id=sorted(stop_ids),
            pad_token_id=0,
        )
        assert answer.token_ids == theirs[0, len(prompt) :].tolist()


def test_logprobs_of_a_padded_pass_are_those_of_transformers_alone(family: str) -> None:
    model, tokenizer = families[family]()
    rows = [Tokens(*render(tokenizer, [{"role": "user", "content": text}], "Bees make honey.")) for text in QUESTIONS]
    with torch.no_grad():
        ours = sequence_logprobs(model, rows, torch.device("cpu"))
        theirs = []
        for row in rows:
            logprob_SV = model(torch.tensor([[*row.prompt_ids, *row.response_ids]])).logits[0].float().log_softmax(-1)
            start = len(row.prompt_ids) - 1
            places = torch.arange(start, start + len(row.response_ids))
            theirs.append(logprob_SV[places, torch.tensor(row.response_ids)].sum())
    torch.testing.assert_close(ours, torch.stack(theirs), rtol=1e-5, atol=1e-4)


def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=ids).logits
    return found


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_an_adapter_saved_and_loaded_is_the_merged_model(
    family: str, method: str, family_folder: Callable[[str], str], train: Callable[..., RunDir]
) -> None:
    folder = family_folder(family)
    run_dir = train(folder, method)
    adapter, merged = run_dir.model_path / "adapter", run_dir.model_path / "merged"
    ids = torch.tensor([prompts_of(AutoTokenizer.from_pretrained(merged))[0]])
    base = AutoModelForCausalLM.from_pretrained(folder)
    plain = logits(base, ids)
    with_merged = logits(AutoModelForCausalLM.from_pretrained(merged), ids)
    torch.testing.assert_close(logits(PeftModel.from_pretrained(base, adapter), ids), with_merged, rtol=1e-4, atol=1e-4)
    assert (with_merged - plain).abs().max() > 1e-2


def test_full_training_moves_every_weight_and_is_loaded_again(
    family: str, family_folder: Callable[[str], str], train: Callable[..., RunDir]
) -> None:
    folder = family_folder(family)
    run_dir = train(folder, "dpo", lora=False)
    before, after = (
        AutoModelForCausalLM.from_pretrained(folder),
        AutoModelForCausalLM.from_pretrained(run_dir.model_path / "merged"),
    )
    moved = {
        name: not torch.equal(item, dict(after.named_parameters())[name]) for name, item in before.named_parameters()
    }
    assert [name for name, has in moved.items() if not has] == []


def test_a_reward_head_survives_save_load_and_merge(
    family: str, family_folder: Callable[[str], str], train: Callable[..., RunDir]
) -> None:
    folder = family_folder(family)
    run_dir = train(folder, "reward")
    adapter, merged = run_dir.model_path / "adapter", run_dir.model_path / "merged"
    tokenizer = AutoTokenizer.from_pretrained(merged)
    rendered = [render(tokenizer, row["prompt"], row["chosen"]) for row in PREFERENCES[:3]]
    texts = [prompt_ids + response_ids for prompt_ids, response_ids in rendered]
    batch = tokenizer.pad({"input_ids": texts}, padding_side="right", return_tensors="pt")

    def scores(model: Any) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = model.eval()(**batch).logits[:, 0]
        return found

    plain = scores(AutoModelForSequenceClassification.from_pretrained(merged))
    spread = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    spread.config.pad_token_id = tokenizer.pad_token_id
    with_adapter = scores(PeftModel.from_pretrained(spread, adapter))
    torch.testing.assert_close(with_adapter, plain, rtol=1e-4, atol=1e-4)
    ours = load_reward(ModelRef(folder, str(adapter)), dtype=torch.float32, device=torch.device("cpu"))
    trainee = Trainee(core=ours, tokenizer=tokenizer, device=torch.device("cpu"))
    told = score(trainee, [Tokens(ids[:3], ids[3:]) for ids in texts])
    torch.testing.assert_close(told, plain, rtol=1e-4, atol=1e-4)
    saved = [load_file(path / name) for path, name in ((adapter, "adapter_model.safetensors"), (merged, WEIGHTS))]
    heads = [next(item for name, item in file.items() if "score" in name) for file in saved]
    assert torch.equal(*heads)
    assert heads[0].abs().max() > 0


def test_a_family_whose_head_has_another_name_is_refused_by_name(tmp_path: Path, capsys: Any) -> None:
    tokenizer = families["gpt2"]()[1]
    config = ModernBertDecoderConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        pad_token_id=0,
    )
    ModernBertDecoderForCausalLM(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    spec = Spec(method="reward", config=SMALL, models={"base": ModelRef(str(tmp_path / "base"))})
    run_dir = RunDir.create(tmp_path / "run", spec, {"train": PREFERENCES})
    assert main([str(run_dir.path)]) == BAD_INPUT
    assert "modernbert-decoder cannot carry a score head" in capsys.readouterr().err
