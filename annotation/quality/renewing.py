"""Asking for new numbers about a project's votes, and using the last ones. Imports no numerical library."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Sum
from django.db.models.functions import Coalesce

from annotation.models import Judgment, Project, QualityReport, VoteCount


def votes_given(project: Project) -> int:
    """How many judgments stand, practice and decisions among them: from counts, as every look at a page asks."""
    return int(VoteCount.objects.filter(project=project).aggregate(n=Coalesce(Sum("votes"), 0))["n"])


def ask(project: Project) -> bool:
    """Have the numbers computed again. False: that is under way already."""
    from annotation.tasks import compute_quality

    if not QualityReport.objects.ask(project):
        return False
    # Robust: a broker that is away is logged; whoever looks later asks again.
    transaction.on_commit(lambda: compute_quality.delay(project.pk), robust=True)
    return True


def ask_if_old(project: Project) -> QualityReport:
    """The report of a project; if votes have come or changed since it was computed, a new one is under way."""
    report, _ = QualityReport.objects.get_or_create(project=project)
    if not _is_new(report, project) and report.may_be_computed and ask(project):
        report.refresh_from_db()
    return report


def _is_new(report: QualityReport, project: Project) -> bool:
    """Whether as many votes stand as were counted, and none was taken back or corrected meanwhile."""
    if report.computed_at is None or report.votes_counted != votes_given(project):
        return False
    began = report.computed_at - timedelta(seconds=report.seconds)
    taken_back = Judgment.objects.filter(withdrawn_at__gte=began, comparison__project=project)
    return not taken_back.exists()


def ask_where_old() -> None:
    """The same for every project in use, from beat."""
    for project in Project.objects.active():
        ask_if_old(project)


@dataclass(frozen=True)
class Smoothing:
    """The label smoothing that a project's votes ask for, with the flip rate behind it."""

    value: float
    rate: float
    low: float
    high: float
    votes: int
    computed_at: datetime


def proposed_smoothing(project: Project) -> Smoothing | None:
    """What DPO should be launched with by the last report; None while no pair was judged twice."""
    report = ask_if_old(project)
    rate, value = report.numbers.get("flip_rate"), report.numbers.get("label_smoothing")
    if rate is None or value is None or report.computed_at is None:
        return None
    return Smoothing(value, rate["value"], rate["low"], rate["high"], rate["n"], report.computed_at)
