"""Imports: a file goes in as the body of the request, and its report says what happened to every row."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Self

from django.core.exceptions import ValidationError
from django.shortcuts import get_object_or_404
from ninja import Query, Router, Schema
from ninja.responses import Status
from pydantic import Field

from annotation.access import get_project_for_manager
from annotation.forms import LARGEST_UPLOAD
from annotation.importing.landing import import_file
from annotation.importing.reading import SHAPES
from annotation.importing.rows import BadFileError
from annotation.models import ImportReport
from annotation.services import check_source_name
from api.auth import ApiRequest, needs
from api.errors import Problem, invalid, length_required
from api.fields import Text, replies
from api.models import Scope
from api.paging import Page, Paging, page_of

router = Router(tags=["imports"])
JSON_LINES = "application/jsonl"
ANY_FILE = "application/octet-stream"
FORM = "multipart/form-data"
ABOUT_BODY = (
    'One object a line: `{"prompt", "chosen", "rejected"}`, `{"prompt", "responses": [...]}` or another of the shapes'
    " that the import's page lists; prompts are texts or lists of messages. A JSON list, CSV, Parquet, and any of them"
    " packed by gzip are taken too, and told apart by what is in them."
)


class BadRowOut(Schema):
    line: int
    reason: str


class ImportOut(Schema):
    """`finished_at` is null while rows are still coming in; ask again. `errors` lists the first bad rows.

    `error` says why a file was read no further; what is counted is in all the same.
    """

    id: int
    file_name: str
    state: str
    error: str
    judged_by: str | None
    rows: int
    comparisons_added: int
    judgments_added: int
    duplicates: int
    error_count: int
    errors: list[BadRowOut]
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, report: ImportReport) -> Self:
        return cls(
            id=report.pk,
            file_name=report.file_name,
            state=report.state,
            error=report.error,
            judged_by=report.judged_by.username if report.judged_by else None,
            rows=report.rows,
            comparisons_added=report.comparisons_added,
            judgments_added=report.judgments_added,
            duplicates=report.duplicates,
            error_count=report.error_count,
            errors=[BadRowOut(line=error["line"], reason=error["reason"]) for error in report.errors],
            created_at=report.created_at,
            finished_at=report.finished_at,
        )


class ImportQuery(Schema):
    """What the rows mean."""

    shape: str = Field(
        "",
        json_schema_extra={"enum": ["", *SHAPES]},
        description="Read every row in this shape; empty: each in the one that recognises it.",
    )
    judged_by: Text = Field(
        "", max_length=150, description="Keep the rows' votes as this source's; empty: people judge."
    )
    author_label: Text = Field("", max_length=200, description="Who wrote the answers, where the rows do not say.")
    file_name: Text = Field("", max_length=255)


@router.post(
    "/projects/{slug:slug}/imports",
    auth=needs(Scope.DATA_WRITE),
    response=replies(ImportOut, 404, status=201),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": ABOUT_BODY,
            "content": {
                JSON_LINES: {"schema": {"type": "string", "pattern": r"^\{"}},
                ANY_FILE: {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
def new_import(request: ApiRequest, slug: str, which: Query[ImportQuery]) -> Status[ImportOut]:
    """Bring a file in. A bad row is reported with its line (in CSV and Parquet, its number among the rows), the others
    land, and what is there already is not doubled: a file whose import broke off can be sent again as it is."""
    project = get_project_for_manager(request, slug)
    _check_length(request)
    if request.content_type == FORM:
        raise invalid("Content-Type", "Send the file itself as the body, not a form: curl --data-binary @FILE.")
    if which.shape and which.shape not in SHAPES:
        raise invalid("shape", f"Take one of {', '.join(SHAPES)}, or none.")
    try:
        if which.judged_by:
            check_source_name(which.judged_by)
    except ValidationError as error:
        raise invalid("judged_by", " ".join(error.messages)) from None
    with NamedTemporaryFile() as file:
        shutil.copyfileobj(request, file)
        file.flush()
        try:
            report = import_file(
                project=project,
                path=Path(file.name),
                shape=which.shape,
                judged_by=which.judged_by,
                author_label=which.author_label,
                file_name=which.file_name,
                created_by=request.user,
            )
        except BadFileError as error:
            raise invalid("body", str(error)) from None
    return Status(201, ImportOut.of(report))


@router.get("/projects/{slug:slug}/imports", auth=needs(Scope.DATA_READ), response=replies(Page[ImportOut], 404))
def list_imports(request: ApiRequest, slug: str, page: Paging) -> Page[ImportOut]:
    """Oldest first."""
    project = get_project_for_manager(request, slug)
    rows = ImportReport.objects.filter(project=project).select_related("judged_by")
    return page_of(rows, page, lambda found: [ImportOut.of(report) for report in found])


@router.get("/projects/{slug:slug}/imports/{int:pk}", auth=needs(Scope.DATA_READ), response=replies(ImportOut, 404))
def show_import(request: ApiRequest, slug: str, pk: int) -> ImportOut:
    project = get_project_for_manager(request, slug)
    return ImportOut.of(get_object_or_404(project.imports.select_related("judged_by"), pk=pk))


def _check_length(request: ApiRequest) -> None:
    """Raises Problem 411 for a body of unknown length, and 413 for one too long."""
    length = request.headers.get("Content-Length", "")
    if not length.isdecimal():
        raise length_required()
    if int(length) > LARGEST_UPLOAD:
        raise Problem(
            413,
            "too_large",
            f"The file is larger than {LARGEST_UPLOAD // 2**20} MB.",
            "Send it in parts, or use manage.py import_comparisons on the server.",
        )
