"""`short`, `signed`: measured numbers, as all pages show them."""

from __future__ import annotations

from django import template
from django.utils.formats import get_format

register = template.Library()
MINUS = "\N{MINUS SIGN}"


@register.filter
def short(value: float | None) -> str:
    """A number in four significant digits, with a true minus."""
    if value is None:
        return "–"
    words = _local(f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}")
    return words.replace("-", MINUS, 1) if value < 0 else words


@register.filter
def signed(value: float | None) -> str:
    """A change, with its sign; a true minus."""
    if value is None:
        return ""
    words = _local(f"{value:+.3g}".replace("-", MINUS, 1) if value < 0 else f"{value:+.3g}")
    return "0" if words in ("+0", f"{MINUS}0") else words


def _local(number: str) -> str:
    """A written number with the reader's signs for thousands and decimals."""
    signs = {",": get_format("THOUSAND_SEPARATOR"), ".": get_format("DECIMAL_SEPARATOR")}
    return "".join(signs.get(sign, sign) for sign in number)
