"""`rich`: Markdown as safe HTML, in templates. `ago`: a moment as the time since. `line_of`: what a setting costs.

`grouped`: a whole number. `told`: a reason that was kept in English. `speaker`: who speaks.
"""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import pgettext_lazy

from annotation.costs import Costs, grouped
from annotation.importing.reasons import told
from annotation.rendering import render

register = template.Library()
SPEAKERS = {
    "user": pgettext_lazy("who speaks", "user"),
    "assistant": pgettext_lazy("who speaks", "assistant"),
    "system": pgettext_lazy("who speaks", "system"),
}


@register.filter
def rich(text: str) -> SafeString:
    """Markdown with code, tables and LaTeX, sanitised."""
    return render(text)


register.filter(grouped)
register.filter(told)


@register.filter
def speaker(role: str) -> str:
    """Who speaks in a conversation: `user`, `assistant` or `system`, in the reader's language."""
    return str(SPEAKERS.get(role, role))


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
