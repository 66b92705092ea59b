"""A moment is told as the time since, in the same words on every page."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils.timezone import now
from django.utils.translation import override

from models_registry.templatetags import times
from models_registry.templatetags.times import ago

TEMPLATES = Path(__file__).parents[2] / "templates"


@pytest.mark.parametrize(
    ("span", "english", "german"),
    [
        (timedelta(seconds=-5), "just now", "gerade eben"),
        (timedelta(0), "just now", "gerade eben"),
        (timedelta(seconds=42), "42 seconds ago", "vor 42 Sekunden"),
        (timedelta(seconds=60), "1 minute ago", "vor 1 Minute"),
        (timedelta(minutes=59, seconds=50), "59 minutes ago", "vor 59 Minuten"),
        (timedelta(hours=1), "1 hour ago", "vor 1 Stunde"),
        (timedelta(hours=47), "1 day ago", "vor 1 Tag"),
        (timedelta(days=13), "13 days ago", "vor 13 Tagen"),
        (timedelta(days=14), "2 weeks ago", "vor 2 Wochen"),
        (timedelta(days=60), "2 months ago", "vor 2 Monaten"),
        (timedelta(days=729), "24 months ago", "vor 24 Monaten"),
        (timedelta(days=730), "2 years ago", "vor 2 Jahren"),
    ],
)
def test_a_moment_is_told_in_its_largest_unit(
    span: timedelta, english: str, german: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = now()
    monkeypatch.setattr(times, "now", lambda: today)
    for language, words in (("en", english), ("de", german)):
        with override(language):
            assert f">{words}</time>" in ago(today - span)


def test_the_exact_time_is_on_hover() -> None:
    moment = now() - timedelta(minutes=4, seconds=10)
    assert f'title="{moment:%Y-%m-%d %H:%M:%S} UTC"' in ago(moment)


def test_no_moment_is_a_dash() -> None:
    assert ago(None) == "–"


def test_no_page_tells_it_in_other_words() -> None:
    pages = sorted(TEMPLATES.rglob("*.html"))
    assert pages
    assert [page.name for page in pages if "timesince" in page.read_text() or " ago{%" in page.read_text()] == []
