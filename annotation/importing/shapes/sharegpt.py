"""LLaMA-Factory, ShareGPT: `conversations` of `{"from", "value"}`, then `chosen` and `rejected` messages.

Also rated conversations: `conversations` that end with the answer, with `kto_tag`.
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
    read_text,
    split_answer,
    with_system,
)
from annotation.importing.shapes.kto import rated
from annotation.services import Message

TITLE = _("LLaMA-Factory, ShareGPT")
FORM = '{"conversations": [{"from": "human", "value": …}], "chosen": {"from": "gpt", "value": …}, "rejected": {…}}'
SOURCE = ""
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


def recognises(row: Mapping[str, Any]) -> bool:
    return "conversations" in row and (("chosen" in row and "rejected" in row) or "kto_tag" in row)


def read(row: Mapping[str, Any]) -> Row:
    """Raises BadRowError."""
    conversation = row["conversations"]
    if not isinstance(conversation, list) or not conversation:
        raise BadRowError("conversations is not a list of messages.")
    messages = [_message(one, f"conversations, message {n}") for n, one in enumerate(conversation, start=1)]
    if "kto_tag" in row:
        before, answer = split_answer(messages, "conversations")
        return rated(checked_prompt(with_system(row, before)), answer, row["kto_tag"], "kto_tag")
    answers = [Answer(_answer(row[name], name)) for name in ("chosen", "rejected")]
    return pair(checked_prompt(with_system(row, messages)), answers, (Vote(FIRST_IS_BETTER),))


def _answer(value: object, name: str) -> str:
    if isinstance(value, str):
        return read_text(value, name)
    message = _message(value, name)
    if message["role"] != "assistant":
        raise BadRowError(f"{name} is not a message of gpt.")
    return message["content"]


def _message(value: object, name: str) -> Message:
    """A message by `from` and `value`, or by `role` and `content`."""
    if not isinstance(value, dict):
        raise BadRowError(f"{name} is not an object with from and value.")
    speaker = value.get("from", value.get("role"))
    if not isinstance(speaker, str) or speaker not in ROLES:
        raise BadRowError(f"{name} is from none of {', '.join(ROLES)}.")
    return {"role": ROLES[speaker], "content": read_text(value.get("value", value.get("content")), f"{name}, value")}
