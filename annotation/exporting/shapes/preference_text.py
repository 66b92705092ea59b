"""TRL's preferences as plain texts: no template is applied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotation.exporting.judged import Judged
from annotation.exporting.shapes.preference import preferred
from annotation.exporting.verdicts import RULES, Rule
from annotation.services import Message

TITLE = _("Preferences, as text (TRL)")
COLUMNS = {"prompt": "text", "chosen": "text", "rejected": "text", "margin": "number", "probability": "number"}
VOTES = tuple(RULES)
ALONE = ("edit",)


def rows(judged: Judged, rule: Rule) -> Iterator[dict[str, Any]]:
    for chosen, rejected, how_much in preferred(judged, rule):
        yield {"prompt": transcript(judged.messages), "chosen": chosen, "rejected": rejected, **how_much}


def transcript(messages: list[Message]) -> str:
    """A single turn as it is; a longer conversation with its speakers' names, ending where the answer begins."""
    if len(messages) == 1:
        return messages[0]["content"]
    turns = [f"{message['role'].capitalize()}: {message['content']}" for message in messages]
    return "\n\n".join([*turns, "Assistant: "])
