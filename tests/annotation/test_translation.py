"""The labelling side in German. That every word is marked and translated, tests/config/test_translatable.py asks."""

import re
from collections.abc import Callable

from django.test import Client
from django.urls import reverse

from annotation.models import Project, User
from tests.annotation.conftest import MakeComparison

SignIn = Callable[[User], Client]


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
