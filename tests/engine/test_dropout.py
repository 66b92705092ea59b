"""The adapters' dropout: in training passes alone, the same after a kill, and not in PPO."""

import math
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file

from training.engine import stop
from training.engine.__main__ import main
from training.engine.adapters import TrainingDropout
from training.engine.config import ConfigError, load_config
from training.engine.events import read_events
from training.engine.run_dir import RunDir

MakeRun = Callable[..., RunDir]


def told(run_dir: RunDir, kind: str) -> list[dict[str, float]]:
    return [event["metrics"] for event in read_events(run_dir.events_path, 0)[0] if event["kind"] == kind]


def weights(run_dir: RunDir) -> dict[str, torch.Tensor]:
    return load_file(run_dir.model_path / "adapter" / "adapter_model.safetensors")


def test_a_pass_without_gradients_has_none() -> None:
    torch.manual_seed(0)
    dropout, x = TrainingDropout(0.25), torch.ones(10_000)
    for train in (True, False):
        dropped = dropout.train(train)(x)
        assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
        assert dropped[dropped > 0].tolist() == pytest.approx([4 / 3] * int((dropped > 0).sum()))
        with torch.no_grad():
            assert torch.equal(dropout(x), x)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_run_learns_under_it_and_is_measured_without(make_run: MakeRun, checkpointing: bool) -> None:
    options = {"learning_rate": 1e-2, "max_steps": 3, "gradient_checkpointing": checkpointing}
    plain, dropping = (
        make_run("dpo", name="plain", **options),
        make_run("dpo", name="drops", lora_dropout=0.5, **options),
    )
    assert main([str(plain.path)]) == main([str(dropping.path)]) == 0
    before = told(dropping, "eval")[0]
    assert before["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert before["margin"] == pytest.approx(0, abs=1e-6)
    # B starts at 0, so the first loss is the same; from the second step on the adapters speak.
    assert told(dropping, "step")[0]["loss"] == pytest.approx(told(plain, "step")[0]["loss"], abs=1e-6)
    assert abs(told(dropping, "step")[2]["loss"] - told(plain, "step")[2]["loss"]) > 1e-4


@pytest.mark.parametrize("method", ["sft", "reward", "dpo"])
def test_a_stopped_run_draws_what_it_would_have_drawn(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    options = {"lora_dropout": 0.3, "max_steps": 4, "learning_rate": 1e-2, "checkpoint_every": 1}
    whole, stopped = make_run(method, name="whole", **options), make_run(method, name="stopped", **options)
    assert main([str(whole.path)]) == 0

    monkeypatch.setattr(stop, "requested", lambda: len(told(stopped, "step")) == 2)
    assert main([str(stopped.path)]) == 75
    assert len(told(stopped, "step")) == 2
    monkeypatch.undo()
    assert main([str(stopped.path)]) == 0
    before, after = weights(whole), weights(stopped)
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


def test_ppo_has_none() -> None:
    with pytest.raises(ConfigError, match="lora_dropout: unknown option of ppo"):
        load_config("ppo", {"lora_dropout": 0.1})
