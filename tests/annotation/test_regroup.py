"""Comparisons follow the project's kind, except for those that somebody has touched."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import combinations
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from annotation import queue, tasks
from annotation.judging import lock_comparison
from annotation.models import Batch, Comparison, Flag, Lease, Project, Response, User
from annotation.queue import Ticket
from annotation.regroup import regroup
from annotation.services import AnswerIn, add_comparison
from tests.annotation.test_importing import lines_of
from tests.importing import import_rows

SignIn = Callable[[User], Client]
OnCommit = Callable[..., AbstractContextManager[list[Callable[[], object]]]]


@pytest.fixture
def pairs_of_three(project: Project) -> list[Comparison]:
    """The three pairs of three answers to one prompt, the second of them urgent."""
    answers = [AnswerIn(f"Answer {n}") for n in range(3)]
    asked = [{"role": "user", "content": "Which?"}]
    return [
        add_comparison(project=project, messages=asked, responses=pair, priority=5 * (n == 1))
        for n, pair in enumerate(combinations(answers, 2))
    ]


def sets(project: Project) -> list[list[int]]:
    return list(project.comparisons.order_by("response_ids").values_list("response_ids", flat=True))


def become(project: Project, kind: Project.Kind) -> int:
    project.kind = kind
    project.save()
    return regroup(project)


def test_pairs_become_a_ranking_and_pairs_again(project: Project, pairs_of_three: list[Comparison]) -> None:
    before, ids = sets(project), list(Response.objects.order_by("pk").values_list("pk", flat=True))
    assert become(project, Project.Kind.RANKING) == 1
    assert sets(project) == [ids]
    assert project.comparisons.get().priority == 5
    assert become(project, Project.Kind.SINGLE) == 3
    assert sets(project) == [[pk] for pk in ids]
    assert become(project, Project.Kind.PAIRS) == 3
    assert sets(project) == before


def test_again_changes_nothing(project: Project, pairs_of_three: list[Comparison]) -> None:
    become(project, Project.Kind.RANKING)
    there = list(project.comparisons.values_list("pk", flat=True))
    assert regroup(project) == 0
    assert list(project.comparisons.values_list("pk", flat=True)) == there


@pytest.mark.parametrize("touch", ["lease", "judgment", "withdrawn", "skip", "flag"])
def test_what_somebody_has_touched_stays(
    project: Project, ann: User, pairs_of_three: list[Comparison], touch: str
) -> None:
    lease = queue.lease_next(project=project, annotator=ann)
    assert lease is not None
    ticket = Ticket(lease.comparison_id, lease.leased_at)
    if touch in ("judgment", "withdrawn"):
        queue.submit_judgment(ticket=ticket, annotator=ann, choice="a1")
    if touch == "withdrawn":
        queue.undo_last(project=project, annotator=ann)
    if touch == "skip":
        queue.skip(ticket=ticket, annotator=ann, reason="x")
    if touch == "flag":
        Flag.objects.create(comparison=lease.comparison, annotator=ann, comment="x")
    if touch != "lease":
        Lease.objects.all().delete()

    become(project, Project.Kind.RANKING)

    assert project.comparisons.filter(pk=lease.comparison_id).exists()
    assert sorted(map(len, sets(project))) == [2, 3]


def test_a_ranking_holds_at_most_nine(project: Project) -> None:
    project.kind = Project.Kind.RANKING
    assert [len(ids) for ids in project.sets_to_judge(range(10))] == [5, 5]
    assert [len(ids) for ids in project.sets_to_judge(range(9))] == [9]
    assert sorted(pk for ids in project.sets_to_judge(range(28)) for pk in ids) == list(range(28))


THREE: dict[str, Any] = {"prompt": "Which?", "responses": ["one", "two", "three"]}
ONE = {"prompt": "Which?", "completion": "one", "label": True}
RATED = {"prompt": "Which?", "completion": "four", "label": False}


@pytest.mark.parametrize(
    ("kind", "row", "made"),
    [
        ("pairs", THREE, [2, 2, 2]),
        ("ranking", THREE, [3]),
        ("single", THREE, [1, 1, 1]),
        ("single", ONE, [1]),
        ("pairs", ONE, []),  # nobody is shown one answer, so it needs a vote
    ],
)
def test_an_import_makes_what_the_project_asks_for(
    project: Project, kind: str, row: dict[str, Any], made: list[int]
) -> None:
    Project.objects.update(kind=kind)
    report = import_rows(project=project, file=lines_of(row))
    assert [len(ids) for ids in sets(project)] == made
    assert (report.comparisons_added, report.duplicates) == (len(made), 0)
    again = import_rows(project=project, file=lines_of(row))
    assert [len(ids) for ids in sets(project)] == made
    assert (again.comparisons_added, again.duplicates) == (0, len(made))


@pytest.mark.parametrize(("kind", "added", "there"), [("pairs", 2, 1), ("ranking", 1, 0), ("single", 1, 2)])
def test_what_is_there_already_is_counted_as_what_is_added(project: Project, kind: str, added: int, there: int) -> None:
    """A row of two answers that are there and a new one: its pairs, its ranking, its answers."""
    Project.objects.update(kind=kind)
    import_rows(project=project, file=lines_of({**THREE, "responses": ["one", "two"]}))
    report = import_rows(project=project, file=lines_of(THREE))
    assert (report.comparisons_added, report.duplicates) == (added, there)


def test_an_answer_more_joins_the_ranking(project: Project) -> None:
    Project.objects.update(kind="ranking")
    import_rows(project=project, file=lines_of(THREE))
    report = import_rows(project=project, file=lines_of({**THREE, "responses": ["two", "four"]}))
    assert [len(ids) for ids in sets(project)] == [4]
    assert report.comparisons_added == 1


def test_a_judged_pair_keeps_no_answer_from_being_asked_about_alone(project: Project) -> None:
    Project.objects.update(kind="single")
    import_rows(project=project, file=lines_of({"prompt": "Which?", "chosen": "one", "rejected": "two"}), judged_by="x")
    import_rows(project=project, file=lines_of({**THREE, "responses": ["one", "two"]}))
    assert sorted(len(ids) for ids in sets(project)) == [1, 1, 2]


def test_what_comes_with_votes_stays_as_it_was_judged(project: Project) -> None:
    Project.objects.update(kind="ranking")
    voted = {"prompt": "Which?", "chosen": "one", "rejected": "two"}
    import_rows(project=project, file=lines_of(voted, RATED), judged_by="some-dataset")
    assert [len(ids) for ids in sets(project)] == [2, 1]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker would do is done when the message to it is sent."""
    monkeypatch.setattr(tasks.regroup_project, "delay", tasks.regroup_project)


def test_a_manager_who_changes_the_kind_changes_what_waits(
    project: Project,
    signed_in: SignIn,
    manager: User,
    pairs_of_three: list[Comparison],
    at_once: None,
    django_capture_on_commit_callbacks: OnCommit,
) -> None:
    data = {"name": "Everyday help", "overlap": "1", "kind": "single"}
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        signed_in(manager).post(reverse("project-settings", args=[project.slug]), data)
    assert [len(ids) for ids in sets(project)] == [1, 1, 1]
    assert len(callbacks) == 1
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        signed_in(manager).post(reverse("project-settings", args=[project.slug]), data)
    assert callbacks == []


def test_what_was_given_to_people_stays_given_to_them(
    project: Project, ann: User, pairs_of_three: list[Comparison]
) -> None:
    batch = Batch.objects.create(project=project, name="For Ann")
    batch.people.add(ann)
    project.comparisons.update(batch=batch)
    become(project, Project.Kind.RANKING)
    assert project.comparisons.get().batch == batch


def test_only_the_prompts_that_are_named_are_put_together(project: Project, pairs_of_three: list[Comparison]) -> None:
    asked = [{"role": "user", "content": "Another?"}]
    other = add_comparison(project=project, messages=asked, responses=[AnswerIn("Yes"), AnswerIn("No")])
    project.kind = Project.Kind.SINGLE
    assert regroup(project, [other.prompt_id]) == 2
    assert sorted(map(len, sets(project))) == [1, 1, 2, 2, 2]


def test_a_lease_of_the_last_moment_keeps_its_comparison(
    project: Project, ann: User, pairs_of_three: list[Comparison]
) -> None:
    """Committed after the query looked for what is untouched, and before it had its locks."""
    held = pairs_of_three[0]

    def lease_behind(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        result = execute(sql, params, many, context)
        if "FOR UPDATE" in sql and not Lease.objects.exists():
            Lease.objects.create(
                comparison=held, annotator=ann, seat=1, shown_order=held.response_ids, expires_at=now()
            )
        return result

    with connection.execute_wrapper(lease_behind):
        become(project, Project.Kind.RANKING)
    assert Lease.objects.get().comparison == held
    assert sorted(map(len, sets(project))) == [2, 3]


@pytest.mark.django_db(transaction=True)
def test_what_somebody_is_being_handed_is_left_alone(project: Project, pairs_of_three: list[Comparison]) -> None:
    locked, done = threading.Event(), threading.Event()

    def hand_out() -> None:
        with transaction.atomic():
            lock_comparison(pairs_of_three[0].pk)
            locked.set()
            done.wait(timeout=60)
        connection.close()

    thread = threading.Thread(target=hand_out)
    thread.start()
    assert locked.wait(timeout=60)
    try:
        become(project, Project.Kind.RANKING)
    finally:
        done.set()
        thread.join(timeout=60)
    assert project.comparisons.filter(pk=pairs_of_three[0].pk).exists()
    assert sorted(map(len, sets(project))) == [2, 3]
