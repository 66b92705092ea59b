"""One label for each pair instead of one for each vote: for exports and for training. Imports no numerical library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import F, OuterRef, QuerySet, Subquery

from annotation.models import Comparison, Judgment, PairLabel, Project

CHUNK = 2_000
COLLECTED = (Comparison.Purpose.COLLECT.value,)
LEAST_WEIGHT = 0.001  # below it a pair is as good as even


@dataclass(frozen=True)
class Label:
    """The likelier answer of a pair over the other: `probability` that it is the better one, from 0.5 to 1.

    `weight` is 2 · probability - 1. At a margin of 0 a loss weighed so has the slope of the loss with the soft label.
    `decided` says that a reviewer settled it.
    """

    comparison_id: int
    prompt_id: int
    chosen_id: int
    rejected_id: int
    probability: float
    weight: float
    votes: int
    decided: bool


def soft_labels(project: Project, *, purposes: tuple[str, ...] = COLLECTED) -> Iterator[Label]:
    """A label for every pair that has one, oldest comparison first; none for a pair that is even, or decided to be.

    As the last computation left them, and a reviewer's decision over them. Memory does not grow with their number.
    """
    rows = labelled(project, purposes).values_list(
        "comparison_id", "comparison__prompt_id", "comparison__response_ids", "first_better", "votes", "decision"
    )
    for comparison, prompt, (first, second), first_better, votes, tiers in rows.iterator(chunk_size=CHUNK):
        first_better = settled(first, first_better, tiers)
        probability = max(first_better, 1 - first_better)
        if 2 * probability - 1 >= LEAST_WEIGHT:
            chosen, rejected = (first, second) if first_better > 0.5 else (second, first)
            weight, decided = 2 * probability - 1, tiers is not None
            yield Label(comparison, prompt, chosen, rejected, probability, weight, votes, decided)


def labelled(project: Project, purposes: tuple[str, ...]) -> QuerySet[Any]:
    """Labels with `decision`, oldest comparison first."""
    found = PairLabel.objects.filter(project=project, comparison__purpose__in=purposes)
    return with_decision(found).order_by(F("comparison_id"))


def first_better(labels: QuerySet[PairLabel]) -> dict[int, float]:
    """By comparison, the probability that the first answer of the pair is the better one."""
    rows = with_decision(labels).values_list("comparison_id", "comparison__response_ids", "first_better", "decision")
    return {pk: settled(first, computed, tiers) for pk, (first, _), computed, tiers in rows}


def with_decision(labels: QuerySet[PairLabel]) -> QuerySet[Any]:
    """These labels with `decision`, the tiers a reviewer decided on, or null."""
    decided = Judgment.objects.decisions().filter(comparison=OuterRef("comparison")).values("tiers")[:1]
    return labels.annotate(decision=Subquery(decided))


def settled(first: int, computed: float, tiers: list[list[int]] | None) -> float:
    """The probability that response `first` is the better one: as computed, or as a reviewer decided."""
    if tiers is None:
        return computed
    return 0.5 if len(tiers) == 1 else float(tiers[0] == [first])
