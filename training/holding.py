"""The right of one worker to speak for a run, and how it is handed on."""

from __future__ import annotations

import time

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.expressions import Combinable
from django.utils.timezone import now
from django.utils.translation import gettext_noop

from models_registry.sayings import saying
from training.launching import announce
from training.models import Run, State
from training.telling import tell_finished

BEAT_SECONDS = 1.0
MOST_ATTEMPTS = 3
WORKER_SILENT = saying(gettext_noop("The worker running it went silent."))
TOLD_TO_STOP = saying(gettext_noop("The engine was told to stop from outside."))
GIVEN_UP = saying(gettext_noop("%(why)s It was tried %(n)d times."))


class LostRunError(Exception):
    """The row is no longer ours: it was reaped, requeued or ended elsewhere. Stop without touching it."""


class Hold:
    """One attempt of one worker at a run. Every write goes through :meth:`rows`, so a worker that was thought dead
    cannot write over its successor."""

    def __init__(self, run: Run) -> None:
        self.run_id, self.attempt, self.worker = run.pk, run.attempt, run.worker
        self.cancelled = run.cancel_requested_at is not None
        self._beaten_at = time.monotonic()

    def rows(self) -> QuerySet[Run]:
        return Run.objects.filter(pk=self.run_id, state=State.RUNNING, attempt=self.attempt, worker=self.worker)

    def beat(self) -> None:
        """Say that we live, at most once a second, and hear whether to stop. Raises LostRunError."""
        if time.monotonic() - self._beaten_at < BEAT_SECONDS:
            return
        if self.rows().update(heartbeat_at=now()) == 0:
            raise LostRunError
        self.cancelled = self.rows().filter(cancel_requested_at__isnull=False).exists()
        self._beaten_at = time.monotonic()

    def finish(self, state: State, reason: str = "", *, log_tail: str = "") -> None:
        """End the run, if it still is ours."""
        ended = {"state": state, "reason": reason, "finished_at": now(), "eta_at": None, "phase": ""}
        with transaction.atomic():
            if self.rows().update(**ended, log_tail=log_tail) == 1:
                tell_finished(self.run_id)

    def hand_back(self) -> None:
        """Queue the run again because the worker goes, not the engine: this attempt does not count."""
        if requeue(self.rows(), attempt=F("attempt") - 1):
            announce(self.run_id)

    def try_again(self, why: str, *, log_tail: str = "") -> None:
        """Queue the run again, or fail it when it has been tried often enough."""
        if self.attempt >= MOST_ATTEMPTS:
            self.finish(State.FAILED, GIVEN_UP % {"why": why, "n": self.attempt}, log_tail=log_tail)
        elif requeue(self.rows()):
            announce(self.run_id)


def requeue(rows: QuerySet[Run], **changes: Combinable) -> bool:
    """Move a running run back to queued; its run directory stays, so it goes on from its last checkpoint."""
    moved = rows.filter(state=State.RUNNING).update(
        state=State.QUEUED, worker="", heartbeat_at=None, eta_at=None, phase="", **changes
    )
    return moved == 1
