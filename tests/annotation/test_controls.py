"""The vote bar's controls are kept for many pages. No page must get those of another."""

from dataclasses import replace
from itertools import product
from typing import Any

from django.core.cache import caches
from django.template.loader import render_to_string
from django.test import RequestFactory
from django.utils.translation import get_language, override

from annotation.ballots import Ballot
from annotation.models import Project
from annotation.work import Answer, Work, choices_for, skip_reasons

ASKED = RequestFactory().get("/")
EARLIER = (None, Ballot(), Ballot(choice="a3"))
SETTINGS = (
    {"slug": "one"},
    {"slug": "two"},
    {"slug": "one", "asks_strength": False},
    {"slug": "one", "offers_both_good": True},
    {"slug": "one", "reason_tags": ["tag"]},
)
PLAIN = Work(
    ticket="",
    key="",
    system=[],
    earlier_turns=[],
    turns=[],
    answers=[],
    start_characters=0,
    choices=(),
    tags=[],
    questions=[],
    earlier=None,
)


def every_page() -> list[tuple[str, dict[str, Any]]]:
    """The language and the context of a page of each kind, fewer than are kept."""
    pages: list[tuple[str, dict[str, Any]]] = []
    for language, settings in product(("en", "de"), SETTINGS):
        project = Project(**settings)
        pages.append((language, {"project": project, "work": None}))
        for answers, earlier, judgment in product((1, 2, 3), EARLIER, (None, 7)):
            shown = [Answer(side, "", "", "", False, None, None) for side in "ABC"[:answers]]
            work = replace(
                PLAIN, answers=shown, choices=choices_for(project, answers), earlier=earlier, judgment_id=judgment
            )
            pages.append((language, {"project": project, "work": work}))
    return pages


def controls(language: str, context: dict[str, Any]) -> str:
    with override(language):
        ASKED.LANGUAGE_CODE = get_language()  # type: ignore[attr-defined]  # what LocaleMiddleware does
        return render_to_string(
            "annotation/_controls.html", {**context, "skip_reasons": skip_reasons(context["work"])}, request=ASKED
        )


def test_each_page_gets_its_own() -> None:
    pages, kept = every_page(), caches["template_fragments"]
    fresh = []
    for page in pages:
        kept.clear()
        fresh.append(controls(*page))
    assert len(set(fresh)) > 50
    kept.clear()
    for _ in range(2):
        assert [controls(*page) for page in pages] == fresh
