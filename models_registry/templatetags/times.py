"""`ago`: a moment as the time since, everywhere in the same words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localtime, now
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

register = template.Library()
MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds
# From how many seconds on a unit is used, how many it has, and its words: the largest first. From two weeks, months and
# years on they are counted in those, so that no number of days is longer than two digits. A month has 30 days.
UNITS: tuple[tuple[int, int, Callable[[int], str]], ...] = (
    (730 * DAY, 365 * DAY, lambda n: ngettext("%(n)d year ago", "%(n)d years ago", n)),
    (60 * DAY, 30 * DAY, lambda n: ngettext("%(n)d month ago", "%(n)d months ago", n)),
    (14 * DAY, 7 * DAY, lambda n: ngettext("%(n)d week ago", "%(n)d weeks ago", n)),
    (DAY, DAY, lambda n: ngettext("%(n)d day ago", "%(n)d days ago", n)),
    (HOUR, HOUR, lambda n: ngettext("%(n)d hour ago", "%(n)d hours ago", n)),
    (MINUTE, MINUTE, lambda n: ngettext("%(n)d minute ago", "%(n)d minutes ago", n)),
    (1, 1, lambda n: ngettext("%(n)d second ago", "%(n)d seconds ago", n)),
)


@register.filter
def ago(moment: datetime | None) -> SafeString | str:
    """How long ago in one unit, rounded down, with the exact time on hover; a dash where there is no moment."""
    if moment is None:
        return "–"
    exact = localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        exact.isoformat(),
        exact.strftime("%Y-%m-%d %H:%M:%S %Z"),
        _in_words(int((now() - moment).total_seconds())),
    )


def _in_words(seconds: int) -> str:
    for least, size, words in UNITS:
        if seconds >= least:
            return words(seconds // size) % {"n": seconds // size}
    return _("just now")
