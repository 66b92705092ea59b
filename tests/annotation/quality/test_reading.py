"""From rows to arrays."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest

from annotation.models import Comparison, Judgment, Project, User
from annotation.quality.deciding import decide
from annotation.quality.reading import UNKNOWN, read, week_of
from annotation.quality.votes import FIRST, LEFT, RIGHT, SECOND, TIE, UNSEEN
from annotation.queue import shuffled
from annotation.services import record_judgment, rule_judge
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
    assert found.known_P.tolist() == [UNKNOWN]


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


def test_the_right_answer_of_a_gold_pair_is_what_a_reviewer_decided(
    project: Project, make_comparison: MakeComparison, vote: Vote, ann: User, manager: User
) -> None:
    pair, plain = make_comparison(), make_comparison()
    for each in (pair, plain):
        vote(each, ann, True)
        decide(comparison_id=each.pk, reviewer=manager, choice="tie")
    Comparison.objects.filter(pk=pair.pk).update(purpose=Comparison.Purpose.GOLD)
    assert read(project).known_P.tolist() == [TIE, UNKNOWN]


def test_a_project_without_votes_reads_as_nothing(project: Project) -> None:
    found = read(project)
    assert (found.votes.pairs, len(found.votes.pair_N), len(found.repeats.same_R)) == (0, 0, 0)


def test_the_number_of_queries_does_not_grow(
    project: Project, judged: list[Comparison], django_assert_num_queries: Any
) -> None:
    assert len(judged) == 6
    with django_assert_num_queries(4):  # answers, prompts, votes, gold
        read(project)


def test_a_week_begins_on_monday() -> None:
    monday = date(2026, 3, 2).toordinal()
    moments = [
        datetime(2026, 3, 2, tzinfo=UTC),
        datetime(2026, 3, 8, 23, 59, tzinfo=UTC),
        datetime(2026, 3, 9, tzinfo=UTC),
    ]
    assert [week_of(moment) for moment in moments] == [monday, monday, monday + 7]
