"""Giving work to people: which comparisons make a batch, and what a manager changes about it."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.db.models import Count, Q, QuerySet

from annotation.models import Batch, Comparison, Lease, Project, Team, User

MOST_AT_ONCE = 100_000


def open_work(project: Project, *, containing: str = "", key: str = "", value: str = "") -> QuerySet[Comparison]:
    """Open work that is in no batch, oldest first: of prompts that contain a text, or whose metadata say so."""
    found = Comparison.objects.filter(project=project, batch=None).still_open().work()
    if containing:
        found = found.filter(prompt__messages__icontains=containing)
    if key:
        found = found.filter(prompt__metadata__contains={key: value})
    return found.order_by("id")


@transaction.atomic
def fill(batch: Batch, comparisons: QuerySet[Comparison], *, most: int) -> int:
    """Put the first of these comparisons, at most so many, into the batch. Returns how many. Leases stay."""
    ids = comparisons.values("pk")[: min(most, MOST_AT_ONCE)]
    return Comparison.objects.filter(pk__in=ids, batch=None).update(batch=batch)


@transaction.atomic
def give(batch: Batch, *, people: Iterable[User], teams: Iterable[Team]) -> None:
    """Let these judge the batch, and nobody else: what others hold of it goes back."""
    batch.people.set(people)
    batch.teams.set(teams)
    allowed = User.objects.filter(Q(batches=batch) | Q(teams__batches=batch))
    Lease.objects.filter(comparison__batch=batch).exclude(annotator__in=allowed).delete()


@transaction.atomic
def dissolve(batch: Batch) -> int:
    """End a batch: what is left of it is open to all again. Returns how many comparisons that are."""
    freed = batch.comparisons.update(batch=None)
    batch.delete()
    return freed


def batches_of(project: Project) -> QuerySet[Batch]:
    """A project's batches with `size` and `still_open`, and with whom they are given to."""
    still_open = Count("comparisons", filter=Q(comparisons__closed_at=None))
    counted = Batch.objects.filter(project=project).annotate(size=Count("comparisons"), still_open=still_open)
    return counted.prefetch_related("people", "teams__people")
