"""PPO on the families people use, each with its kind of tokenizer and attention: all roles, sampling, saving."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.engine.families import families
from tests.engine.ppo_runs import build_models, events_of, make_spec, start_run

OPTIONS = {"iterations": 2, "epochs": 1, "learning_rate": 1e-2, "max_approx_kl": 1e3, "max_ratio_deviation": 1e3}


@pytest.mark.parametrize("family", families)
def test_ppo_trains_a_policy_of_the_family_from_where_its_reference_stands(tmp_path: Path, family: str) -> None:
    build_models(tmp_path / "models", *families[family]())
    run_dir, code = start_run(tmp_path / "run", make_spec(tmp_path / "models", value_backbone="own", **OPTIONS))
    assert code == 0
    first, second = (event["metrics"] for event in events_of(run_dir, "step"))
    assert (first["kl"], first["kl_k3"]) == (0.0, 0.0)
    assert first["score_std"] > 0
    assert second["kl_k3"] > 0
    assert first["grad_norm"] > 0
    before, after = (
        AutoModelForCausalLM.from_pretrained(folder).state_dict()
        for folder in (tmp_path / "models" / "base", run_dir.model_path / "merged")
    )
    assert before.keys() == after.keys()
    assert any(not torch.equal(item, after[name]) for name, item in before.items())
