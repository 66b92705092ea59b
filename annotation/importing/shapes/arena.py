"""Arena: `conversation_a`, `conversation_b`, and the `winner`: model_a, model_b, tie, or tie (bothbad).

Columns of lmsys/chatbot_arena_conversations and lmarena-ai/arena-human-preference-140k (which says both_bad). Two
conversations of several turns go apart after the first answer; then there is no prompt that both answers share.
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
    read_label,
    split_answer,
)

TITLE = _("Arena conversations")
FORM = '{"conversation_a": [messages], "conversation_b": [messages], "winner": "model_a", "model_a": …, "model_b": …}'
SOURCE = "arena"
VOTES = {
    "model_a": Vote(FIRST_IS_BETTER),
    "model_b": Vote(SECOND_IS_BETTER),
    "tie": Vote(TIE),
    "tie (bothbad)": Vote(TIE, both_bad=True),
    "both_bad": Vote(TIE, both_bad=True),
}
APART = "The two conversations go apart before the last answer, so the answers have no prompt in common."


def recognises(row: Mapping[str, Any]) -> bool:
    return "conversation_a" in row and "conversation_b" in row


def read(row: Mapping[str, Any]) -> Row:
    """Raises BadRowError."""
    before, first = split_answer(row["conversation_a"], "conversation_a")
    same, second = split_answer(row["conversation_b"], "conversation_b")
    if before != same:
        raise BadRowError(APART)
    winner = row.get("winner")
    if not isinstance(winner, str) or winner not in VOTES:
        raise BadRowError(f"winner is none of {', '.join(VOTES)}.")
    answers = (
        Answer(first, read_label(row.get("model_a"), "model_a")),
        Answer(second, read_label(row.get("model_b"), "model_b")),
    )
    return pair(checked_prompt(before), answers, (VOTES[winner],))
