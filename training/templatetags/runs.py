"""Numbers and times as the pages of runs show them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django import template
from django.utils.formats import get_format
from django.utils.timezone import now
from django.utils.translation import gettext as _

from models_registry.sayings import said
from training.models import Run
from training.presentation import Measure, headline

register = template.Library()
MINUS = "\N{MINUS SIGN}"


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
def short(value: float | None) -> str:
    """A number in four significant digits, with a true minus."""
    if value is None:
        return "–"
    words = _local(f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}")
    return words.replace("-", MINUS, 1) if value < 0 else words


def _local(number: str) -> str:
    """A written number with the reader's signs for thousands and decimals."""
    signs = {",": get_format("THOUSAND_SEPARATOR"), ".": get_format("DECIMAL_SEPARATOR")}
    return "".join(signs.get(sign, sign) for sign in number)


@register.filter
def percent(share: float) -> str:
    """A share of 1 in whole hundredths, as text and as a coordinate."""
    return f"{share * 100:.0f}"


@register.filter
def signed(value: float | None) -> str:
    """A change, with its sign; a true minus."""
    if value is None:
        return ""
    words = _local(f"{value:+.3g}".replace("-", MINUS, 1) if value < 0 else f"{value:+.3g}")
    return "0" if words in ("+0", f"{MINUS}0") else words


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
