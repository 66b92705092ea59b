r"""hh-rlhf: `chosen` and `rejected` are transcripts of one conversation, turns begin `\n\nHuman:` or `\n\nAssistant:`.

Columns of Anthropic/hh-rlhf. The two transcripts differ in the last turn of the assistant.
"""

from __future__ import annotations

import re
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
    read_text,
    split_answer,
)
from annotation.services import Message

TITLE = _("hh-rlhf transcripts")
FORM = r'{"chosen": "\n\nHuman: …\n\nAssistant: …", "rejected": …}'
SOURCE = "hh-rlhf"
ROLES = {"Human": "user", "Assistant": "assistant"}
TURN = re.compile(r"\n\n(Human|Assistant): ?")


def recognises(row: Mapping[str, Any]) -> bool:
    texts = (row.get("chosen"), row.get("rejected"))
    return "prompt" not in row and all(isinstance(text, str) and TURN.match(text) for text in texts)


def read(row: Mapping[str, Any]) -> Row:
    """Raises BadRowError."""
    before, chosen = split_answer(_turns(row.get("chosen"), "chosen"), "chosen")
    same, rejected = split_answer(_turns(row.get("rejected"), "rejected"), "rejected")
    if before != same:
        raise BadRowError("chosen and rejected differ before the last answer.")
    return pair(checked_prompt(before), (Answer(chosen), Answer(rejected)), (Vote(FIRST_IS_BETTER),))


def _turns(transcript: object, name: str) -> list[Message]:
    text = read_text(transcript, name)
    # Around every mark: the text before it, the speaker, and so on.
    start, *rest = TURN.split(text)
    if start or not rest:
        raise BadRowError(f"{name} does not begin with a turn of Human or Assistant.")
    return [
        {"role": ROLES[speaker], "content": said.strip()} for speaker, said in zip(rest[::2], rest[1::2], strict=True)
    ]
