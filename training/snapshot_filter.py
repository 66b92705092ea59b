"""Which preferences a run learns from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.utils.timezone import make_aware

from annotation.models import Comparison, Judgment, Preference, Project
from training.models import Method

# A row for each vote as it was given, or one for each pair by all its votes, with a soft label.
VOTES, PAIRS = "votes", "pairs"


class FilterError(ValueError):
    """A filter that cannot be read. ``errors`` maps a bad entry to one sentence."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in sorted(errors.items())))


@dataclass(frozen=True)
class Filter:
    """Which preferences count. Everything off is every preference collected by people or rules."""

    min_strength: int = 0
    purposes: tuple[str, ...] = (Comparison.Purpose.COLLECT.value,)
    since: date | None = None
    until: date | None = None
    annotators: tuple[str, ...] = field(default=())
    labels: str = VOTES

    def to_dict(self) -> dict[str, Any]:
        """As it is stored with the snapshot; entries that do nothing are left out."""
        values: dict[str, Any] = {"purposes": sorted(self.purposes)}
        if self.min_strength:
            values["min_strength"] = self.min_strength
        if self.since:
            values["since"] = self.since.isoformat()
        if self.until:
            values["until"] = self.until.isoformat()
        if self.annotators:
            values["annotators"] = sorted(self.annotators)
        if self.labels != VOTES:
            values["labels"] = self.labels
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Filter:
        """Read what ``to_dict`` wrote. FilterError names every entry that is unknown or not understood."""
        known = {"min_strength", "purposes", "since", "until", "annotators", "labels"}
        errors = {name: "unknown entry" for name in values if name not in known}
        dates: dict[str, date | None] = {"since": None, "until": None}
        for name in dates:
            try:
                dates[name] = date.fromisoformat(values[name]) if values.get(name) else None
            except (TypeError, ValueError):
                errors[name] = "must be a date such as 2026-01-31"
        strength = values.get("min_strength", 0)
        if not isinstance(strength, int) or not 0 <= strength <= max(Judgment.Strength.values):
            errors["min_strength"] = "must be 0, 1, 2 or 3"
        purposes = tuple(values.get("purposes", cls.purposes))
        if not purposes or not set(purposes) <= set(Comparison.Purpose.values):
            errors["purposes"] = f"must be some of {', '.join(Comparison.Purpose.values)}"
        labels = values.get("labels", VOTES)
        if labels not in (VOTES, PAIRS):
            errors["labels"] = f"must be {VOTES} or {PAIRS}"
        if labels == PAIRS and (strength or any(dates.values()) or values.get("annotators")):
            errors["labels"] = "the label of a pair holds all its votes: no strength, dates or annotators beside it"
        if errors:
            raise FilterError(errors)
        annotators = tuple(values.get("annotators", ()))
        return cls(strength, purposes, dates["since"], dates["until"], annotators, labels)


def selected_preferences(project: Project, chosen: Filter) -> QuerySet[Preference]:
    """The preferences of a project that pass a filter, oldest first. Dates are whole days, UTC."""
    found = Preference.objects.filter(project=project, judgment__comparison__purpose__in=chosen.purposes)
    if chosen.min_strength:
        found = found.filter(strength__gte=chosen.min_strength)
    if chosen.since:
        found = found.filter(created_at__gte=_start_of(chosen.since))
    if chosen.until:
        found = found.filter(created_at__lt=_start_of(chosen.until) + timedelta(days=1))
    if chosen.annotators:
        found = found.filter(judgment__annotator__username__in=chosen.annotators)
    return found.order_by("id")


def demonstrations(project: Project, chosen: Filter) -> QuerySet[Preference]:
    """The preferences whose winner lost to nothing in the same judgment: an edit instead of its original, the first of
    a ranking."""
    better = Preference.objects.filter(judgment=OuterRef("judgment"), rejected=OuterRef("chosen"))
    return selected_preferences(project, chosen).exclude(Exists(better))


def new_preferences(project: Project) -> QuerySet[Preference]:
    """What a schedule counts: the preferences that a launch without a filter would learn from."""
    return selected_preferences(project, Filter())


def learns_from_pairs(method: str, chosen: Filter) -> bool:
    """Whether a method would see one label a pair. SFT learns from answers that won, PPO from no vote at all."""
    return chosen.labels == PAIRS and method in (Method.DPO, Method.REWARD)


def _start_of(day: date) -> datetime:
    return make_aware(datetime.combine(day, time.min))
