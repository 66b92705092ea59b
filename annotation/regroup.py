"""Comparisons that follow the project's kind: what nobody has touched is put together anew, what somebody has stays.

An import lands every answer of a prompt in pairs, and a manager may change a project's kind while it runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from annotation.models import Comparison, Flag, Judgment, Lease, Project, Skip

PROMPTS_AT_ONCE = 500


def follow_kind(project: Project) -> None:
    """Have the workers regroup all of a project once the current transaction is through: it may be a million rows."""
    from annotation.tasks import regroup_project

    transaction.on_commit(lambda: regroup_project.delay(project.pk), robust=True)


def regroup(project: Project, prompts: Iterable[int] | None = None) -> int:
    """Make the untouched comparisons of these prompts, or of all, those that the project's kind asks for.

    Returns how many are new. Again it changes nothing.
    """
    if prompts is None:
        prompts = _untouched(project).order_by("prompt_id").values_list("prompt_id", flat=True).distinct()
    prompts = list(prompts)
    parts = (prompts[start : start + PROMPTS_AT_ONCE] for start in range(0, len(prompts), PROMPTS_AT_ONCE))
    return sum(_regroup_prompts(project, part) for part in parts)


def _untouched(project: Project) -> QuerySet[Comparison]:
    """Comparisons that nobody holds, has judged, taken a vote back from, skipped or flagged."""
    found = Comparison.objects.filter(project=project, purpose=Comparison.Purpose.COLLECT, depth=0)
    for touching in (Judgment, Lease, Skip, Flag):
        found = found.exclude(Exists(touching._default_manager.filter(comparison=OuterRef("pk"))))
    return found


@transaction.atomic
def _regroup_prompts(project: Project, prompts: list[int]) -> int:
    # Whoever hands a comparison out or judges it locks it first: what is locked is being touched, and what somebody has
    # touched before this lock shows in the statement after it only.
    free = _untouched(project).filter(prompt__in=prompts).select_for_update(skip_locked=True)
    locked = [comparison.pk for comparison in free]
    untouched = _untouched(project).filter(pk__in=locked).order_by("prompt_id", "pk")
    new, obsolete = list[Comparison](), list[int]()
    for prompt_id, of_prompt in groupby(untouched, key=lambda comparison: comparison.prompt_id):
        there = {tuple(comparison.response_ids): comparison for comparison in of_prompt}
        wanted = project.sets_to_judge(list({pk for ids in there for pk in ids}))
        obsolete += [comparison.pk for ids, comparison in there.items() if ids not in wanted]
        new += _missing(project, prompt_id, (ids for ids in wanted if ids not in there), list(there.values()))
    Comparison.objects.filter(pk__in=obsolete).delete()
    # Sets that somebody has touched are there already.
    there_before = Comparison.objects.filter(prompt__in=prompts).count()
    Comparison.objects.bulk_create(new, ignore_conflicts=True)
    return Comparison.objects.filter(prompt__in=prompts).count() - there_before


def _missing(
    project: Project, prompt_id: int, sets: Iterable[tuple[int, ...]], instead_of: list[Comparison]
) -> list[Comparison]:
    """Comparisons of these sets, as urgent and given to the same people as those that they come instead of."""
    priority = max(comparison.priority for comparison in instead_of)
    batch_id = next((comparison.batch_id for comparison in instead_of if comparison.batch_id), None)
    return [
        Comparison(
            project=project,
            prompt_id=prompt_id,
            response_ids=list(ids),
            priority=priority,
            batch_id=batch_id,
            judgments_wanted=project.wanted_for(ids),
        )
        for ids in sets
    ]
