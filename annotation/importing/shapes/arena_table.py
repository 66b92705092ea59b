"""Arena as a table: `prompt`, `response_a`, `response_b` as lists of turns, and three columns that say who won.

Columns of lmarena-ai/arena-human-preference-55k: `winner_model_a`, `winner_model_b`, `winner_tie`, one of them 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotation.importing.rows import (
    FIRST_IS_BETTER,
    SECOND_IS_BETTER,
    TIE,
    Answer,
    BadRowError,
    Row,
    Vote,
    checked_prompt,
    pair,
    read_bool,
    read_label,
    read_text,
)
from annotation.importing.shapes.arena import APART
from annotation.services import Message

TITLE = _("Arena table")
FORM = '{"prompt": ["…"], "response_a": ["…"], "response_b": ["…"], "winner_model_a": 1, "winner_tie": 0, …}'
SOURCE = "arena"
COLUMNS = {"winner_model_a": FIRST_IS_BETTER, "winner_model_b": SECOND_IS_BETTER, "winner_tie": TIE}


def recognises(row: Mapping[str, Any]) -> bool:
    return "response_a" in row and "response_b" in row and any(name in row for name in COLUMNS)


def read(row: Mapping[str, Any]) -> Row:
    """Raises BadRowError."""
    asked, first, second = (_turns(row.get(name), name) for name in ("prompt", "response_a", "response_b"))
    if not len(asked) == len(first) == len(second):
        raise BadRowError("prompt, response_a and response_b have different numbers of turns.")
    if first[:-1] != second[:-1]:
        raise BadRowError(APART)
    messages: list[Message] = []
    for said, answer in zip(asked, [*first[:-1], None], strict=True):
        messages.append({"role": "user", "content": said})
        if answer is not None:
            messages.append({"role": "assistant", "content": answer})
    won = [places for name, places in COLUMNS.items() if read_bool(row.get(name, 0), name)]
    if len(won) != 1:
        raise BadRowError(f"Not one of {', '.join(COLUMNS)} is 1.")
    answers = (
        Answer(first[-1], read_label(row.get("model_a"), "model_a")),
        Answer(second[-1], read_label(row.get("model_b"), "model_b")),
    )
    return pair(checked_prompt(messages), answers, (Vote(won[0]),))


def _turns(value: object, name: str) -> list[str]:
    turns = value if isinstance(value, list) else [value]
    if not turns:
        raise BadRowError(f"{name} is empty.")
    return [read_text(turn, name) for turn in turns]
