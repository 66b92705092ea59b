"""Whether anybody does the background's work, for pages that wait for it."""

from __future__ import annotations

from datetime import timedelta

from django import template
from django.utils.timezone import now

from training.models import Worker

register = template.Library()
# A worker makes itself heard every two seconds, and pages ask every two: a dead one is told of within ten.
SILENCE = timedelta(seconds=7)


@register.simple_tag
def listening(queue: str) -> bool:
    """Whether a worker of this queue is alive."""
    return Worker.objects.listening(queue).filter(seen_at__gte=now() - SILENCE).exists()
