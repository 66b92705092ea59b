"""Numbers with their sample size and interval, as text and as a small drawing."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from annotation.costs import grouped

register = template.Library()
MINUS = "\N{MINUS SIGN}"
WIDTH, MARGIN = 96, 4  # of the drawing, pixels


def _written(value: float, style: str) -> str:
    return f"{round(100 * value)}" if style == "share" else number_format(f"{value:.2f}").replace("-", MINUS)


@register.filter
def written(estimate: dict[str, Any] | None, style: str) -> str:
    """The value alone: `61 %` or `0.61`; a dash where there is none."""
    if estimate is None:
        return "–"
    return _written(estimate["value"], style) + (" %" if style == "share" else "")


@register.filter
def share(value: float) -> str:
    """A share in whole percents."""
    return f"{_written(value, 'share')} %"


@register.filter
def point(value: float, chart: dict[str, Any]) -> str:
    """A number of a chart, as the chart writes it (`written` in quality.js)."""
    if chart["style"] == "share":
        return share(value)
    return grouped(int(value)).replace("-", MINUS) if value == int(value) else _written(value, "number")


@register.filter
def interval(estimate: dict[str, Any] | None, style: str) -> str:
    """The ends of the 95 % interval and the number of observations: `55 to 67 %, n 812`."""
    if estimate is None:
        return ""
    if estimate["low"] is None:
        return f"n {estimate['n']}"
    low, high = _written(estimate["low"], style), _written(estimate["high"], style)
    unit = " %" if style == "share" else ""
    return _("{low} to {high}").format(low=low, high=high) + f"{unit}, n {estimate['n']}"


@register.simple_tag
def whisker(estimate: dict[str, Any] | None, style: str = "share", mark: float | None = None) -> SafeString | str:
    """The interval as a line and the value as a dot: shares from 0 to 1, numbers from -0.5 to 2.

    Drawn by attributes alone: the pages allow no inline style. `mark` is a line to compare with.
    """
    if estimate is None:
        return ""
    low, high = (0.0, 1.0) if style == "share" else (-0.5, 2.0)

    def x(value: float) -> str:
        share = (min(max(value, low), high) - low) / (high - low)
        return f"{MARGIN + share * (WIDTH - 2 * MARGIN):.1f}"

    ends = (estimate["value"],) * 2 if estimate["low"] is None else (estimate["low"], estimate["high"])
    parts = [_line("scale", f"{MARGIN}", f"{WIDTH - MARGIN}"), _line("span", x(ends[0]), x(ends[1]))]
    if mark is not None:
        parts.append(format_html('<line class="mark" x1="{0}" x2="{0}" y1="1" y2="15"></line>', x(mark)))
    dot = format_html('<circle cx="{}" cy="8" r="3.5"></circle>', x(estimate["value"]))
    drawing = format_html_join("", "{}", ((part,) for part in (*parts, dot)))
    return format_html('<svg class="whisker" width="{}" height="16" aria-hidden="true">{}</svg>', WIDTH, drawing)


def _line(name: str, start: str, end: str) -> SafeString:
    return format_html('<line class="{}" x1="{}" x2="{}" y1="8" y2="8"></line>', name, start, end)
