"""Wide tables: on a phone their rows become entries, whose heads are out of sight, so cells carry their names.

What is pushed sideways has a name and takes the focus, so that keys push it too.
"""

import re
from pathlib import Path

import pytest

TEMPLATES = Path(__file__).parents[2] / "templates"
STACKS = re.compile(r'<table class="stacks.*?</table>', re.DOTALL)
TITLE = re.compile(r"<th\b[^>]*>(?:<span[^>]*>)?{% trans ['\"](.+?)['\"]")
LABEL = re.compile(r"data-label=\"{% trans '(.+?)'")
SCROLLS = re.compile(r'<[a-z]+ class="table-scroll[^>]*>')
REACHED = re.compile(
    r"""<div class="table-scroll(?: card)?" tabindex="0" role="region" aria-label="{% trans '.+?' %}">"""
)
PAGES = (
    "annotation/members.html",
    "annotation/quality.html",
    "annotation/suspects.html",
    "api/webhook.html",
    "models_registry/models.html",
    "training/_project_runs.html",
)


def stacking_tables() -> list[tuple[str, str]]:
    files = sorted(TEMPLATES.rglob("*.html"))
    return [(str(file.relative_to(TEMPLATES)), table) for file in files for table in STACKS.findall(file.read_text())]


@pytest.mark.parametrize("page", PAGES)
def test_its_table_stacks_on_a_phone(page: str) -> None:
    assert page in [name for name, table in stacking_tables() if LABEL.search(table)]


def test_a_cell_is_called_what_its_column_is_called() -> None:
    tables = stacking_tables()
    assert len(tables) >= len(PAGES)
    wrong = {
        name: labels for name, table in tables if (labels := set(LABEL.findall(table)) - set(TITLE.findall(table)))
    }
    assert wrong == {}


def test_what_is_pushed_sideways_has_a_name_and_takes_the_focus() -> None:
    found = [
        (file.name, tag) for file in sorted(TEMPLATES.rglob("*.html")) for tag in SCROLLS.findall(file.read_text())
    ]
    assert len(found) > 20
    assert [(name, tag) for name, tag in found if not REACHED.fullmatch(tag)] == []
