"""Comparisons follow the project's kind, except for those that somebody has touched."""

from collections.abc import Callable
from itertools import combinations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from annotation import queue
from annotation.models import Comparison, Flag, Lease, Project, Response, User
from annotation.queue import Ticket
from annotation.regroup import regroup
from annotation.services import AnswerIn, add_comparison

SignIn = Callable[[User], Client]


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


def test_an_import_into_a_ranking_is_ranked(project: Project, signed_in: SignIn, manager: User) -> None:
    Project.objects.update(kind=Project.Kind.RANKING)
    row = b'{"prompt": "Which?", "responses": ["one", "two", "three"]}\n'
    for _ in range(2):  # sent twice, it is there once
        file = SimpleUploadedFile("rows.jsonl", row)
        signed_in(manager).post(reverse("import", args=[project.slug]), {"file": file})
        assert [len(ids) for ids in sets(project)] == [3]


def test_a_manager_who_changes_the_kind_changes_what_waits(
    project: Project, signed_in: SignIn, manager: User, pairs_of_three: list[Comparison]
) -> None:
    data = {"name": "Everyday help", "overlap": "1", "kind": "single"}
    signed_in(manager).post(reverse("project-settings", args=[project.slug]), data)
    assert [len(ids) for ids in sets(project)] == [1, 1, 1]
