"""The training phase: practice pairs with feedback, a pass mark, and what a manager decides."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from annotation import gold, queue, services
from annotation.ballots import Ballot
from annotation.corrections import NotStandingError, correct
from annotation.judging import Verdict
from annotation.models import Arm, Comparison, Judgment, Preference, Project, Role, User
from annotation.queue import AHEAD_NEEDS
from annotation.services import set_role
from annotation.work import why_nothing_is_left
from tests.annotation.conftest import MakeComparison, make_user
from tests.annotation.test_labelling_page import Forms
from tests.annotation.test_queue import lease_for, ticket_of

SignIn = Callable[[User], Client]
Count = Callable[[int], AbstractContextManager[object]]


@pytest.fixture
def practice(project: Project, make_comparison: MakeComparison) -> list[Comparison]:
    """Four practice pairs, of which the first answer is expected; three are asked for, of them two thirds right."""
    Project.objects.update(practice_pairs=3, pass_mark=66)
    project.refresh_from_db()
    made = [make_comparison() for _ in range(4)]
    for comparison in made:
        first, second = comparison.response_ids
        gold.mark(
            comparison=comparison,
            verdict=Verdict([[first], [second]]),
            purpose=Comparison.Purpose.PRACTICE,
            explanation="It is **kinder**.",
        )
    return made


def judge(project: Project, person: User, *, rightly: bool) -> Judgment:
    lease = lease_for(project, person)
    right_side = "a" if lease.shown_order[0] == lease.comparison.response_ids[0] else "b"
    side = right_side if rightly else {"a": "b", "b": "a"}[right_side]
    return queue.submit_judgment(ticket=ticket_of(lease), annotator=person, choice=f"{side}2")


def test_practice_comes_first_in_the_managers_order_and_makes_no_preferences(
    project: Project, practice: list[Comparison], ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison(priority=9)
    said = [judge(project, ann, rightly=True) for _ in range(2)]
    assert [one.comparison for one in said] == practice[:2]
    assert {one.arm for one in said} == {Arm.PRACTICE}
    assert not Preference.objects.exists()


def test_who_passes_gets_real_work(
    project: Project, practice: list[Comparison], ann: User, make_comparison: MakeComparison
) -> None:
    work = make_comparison()
    for rightly in (True, False, True):
        assert project.memberships.get(user=ann).passed_at is None
        judge(project, ann, rightly=rightly)
    assert project.memberships.get(user=ann).passed_at is not None
    assert lease_for(project, ann).comparison == work


def test_who_fails_goes_on_while_there_are_pairs_and_then_waits_for_a_manager(
    project: Project, practice: list[Comparison], ann: User, make_comparison: MakeComparison
) -> None:
    work = make_comparison()
    for _ in range(4):
        judge(project, ann, rightly=False)
    assert queue.lease_next(project=project, annotator=ann) is None
    assert why_nothing_is_left(project, ann) == "practice"
    assert gold.practice_of(project, ann).is_over

    gold.practise_again(project, ann)
    assert lease_for(project, ann).comparison == practice[0]
    queue.release(project=project, annotator=ann)
    gold.let_in(project, ann)
    assert lease_for(project, ann).comparison == work


def test_the_last_ones_count_so_that_people_may_learn(project: Project, practice: list[Comparison], ann: User) -> None:
    for rightly in (False, False, True, True):
        judge(project, ann, rightly=rightly)
    assert project.memberships.get(user=ann).passed_at is not None


def test_managers_and_people_who_passed_are_not_trained(
    project: Project, practice: list[Comparison], manager: User, ann: User, make_comparison: MakeComparison
) -> None:
    work = make_comparison(judgments_wanted=2)
    gold.let_in(project, ann)
    assert lease_for(project, manager).comparison == work
    assert lease_for(project, ann).comparison == work


def test_without_practice_pairs_there_is_no_training(
    project: Project, ann: User, make_comparison: MakeComparison
) -> None:
    Project.objects.update(practice_pairs=5)
    project.refresh_from_db()
    work = make_comparison()
    assert lease_for(project, ann).comparison == work


def test_what_was_told_cannot_be_undone(project: Project, practice: list[Comparison], ann: User) -> None:
    judge(project, ann, rightly=False)
    assert queue.undo_last(project=project, annotator=ann) is None
    assert Judgment.objects.standing().count() == 1


@pytest.mark.parametrize("fragment", [True, False])
def test_the_page_tells_what_was_expected_and_why(
    project: Project, practice: list[Comparison], signed_in: SignIn, ann: User, fragment: bool
) -> None:
    client, url = signed_in(ann), reverse("label", args=[project.slug])
    html = client.get(url).content.decode()
    lease = lease_for(project, ann)
    wrong = "b2" if lease.shown_order[0] == practice[0].response_ids[0] else "a2"
    wanted = {"b2": "A better", "a2": "B better"}[wrong]

    headers = {"X-Fragment": "1"} if fragment else {}
    answer = client.post(url, {**Forms(html).hidden, "choice": wrong}, headers=headers, follow=True)

    told = answer.content.decode()
    assert f"Expected: {wanted}." in told
    assert "<strong>kinder</strong>" in told
    assert "1 of 3 done, 0 as expected; 66 % are asked for" in told
    assert ("<html" in told) is not fragment
    assert re.search(r"Question 1\?", told)
    assert "Question 2?" in client.get(url).content.decode()


def test_who_has_done_more_than_is_needed_reads_of_the_last(
    project: Project, practice: list[Comparison], ann: User, manager: User, signed_in: SignIn
) -> None:
    for rightly in (True, False, False):
        judge(project, ann, rightly=rightly)
    last = judge(project, ann, rightly=False)
    label = signed_in(ann).get(reverse("label", args=[project.slug]), {"practised": last.pk}).content.decode()
    assert "Practice: 4 done, 0 of the last 3 as expected; 66 % are asked for" in label
    people = signed_in(manager).get(reverse("assignment", args=[project.slug])).content.decode()
    assert "4 done, 0 of the last 3 as expected" in people


def test_the_page_says_that_it_is_practice(
    project: Project, practice: list[Comparison], ann: User, signed_in: SignIn, make_comparison: MakeComparison
) -> None:
    url, words = reverse("label", args=[project.slug]), "Practice: after your vote"
    make_comparison()
    assert words in signed_in(ann).get(url).content.decode()
    gold.let_in(project, ann)
    queue.release(project=project, annotator=ann)
    assert words not in signed_in(ann).get(url).content.decode()


def test_the_managers_page_names_who_waits_for_a_word(
    project: Project, practice: list[Comparison], ann: User, manager: User, signed_in: SignIn
) -> None:
    words = "people wait for your word"
    for _ in range(3):
        judge(project, ann, rightly=False)
    assert words not in signed_in(manager).get(project.get_absolute_url()).content.decode()
    judge(project, ann, rightly=False)
    assert words in signed_in(manager).get(project.get_absolute_url()).content.decode()


def test_feedback_is_for_ones_own_practice_only(
    project: Project,
    practice: list[Comparison],
    signed_in: SignIn,
    ann: User,
    ben: User,
    make_comparison: MakeComparison,
) -> None:
    theirs = judge(project, ben, rightly=True)
    url = reverse("label", args=[project.slug])
    for number in (str(theirs.pk), "9" * 30, "x", "-1"):
        assert "As expected" not in signed_in(ann).get(url, {"practised": number}).content.decode()
    assert "As expected" in signed_in(ben).get(url, {"practised": str(theirs.pk)}).content.decode()


def test_gold_is_never_told(
    project: Project, signed_in: SignIn, manager: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    gold.mark(comparison=comparison, verdict=Verdict([comparison.response_ids]), explanation="Told to nobody.")
    Project.objects.update(gold_share=50)
    client, url = signed_in(manager), reverse("label", args=[project.slug])
    for _ in range(40):  # one of two hand-outs is gold
        html = client.get(url).content.decode()
        if "Question 1?" in html:
            break
    answer = client.post(url, {**Forms(html).hidden, "choice": "a1"}, headers={"X-Fragment": "1"}).content.decode()
    assert Judgment.objects.get().arm == Arm.GOLD
    for word in ("Told to nobody", "xpected", "gold", "Gold"):
        assert word not in answer


def test_no_pair_is_ready_before_one_has_been_told_what_was_expected(
    project: Project, practice: list[Comparison], ann: User, make_comparison: MakeComparison
) -> None:
    for _ in range(AHEAD_NEEDS + 2):
        make_comparison()
    lease_for(project, ann)
    assert queue.lease_ahead(project=project, annotator=ann) is None
    project.memberships.filter(user=ann).update(passed_at=now())
    assert queue.lease_ahead(project=project, annotator=ann) is not None


def test_what_was_said_in_practice_stays_said(
    project: Project, practice: list[Comparison], ann: User, signed_in: SignIn
) -> None:
    said = judge(project, ann, rightly=False)
    client = signed_in(ann)
    assert "Practice votes are not listed here" in client.get(reverse("history", args=[project.slug])).content.decode()
    assert client.get(reverse("change-judgment", args=[project.slug, said.pk])).status_code == 404
    with pytest.raises(NotStandingError):
        correct(judgment_id=said.pk, annotator=ann, ballot=Ballot(choice="tie"))


def test_who_is_still_in_training_costs_the_projects_page_no_query(
    project: Project, practice: list[Comparison], signed_in: SignIn, manager: User, django_assert_num_queries: Count
) -> None:
    for n in range(5):
        set_role(project=project, person=make_user(f"new{n}"), role=Role.ANNOTATOR)
    client = signed_in(manager)
    with django_assert_num_queries(13):
        client.get(project.get_absolute_url())
    Comparison.objects.update(closed_at=now())  # no pair is left to anybody, and nobody is kept waiting for one
    with django_assert_num_queries(12):
        client.get(project.get_absolute_url())


def test_a_role_saved_while_somebody_passes_leaves_them_in(
    project: Project, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def passes_just_then(_member: object) -> bool:
        return gold.let_in(project, ann)

    monkeypatch.setattr(services, "_others_manage", passes_just_then)
    set_role(project=project, person=ann, role=Role.REVIEWER)
    member = project.memberships.get(user=ann)
    assert (member.role, member.passed_at is None) == (Role.REVIEWER, False)
