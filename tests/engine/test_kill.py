"""kill -9 at any moment, then the same directory again: the same weights bit for bit, and nothing told twice."""

import json
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.engine import forks, killing
from tests.engine.conftest import PREFERENCES, SHORT_SAMPLES, SMALL
from training.engine.events import read_events
from training.engine.models import LoraShape, add_lora, load_tokenizer, new_reward_model
from training.engine.run_dir import ModelRef, RunDir, Spec

LOOP = {**SMALL, "epochs": 4.0, "learning_rate": 5e-3, "eval_every": 2, "checkpoint_every": 2}
OPTIONS: dict[str, dict[str, Any]] = {
    "sft": {**LOOP, **SHORT_SAMPLES},
    "reward": LOOP,
    "dpo": {**LOOP, **SHORT_SAMPLES},
    "ppo": {
        "precision": "fp32",
        "iterations": 4,
        "rollout_batch": 8,
        "minibatches": 2,
        "max_new_tokens": 8,
        "lora_rank": 4,
        "lora_alpha": 8,
        "eval_prompts": 4,
        "checkpoint_every": 1,
    },
}


@pytest.fixture(scope="module")
def reward_adapter(base_folder: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A reward model as an adapter of the tiny base."""
    folder = tmp_path_factory.mktemp("reward") / "adapter"
    model, tokenizer = (
        new_reward_model(ModelRef(base_folder), torch.float32, pad_id=0, seed=1),
        load_tokenizer(base_folder),
    )
    trainee = add_lora(model, tokenizer, LoraShape(4, 8, "all-linear"), reward=True, seed=2)
    assert trainee.peft is not None
    trainee.peft.save_pretrained(str(folder))
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def run(tmp_path: Path, base_folder: str, reward_adapter: str) -> Callable[..., RunDir]:
    """run(method, name, *points): a run killed at these points, then finished."""

    def finish(method: str, name: str, *points: int) -> RunDir:
        models = {"base": ModelRef(base_folder)}
        if method == "ppo":
            models["reward"] = ModelRef(base_folder, reward_adapter)
        rows = [{**row, "response": row["chosen"]} for row in PREFERENCES]
        spec = Spec(method=method, config=OPTIONS[method], seed=3, models=models)
        run_dir = RunDir.create(tmp_path / name, spec, {"train": rows, "eval": rows[:4]})
        for number, point in enumerate(points):
            attempt(run_dir, f"killed-{number}", point)
        assert attempt(run_dir, "finished", None) == 0
        return run_dir

    return finish


def attempt(run_dir: RunDir, name: str, survive: int | None) -> int | None:
    """How a process ended that worked on the run, killed or not."""
    log = run_dir.path / "engine.log"
    process = forks.start(log, killing.attempt, str(run_dir.path), survive, run_dir.path / f"{name}.json")
    process.join()
    assert process.exitcode in (-signal.SIGKILL, 0), log.read_text()[-2000:]
    return process.exitcode


def told(run_dir: RunDir) -> list[tuple[str, int, dict[str, Any]]]:
    """Steps, evaluations and samples in the order they were told, without what depends on the clock."""
    found = []
    for event in read_events(run_dir.events_path, 0)[0]:
        if event["kind"] in ("step", "eval", "sample"):
            clocked = ("_second", "_seconds")
            metrics = {name: value for name, value in event.get("metrics", {}).items() if not name.endswith(clocked)}
            found.append((event["kind"], event["step"], metrics))
    return found


def tensors(run_dir: RunDir) -> dict[str, torch.Tensor]:
    files = sorted(run_dir.model_path.rglob("*.safetensors"))
    return {f"{path.parent.name}/{name}": item for path in files for name, item in load_file(path).items()}


@pytest.mark.slow
@pytest.mark.parametrize("method", OPTIONS)
def test_a_run_killed_again_and_again_ends_as_one_that_was_not(method: str, run: Callable[..., RunDir]) -> None:
    whole = run(method, "whole")
    effects = json.loads((whole.path / "finished.json").read_text())
    # Some points at random, one amid a checkpoint's tensors, one before its renaming, one in the last evaluation.
    writes = [place for place, name in enumerate(effects) if name == "save_file"]
    renames = [place for place, name in enumerate(effects) if name == "rename"]
    chosen = random.Random(method).sample(range(1, len(effects) // 2), 4)
    points = [renames[0], *chosen, writes[-2], renames[-1] - 1]
    killed = run(method, "killed", *points)
    assert len(list(killed.path.glob("killed-*.json"))) >= 5
    expected, found = tensors(whole), tensors(killed)
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert told(killed) == told(whole)
    assert (killed.result() or {})["metrics"] == (whole.result() or {})["metrics"]
    counts = Counter(
        (event["kind"], event["step"]) for event in read_events(killed.events_path, 0)[0] if "step" in event
    )
    assert set(counts.values()) == {1}
    events = read_events(killed.events_path, 0)[0]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
