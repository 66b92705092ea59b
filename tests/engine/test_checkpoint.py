"""Checkpoints: whole or not there, and a run that goes on ends as if it had never stopped."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import load_file

from tests.engine import forks
from training.engine import checkpoint, stop
from training.engine.__main__ import DONE, STOPPED, main
from training.engine.batches import cut_to_budget, own_passes, rows_of_step, total_steps
from training.engine.errors import EngineError
from training.engine.events import read_events
from training.engine.run_dir import RunDir
from training.engine.schedule import make_optimiser

MakeRun = Callable[..., RunDir]


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def drawn() -> tuple[float, float, float]:
    """The next number of every generator that a run may draw from."""
    return float(torch.rand(1)), float(numpy.random.rand()), random.random()


def test_weights_optimiser_state_and_random_numbers_come_back(run_dir: RunDir) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimiser = make_optimiser([weight], weight_decay=0.0)
    weight.grad = torch.tensor([1.0, 2.0, 3.0])
    optimiser.param_groups[0]["lr"] = 0.1
    optimiser.step()
    saved = weight.detach().clone()
    checkpoint.save(run_dir, 7, checkpoint.training_tensors({"w": weight}, optimiser), {"evaluated": 5}, keep=2)
    expected_random = drawn()
    optimiser.step()
    expected_weight = weight.detach().clone()

    found = checkpoint.load_latest(run_dir)
    assert found is not None
    assert (found.step, found.state) == (7, {"evaluated": 5})
    assert drawn() == expected_random
    again = torch.nn.Parameter(torch.zeros(3))
    fresh = make_optimiser([again], weight_decay=0.0)
    checkpoint.restore_training({"w": again}, fresh, found.tensors)
    assert torch.equal(again, saved)
    again.grad = torch.tensor([1.0, 2.0, 3.0])
    fresh.param_groups[0]["lr"] = 0.1
    fresh.step()
    assert torch.equal(again, expected_weight)


def test_only_the_newest_are_kept(run_dir: RunDir) -> None:
    for step in (5, 10, 15):
        checkpoint.save(run_dir, step, {"weight/w": torch.ones(1)}, {}, keep=2)
    assert [path.name for path in run_dir.checkpoints()] == ["step-000010", "step-000015"]


@pytest.mark.parametrize("damage", ["cut", "flip", "no state", "torn state"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(run_dir: RunDir, damage: str) -> None:
    for step in (5, 10):
        checkpoint.save(run_dir, step, {"weight/w": torch.full((9,), float(step))}, {}, keep=2)
    newest = run_dir.checkpoints()[-1]
    tensors, state = newest / "tensors.safetensors", newest / "state.json"
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    if damage == "cut":
        tensors.write_bytes(content[:-4])
    elif damage == "flip":
        tensors.write_bytes(content)
    elif damage == "no state":
        state.unlink()
    else:
        state.write_text(state.read_text()[:20])
    found = checkpoint.load_latest(run_dir)
    assert found is not None
    assert found.step == 5
    assert found.tensors["weight/w"].tolist() == [5.0] * 9


def test_when_all_are_damaged_the_run_does_not_silently_begin_again(run_dir: RunDir) -> None:
    checkpoint.save(run_dir, 5, {"weight/w": torch.ones(1)}, {}, keep=2)
    (run_dir.checkpoints()[0] / "state.json").unlink()
    with pytest.raises(EngineError, match="whole"):
        checkpoint.load_latest(run_dir)


def test_a_half_written_checkpoint_is_not_one(run_dir: RunDir) -> None:
    (run_dir.checkpoints_path / ".step-000005").mkdir(parents=True)
    assert checkpoint.load_latest(run_dir) is None


def test_a_checkpoint_of_another_model_is_refused() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    with pytest.raises(EngineError, match="other names"):
        checkpoint.restore_training(
            {"w": weight}, make_optimiser([weight], weight_decay=0), {"weight/v": torch.ones(1)}
        )


def test_a_checkpoint_of_a_model_of_another_shape_is_refused() -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(EngineError, match="other shapes"):  # (1,) would fill (3,) without a word
        checkpoint.restore_training(
            {"w": weight}, make_optimiser([weight], weight_decay=0), {"weight/w": torch.ones(1)}
        )
    assert weight.tolist() == [0.0, 0.0, 0.0]


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files first, then the folder that lists them, then the new name, then the folder that lists that."""
    done: list[tuple[str, str]] = []
    sync, rename = os.fsync, os.rename

    def synced(handle: int) -> None:
        done.append(("sync", Path(os.readlink(f"/proc/self/fd/{handle}")).name))
        sync(handle)

    def renamed(old: Path, new: Path) -> None:
        done.append(("rename", new.name))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    checkpoint.save(run_dir, 5, {"weight/w": torch.ones(1)}, {}, keep=2, best={"w": torch.ones(1)})
    files, (folder, *rest) = done[:3], done[3:]
    assert [name for _, name in files[:2]] == ["tensors.safetensors", "best.safetensors"]
    assert files[2][1].startswith(".state.json")
    assert [folder, *rest] == [("sync", ".step-000005"), ("rename", "step-000005"), ("sync", "checkpoints")]


def final_weights(run_dir: RunDir) -> dict[str, torch.Tensor]:
    return load_file(run_dir.model_path / "adapter" / "adapter_model.safetensors")


def told(run_dir: RunDir) -> list[tuple[str, Any, Any]]:
    """What the events say, times and phases aside."""
    events = read_events(run_dir.events_path, 0)[0]
    passing = {"tokens_per_second"}
    return [
        (
            item["kind"],
            item["step"],
            {key: value for key, value in item.get("metrics", {}).items() if key not in passing},
        )
        for item in events
        if item["kind"] in ("step", "eval", "sample")
    ]


@pytest.mark.parametrize("method", ["dpo", "reward", "sft"])
@pytest.mark.parametrize("looks", [1, 5, 13])
def test_a_stopped_run_goes_on_to_the_same_weights_bit_for_bit(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, method: str, looks: int
) -> None:
    options: dict[str, Any] = {"epochs": 3.0, "learning_rate": 5e-3, "eval_every": 2, "checkpoint_every": 4}
    whole = make_run(method, name="whole", **options)
    assert main([str(whole.path)]) == DONE

    broken = make_run(method, name="broken", **options)
    left = [looks]

    def requested() -> bool:
        left[0] -= 1
        return left[0] < 0

    monkeypatch.setattr(stop, "requested", requested)
    assert main([str(broken.path)]) == STOPPED
    assert broken.result() is None
    monkeypatch.undo()
    assert main([str(broken.path)]) == DONE

    expected, found = final_weights(whole), final_weights(broken)
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert (broken.result() or {})["metrics"] == (whole.result() or {})["metrics"]
    assert told(broken) == told(whole)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(make_run: MakeRun) -> None:
    options: dict[str, Any] = {"epochs": 30.0, "learning_rate": 1e-3, "checkpoint_every": 3}
    whole, killed = make_run("dpo", name="whole", **options), make_run("dpo", name="killed", **options)
    process = forks.start_engine(killed)
    wait_for(lambda: len(killed.checkpoints()) > 0, process)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert killed.result() is None
    assert main([str(killed.path)]) == main([str(whole.path)]) == DONE
    expected, found = final_weights(whole), final_weights(killed)
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert told(killed) == told(whole)


@pytest.mark.slow
def test_sigterm_writes_a_checkpoint_and_leaves_with_75(make_run: MakeRun) -> None:
    run_dir = make_run("dpo", max_steps=100_000, checkpoint_every=1_000_000)
    process = forks.start_engine(run_dir)
    wait_for(lambda: any(item["kind"] == "step" for item in read_events(run_dir.events_path, 0)[0]), process)
    assert run_dir.checkpoints() == []
    process.terminate()
    process.join(timeout=60)
    assert process.exitcode == STOPPED
    kept = run_dir.checkpoints()
    assert len(kept) == 1
    steps = [item["step"] for item in read_events(run_dir.events_path, 0)[0] if item["kind"] == "step"]
    assert json.loads((kept[0] / "state.json").read_text())["step"] == steps[-1]


def wait_for(condition: Callable[[], bool], process: BaseProcess, seconds: float = 120.0) -> None:
    """Until the condition holds; fails when the process ends before, or after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.exitcode is None, f"the engine ended with {process.exitcode}"
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.02)


def test_every_epoch_sees_every_row_once_in_an_order_of_its_own() -> None:
    epochs = [
        [row for step in range(1 + 4 * epoch, 5 + 4 * epoch) for row in rows_of_step(step, 10, batch_size=3, seed=1)]
        for epoch in range(2)
    ]
    assert [sorted(order) for order in epochs] == [list(range(10))] * 2
    assert epochs[0] != epochs[1]
    assert rows_of_step(6, 10, batch_size=3, seed=1) == rows_of_step(6, 10, batch_size=3, seed=1)
    assert rows_of_step(1, 10, batch_size=10, seed=1) != rows_of_step(1, 10, batch_size=10, seed=2)


@pytest.mark.parametrize(
    ("epochs", "max_steps", "expected"), [(1.0, 0, 4), (2.5, 0, 10), (0.01, 0, 1), (3.0, 5, 5), (1.0, 100, 100)]
)
def test_steps_follow_from_epochs_unless_they_are_given(epochs: float, max_steps: int, expected: int) -> None:
    assert total_steps(10, batch_size=3, epochs=epochs, max_steps=max_steps) == expected


def test_passes_hold_rows_of_like_length_within_their_tokens() -> None:
    tokens = [5, 50, 7, 49, 6, 120]
    groups = cut_to_budget(tokens, 100)
    assert groups == [[5], [1, 3], [2, 4, 0]]
    assert sorted(index for group in groups for index in group) == list(range(6))


@pytest.mark.parametrize(
    ("wanted", "device", "dtype", "rows"),
    [
        (0, "cpu", torch.float32, 1024 // 300),
        (0, "cpu", torch.bfloat16, 1536 // 300),
        (0, "cuda", torch.bfloat16, 8192 // 300),
        (5000, "cpu", torch.float32, 5000 // 300),
        (1, "cuda", torch.float32, 1),
    ],
)
def test_a_pass_holds_what_suits_the_machine_unless_it_is_told(
    wanted: int, device: str, dtype: torch.dtype, rows: int
) -> None:
    model: Any = SimpleNamespace(device=torch.device(device), dtype=dtype)
    assert next(len(group) for group in own_passes(model, [300] * 60, wanted)) == rows
