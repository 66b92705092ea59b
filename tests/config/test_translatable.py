"""No word escapes translation: neither in a template, nor in the code of a room, nor between the two and the catalogue.

A room is listed below once its words are marked; from then on an unmarked word in it fails here.
"""

import ast
import gettext
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.template.base import Lexer, TokenType
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT / "locale" / "de" / "LC_MESSAGES" / "django.po"
# Patterns below templates/, and packages.
TEMPLATES = ["*.html", "annotation/*.html", "forms/*.html", "training/*.html", "models_registry/*.html", "api/*.html"]
TEMPLATES += ["account*/*.html", "socialaccount/*.html", "admin/**/*.html"]
CODE = ["annotation", "training", "models_registry", "api", "config"]

# What is called so in every language.
NAMES = {"Prefloop", "UTC", "SHA", "sha", "ms"}
# What people type or copy, and what is no text.
VERBATIM = {"code", "kbd", "pre", "script", "style", "template"}
SPOKEN = {"alt", "aria-description", "aria-label", "data-label", "label", "placeholder", "title"}
WORD = re.compile(r"[^\W\d_]{2,}")
STRING = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
# Filters whose argument is shown; `_("…")` marks it.
FILTER_WORDS = re.compile(rf"\|\s*(?:default|default_if_none|yesno|pluralize|add|join)\s*:\s*({STRING})")
PLURALIZE = re.compile(r"\|\s*pluralize\b")
HANDED_ON = re.compile(rf"(\w+)=({STRING})")
# Blocks that stand inside a tag of base.html.
INSIDE_A_TAG = re.compile(r"block (?:main_class|body_attributes)\b")
SHOWN_AGAIN = {"endcomment", "endblock"}
BEGINS, ENDS = re.compile(r"blocktrans(?:late)?\b"), re.compile(r"endblocktrans(?:late)?\b")

# Errors whose text a page shows as it is.
COMPLAINTS = {"ValidationError", "CannotDecideError", "StillNeededError"}
MARKS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy"}
MARKS |= {"pgettext", "pgettext_lazy", "npgettext", "npgettext_lazy"}
CALL = re.compile(rf"\b(_|gettext|ngettext|pgettext|npgettext)\(u?({STRING})(?:, u?({STRING}))?")


def words_in(text: str) -> list[str]:
    return [word for word in WORD.findall(text) if word not in NAMES]


class Shown(HTMLParser):
    """Collects what a reader sees or hears of a page: text, and the attributes that are read out."""

    def __init__(self) -> None:
        super().__init__()
        self.verbatim = 0
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.verbatim += tag in VERBATIM
        values = dict(attrs)
        if tag == "input" and values.get("type") in {"submit", "button", "reset"}:
            self.found.append(values.get("value") or "")
        self.found += [value or "" for name, value in attrs if name in SPOKEN]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        self.verbatim -= tag in VERBATIM

    def handle_data(self, data: str) -> None:
        if not self.verbatim:
            self.found.append(data)


def unmarked_in_template(source: str) -> list[str]:
    """Words of a template that are the same in every language, because nothing marks them."""
    html: list[str] = []
    found: list[str] = []
    is_marked = is_hidden = False
    for token in Lexer(source).tokenize():
        if token.token_type == TokenType.BLOCK:
            is_marked = bool(BEGINS.match(token.contents)) or (is_marked and not ENDS.match(token.contents))
            is_hidden = begins_hidden(token.contents) or (
                is_hidden and token.contents not in {"endcomment", "endblock"}
            )
        if token.token_type in {TokenType.BLOCK, TokenType.VAR}:
            found += unmarked_in_tag(token.contents)
        elif token.token_type == TokenType.TEXT and not is_marked and not is_hidden:
            html.append(token.contents)
    shown = Shown()
    shown.feed("".join(html))
    shown.close()
    return found + [" ".join(text.split()) for text in shown.found if words_in(text)]


def begins_hidden(contents: str) -> bool:
    return contents == "comment" or bool(INSIDE_A_TAG.match(contents))


def unmarked_in_tag(contents: str) -> list[str]:
    """Strings that a tag or filter shows: `|default:"none"`, `with title="Gold"`; a plural belongs to blocktrans."""
    found = [contents] if PLURALIZE.search(contents) else []
    found += [string for string in FILTER_WORDS.findall(contents) if words_in(string)]
    if contents.startswith("include "):
        # A key is one lower-case word; anything else is for people.
        found += [string for _, string in HANDED_ON.findall(contents) if not re.fullmatch(r"\W*[a-z_-]*\W*", string)]
    return found


def called(call: ast.Call) -> str:
    """The last name of what is called: `success` of `messages.success`."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def is_text(node: ast.AST | None) -> bool:
    """A string with words in it, or one put together from parts, that nothing marks."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and bool(words_in(node.value))
    if isinstance(node, ast.JoinedStr):
        return any(is_text(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return is_text(node.left)
    if isinstance(node, ast.IfExp):
        return is_text(node.body) or is_text(node.orelse)
    if isinstance(node, ast.Call) and called(node) == "format" and isinstance(node.func, ast.Attribute):
        return is_text(node.func.value)
    return False


def unmarked_in_code(tree: ast.Module) -> Iterator[ast.AST]:
    """What a person reads although no call marks it: labels, choices, messages, complaints of a form."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from filter(is_text, spoken_by_call(node))
        elif isinstance(node, ast.ClassDef) and is_choices(node):
            for member in node.body:
                if isinstance(member, ast.Assign) and isinstance(member.value, ast.Tuple):
                    yield from filter(is_text, member.value.elts[-1:])


def is_choices(node: ast.ClassDef) -> bool:
    return any(
        getattr(base, "attr", getattr(base, "id", "")) in {"TextChoices", "IntegerChoices"} for base in node.bases
    )


def spoken_by_call(node: ast.Call) -> Iterator[ast.AST]:
    name = called(node)
    if isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "messages":
        yield from node.args[1:2]
    if name == "add_error":
        yield from node.args[1:2]
    if name in COMPLAINTS:
        yield from node.args[:1]
    if name.endswith(("Field", "Widget", "Input")) or name in {"CheckConstraint", "UniqueConstraint"}:
        for keyword in node.keywords:
            if keyword.arg in {"label", "help_text", "empty_label", "violation_error_message"}:
                yield keyword.value


@pytest.mark.parametrize("pattern", TEMPLATES)
def test_every_word_of_a_template_is_marked(pattern: str) -> None:
    files = sorted((ROOT / "templates").glob(pattern))
    assert files
    assert {file.name: found for file in files if (found := unmarked_in_template(file.read_text()))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "<p>Nobody yet.</p>",
        "{% if a %}Save{% endif %}",
        '<nav aria-label="Project"></nav>',
        '<td title="{{ n }} votes"></td>',
        '{{ name|default:"a file" }}',
        '{{ a|yesno:"yes,no" }}',
        "{% blocktrans %}pair{% endblocktrans %}{{ n|pluralize }}",
        '{% include "a.html" with title="Gold" %}',
        "{% trans 'one' %} two",
        "{% blocktrans %}one{% endblocktrans %} two",
    ],
)
def test_an_unmarked_word_of_a_template_is_found(source: str) -> None:
    assert unmarked_in_template(source)


@pytest.mark.parametrize(
    "source",
    [
        '{% trans "Save" %} · {{ name }} Prefloop',
        "{% blocktrans count n=n %}{{ n }} pair{% plural %}{{ n }} pairs{% endblocktrans %}",
        '<p class="muted small" id="{{ a }}"><code>{"prompt": "…"}</code> <kbd>esc</kbd></p>',
        '{{ name|default:_("a file") }} {{ a|date:"H:i" }}',
        '{% include "forms/field.html" with tab="gold" %}{# a word #}',
        "{% block main_class %}label-page{% endblock %}",
        '<td{% if a %} class="b"{% endif %} title="{% trans \'of all\' %}">{{ n }} %</td>',
    ],
)
def test_a_marked_word_of_a_template_is_let_through(source: str) -> None:
    assert unmarked_in_template(source) == []


@pytest.mark.parametrize("room", CODE)
def test_every_word_of_the_code_is_marked(room: str) -> None:
    found = {}
    for file in sorted((ROOT / room).rglob("*.py")):
        if "migrations" in file.parts or "management" in file.parts:
            continue
        lines = [f"{node.lineno}: {ast.unparse(node)}" for node in unmarked_in_code(ast.parse(file.read_text()))]
        if lines:
            found[str(file.relative_to(ROOT))] = lines
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        'messages.success(request, "Saved.")',
        'messages.success(request, f"{n} are in.")',
        'forms.CharField(label="Name")',
        'models.TextField(help_text="Shown beside the answers.")',
        'form.add_error("file", "It is empty.")',
        'raise ValidationError("It is empty.")',
        'raise CannotDecideError(f"{person} has settled it.")',
        'class State(models.TextChoices):\n    DONE = "done", "done"',
    ],
)
def test_an_unmarked_word_of_the_code_is_found(source: str) -> None:
    assert list(unmarked_in_code(ast.parse(source)))


def unquoted(*strings: str) -> str:
    """A message as the catalogue keys it, its context before it."""
    return "\x04".join(str(ast.literal_eval(string)) for string in strings if string)


def marked_in_templates() -> Iterator[str]:
    for file in (ROOT / "templates").rglob("*.html"):
        for mark, first, second in CALL.findall(templatize(file.read_text(), str(file))):
            yield unquoted(first, second) if "pgettext" in mark else unquoted(first)


def marked_in_code() -> Iterator[str]:
    for room in ("accounts", "annotation", "api", "config", "models_registry", "training"):
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and called(node) in MARKS:
                    texts = [ast.literal_eval(part) for part in node.args if isinstance(part, ast.Constant)]
                    texts = [text for text in texts if isinstance(text, str)]
                    if texts:
                        yield "\x04".join(texts[:2]) if "pgettext" in called(node) else texts[0]


def entries(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The catalogue's entries: the flags, and each keyword with its text."""
    for paragraph in re.split(r"\n\s*\n", path.read_text()):
        parts: dict[str, str] = {}
        keyword, flags = "", ""
        for line in paragraph.splitlines():
            if line.startswith("#"):
                flags += line if line.startswith("#,") else ""
                continue
            if match := re.match(r"(msg\w+(?:\[\d\])?)\s+", line):
                keyword, line = match[1], line[match.end() :]
                parts[keyword] = ""
            parts[keyword] += ast.literal_eval(line)
        if parts.get("msgid"):
            yield flags, parts


def key(parts: dict[str, str]) -> str:
    return f"{parts['msgctxt']}\x04{parts['msgid']}" if "msgctxt" in parts else parts["msgid"]


@pytest.mark.parametrize("marked", [marked_in_templates, marked_in_code])
def test_every_marked_word_is_in_the_catalogue(marked: object) -> None:
    assert callable(marked)
    known = {key(parts) for _, parts in entries(CATALOGUE)}
    messages = set(marked())
    assert len(messages) > 40
    assert sorted(messages - known) == []


def test_every_entry_of_the_catalogue_is_translated_once() -> None:
    found = list(entries(CATALOGUE))
    keys = [key(parts) for _, parts in found]
    assert sorted(each for each in set(keys) if keys.count(each) > 1) == []
    unsure = [parts["msgid"] for flags, parts in found if "fuzzy" in flags]
    empty = [parts["msgid"] for _, parts in found if not all(text for name, text in parts.items() if "msgstr" in name)]
    assert (unsure, empty) == ([], [])


def test_the_compiled_catalogue_says_what_the_catalogue_says() -> None:
    with CATALOGUE.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]  # gettext has no question for this
    said: dict[str | tuple[str, int], str] = {}
    for _, parts in entries(CATALOGUE):
        if "msgid_plural" in parts:
            said |= {(key(parts), number): parts[f"msgstr[{number}]"] for number in (0, 1)}
        else:
            said[key(parts)] = parts["msgstr"]
    assert {message: text for message, text in compiled.items() if message} == said


def test_a_translation_names_the_same_variables() -> None:
    """A name that the English has not would fail when the page is shown. "One vote" may stand without its number."""

    def variables(text: str) -> set[str]:
        return set(re.findall(r"%\(\w+\)[sd]|{\w*}|%s|%d", text))

    wrong = []
    for _, parts in entries(CATALOGUE):
        english = [variables(text) for name, text in parts.items() if name in {"msgid", "msgid_plural"}]
        german = [variables(text) for name, text in parts.items() if name.startswith("msgstr")]
        if len(german) != len(english) or german[-1] != english[-1] or german[0] not in english:
            wrong.append(parts["msgid"])
    assert wrong == []
