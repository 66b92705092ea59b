"""Numbers that are not finite, and a disk that is full: the run stops, says why, and the checkpoint before stays."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tests.engine import ppo_runs
from tests.engine.conftest import DEMONSTRATIONS
from tests.engine.families import families
from training.engine import checkpoint, sft
from training.engine.__main__ import BAD_INPUT, DONE, FAILED, main
from training.engine.batches import rows_of_step
from training.engine.chat import render
from training.engine.errors import EngineError
from training.engine.events import read_events
from training.engine.run_dir import ModelRef, RunDir, Spec

MakeRun = Callable[..., RunDir]
NO_SAMPLES = {"sample_prompts": 0, "length_prompts": 0}


def last_reason(run_dir: RunDir) -> str:
    event = read_events(run_dir.events_path, 0)[0][-1]
    assert event["kind"] == "error"
    return str(event["reason"])


def test_an_infinity_planted_in_one_row_stops_the_run_at_its_step_and_names_its_rows(tmp_path: Path) -> None:
    model, tokenizer = families["llama"]()
    rendered = [render(tokenizer, row["prompt"], row["response"]) for row in DEMONSTRATIONS]
    written = [prompt_ids + response_ids for prompt_ids, response_ids in rendered]
    planted = 5
    others = {token for number, ids in enumerate(written) if number != planted for token in ids}
    with torch.no_grad():  # a token that this row alone has
        model.get_input_embeddings().weight[next(token for token in written[planted] if token not in others)] = (
            torch.inf
        )
    for item in (model, tokenizer):
        item.save_pretrained(tmp_path / "base")
    config = {
        "precision": "fp32",
        "lora_rank": 4,
        "batch_size": 2,
        "checkpoint_every": 1,
        "max_length": 128,
        **NO_SAMPLES,
    }
    spec = Spec(method="sft", config=config, seed=3, models={"base": ModelRef(str(tmp_path / "base"))})
    run_dir = RunDir.create(tmp_path / "run", spec, {"train": DEMONSTRATIONS, "eval": DEMONSTRATIONS[:2]})
    steps = {step: rows_of_step(step, len(DEMONSTRATIONS), batch_size=2, seed=3) for step in range(1, 9)}
    step = next(step for step, rows in steps.items() if planted in rows)
    assert step > 1  # or no checkpoint would stand before it

    assert main([str(run_dir.path)]) == BAD_INPUT
    rows = ", ".join(DEMONSTRATIONS[row]["id"] for row in steps[step])
    assert last_reason(run_dir).startswith(f"the loss of step {step} (rows {rows}) is not finite")
    kept = checkpoint.load_latest(run_dir)
    assert kept is not None
    assert kept.step == step - 1
    assert all(torch.isfinite(item).all() for item in kept.tensors.values())


def test_a_gradient_that_is_not_finite_names_step_and_rows(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sft.accumulate_gradients

    def planted(trainee: Any, examples: Any, loop: Any) -> float:
        loss = real(trainee, examples, loop)
        if loop.step == 1:
            next(iter(loop.parameters.values())).grad.view(-1)[0] = torch.inf
        return loss

    monkeypatch.setattr(sft, "accumulate_gradients", planted)
    run_dir = make_run("sft", checkpoint_every=1, **NO_SAMPLES)
    assert main([str(run_dir.path)]) == BAD_INPUT
    rows = ", ".join(DEMONSTRATIONS[row]["id"] for row in rows_of_step(2, len(DEMONSTRATIONS), batch_size=4, seed=3))
    assert last_reason(run_dir).startswith(f"the gradient of step 2 (rows {rows}) is not finite")
    assert [path.name for path in run_dir.checkpoints()] == ["step-000001"]


def test_weights_that_are_not_finite_are_no_checkpoint(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    checkpoint.save(run_dir, 1, {"weight/w": torch.ones(2)}, {}, keep=1)
    with pytest.raises(EngineError, match="after step 2 the weights in w are not finite"):
        checkpoint.save(run_dir, 2, {"weight/w": torch.tensor([1.0, torch.nan])}, {}, keep=1)
    assert [path.name for path in run_dir.checkpoints()] == ["step-000001"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB. Only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_checkpoint_that_finds_the_disk_full_leaves_the_one_before(small_disk: Path) -> None:
    run_dir = RunDir(small_disk)
    checkpoint.save(run_dir, 5, {"weight/w": torch.full((9,), 5.0)}, {}, keep=2)
    with pytest.raises((OSError, SafetensorError), match="No space left"):
        checkpoint.save(run_dir, 10, {"weight/w": torch.zeros(200_000)}, {}, keep=2)
    assert [path.name for path in run_dir.checkpoints_path.iterdir()] == ["step-000005"]
    found = checkpoint.load_latest(run_dir)
    assert found is not None
    assert found.tensors["weight/w"].tolist() == [5.0] * 9


def test_a_run_that_fills_its_disk_says_so_and_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"checkpoint_every": 1, "epochs": 2.0, "keep_checkpoints": 100, **NO_SAMPLES}
    whole = make_run("sft", name="whole", **options)
    crowded = RunDir(shutil.copytree(whole.path, small_disk / "run"))
    assert main([str(crowded.path)]) == FAILED
    assert "the disk is full; free some space" in capsys.readouterr().err
    kept = crowded.checkpoints()
    assert 1 <= len(kept) < 4
    roomy = RunDir(shutil.copytree(crowded.path, tmp_path / "roomy"))
    assert main([str(roomy.path)]) == main([str(whole.path)]) == DONE
    events = read_events(roomy.events_path, 0)[0]
    assert [event["step"] for event in events if event["kind"] == "step"] == [1, 2, 3, 4]
    place = Path("model/adapter/adapter_model.safetensors")
    expected, found = load_file(whole.path / place), load_file(roomy.path / place)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def warnings_of(run_dir: RunDir) -> list[str]:
    return [event["message"] for event in read_events(run_dir.events_path, 0)[0] if event["kind"] == "warning"]


@pytest.mark.parametrize("method", ["sft", "ppo"])
def test_a_run_that_lost_its_checkpoints_says_from_where_it_goes_on(
    tmp_path: Path, make_run: MakeRun, ppo_models: Path, method: str
) -> None:
    if method == "ppo":
        run_dir, _ = ppo_runs.start_run(tmp_path / "run", ppo_runs.make_spec(ppo_models, iterations=2))
    else:
        run_dir = make_run("sft", checkpoint_every=1, **NO_SAMPLES)
        assert main([str(run_dir.path)]) == DONE
    assert [path.name for path in run_dir.checkpoints()] == ["step-000001", "step-000002"]
    quiet = warnings_of(run_dir)
    run_dir.result_path.unlink()
    (run_dir.checkpoints()[-1] / "state.json").write_text("{")
    assert main([str(run_dir.path)]) == DONE
    assert warnings_of(run_dir) == [*quiet, "Damaged checkpoints (step-000002): the run goes on from step 1."]

    run_dir.result_path.unlink()
    shutil.rmtree(run_dir.checkpoints_path)  # as if it had been killed before the first
    assert main([str(run_dir.path)]) == DONE
    assert warnings_of(run_dir)[-1] == "The run was interrupted before its first checkpoint: it begins again."
    assert len(warnings_of(run_dir)) == len(quiet) + 2


def test_a_run_that_begins_or_goes_on_whole_warns_of_nothing(make_run: MakeRun) -> None:
    run_dir = make_run("sft", checkpoint_every=1, **NO_SAMPLES)
    for _ in range(2):
        assert main([str(run_dir.path)]) == DONE
        assert warnings_of(run_dir) == []
        run_dir.result_path.unlink()


def test_a_kill_between_removing_and_renaming_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = RunDir(tmp_path)
    checkpoint.save(run_dir, 5, {"weight/w": torch.zeros(1)}, {}, keep=2)
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.os, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(run_dir, 5, {"weight/w": torch.ones(1)}, {}, keep=2)
    assert run_dir.checkpoints() == []
    found = checkpoint.load_latest(run_dir)
    assert found is not None
    assert found.tensors["weight/w"].tolist() == [1.0]


def test_the_best_weights_travel_with_every_checkpoint(make_run: MakeRun) -> None:
    run_dir = make_run("reward", epochs=3.0, learning_rate=5e-3, eval_every=1, checkpoint_every=2, keep_checkpoints=1)
    assert main([str(run_dir.path)]) == DONE
    [newest] = run_dir.checkpoints()
    best = load_file(newest / "best.safetensors")
    saved = load_file(run_dir.model_path / "adapter" / "adapter_model.safetensors")
    shown = {name.replace(".default", "").replace(".modules_to_save", ""): item for name, item in best.items()}
    assert saved.keys() == shown.keys()
    assert [name for name in saved if not torch.equal(saved[name], shown[name])] == []


def test_a_damaged_file_of_best_weights_makes_a_checkpoint_damaged(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    for step in (1, 2):
        checkpoint.save(run_dir, step, {"weight/w": torch.ones(1)}, {}, keep=2, best={"w": torch.ones(1) * step})
    save_file({"w": torch.zeros(1)}, run_dir.checkpoints()[-1] / "best.safetensors")
    found = checkpoint.load_latest(run_dir)
    assert found is not None
    assert (found.step, found.best["w"].tolist()) == (1, [1.0])
