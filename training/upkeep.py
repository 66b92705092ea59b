"""What beat does: find runs whose worker died and runs whose message was lost."""

from __future__ import annotations

from django.utils.translation import gettext_noop

from training.holding import WORKER_SILENT, Hold
from training.launching import announce
from training.models import Run, State

CANCELLED_SILENT = gettext_noop("Cancelled; its worker had gone silent.")


def reap_stale_runs() -> int:
    """Queue again what lost its worker, fail what lost it too often, cancel what was asked to. Returns how many."""
    stale = list(Run.objects.stale())
    for run in stale:
        hold = Hold(run)
        if hold.cancelled:
            hold.finish(State.CANCELLED, CANCELLED_SILENT)
        else:
            hold.try_again(WORKER_SILENT)
    return len(stale)


def announce_unheard_runs() -> int:
    """Tell the queue again about runs that have waited long: their message may be lost. Returns how many."""
    waiting = list(Run.objects.unheard().values_list("pk", flat=True))
    for run_id in waiting:
        announce(run_id)
    return len(waiting)
