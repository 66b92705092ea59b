"""DPO's reference: which model it is, that it is loaded once, and when its log-probs are computed anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.engine.conftest import PREFERENCES, SHORT_SAMPLES, SMALL
from training.engine import reference as reference_module
from training.engine.__main__ import BAD_INPUT, DONE, main
from training.engine.chat import render
from training.engine.events import read_events
from training.engine.models import load_tokenizer
from training.engine.run_dir import ModelRef, RunDir, Spec
from training.engine.tiny import build_tiny

MakeRun = Callable[..., RunDir]
HELD_OUT = PREFERENCES[:4]


@pytest.fixture(scope="module")
def other_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Another version: other weights, the same tokenizer."""
    folder = tmp_path_factory.mktemp("other")
    for item in build_tiny(seed=7):
        item.save_pretrained(folder)
    return str(folder)


def margins(folder: str) -> torch.Tensor:
    """log p(chosen) - log p(rejected) of the held-out pairs by transformers alone, (4,)."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = load_tokenizer(folder)
    found = []
    for row in HELD_OUT:
        for side in ("chosen", "rejected"):
            prompt_ids, response_ids = render(tokenizer, row["prompt"], row[side])
            with torch.no_grad():
                logprob_SV = model(torch.tensor([[*prompt_ids, *response_ids]])).logits[0].log_softmax(-1)
            logprob_RV = logprob_SV[len(prompt_ids) - 1 : -1]
            found.append(logprob_RV.gather(1, torch.tensor(response_ids)[:, None]).sum())
    return torch.stack(found[::2]) - torch.stack(found[1::2])


def told(run_dir: RunDir, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_events(run_dir.events_path, 0)[0] if event["kind"] == kind]


@pytest.mark.parametrize("lora", [True, False])
def test_another_version_is_the_reference_where_it_is_named(
    make_run: MakeRun, base_folder: str, other_folder: str, lora: bool
) -> None:
    models = {"reference": ModelRef(other_folder)}
    run_dir = make_run("dpo", models=models, held_out=HELD_OUT, beta=0.2, max_steps=1, lora=lora)
    assert main([str(run_dir.path)]) == DONE
    before = told(run_dir, "eval")[0]["metrics"]
    margin_B = 0.2 * (margins(base_folder) - margins(other_folder))
    assert margin_B.abs().max() > 0.01
    assert before["margin"] == pytest.approx(float(margin_B.mean()), abs=1e-4)
    assert before["loss"] == pytest.approx(float(-torch.nn.functional.logsigmoid(margin_B).mean()), abs=1e-4)
    assert before["kl_k3"] > 0.01  # the answers are the base's own, so this too is against the other


@pytest.mark.parametrize(("options", "loads"), [({}, 0), ({"lora": False}, 1), ({"other": True}, 1)])
def test_a_reference_of_its_own_is_loaded_once_whatever_the_evaluations(
    make_run: MakeRun, other_folder: str, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], loads: int
) -> None:
    counted, load = [], reference_module.load_base
    monkeypatch.setattr(reference_module, "load_base", lambda ref, **rest: (counted.append(ref), load(ref, **rest))[1])
    models = {"reference": ModelRef(other_folder)} if options.pop("other", False) else {}
    run_dir = make_run("dpo", models=models, eval_every=1, max_steps=3, **options)
    assert main([str(run_dir.path)]) == DONE
    assert len(told(run_dir, "eval")) == 4
    assert len(counted) == loads


def test_a_reference_that_cannot_read_the_tokenizers_ids_is_refused(
    make_run: MakeRun, other_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(other_folder)
    model.resize_token_embeddings(50)
    model.save_pretrained(tmp_path / "small")
    run_dir = make_run("dpo", models={"reference": ModelRef(str(tmp_path / "small"))})
    assert main([str(run_dir.path)]) == BAD_INPUT
    assert "more tokens than the model has embeddings" in capsys.readouterr().err


# What is computed once.


@pytest.fixture
def run(tmp_path: Path, base_folder: str) -> Callable[..., tuple[bool, dict[str, float]]]:
    """run(name, …): whether a DPO run computed log-probs of its reference, and what it evaluated before training."""

    def start(
        name: str, *, base: str = base_folder, rows: Any = PREFERENCES, cache: str = "cache", **config: Any
    ) -> tuple[bool, dict[str, float]]:
        options = {**SMALL, **SHORT_SAMPLES, "max_steps": 1, **config}
        spec = Spec("dpo", options, seed=3, models={"base": ModelRef(base)}, cache=cache and str(tmp_path / cache))
        run_dir = RunDir.create(tmp_path / name, spec, {"train": rows, "eval": HELD_OUT})
        assert main([str(run_dir.path)]) == DONE
        computed = any(event["name"] == "reference log-probs" for event in told(run_dir, "phase"))
        return computed, told(run_dir, "eval")[0]["metrics"]

    return start


def test_runs_that_share_a_folder_compute_the_reference_once(run: Callable[..., Any], tmp_path: Path) -> None:
    first, again = run("first"), run("again", beta=0.3, loss="ipo", learning_rate=1e-3)
    assert (first[0], again[0]) == (True, False)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    # What was found is what was computed: policy and reference still agree to the last bit.
    assert (first[1]["margin"], again[1]["margin"]) == (0.0, 0.0)
    assert (again[1]["logprob_chosen"], again[1]["loss"]) == (
        first[1]["logprob_chosen"],
        pytest.approx(1 / (4 * 0.3**2)),
    )
    assert run("alone", cache="")[0]


def changed(base_folder: str, folder: Path, what: str) -> str:
    """The base with other weights in the same place, or with another template."""
    shutil.copytree(base_folder, folder)
    if what == "weights":
        model: Any = AutoModelForCausalLM.from_pretrained(folder)
        model.lm_head.weight.data.mul_(1.01)
        model.save_pretrained(folder)
    else:
        template = folder / "chat_template.jinja"
        template.write_text("{{ 'Well. ' }}" + template.read_text())
    return str(folder)


@pytest.mark.parametrize("what", ["weights", "template", "rows", "max_length", "tokens_per_pass"])
def test_what_the_log_probs_depend_on_makes_them_anew(
    run: Callable[..., Any], base_folder: str, tmp_path: Path, what: str
) -> None:
    base = str(tmp_path / "base")
    shutil.copytree(base_folder, base)
    assert run("first", base=base)[0]
    options: dict[str, Any] = {"base": base}
    if what in ("weights", "template"):
        shutil.rmtree(base)
        changed(base_folder, Path(base), what)
    elif what == "rows":
        options["rows"] = [{**PREFERENCES[0], "rejected": "Something else."}, *PREFERENCES[1:]]
    else:
        options[what] = 24
    computed, metrics = run("second", **options)
    assert computed
    assert metrics["margin"] == 0.0


def test_a_damaged_file_is_computed_anew(run: Callable[..., Any], tmp_path: Path) -> None:
    run("first")
    [file] = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:40])
    assert run("second")[0]
    assert not run("third")[0]
