"""What must always hold holds in the database itself, whoever writes and however."""

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils.timezone import now

from annotation.models import Comparison, Judgment, Preference, User
from annotation.services import record_judgment
from tests.annotation.conftest import MakeComparison

INSERT = """
INSERT INTO annotation_judgment (comparison_id, annotator_id, seat, seats, tiers, both_bad, reason, shown_order,
                                 active_seconds, created_at)
VALUES (%s, %s, %s, %s, '[]', false, '', '{}', 0, now())
"""


def insert(comparison: Comparison, annotator: User, *, seat: int, seats: int) -> None:
    """A judgment written past all code. Deferred constraints speak at once."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(INSERT, [comparison.pk, annotator.pk, seat, seats])
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_the_insert_of_these_tests_works(make_comparison: MakeComparison, ann: User) -> None:
    insert(make_comparison(judgments_wanted=2), ann, seat=2, seats=2)
    assert Judgment.objects.count() == 1


@pytest.mark.parametrize(
    ("seat", "seats", "constraint"),
    [
        (1, 2, "one_judgment_per_seat"),  # ben's seat
        (3, 2, "seat_within_wanted"),
        (0, 2, "seat_within_wanted"),
        (3, 3, "judgment_seats_are_the_wanted_number"),  # a lie about how many are wanted
    ],
)
def test_no_comparison_gets_more_judgments_than_it_wants(
    make_comparison: MakeComparison, ann: User, ben: User, seat: int, seats: int, constraint: str
) -> None:
    comparison = make_comparison(judgments_wanted=2)
    insert(comparison, ben, seat=1, seats=2)
    with pytest.raises(IntegrityError, match=constraint):
        insert(comparison, ann, seat=seat, seats=seats)
    assert Judgment.objects.count() == 1


def test_nobody_judges_a_comparison_twice(make_comparison: MakeComparison, ann: User) -> None:
    comparison = make_comparison(judgments_wanted=2)
    insert(comparison, ann, seat=1, seats=2)
    with pytest.raises(IntegrityError, match="one_judgment_per_person_and_comparison"):
        insert(comparison, ann, seat=2, seats=2)


def test_the_wanted_number_cannot_fall_below_a_seat_that_is_taken(make_comparison: MakeComparison, ann: User) -> None:
    comparison = make_comparison(judgments_wanted=3)
    insert(comparison, ann, seat=3, seats=3)
    with pytest.raises(IntegrityError, match="seat_within_wanted"), transaction.atomic():
        Comparison.objects.filter(pk=comparison.pk).update(judgments_wanted=2)


def test_a_withdrawn_judgment_leaves_its_seat(make_comparison: MakeComparison, ann: User, ben: User) -> None:
    comparison = make_comparison()
    insert(comparison, ann, seat=1, seats=1)
    Judgment.objects.update(withdrawn_at=now())
    insert(comparison, ben, seat=1, seats=1)
    assert Judgment.objects.standing().get().annotator == ben


def test_one_set_of_answers_is_one_comparison(make_comparison: MakeComparison) -> None:
    comparison = make_comparison()
    with pytest.raises(IntegrityError, match="one_collected_comparison_per_set_of_answers"), transaction.atomic():
        Comparison.objects.create(
            project=comparison.project, prompt=comparison.prompt, response_ids=comparison.response_ids
        )


def test_a_preference_needs_two_different_responses(make_comparison: MakeComparison, ann: User) -> None:
    comparison = make_comparison()
    first, second = comparison.response_ids
    record_judgment(comparison=comparison, annotator=ann, tiers=[[first], [second]])
    with pytest.raises(IntegrityError, match="chosen_differs_from_rejected"), transaction.atomic():
        Preference.objects.update(rejected=first)
