"""Preferences as JSON Lines of `{"prompt", "chosen", "rejected"}`, in the two forms that TRL reads as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from annotation.models import Preference, Project
from annotation.services import Message

CHUNK = 1_000  # rows fetched from the database's cursor at a time

Form = str
CONVERSATIONAL: Form = "conversational"
TEXT: Form = "text"
FORMS = (CONVERSATIONAL, TEXT)


def preference_lines(project: Project, *, form: Form = CONVERSATIONAL) -> Iterator[bytes]:
    """One line for every vote's preferred pair, oldest first. Memory does not grow with their number."""
    to_row = _conversational if form == CONVERSATIONAL else _text
    for preference in Preference.objects.for_training(project).iterator(chunk_size=CHUNK):
        yield json.dumps(to_row(preference), ensure_ascii=False).encode() + b"\n"


def _conversational(preference: Preference) -> dict[str, Any]:
    """Message lists: the trainer applies its model's chat template."""
    return {
        "prompt": preference.prompt.messages,
        "chosen": [{"role": "assistant", "content": preference.chosen.text}],
        "rejected": [{"role": "assistant", "content": preference.rejected.text}],
    }


def _text(preference: Preference) -> dict[str, Any]:
    """Plain texts: no template is applied."""
    return {
        "prompt": transcript(preference.prompt.messages),
        "chosen": preference.chosen.text,
        "rejected": preference.rejected.text,
    }


def transcript(messages: list[Message]) -> str:
    """A single turn as it is; a longer conversation with its speakers' names, ending where the answer begins."""
    if len(messages) == 1:
        return messages[0]["content"]
    turns = [f"{message['role'].capitalize()}: {message['content']}" for message in messages]
    return "\n\n".join([*turns, "Assistant: "])
