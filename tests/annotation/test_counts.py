"""The counts that triggers keep are what a sum over the rows would say, whoever writes them."""

import random
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Sum
from django.utils.timezone import now

from annotation import queue
from annotation.models import Comparison, Judgment, Project, User, VoteCount, WorkCount
from annotation.models.content import WORK
from annotation.services import record_judgment, rule_judge
from annotation.work import progress
from tests.annotation.conftest import MakeComparison
from tests.annotation.test_queue import vote


def assert_exact() -> None:
    """Every count against its rows."""
    for project in Project.objects.all():
        rows = Comparison.objects.filter(project=project, purpose__in=WORK)
        wanted = rows.aggregate(wanted=Sum("judgments_wanted", default=0), done=Sum("depth", default=0))
        counted = WorkCount.objects.filter(project=project)
        assert counted.aggregate(wanted=Sum("wanted", default=0), done=Sum("done", default=0)) == wanted
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.project_id, j.annotator_id, (j.created_at AT TIME ZONE 'UTC')::date, count(*)"
            "  FROM annotation_judgment j JOIN annotation_comparison c ON c.id = j.comparison_id"
            " WHERE j.withdrawn_at IS NULL GROUP BY 1, 2, 3"
        )
        said = set(cursor.fetchall())
    kept = VoteCount.objects.exclude(votes=0).values_list("project", "annotator", "day", "votes")
    assert set(kept) == said


def test_counts_follow_votes_undo_imports_and_changes(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    made = [make_comparison(judgments_wanted=2) for _ in range(6)]
    assert_exact()
    for person in (ann, ben, ann):
        vote(project, person)
    assert_exact()
    queue.undo_last(project=project, annotator=ann)
    assert_exact()
    record_judgment(comparison=made[5], annotator=rule_judge("rule"), tiers=[made[5].response_ids])
    assert_exact()
    Comparison.objects.filter(pk=made[4].pk).update(judgments_wanted=7)
    Comparison.objects.filter(pk=made[3].pk).update(purpose="gold")
    assert_exact()
    Judgment.objects.update(created_at=now() - timedelta(days=3), active_seconds=12.5)
    assert_exact()
    assert VoteCount.objects.filter(annotator=ben).aggregate(s=Sum("seconds"))["s"] == pytest.approx(12.5)
    for comparison in made[:2]:
        comparison.judgments.all().delete()
        comparison.delete()
    assert_exact()
    shown = progress(project, ann)
    assert shown.wanted == 7 + 2 + 2  # of the six, two are gone and one is gold
    assert shown.mine_today == 0


def test_a_project_can_be_deleted_with_all_it_has(project: Project, ann: User, make_comparison: MakeComparison) -> None:
    for _ in range(3):
        make_comparison()
    vote(project, ann)
    project.delete()
    assert not WorkCount.objects.exists()
    assert not VoteCount.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_writers_do_not_wait_for_each_other_and_lose_nothing(
    project: Project, make_comparison: MakeComparison
) -> None:
    """Several rows at random, in transactions that are open at the same time."""
    from tests.annotation.test_queue_under_load import run_together

    prompt = make_comparison().prompt

    def write(number: int) -> None:
        dice = random.Random(number)
        for n in range(20):
            ids = [number * 1_000 + n + 1, 10**6 + n]
            Comparison.objects.create(
                project=project, prompt=prompt, response_ids=ids, judgments_wanted=dice.randint(1, 9)
            )

    run_together([lambda number=number: write(number) for number in range(1, 7)])
    assert Comparison.objects.count() == 121
    assert_exact()
