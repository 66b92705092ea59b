"""What annotators told the managers about single comparisons."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import F
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.timezone import now
from django.views.decorators.http import require_POST, require_safe

from annotation import audit
from annotation.access import SignedInRequest, get_project_for_manager
from annotation.models import Flag, Response

FLAGS_A_PAGE = 20


@login_required
@require_safe
def flags(request: SignedInRequest, slug: str) -> HttpResponse:
    """Open flags first, newest first, each with its prompt and answers."""
    project = get_project_for_manager(request, slug)
    found = Flag.objects.in_project(project).select_related("annotator", "settled_by", "comparison__prompt")
    pages = Paginator(found.order_by(F("settled_at").desc(nulls_first=True), "-created_at"), FLAGS_A_PAGE)
    page = pages.get_page(request.GET.get("page"))
    wanted = {pk for flag in page for pk in flag.comparison.response_ids}
    texts = dict(Response.objects.filter(pk__in=wanted).values_list("pk", "text"))
    shown = [(flag, [texts[pk] for pk in flag.comparison.response_ids if pk in texts]) for flag in page]
    context = {"project": project, "page": page, "flags": shown, "section": "projects"}
    return render(request, "annotation/flags.html", context)


@login_required
@require_POST
def settle(request: SignedInRequest, slug: str, pk: int) -> HttpResponse:
    """Done with it. Settled twice, the first to do it stays named."""
    project = get_project_for_manager(request, slug)
    flag = get_object_or_404(Flag.objects.in_project(project), pk=pk)
    audit.tell(request, f"flag on pair {flag.comparison_id}")
    Flag.objects.filter(pk=flag.pk).unsettled().update(settled_at=now(), settled_by=request.user)
    return redirect("flags", project.slug)
