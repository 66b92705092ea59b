"""Giving work to people: which comparisons make a batch, and what a manager changes about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Count, Q, QuerySet

from annotation.asking import ask
from annotation.models import Batch, Comparison, Lease, Project, Team, User

MOST_AT_ONCE = 100_000


@dataclass(frozen=True)
class Shortage:
    """Open pairs of a batch want more judgments than its people can still give.

    `pairs` of them do, one as many as `wanted`; `people` members may judge the batch.
    """

    pairs: int
    wanted: int
    people: int


class TooFewPeopleError(Exception):
    """A batch was to be given to too few people, and nobody said that this is meant."""

    def __init__(self, shortage: Shortage) -> None:
        super().__init__(shortage)
        self.shortage = shortage


# Once for all batches of a project. Whoever has judged or skipped a pair, or wrote an answer of it, does not get it.
SHORTAGES = """
WITH given AS (
  SELECT batch_id, user_id FROM annotation_batch_people
   UNION
  SELECT given.batch_id, inside.user_id
    FROM annotation_batch_teams given JOIN annotation_team_people inside ON inside.team_id = given.team_id
), able AS (
  SELECT given.batch_id, given.user_id
    FROM given
    JOIN annotation_batch batch ON batch.id = given.batch_id AND batch.project_id = %(project)s
    JOIN annotation_membership member ON member.project_id = batch.project_id AND member.user_id = given.user_id
    JOIN annotation_user person ON person.id = given.user_id AND person.is_active
), pair AS (
  SELECT id, batch_id, response_ids, depth, judgments_wanted
    FROM annotation_comparison
   WHERE closed_at IS NULL AND purpose IN ('collect', 'evaluate')
     AND batch_id IN (SELECT id FROM annotation_batch WHERE project_id = %(project)s)
), past AS (
  SELECT pair.id, able.user_id
    FROM able JOIN annotation_judgment said ON said.annotator_id = able.user_id AND said.withdrawn_at IS NULL
    JOIN pair ON pair.id = said.comparison_id AND pair.batch_id = able.batch_id
   UNION
  SELECT pair.id, able.user_id
    FROM able JOIN annotation_skip skipped ON skipped.annotator_id = able.user_id
    JOIN pair ON pair.id = skipped.comparison_id AND pair.batch_id = able.batch_id
   UNION
  SELECT pair.id, able.user_id
    FROM able JOIN annotation_response own ON own.written_by_id = able.user_id
    JOIN pair ON pair.batch_id = able.batch_id AND own.id = ANY (pair.response_ids)
)
SELECT pair.batch_id, count(*)::int, max(pair.judgments_wanted)::int, max(COALESCE(able.people, 0))::int
  FROM pair
  LEFT JOIN (SELECT batch_id, count(*) AS people FROM able GROUP BY 1) AS able ON able.batch_id = pair.batch_id
  LEFT JOIN (SELECT id, count(*) AS people FROM past GROUP BY 1) AS past ON past.id = pair.id
 WHERE pair.judgments_wanted > pair.depth + COALESCE(able.people, 0) - COALESCE(past.people, 0)
 GROUP BY 1
"""


def shortages_in(project: Project) -> dict[int, Shortage]:
    """By batch: what its people cannot finish, however long they work."""
    return {batch: Shortage(*counts) for batch, *counts in ask(SHORTAGES, {"project": project.pk})}


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
