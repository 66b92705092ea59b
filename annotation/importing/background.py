"""Imports of uploaded files, landed by a worker: taken up, taken up again after a worker died, and tidied away."""

from __future__ import annotations

from django.db import transaction
from django.utils.timezone import now

from annotation.importing.landing import land_upload, tell_of_end
from annotation.models import ImportReport
from annotation.models.importing import MOST_ATTEMPTS, ImportState


def announce(import_id: int) -> None:
    """Tell the workers about an import once the current transaction is through. Harmless when told twice."""
    from annotation.tasks import run_import

    ImportReport.objects.filter(pk=import_id).update(announced_at=now())
    # Robust: a broker that is away is logged and not the person's problem; beat announces the import again.
    transaction.on_commit(lambda: run_import.delay(import_id), robust=True)


def run(import_id: int, *, worker: str) -> None:
    """Land what is left of an import, unless somebody else does."""
    if ImportReport.objects.claim(import_id, worker=worker):
        land_upload(ImportReport.objects.select_related("project", "judged_by").get(pk=import_id))


def tend() -> None:
    """Announce imports again that no worker holds, fail those that kill their workers, delete files nobody needs."""
    for report in ImportReport.objects.forsaken():
        if report.attempt >= MOST_ATTEMPTS:
            _give_up(report)
        else:
            announce(report.pk)
    for report in ImportReport.objects.over_with_a_file():
        report.drop_upload()


@transaction.atomic
def _give_up(report: ImportReport) -> None:
    reason = f"{MOST_ATTEMPTS} workers have died reading this file. What is counted here is in."
    same = ImportReport.objects.filter(pk=report.pk, attempt=report.attempt, state=report.state)
    if same.update(state=ImportState.FAILED, error=reason, finished_at=now()):
        tell_of_end(report)
