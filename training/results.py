"""What a finished run made is taken in: a model as a version of the registry, answers as the next round's pairs."""

from __future__ import annotations

from typing import Any

from models_registry.models import Kind, Version
from models_registry.services import register_version
from training.engine.run_dir import RunDir
from training.holding import Hold
from training.landing import land_samples
from training.models import Method, Run
from training.telling import tell_registered

LONGEST_SOURCE = 400  # characters, of `Version.source`
KINDS = {
    Method.SFT: Kind.SFT,
    Method.REWARD: Kind.REWARD,
    Method.DPO: Kind.POLICY,
    Method.PPO: Kind.POLICY,
    Method.IMPORT: Kind.BASE,
}


def take_result(run: Run, hold: Hold, run_dir: RunDir, result: dict[str, Any]) -> None:
    """Take in what a run that succeeded has left. Twice is as good as once. Raises LostRunError."""
    if run.method == Method.SAMPLE:
        land_samples(run, hold, run_dir)
    else:
        tell_registered(run, register_result(run, hold, run_dir, result))


def register_result(run: Run, hold: Hold, run_dir: RunDir, result: dict[str, Any]) -> Version:
    """Register the model of a run that succeeded; the heart keeps beating meanwhile. Twice gives the same version."""
    method = Method(run.method)
    return register_version(
        model_name=run.model_name,
        kind=KINDS[method],
        parent=run.base,
        run_id=run.pk,
        folder=run_dir.model_path,
        dataset_sha256=run.snapshot.sha256 if run.snapshot else "",
        config=run.config,
        metrics=result.get("metrics", {}),
        source=source_of(run),
        created_by=run.created_by,
        method=str(method.label),
        facts=facts(run, result),
        while_busy=hold.beat,
    )


def source_of(run: Run) -> str:
    """Where a base model came from; of every other model the registry knows the parent."""
    if run.method != Method.IMPORT:
        return ""
    return str(run.config.get("source") or run.config.get("kind", ""))[:LONGEST_SOURCE]


def facts(run: Run, result: dict[str, Any]) -> dict[str, object]:
    """Lines for the model card: what it learned from and how long it took."""
    found: dict[str, object] = {}
    if run.project and run.snapshot:
        found["Project"] = run.project.name
        found["Learned from"] = f"{run.snapshot.train_rows} rows, {run.snapshot.eval_rows} held out ({run.snapshot})"
    if run.reward:
        found["Reward model"] = run.reward
    if run.method != Method.IMPORT:
        found["Seed"] = run.seed
    for name in ("steps", "seconds", "dropped", "truncated"):
        if isinstance(value := result.get(name), int | float):
            found[name.capitalize()] = round(value, 1)
    return found
