"""`{"prompt", "chosen", "rejected"}`: texts or message lists, the prompt given or in front of both answers.

Also UltraFeedback in pairs: `score_chosen` and `score_rejected` beside them, which are kept as the vote's reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotation.importing.rows import (
    FIRST_IS_BETTER,
    Answer,
    BadRowError,
    Row,
    Vote,
    checked_prompt,
    pair,
    read_answer,
    read_metadata,
    read_number,
    read_one_of,
    read_prompt,
    split_answer,
    with_system,
)
from annotation.services import Message

TITLE = _("Chosen and rejected")
FORM = '{"prompt": …, "chosen": …, "rejected": …}'
SOURCE = ""


def recognises(row: Mapping[str, Any]) -> bool:
    return "chosen" in row and "rejected" in row


def read(row: Mapping[str, Any]) -> Row:
    """Raises BadRowError."""
    if not _hold_the_prompt(row["chosen"], row["rejected"]) and ("prompt" in row or "messages" in row):
        messages = read_prompt(row)
        chosen, rejected = read_answer(row["chosen"], "chosen"), read_answer(row["rejected"], "rejected")
    else:
        messages, chosen, rejected = _implicit(row)
    vote = Vote(FIRST_IS_BETTER, strength=_strength(row), reason=_reason(row))
    return pair(messages, (Answer(chosen), Answer(rejected)), (vote,), read_metadata(row))


def _hold_the_prompt(chosen: object, rejected: object) -> bool:
    """Whether the answers are conversations of their own, whatever else the row repeats of them."""
    return isinstance(chosen, list) and isinstance(rejected, list) and len(chosen) > 1 and len(rejected) > 1


def _implicit(row: Mapping[str, Any]) -> tuple[list[Message], str, str]:
    """The prompt is what both conversations begin with; one message of the assistant each comes after it."""
    if not isinstance(row["chosen"], list) or not isinstance(row["rejected"], list):
        raise BadRowError("There is no prompt, and chosen and rejected are not message lists that contain it.")
    before, chosen = split_answer(row["chosen"], "chosen")
    same, rejected = split_answer(row["rejected"], "rejected")
    if before != same:
        raise BadRowError("chosen and rejected do not begin with the same conversation.")
    return checked_prompt(with_system(row, before)), chosen, rejected


def _strength(row: Mapping[str, Any]) -> int | None:
    """`strength`, or a `margin` that is one."""
    strength = row.get("strength")
    if strength is not None and strength != "":
        try:
            return read_one_of(strength, (1, 2, 3), "strength")
        except BadRowError:
            raise BadRowError("strength is none of 1 (slightly), 2 (clearly) and 3 (much).") from None
    if row.get("margin") is None:
        return None
    try:
        margin = read_number(row["margin"], "margin")
    except BadRowError:
        return None
    return int(margin) if margin in (1, 2, 3) else None


def _reason(row: Mapping[str, Any]) -> str:
    if row.get("score_chosen") is None or row.get("score_rejected") is None:
        return ""
    chosen = read_number(row["score_chosen"], "score_chosen")
    return f"Scores {chosen:g} and {read_number(row['score_rejected'], 'score_rejected'):g}"
