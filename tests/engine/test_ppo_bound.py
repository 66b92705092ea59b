"""The bound on KL: past it training ends, and the policy from below it is what the run gives."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from tests.engine.ppo_runs import events_of, make_spec, prepared, start_run
from training.engine import ppo as ppo_module
from training.engine.ppo_state import go_back_below, is_over_bound, keep_below
from training.engine.run_dir import ModelRef

FAST = {"iterations": 4, "learning_rate": 1e-2, "rollout_batch": 32, "minibatches": 4, "eval_prompts": 8}
FULL = {**FAST, "lora": False, "learning_rate": 3e-3}


def _merged(run_dir):
    return load_file(run_dir.model_path / "merged" / "model.safetensors")


def _kls(run_dir):
    return [event["metrics"]["kl"] for event in events_of(run_dir, "step")]


@pytest.fixture(scope="module")
def free(tmp_path_factory, ppo_models):
    """A run without a bound whose last update takes it furthest."""
    run_dir, code = start_run(tmp_path_factory.mktemp("free") / "run", make_spec(ppo_models, **FULL))
    assert code == 0
    return run_dir


@pytest.mark.parametrize("options", [FAST, FULL])
def test_past_the_bound_training_ends_with_the_policy_from_below_it(tmp_path, ppo_models, options):
    unbounded, _ = start_run(tmp_path / "unbounded", make_spec(ppo_models, **options))
    kls = _kls(unbounded)
    over = kls.index(max(kls))
    assert over >= 2
    bound = (max(kls[:over]) + kls[over]) / 2  # this rollout is the first beyond it
    run_dir, code = start_run(tmp_path / "bounded", make_spec(ppo_models, **options, max_kl=bound))
    assert code == 0
    # The rollout beyond the bound is told, but nobody learns from it.
    assert _kls(run_dir) == kls[: over + 1]
    last = events_of(run_dir, "step")[-1]
    assert (last["metrics"]["optimizer_steps"], last["eta_s"]) == (0.0, 0.0)
    [warning] = [event["message"] for event in events_of(run_dir, "warning") if "max_kl" in event["message"]]
    assert f"reached {kls[over]:.1f} nats per answer, above max_kl ({bound:g})" in warning
    assert f"the policy of iteration {over - 1} is kept" in warning
    result = run_dir.result()
    assert (result["steps"], result["kept_iteration"]) == (over + 1, over - 1)
    # What is kept is what a run of just so many iterations gives.
    short, _ = start_run(tmp_path / "short", make_spec(ppo_models, **{**options, "iterations": over - 1}))
    kept, expected = _merged(run_dir), _merged(short)
    assert [name for name in expected if not torch.equal(kept[name], expected[name])] == []


def test_the_last_update_is_held_to_the_bound_too(tmp_path, ppo_models, free):
    kls = _kls(free)
    final = free.result()["metrics"]["kl"]
    bound = (max(kls) + final) / 2
    assert max(kls) < bound < final
    run_dir, code = start_run(tmp_path / "bounded", make_spec(ppo_models, **FULL, max_kl=bound))
    assert code == 0
    assert _kls(run_dir) == kls
    result = run_dir.result()
    assert (result["steps"], result["kept_iteration"]) == (4, 3)
    short, _ = start_run(tmp_path / "short", make_spec(ppo_models, **{**FULL, "iterations": 3}))
    assert result["metrics"]["kl"] == short.result()["metrics"]["kl"] != final
    assert [event["step"] for event in events_of(run_dir, "eval")] == [0, 4]
    assert events_of(run_dir, "eval")[1]["metrics"]["kl"] == result["metrics"]["kl"]


def test_below_the_bound_nothing_changes(tmp_path, ppo_models, free):
    run_dir, _ = start_run(tmp_path, make_spec(ppo_models, **FULL, max_kl=1000.0))
    assert (run_dir.result()["steps"], run_dir.result()["kept_iteration"]) == (4, 4)
    assert [event for event in events_of(run_dir, "warning") if "max_kl" in event["message"]] == []
    ours, plain = _merged(run_dir), _merged(free)
    assert [name for name in plain if not torch.equal(ours[name], plain[name])] == []


def test_going_back_puts_policy_and_moving_reference_where_they_were(tmp_path, ppo_models):
    ppo = prepared(tmp_path, make_spec(ppo_models, max_kl=1.0, ema_rate=0.1))
    keep_below(ppo)
    kept = [*ppo.models.policy_parameters().items(), *ppo.models.moving_reference().items()]
    before = {name: item.detach().clone() for name, item in kept}
    ppo_module.iterate(ppo)
    assert any(not torch.equal(item, before[name]) for name, item in kept)
    keep = {name: item.clone() for name, item in ppo.below.items()}
    assert is_over_bound(ppo, 1.01)
    assert not is_over_bound(ppo, 1.0)

    class Silent:
        def write(self, kind, **data):
            return True

    go_back_below(ppo, 1.01, Silent())
    assert [name for name, item in kept if not torch.equal(item, before[name])] == []
    assert all(torch.equal(item, keep[name]) for name, item in ppo.below.items())
    assert ppo.over


def test_a_policy_that_starts_beyond_the_bound_is_one_sentence(tmp_path, ppo_models, capsys):
    first, _ = start_run(tmp_path / "first", make_spec(ppo_models, **FAST))
    spec = make_spec(ppo_models, max_kl=0.01)
    spec.models["reference"] = ModelRef(str(first.model_path / "merged"))
    _, code = start_run(tmp_path / "second", spec)
    assert code == 2
    told = capsys.readouterr().err
    assert "nats from its reference, above max_kl (0.01); raise max_kl or set it to 0" in told


def test_a_target_at_or_above_the_bound_is_refused(tmp_path, ppo_models, capsys):
    _, code = start_run(tmp_path, make_spec(ppo_models, adaptive_beta=True, kl_target=6.0, max_kl=6.0))
    assert code == 2
    assert "kl_target (6) must be below max_kl (6)" in capsys.readouterr().err
