"""The managers' pages in German: none of them keeps a word of English."""

import json
import re
from collections.abc import Callable

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils.translation import override

from annotation import gold
from annotation.costs import Costs
from annotation.models import Batch, Comparison, Flag, ImportReport, Project, Role, Team, User
from annotation.models.importing import ImportState
from annotation.services import AnswerIn, set_role
from annotation.templatetags.quality import written

pytestmark = pytest.mark.django_db

# Words that no German sentence has.
ENGLISH = re.compile(
    r"\b(?:the|and|is|are|of|this|that|with|what|who|which|by|not|none|nobody|yet|you|your|here|from|when|where|how"
    r"|pairs?|answers?|votes?|rows?|judgments?|people|save|add|make|change|delete|settings|members|log|queue|quality"
    r"|somebody|new|invite|remove|show|search|for|them|they|their|has|have|to|it|its|on|at|as|can|each|more|only"
    r"|manager|annotators?|reviewer|file|reason|ago|done|failed)\b",
    re.IGNORECASE,
)
# What people wrote, what a file calls its fields, and what is typed as it stands.
WRITTEN = re.compile(r"<script.*?</script>|<template.*?</template>|<code>.*?</code>|<[^>]*>", re.DOTALL)
DATA = re.compile(r"(?:First|Second) answer \d+|Question \d+\?|summarize-from-feedback", re.IGNORECASE)
SPOKEN = re.compile(r'(?:title|aria-label|placeholder|alt|data-label)="([^"]*)"')


def left_in_english(page: str) -> list[str]:
    main = page[page.index("<title>") :]
    shown = DATA.sub(" ", " ".join([WRITTEN.sub(" ", main), *SPOKEN.findall(main)]))
    return ENGLISH.findall(shown)


@pytest.fixture
def busy(
    project: Project, judged: list[Comparison], compute: Callable[[], None], manager: User, ann: User, ben: User
) -> Project:
    """Something on every page."""
    set_role(project=project, person=manager, role=Role.MANAGER)
    asked = [{"role": "user", "content": "Question 99?"}]
    answers = [AnswerIn("First answer 99"), AnswerIn("Second answer 99")]
    gold.add(project=project, messages=asked, answers=answers, preferred=None, explanation="")
    Team.objects.create(project=project, name="Team 1").people.add(ann)
    Batch.objects.create(project=project, name="Paket 1").people.add(ben)
    Flag.objects.create(comparison=judged[0], annotator=ann, comment="Kaputt.")
    errors = [{"line": 1200, "reason": "messages, message 2, content is empty."}]
    values = {"rows": 4000, "error_count": 2, "errors": errors, "judged_by": ann, "created_by": manager}
    ImportReport.objects.create(project=project, state=ImportState.DONE, **values)
    ImportReport.objects.create(project=project, state=ImportState.FAILED, error="The file is empty.", **values)
    compute()
    return project


def test_no_page_of_a_manager_keeps_a_word_of_english(
    busy: Project, signed_in: Callable[[User], Client], manager: User, ann: User
) -> None:
    User.objects.filter(pk=manager.pk).update(is_staff=True)
    client = signed_in(manager)
    slug = [busy.slug]
    names = ("project", "project-settings", "members", "import", "export", "quality", "suspects", "adjudicate")
    names += ("queue-settings", "gold", "assignment", "flags", "history", "quality-mine")
    urls = [reverse(name, args=slug) for name in names]
    urls += [reverse("home"), reverse("new-project"), reverse("gold", args=slug) + "?q=Question"]
    urls += [reverse("quality-person", args=[*slug, ann.pk])]
    urls += [reverse("import-report", args=[*slug, report.pk]) for report in ImportReport.objects.all()]
    urls += [reverse("mark-gold", args=[*slug, Comparison.objects.latest("pk").pk])]
    found = {}
    for url in urls:
        response = client.get(url, headers={"Accept-Language": "de"})
        assert response.status_code == 200, url
        found[url] = left_in_english(response.content.decode())
    assert {url: words for url, words in found.items() if words} == {}


@pytest.mark.parametrize("strength", [None, 2])
def test_a_file_that_waits_for_a_word_is_shown_in_german(
    project: Project, signed_in: Callable[[User], Client], manager: User, strength: int | None
) -> None:
    asked = [{"role": "system", "content": "Question 1?"}, {"role": "user", "content": "Question 2?"}]
    row = {"prompt": asked, "chosen": "First answer 1", "rejected": "Second answer 1", "strength": strength}
    without = {"prompt": asked, "responses": ["First answer 1", "Second answer 1"]}
    file = SimpleUploadedFile("a.jsonl", f"{json.dumps(row if strength else without)}\nnope\n".encode())
    german = {"Accept-Language": "de"}
    client = signed_in(manager)
    page = client.post(reverse("import", args=[project.slug]), {"file": file}, headers=german, follow=True)
    shown = re.sub(r"<option.*?</option>", "", page.content.decode())  # shapes are called as their columns
    assert ">System</span>" in shown
    assert ">Nutzer</span>" in shown
    assert left_in_english(shown) == []


def test_numbers_are_written_as_the_reader_writes_them(
    busy: Project, signed_in: Callable[[User], Client], manager: User
) -> None:
    client = signed_in(manager)
    quality, report = reverse("quality", args=[busy.slug]), ImportReport.objects.first()
    assert report is not None
    german = client.get(quality, headers={"Accept-Language": "de"}).content.decode()
    english = client.get(quality).content.decode()
    number = re.compile(r'<b class="number">(\N{MINUS SIGN}?\d+[.,]\d\d)</b>')
    assert [value.replace(",", ".") for value in number.findall(german)] == number.findall(english) != []
    assert "," in "".join(number.findall(german))
    # Attributes are for the browser, which knows the point alone.
    drawn = re.compile(r'x1="([^"]*)"')
    assert drawn.findall(german) == drawn.findall(english) != []
    imported = client.get(report.get_absolute_url(), headers={"Accept-Language": "de"}).content.decode()
    assert "2 von 4.000 Zeilen ließen sich nicht übernehmen" in imported or "Die Datei ist leer." in imported
    assert ">1.200<" in imported
    assert "messages, Nachricht 2, content ist leer." in imported


@pytest.mark.parametrize(
    ("language", "number", "hours"), [("en", "0.67", "1,234.6 hours"), ("de", "0,67", "1.234,6 Stunden")]
)
def test_a_number_is_rounded_and_written_in_one_language(language: str, number: str, hours: str) -> None:
    costs = Costs(left=1, seconds_a_vote=36.0, measured=True, gold=0, repeats=0, practice=0, cap_minutes=None)
    with override(language):
        assert written({"value": 0.666}, "number") == number
        assert costs.time(123_456) == hours  # of 36 seconds: 1,234.56 hours


def test_a_file_says_the_same_in_every_language(
    busy: Project, signed_in: Callable[[User], Client], manager: User
) -> None:
    client = signed_in(manager)
    for name, word in {"quality-csv": "everybody", "project-audit-csv": "made the project"}.items():
        url = reverse(name, args=[busy.slug])
        english = b"".join(client.get(url)).decode()
        german = b"".join(client.get(url, headers={"Accept-Language": "de"})).decode()
        assert word in english
        # The log has grown by the first download.
        assert set(english.splitlines()) <= set(german.splitlines())
