r"""LaTeX in Markdown: `$…$`, `$$…$$`, `\(…\)`, `\[…\]` and amsmath environments become MathML, which browsers draw.

What cannot be converted is shown as its source, in code type: half a formula is no reason to hide an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererProtocol
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.dollarmath.index import math_inline_dollar

# The converter's time grows faster than the formula: 2,000 characters take it well under 100 ms.
LONGEST_FORMULA = 2_000
MOST_FORMULAS = 500  # of one text
CLOSING = {"(": "\\)", "[": "\\]"}


def to_mathml(source: str, *, display: bool) -> str:
    """MathML for a formula, or its source as code where it is too long or not understood. Not yet sanitised."""
    if len(source) <= LONGEST_FORMULA:
        # A broken formula raises whatever the converter happens to trip over.
        with suppress(Exception):
            return str(convert(source, display="block" if display else "inline"))
    return f'<code class="math-source">{escapeHtml(source)}</code>'


def math_plugin(md: MarkdownIt) -> None:
    """Teach a Markdown parser the formulas that models write."""
    # "$5 and $10" is money: no space inside the dollars, no digit after the closing one.
    dollarmath_plugin(md, allow_labels=False, allow_space=False, allow_digits=False, double_inline=True)
    dollars = math_inline_dollar(allow_space=False, allow_digits=False, allow_double=True)
    md.inline.ruler.at("math_inline", _looking_back_at_nothing(dollars))
    amsmath_plugin(md)
    md.inline.ruler.before("escape", "math_bracket", _bracket_inline)
    md.block.ruler.before("fence", "math_bracket_block", _bracket_block, {"alt": ["paragraph", "blockquote", "list"]})
    for name, display in (
        ("math_inline", False),
        ("math_inline_double", True),
        ("math_block", True),
        ("amsmath", True),
    ):
        md.add_render_rule(name, _render_display if display else _render_inline)


def _looking_back_at_nothing(rule: Callable[[StateInline, bool], bool]) -> Callable[[StateInline, bool], bool]:
    """The plugin's rule for `$`, mended: at the start of a text it takes the last character for the one before.

    So a paragraph that began with a formula and ended in a digit lost it.
    """

    def dollars(state: StateInline, silent: bool) -> bool:
        if state.pos:
            return rule(state, silent)
        text, state.src = state.src, f"{state.src} "
        try:
            return rule(state, silent)
        finally:
            state.src = text

    return dollars


def _bracket_inline(state: StateInline, silent: bool) -> bool:
    r"""`\(…\)` and `\[…\]` inside a paragraph."""
    start = state.pos
    if state.src[start] != "\\" or state.src[start + 1 : start + 2] not in CLOSING:
        return False
    opening = state.src[start + 1]
    # Once there is no closing bracket after some place, there is none later on: look only once.
    nowhere_after: dict[str, int] = state.env.setdefault("math_nowhere_after", {})
    key = f"{opening}{len(state.src)}"
    if start >= nowhere_after.get(key, len(state.src)):
        return False
    end = state.src.find(CLOSING[opening], start + 2, state.posMax)
    if end < 0:
        nowhere_after[key] = start
        return False
    if not silent:
        token = state.push("math_inline_double" if opening == "[" else "math_inline", "math", 0)
        token.content = state.src[start + 2 : end]
    state.pos = end + 2
    return True


def _bracket_block(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    r"""`\[` at the start of a line to `\]` at the end of the same or a later one, before the next empty line."""
    if state.is_code_block(start_line) or not _line(state, start_line).startswith("\\["):
        return False
    # Lines that were searched in vain are not searched again from the next opening bracket.
    if start_line < int(state.env.get("no_bracket_closes_before", 0)):
        return False
    for line in range(start_line, end_line):
        text = _line(state, line)
        if text.endswith("\\]"):
            break
        if not text or line == end_line - 1:
            state.env["no_bracket_closes_before"] = line
            return False
    formula = "\n".join(_line(state, n) for n in range(start_line, line + 1))[2:-2]
    if "\\]" in formula:
        return False  # two formulas on a line: the inline rule reads them
    if not silent:
        token = state.push("math_block", "math", 0)
        token.block = True
        token.map = [start_line, line + 1]
        token.content = formula
    state.line = line + 1
    return True


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].strip()


def _render_inline(
    self: RendererProtocol, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
) -> str:
    return _render(tokens[idx].content.strip(), display=False, env=env)


def _render_display(
    self: RendererProtocol, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
) -> str:
    return f'<span class="math-display">{_render(tokens[idx].content.strip(), display=True, env=env)}</span>'


def _render(source: str, *, display: bool, env: EnvType) -> str:
    env["formulas"] = int(env.get("formulas", 0)) + 1
    if env["formulas"] > MOST_FORMULAS:
        return f'<code class="math-source">{escapeHtml(source)}</code>'
    return to_mathml(source, display=display)
