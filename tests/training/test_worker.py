"""Real worker processes: they are seen, they stop well, and when they die nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.conf import LazySettings
from django.utils.timezone import now

from models_registry.models import Version
from training.launching import announce
from training.models import Run, State, Worker
from training.supervision import run_directory
from training.upkeep import reap_stale_runs

from .conftest import make_run
from .workers import end_worker, is_alive, start_worker, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path, settings: LazySettings) -> Iterator[Start]:
    """Start workers whose engine does what is named; they end with the test, and the queue begins empty."""
    with redis.Redis.from_url(settings.REDIS_URL) as queues:
        queues.delete("train", "default", "unacked", "unacked_index")
    started: list[subprocess.Popen[bytes]] = []

    def start(stand_in: str) -> subprocess.Popen[bytes]:
        started.append(start_worker(tmp_path, name=f"trainer{len(started)}", stand_in=stand_in))
        return started[-1]

    yield start
    for worker in started:
        end_worker(worker)


def launched(base: Version) -> Run:
    run = make_run(base)
    announce(run.pk)
    return run


def working(run: Run) -> int:
    """Wait until the engine works on the run; its process."""
    wait_for(lambda: run.events.filter(kind="step").exists())
    return int((run_directory(run).path / "engine.lock").read_text().split()[0])


def ended(run: Run) -> bool:
    run.refresh_from_db()
    return not run.is_active


def test_a_worker_takes_a_run_from_the_queue_and_is_gone_from_the_list_after_it_stops(
    start: Start, base: Version
) -> None:
    worker = start("succeed")
    run = launched(base)
    wait_for(lambda: ended(run))
    assert (run.state, run.worker) == (State.SUCCEEDED, "trainer0@test")
    worker.terminate()
    worker.wait(20)
    assert not Worker.objects.filter(name="trainer0@test").exists()


@pytest.mark.parametrize("whole_group", [False, True], ids=["to the worker", "to its processes too"])
def test_a_worker_that_is_told_to_stop_hands_its_run_to_the_next(
    start: Start, base: Version, whole_group: bool
) -> None:
    worker = start("finish_or_go_on")
    run = launched(base)
    engine = working(run)
    if whole_group:
        os.killpg(worker.pid, signal.SIGTERM)
    else:
        worker.terminate()
    worker.wait(20)
    run.refresh_from_db()
    assert (run.state, run.attempt) == (State.QUEUED, 0)
    assert run.events.filter(kind="checkpoint").exists()
    assert not is_alive(engine)
    start("finish_or_go_on")
    wait_for(lambda: ended(run))
    assert (run.state, run.worker, run.attempt) == (State.SUCCEEDED, "trainer1@test", 1)


def test_a_worker_that_is_killed_loses_nothing(start: Start, base: Version) -> None:
    worker = start("finish_or_go_on")
    run = launched(base)
    engine = working(run)
    end_worker(worker)
    run.refresh_from_db()
    assert run.state == State.RUNNING
    assert reap_stale_runs() == 0
    Run.objects.filter(pk=run.pk).update(heartbeat_at=now() - timedelta(seconds=91))
    assert reap_stale_runs() == 1
    start("finish_or_go_on")
    wait_for(lambda: ended(run))
    assert (run.state, run.worker, run.attempt) == (State.SUCCEEDED, "trainer1@test", 2)
    assert not is_alive(engine)


def test_a_message_delivered_twice_trains_once(start: Start, base: Version) -> None:
    start("succeed")
    run = launched(base)
    announce(run.pk)
    wait_for(lambda: ended(run))
    other = launched(base)
    wait_for(lambda: ended(other))
    run.refresh_from_db()
    assert (run.state, run.attempt) == (State.SUCCEEDED, 1)
    assert run.events.filter(kind="done").count() == 1
