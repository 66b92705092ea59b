"""Handing out, voting, skipping, undoing: one person after another."""

from datetime import timedelta

import pytest
from django.utils.timezone import now

from annotation import queue, tasks
from annotation.judging import NoSeatLeftError
from annotation.models import Comparison, Judgment, Lease, Preference, Project, Skip, User
from annotation.queue import BadTicketError, Ticket
from tests.annotation.conftest import MakeComparison, make_user


def ticket_of(lease: Lease) -> Ticket:
    return Ticket(lease.comparison_id, lease.leased_at)


def lease_for(project: Project, person: User) -> Lease:
    lease = queue.lease_next(project=project, annotator=person)
    assert lease is not None
    return lease


def vote(project: Project, person: User, choice: str = "a2", **more: object) -> Judgment:
    lease = lease_for(project, person)
    return queue.submit_judgment(ticket=ticket_of(lease), annotator=person, choice=choice, **more)


def let_run_out(lease: Lease) -> None:
    Lease.objects.filter(pk=lease.pk).update(expires_at=now() - timedelta(seconds=1))


def test_a_vote_makes_a_judgment_a_preference_and_closes_the_comparison(
    project: Project, ann: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    lease = lease_for(project, ann)
    first, second = lease.shown_order

    queue.submit_judgment(ticket=ticket_of(lease), annotator=ann, choice="b3", reason="clearer", active_seconds=0.0)

    judgment = Judgment.objects.get()
    assert judgment.tiers == [[second], [first]]
    assert (judgment.strength, judgment.reason, judgment.shown_order) == (3, "clearer", [first, second])
    preference = Preference.objects.get()
    assert (preference.chosen_id, preference.rejected_id) == (second, first)
    assert (preference.strength, preference.weight, preference.judgment) == (3, 1.0, judgment)
    comparison.refresh_from_db()
    assert comparison.depth == 1
    assert comparison.closed_at is not None
    assert not Lease.objects.exists()


@pytest.mark.parametrize("choice", ["tie", "both_bad"])
def test_a_tie_and_both_bad_are_kept_and_make_no_preference(
    project: Project, ann: User, make_comparison: MakeComparison, choice: str
) -> None:
    comparison = make_comparison()

    judgment = vote(project, ann, choice)

    judgment.refresh_from_db()
    assert judgment.tiers == [comparison.response_ids]
    assert judgment.both_bad is (choice == "both_bad")
    assert not Preference.objects.exists()


def test_sides_are_shuffled_over_people_and_comparisons_and_fixed_for_the_two() -> None:
    orders = [
        tuple(queue.shuffled([1, 2], comparison_id=comparison, annotator_id=annotator))
        for comparison in range(100)
        for annotator in range(10)
    ]
    # 1,000 fair coins: five standard deviations are 79.
    assert abs(orders.count((1, 2)) - 500) < 79
    assert queue.shuffled([2, 1], comparison_id=7, annotator_id=3) == queue.shuffled(
        [1, 2], comparison_id=7, annotator_id=3
    )


def test_a_reload_shows_the_pair_that_one_holds(project: Project, ann: User, make_comparison: MakeComparison) -> None:
    make_comparison()
    make_comparison()
    assert lease_for(project, ann).pk == lease_for(project, ann).pk
    assert Lease.objects.count() == 1


def test_nobody_gets_a_comparison_twice(project: Project, ann: User, make_comparison: MakeComparison) -> None:
    make_comparison(judgments_wanted=3)
    vote(project, ann)
    assert queue.lease_next(project=project, annotator=ann) is None


def test_a_comparison_that_others_hold_is_not_handed_out_beyond_its_seats(
    project: Project, manager: User, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    make_comparison(judgments_wanted=2)
    assert {lease_for(project, ann).seat, lease_for(project, ben).seat} == {1, 2}
    assert queue.lease_next(project=project, annotator=manager) is None


def test_an_archived_project_hands_out_nothing(project: Project, ann: User, make_comparison: MakeComparison) -> None:
    make_comparison()
    project.archived_at = now()
    assert queue.lease_next(project=project, annotator=ann) is None


def test_another_projects_comparisons_stay_there(project: Project, ann: User, make_comparison: MakeComparison) -> None:
    other = Project.objects.create(name="Other", slug="other")
    make_comparison(project=other)
    assert queue.lease_next(project=project, annotator=ann) is None


def test_a_lease_that_ran_out_goes_to_the_next_who_asks(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    let_run_out(lease_for(project, ann))

    assert lease_for(project, ben).comparison == comparison
    assert list(Lease.objects.values_list("annotator", flat=True)) == [ben.pk]


def test_a_lease_that_ran_out_and_nobody_took_is_renewed(
    project: Project, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    lease = lease_for(project, ann)
    let_run_out(lease)

    assert lease_for(project, ann).pk == lease.pk
    lease.refresh_from_db()
    assert lease.expires_at > now()


def test_a_heartbeat_extends_a_lease_and_fails_once_it_is_gone(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    lease = lease_for(project, ann)
    let_run_out(lease)

    assert queue.extend_by_ticket(ticket=ticket_of(lease), annotator=ann)
    lease.refresh_from_db()
    assert now() < lease.expires_at <= now() + queue.LEASE_TIME <= now() + timedelta(minutes=5)

    let_run_out(lease)
    lease_for(project, ben)
    assert not queue.extend_by_ticket(ticket=ticket_of(lease), annotator=ann)


def test_a_late_vote_counts_while_a_seat_is_free(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    make_comparison(judgments_wanted=2)
    lease = lease_for(project, ann)
    let_run_out(lease)
    vote(project, ben)  # takes the seat that ran out
    assert not Lease.objects.filter(pk=lease.pk).exists()

    judgment = queue.submit_judgment(ticket=ticket_of(lease), annotator=ann, choice="a1")

    assert judgment.seat == 2
    assert judgment.shown_order == lease.shown_order
    assert judgment.tiers == [lease.shown_order[:1], lease.shown_order[1:]]


def late_vote(project: Project, person: User, others: User) -> Judgment:
    """On a pair that wants one judgment, and that another person judged meanwhile."""
    lease = lease_for(project, person)
    let_run_out(lease)
    vote(project, others)
    return queue.submit_judgment(ticket=ticket_of(lease), annotator=person, choice="a1")


def test_a_late_vote_without_a_seat_is_kept_beside_those_that_count(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    late = late_vote(project, ann, ben)
    # And when the browser sends it again.
    assert queue.submit_judgment(ticket=Ticket(comparison.pk, now()), annotator=ann, choice="b3") == late
    assert (late.seat, late.strength) == (None, 1)
    assert list(Judgment.objects.kept().order_by("pk").values_list("annotator", flat=True)) == [ben.pk, ann.pk]
    assert list(Judgment.objects.standing().values_list("annotator", flat=True)) == [ben.pk]
    assert not late.preferences.exists()
    comparison.refresh_from_db()
    assert (comparison.depth, comparison.closed_at is None) == (1, False)
    assert queue.lease_next(project=project, annotator=ann) is None


def test_a_late_vote_counts_as_soon_as_a_seat_comes_free(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    late = late_vote(project, ann, ben)
    queue.undo_last(project=project, annotator=ben)
    queue.release(project=project, annotator=ben)
    late.refresh_from_db()
    assert late.seat == 1
    assert queue.lease_next(project=project, annotator=ben) is None  # nobody is asked for what has been said
    assert late.preferences.count() == 1
    comparison.refresh_from_db()
    assert (comparison.depth, comparison.closed_at is None) == (1, False)


def test_a_late_vote_counts_when_who_holds_the_seat_skips(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    late = late_vote(project, ann, ben)
    lease = queue.undo_last(project=project, annotator=ben)
    assert lease is not None
    queue.skip(ticket=ticket_of(lease), annotator=ben, reason="unsure")
    late.refresh_from_db()
    assert late.seat == 1


def test_a_late_vote_counts_when_the_lease_on_its_seat_has_run_out_though_nobody_asks(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    late = late_vote(project, ann, ben)
    lease = queue.undo_last(project=project, annotator=ben)
    assert lease is not None
    tasks.seat_late_votes()
    late.refresh_from_db()
    assert late.seat is None  # it is held
    let_run_out(lease)
    tasks.seat_late_votes()
    late.refresh_from_db()
    assert late.seat == 1
    assert late.preferences.count() == 1


def test_of_two_late_votes_the_first_gets_the_seat(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    first = late_vote(project, ann, ben)
    second = queue.submit_judgment(ticket=Ticket(comparison.pk, now()), annotator=make_user("eve"), choice="tie")
    Comparison.objects.filter(pk=comparison.pk).update(judgments_wanted=2, closed_at=None)

    assert queue.lease_next(project=project, annotator=make_user("finn")) is None
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.seat, second.seat) == (2, None)


def test_a_late_vote_can_be_taken_back_where_a_seat_is_free(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    late = late_vote(project, ann, ben)
    with pytest.raises(NoSeatLeftError):
        queue.undo_last(project=project, annotator=ann)
    late.refresh_from_db()
    assert late.withdrawn_at is None

    queue.undo_last(project=project, annotator=ben)
    queue.release(project=project, annotator=ben)
    lease = queue.undo_last(project=project, annotator=ann)
    assert lease is not None
    assert (lease.comparison, lease.seat) == (comparison, 1)
    comparison.refresh_from_db()
    assert comparison.depth == 0


def test_a_vote_sent_twice_is_kept_once(project: Project, ann: User, make_comparison: MakeComparison) -> None:
    comparison = make_comparison(judgments_wanted=2)
    lease = lease_for(project, ann)
    first = queue.submit_judgment(ticket=ticket_of(lease), annotator=ann, choice="a1")
    second = queue.submit_judgment(ticket=ticket_of(lease), annotator=ann, choice="b3")

    assert second == first
    assert Judgment.objects.get().strength == 1
    comparison.refresh_from_db()
    assert comparison.depth == 1


def test_an_unknown_choice_changes_nothing(project: Project, ann: User, make_comparison: MakeComparison) -> None:
    make_comparison()
    lease = lease_for(project, ann)
    with pytest.raises(ValueError, match="no choice"):
        queue.submit_judgment(ticket=ticket_of(lease), annotator=ann, choice="c9")
    assert Lease.objects.filter(pk=lease.pk).exists()
    assert not Judgment.objects.exists()


def test_active_time_is_no_longer_than_the_pair_was_held(
    project: Project, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    lease = lease_for(project, ann)
    Lease.objects.filter(pk=lease.pk).update(leased_at=now() - timedelta(seconds=20))

    judgment = queue.submit_judgment(ticket=ticket_of(lease), annotator=ann, choice="a1", active_seconds=9_999)

    assert judgment.active_seconds == pytest.approx(20, abs=5)  # the clock of a busy machine


def test_undo_takes_the_last_vote_back_and_gives_its_pair_again(
    project: Project, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    make_comparison()
    vote(project, ann)
    last = vote(project, ann)

    lease = queue.undo_last(project=project, annotator=ann)

    assert lease is not None
    assert (lease.comparison, lease.seat, lease.shown_order) == (last.comparison, last.seat, last.shown_order)
    last.refresh_from_db()
    assert last.withdrawn_at is not None
    assert not last.preferences.exists()
    comparison = Comparison.objects.get(pk=last.comparison_id)
    assert (comparison.depth, comparison.closed_at) == (0, None)
    # And it can be judged again.
    assert vote(project, ann, "tie").comparison == comparison
    assert Judgment.objects.standing().count() == 2


def test_undo_twice_goes_back_two_votes_and_gives_the_first_pair_free(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    first, second = make_comparison(), make_comparison()
    vote(project, ann)
    vote(project, ann)

    queue.undo_last(project=project, annotator=ann)
    lease = queue.undo_last(project=project, annotator=ann)

    assert lease is not None
    assert lease.comparison == first
    assert lease_for(project, ben).comparison == second


def test_undo_leaves_other_peoples_votes_and_other_projects_alone(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    vote(project, ben)
    other = Project.objects.create(name="Other", slug="other")
    make_comparison(project=other)
    vote(other, ann)

    assert queue.undo_last(project=project, annotator=ann) is None
    assert Judgment.objects.standing().count() == 2


def test_a_skipped_pair_goes_to_others_and_never_comes_back(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    queue.skip(ticket=ticket_of(lease_for(project, ann)), annotator=ann, reason="too hard")

    assert Skip.objects.get().reason == "too hard"
    assert queue.lease_next(project=project, annotator=ann) is None
    assert lease_for(project, ben).comparison == comparison


def test_a_skip_can_be_undone_while_a_seat_is_free(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    queue.skip(ticket=ticket_of(lease_for(project, ann)), annotator=ann, reason="too hard")
    lease = queue.undo_last(project=project, annotator=ann)
    assert lease is not None
    assert lease.comparison == comparison
    assert not Skip.objects.exists()

    queue.skip(ticket=ticket_of(lease), annotator=ann, reason="too hard")
    vote(project, ben)
    with pytest.raises(NoSeatLeftError):
        queue.undo_last(project=project, annotator=ann)
    assert Skip.objects.exists()


def test_a_ticket_is_good_for_its_person_and_project_only(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    lease = lease_for(project, ann)
    text = Ticket.sign(lease)

    assert Ticket.read(text, project=project, annotator=ann).comparison_id == lease.comparison_id
    other = Project.objects.create(name="Other", slug="other")
    for bad, where, who in ((text, project, ben), (text, other, ann), (text + "x", project, ann), ("", project, ann)):
        with pytest.raises(BadTicketError):
            Ticket.read(bad, project=where, annotator=who)
