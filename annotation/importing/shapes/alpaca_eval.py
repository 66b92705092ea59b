"""AlpacaEval: `instruction`, `output_1`, `output_2`, and the `preference`: 1, 2, or a tie (0 or 1.5).

Columns of tatsu-lab/alpaca_eval. A judge that weighs its preference writes a number from 1 to 2, above 1.5 for the
second output. Each `annotator` is a voice of its own; `generator_1` and `generator_2` name the models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotation.importing.rows import (
    FIRST_IS_BETTER,
    SECOND_IS_BETTER,
    TIE,
    Answer,
    BadRowError,
    Row,
    Vote,
    pair,
    read_label,
    read_messages,
    read_number,
    read_text,
)

TITLE = "AlpacaEval"
FORM = '{"instruction": …, "output_1": …, "output_2": …, "preference": 1 or 2}'
SOURCE = "alpaca-eval"
MIDDLE = 1.5


def recognises(row: Mapping[str, Any]) -> bool:
    return "instruction" in row and "output_1" in row and "output_2" in row


def read(row: Mapping[str, Any]) -> Row:
    """Raises BadRowError."""
    answers = [
        Answer(read_text(row[f"output_{n}"], f"output_{n}"), read_label(row.get(f"generator_{n}"), f"generator_{n}"))
        for n in (1, 2)
    ]
    instruction = read_text(row["instruction"], "instruction")
    if row.get("input"):
        instruction = f"{instruction}\n{read_text(row['input'], 'input')}"
    return pair(read_messages(instruction, "instruction"), answers, _votes(row))


def _votes(row: Mapping[str, Any]) -> list[Vote]:
    if row.get("preference") in (None, ""):
        return []
    preference = read_number(row["preference"], "preference")
    if preference != 0 and not 1 <= preference <= 2:
        raise BadRowError(f"preference is {preference:g}, neither 0 nor between 1 and 2.")
    places = TIE if preference in (0, MIDDLE) else FIRST_IS_BETTER if preference < MIDDLE else SECOND_IS_BETTER
    return [Vote(places, voter=read_label(row.get("annotator"), "annotator"))]
