"""Which workers are alive, and whether this one is asked to end.

Each worker says every two seconds that it lives, in the table the pages read. Nothing asks the broker.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from billiard.process import active_children, current_process
from celery import current_app, current_task, signals
from django.db import InterfaceError, OperationalError, connection
from django.utils.timezone import now

from training.models import TRAIN_QUEUE, Worker

DATABASE_AWAY = (OperationalError, InterfaceError)
_stopping = False


def worker_name() -> str:
    """The name of the worker this task runs in, for example `train@host`."""
    request = getattr(current_task, "request", None)
    return getattr(request, "hostname", None) or "direct"


def worker_is_stopping() -> bool:
    """The worker was asked to end; it waits for its tasks, so a run should be handed back."""
    return _stopping


@contextmanager
def hearing_stop() -> Iterator[None]:
    """In a process of the worker's pool, SIGTERM marks the worker as stopping instead of ending us at once."""
    if not _in_pool():
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _in_pool() -> bool:
    return bool(current_process().name != "MainProcess")


def _stop(number: int = 0, frame: FrameType | None = None) -> None:
    global _stopping
    _stopping = True


def seen(name: str, queues: list[str]) -> None:
    """Write down that a worker is alive and listens on these queues."""
    Worker.objects.update_or_create(name=name, defaults={"queues": sorted(queues), "seen_at": now()})


@signals.heartbeat_sent.connect
def _on_heartbeat(sender: Any, **_: Any) -> None:
    try:
        seen(sender.eventer.hostname, list(current_app.amqp.queues.consume_from))
    except DATABASE_AWAY:
        connection.close()  # the next beat connects anew


@signals.worker_shutting_down.connect
def _on_stop(**_: Any) -> None:
    """The main process hears the signal; those of its processes that train have to hear it too."""
    _stop()
    if TRAIN_QUEUE in current_app.amqp.queues.consume_from:
        for child in active_children():
            if child.pid:
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGTERM)


@signals.worker_shutdown.connect
def _on_stopped(sender: Any, **_: Any) -> None:
    with suppress(*DATABASE_AWAY):
        Worker.objects.filter(name=getattr(sender, "hostname", "")).delete()
