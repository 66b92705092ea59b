"""`said` and `recognised`: what is kept in English, in the reader's language."""

from __future__ import annotations

from django import template

from models_registry import sayings

register = template.Library()


@register.filter
def said(text: object) -> str:
    """As :func:`models_registry.sayings.said`."""
    return sayings.said(str(text or ""))


register.filter(sayings.recognised)
