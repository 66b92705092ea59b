"""Settling disputes, asking for one more judgment, and the one label a pair has in the end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from annotation.ballots import Ballot
from annotation.corrections import NotStandingError, correct
from annotation.models import Comparison, Judgment, PairLabel, Preference, Project, Response, Role, Skip, User
from annotation.quality import computing
from annotation.quality.bradley_terry import Parameters, Posterior, posterior
from annotation.quality.deciding import (
    CannotDecideError,
    ask_for_one_more,
    decide,
    hidden_votes,
    order_for,
    take_back,
    to_settle,
)
from annotation.quality.labels import soft_labels
from annotation.quality.votes import Votes
from annotation.queue import lease_next, undo_last
from annotation.services import set_role
from tests.annotation.conftest import MakeComparison
from tests.at_once import wait_for_somebody_who_waits

pytestmark = pytest.mark.django_db
Compute = Callable[[], None]


@pytest.fixture
def reviewer(project: Project) -> User:
    person = User.objects.create_user("rev")
    set_role(project=project, person=person, role=Role.REVIEWER)
    return person


@pytest.fixture
def disputed(judged: list[Comparison], compute: Compute) -> Comparison:
    """The pair that ann and ben judged differently; the numbers are computed."""
    compute()
    return judged[4]


def choice_for(comparison: Comparison, reviewer: User, response: int) -> str:
    return "a" if order_for(comparison, reviewer)[0] == response else "b"


def test_the_disputed_pair_waits_for_a_reviewer(
    project: Project, disputed: Comparison, reviewer: User, ann: User
) -> None:
    assert to_settle(project, reviewer) == [disputed.pk]
    assert to_settle(project, ann) == []  # she has voted on it


def test_a_decision_becomes_the_label_and_the_votes_stay(disputed: Comparison, reviewer: User) -> None:
    first, second = disputed.response_ids
    decision = decide(comparison_id=disputed.pk, reviewer=reviewer, choice=choice_for(disputed, reviewer, second))
    taught = Preference.objects.get(judgment__comparison=disputed)
    assert (taught.chosen_id, taught.rejected_id, taught.judgment) == (second, first, decision)
    assert decision.decides
    disputed.refresh_from_db()
    assert (disputed.depth, disputed.judgments_wanted) == (3, 3)
    assert disputed.closed_at is not None
    assert Judgment.objects.standing().filter(comparison=disputed, decides=False).count() == 2


def test_a_decided_tie_teaches_nothing(disputed: Comparison, reviewer: User) -> None:
    decide(comparison_id=disputed.pk, reviewer=reviewer, choice="tie")
    assert not Preference.objects.filter(judgment__comparison=disputed).exists()


def test_what_cannot_be_decided(
    disputed: Comparison,
    judged: list[Comparison],
    make_comparison: MakeComparison,
    reviewer: User,
    ann: User,
    manager: User,
) -> None:
    with pytest.raises(CannotDecideError, match="You have voted"):
        decide(comparison_id=disputed.pk, reviewer=ann, choice="tie")
    with pytest.raises(CannotDecideError, match="still being judged"):
        decide(comparison_id=make_comparison().pk, reviewer=reviewer, choice="tie")
    with pytest.raises(ValueError, match="no choice"):
        decide(comparison_id=disputed.pk, reviewer=reviewer, choice="maybe")
    decide(comparison_id=disputed.pk, reviewer=reviewer, choice="tie")
    with pytest.raises(CannotDecideError, match="settled this pair already"):
        decide(comparison_id=disputed.pk, reviewer=manager, choice="tie")


def test_the_database_keeps_one_decision_a_pair(disputed: Comparison, reviewer: User, ann: User) -> None:
    decide(comparison_id=disputed.pk, reviewer=reviewer, choice="tie")
    with pytest.raises(IntegrityError, match="one_decision_per_comparison"), transaction.atomic():
        Judgment.objects.filter(comparison=disputed, annotator=ann).update(decides=True)


def test_taking_a_decision_back_restores_the_votes_and_opens_the_pair(
    project: Project, disputed: Comparison, reviewer: User, manager: User
) -> None:
    before = set(Preference.objects.filter(judgment__comparison=disputed).values_list("chosen", "rejected", "judgment"))
    decision = decide(comparison_id=disputed.pk, reviewer=reviewer, choice="both_bad")
    assert not take_back(decision_id=decision.pk, reviewer=manager)
    assert take_back(decision_id=decision.pk, reviewer=reviewer)
    assert not take_back(decision_id=decision.pk, reviewer=reviewer)
    after = set(Preference.objects.filter(judgment__comparison=disputed).values_list("chosen", "rejected", "judgment"))
    assert before == after
    assert len(after) == 2
    disputed.refresh_from_db()
    assert (disputed.depth, disputed.closed_at) == (2, None)


def test_a_vote_on_a_decided_pair_and_a_decision_are_not_undone_from_the_labelling_page(
    project: Project, disputed: Comparison, reviewer: User, ann: User
) -> None:
    Judgment.objects.filter(annotator=ann).exclude(comparison=disputed).update(created_at="2026-01-01T00:00Z")
    decide(comparison_id=disputed.pk, reviewer=reviewer, choice="tie")
    assert undo_last(project=project, annotator=ann) is None
    assert undo_last(project=project, annotator=reviewer) is None
    assert Judgment.objects.standing().filter(comparison=disputed).count() == 3


def test_an_older_skip_is_not_undone_instead_of_a_vote_on_a_decided_pair(
    project: Project, disputed: Comparison, make_comparison: MakeComparison, reviewer: User, ann: User
) -> None:
    skipped = Skip.objects.create(comparison=make_comparison(), annotator=ann, created_at="2026-01-01T00:00Z")
    Judgment.objects.filter(annotator=ann).exclude(comparison=disputed).update(created_at="2026-01-01T00:00Z")
    decide(comparison_id=disputed.pk, reviewer=reviewer, choice="tie")
    assert undo_last(project=project, annotator=ann) is None
    assert Skip.objects.filter(pk=skipped.pk).exists()


def test_a_vote_on_a_decided_pair_is_not_corrected_and_a_decision_never(
    project: Project, disputed: Comparison, reviewer: User, ann: User, client: Client
) -> None:
    vote = Judgment.objects.get(comparison=disputed, annotator=ann)
    change, history = reverse("change-judgment", args=[project.slug, vote.pk]), reverse("history", args=[project.slug])
    client.force_login(ann)
    assert change in client.get(history).content.decode()
    decision = decide(comparison_id=disputed.pk, reviewer=reviewer, choice="tie")
    for judgment, person in ((vote, ann), (decision, reviewer)):
        with pytest.raises(NotStandingError):
            correct(judgment_id=judgment.pk, annotator=person, ballot=Ballot(choice="both_bad"))
    assert "a reviewer has settled the pair" in client.get(change, follow=True).content.decode()
    page = client.get(history).content.decode()
    assert change not in page
    assert page.count(">settled<") == 1
    client.force_login(reviewer)
    assert "You have not voted here yet" in client.get(history).content.decode()


def test_a_decision_leaves_an_edit_above_its_original_and_nothing_else_of_the_votes(
    disputed: Comparison, reviewer: User, ann: User
) -> None:
    vote = Judgment.objects.get(comparison=disputed, annotator=ann)
    vote = correct(judgment_id=vote.pk, annotator=ann, ballot=Ballot(choice="b", edits={"A": "Better than both."}))
    theirs = Preference.objects.filter(judgment__comparison=disputed, judgment__decides=False)
    before = set(theirs.values_list("chosen", "rejected", "judgment", "weight"))
    decision = decide(comparison_id=disputed.pk, reviewer=reviewer, choice="a")
    assert list(theirs.values_list("chosen", "rejected")) == [(vote.edited_id, vote.edit_of_id)]
    take_back(decision_id=decision.pk, reviewer=reviewer)
    assert set(theirs.values_list("chosen", "rejected", "judgment", "weight")) == before
    assert len(before) == 3  # B over A and the edit over A, and the other person's


def test_who_has_a_late_vote_on_a_pair_does_not_settle_it(
    project: Project, disputed: Comparison, reviewer: User
) -> None:
    Judgment.objects.create(
        comparison=disputed,
        annotator=reviewer,
        seats=disputed.judgments_wanted,
        tiers=[disputed.response_ids],
        shown_order=disputed.response_ids,
    )
    assert to_settle(project, reviewer) == []
    with pytest.raises(CannotDecideError, match="You have voted"):
        decide(comparison_id=disputed.pk, reviewer=reviewer, choice="tie")


def test_who_wrote_one_of_the_answers_does_not_settle_the_pair(
    project: Project, disputed: Comparison, reviewer: User
) -> None:
    Response.objects.filter(pk=disputed.response_ids[1]).update(written_by=reviewer)
    assert to_settle(project, reviewer) == []
    with pytest.raises(CannotDecideError, match="You wrote"):
        decide(comparison_id=disputed.pk, reviewer=reviewer, choice="tie")


def test_a_suspect_pair_is_opened_for_one_more_person_once(
    project: Project, disputed: Comparison, judged: list[Comparison], ann: User, reviewer: User
) -> None:
    assert ask_for_one_more(project, [disputed.pk]) == 1
    assert ask_for_one_more(project, [disputed.pk]) == 0  # it is open
    disputed.refresh_from_db()
    assert (disputed.judgments_wanted, disputed.closed_at) == (3, None)
    lease = lease_next(project=project, annotator=reviewer)
    assert lease is not None
    assert lease.comparison_id == disputed.pk
    assert lease_next(project=project, annotator=ann) is None
    decide(comparison_id=judged[0].pk, reviewer=reviewer, choice="tie")
    assert ask_for_one_more(project, [judged[0].pk]) == 0  # it is decided


@pytest.mark.django_db(transaction=True)
def test_asking_for_one_more_waits_for_a_decision_that_is_being_made(
    project: Project, disputed: Comparison, reviewer: User
) -> None:
    def ask() -> int:
        try:
            return ask_for_one_more(project, [disputed.pk])
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            decide(comparison_id=disputed.pk, reviewer=reviewer, choice="tie")
            asked = pool.submit(ask)
            wait_for_somebody_who_waits()
        assert asked.result(10) == 0
    disputed.refresh_from_db()
    assert disputed.closed_at is not None


def test_the_order_of_hidden_votes_tells_nothing_of_who_came_first(disputed: Comparison) -> None:
    for order in (disputed.response_ids, disputed.response_ids[::-1]):
        assert [vote.words for vote in hidden_votes(disputed, order)] == ["A better", "B better"]


def test_a_label_is_suspect_when_it_is_wrong_with_a_probability_of_thirty_percent(
    project: Project, disputed: Comparison
) -> None:
    for doubt, count in ((0.29, 0), (0.3, 1)):
        PairLabel.objects.filter(project=project).update(doubt=0.1)
        PairLabel.objects.filter(comparison=disputed).update(doubt=doubt)
        assert PairLabel.objects.suspect(project).count() == count


def test_pairs_of_another_project_are_not_opened(project: Project, disputed: Comparison) -> None:
    other = Project.objects.create(name="Other", slug="other")
    assert ask_for_one_more(other, [disputed.pk]) == 0


def test_a_reviewer_settles_it_on_the_page_without_seeing_a_name(
    project: Project, disputed: Comparison, client: Client, reviewer: User, ann: User
) -> None:
    User.objects.filter(pk=ann.pk).update(display_name="Annelies")
    Judgment.objects.filter(comparison=disputed, annotator=ann).update(reason="It is shorter.")
    client.force_login(reviewer)
    page = client.get(reverse("adjudicate", args=[project.slug])).content.decode()
    assert "It is shorter." in page
    for name in ("Annelies", "ann<", "ben", "model-one"):
        assert name not in page
    address = reverse("settle", args=[project.slug, disputed.pk])
    assert client.post(address, {"choice": "tie", "reason": "Equal."}).status_code == 302
    decision = Judgment.objects.get(comparison=disputed, decides=True)
    assert (decision.annotator, decision.reason) == (reviewer, "Equal.")
    after = client.get(reverse("adjudicate", args=[project.slug])).content.decode()
    assert "Nothing to settle" in after
    client.post(reverse("unsettle", args=[project.slug, decision.pk]))
    assert not Judgment.objects.decisions().filter(comparison=disputed).exists()


def test_annotators_and_other_reviewers_may_not_settle(
    project: Project, disputed: Comparison, client: Client, reviewer: User, manager: User, ann: User
) -> None:
    client.force_login(ann)
    assert client.get(reverse("adjudicate", args=[project.slug])).status_code == 404
    assert client.post(reverse("settle", args=[project.slug, disputed.pk]), {"choice": "tie"}).status_code == 404
    decision = decide(comparison_id=disputed.pk, reviewer=reviewer, choice="tie")
    client.force_login(manager)
    assert client.post(reverse("unsettle", args=[project.slug, decision.pk])).status_code == 404


def test_in_an_archived_project_nothing_is_settled_taken_back_or_opened(
    project: Project, disputed: Comparison, judged: list[Comparison], client: Client, reviewer: User, manager: User
) -> None:
    decision = decide(comparison_id=judged[0].pk, reviewer=reviewer, choice="tie")
    Project.objects.filter(pk=project.pk).update(archived_at=now())
    words = "This project is archived: its votes stay as they are."
    client.force_login(reviewer)
    page = client.get(reverse("adjudicate", args=[project.slug])).content.decode()
    assert words in page
    assert "<form" not in page.split("<main")[1]
    settled = client.post(reverse("settle", args=[project.slug, disputed.pk]), {"choice": "tie"}, follow=True)
    taken = client.post(reverse("unsettle", args=[project.slug, decision.pk]), follow=True)
    client.force_login(manager)
    opened = client.post(reverse("suspects", args=[project.slug]), {"pair": [str(disputed.pk)]}, follow=True)
    assert [words in answer.content.decode() for answer in (settled, taken, opened)] == [True] * 3
    assert list(Judgment.objects.decisions()) == [decision]
    disputed.refresh_from_db()
    assert disputed.closed_at is not None


def test_bad_forms_save_nothing(project: Project, disputed: Comparison, client: Client, reviewer: User) -> None:
    client.force_login(reviewer)
    client.post(reverse("settle", args=[project.slug, disputed.pk]), {"choice": "maybe"})
    assert not Judgment.objects.decisions().exists()
    assert client.get(reverse("adjudicate", args=[project.slug]), {"after": "99999999999999999999"}).status_code == 200


def test_suspects_are_listed_and_opened_by_a_manager(
    project: Project, disputed: Comparison, client: Client, manager: User, judged: list[Comparison]
) -> None:
    client.force_login(manager)
    address = reverse("suspects", args=[project.slug])
    assert f'value="{disputed.pk}"' in client.get(address).content.decode()
    page = client.post(address, {"pair": [str(disputed.pk), "x", "9" * 30]}, follow=True).content.decode()
    assert "1 pair opened for one more judgment" in page
    disputed.refresh_from_db()
    assert disputed.closed_at is None
    quality = client.get(reverse("quality", args=[project.slug])).content.decode()
    assert "1 more is open for another judgment." in quality


def test_labels_follow_the_votes(project: Project, disputed: Comparison, judged: list[Comparison]) -> None:
    found = {label.comparison_id: label for label in soft_labels(project)}
    agreed = judged[0]
    assert (found[agreed.pk].chosen_id, found[agreed.pk].rejected_id) == tuple(agreed.response_ids)
    assert 0.5 < found[agreed.pk].probability < 1
    assert found[agreed.pk].weight == pytest.approx(2 * found[agreed.pk].probability - 1)
    assert found[judged[1].pk].chosen_id == judged[1].response_ids[1]
    assert disputed.pk not in found or found[disputed.pk].weight < found[agreed.pk].weight
    assert not [label for label in found.values() if label.decided]


def test_no_label_that_is_kept_goes_against_all_votes_of_its_pair(
    project: Project, judged: list[Comparison], compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turned(votes: Votes, parameters: Parameters) -> Posterior:
        found = posterior(votes, parameters)
        return replace(found, first_better_P=1 - found.first_better_P)

    monkeypatch.setattr(computing, "posterior", turned)
    compute()
    agreed = PairLabel.objects.filter(project=project, is_split=False, preferring_votes__gt=0)
    assert agreed.count() > 2
    assert set(agreed.values_list("first_better", "doubt")) == {(0.5, 0.5)}


def test_a_decision_overrules_the_votes_in_the_labels(
    project: Project, disputed: Comparison, judged: list[Comparison], reviewer: User
) -> None:
    agreed = judged[0]
    second = agreed.response_ids[1]
    decide(comparison_id=agreed.pk, reviewer=reviewer, choice=choice_for(agreed, reviewer, second))
    decide(comparison_id=judged[1].pk, reviewer=reviewer, choice="tie")
    found = {label.comparison_id: label for label in soft_labels(project)}
    assert (found[agreed.pk].chosen_id, found[agreed.pk].probability, found[agreed.pk].weight) == (second, 1.0, 1.0)
    assert found[agreed.pk].decided
    assert judged[1].pk not in found


def test_labels_are_rewritten_with_each_computation(
    project: Project, disputed: Comparison, compute: Compute, judged: list[Comparison]
) -> None:
    assert PairLabel.objects.filter(project=project).count() == 6
    Judgment.objects.filter(comparison=judged[0]).update(withdrawn_at="2026-01-01T00:00Z")
    compute()
    assert not PairLabel.objects.filter(comparison=judged[0]).exists()
    assert PairLabel.objects.filter(project=project).count() == 5
