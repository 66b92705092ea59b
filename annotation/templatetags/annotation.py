"""`rich`: Markdown as safe HTML, in templates. `ago`: a moment as the time since. `line_of`: what a setting costs."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from annotation.costs import Costs
from annotation.rendering import render

register = template.Library()


@register.filter
def rich(text: str) -> SafeString:
    """Markdown with code, tables and LaTeX, sanitised."""
    return render(text)


@register.filter
def grouped(number: int) -> str:
    """A whole number with its thousands apart: 418,211."""
    return f"{number:,}"


@register.filter
def ago(moment: datetime) -> SafeString:
    """How long ago, with the exact time on hover."""
    exact = localtime(moment)
    words = timesince(moment, depth=1)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        exact.isoformat(),
        exact.strftime("%Y-%m-%d %H:%M:%S %Z"),
        _("just now") if words.startswith("0") else _("%s ago") % words,
    )


@register.filter
def line_of(costs: Costs, field: str) -> str:
    """What this field of the queue's settings costs, in a line."""
    return costs.lines[field]
