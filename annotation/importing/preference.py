"""`{"prompt", "chosen", "rejected"}`: texts or message lists, the prompt given or in front of both answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotation.importing.rows import (
    FIRST_IS_BETTER,
    Answer,
    BadRowError,
    Row,
    Vote,
    checked_prompt,
    read_answer,
    read_messages,
    read_metadata,
    read_prompt,
    with_system,
)
from annotation.services import Message


def recognises(row: Mapping[str, Any]) -> bool:
    return "chosen" in row and "rejected" in row


def read(row: Mapping[str, Any]) -> Row:
    """Raises BadRowError."""
    if "prompt" in row or "messages" in row:
        messages = read_prompt(row)
        chosen, rejected = read_answer(row["chosen"], "chosen"), read_answer(row["rejected"], "rejected")
    else:
        messages, chosen, rejected = _implicit(row)
    if chosen == rejected:
        raise BadRowError("chosen and rejected are the same text.")
    return Row(
        messages=messages,
        answers=[Answer(chosen), Answer(rejected)],
        votes=(Vote(FIRST_IS_BETTER, strength=_strength(row)),),
        metadata=read_metadata(row),
    )


def _implicit(row: Mapping[str, Any]) -> tuple[list[Message], str, str]:
    """The prompt is what both conversations begin with; one message of the assistant each comes after it."""
    if not isinstance(row["chosen"], list) or not isinstance(row["rejected"], list):
        raise BadRowError("There is no prompt, and chosen and rejected are not message lists that contain it.")
    chosen, rejected = read_messages(row["chosen"], "chosen"), read_messages(row["rejected"], "rejected")
    if len(chosen) < 2 or chosen[:-1] != rejected[:-1]:
        raise BadRowError("There is no prompt, and chosen and rejected do not begin with the same conversation.")
    if chosen[-1]["role"] != "assistant" or rejected[-1]["role"] != "assistant":
        raise BadRowError("chosen and rejected do not both end with a message of the assistant.")
    return checked_prompt(with_system(row, chosen[:-1])), chosen[-1]["content"], rejected[-1]["content"]


def _strength(row: Mapping[str, Any]) -> int | None:
    strength = row.get("strength")
    if strength is None:
        return None
    if isinstance(strength, bool) or strength not in (1, 2, 3):
        raise BadRowError("strength is none of 1 (slightly), 2 (clearly) and 3 (much).")
    return int(strength)
