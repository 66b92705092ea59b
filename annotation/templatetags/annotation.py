"""`rich`: Markdown as safe HTML, in templates. `line_of`: what a setting costs.

`grouped`: a whole number. `speaker`: who speaks.
"""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString
from django.utils.translation import pgettext_lazy

from annotation.costs import Costs, grouped
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


@register.filter
def speaker(role: str) -> str:
    """Who speaks in a conversation: `user`, `assistant` or `system`, in the reader's language."""
    return str(SPEAKERS.get(role, role))


@register.filter
def line_of(costs: Costs, field: str) -> str:
    """What this field of the queue's settings costs, in a line."""
    return costs.lines[field]
