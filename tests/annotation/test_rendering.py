"""Markdown, code, tables and formulas come out readable, and hostile text comes out harmless."""

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.rendering import render
from models_registry.sanitising import HTML, MATHML

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><animate onbegin=alert(1)>",
    '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:msgbox(1))",
    "[x](/sign-out/)",
    "[x](//evil.example)",
    "<javascript:alert(1)>",
    "![x](javascript:alert(1))",
    '![x](https://evil.example/a.png "onerror=alert(1)")',
    '[x](https://a.example "\\" onmouseover=alert(1)")',
    "[x]: javascript:alert(1)\n\n[x]",
    '```"><script>alert(1)</script>\nx\n```',
    "```html\n</code></pre><script>alert(1)</script>\n```",
    "`</code><script>alert(1)</script>`",
    "| <script>alert(1)</script> | x |\n|---|---|\n| <img src=x onerror=alert(1)> | y |",
    r"$\href{javascript:alert(1)}{x}$",
    r"$\text{</mtext></math><script>alert(1)</script>}$",
    r"$$\style{background:url(//evil.example)}{x}$$",
    r"$\unicode{x3c}script\unicode{x3e}$",
    "$<img src=x onerror=alert(1)>$",
    r"\(</math><img src=x onerror=alert(1)>\)",
    "\\begin{align}<script>alert(1)</script>\\end{align}",
    "<!--[if IE]><script>alert(1)</script><![endif]-->",
    "<style>@import '//evil.example'</style>",
    "<form action=//evil.example><input name=csrfmiddlewaretoken>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\x00<script>\x00alert(1)",
    "<scr\x00ipt>alert(1)</scr\x00ipt>",
]


class Parsed(HTMLParser):
    """Every tag with its attributes, and the text, as a browser reads them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}

    @property
    def attributes(self) -> set[str]:
        return {name for _, attributes in self.tags for name in attributes}


def assert_harmless(html: str) -> None:
    parsed = Parsed(html)
    assert parsed.names <= HTML | MATHML
    assert not {name for name in parsed.attributes if name.startswith("on") or name in ("style", "src", "id", "name")}
    links = [attributes for tag, attributes in parsed.tags if tag == "a"]
    assert all(re.match(r"(https?://|mailto:)", link.get("href", "http://")) for link in links)
    assert all(link["rel"] == "noopener noreferrer nofollow" and link["target"] == "_blank" for link in links)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_harmless(text: str) -> None:
    assert_harmless(render(text))
    assert_harmless(render(f"> - {text}\n\n{text}"))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20), st.sampled_from("$`[]()<>|*_\\\n!#"))))
def test_hostile_text_is_harmless_in_any_mixture(parts: list[str]) -> None:
    assert_harmless(render("".join(parts)))


def test_tags_in_a_text_are_shown_as_text() -> None:
    parsed = Parsed(render("Use <b>bold</b> and <script>alert(1)</script>."))
    assert parsed.text.strip() == "Use <b>bold</b> and <script>alert(1)</script>."
    assert parsed.names == {"p"}


def test_markdown_becomes_structure() -> None:
    html = render("# Title\n\n- one\n- **two**\n\n> said\n\n1. first\n\n~~no~~ *yes*")
    assert Parsed(html).names == {"h3", "ul", "ol", "li", "strong", "blockquote", "p", "s", "em"}


def test_a_single_line_break_stays_one() -> None:
    assert "one<br>" in render("one\ntwo")


def test_a_table_keeps_its_alignment_without_a_style() -> None:
    parsed = Parsed(render("| a | b | c |\n|:--|:-:|--:|\n| 1 | 2 | 3 |"))
    classes = [attributes.get("class", "") for tag, attributes in parsed.tags if tag == "td"]
    assert classes == ["", "to-center", "to-end"]


def test_code_is_highlighted_by_classes_and_reads_left_to_right() -> None:
    html = render("```python\ndef f():\n    return '<b>'\n```")
    assert '<pre dir="ltr" tabindex="0"><code><span class="hl-k">def</span>' in html
    assert Parsed(html).text.strip() == "def f():\n    return '<b>'"


@pytest.mark.parametrize("language", ["nosuchlanguage", "", 'python" onclick=alert(1)'])
def test_code_in_an_unknown_language_is_shown_plain(language: str) -> None:
    parsed = Parsed(render(f"```{language}\na < b\n```"))
    assert parsed.text.strip() == "a < b"
    assert "span" not in parsed.names


@pytest.mark.parametrize(
    "text",
    ["$x^2$", r"\(x^2\)", "Let $x^2$ be.", "$$x^2$$", r"\[x^2\]", "\\[\nx^2\n\\]", "\\begin{align}\nx^2\n\\end{align}"],
)
def test_every_way_to_write_a_formula_becomes_mathml(text: str) -> None:
    html = render(text)
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in html
    assert "^" not in html


@pytest.mark.parametrize(
    ("text", "display"),
    [("$x$", False), (r"\(x\)", False), ("$$x$$", True), (r"\[x\]", True), (r"So \[x\] holds.", True)],
)
def test_a_formula_of_its_own_stands_on_its_own_line(text: str, display: bool) -> None:
    html = render(text)
    assert ('<math display="block">' in html) is display
    assert ('<math display="inline">' in html) is not display


@pytest.mark.parametrize("text", ["It costs $5 and $10.", "from $5–$7", "a $ b $ c", r"escaped \$x\$", "`$x$`"])
def test_money_and_code_are_no_formulas(text: str) -> None:
    assert "<math" not in render(text)


@pytest.mark.parametrize("text", [r"$\frac{1}{$", "$" + "x+" * 1500 + "x$", "$}{$", r"$\left($", "$" + "{" * 900 + "$"])
def test_a_broken_or_endless_formula_is_shown_as_it_is(text: str) -> None:
    parsed = Parsed(render(text))
    assert parsed.tags == [("p", {}), ("code", {"class": "math-source"})]
    assert parsed.text.strip() == text.strip("$")


def test_two_formulas_on_one_line_stay_two() -> None:
    assert render(r"\[a\] and \[b\]").count("<math") == 2


@pytest.mark.parametrize("text", ["$x$ is 5", "$$x$$ costs $5 and $6", r"$x$ and a\\"])
def test_a_formula_at_the_start_stands_whatever_the_text_ends_with(text: str) -> None:
    html = render(text)
    assert html.count("<math") == 1
    assert "$<" not in html


def test_a_picture_is_shown_as_a_link_and_not_loaded() -> None:
    parsed = Parsed(render("![a cat](https://example.org/cat.png)"))
    assert parsed.text.strip() == "Image: a cat"
    assert "img" not in parsed.names
    assert ("a", "https://example.org/cat.png") in [(tag, attributes.get("href")) for tag, attributes in parsed.tags]


def test_every_block_finds_its_own_direction() -> None:
    html = render("مرحبا\n\nHello\n\n- شكرا\n\n# عنوان\n\n| أ |\n|---|\n| ب |")
    parsed = Parsed(html)
    found = [attributes.get("dir") for tag, attributes in parsed.tags if tag in ("p", "li", "h3", "td", "th")]
    assert found == ["rtl", "ltr", "rtl", "rtl", "rtl", "rtl"]


@pytest.mark.parametrize(
    ("text", "directions"),
    [
        ("> اقتباس\n>\n> and on", [("blockquote", "rtl"), ("p", "rtl"), ("p", "ltr")]),
        ("1. اسقه\n\n   باكرا", [("li", "rtl"), ("p", "rtl"), ("p", "rtl")]),
        ("`print()` يطبع النص", [("p", "rtl")]),
        ("**שלום** world", [("p", "rtl")]),
        ("12:30 - 13:00", [("p", None)]),
        ("> - 5\n> - مرحبا", [("blockquote", "rtl"), ("li", None), ("li", "rtl")]),
    ],
)
def test_the_first_letter_that_has_a_direction_gives_it(text: str, directions: list[tuple[str, str | None]]) -> None:
    parsed = Parsed(render(text))
    blocks = [(tag, attributes.get("dir")) for tag, attributes in parsed.tags if tag in ("blockquote", "li", "p")]
    assert blocks == directions


@pytest.mark.parametrize(
    "bomb",
    [
        "[" * 30_000,
        "> " * 15_000,
        "*a " * 10_000,
        "$a" * 15_000,
        "\\(" * 15_000,
        "\\[\n" * 10_000,
        "\\[ a\n b\n" * 5_000,
        "![" * 15_000,
        "`a " * 10_000,
        "_a__" * 7_500,
        "```python\n" + "('" * 15_000,
        "$" + "\\left(" * 300 + "$",
        "$a^{" * 7_000,
        "&a" * 15_000,
        "\n".join(" " * n + "- x" for n in range(200)),
        "Word and more. " * 2_000,
    ],
    ids=lambda bomb: repr(bomb[:12]),
)
def test_30_000_characters_made_to_be_slow_are_not(bomb: str) -> None:
    start = time.process_time()
    html = render(bomb)
    # The worst takes 0.5 s here; a quadratic rule took 25 s.
    assert time.process_time() - start < 5
    assert html


def test_a_text_too_long_to_render_is_shown_plain() -> None:
    html = render("<b>*x*</b> " * 20_000)
    assert html.startswith('<p dir="auto">&lt;b&gt;*x*')


@pytest.mark.parametrize("target", ["javascript:alert(1)", "data:text/html,x", "/sign-out/", "//evil.example", "#top"])
def test_a_link_that_leads_nowhere_good_is_shown_as_written(target: str) -> None:
    parsed = Parsed(render(f"[click]({target})"))
    assert parsed.text.strip() == f"[click]({target})"
    assert "a" not in parsed.names
