"""Work given to people and teams, and daily caps."""

from datetime import timedelta

import pytest
from django.utils.timezone import now

from annotation import assigning, hand_out, queue
from annotation.models import (
    Arm,
    Batch,
    Comparison,
    Judgment,
    Lease,
    Project,
    Response,
    Skip,
    Team,
    User,
    VoteCount,
)
from annotation.queue import CapReachedError, Ticket
from annotation.services import create_project, remove_member
from annotation.work import why_nothing_is_left
from tests.annotation.conftest import MakeComparison
from tests.annotation.test_queue import lease_for, vote
from tests.annotation.test_queue_under_load import run_together


@pytest.fixture(params=[Arm.ORDER, Arm.RANDOM])
def arm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Arm:
    monkeypatch.setattr(hand_out, "drawn_arms", lambda project: [request.param])
    return Arm(request.param)


@pytest.fixture
def batch(project: Project) -> Batch:
    return Batch.objects.create(project=project, name="Medical")


def test_a_batch_is_for_its_people_and_comes_first(
    project: Project, batch: Batch, arm: Arm, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    for_all, given = make_comparison(judgments_wanted=2), make_comparison(judgments_wanted=2)
    assigning.fill(batch, Comparison.objects.filter(pk=given.pk), most=1)
    assigning.give(batch, people=[ann], teams=[])
    assert [vote(project, ann).comparison for _ in range(2)] == [given, for_all]
    assert vote(project, ben).comparison == for_all
    assert queue.lease_next(project=project, annotator=ben) is None


def test_a_batch_is_for_everybody_in_its_teams(
    project: Project, batch: Batch, arm: Arm, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    given = make_comparison(judgments_wanted=2)
    team = Team.objects.create(project=project, name="Doctors")
    team.people.set([ann, ben])
    assigning.fill(batch, Comparison.objects.all(), most=5)
    assigning.give(batch, people=[ann], teams=[team])  # ann in two ways, and still once
    for person in (ann, ben):
        assert vote(project, person).comparison == given
        assert queue.lease_next(project=project, annotator=person) is None


def test_taking_a_batch_from_somebody_takes_what_they_hold(
    project: Project, batch: Batch, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    assigning.fill(batch, Comparison.objects.all(), most=5)
    assigning.give(batch, people=[ann], teams=[])
    lease_for(project, ann)
    assigning.give(batch, people=[ben], teams=[])
    assert queue.lease_next(project=project, annotator=ann) is None
    assert lease_for(project, ben)


def test_a_dissolved_batch_is_open_to_all(
    project: Project, batch: Batch, ben: User, make_comparison: MakeComparison
) -> None:
    given = make_comparison()
    assigning.fill(batch, Comparison.objects.all(), most=5)
    assert queue.lease_next(project=project, annotator=ben) is None
    assert assigning.dissolve(batch) == 1
    assert lease_for(project, ben).comparison == given


def test_a_batch_takes_the_oldest_open_work_that_fits_and_is_in_no_other(
    project: Project, batch: Batch, manager: User, make_comparison: MakeComparison
) -> None:
    made = [make_comparison(metadata={"topic": "law" if n % 2 else "food"}) for n in range(6)]
    vote(project, manager)  # closes the first
    assert list(assigning.open_work(project, key="topic", value="food")) == [made[2], made[4]]
    assert list(assigning.open_work(project, containing="question 4")) == [made[3]]
    assert assigning.fill(batch, assigning.open_work(project), most=3) == 3
    assert set(batch.comparisons.all()) == set(made[1:4])
    assert list(assigning.open_work(project)) == made[4:]


def test_the_cap_ends_the_day_and_the_next_day_begins_anew(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    for _ in range(4):
        make_comparison()
    Project.objects.update(daily_cap=2)
    project.refresh_from_db()
    for _ in range(2):
        vote(project, ann)
    assert queue.lease_next(project=project, annotator=ann) is None
    assert why_nothing_is_left(project, ann) == "cap"
    assert lease_for(project, ben)
    Judgment.objects.filter(annotator=ann).update(created_at=now() - timedelta(days=1))
    assert lease_for(project, ann)


def test_a_persons_own_cap_goes_before_the_projects(
    project: Project, ann: User, make_comparison: MakeComparison
) -> None:
    for _ in range(4):
        make_comparison()
    Project.objects.update(daily_cap=1)
    project.refresh_from_db()
    project.memberships.filter(user=ann).update(daily_cap=3)
    for _ in range(3):
        vote(project, ann)
    assert queue.lease_next(project=project, annotator=ann) is None


def test_an_undone_vote_is_not_counted(project: Project, ann: User, make_comparison: MakeComparison) -> None:
    make_comparison()
    Project.objects.update(daily_cap=1)
    project.refresh_from_db()
    vote(project, ann)
    queue.undo_last(project=project, annotator=ann)
    assert lease_for(project, ann)


def test_skips_are_no_way_past_the_cap(project: Project, ann: User, make_comparison: MakeComparison) -> None:
    for _ in range(4):
        make_comparison()
    Project.objects.update(daily_cap=1)
    project.refresh_from_db()
    tickets = []
    for _ in range(4):
        tickets.append(Ticket(lease_for(project, ann).comparison_id, now()))
        queue.skip(ticket=tickets[-1], annotator=ann, reason="later")
    queue.submit_judgment(ticket=tickets[0], annotator=ann, choice="tie")
    for ticket in tickets[1:]:
        with pytest.raises(CapReachedError):
            queue.submit_judgment(ticket=ticket, annotator=ann, choice="tie")
    assert (Judgment.objects.count(), Skip.objects.count()) == (1, 3)
    assert queue.submit_judgment(ticket=tickets[0], annotator=ann, choice="tie") == Judgment.objects.get()


def test_what_a_cut_line_held_back_is_kept_over_the_cap_but_no_more(
    project: Project, ann: User, make_comparison: MakeComparison
) -> None:
    """Two votes wait in a browser; on another device the day's number was given meanwhile."""
    comparisons = [make_comparison() for _ in range(4)]
    Project.objects.update(daily_cap=1)
    project.refresh_from_db()
    vote(project, ann)
    judged = Judgment.objects.get().comparison_id
    left = [Ticket(comparison.pk, now()) for comparison in comparisons if comparison.pk != judged]
    for ticket in left[:2]:
        queue.submit_judgment(ticket=ticket, annotator=ann, choice="tie")
    with pytest.raises(CapReachedError):
        queue.submit_judgment(ticket=left[2], annotator=ann, choice="tie")
    assert Judgment.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_the_cap_holds_for_many_tabs_at_once(project: Project, ann: User, make_comparison: MakeComparison) -> None:
    for _ in range(12):
        make_comparison()
    Project.objects.update(daily_cap=5)
    project.refresh_from_db()

    def tab() -> None:
        while lease := queue.lease_next(project=project, annotator=ann):
            ticket = Ticket(lease.comparison_id, lease.leased_at)
            queue.submit_judgment(ticket=ticket, annotator=ann, choice="tie")

    run_together([tab] * 4)
    assert Judgment.objects.count() == 5
    assert VoteCount.objects.get().votes == 5
    assert not Lease.objects.exists()


def short(batch: Batch) -> assigning.Shortage | None:
    return assigning.shortages_in(batch.project).get(batch.pk)


def test_a_batch_says_which_pairs_its_people_can_never_finish(
    project: Project, batch: Batch, manager: User, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    for wanted in (1, 2, 3):
        make_comparison(judgments_wanted=wanted)
    assigning.fill(batch, Comparison.objects.all(), most=5)
    assert short(batch) == assigning.Shortage(pairs=3, wanted=3, people=0)
    team = Team.objects.create(project=project, name="Doctors")
    team.people.set([ann, ben])
    assigning.give(batch, people=[ann], teams=[team])  # ann in two ways, and still once
    assert short(batch) == assigning.Shortage(pairs=1, wanted=3, people=2)
    for person in (ann, ben):
        for _ in range(2):
            vote(project, person)
    assert short(batch) == assigning.Shortage(pairs=1, wanted=3, people=2)
    assigning.give(batch, people=[manager], teams=[team])
    assert short(batch) is None
    remove_member(project.memberships.get(user=ben))
    assert short(batch) is None  # ben's vote stays
    assigning.give(batch, people=[], teams=[team])
    assert short(batch) == assigning.Shortage(pairs=1, wanted=3, people=1)


def test_whoever_skipped_a_pair_or_wrote_an_answer_of_it_is_not_counted_for_it(
    project: Project, batch: Batch, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    skipped, written, _fine = (make_comparison(judgments_wanted=2) for _ in range(3))
    assigning.fill(batch, Comparison.objects.all(), most=5)
    assigning.give(batch, people=[ann, ben], teams=[])
    assert short(batch) is None
    Skip.objects.create(comparison=skipped, annotator=ann, reason="I know nothing about it")
    Response.objects.filter(pk=written.response_ids[1]).update(written_by=ben)
    assert short(batch) == assigning.Shortage(pairs=2, wanted=2, people=2)


def test_another_projects_batch_and_closed_pairs_are_not_short(
    project: Project, batch: Batch, manager: User, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    other = create_project(name="Other", manager=manager)
    assigning.fill(batch, Comparison.objects.all(), most=5)
    assigning.give(batch, people=[ann], teams=[])
    vote(project, ann)
    assigning.give(batch, people=[], teams=[])
    assert assigning.shortages_in(project) == assigning.shortages_in(other) == {}


def test_what_others_hold_is_told_from_what_is_kept_for_others(
    project: Project, batch: Batch, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    assigning.fill(batch, Comparison.objects.all(), most=5)
    assigning.give(batch, people=[ann], teams=[])
    assert why_nothing_is_left(project, ben) == "given"
    lease_for(project, ann)
    assert why_nothing_is_left(project, ben) == "given"
    assigning.give(batch, people=[ann, ben], teams=[])
    assert why_nothing_is_left(project, ben) == "held"
    Response.objects.filter(pk=comparison.response_ids[0]).update(written_by=ben)
    assert why_nothing_is_left(project, ben) == "yours"
    assigning.dissolve(batch)
    assert why_nothing_is_left(project, ben) == "yours"
