"""What Celery runs. A task takes an id, claims and calls; the row decides."""

from __future__ import annotations

from celery import shared_task

from training import schedules, upkeep
from training.models import Run
from training.presence import hearing_stop, worker_name
from training.supervision import supervise


@shared_task(ignore_result=True)
def execute_run(run_id: int) -> None:
    with hearing_stop():
        if Run.objects.claim(run_id, worker=worker_name()):
            supervise(run_id)


@shared_task(ignore_result=True)
def reap_stale_runs() -> None:
    upkeep.reap_stale_runs()


@shared_task(ignore_result=True)
def announce_unheard_runs() -> None:
    upkeep.announce_unheard_runs()


@shared_task(ignore_result=True)
def launch_due_schedules() -> None:
    schedules.launch_due()
