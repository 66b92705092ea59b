"""Where a reward model is right, for its run's page: by how sure it was, by the strength of the vote, by length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from annotation.models import Judgment
from models_registry.sayings import said

NUMBERS = {
    "reliability": ("from", "to", "pairs", "accuracy", "confidence"),
    "accuracy_by_strength": ("strength", "pairs", "accuracy"),
    "accuracy_by_length": ("pairs", "accuracy"),
}


@dataclass(frozen=True)
class Group:
    """Held-out pairs with something in common. Shares are of 1; ``sure`` is how often the scores expect to be right."""

    words: str
    pairs: int
    right: float
    sure: float | None = None


@dataclass(frozen=True)
class Grouping:
    """One way to sort the held-out pairs."""

    title: str
    help: str
    groups: list[Group]


def groupings(metrics: Mapping[str, Any]) -> list[Grouping]:
    """Those that the metrics of a run hold; what the engine did not write as it should is left out."""
    found = [
        Grouping(
            _("How sure it was"),
            _("The mark is how often it should be right by its own scores; a bar that ends there is well calibrated."),
            [Group(_span(row), *_counted(row), sure=row["confidence"]) for row in _rows(metrics, "reliability")],
        ),
        Grouping(
            _("Strength of the vote"),
            _("What people found clear should be easier."),
            [Group(_strength(row), *_counted(row)) for row in _rows(metrics, "accuracy_by_strength")],
        ),
        Grouping(
            _("Length of the chosen answer"),
            _("Right only where the longer, or the shorter, was chosen: then it has learned length."),
            [Group(said(str(row.get("chosen", ""))), *_counted(row)) for row in _rows(metrics, "accuracy_by_length")],
        ),
    ]
    return [grouping for grouping in found if grouping.groups]


def _rows(metrics: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    table = metrics.get(name)
    for row in table if isinstance(table, list) else []:
        if isinstance(row, dict) and all(isinstance(row.get(key), int | float) for key in NUMBERS[name]):
            yield row


def _counted(row: Mapping[str, Any]) -> tuple[int, float]:
    return row["pairs"], row["accuracy"]


def _span(row: Mapping[str, Any]) -> str:
    return _("%(low)s%% to %(high)s%%") % {"low": f"{100 * row['from']:.0f}", "high": f"{100 * row['to']:.0f}"}


def _strength(row: Mapping[str, Any]) -> str:
    """The word of a strength; votes without one have 0."""
    return str({0: _("not said"), **dict(Judgment.Strength.choices)}.get(row["strength"], row["strength"]))
