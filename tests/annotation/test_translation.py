"""The labelling side in German: every word that is marked for translation has one, and the page uses them."""

import ast
import gettext
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from annotation.models import Project, User
from tests.annotation.conftest import MakeComparison

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT / "locale" / "de" / "LC_MESSAGES" / "django.mo"
MARKS = {"_", "gettext", "gettext_lazy", "pgettext", "pgettext_lazy"}
TRANS = re.compile(r"""{%\s*trans\s+(?:"([^"]+)"|'([^']+)')\s*%}""")
BLOCK = re.compile(r"{%\s*blocktrans([^%]*)%}(.*?){%\s*endblocktrans\s*%}", re.DOTALL)
VARIABLE = re.compile(r"{{\s*(\w+)\s*}}")

SignIn = Callable[[User], Client]


def marked_in_code() -> Iterator[str]:
    """A context and its message are kept apart by the character that gettext uses."""
    for file in (ROOT / "annotation").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKS:
                words = [part.value for part in node.args if isinstance(part, ast.Constant)]
                if words:
                    yield "\x04".join(words)


def marked_in_templates() -> Iterator[str]:
    for file in (ROOT / "templates").rglob("*.html"):
        text = file.read_text()
        for double, single in TRANS.findall(text):
            yield double or single
        for _, inside in BLOCK.findall(text):
            singular = re.split(r"{%\s*plural\s*%}", inside)[0].replace("%", "%%")
            yield VARIABLE.sub(r"%(\1)s", singular)


@pytest.fixture(scope="module")
def german() -> gettext.GNUTranslations:
    with CATALOGUE.open("rb") as file:
        return gettext.GNUTranslations(file)


def translated(catalogue: gettext.GNUTranslations, message: str) -> str:
    if "\x04" in message:
        return catalogue.pgettext(*message.split("\x04"))
    return catalogue.gettext(message)


def in_catalogue(catalogue: gettext.GNUTranslations, message: str) -> bool:
    known = catalogue._catalog  # type: ignore[attr-defined]  # gettext has no question for this
    return message in known or (message, 0) in known


@pytest.mark.parametrize("marked", [marked_in_code, marked_in_templates])
def test_every_marked_word_has_a_translation(
    german: gettext.GNUTranslations, marked: Callable[[], Iterator[str]]
) -> None:
    messages = set(marked())
    assert len(messages) > 40
    assert sorted(message for message in messages if not in_catalogue(german, message)) == []


def test_a_translation_names_the_same_variables(german: gettext.GNUTranslations) -> None:
    def variables(text: str) -> list[str]:
        return sorted(re.findall(r"%\(\w+\)s|{n}|%%|%s", text))

    messages = [message for message in {*marked_in_code(), *marked_in_templates()} if variables(message)]
    assert messages
    wrong = [m for m in messages if (m, 0) not in german._catalog and variables(translated(german, m)) != variables(m)]  # type: ignore[attr-defined]
    assert wrong == []


def test_the_page_speaks_the_language_that_the_browser_asks_for(
    project: Project, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    asks = {"aspects": ["helpful"], "asks_acceptability": True, "asks_reason": True, "offers_edit": True}
    Project.objects.filter(pk=project.pk).update(**asks, reason_tags=["clear"], guidelines="")
    url, client = reverse("label", args=[project.slug]), signed_in(ann)

    english = client.get(url).content.decode()
    page = client.get(url, headers={"Accept-Language": "de-AT,de;q=0.9"}).content.decode()

    assert '<html lang="en">' in english
    assert '<html lang="de">' in page
    assert "Welche Antwort ist besser?" in page
    assert "Gespeichert" in page
    # Words of English that no German sentence has, outside tags: none is left over.
    shown = re.sub(r"<script.*?</script>|<[^>]*>", " ", page, flags=re.DOTALL)
    shown = re.sub(r"(?:First|Second) answer|helpful|clear", " ", shown)
    assert re.findall(r"\b(?:the|and|is|this|your|pair|answer|reason|skip|keys?)\b", shown, re.IGNORECASE) == []


def test_reasons_to_skip_are_kept_in_one_language(
    project: Project, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    url = reverse("label", args=[project.slug])
    page = signed_in(ann).get(url, headers={"Accept-Language": "de"}).content.decode()
    assert 'value="The answers say the same" data-key="2">Die Antworten sagen dasselbe' in page


def test_a_language_that_there_is_not_is_english(
    project: Project, signed_in: SignIn, ann: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    page = signed_in(ann).get(reverse("label", args=[project.slug]), headers={"Accept-Language": "fr"})
    assert '<html lang="en">' in page.content.decode()
