"""The bench itself on a tiny model: real arms in real processes, a few short turns."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench import driver
from bench.command import SMALL, main
from bench.driver import Arm
from bench.errors import ArmError, DisagreementError
from bench.models import base_folder
from bench.rows import Workshop, training_row
from bench.turns import ArmSpec


@pytest.fixture(scope="session")
def keep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, imported once."""
    folder = tmp_path_factory.mktemp("bench")
    base_folder("tiny", folder / "models")
    return folder


def arguments(keep: Path, pairs: Path, out: Path, *more: str) -> list[str]:
    options = ["--model", "tiny", "--small", "--keep", str(keep), "--data", str(pairs), "--out", str(out)]
    return [*options, "--precision", "fp32", "--kinds", "short", "--steps", "2", *more]


def test_without_data_it_says_so_in_one_line(keep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(keep, tmp_path / "nowhere.jsonl", tmp_path / "out.json")) == 2
    said = capsys.readouterr().err.strip()
    assert "nowhere.jsonl is not there" in said
    assert "\n" not in said


def test_without_a_gpu_it_refuses_in_one_line(
    keep: Path, pairs_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(arguments(keep, pairs_file, tmp_path / "out.json", "--device", "cuda")) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("There is no GPU")
    assert "\n" not in said


def test_an_unknown_row_is_named(
    keep: Path, pairs_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments(keep, pairs_file, tmp_path / "out.json", "--rows", "dpo,knitting"))
    assert "--rows: knitting is not one of " in capsys.readouterr().err


@pytest.mark.slow
def test_our_dpo_and_trls_prove_measure_and_are_written(
    keep: Path, pairs_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    in_parts = "TRL best (4 × 2 pairs)"  # its gradients must add up to those of the whole batch
    assert main(arguments(keep, pairs_file, out, "--rows", "dpo", "--kinds", "long", "--arms", in_parts)) == 0
    said = capsys.readouterr().out
    assert "2 arms agree" in said
    (row,) = json.loads(out.read_text())["rows"]
    assert set(row["agreement"]) == {in_parts}
    ours, peer = row["arms"]
    assert (ours["name"], peer["name"]) == ("ours", in_parts)
    assert ours["tokens"] == peer["tokens"]  # the same real tokens in the same order
    assert len(ours["seconds"]) == len(peer["seconds"]) == 2
    assert min(ours["peak_mib"], peer["peak_mib"], ours["share_of_peak"], *ours["seconds"], *peer["seconds"]) > 0
    assert f"{ours['tokens_per_second']:.0f}" in said


@pytest.mark.slow
def test_sampling_is_measured_against_transformers(keep: Path, pairs_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert main(arguments(keep, pairs_file, out, "--rows", "sampling")) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert [arm["name"] for arm in row["arms"]] == ["ours", "transformers, batch 4"]
    assert row["agreement"]["transformers, batch 4"]["worst_tensor"] == 0  # the same greedy answers
    for arm in row["arms"]:
        assert SMALL.pairs <= min(arm["tokens"]) <= max(arm["tokens"]) <= SMALL.pairs * SMALL.sampled_tokens


@pytest.mark.slow
def test_arms_that_compute_something_else_are_not_timed(keep: Path, pairs_file: Path, tmp_path: Path) -> None:
    shop = Workshop("tiny", base_folder("tiny", keep / "models"), keep / "models", tmp_path, pairs_file, "cpu", SMALL)
    row = training_row("sft", shop, "short", "fp32", turns=1)
    ours = row.arms[0]
    weights = load_file(ours.adapter)
    weights[next(name for name in weights if "lora_A" in name)] += 0.01
    save_file(weights, tmp_path / "other.safetensors")
    other = replace(row.arms[1], name="another", side="ours", without="", adapter=str(tmp_path / "other.safetensors"))
    with pytest.raises(DisagreementError, match="another does not agree with ours"):
        driver.prove(replace(row, arms=(ours, other)), driver.python_here, lambda text: None)


@pytest.mark.slow
def test_an_arm_that_dies_leaves_its_last_words(keep: Path, pairs_file: Path, tmp_path: Path) -> None:
    shop = Workshop("tiny", base_folder("tiny", keep / "models"), keep / "models", tmp_path, pairs_file, "cpu", SMALL)
    spec = replace(training_row("sft", shop, "short", "fp32", turns=1).arms[0], model=str(tmp_path / "no-model"))
    with Arm(spec, driver.python_here(spec)) as arm, pytest.raises(ArmError, match=r"no-model.*log\.txt"):
        arm.ready()
    assert arm.process.poll() is not None


def test_an_arm_that_is_killed_is_told_of_in_one_line(tmp_path: Path) -> None:
    spec = ArmSpec("peer", "trl", "dpo", "model", "data", "adapter", str(tmp_path / "arm"))
    with Arm(spec, driver.python_here(spec)) as arm:
        arm.process.kill()
        arm.process.wait()
        with pytest.raises(ArmError, match=r"^peer ended with code -9: killed, most often because the memory ran out"):
            arm.turn()
