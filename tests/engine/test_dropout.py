"""The adapters' dropout: in training passes alone, the same after a kill, and not in PPO."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training.engine import dpo, stop
from training.engine.__main__ import main
from training.engine.adapters import TrainingDropout
from training.engine.config import ConfigError, load_config
from training.engine.events import NoEvents, read_events
from training.engine.models import Trainee, load_base, load_tokenizer
from training.engine.pairs import Tally, read_pairs
from training.engine.run_dir import ModelRef, RunDir

CPU = torch.device("cpu")
MakeRun = Callable[..., RunDir]


def told(run_dir: RunDir, kind: str) -> list[dict[str, float]]:
    return [event["metrics"] for event in read_events(run_dir.events_path, 0)[0] if event["kind"] == kind]


def weights(run_dir: RunDir) -> dict[str, torch.Tensor]:
    return load_file(run_dir.model_path / "adapter" / "adapter_model.safetensors")


def margins(folder: str | Path, run_dir: RunDir) -> torch.Tensor:
    """log p of the chosen less that of the rejected answers of the held-out pairs, by a model without adapters."""
    model, tokenizer = load_base(ModelRef(str(folder)), dtype=torch.float32, device=CPU), load_tokenizer(str(folder))
    pairs = read_pairs(run_dir, "eval", tokenizer, 128, Tally(), NoEvents())
    with torch.no_grad():
        chosen_B, rejected_B = dpo.pair_logprobs(Trainee(model, tokenizer, CPU), pairs)
    return chosen_B - rejected_B


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
def test_a_run_learns_under_it_and_is_measured_without(
    make_run: MakeRun, base_folder: str, checkpointing: bool
) -> None:
    options = {"learning_rate": 1e-2, "max_steps": 3, "gradient_checkpointing": checkpointing}
    plain, dropping = (
        make_run("dpo", name="plain", **options),
        make_run("dpo", name="drops", lora_dropout=0.5, **options),
    )
    assert main([str(plain.path)]) == main([str(dropping.path)]) == 0
    before = told(dropping, "eval")[0]
    assert before["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert before["margin"] == pytest.approx(0, abs=1e-6)
    # B starts at 0, so what is dropped shows neither there nor in the first loss; from the second step on it does.
    assert told(dropping, "step")[0]["loss"] == pytest.approx(told(plain, "step")[0]["loss"], abs=1e-6)
    assert abs(told(dropping, "step")[2]["loss"] - told(plain, "step")[2]["loss"]) > 1e-4
    after = margins(dropping.model_path / "merged", dropping) - margins(base_folder, dropping)
    assert told(dropping, "eval")[-1]["margin"] == pytest.approx(0.1 * float(after.mean()), abs=1e-4)


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
