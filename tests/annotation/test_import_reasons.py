"""Reasons against a row or a file: kept in English, told in the reader's language."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils.translation import override

from annotation.importing import landing, reasons
from annotation.importing.formats import jsonl
from annotation.importing.shapes import arena
from models_registry.sayings import recognised, said
from tests.spoken import spoken

IMPORTING = Path(reasons.__file__).parent
CONSTANTS = {"APART": arena.APART, "ALONE": landing.ALONE}
ENGLISH = re.compile(r"\b(?:the|is|has|are)\b", re.IGNORECASE)
COUNTS = ("number", "MOST", "LONGEST", "len(", "start + 1", "{n}", "LIMIT")
ERRORS = {"BadRowError", "BadFileError", "BrokenFileError", "BadLineError", "SystemExit"}


def reasons_of(node: ast.expr) -> Iterator[str]:
    """What the code says, of a choice what it says otherwise."""
    if isinstance(node, ast.Name) and node.id in CONSTANTS:
        yield CONSTANTS[node.id]
    elif isinstance(node, ast.IfExp):
        yield from reasons_of(node.orelse)
    elif reason := spoken(node, COUNTS):
        yield reason


def sentences() -> list[str]:
    found = []
    for file in sorted(IMPORTING.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS and node.args:
                found += reasons_of(node.args[0])
    return found


def test_every_reason_in_the_code_is_told_in_german() -> None:
    found = sentences()
    assert len(found) > 80
    with override("de"):
        told = {reason: recognised(reason) for reason in found}
    assert [reason for reason, german in told.items() if german == reason or ENGLISH.search(german)] == []


def test_a_reader_of_english_is_told_what_was_kept() -> None:
    found = sentences()
    assert found
    with override("en"):
        assert [reason for reason in found if said(reason) != reason] == []


BROKEN = (
    '{"a": }',
    '{"a": 1 "b"}',
    '{"a" 1}',
    "{a: 1}",
    '{"a": "x',
    '{"a": "\t"}',
    '{"a": "\\q"}',
    '{"a": "\\u1"}',
    "{} {}",
)


@pytest.mark.parametrize("line", BROKEN)
def test_what_is_wrong_with_json_is_told_in_german(line: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text(line)
    with file.open("rb") as lines:
        (reason,) = [str(row) for _, row in jsonl.read(lines)]
    assert reason.startswith("The line is not JSON: ")
    with override("de"):
        german = recognised(reason)
        found = re.fullmatch(r"Die Zeile ist kein JSON: (.+) \(Zeichen \d+\)\.", german)
    assert found
    assert found[1] not in reason


@pytest.mark.parametrize(
    ("kept", "german"),
    [
        ("chosen is empty.", "chosen ist leer."),
        ("messages, message 3, content is not a text.", "messages, Nachricht 3, content ist kein Text."),
        (
            "prompt has 200,001 characters; at most 200,000 are taken.",
            "prompt hat 200.001 Zeichen; höchstens 200.000 werden angenommen.",
        ),
        ("Line 2: chosen is empty.", "Zeile 2: chosen ist leer."),
        ("After row 1,499: The file is empty.", "Nach Zeile 1.499: Die Datei ist leer."),
        ("The file is empty.", "Die Datei ist leer."),
        ("The row is <b>odd</b>.", "The row is <b>odd</b>."),
    ],
)
def test_a_reason_is_told_with_what_stands_in_it(kept: str, german: str) -> None:
    with override("de"):
        assert said(kept) == german
