"""Runs whose worker died, and who is listening."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now

from models_registry.models import Version
from training.models import Run, State, Worker
from training.presence import seen
from training.upkeep import reap_stale_runs

from .conftest import make_run

pytestmark = pytest.mark.django_db


def silent_run(base: Version, attempts: int = 1, **fields: object) -> Run:
    run = make_run(base, **fields)
    Run.objects.claim(run.pk, worker="dead@there")
    Run.objects.filter(pk=run.pk).update(heartbeat_at=now() - timedelta(seconds=100), attempt=attempts)
    return run


def test_a_run_whose_worker_died_goes_back_to_the_queue(base: Version) -> None:
    run = silent_run(base)
    assert reap_stale_runs() == 1
    run.refresh_from_db()
    assert (run.state, run.worker, run.heartbeat_at, run.attempt) == (State.QUEUED, "", None, 1)


def test_a_run_that_still_beats_is_left_alone(base: Version) -> None:
    run = make_run(base)
    Run.objects.claim(run.pk, worker="alive@there")
    Run.objects.filter(pk=run.pk).update(heartbeat_at=now() - timedelta(seconds=60))
    assert reap_stale_runs() == 0
    run.refresh_from_db()
    assert run.state == State.RUNNING


def test_the_third_silent_worker_is_the_last(base: Version) -> None:
    run = silent_run(base, attempts=3)
    reap_stale_runs()
    run.refresh_from_db()
    assert run.state == State.FAILED
    assert run.reason == "The worker running it went silent. It was tried 3 times."


def test_a_run_that_was_to_be_cancelled_is_not_started_again(base: Version) -> None:
    run = silent_run(base, cancel_requested_at=now())
    reap_stale_runs()
    run.refresh_from_db()
    assert run.state == State.CANCELLED


def test_a_worker_is_listening_while_it_is_heard_of() -> None:
    seen("train@here", ["train"])
    seen("default@here", ["default"])
    assert [worker.name for worker in Worker.objects.listening("train")] == ["train@here"]
    Worker.objects.filter(name="train@here").update(seen_at=now() - timedelta(seconds=11))
    assert not Worker.objects.listening("train").exists()
    seen("train@here", ["train"])
    assert Worker.objects.listening("train").count() == 1
