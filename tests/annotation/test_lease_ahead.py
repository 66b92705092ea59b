"""The pair after the one that is held: held too while there are enough, and never a way around the queue's rules."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from annotation import queue
from annotation.models import Judgment, Lease, Project, User
from annotation.queue import AHEAD_NEEDS, Ticket
from tests.annotation.conftest import MakeComparison

SignIn = Callable[[User], Client]


@pytest.fixture
def many(make_comparison: MakeComparison) -> None:
    for _ in range(AHEAD_NEEDS + 3):
        make_comparison()


def hold(project: Project, person: User) -> Lease:
    lease = queue.lease_next(project=project, annotator=person)
    assert lease is not None
    return lease


def ahead(project: Project, person: User) -> Lease | None:
    return queue.lease_ahead(project=project, annotator=person)


def vote(lease: Lease) -> Judgment:
    ticket = Ticket(lease.comparison_id, lease.leased_at)
    return queue.submit_judgment(ticket=ticket, annotator=lease.annotator, choice="a1")


def test_the_pair_ahead_is_the_next_one_after_the_vote(project: Project, ann: User, many: None) -> None:
    first = hold(project, ann)
    second = ahead(project, ann)
    assert second is not None
    assert second.comparison != first.comparison
    assert hold(project, ann) == first
    vote(first)
    assert hold(project, ann) == second


def test_there_is_never_a_third(project: Project, ann: User, many: None) -> None:
    hold(project, ann)
    assert ahead(project, ann) == ahead(project, ann)
    assert Lease.objects.count() == 2


def test_nothing_is_held_ahead_of_nothing(project: Project, ann: User, many: None) -> None:
    assert ahead(project, ann) is None
    assert not Lease.objects.exists()


def test_the_last_pairs_are_not_held_in_reserve(project: Project, ann: User, make_comparison: MakeComparison) -> None:
    for _ in range(AHEAD_NEEDS):
        make_comparison()
    hold(project, ann)  # one less than it takes waits beside it
    assert ahead(project, ann) is None
    make_comparison()
    assert ahead(project, ann) is not None


def test_what_others_hold_does_not_wait(
    project: Project, ann: User, ben: User, manager: User, make_comparison: MakeComparison
) -> None:
    for _ in range(AHEAD_NEEDS + 2):
        make_comparison()
    for person in (ann, ben, manager):
        hold(project, person)
    assert ahead(project, ann) is None
    queue.release(project=project, annotator=manager)
    assert ahead(project, ann) is not None


def test_a_pair_that_wants_two_is_not_handed_to_one_person_twice(
    project: Project, ann: User, make_comparison: MakeComparison
) -> None:
    for _ in range(AHEAD_NEEDS + 1):
        make_comparison(judgments_wanted=2)
    first, second = hold(project, ann), ahead(project, ann)
    assert second is not None
    assert second.comparison != first.comparison


def test_two_people_ahead_hold_four_pairs(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    for _ in range(AHEAD_NEEDS + 5):
        make_comparison()
    for person in (ann, ben):
        hold(project, person)
        assert ahead(project, person)
    assert Lease.objects.values("comparison").distinct().count() == 4


def test_a_pair_ahead_that_ran_out_goes_to_others(project: Project, ann: User, ben: User, many: None) -> None:
    first = hold(project, ann)
    second = ahead(project, ann)
    assert second is not None
    Lease.objects.filter(pk=second.pk).update(expires_at=now() - timedelta(seconds=1))
    assert hold(project, ben).comparison == second.comparison
    vote(first)
    assert hold(project, ann).comparison not in (first.comparison, second.comparison)


def test_stopping_and_undo_give_both_back(project: Project, ann: User, many: None) -> None:
    hold(project, ann)
    assert ahead(project, ann)
    queue.release(project=project, annotator=ann)
    assert not Lease.objects.exists()

    judgment = vote(hold(project, ann))
    hold(project, ann)
    assert ahead(project, ann)
    undone = queue.undo_last(project=project, annotator=ann)
    assert undone is not None
    assert list(Lease.objects.all()) == [undone]
    assert undone.comparison == judgment.comparison


def test_the_page_gets_it_as_a_fragment(project: Project, signed_in: SignIn, ann: User, many: None) -> None:
    client = signed_in(ann)
    assert client.post(reverse("ahead", args=[project.slug])).status_code == 204
    hold(project, ann)
    answer = client.post(reverse("ahead", args=[project.slug]))
    assert answer.content.decode().startswith('<section id="work"')
    assert "Question 2?" in answer.content.decode()


def test_an_archived_project_hands_nothing_out_ahead(project: Project, ann: User, many: None) -> None:
    hold(project, ann)
    project.archived_at = now()
    assert ahead(project, ann) is None


def test_strangers_and_wrong_methods_are_refused(
    project: Project, signed_in: SignIn, client: Client, stranger: User, ann: User, many: None
) -> None:
    address = reverse("ahead", args=[project.slug])
    assert client.post(address).status_code == 302
    assert signed_in(stranger).post(address).status_code == 404
    assert signed_in(ann).get(address).status_code == 405
    assert not Lease.objects.exists()


def test_a_days_cap_leaves_room_for_the_pair_ahead_or_there_is_none(project: Project, ann: User, many: None) -> None:
    Project.objects.update(daily_cap=1)
    project.refresh_from_db()
    hold(project, ann)
    assert ahead(project, ann) is None
    project.daily_cap = 2
    assert ahead(project, ann) is not None
