"""From rows to arrays."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest

from annotation import gold, hand_out
from annotation.models import Arm, Comparison, Gold, Judgment, Project, User
from annotation.quality.deciding import decide
from annotation.quality.reading import NOT_GOLD, RIGHT_ANSWER, WRONG, read, week_of
from annotation.quality.votes import FIRST, LEFT, RIGHT, SECOND, TIE, UNSEEN
from annotation.queue import Ticket, lease_next, shuffled, submit_judgment
from annotation.services import AnswerIn, record_judgment, rule_judge
from tests.annotation.conftest import MakeComparison
from tests.annotation.quality.conftest import Vote

pytestmark = pytest.mark.django_db


def again(comparison: Comparison, *, turned: bool = False, **more: Any) -> Comparison:
    """The same pair of texts in another comparison."""
    ids = comparison.response_ids
    return Comparison.objects.create(
        project=comparison.project,
        prompt=comparison.prompt,
        response_ids=ids[::-1] if turned else ids,
        purpose=Comparison.Purpose.EVALUATE,
        **more,
    )


def test_votes_are_read_with_their_side_time_and_lengths(
    project: Project, make_comparison: MakeComparison, vote: Vote, ann: User
) -> None:
    pair = make_comparison()
    vote(pair, ann, False, active_seconds=12.5)
    found = read(project)
    order = shuffled(pair.response_ids, comparison_id=pair.pk, annotator_id=ann.pk)
    assert found.votes.outcome_N.tolist() == [SECOND]
    assert found.votes.first_on_N.tolist() == [LEFT if order[0] == pair.response_ids[0] else RIGHT]
    assert found.votes.seconds_N.tolist() == [12.5]
    # "First answer 1" has 14 characters, "Second answer 1" 15; one is added to each, as a text may be empty.
    assert found.votes.log_length_ratio_P.tolist() == pytest.approx([np.log(15 / 16)])
    assert (found.comparison_P, found.person_A) == ([pair.pk], [ann.pk])
    assert (found.gold_N.tolist(), found.is_gold_P.tolist()) == ([NOT_GOLD], [False])


def test_votes_are_sorted_by_pair_and_their_order_in_time_is_kept(
    project: Project, make_comparison: MakeComparison, vote: Vote, ann: User, ben: User
) -> None:
    early, late = make_comparison(judgments_wanted=2), make_comparison(judgments_wanted=2)
    for pair, person, for_first in ((early, ann, True), (late, ann, None), (early, ben, False), (late, ben, True)):
        vote(pair, person, for_first)
    found = read(project)
    assert found.votes.pair_N.tolist() == [0, 0, 1, 1]
    assert found.votes.outcome_N.tolist() == [FIRST, SECOND, TIE, FIRST]
    assert found.votes.outcome_N[found.order_N].tolist() == [FIRST, TIE, SECOND, FIRST]


def test_a_rule_saw_no_sides(project: Project, make_comparison: MakeComparison) -> None:
    pair = make_comparison()
    record_judgment(
        comparison=pair, annotator=rule_judge("some-rule"), tiers=[pair.response_ids[:1], pair.response_ids[1:]]
    )
    assert read(project).votes.first_on_N.tolist() == [UNSEEN]


def test_the_same_texts_in_another_comparison_are_a_repeat_and_no_new_vote(
    project: Project, make_comparison: MakeComparison, vote: Vote, ann: User, ben: User
) -> None:
    pair = make_comparison()
    other = again(pair, turned=True, judgments_wanted=2)
    vote(pair, ann, True)
    vote(other, ann, False)  # the same answer as before: it stands second here
    vote(other, ben, True)
    found = read(project)
    assert found.votes.pairs == 1
    assert found.votes.outcome_N.tolist() == [FIRST, SECOND]
    assert found.repeats.same_R.tolist() == [1]
    assert found.repeats.annotator_R.tolist() == [found.person_A.index(ann.pk)]


def test_a_changed_mind_is_a_repeat_that_differs(
    project: Project, make_comparison: MakeComparison, vote: Vote, ann: User
) -> None:
    pair = make_comparison()
    vote(pair, ann, True)
    vote(again(pair), ann, None)
    assert read(project).repeats.same_R.tolist() == [0]


def test_withdrawn_votes_and_decisions_are_not_votes(
    project: Project, make_comparison: MakeComparison, vote: Vote, ann: User, ben: User, manager: User
) -> None:
    pair = make_comparison(judgments_wanted=2)
    taken_back = vote(pair, ann, True)
    vote(pair, ben, False)
    decide(comparison_id=pair.pk, reviewer=manager, choice="tie")
    Judgment.objects.filter(pk=taken_back.pk).update(withdrawn_at=datetime.now(UTC))
    found = read(project)
    assert (found.person_A, found.votes.outcome_N.tolist()) == ([ben.pk], [SECOND])


def work_off(project: Project, person: User, choice: str) -> Judgment:
    """What the queue hands to this person, answered."""
    lease = lease_next(project=project, annotator=person)
    assert lease is not None
    ticket = Ticket(lease.comparison_id, lease.leased_at)
    return submit_judgment(ticket=ticket, annotator=person, choice=choice)


def test_gold_of_the_queue_is_right_or_wrong_by_its_known_answer(project: Project, vote: Vote, ann: User) -> None:
    asked = [{"role": "user", "content": "Two and two?"}]
    golds = [
        gold.add(project=project, messages=asked, answers=[AnswerIn(f"Four {n}."), AnswerIn(f"Five {n}.")], preferred=0)
        for n in range(2)
    ]
    right, wrong = (Comparison.objects.get(pk=one.comparison_id) for one in golds)
    four = golds[0].expected[0][0]
    vote(right, ann, right.response_ids[0] == four, arm=Arm.GOLD)
    vote(wrong, ann, wrong.response_ids[0] != golds[1].expected[0][0], arm=Arm.GOLD)
    found = read(project)
    assert found.gold_N.tolist() == [RIGHT_ANSWER, WRONG]
    assert found.is_gold_P.tolist() == [True, True]
    right_N = found.votes.outcome_N * np.array([1, -1])
    assert found.votes.expected_P.tolist() == right_N.tolist()


def test_what_gold_expects_is_told_of_the_pair_as_it_was_first_seen(
    project: Project, vote: Vote, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    """Ben's vote is for the first answer of the pair, gold says the same of it where it stands second."""
    seen = make_comparison()
    vote(seen, ben, True)
    known = again(seen, turned=True)
    Comparison.objects.filter(pk=known.pk).update(purpose=Comparison.Purpose.GOLD)
    Gold.objects.create(comparison=known, expected=[[pk] for pk in seen.response_ids])
    vote(known, ann, True, arm=Arm.GOLD)
    found = read(project)
    assert found.votes.outcome_N.tolist() == [FIRST, SECOND]
    assert found.votes.expected_P.tolist() == [FIRST]
    assert found.gold_N.tolist() == [NOT_GOLD, WRONG]


def test_practice_is_no_vote(project: Project, vote: Vote, ann: User) -> None:
    asked = [{"role": "user", "content": "Two and two?"}]
    known = gold.add(
        project=project,
        messages=asked,
        answers=[AnswerIn("Four."), AnswerIn("Five.")],
        preferred=0,
        purpose=Comparison.Purpose.PRACTICE,
    )
    vote(Comparison.objects.get(pk=known.comparison_id), ann, True, arm=Arm.PRACTICE)
    assert read(project).votes.pairs == 0


def test_what_the_queue_drew_by_lot_is_known_as_such(
    project: Project, make_comparison: MakeComparison, ann: User
) -> None:
    make_comparison()
    make_comparison()
    Project.objects.filter(pk=project.pk).update(gold_share=0, repeat_share=0, random_share=100)
    project.refresh_from_db()
    assert work_off(project, ann, "a").arm == Arm.RANDOM
    Judgment.objects.filter(pk=work_off(project, ann, "b").pk).update(arm=Arm.ORDER)
    assert read(project).votes.is_drawn_N.tolist() == [True, False]


def test_a_hidden_repeat_of_the_queue_tells_of_consistency(
    project: Project, make_comparison: MakeComparison, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue hands a pair out again with its sides swapped: the same side is then the other answer."""
    monkeypatch.setattr(hand_out, "REPEAT_AFTER", 0)
    monkeypatch.setattr(hand_out, "drawn_arms", lambda project: [Arm.REPEAT, Arm.ORDER])
    make_comparison()
    first = work_off(project, ann, "a")
    again = work_off(project, ann, "a")
    assert (again.arm, again.comparison.repeat_of_id) == (Arm.REPEAT, first.comparison_id)
    found = read(project)
    assert found.votes.pairs == 1
    assert found.repeats.same_R.tolist() == [0]


def test_a_project_without_votes_reads_as_nothing(project: Project) -> None:
    found = read(project)
    assert (found.votes.pairs, len(found.votes.pair_N), len(found.repeats.same_R)) == (0, 0, 0)


def test_the_number_of_queries_does_not_grow(
    project: Project, judged: list[Comparison], django_assert_num_queries: Any
) -> None:
    assert len(judged) == 6
    with django_assert_num_queries(5):  # answers, prompts, sources, gold, votes
        read(project)


def test_a_week_begins_on_monday() -> None:
    monday = date(2026, 3, 2).toordinal()
    moments = [
        datetime(2026, 3, 2, tzinfo=UTC),
        datetime(2026, 3, 8, 23, 59, tzinfo=UTC),
        datetime(2026, 3, 9, tzinfo=UTC),
    ]
    assert [week_of(moment) for moment in moments] == [monday, monday, monday + 7]
