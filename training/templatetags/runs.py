"""Times and shares as the pages of runs show them, and a run's one measure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django import template
from django.utils.timezone import now
from django.utils.translation import gettext as _

from models_registry.sayings import said
from training.models import Run
from training.presentation import Measure, headline

register = template.Library()


@register.filter
def brief(span: timedelta | None) -> str:
    """A span in its two largest units: ``3 s``, ``4 min 10 s``, ``2 h 5 min``, ``3 d 1 h``."""
    if span is None:
        return "–"
    seconds = max(0, round(span.total_seconds()))
    for size, unit, smaller, smaller_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size} {unit}" + (f" {rest} {smaller_unit}" if rest else "")
    return f"{seconds} s"


@register.filter
def left(moment: datetime | None) -> str:
    """Time to a moment; empty when it is not known or over."""
    if moment is None or moment <= now():
        return ""
    span = moment - now()
    minutes = timedelta(minutes=round(span.total_seconds() / 60))
    return _("%(span)s left") % {"span": brief(minutes if span >= timedelta(minutes=2) else span)}


@register.filter
def percent(share: float) -> str:
    """A share of 1 in whole hundredths, as text and as a coordinate."""
    return f"{share * 100:.0f}"


@register.filter
def main_measure(run: Run) -> Measure | None:
    """The one metric that matters for a run's method."""
    return headline(run)


@register.filter
def notes(runs: Iterable[Run]) -> list[str]:
    """What is to be known of the models that a list of runs names, each once."""
    models: dict[str, dict[str, None]] = {}
    for run in runs:
        if run.base and run.base.notice:
            models.setdefault(run.base.notice, {})[str(run.base)] = None
    return [f"{', '.join(names)}: {said(notice)}" for notice, names in models.items()]


@register.filter
def title_of(position: int, titles: list[str]) -> str:
    """The title of a column."""
    return titles[position] if position < len(titles) else ""
