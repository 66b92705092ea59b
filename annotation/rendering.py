"""Text that models, imports and people wrote, as safe HTML. Every rich text of the site passes through `render`.

Markdown-it reads it with HTML switched off, so tags in the text show as text. Then the site's one allow-list
(models_registry/sanitising.py) removes whatever should not be there, were a parser, a highlighter or a formula
converter fooled.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile
from unicodedata import bidirectional

from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererProtocol
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from annotation.latex import math_plugin
from models_registry.sanitising import as_plain_text, sanitise

LONGEST_HIGHLIGHTED = 20_000  # characters of one code block; beyond, it is shown plain
LONGEST_REMEMBERED = 20_000  # characters of one text; a longer one is rendered anew each time, to spare the memory
LONGEST_RENDERED = 200_000  # characters of one text; beyond, it is shown as plain text

# Headings of an answer come below the page's own.
HEADING = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6", "h6": "h6"}
STRONG = {"L": "ltr", "R": "rtl", "AL": "rtl"}  # Unicode's classes of letters that have a direction
# Blocks whose direction follows their own first letter, so that Arabic and English can stand in one answer.
OWN_DIRECTION = {"paragraph_open", "heading_open", "list_item_open", "th_open", "td_open", "blockquote_open"}


def _number_and_direct(state: StateCore) -> None:
    """Lower the headings, give blocks their own direction, turn the alignment of cells from a style into a class."""
    for place, token in enumerate(state.tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = HEADING[token.tag]
        if token.type in OWN_DIRECTION and (direction := _direction(state.tokens, place)):
            token.attrSet("dir", direction)
        if token.type in ("th_open", "td_open"):
            alignment = str(token.attrs.pop("style", ""))
            token.attrSet("class", {"text-align:center": "to-center", "text-align:right": "to-end"}.get(alignment, ""))


def _direction(tokens: Sequence[Token], place: int) -> str:
    """Of a block, by its first letter that has one (Unicode's rule P2, without code); "" where none has.

    `dir="auto"` would look past blocks inside that have a direction of their own, so at nothing of a quotation.
    """
    following = (tokens[n] for n in range(place + 1, len(tokens)))
    inside = takewhile(lambda token: token.level > tokens[place].level, following)
    texts = (child.content for token in inside for child in token.children or () if child.type == "text")
    classes = (bidirectional(character) for text in texts for character in text)
    return next((STRONG[name] for name in classes if name in STRONG), "")


def _render_code(self: RendererProtocol, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
    token = tokens[idx]
    language = token.info.split(maxsplit=1)[0] if token.info.strip() else ""
    return f'<pre dir="ltr" tabindex="0"><code>{_highlight(token.content, language)}</code></pre>\n'


def _highlight(code: str, language: str) -> str:
    try:
        if not language or len(code) > LONGEST_HIGHLIGHTED:
            return escapeHtml(code)
        lexer = get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        return escapeHtml(code)
    return str(highlight(code, lexer, HtmlFormatter(nowrap=True, classprefix="hl-")))


def _render_image(self: RendererProtocol, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
    """No picture is loaded: it would tell another host who reads what. Its address is shown as a link."""
    address = str(tokens[idx].attrs.get("src", ""))
    words = tokens[idx].content or address
    return f'<a href="{escapeHtml(address)}">Image: {escapeHtml(words)}</a>'


def _open_table(self: RendererProtocol, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
    return '<div class="table-scroll" tabindex="0"><table>\n'


def _close_table(self: RendererProtocol, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
    return "</table></div>\n"


def _leads_elsewhere(url: str) -> bool:
    """A link within this site, or by another scheme, stays text."""
    return url.lower().startswith(("http://", "https://", "mailto:"))


def _parser() -> MarkdownIt:
    md = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    md.validateLink = _leads_elsewhere  # type: ignore[method-assign]  # how markdown-it wants it replaced
    math_plugin(md)
    md.core.ruler.push("number_and_direct", _number_and_direct)
    md.add_render_rule("fence", _render_code)
    md.add_render_rule("code_block", _render_code)
    md.add_render_rule("image", _render_image)
    md.add_render_rule("table_open", _open_table)
    md.add_render_rule("table_close", _close_table)
    return md


_markdown = _parser()


def render(text: str) -> SafeString:
    """Markdown with code, tables and LaTeX as HTML that is safe to show. Never raises, whatever the text."""
    return _remembered(text) if len(text) <= LONGEST_REMEMBERED else _render(text)


def _render(text: str) -> SafeString:
    if len(text) > LONGEST_RENDERED:
        return as_plain_text(text)
    try:
        html = _markdown.render(text)
    except RecursionError:
        return as_plain_text(text)
    return sanitise(html)


_remembered = lru_cache(maxsize=256)(_render)


def block_starts(text: str) -> list[int]:
    """Where the blocks of a Markdown text begin (paragraphs, lists, tables, …), as places in the text."""
    try:
        tokens = _markdown.parse(text) if len(text) <= LONGEST_RENDERED else []
    except RecursionError:
        return []
    first_lines = [token.map[0] for token in tokens if token.level == 0 and token.map]
    line_starts = [0, *(place + 1 for place, character in enumerate(text) if character == "\n")]
    return [line_starts[line] for line in first_lines]
