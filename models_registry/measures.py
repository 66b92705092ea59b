"""What was measured of a run and of the version it made, and what a metric is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_noop

from models_registry.sayings import said

WORDS = {
    "kl": gettext_noop("KL to the base"),
    "kl_k3": gettext_noop("KL to the base (k3)"),
    "kl_per_token": gettext_noop("KL per token"),
    "kl_k3_per_token": gettext_noop("KL per token (k3)"),
    "lr": gettext_noop("learning rate"),
    "response_tokens": gettext_noop("answer length"),
    "share_ended": gettext_noop("share that ended"),
    "logprob_chosen": gettext_noop("log-prob, chosen"),
    "logprob_rejected": gettext_noop("log-prob, rejected"),
    "reward_chosen": gettext_noop("reward, chosen"),
    "reward_rejected": gettext_noop("reward, rejected"),
    "grad_norm": gettext_noop("gradient norm"),
    "approx_kl": gettext_noop("approximate KL of a step"),
    "tokens_per_second": gettext_noop("tokens per second"),
    "score_std": gettext_noop("score, spread"),
    "advantage_std": gettext_noop("advantage, spread"),
    "ece": gettext_noop("calibration error (ECE)"),
    "loss": gettext_noop("loss"),
    "score": gettext_noop("score"),
    "margin": gettext_noop("margin"),
    "accuracy": gettext_noop("accuracy"),
    "entropy": gettext_noop("entropy"),
    "ratio": gettext_noop("ratio"),
    "clip_fraction": gettext_noop("clip fraction"),
    "value_loss": gettext_noop("value loss"),
    "explained_variance": gettext_noop("explained variance"),
}
# Numbers among the metrics that are facts, and stand elsewhere.
NOT_MEASURED = frozenset({"parameters"})


def words(metric: str) -> str:
    """A metric's name, in the reader's language."""
    return said(WORDS.get(metric, metric.replace("_", " ")))


@dataclass(frozen=True)
class Measure:
    """A metric after the run, and before it where that was measured."""

    name: str
    after: float
    before: float | None

    @property
    def words(self) -> str:
        return words(self.name)

    @property
    def change(self) -> float | None:
        return None if self.before is None else self.after - self.before


def measures(metrics: Mapping[str, Any]) -> list[Measure]:
    """Every number among a version's metrics, `x_before` next to its `x`, sorted by name."""
    numbers = {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in NOT_MEASURED
    }
    return [
        Measure(name, value, numbers.get(f"{name}_before"))
        for name, value in sorted(numbers.items())
        if not (name.endswith("_before") and name.removesuffix("_before") in numbers)
    ]
