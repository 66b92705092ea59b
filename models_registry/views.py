"""The list of models, the page of a version, and its download."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from models_registry.access import check_reader, get_artifact_for_reader, get_version_for_reader
from models_registry.cards import key_measure, render_card
from models_registry.downloads import stream_artifact
from models_registry.measures import measures
from models_registry.models import Kind, Version

PER_PAGE = 50


@login_required
@require_safe
def models(request: HttpRequest) -> HttpResponse:
    """Every version of every model, newest first."""
    check_reader(request)
    versions = Version.objects.for_list()
    kind = request.GET.get("kind", "")
    if kind in Kind.values:
        versions = versions.filter(kind=kind)
    page = Paginator(versions, PER_PAGE).get_page(request.GET.get("page"))
    rows = [{"version": item, "measure": key_measure(item)} for item in page]
    context = {"section": "models", "page": page, "rows": rows, "kinds": Kind.choices, "kind": kind}
    return render(request, "models_registry/models.html", context)


@login_required
@require_safe
def version(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """What one version is, where it comes from, what was measured, and its files."""
    found = get_version_for_reader(request, slug, number)
    context = {
        "section": "models",
        "version": found,
        "lineage": found.lineage(),
        "children": found.children.select_related("model"),
        "measures": measures(found.metrics),
        "card": render_card(found.card),
    }
    return render(request, "models_registry/version.html", context)


@login_required
@require_safe
def download(request: HttpRequest, slug: str, number: int, format: str) -> HttpResponseBase:
    """One form of a version as a tar archive; a part of it where the request names a range."""
    return stream_artifact(request, get_artifact_for_reader(request, slug, number, format))
