"""Tables whose rows become entries on a phone: their heads are out of sight there, so cells carry their names."""

import re
from pathlib import Path

import pytest

TEMPLATES = Path(__file__).parents[2] / "templates"
STACKS = re.compile(r'<table class="stacks.*?</table>', re.DOTALL)
TITLE = re.compile(r"<th\b[^>]*>(?:<span[^>]*>)?{% trans ['\"](.+?)['\"]")
LABEL = re.compile(r"data-label=\"{% trans '(.+?)'")
PAGES = (
    "annotation/members.html",
    "annotation/quality.html",
    "annotation/suspects.html",
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
