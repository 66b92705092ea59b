"""What is handed out next: the order, the arms, gold, hidden repeats, and nobody's own answers."""

import itertools
import random
from collections import Counter
from decimal import Decimal
from types import SimpleNamespace

import pytest
from django.db import IntegrityError, transaction

from annotation import gold, hand_out, queue
from annotation.judging import Verdict
from annotation.models import Arm, Comparison, Gold, Judgment, Lease, Preference, Project, Response, User
from annotation.queue import Ticket
from annotation.services import create_project
from tests.annotation.conftest import MakeComparison
from tests.annotation.test_queue import lease_for, let_run_out, ticket_of, vote

Purpose = Comparison.Purpose


@pytest.fixture
def arms(monkeypatch: pytest.MonkeyPatch) -> list[Arm]:
    """The arms that the next hand-outs draw, in turn; when they are used up, the order."""
    drawn: list[Arm] = []
    monkeypatch.setattr(hand_out, "drawn_arms", lambda project: [drawn.pop(0) if drawn else Arm.ORDER])
    return drawn


def make_gold(comparison: Comparison, *, purpose: Purpose = Purpose.GOLD, explanation: str = "") -> Gold:
    first, second = comparison.response_ids
    return gold.mark(
        comparison=comparison, verdict=Verdict([[first], [second]]), purpose=purpose, explanation=explanation
    )


def test_breadth_comes_before_depth_then_priority_then_age(
    project: Project, arms: list[Arm], ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    old = make_comparison(judgments_wanted=2)
    young = make_comparison(judgments_wanted=2)
    urgent = make_comparison(judgments_wanted=2, priority=5)

    assert [vote(project, ann).comparison for _ in range(2)] == [urgent, old]
    # For ben: the one that nobody has judged although it is young, and of the others the urgent one.
    assert [vote(project, ben).comparison for _ in range(3)] == [young, urgent, old]


def test_every_vote_remembers_its_arm(
    project: Project, arms: list[Arm], ann: User, make_comparison: MakeComparison
) -> None:
    for _ in range(2):
        make_comparison()
    make_gold(make_comparison())
    arms += [Arm.GOLD, Arm.RANDOM, Arm.ORDER]

    votes = [vote(project, ann) for _ in range(3)]

    kept = [Judgment.objects.get(pk=one.pk).arm for one in votes]
    assert kept == [Arm.GOLD, Arm.RANDOM, Arm.ORDER]


def test_an_undone_vote_keeps_its_arm(
    project: Project, arms: list[Arm], ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    arms += [Arm.RANDOM]
    vote(project, ann)
    lease = queue.undo_last(project=project, annotator=ann)
    assert lease is not None
    assert lease.arm == Arm.RANDOM


def test_arms_are_drawn_at_their_rates(db: None) -> None:
    project = Project(gold_share=20, repeat_share=10, random_share=30)
    dice = random.Random(7)
    drawn = Counter(tuple(hand_out.drawn_arms(project, dice)) for _ in range(20_000))  # type: ignore[arg-type]

    def share(wanted: Arm) -> float:
        return sum(count for arms, count in drawn.items() if wanted in arms) / 20_000

    # Four standard deviations of the largest of them are 0.013.
    assert share(Arm.GOLD) == pytest.approx(0.20, abs=0.013)
    assert share(Arm.REPEAT) == pytest.approx(0.10, abs=0.013)
    assert drawn[Arm.RANDOM,] / 20_000 == pytest.approx(0.30, abs=0.013)
    both = [arms for arms in drawn if Arm.GOLD in arms and Arm.REPEAT in arms]
    assert both
    assert all(arms[:2] == (Arm.GOLD, Arm.REPEAT) for arms in both)
    assert {arms[-1] for arms in drawn} == {Arm.RANDOM, Arm.ORDER}


@pytest.mark.parametrize(("gold", "repeats"), [(0, 0), (20, 0), (50, 20), (50, 50)])
def test_a_tenth_of_all_hand_outs_is_random_however_much_is_checked(gold: int, repeats: int) -> None:
    """Over all throws of two dice of ten faces and one of forty, where gold and repeats never run out."""
    project = Project(gold_share=gold, repeat_share=repeats, random_share=10)
    ten, forty = ([(n + 0.5) / faces for n in range(faces)] for faces in (10, 40))
    first = Counter(
        hand_out.drawn_arms(project, SimpleNamespace(random=iter(throw).__next__))[0]  # type: ignore[arg-type]
        for throw in itertools.product(ten, ten, forty)
    )
    assert (first[Arm.RANDOM], first.total()) == (400, 4_000)


def test_the_random_share_is_never_set_below_a_tenth(project: Project) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Project.objects.filter(pk=project.pk).update(random_share=9)


def test_the_random_arm_draws_from_all_that_is_open_alike(
    project: Project, monkeypatch: pytest.MonkeyPatch, ann: User, make_comparison: MakeComparison
) -> None:
    """Ten comparisons with lots a tenth apart: each is drawn where the point falls just before its lot."""
    made = [make_comparison() for _ in range(10)]
    for n, comparison in enumerate(made):
        Comparison.objects.filter(pk=comparison.pk).update(lot=(n + 0.5) / 10)
    monkeypatch.setattr(hand_out, "drawn_arms", lambda project: [Arm.RANDOM])
    points = iter([0.32, 0.99, 0.32])
    monkeypatch.setattr(hand_out._dice, "random", lambda: next(points))

    got = []
    for _ in range(3):
        got.append(lease_for(project, ann).comparison)
        queue.submit_judgment(ticket=ticket_of(Lease.objects.get()), annotator=ann, choice="tie")

    assert got == [made[3], made[0], made[4]]  # from the point on; round; and past what is judged


def test_lots_are_drawn_by_the_database_in_its_full_range(project: Project, make_comparison: MakeComparison) -> None:
    comparison = make_comparison()
    rows = [
        Comparison(project=project, prompt=comparison.prompt, response_ids=[n, n + 1_000_000]) for n in range(1, 401)
    ]
    Comparison.objects.bulk_create(rows)
    lots = list(Comparison.objects.exclude(pk=comparison.pk).values_list("lot", flat=True))
    assert len(set(lots)) == 400
    assert all(0 <= lot < 1 for lot in lots)
    assert sum(lots) / 400 == pytest.approx(0.5, abs=0.06)  # four standard deviations of the mean of 400


@pytest.mark.parametrize(("overlap", "twice"), [("1", 0), ("1.2", 0.2), ("2", 1), ("1.75", 0.75)])
def test_a_fractional_overlap_asks_for_a_second_judgment_of_that_share(overlap: str, twice: float) -> None:
    project = Project(overlap=Decimal(overlap))
    wanted = Counter(project.wanted_for([n, n + 1]) for n in range(4_000))
    assert set(wanted) <= {1, 2}
    # Four standard deviations of a share of 4,000 draws are 0.032 at most.
    assert wanted[2] / 4_000 == pytest.approx(twice, abs=0.032 if 0 < twice < 1 else 0)


def test_the_fraction_is_drawn_once_for_a_set_of_answers(project: Project, make_comparison: MakeComparison) -> None:
    Project.objects.update(overlap=Decimal("1.5"))
    project.refresh_from_db()
    assert project.overlap == Decimal("1.5")
    wanted = []
    for _ in range(20):
        comparison = make_comparison(project=project)
        assert comparison.judgments_wanted == project.wanted_for(reversed(comparison.response_ids))
        wanted.append(comparison.judgments_wanted)
    assert set(wanted) == {1, 2}


def test_gold_makes_no_preference_and_is_not_counted_as_work(
    project: Project, arms: list[Arm], ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    known = make_gold(make_comparison())
    arms += [Arm.GOLD]

    judgment = vote(project, ann)

    assert judgment.comparison == known.comparison
    assert not Preference.objects.exists()
    assert Project.objects.with_progress().get().judgments_done == 0
    assert Project.objects.with_progress().get().judgments_wanted == 1
    vote(project, ann)
    assert Preference.objects.count() == 1


def test_everybody_gets_gold_and_nobody_twice(
    project: Project, arms: list[Arm], ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    known = make_gold(make_comparison())
    work = make_comparison(judgments_wanted=2)
    for person in (ann, ben):
        arms[:] = [Arm.GOLD, Arm.GOLD]
        assert [vote(project, person).comparison for _ in range(2)] == [known.comparison, work]


def test_gold_hides_that_it_is_gold(
    project: Project, arms: list[Arm], ann: User, make_comparison: MakeComparison
) -> None:
    make_gold(make_comparison())
    arms += [Arm.GOLD]
    lease = lease_for(project, ann)
    import base64

    body = Ticket.sign(lease).split(":")[0]
    assert "gold" not in base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode(errors="replace")


def test_a_pair_nobody_has_judged_leaves_the_work_for_gold(
    project: Project, arms: list[Arm], ann: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    known = make_gold(comparison)
    assert known.comparison == comparison
    assert queue.lease_next(project=project, annotator=ann) is None


def test_a_judged_pair_is_copied_and_its_judges_never_get_the_copy(
    project: Project, arms: list[Arm], ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    vote(project, ann)
    known = make_gold(comparison)

    assert known.comparison != comparison
    assert known.comparison.response_ids == comparison.response_ids
    assert Preference.objects.count() == 1  # the vote of before counts on
    for _ in range(2):
        arms[:] = [Arm.GOLD]
        assert queue.lease_next(project=project, annotator=ann) is None
    arms[:] = [Arm.GOLD]
    assert lease_for(project, ben).comparison == known.comparison


def test_a_pair_in_the_middle_of_being_judged_cannot_become_gold(
    project: Project, ann: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison(judgments_wanted=2)
    vote(project, ann)
    with pytest.raises(gold.StillOpenError):
        make_gold(comparison)
    comparison.refresh_from_db()
    assert comparison.purpose == Purpose.COLLECT
    held = make_comparison()
    lease_for(project, ann)
    with pytest.raises(gold.StillOpenError):
        make_gold(held)


def test_marked_again_gold_gets_the_new_answer(project: Project, make_comparison: MakeComparison) -> None:
    comparison = make_comparison()
    make_gold(comparison)
    verdict = Verdict([comparison.response_ids])
    again = gold.mark(comparison=comparison, verdict=verdict, explanation="The same, really.")
    assert Gold.objects.get() == again
    assert (again.expected, again.explanation) == ([comparison.response_ids], "The same, really.")


def judge_many(project: Project, person: User, count: int) -> list[Judgment]:
    return [vote(project, person) for _ in range(count)]


def test_a_repeat_is_an_own_pair_of_long_ago_with_the_sides_swapped(
    project: Project, arms: list[Arm], ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    for _ in range(hand_out.REPEAT_AFTER + 3):
        make_comparison(judgments_wanted=2)
    first = judge_many(project, ann, hand_out.REPEAT_AFTER + 1)[0]
    arms += [Arm.REPEAT]

    lease = lease_for(project, ann)

    again = lease.comparison
    assert (again.purpose, again.repeat_of, again.only_for) == (Purpose.REPEAT, first.comparison, ann)
    assert again.response_ids == first.comparison.response_ids
    assert lease.shown_order == first.shown_order[::-1]
    assert lease.arm == Arm.REPEAT
    before = Preference.objects.count()
    queue.submit_judgment(ticket=ticket_of(lease), annotator=ann, choice="b1")
    assert Preference.objects.count() == before  # never counted as a preference twice
    arms += [Arm.REPEAT]
    assert lease_for(project, ben).comparison.purpose == Purpose.COLLECT


def test_too_early_for_a_repeat_the_work_goes_on(
    project: Project, arms: list[Arm], ann: User, make_comparison: MakeComparison
) -> None:
    for _ in range(hand_out.REPEAT_AFTER + 1):
        make_comparison()
    judge_many(project, ann, hand_out.REPEAT_AFTER)
    arms += [Arm.REPEAT]
    assert lease_for(project, ann).comparison.purpose == Purpose.COLLECT


def test_a_pair_is_repeated_once_and_a_repeat_never(
    project: Project, arms: list[Arm], ann: User, make_comparison: MakeComparison
) -> None:
    for _ in range(hand_out.REPEAT_AFTER + 4):
        make_comparison()
    judge_many(project, ann, hand_out.REPEAT_AFTER + 1)
    arms += [Arm.REPEAT] * 3
    got = [vote(project, ann).comparison for _ in range(3)]
    repeats = [one.repeat_of_id for one in got if one.purpose == Purpose.REPEAT]
    assert len(repeats) == len(set(repeats)) >= 2
    assert not Comparison.objects.filter(repeat_of__purpose=Purpose.REPEAT).exists()


def test_a_repeat_that_was_let_go_comes_again_to_its_person_only(
    project: Project, arms: list[Arm], ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    for _ in range(hand_out.REPEAT_AFTER + 2):
        make_comparison(judgments_wanted=2)
    judge_many(project, ann, hand_out.REPEAT_AFTER + 1)
    arms += [Arm.REPEAT]
    again = lease_for(project, ann).comparison
    queue.release(project=project, annotator=ann)

    assert lease_for(project, ben).comparison != again
    arms[:] = [Arm.REPEAT]
    assert lease_for(project, ann).comparison == again
    assert Comparison.objects.filter(purpose=Purpose.REPEAT).count() == 1


def test_a_late_vote_on_a_repeat_means_what_was_shown(
    project: Project, arms: list[Arm], ann: User, make_comparison: MakeComparison
) -> None:
    for _ in range(hand_out.REPEAT_AFTER + 2):
        make_comparison()
    judge_many(project, ann, hand_out.REPEAT_AFTER + 1)
    arms += [Arm.REPEAT]
    lease = lease_for(project, ann)
    Lease.objects.all().delete()

    judgment = queue.submit_judgment(ticket=ticket_of(lease), annotator=ann, choice="a1")

    assert judgment.shown_order == lease.shown_order
    assert judgment.tiers[0] == lease.shown_order[:1]
    assert judgment.arm == Arm.REPEAT


def test_a_late_vote_without_its_lease_does_not_count_as_drawn(
    project: Project, arms: list[Arm], ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    arms += [Arm.RANDOM]
    lease = lease_for(project, ann)
    let_run_out(lease)
    Lease.objects.all().delete()
    assert queue.submit_judgment(ticket=ticket_of(lease), annotator=ann, choice="a1").arm == Arm.ORDER


@pytest.mark.parametrize("arm", [Arm.ORDER, Arm.RANDOM])
def test_nobody_judges_an_answer_they_wrote_or_edited(
    project: Project, arms: list[Arm], ann: User, ben: User, make_comparison: MakeComparison, arm: Arm
) -> None:
    comparison = make_comparison()
    Response.objects.filter(pk=comparison.response_ids[1]).update(written_by=ann)
    arms += [arm, arm]
    assert queue.lease_next(project=project, annotator=ann) is None
    assert lease_for(project, ben).comparison == comparison


def test_nobody_checks_themselves_with_gold_they_wrote(
    project: Project, arms: list[Arm], ann: User, make_comparison: MakeComparison
) -> None:
    known = make_gold(make_comparison())
    Response.objects.filter(pk=known.comparison.response_ids[0]).update(written_by=ann)
    arms += [Arm.GOLD]
    assert queue.lease_next(project=project, annotator=ann) is None


def test_who_has_judged_the_head_of_the_queue_still_gets_the_rest(
    project: Project,
    arms: list[Arm],
    monkeypatch: pytest.MonkeyPatch,
    ann: User,
    ben: User,
    make_comparison: MakeComparison,
) -> None:
    """With a view of three rows, of which none is for ann, she is served by a draw; it does not count as random."""
    monkeypatch.setattr(hand_out, "MOST_LOOKED_AT", 3)
    made = [make_comparison(judgments_wanted=2) for _ in range(5)]
    judge_many(project, ann, 3)
    for _ in range(2):  # what was left of the first depth is ben's, so that the head of the next is what ann has judged
        vote(project, ben)
    got = [vote(project, ann) for _ in range(2)]
    assert {one.comparison for one in got} == set(made[3:])
    assert {one.arm for one in got} == {Arm.ORDER}
    assert queue.lease_next(project=project, annotator=ann) is None


def test_another_projects_gold_and_repeats_stay_there(
    project: Project, arms: list[Arm], ann: User, make_comparison: MakeComparison
) -> None:
    other = create_project(name="Other", manager=ann)
    for _ in range(hand_out.REPEAT_AFTER + 2):
        make_comparison()
    judge_many(project, ann, hand_out.REPEAT_AFTER + 2)
    make_gold(make_comparison())
    arms += [Arm.GOLD, Arm.REPEAT]
    assert queue.lease_next(project=other, annotator=ann) is None
    assert queue.lease_next(project=other, annotator=ann) is None
