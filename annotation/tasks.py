"""What Celery runs. A task takes an id, claims and calls; the row decides."""

from __future__ import annotations

from celery import current_task, shared_task

from annotation import queue
from annotation.importing import background
from annotation.models import Project, QualityReport
from annotation.regroup import regroup


@shared_task(ignore_result=True)
def run_import(import_id: int) -> None:
    background.run(import_id, worker=getattr(current_task.request, "hostname", None) or "direct")


@shared_task(ignore_result=True)
def tend_imports() -> None:
    background.tend()


@shared_task(ignore_result=True)
def seat_late_votes() -> None:
    queue.seat_late_votes()


@shared_task(ignore_result=True)
def regroup_project(project_id: int) -> None:
    regroup(Project.objects.get(pk=project_id))


@shared_task(ignore_result=True)
def compute_quality(project_id: int) -> None:
    if QualityReport.objects.claim(project_id):
        from annotation.quality.computing import compute  # brings numpy and scipy, which only this task needs

        compute(Project.objects.get(pk=project_id))


@shared_task(ignore_result=True)
def ask_for_quality() -> None:
    from annotation.quality.renewing import ask_where_old

    ask_where_old()
