"""What a page says of a form that came back."""

from __future__ import annotations

from django import template
from django.forms import BaseForm
from django.template import Context
from django.utils.translation import gettext as _

register = template.Library()


@register.simple_tag(takes_context=True)
def error_mark(context: Context) -> str:
    """The beginning of the title of a page one of whose forms was refused."""
    shown: list[object] = list(context.flatten().values())
    refused = any(isinstance(value, BaseForm) and value.errors for value in shown)
    return _("Error:") + " " if refused else ""
