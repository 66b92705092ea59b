"""Pages of runs: the list, one run live, its numbers for the charts, cancel, and a project's share of it all."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_cache_control
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotation.access import SignedInRequest, is_manager
from training.access import get_project_for_trainer, get_run_for_viewer, get_runs_for_viewer
from training.accuracy import groupings
from training.engine_process import log_tail
from training.launching import cancel_run
from training.models import TRAIN_QUEUE, Method, Run, Worker
from training.presentation import chart_plan, measures, notices, points, samples, settings_of
from training.schedules import next_time_of
from training.supervision import run_directory

RUNS_A_PAGE = 50
RUNS_OF_A_PROJECT = 8
STOP_POLLING = 286  # what htmx takes as "this was the last one"


@login_required
@require_safe
def index(request: SignedInRequest) -> HttpResponse:
    """All runs this person may see, newest first, and whether a trainer is alive."""
    page = Paginator(get_runs_for_viewer(request), RUNS_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "is_busy": any(run.is_active for run in page),
        "trainers": Worker.objects.listening(TRAIN_QUEUE),
        "section": "runs",
    }
    name = "training/_runs_live.html" if request.htmx else "training/runs.html"  # type: ignore[attr-defined]
    return render(request, name, context)


@login_required
@require_safe
def show(request: SignedInRequest, pk: int) -> HttpResponse:
    run = get_run_for_viewer(request, pk)
    context = (
        _live(run)
        | _results(run)
        | {
            "settings": settings_of(run),
            "log": run.log_tail or log_tail(run_directory(run)),
            "section": "runs",
        }
    )
    return render(request, "training/run.html", context)


@login_required
@require_safe
def live(request: SignedInRequest, pk: int) -> HttpResponse:
    """The part of a run's page that changes; after the end it tells htmx to stop asking."""
    run = get_run_for_viewer(request, pk)
    context = _live(run)
    if request.GET.get("results") != str(context["results_known"]):
        context |= _results(run) | {"refresh_results": True}
    status = 200 if run.is_active else STOP_POLLING
    response = render(request, "training/_run_live.html", context, status=status)
    patch_cache_control(response, no_store=True)
    return response


def _live(run: Run) -> dict[str, object]:
    """What changes by the second. ``results_known`` differs after every evaluation and sample, and at the end."""
    told = run.events.filter(kind__in=("eval", "sample")).count()
    return {
        "run": run,
        "version": None if run.is_active else run.version,
        "notices": notices(run),
        "results_known": f"{told}-{run.state}",
    }


def _results(run: Run) -> dict[str, object]:
    """What changes with an evaluation: too heavy to send every two seconds, and people are reading it."""
    rows = points(run)[0]
    return {
        "measures": measures(run),
        "groupings": groupings(run.metrics),
        "samples": samples(run),
        "plan": _plan(run),
        "steps": _thinned(rows),
        "steps_in_all": len(rows),
    }


def _plan(run: Run) -> list[dict[str, Any]]:
    """What is drawn of a run that learns."""
    return [] if run.method in (Method.IMPORT, Method.SAMPLE) else chart_plan(run.method)


def _thinned(rows: list[list[object]], most: int = 40) -> list[list[object]]:
    """So many rows of a long table, evenly spread, the last among them."""
    every = max(1, -(-len(rows) // most))
    return rows[::-1][::every][::-1]


@login_required
@require_safe
def metrics(request: SignedInRequest, pk: int) -> JsonResponse:
    """New points for the charts: `?after=` the number of the last one known."""
    run = get_run_for_viewer(request, pk)
    after = request.GET.get("after", "0")
    rows, last = points(run, after=int(after) if after.isdecimal() and len(after) < 10 else 0)
    response = JsonResponse({"rows": rows, "after": last, "active": run.is_active})
    patch_cache_control(response, no_store=True)
    return response


@login_required
@require_POST
def cancel(request: SignedInRequest, pk: int) -> HttpResponse:
    run = get_run_for_viewer(request, pk)
    if not cancel_run(run):
        messages.info(request, _("It had already ended."))
    return redirect(run)


@login_required
@require_safe
def log(request: SignedInRequest, pk: int) -> HttpResponse:
    """The end of what the engine printed, as plain text."""
    run = get_run_for_viewer(request, pk)
    return HttpResponse(run.log_tail or log_tail(run_directory(run)), content_type="text/plain; charset=utf-8")


@login_required
@require_safe
def of_project(request: SignedInRequest, slug: str) -> HttpResponse:
    """A project's schedules and last runs: a fragment for its page, or a small page of its own."""
    project = get_project_for_trainer(request, slug)
    schedules = [(schedule, next_time_of(schedule)) for schedule in project.schedules.select_related("base__model")]
    context = {
        "project": project,
        "runs": project.runs.with_names()[:RUNS_OF_A_PROJECT],
        "schedules": schedules,
        "manages": is_manager(request, project),
        "section": "projects",
    }
    name = "training/_project_runs.html" if request.htmx else "training/project_runs.html"  # type: ignore[attr-defined]
    return render(request, name, context)
