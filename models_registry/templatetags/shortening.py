"""`shortened`: the beginning of a text."""

from __future__ import annotations

from django import template

from models_registry import shortening

register = template.Library()


@register.filter
def shortened(text: object, most: int) -> str:
    """As :func:`models_registry.shortening.shortened`, of what is no text yet too."""
    return shortening.shortened(str(text or ""), most)
