"""What Celery runs. A task takes an id, claims and calls; the row decides."""

from __future__ import annotations

from celery import shared_task

from annotation.models import Project
from annotation.regroup import regroup


@shared_task(ignore_result=True)
def regroup_project(project_id: int) -> None:
    regroup(Project.objects.get(pk=project_id))
