"""Data in and out: upload, a look at the file, the import's page, and the download of what was judged."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotation import audit
from annotation.access import SignedInRequest, get_project_for_manager
from annotation.exporting.files import FILES
from annotation.exporting.forms import ExportForm
from annotation.exporting.streaming import export_bytes, export_rows
from annotation.forms import EACH_ROW, SHAPE_CHOICES, ImportForm, UploadForm
from annotation.importing.background import announce
from annotation.importing.detecting import Found, look_at
from annotation.importing.landing import ALONE
from annotation.importing.reading import FORMATS, PLACES, SHAPES
from annotation.importing.rows import BadFileError
from annotation.models import Action, ImportReport, Judgment, Preference, Project
from annotation.models.content import WORK
from annotation.models.importing import MOST_ERRORS_KEPT, ImportState
from annotation.services import rule_judge
from models_registry.sayings import said

JSON_LINES = "application/jsonl; charset=utf-8"
SHOWN_ERRORS = 50
SHOWN_ROWS = 5
ASKED: dict[str, str | Promise] = {
    Project.Kind.PAIRS: gettext_lazy("every pair"),
    Project.Kind.RANKING: gettext_lazy("all answers to a prompt at once"),
    Project.Kind.SINGLE: gettext_lazy("every answer by itself"),
}


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: SignedInRequest, slug: str) -> HttpResponse:
    """The form, and what earlier files brought."""
    project = get_project_for_manager(request, slug)
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        draft = _draft(request, project, form.cleaned_data["file"])
        try:
            with draft.local_file() as path:
                look_at(path)
        except BadFileError as error:
            draft.drop_upload()
            draft.delete()
            form.add_error("file", said(str(error)))
        else:
            return redirect(draft)
    context = {
        "project": project,
        "form": form,
        "shapes": reversed(SHAPES.values()),  # the plainest come last, for any row with their columns is theirs
        "reports": project.imports.select_related("created_by", "project")[:10],
        "section": "projects",
    }
    return render(request, "annotation/import.html", context)


def _draft(request: SignedInRequest, project: Project, file: UploadedFile[bytes]) -> ImportReport:
    draft = ImportReport(
        project=project, created_by=request.user, file_name=(file.name or "")[:255], state=ImportState.DRAFT
    )
    draft.upload.save(draft.file_name, file, save=False)
    draft.save()
    return draft


@login_required
@require_safe
def report(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """Before its start, the file's first rows and what becomes of them; then how far it is, and what it brought."""
    project = get_project_for_manager(request, slug)
    found = get_object_or_404(project.imports.select_related("judged_by", "project"), pk=pk)
    if found.state == ImportState.DRAFT:
        return _confirmation(request, found)
    return render(request, "annotation/import_report.html", _shown(found))


@login_required
@require_safe
def live(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """The part of an import's page that changes while it runs."""
    project = get_project_for_manager(request, slug)
    found = get_object_or_404(project.imports.select_related("judged_by", "project"), pk=pk)
    return render(request, "annotation/_import_live.html", _shown(found))


def _shown(report: ImportReport) -> dict[str, Any]:
    return {
        "project": report.project,
        "report": report,
        "errors": report.errors[:SHOWN_ERRORS],
        "most_kept": MOST_ERRORS_KEPT,
        "place": PLACES.get(report.format, gettext("Row")),
        "section": "projects",
    }


def _confirmation(request: SignedInRequest, draft: ImportReport, form: ImportForm | None = None) -> HttpResponse:
    asked = form.data.get("shape") if form else request.GET.get("shape")
    shape = "" if asked == EACH_ROW else asked if asked in SHAPES else None
    with draft.local_file() as path:
        found = look_at(path, shape=shape)
    form = form or ImportForm(initial=_proposed(found))
    if not found.has_votes:
        form.fields["judged_by"].help_text = gettext(
            "The first rows bring no votes: leave this empty, unless later ones do."
        )
    context = {
        "project": draft.project,
        "report": draft,
        "found": found,
        "format": FORMATS[found.format],
        "shape": found.shape or EACH_ROW,
        "shapes": SHAPE_CHOICES,
        "place": PLACES[found.format],
        "rows": found.rows[:SHOWN_ROWS],
        "asked": ASKED[draft.project.kind],
        "needs_source": _needs_source(found, draft.project),
        "form": form,
        "section": "projects",
    }
    return render(request, "annotation/import_confirm.html", context)


def _needs_source(found: Found, project: Project) -> bool:
    """Whether no row would land as work: answers alone, where people compare them."""
    return found.is_alone and project.kind != Project.Kind.SINGLE


def _proposed(found: Found) -> dict[str, str]:
    source = SHAPES[found.shape].SOURCE if found.shape and found.has_votes else ""
    return {"shape": found.shape or EACH_ROW, "judged_by": source}


@login_required
@require_POST
def start(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """Queue a confirmed file."""
    project = get_project_for_manager(request, slug)
    draft = get_object_or_404(project.imports.select_related("project"), pk=pk)
    if draft.state != ImportState.DRAFT:
        return redirect(draft)
    form = ImportForm(request.POST)
    if not form.is_valid():
        return _confirmation(request, draft, form)
    told = form.cleaned_data
    with draft.local_file() as path:
        found = look_at(path, shape=told["shape"])
    if _needs_source(found, project) and not told["judged_by"]:
        form.add_error("judged_by", said(ALONE))
        return _confirmation(request, draft, form)
    with transaction.atomic():
        judge = rule_judge(told["judged_by"]) if told["judged_by"] else None
        if ImportReport.objects.queue(
            pk, format=found.format, shape=told["shape"], judged_by=judge, author_label=told["author_label"]
        ):
            audit.record(Action.IMPORTED, actor=request.user, project=project, what=draft.file_name)
            announce(pk)
    return redirect(draft)


@login_required
@require_POST
def cancel(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """End an import, or throw away a file that was not started. What has landed stays."""
    project = get_project_for_manager(request, slug)
    found = get_object_or_404(project.imports.select_related("project"), pk=pk)
    was_draft = found.state == ImportState.DRAFT
    audit.tell(request, found.file_name or f"import {pk}")
    ImportReport.objects.cancel(pk)
    if was_draft:
        found.drop_upload()
        return redirect("import", slug)
    return redirect(found)


@login_required
@require_safe
def report_errors(request: SignedInRequest, slug: str, pk: int) -> FileResponse | HttpResponse:
    """The bad rows as JSON Lines of `{"line", "reason"}`."""
    project = get_project_for_manager(request, slug)
    found = get_object_or_404(project.imports, pk=pk)
    lines = "".join(json.dumps(error, ensure_ascii=False) + "\n" for error in found.errors)
    return HttpResponse(lines, content_type=JSON_LINES, headers=_attachment(f"{slug}-import-{pk}-errors.jsonl"))


@login_required
@require_safe
def export(request: SignedInRequest, slug: str) -> HttpResponse:
    """What can be downloaded, how much it is, and the first rows of it."""
    project = get_project_for_manager(request, slug)
    form = ExportForm(request.GET or None, project=project)
    wanted = form.wanted()
    sample = next(export_rows(project, wanted), None) if wanted else None
    context = {
        "project": project,
        "form": form,
        "preferences": Preference.objects.filter(project=project).count(),
        "judgments": Judgment.objects.standing().in_project(project).filter(comparison__purpose__in=WORK).count(),
        "sample": json.dumps(sample, ensure_ascii=False, indent=1)[:1200] if sample else "",
        "query": request.GET.urlencode(),
        "section": "projects",
    }
    return render(request, "annotation/export.html", context)


@login_required
@require_safe
def download(request: SignedInRequest, slug: str) -> HttpResponse | StreamingHttpResponse:
    """The file, streamed. A wrong choice leads back to the form, which says what is wrong."""
    project = get_project_for_manager(request, slug)
    form = ExportForm(request.GET or None, project=project)
    wanted = form.wanted()
    if wanted is None:
        explained = export(request, slug)
        explained.status_code = 400
        return explained
    audit.tell(request, wanted.words)
    kind = FILES[wanted.file]
    return StreamingHttpResponse(
        export_bytes(project, wanted),
        content_type=kind.CONTENT_TYPE,
        headers=_attachment(f"{slug}-{wanted.shape}-{wanted.votes}.{wanted.file}"),
    )


def _attachment(file_name: str) -> dict[str, str]:
    """Slugs and numbers only, so the name needs no quoting of its own."""
    return {"Content-Disposition": f'attachment; filename="{file_name}"'}
