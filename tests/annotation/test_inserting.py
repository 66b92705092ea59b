"""Rows that are written by a statement put into words once."""

from datetime import timedelta

import pytest
from django.utils.timezone import now

from annotation.inserting import insert
from annotation.models import Comparison, Judgment, Lease, User
from tests.annotation.conftest import MakeComparison


@pytest.fixture
def comparison(make_comparison: MakeComparison) -> Comparison:
    return make_comparison(judgments_wanted=2)


def written(comparison: Comparison, annotator: User, **more: object) -> dict[str, object]:
    """What stands in the table for a judgment with these values, without its id."""
    judgment = Judgment(
        comparison=comparison,
        annotator=annotator,
        seats=comparison.judgments_wanted,
        tiers=[[pk] for pk in comparison.response_ids],
        shown_order=comparison.response_ids,
        acceptable={"7": True},
        aspects={"helpful; DROP TABLE": [[1], [2]]},
        tags=["it's", 'a "tag", {with} \\ everything'],
        reason="100 % of 'this'",
        arm="random",
        **more,
    )
    insert([judgment])
    assert judgment.pk
    assert not judgment._state.adding
    values = Judgment.objects.filter(pk=judgment.pk).values().get()
    expected = {field.attname: getattr(judgment, field.attname) for field in Judgment._meta.concrete_fields}
    assert values == expected
    return values


def test_a_row_is_written_as_it_was_given(comparison: Comparison, ann: User) -> None:
    values = written(comparison, ann, seat=1, strength=2, active_seconds=1.25)
    assert values["tags"] == ["it's", 'a "tag", {with} \\ everything']
    assert values["acceptable"] == {"7": True}


def test_nothing_is_written_as_nothing(comparison: Comparison, ann: User) -> None:
    values = written(comparison, ann, seat=None)
    assert values["seat"] is None
    assert values["withdrawn_at"] is None


def test_several_rows_get_their_own_ids(comparison: Comparison, ann: User, ben: User) -> None:
    leases = [
        Lease(comparison=comparison, annotator=person, seat=seat, shown_order=[seat], arm="", expires_at=now() + age)
        for seat, (person, age) in enumerate(((ann, timedelta(hours=1)), (ben, timedelta(hours=2))), start=1)
    ]
    insert(leases)
    there = {lease.pk: (lease.annotator_id, lease.seat, lease.expires_at) for lease in Lease.objects.all()}
    assert there == {lease.pk: (lease.annotator_id, lease.seat, lease.expires_at) for lease in leases}


def test_no_rows_are_no_statement(db: None) -> None:
    insert([])
    assert not Lease.objects.exists()
