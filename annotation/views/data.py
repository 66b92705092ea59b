"""Data in and out: the upload page, its reports, and the download of preferences."""

from __future__ import annotations

import json

from django.contrib.auth.decorators import login_required
from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from annotation.access import SignedInRequest, get_project_for_manager
from annotation.exporting import CONVERSATIONAL, FORMS, preference_lines
from annotation.forms import ImportForm
from annotation.importing.landing import MOST_ERRORS_KEPT, import_rows
from annotation.models import Judgment, Preference

JSON_LINES = "application/jsonl; charset=utf-8"
SHOWN_ERRORS = 50


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: SignedInRequest, slug: str) -> HttpResponse:
    """The form, and what earlier files brought."""
    project = get_project_for_manager(request, slug)
    form = ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        report = import_rows(
            project=project,
            file=file,
            judged_by=form.cleaned_data["judged_by"],
            author_label=form.cleaned_data["author_label"],
            file_name=file.name,
            created_by=request.user,
        )
        return redirect(report)
    reports = project.imports.select_related("created_by", "judged_by")[:10]
    context = {"project": project, "form": form, "reports": reports, "section": "projects"}
    return render(request, "annotation/import.html", context)


@login_required
@require_safe
def report(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    project = get_project_for_manager(request, slug)
    found = get_object_or_404(project.imports.select_related("judged_by"), pk=pk)
    context = {
        "project": project,
        "report": found,
        "errors": found.errors[:SHOWN_ERRORS],
        "most_kept": MOST_ERRORS_KEPT,
        "section": "projects",
    }
    return render(request, "annotation/import_report.html", context)


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
    """What can be downloaded, and how much it is."""
    project = get_project_for_manager(request, slug)
    standing = Judgment.objects.standing().in_project(project)
    context = {
        "project": project,
        "preferences": Preference.objects.filter(project=project).count(),
        "judgments": standing.count(),
        "sample": next(preference_lines(project), b"").decode()[:600],
        "section": "projects",
    }
    return render(request, "annotation/export.html", context)


@login_required
@require_safe
def download_preferences(request: SignedInRequest, slug: str, form: str = CONVERSATIONAL) -> StreamingHttpResponse:
    """`{prompt, chosen, rejected}` as JSON Lines, streamed."""
    project = get_project_for_manager(request, slug)
    if form not in FORMS:
        raise Http404
    return StreamingHttpResponse(
        preference_lines(project, form=form),
        content_type=JSON_LINES,
        headers=_attachment(f"{slug}-preferences-{form}.jsonl"),
    )


def _attachment(file_name: str) -> dict[str, str]:
    """Slugs and numbers only, so the name needs no quoting of its own."""
    return {"Content-Disposition": f'attachment; filename="{file_name}"'}
