"""My votes, and changing one: the new vote takes the old one's seat, and nothing else moves."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from annotation import queue
from annotation.ballots import Ballot
from annotation.corrections import NotStandingError, correct
from annotation.happenings import Kind
from annotation.models import Arm, Comparison, Judgment, Lease, Preference, Project, User
from annotation.queue import Ticket
from tests.annotation.conftest import MakeComparison

SignIn = Callable[[User], Client]


@pytest.fixture
def judgment(project: Project, ann: User, make_comparison: MakeComparison) -> Judgment:
    """Ann has said that A is much better."""
    make_comparison()
    return give(project, ann)


def give(project: Project, person: User, choice: str = "a3") -> Judgment:
    lease = queue.lease_next(project=project, annotator=person)
    assert lease is not None
    ticket = Ticket(lease.comparison_id, lease.leased_at)
    return queue.submit_judgment(ticket=ticket, annotator=person, choice=choice)


def address(judgment: Judgment) -> str:
    return reverse("change-judgment", args=[judgment.comparison.project.slug, judgment.pk])


def test_my_votes_are_listed_with_a_way_to_change_them(
    project: Project, signed_in: SignIn, ann: User, ben: User, judgment: Judgment, make_comparison: MakeComparison
) -> None:
    make_comparison()
    theirs = give(project, ben, "tie")
    html = signed_in(ann).get(reverse("history", args=[project.slug])).content.decode()
    assert "A much" in html
    assert "Question 1?" in html
    assert address(judgment) in html
    assert address(theirs) not in html
    assert "Question 2?" not in html


@pytest.mark.parametrize("count", [1, 30])
def test_the_list_asks_the_database_as_often_for_few_as_for_many(
    project: Project,
    signed_in: SignIn,
    ann: User,
    make_comparison: MakeComparison,
    django_assert_num_queries: Callable[..., object],
    count: int,
) -> None:
    for _ in range(count):
        make_comparison()
        give(project, ann)
    client = signed_in(ann)
    with django_assert_num_queries(5):
        client.get(reverse("history", args=[project.slug]))


def test_a_change_takes_the_old_votes_place(signed_in: SignIn, ann: User, judgment: Judgment) -> None:
    client = signed_in(ann)
    assert 'value="a3"' in client.get(address(judgment)).content.decode()

    answer = client.post(address(judgment), {"choice": "b1", "active_seconds": "4"}, follow=True)

    assert "Your vote is changed" in answer.content.decode()
    new = Judgment.objects.standing().get()
    a, b = judgment.shown_order
    assert (new.tiers, new.strength, new.seat, new.shown_order) == ([[b], [a]], 1, judgment.seat, [a, b])
    assert (new.created_at, new.active_seconds) == (judgment.created_at, judgment.active_seconds + 4)
    assert [(p.chosen_id, p.rejected_id) for p in Preference.objects.all()] == [(b, a)]
    comparison = Comparison.objects.get()
    assert comparison.depth == 1
    assert comparison.closed_at is not None
    judgment.refresh_from_db()
    assert judgment.withdrawn_at is not None


def test_looking_at_a_vote_changes_nothing_and_holds_nothing(signed_in: SignIn, ann: User, judgment: Judgment) -> None:
    html = signed_in(ann).get(address(judgment)).content.decode()
    assert html.count("data-earlier") == 1
    assert "You are changing a vote" in html
    assert Judgment.objects.standing().get() == judgment
    assert Preference.objects.count() == 1
    assert not Lease.objects.exists()


@pytest.mark.parametrize("choice", ["", "c9", "up"])
def test_a_change_that_says_nothing_leaves_the_vote(
    signed_in: SignIn, ann: User, judgment: Judgment, choice: str
) -> None:
    answer = signed_in(ann).post(address(judgment), {"choice": choice}, follow=True)
    assert "your vote stays as it was" in answer.content.decode()
    assert Judgment.objects.standing().get() == judgment
    assert Preference.objects.count() == 1


def test_a_change_sent_twice_is_kept_once(signed_in: SignIn, ann: User, judgment: Judgment) -> None:
    client = signed_in(ann)
    client.post(address(judgment), {"choice": "tie"})
    answer = client.post(address(judgment), {"choice": "tie"}, follow=True)
    assert "changed or taken back already" in answer.content.decode()
    assert Judgment.objects.standing().count() == 1
    assert Comparison.objects.get().depth == 1


def test_the_address_of_a_changed_vote_leads_to_the_new_one(signed_in: SignIn, ann: User, judgment: Judgment) -> None:
    client = signed_in(ann)
    client.post(address(judgment), {"choice": "tie"})
    back = client.get(address(judgment), follow=True)
    assert back.redirect_chain == [(address(Judgment.objects.standing().get()), 302)]
    assert 'value="tie"' in back.content.decode()


def test_the_address_of_a_vote_taken_back_says_so(signed_in: SignIn, ann: User, judgment: Judgment) -> None:
    queue.undo_last(project=judgment.comparison.project, annotator=ann)
    back = signed_in(ann).get(address(judgment), follow=True)
    assert back.redirect_chain == [(reverse("history", args=[judgment.comparison.project.slug]), 302)]
    assert "changed or taken back already" in back.content.decode()


def test_votes_of_an_archived_project_stay(project: Project, signed_in: SignIn, ann: User, judgment: Judgment) -> None:
    Project.objects.update(archived_at=now())
    signed_in(ann).post(address(judgment), {"choice": "tie"})
    assert Judgment.objects.standing().get() == judgment


def test_nobody_sees_or_changes_anothers_vote(
    signed_in: SignIn, ben: User, manager: User, stranger: User, judgment: Judgment
) -> None:
    for person in (ben, manager, stranger):
        client = signed_in(person)
        assert client.get(address(judgment)).status_code == 404
        assert client.post(address(judgment), {"choice": "tie"}).status_code == 404
    assert Judgment.objects.standing().get() == judgment


def test_strangers_and_wrong_methods_are_refused(
    project: Project, signed_in: SignIn, client: Client, stranger: User, ann: User, judgment: Judgment
) -> None:
    listing = reverse("history", args=[project.slug])
    assert client.get(listing).status_code == 302
    assert signed_in(stranger).get(listing).status_code == 404
    assert signed_in(ann).post(listing).status_code == 405
    assert signed_in(ann).delete(address(judgment)).status_code == 405


@pytest.mark.django_db(transaction=True)
def test_two_changes_at_once_leave_one_vote(ann: User, judgment: Judgment) -> None:
    outcomes: list[str] = []
    together = threading.Barrier(2)

    def change(choice: str) -> None:
        try:
            together.wait(timeout=30)
            correct(judgment_id=judgment.pk, annotator=ann, ballot=Ballot(choice=choice))
            outcomes.append("changed")
        except NotStandingError:
            outcomes.append("late")
        finally:
            connection.close()

    threads = [threading.Thread(target=change, args=(choice,)) for choice in ("b1", "tie")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert sorted(outcomes) == ["changed", "late"]
    assert Judgment.objects.standing().count() == 1
    assert Comparison.objects.get().depth == 1


def test_a_correction_finishes_nothing_that_others_have_yet_to_judge(
    project: Project, ann: User, make_comparison: MakeComparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_comparison(judgments_wanted=2)
    said = give(project, ann)
    told: list[str] = []
    monkeypatch.setattr("annotation.judging.tell", lambda happening: told.append(happening.kind))
    correct(judgment_id=said.pk, annotator=ann, ballot=Ballot(choice="tie"))
    assert told == [Kind.JUDGMENT_MADE]


def test_a_late_vote_is_listed_and_can_be_changed(
    project: Project, signed_in: SignIn, ann: User, ben: User, judgment: Judgment
) -> None:
    ticket = Ticket(judgment.comparison_id, judgment.created_at)
    late = queue.submit_judgment(ticket=ticket, annotator=ben, choice="tie")
    assert late.seat is None
    assert "waits for a seat" in signed_in(ben).get(reverse("history", args=[project.slug])).content.decode()
    new = correct(judgment_id=late.pk, annotator=ben, ballot=Ballot(choice="b1"))
    assert (new.seat, new.strength, Judgment.objects.kept().by(ben).get()) == (None, 1, new)
    assert Comparison.objects.get().depth == 1


def test_a_correction_stays_in_the_arm_of_the_vote(project: Project, ann: User, judgment: Judgment) -> None:
    Judgment.objects.update(arm=Arm.RANDOM)
    assert correct(judgment_id=judgment.pk, annotator=ann, ballot=Ballot(choice="tie")).arm == Arm.RANDOM


def test_practice_votes_are_said_not_to_be_listed(project: Project, signed_in: SignIn, ann: User) -> None:
    url = reverse("history", args=[project.slug])
    client = signed_in(ann)
    assert "Practice votes" not in client.get(url).content.decode()
    Project.objects.update(practice_pairs=2)
    assert "Practice votes are not listed here" in client.get(url).content.decode()
