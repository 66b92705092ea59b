"""python -m training.engine: exit codes, readable reasons, and no need of the rest of the project."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from tests.engine.ppo_runs import build_reward_model
from training.engine.__main__ import BAD_INPUT, DONE, FAILED, MEMORY_ADVICE, main, readable
from training.engine.config import METHODS
from training.engine.events import read_events
from training.engine.models import load_tokenizer
from training.engine.run_dir import ModelRef, RunDir, Spec, sha256_of

MakeRun = Callable[..., RunDir]
HELLO = [{"role": "user", "content": "Say hello."}]

BLOCK = """
import sys

class Blocked:
    names = {"django", "celery", "redis", "psycopg2", "annotation", "models_registry", "config"}

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
import runpy
sys.argv = ["engine", sys.argv[1]]
runpy.run_module("training.engine", run_name="__main__")
"""


TAKEN_DOWN = """
import atexit, runpy, sys
atexit.register(print, "Python is taken down", file=sys.stderr)
sys.stdout.write("kept")
sys.argv = ["engine"]
runpy.run_module("training.engine", run_name="__main__")
"""


@pytest.mark.parametrize("count", [1, 2])
def test_only_a_process_that_is_alone_takes_python_down_when_it_ends(count: int) -> None:
    """Of several, gloo's thread would be ended with the last tensor in its hand, and the process by SIGABRT with it."""
    place = {"WORLD_SIZE": str(count), "RANK": "0"}
    command = [sys.executable, "-c", TAKEN_DOWN]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **place})
    assert (done.returncode, done.stdout) == (BAD_INPUT, "kept")
    assert "usage: " in done.stderr
    assert ("Python is taken down" in done.stderr) is (count == 1)


@pytest.mark.slow
def test_the_engine_runs_without_django_celery_and_its_siblings(make_run: MakeRun) -> None:
    run_dir = make_run("dpo")
    done = subprocess.run([sys.executable, "-c", BLOCK, str(run_dir.path)], capture_output=True, text=True, check=False)
    assert done.returncode == DONE, done.stderr[-2000:]
    assert run_dir.result() is not None


def test_the_web_sides_modules_load_no_torch() -> None:
    code = (
        "import sys, training.engine.config, training.engine.events, training.engine.run_dir;"
        "print(sorted({'torch', 'transformers', 'peft', 'django'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_finished_run_started_again_changes_nothing(make_run: MakeRun) -> None:
    run_dir = make_run("reward")
    assert main([str(run_dir.path)]) == DONE
    before = run_dir.events_path.read_bytes(), run_dir.result_path.stat().st_mtime_ns
    assert main([str(run_dir.path)]) == DONE
    assert (run_dir.events_path.read_bytes(), run_dir.result_path.stat().st_mtime_ns) == before


def test_a_run_killed_before_its_last_event_tells_it_when_it_is_started_again(make_run: MakeRun) -> None:
    run_dir = make_run("reward")
    assert main([str(run_dir.path)]) == DONE
    *before, last = run_dir.events_path.read_bytes().splitlines(keepends=True)
    assert json.loads(last)["kind"] == "done"
    run_dir.events_path.write_bytes(b"".join(before) + last[:20])
    assert main([str(run_dir.path)]) == DONE
    events = read_events(run_dir.events_path, 0)[0]
    assert [event["kind"] for event in events].count("done") == 1
    assert (events[-1]["seq"], events[-1]["metrics"]) == (len(events), (run_dir.result() or {})["metrics"])


@pytest.mark.parametrize("arguments", [[], ["/no/such/folder"], ["a", "b"]])
def test_wrong_arguments_are_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == BAD_INPUT
    assert capsys.readouterr().err.strip()


def test_a_folder_without_a_spec_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == BAD_INPUT
    assert "spec.json is missing" in capsys.readouterr().err
    assert read_events(tmp_path / "events.jsonl", 0)[0][-1]["kind"] == "error"


def test_unknown_options_are_named(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(make_run("dpo", bata=1, beta=-1.0).path)]) == BAD_INPUT
    error = capsys.readouterr().err
    assert "bata" in error
    assert "beta" in error


def test_changed_data_is_refused(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = make_run("dpo")
    (run_dir.path / "data/train.jsonl").write_text("{}\n")
    assert main([str(run_dir.path)]) == BAD_INPUT
    assert "hash" in capsys.readouterr().err


def broken_base(tmp_path: Path, base_folder: str, what: str) -> str:
    folder = tmp_path / "broken"
    folder.mkdir()
    for path in Path(base_folder).iterdir():
        if not (what in ("pickle", "no weights") and path.suffix == ".safetensors"):
            (folder / path.name).write_bytes(path.read_bytes())
    if what == "pickle":
        (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    if what == "cut":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    if what == "no config":
        (folder / "config.json").unlink()
    if what == "lacks weights":
        weights = load_file(folder / "model.safetensors")
        save_file({n: item for n, item in weights.items() if ".layers.1." not in n}, folder / "model.safetensors")
    if what == "no end token":
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            if (folder / name).exists():
                content = json.loads((folder / name).read_text())
                content.pop("eos_token", None)
                (folder / name).write_text(json.dumps(content))
        (folder / "chat_template.jinja").unlink()
    if what == "too few embeddings":
        model = AutoModelForCausalLM.from_pretrained(folder)
        model.resize_token_embeddings(50)
        model.save_pretrained(folder)
    if what == "lacks a shard":
        weights = (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
        index = {
            "metadata": {},
            "weight_map": {"model.embed_tokens.weight": weights.name, "x": "model-00002-of-00002.safetensors"},
        }
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return str(folder)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("pickle", "a pickle, which can run code"),
        ("no weights", "no safetensors"),
        ("cut", "cannot be loaded"),
        ("no config", "no config.json"),
        ("lacks a shard", "cannot be loaded"),
        ("lacks weights", "lacks 9 of its weights, model.layers.1."),
        ("no end token", "no end-of-sequence token"),
        ("too few embeddings", "more tokens than the model has embeddings"),
    ],
)
def test_a_broken_base_model_is_one_readable_sentence(
    tmp_path: Path, base_folder: str, make_run: MakeRun, capsys: pytest.CaptureFixture[str], what: str, reason: str
) -> None:
    folder = broken_base(tmp_path, base_folder, what)
    good = make_run("dpo").spec()
    rows = RunDir(tmp_path / "run").rows("train")
    spec = Spec(method="dpo", config=good.config, models={"base": ModelRef(folder)})
    run_dir = RunDir.create(tmp_path / "other", spec, {"train": rows, "eval": rows})
    assert main([str(run_dir.path)]) == BAD_INPUT
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("method", ["sft", "reward", "dpo"])
def test_an_option_out_of_its_range_is_named(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    wrong = {"learning_rate": -1e-4, "batch_size": 0, "precision": "fp8", "max_grad_norm": float("nan")}
    assert main([str(make_run(method, **wrong).path)]) == BAD_INPUT
    assert sorted(part.split(":")[0] for part in capsys.readouterr().err.strip().split("; ")) == sorted(wrong)


def test_a_beta_of_0_is_named(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(make_run("dpo", beta=0.0).path)]) == BAD_INPUT
    assert capsys.readouterr().err.startswith("beta: must be at least")


@pytest.mark.parametrize("method", ["sft", "reward", "dpo"])
@pytest.mark.parametrize("rows", [[], [{"prompt": HELLO, "chosen": " ", "rejected": "", "response": ""}]])
def test_data_with_nothing_to_learn_from_is_told(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], method: str, rows: list[dict[str, Any]]
) -> None:
    assert main([str(make_run(method, train=rows, held_out=[]).path)]) == BAD_INPUT
    assert "to train on" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["sft", "reward", "dpo"])
def test_one_example_is_enough(make_run: MakeRun, method: str) -> None:
    row = {"prompt": HELLO, "chosen": "Hello!", "rejected": "No.", "response": "Hello!"}
    run_dir = make_run(method, train=[row], held_out=[])
    assert main([str(run_dir.path)]) == DONE
    assert [e["step"] for e in read_events(run_dir.events_path, 0)[0] if e["kind"] == "step"] == [1]
    assert (run_dir.result() or {})["truncated"] == 0


@pytest.mark.parametrize("method", ["sft", "reward", "dpo"])
@pytest.mark.parametrize("side", ["prompt", "answer"])
def test_what_is_longer_than_max_length_is_cut_and_counted(make_run: MakeRun, method: str, side: str) -> None:
    long = "many words " * 200
    prompt = [{"role": "user", "content": long}] if side == "prompt" else HELLO
    answer = long if side == "answer" else "Hello!"
    row = {"prompt": prompt, "chosen": answer, "rejected": "No.", "response": answer}
    run_dir = make_run(method, train=[row], held_out=[], max_length=32)
    assert main([str(run_dir.path)]) == DONE
    assert (run_dir.result() or {})["truncated"] == 1
    warnings = [event["message"] for event in read_events(run_dir.events_path, 0)[0] if event["kind"] == "warning"]
    assert "1 of 1 train rows were cut to max_length 32" in warnings


@pytest.mark.parametrize("method", ["sft", "reward", "dpo"])
def test_a_max_length_beyond_the_models_context_is_told(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    assert main([str(make_run(method, max_length=2049).path)]) == BAD_INPUT
    assert "max_length is 2049, but the model reads at most 2048 tokens" in capsys.readouterr().err


def test_a_reward_model_with_two_outputs_is_told(
    tmp_path: Path, base_folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "two"
    shutil.copytree(base_folder, folder)
    AutoModelForSequenceClassification.from_pretrained(base_folder, num_labels=2).save_pretrained(folder)
    models = {"base": ModelRef(base_folder), "reward": ModelRef(str(folder))}
    run_dir = RunDir.create(
        tmp_path / "run", Spec("ppo", {"precision": "fp32"}, 1, models), {"train": [{"prompt": HELLO}]}
    )
    assert main([str(run_dir.path)]) == BAD_INPUT
    assert "has 2 outputs; it must have one" in capsys.readouterr().err


def test_adapter_targets_that_match_nothing_are_told(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(make_run("dpo", lora_targets="nothing_like_it").path)]) == BAD_INPUT
    assert "adapter does not fit" in capsys.readouterr().err


def test_whatever_else_happens_the_run_gets_a_reason(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(METHODS, "dpo", replace(METHODS["dpo"], module="no.such.module"))
    run_dir = make_run("dpo")
    assert main([str(run_dir.path)]) == FAILED
    assert "Traceback" in capsys.readouterr().err
    last = read_events(run_dir.events_path, 0)[0][-1]
    assert (last["kind"], last["reason"]) == ("error", "ModuleNotFoundError: No module named 'no'")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_lack_of_memory_says_what_to_lower(error: Exception) -> None:
    assert readable(error) == f"out of memory: {MEMORY_ADVICE}"


def test_a_full_disk_is_told_as_one() -> None:
    assert "disk is full" in readable(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


@pytest.mark.parametrize(
    ("method", "field"), [("reward", "chosen_ended"), ("dpo", "rejected_ended"), ("sft", "response_ended")]
)
def test_whether_an_answer_ended_must_be_true_or_false(
    make_run: MakeRun, method: str, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"prompt": HELLO, "chosen": "Hello!", "rejected": "No.", "response": "Hello!", field: "yes"}
    run_dir = make_run(method, train=[row])
    assert main([str(run_dir.path)]) == BAD_INPUT
    assert f"train row 1: {field} must be true or false" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["sft", "reward", "dpo"])
def test_a_malformed_row_is_named(make_run: MakeRun, method: str, capsys: pytest.CaptureFixture[str]) -> None:
    whole = {"prompt": HELLO, "chosen": "Hello!", "rejected": "No.", "response": "Hello!"}
    bad = {**whole, "prompt": [{"role": "user"}]}
    assert main([str(make_run(method, train=[whole, bad]).path)]) == BAD_INPUT
    assert "train row 2: a message needs a role" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["sft", "reward", "dpo", "ppo", "sample"])
def test_a_conversation_that_the_chat_template_refuses_is_named(
    tmp_path: Path, base_folder: str, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "base"
    shutil.copytree(base_folder, base)
    template = base / "chat_template.jinja"
    no_latin = "{% if 'Salve' in messages[0]['content'] %}{{ raise_exception('no Latin') }}{% endif %}"
    template.write_text(no_latin + template.read_text())
    whole = {"prompt": HELLO, "chosen": "Hello!", "rejected": "No.", "response": "Hello!"}
    rows = [whole, {**whole, "prompt": [{"role": "user", "content": "Salve!"}]}]
    models = {"base": ModelRef(str(base))}
    if method == "ppo":
        models["reward"] = build_reward_model(tmp_path / "reward", load_tokenizer(str(base)))
    name = "prompts" if method == "sample" else "train"
    run_dir = RunDir.create(tmp_path / "run", Spec(method=method, config={}, models=models), {name: rows})
    assert main([str(run_dir.path)]) == BAD_INPUT
    assert f"{name} row 2: the chat template refuses a conversation: no Latin" in capsys.readouterr().err


def test_a_line_that_is_no_text_is_named(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = make_run("sft")
    with open(run_dir.path / "data/train.jsonl", "ab") as file:
        file.write(b'{"prompt": "\xff"}\n')
    spec = json.loads(run_dir.spec_path.read_text())
    spec["data"]["train"]["sha256"] = sha256_of(run_dir.path / "data/train.jsonl")
    run_dir.spec_path.write_text(json.dumps(spec))
    assert main([str(run_dir.path)]) == BAD_INPUT
    assert "data/train.jsonl line 9 is not a JSON object" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "options"),
    [("sft", {"sample_tokens": 32}), ("dpo", {"sample_tokens": 32}), ("reward", {"policy_tokens": 32})],
)
def test_answers_that_leave_no_room_for_a_prompt_are_told_before_the_first_step(
    make_run: MakeRun, base_folder: str, method: str, options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    models = {"policy": ModelRef(base_folder)} if method == "reward" else {}
    run_dir = make_run(method, max_length=32, models=models, **options)
    assert main([str(run_dir.path)]) == BAD_INPUT
    assert "answers of 32 tokens leave no room for a prompt within 32 tokens" in capsys.readouterr().err
    assert "step" not in {event["kind"] for event in read_events(run_dir.events_path, 0)[0]}
