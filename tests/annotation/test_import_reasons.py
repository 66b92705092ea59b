"""Reasons against a row or a file: kept in English, told in the reader's language."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils.translation import override

from annotation.importing import landing, reasons
from annotation.importing.shapes import arena

IMPORTING = Path(reasons.__file__).parent
CONSTANTS = {"APART": arena.APART, "ALONE": landing.ALONE}
ERRORS = {"BadRowError", "BadFileError", "BadLineError", "SystemExit"}


def sentence(node: ast.expr) -> Iterator[str]:
    """What the code says, with numbers and names filled in for what it does not know before."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Name) and node.id in CONSTANTS:
        yield CONSTANTS[node.id]
    elif isinstance(node, ast.IfExp):
        yield from sentence(node.orelse)
    elif isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else filled(part) for part in node.values]
        yield "".join(str(part) for part in parts)


def filled(part: ast.expr) -> str:
    said = ast.unparse(part)
    counts = ("number", "MOST", "LONGEST", "len(", "start + 1", "{n}", "LIMIT")
    return "1,234" if any(word in said for word in counts) and "number:g" not in said else "field"


def sentences() -> list[str]:
    found = []
    for file in sorted(IMPORTING.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS and node.args:
                found += sentence(node.args[0])
    return found


def test_every_reason_in_the_code_is_told_in_german() -> None:
    said = sentences()
    assert len(said) > 80
    with override("de"):
        assert [reason for reason in said if reasons.told(reason) == reason] == []


def test_a_reader_of_english_is_told_what_was_kept() -> None:
    said = sentences()
    assert said
    with override("en"):
        assert [reason for reason in said if reasons.told(reason) != reason] == []


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
        ("The file is empty.", "Die Datei ist leer."),
        ("The row is <b>odd</b>.", "The row is <b>odd</b>."),
    ],
)
def test_a_reason_is_told_with_what_stands_in_it(kept: str, german: str) -> None:
    with override("de"):
        assert reasons.told(kept) == german
