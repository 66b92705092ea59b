"""Votes as rows: people who judge pairs in the database, and the numbers computed from them at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from annotation.ballots import Ballot
from annotation.judging import free_seat, lock_comparison, write_judgment
from annotation.models import Comparison, Judgment, Project, User
from annotation.quality.renewing import ask
from annotation.queue import shuffled
from annotation.tasks import compute_quality
from tests.annotation.conftest import MakeComparison

Vote = Callable[..., Judgment]


@pytest.fixture
def vote(transactional: None) -> Vote:
    """One vote as the page would make it: `for_first` (True, False, or None for a tie) of the comparison's answers."""

    def make(comparison: Comparison, person: User, for_first: bool | None, **more: object) -> Judgment:
        locked = lock_comparison(comparison.pk)
        order = shuffled(locked.response_ids, comparison_id=locked.pk, annotator_id=person.pk)
        first_is_a = order[0] == locked.response_ids[0]
        choice = "tie" if for_first is None else "a" if for_first == first_is_a else "b"
        seat = free_seat(locked)
        assert seat is not None
        return write_judgment(
            locked,
            person,
            Ballot(choice=choice).verdict(order),
            **{"seat": seat, "shown_order": order, "active_seconds": 30.0, **more},
        )

    return make


@pytest.fixture
def transactional(db: None) -> None:
    """Tests run in a transaction, which is what locking asks for."""


@pytest.fixture
def compute(project: Project) -> Callable[[], None]:
    """Ask for the numbers of the project and let the worker's task compute them here."""

    def run() -> None:
        ask(project)
        compute_quality(project.pk)

    return run


@pytest.fixture
def judged(project: Project, make_comparison: MakeComparison, vote: Vote, ann: User, ben: User) -> list[Comparison]:
    """Six pairs judged by ann and ben: they agree on four, one is disputed, one tied by one of them."""
    project.overlap = 2
    project.save()
    pairs = [make_comparison() for _ in range(6)]
    for pair, (anns, bens) in zip(
        pairs,
        [(True, True), (False, False), (True, True), (True, True), (True, False), (None, True)],
        strict=True,
    ):
        vote(pair, ann, anns)
        vote(pair, ben, bens)
    return pairs
