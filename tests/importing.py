"""Rows brought into a project now, from memory: an import in a test needs no file on disk."""

from __future__ import annotations

from contextlib import nullcontext

from annotation.importing import landing
from annotation.importing.formats import jsonl
from annotation.importing.formats.raw import Bytes
from annotation.importing.reading import Source
from annotation.models import ImportReport, Project, User
from annotation.services import rule_judge


def import_rows(
    *,
    project: Project,
    file: Bytes,
    shape: str = "",
    judged_by: str = "",
    author_label: str = "",
    file_name: str = "",
    created_by: User | None = None,
) -> ImportReport:
    """As `import_file`, for JSON Lines."""
    report = ImportReport.objects.create_running(
        project=project,
        shape=shape,
        judged_by=rule_judge(judged_by) if judged_by else None,
        author_label=author_label,
        file_name=file_name,
        created_by=created_by,
    )
    landing._land(report, nullcontext(Source(jsonl.read(file), lambda: 0.0)))
    return report
