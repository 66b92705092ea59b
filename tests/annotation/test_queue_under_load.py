"""Many people at once, each with a connection of their own: nothing is judged too often, twice, or lost."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils.timezone import now

from annotation import gold, queue
from annotation.judging import NoSeatLeftError, Verdict, free_seat, lock_comparison
from annotation.models import Comparison, Judgment, Lease, Preference, Project, Role, User
from annotation.queue import Ticket
from annotation.services import set_role
from tests.annotation.conftest import MakeComparison, make_user
from tests.at_once import wait_for_somebody_who_waits

pytestmark = pytest.mark.django_db(transaction=True)


def run_together(jobs: list[Callable[[], None]]) -> None:
    """Run all jobs at the same moment, each in a thread with its own connection; raise what one of them raised."""
    start, problems = threading.Barrier(len(jobs)), []

    def run(job: Callable[[], None]) -> None:
        try:
            start.wait(timeout=30)
            job()
        except Exception as problem:  # noqa: BLE001  raised again below
            problems.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads), "somebody waits for ever"
    if problems:
        raise problems[0]


def people(project: Project, count: int) -> list[User]:
    crowd = [make_user(f"person{n}") for n in range(count)]
    for person in crowd:
        set_role(project=project, person=person, role=Role.ANNOTATOR)
    return crowd


def label_everything(project: Project, person: User, said: set[tuple[int, int]]) -> None:
    """Judge until nothing is left; now and then wander off and let the lease run out, or come back late, or undo.

    `said` gets (comparison, person) of every vote that is not taken back.
    """
    dice = random.Random(person.pk)
    while lease := queue.lease_next(project=project, annotator=person):
        ticket, fate = Ticket(lease.comparison_id, lease.leased_at), dice.random()
        if fate < 0.15:
            Lease.objects.filter(pk=lease.pk).update(expires_at=now() - timedelta(seconds=1))
            if fate < 0.1:
                continue
            time.sleep(0.05)
        queue.submit_judgment(ticket=ticket, annotator=person, choice=dice.choice(["a1", "b2", "tie"]))
        said.add((lease.comparison_id, person.pk))
        if fate > 0.95:
            with suppress(NoSeatLeftError):
                undone = queue.undo_last(project=project, annotator=person)
                said.discard((undone.comparison_id if undone else 0, person.pk))


def test_a_lease_that_is_renewed_while_it_is_reclaimed_keeps_its_seat(
    project: Project, ann: User, make_comparison: MakeComparison
) -> None:
    """The one who reclaims has seen it run out, waits for the renewal, and must not take its seat for free then."""
    comparison = make_comparison()
    lease = queue.lease_next(project=project, annotator=ann)
    assert lease is not None
    Lease.objects.filter(pk=lease.pk).update(expires_at=now() - timedelta(seconds=1))
    seats: list[int | None] = []

    def reclaim() -> None:
        with transaction.atomic():
            seats.append(free_seat(lock_comparison(comparison.pk)))
        connection.close()

    reclaimer = threading.Thread(target=reclaim)
    with transaction.atomic():
        assert queue.extend(lease_id=lease.pk, annotator=ann)
        reclaimer.start()
        wait_for_somebody_who_waits()
    reclaimer.join(timeout=60)

    assert seats == [None]
    assert Lease.objects.filter(pk=lease.pk).exists()


def test_a_crowd_fills_every_seat_once(project: Project, make_comparison: MakeComparison) -> None:
    comparisons = [make_comparison(judgments_wanted=3) for _ in range(12)]
    crowd = people(project, 8)
    said: set[tuple[int, int]] = set()

    run_together([lambda person=person: label_everything(project, person, said) for person in crowd])
    for person in crowd:  # what somebody let go last is there for those who come back
        label_everything(project, person, said)

    kept = Judgment.objects.kept()
    assert Counter(kept.values_list("comparison", "annotator")) == Counter(said)
    standing = Judgment.objects.standing()
    assert standing.count() == 36
    assert set(Counter(standing.values_list("comparison", flat=True)).values()) == {3}
    assert set(Comparison.objects.values_list("depth", flat=True)) == {3}
    assert Comparison.objects.still_open().count() == 0
    assert Preference.objects.count() == sum(len(judgment.tiers) == 2 for judgment in standing)
    assert Preference.objects.exclude(judgment__in=standing).count() == 0
    assert len(comparisons) == 12


def test_of_many_who_want_the_last_seat_one_gets_it(project: Project, make_comparison: MakeComparison) -> None:
    make_comparison()
    crowd = people(project, 8)
    got: list[Lease | None] = []

    run_together([lambda p=person: got.append(queue.lease_next(project=project, annotator=p)) for person in crowd])

    assert len(got) == 8
    assert sum(lease is not None for lease in got) == 1


def test_nobody_is_told_that_nothing_is_left_while_another_only_locks_it(
    project: Project, make_comparison: MakeComparison
) -> None:
    make_comparison(judgments_wanted=8)
    crowd = people(project, 8)
    got: list[Lease | None] = []

    run_together([lambda p=person: got.append(queue.lease_next(project=project, annotator=p)) for person in crowd])

    assert sorted(lease.seat for lease in got if lease) == list(range(1, 9))


@contextmanager
def locked_by_another(comparisons: list[Comparison]) -> Iterator[Callable[[], None]]:
    """Inside, another connection has these locked, until the function that it gives is called, or to the end."""
    locked, let_go = threading.Event(), threading.Event()

    def lock() -> None:
        with transaction.atomic():
            for comparison in comparisons:
                lock_comparison(comparison.pk)
            locked.set()
            let_go.wait(timeout=30)
        connection.close()

    other = threading.Thread(target=lock)
    other.start()
    assert locked.wait(timeout=30)
    try:
        yield let_go.set
    finally:
        let_go.set()
        other.join(timeout=30)


def test_a_hand_out_waits_for_no_lock(
    project: Project, ann: User, make_comparison: MakeComparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waited while holding a row would sooner or later wait in a circle."""
    monkeypatch.setattr(queue, "PATIENCE", 0.0)
    known, *_ = [make_comparison() for _ in range(4)]
    gold.mark(comparison=known, verdict=Verdict([[pk] for pk in known.response_ids]))
    Project.objects.update(gold_share=50)
    project.refresh_from_db()
    with locked_by_another(list(Comparison.objects.all())), connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '2s'")  # what waits longer is an error
        try:
            for _ in range(12):  # each draws its arms
                assert queue.lease_next(project=project, annotator=ann) is None
        finally:
            cursor.execute("RESET lock_timeout")
    assert queue.lease_next(project=project, annotator=ann) is not None


def test_what_others_lock_for_a_moment_is_handed_out_after_it(
    project: Project, ann: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison()
    with locked_by_another([comparison]) as let_go:
        timer = threading.Timer(0.2, let_go)
        timer.start()
        lease = queue.lease_next(project=project, annotator=ann)
        timer.join()
    assert lease is not None
    assert lease.comparison_id == comparison.pk


def test_one_persons_tabs_share_one_pair(project: Project, ann: User, make_comparison: MakeComparison) -> None:
    for _ in range(6):
        make_comparison()
    got: list[Lease | None] = []

    run_together([lambda: got.append(queue.lease_next(project=project, annotator=ann)) for _ in range(6)])

    assert len(got) == 6
    assert len({lease.comparison_id for lease in got if lease}) == 1
    assert Lease.objects.count() == 1


def test_a_double_click_is_one_vote(project: Project, ann: User, make_comparison: MakeComparison) -> None:
    make_comparison(judgments_wanted=5)
    lease = queue.lease_next(project=project, annotator=ann)
    assert lease is not None
    ticket = Ticket(lease.comparison_id, lease.leased_at)

    def click() -> None:
        queue.submit_judgment(ticket=ticket, annotator=ann, choice="a1")

    run_together([click] * 6)

    assert Judgment.objects.count() == 1
    assert Comparison.objects.get().depth == 1
    assert Preference.objects.count() == 1


def test_a_late_vote_and_a_new_holder_do_not_share_the_last_seat(
    project: Project, ann: User, ben: User, make_comparison: MakeComparison
) -> None:
    for _ in range(10):
        comparison = make_comparison()
        lease = queue.lease_next(project=project, annotator=ann)
        assert lease is not None
        Lease.objects.filter(pk=lease.pk).update(expires_at=now() - timedelta(seconds=1))
        ticket = Ticket(lease.comparison_id, lease.leased_at)

        def late(ticket: Ticket = ticket) -> None:
            queue.submit_judgment(ticket=ticket, annotator=ann, choice="a1")

        def prompt() -> None:
            held = queue.lease_next(project=project, annotator=ben)
            if held:
                queue.submit_judgment(ticket=Ticket(held.comparison_id, held.leased_at), annotator=ben, choice="b1")

        run_together([late, prompt])
        assert Judgment.objects.standing().filter(comparison=comparison).count() == 1
        assert Judgment.objects.kept().by(ann).filter(comparison=comparison).count() == 1
