"""The repairs of the admin's theme fit the theme that is installed."""

from pathlib import Path

import pytest
import unfold

from config.admin_templates import REPAIRS, repair

TEMPLATES = [path.read_text() for path in (Path(unfold.__file__).parent / "templates").rglob("*.html")]


@pytest.mark.parametrize("n", range(len(REPAIRS)), ids=[old for old, _new in REPAIRS])
def test_a_repair_finds_its_text_in_the_theme(n: int) -> None:
    """An update of the theme that words it otherwise would undo the repair, and nobody would see."""
    old, _new = REPAIRS[n]
    assert [text for text in TEMPLATES if old in repair(text, REPAIRS[:n])]
