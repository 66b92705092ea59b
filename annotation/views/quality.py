"""The quality of a project's votes: its page, a person's page, one's own, and all numbers as CSV."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from annotation import audit
from annotation.access import SignedInRequest, get_project_for_annotator, get_project_for_manager
from annotation.models import PairLabel, Project, QualityReport, User
from annotation.quality import renewing, showing
from annotation.work import progress

OF_PROJECT = ("alpha", "gold", "consistency", "left", "longer")
OF_PERSON = ("consistency", "gold")
SHOWN_PEOPLE = 200


@login_required
@require_safe
def project_quality(request: SignedInRequest, slug: str) -> HttpResponse:
    """How far people agree, what their votes follow besides the answers, and what that makes of the labels."""
    project = get_project_for_manager(request, slug)
    report = renewing.ask_if_old(project)
    people = showing.people(report)
    context = {
        **_shared(project, report),
        "numbers": report.numbers,
        "rows": [row for row in showing.rows(report.numbers) if row.estimate],
        "missing": showing.missing(report.numbers),
        "people": people[:SHOWN_PEOPLE],
        "people_in_all": len(people),
        **_drawn(report.numbers.get("weeks", []), OF_PROJECT, showing.certainty(report.numbers.get("certainty", []))),
        "suspects": PairLabel.objects.suspect(project).closed().count(),
        "asked_again": PairLabel.objects.suspect(project).filter(comparison__closed_at=None).count(),
        "disputed": PairLabel.objects.disputed(project).count(),
        "longer_by_people": showing.LONGER_BY_PEOPLE,
    }
    return render(request, "annotation/quality.html", context)


@login_required
@require_safe
def person_quality(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """One person's numbers, for those who manage the project."""
    project = get_project_for_manager(request, slug)
    report = renewing.ask_if_old(project)
    person = get_object_or_404(User, pk=pk)
    found = showing.of_person(report, person)
    if found is None:
        raise Http404
    context = {
        **_shared(project, report),
        "person": person,
        "found": found,
        "flags": [showing.FLAGS[flag] for flag in found["flags"]],
        "rows": showing.rows(found, showing.OF_A_PERSON),
        **_drawn(found["weeks"], OF_PERSON),
    }
    return render(request, "annotation/quality_person.html", context)


@login_required
@require_safe
def my_quality(request: SignedInRequest, slug: str) -> HttpResponse:
    """One's own votes by week and how often one said the same again. Nothing here tells what others said."""
    project = get_project_for_annotator(request, slug)
    report = renewing.ask_if_old(project)
    found = showing.of_person(report, request.user) or {}
    context = {
        **_shared(project, report),
        "progress": progress(project, request.user),
        "consistency": found.get("consistency"),
        **_drawn(found.get("weeks", []), ("consistency",)),
    }
    return render(request, "annotation/quality_mine.html", context)


@login_required
@require_safe
def download(request: SignedInRequest, slug: str) -> StreamingHttpResponse:
    """Every number with its interval, of the last report."""
    project = get_project_for_manager(request, slug)
    report, _ = QualityReport.objects.get_or_create(project=project)
    audit.tell(request, "quality")
    headers = {"Content-Disposition": f'attachment; filename="{slug}-quality.csv"'}
    return StreamingHttpResponse(showing.report_as_csv(report), content_type="text/csv; charset=utf-8", headers=headers)


@login_required
@require_POST
def compute_again(request: SignedInRequest, slug: str) -> HttpResponse:
    project = get_project_for_manager(request, slug)
    renewing.ask(project)
    return redirect("quality", project.slug)


@login_required
@require_safe
def age(request: SignedInRequest, slug: str) -> HttpResponse:
    """How old the numbers are, while new ones are under way; tells the page to load again when they are there."""
    project = get_project_for_annotator(request, slug)
    report = get_object_or_404(QualityReport, project=project)
    response = render(request, "annotation/_quality_age.html", _shared(project, report))
    if report.asked_at is None:
        response.headers["HX-Refresh"] = "true"
    return response


def _drawn(
    weeks: list[showing.Numbers], names: tuple[str, ...], labels: list[dict[str, Any]] | None = None
) -> dict[str, list[dict[str, Any]]]:
    by_week = showing.charts(weeks, names)
    return {"charts": [*(labels or []), *by_week], "week_charts": by_week, "label_charts": labels or []}


def _shared(project: Project, report: QualityReport) -> dict[str, object]:
    newer = renewing.votes_given(project) - report.votes_counted
    return {"project": project, "report": report, "newer": newer, "section": "projects"}
