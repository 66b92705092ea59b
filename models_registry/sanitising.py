"""The one place where rich text becomes HTML that is safe to show: an allow-list of tags, attributes and classes.

Whatever reads Markdown, LaTeX or code for a page of this site hands its HTML to `sanitise`. A test looks that nobody
else calls nh3 or marks strings as safe.
"""

from __future__ import annotations

import nh3
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from pygments.token import STANDARD_TYPES

# fmt: off
MATHML = {
    "math", "mrow", "mi", "mn", "mo", "ms", "mtext", "mspace", "mfrac", "msqrt", "mroot", "mstyle", "merror", "mpadded",
    "mphantom", "mfenced", "menclose", "msub", "msup", "msubsup",
    "munder", "mover", "munderover", "mmultiscripts",
    "mtable", "mtr", "mtd",
}
MATHML_ATTRIBUTES = {
    "display", "mathvariant", "stretchy", "fence", "separator", "form", "lspace", "rspace", "minsize", "maxsize",
    "symmetric", "movablelimits", "accent", "accentunder", "linethickness", "displaystyle", "scriptlevel",
    "columnalign", "rowalign", "columnspacing", "rowspacing", "columnlines", "rowlines", "width", "height", "depth",
    "notation", "open", "close",
}
HTML = {
    "p", "br", "hr", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "pre", "code", "strong", "em", "s", "a",
    "span", "div", "table", "thead", "tbody", "tr", "th", "td",
}
# fmt: on
CODE_CLASSES = {f"hl-{name}" for name in STANDARD_TYPES.values() if name}

_cleaner = nh3.Cleaner(
    tags=HTML | MATHML,
    clean_content_tags={"script", "style"},
    attributes={
        "*": {"dir"},
        "a": {"href"},
        "ol": {"start"},
        "pre": {"tabindex"},
        "div": {"tabindex"},
        **dict.fromkeys(MATHML, MATHML_ATTRIBUTES),
    },
    allowed_classes={
        "span": CODE_CLASSES | {"math-display"},
        "code": {"math-source"},
        "div": {"table-scroll"},
        "th": {"to-center", "to-end"},
        "td": {"to-center", "to-end"},
    },
    set_tag_attribute_values={"a": {"target": "_blank"}},
    link_rel="noopener noreferrer nofollow",
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
)


def sanitise(html: str) -> SafeString:
    """HTML with nothing left in it but what is on the list. Links go to other sites, by http, https or mailto."""
    return mark_safe(_cleaner.clean(html))  # noqa: S308  this is the place where texts become safe


def as_plain_text(text: str) -> SafeString:
    """A text that is not read as anything: one paragraph, escaped."""
    return format_html('<p dir="auto">{}</p>', text)
