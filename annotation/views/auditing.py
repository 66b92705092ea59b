"""The audit log: a page and a CSV file for a project's managers, and for site admins those of the whole site."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.translation import override
from django.views.decorators.http import require_safe

from annotation.access import SignedInRequest, get_project_for_manager, require_site_admin
from annotation.csv_lines import csv_lines
from annotation.models import AuditEvent, Project
from annotation.models.auditing import AuditQuerySet

PER_PAGE = 50
LONGEST_SEARCH = 200
COLUMNS = ("time (UTC)", "who", "did", "what", "to whom", "project")


@login_required
@require_safe
def everywhere(request: SignedInRequest) -> HttpResponse:
    require_site_admin(request)
    return _page(request, AuditEvent.objects.all(), None)


@login_required
@require_safe
def everywhere_as_csv(request: SignedInRequest) -> StreamingHttpResponse:
    require_site_admin(request)
    return _file(request, AuditEvent.objects.all(), "audit.csv")


@login_required
@require_safe
def of_project(request: SignedInRequest, slug: str) -> HttpResponse:
    project = get_project_for_manager(request, slug)
    return _page(request, AuditEvent.objects.in_project(project), project)


@login_required
@require_safe
def of_project_as_csv(request: SignedInRequest, slug: str) -> StreamingHttpResponse:
    project = get_project_for_manager(request, slug)
    return _file(request, AuditEvent.objects.in_project(project), f"{slug}-audit.csv")


def _search(request: SignedInRequest) -> str:
    return request.GET.get("q", "").strip()[:LONGEST_SEARCH]


def _page(request: SignedInRequest, events: AuditQuerySet, project: Project | None) -> HttpResponse:
    words = _search(request)
    page = Paginator(events.matching(words).with_names(), PER_PAGE).get_page(request.GET.get("page"))
    context = {"page": page, "words": words, "project": project, "section": "projects" if project else "audit"}
    return render(request, "accounts/audit.html", context)


def _file(request: SignedInRequest, events: AuditQuerySet, name: str) -> StreamingHttpResponse:
    """Everything that matches, streamed. The name is made of a slug, so it needs no quoting of its own."""
    found = events.matching(_search(request)).with_names().iterator(chunk_size=2000)
    return StreamingHttpResponse(
        csv_lines(_rows(found)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _in_english(event: AuditEvent) -> str:
    """What was done. A file is for programs too: it says the same to every reader."""
    with override("en"):
        return str(event.get_action_display())


def _rows(events: Iterator[AuditEvent]) -> Iterator[tuple[str, ...]]:
    yield COLUMNS
    for event in events:
        yield (
            event.at.strftime("%Y-%m-%d %H:%M:%S"),
            event.actor.username if event.actor else "",
            _in_english(event),
            event.what,
            event.subject.username if event.subject else "",
            event.project.slug if event.project else "",
        )
