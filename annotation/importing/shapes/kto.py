"""KTO rows: `prompt`, `completion`, and the `label`: true for a good answer, false for a bad one.

Columns that TRL's KTOTrainer reads. One answer alone is kept with its label; people are not asked to compare it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotation.importing.rows import Answer, Row, Vote, read_answer, read_bool, read_metadata, read_prompt
from annotation.services import Message

TITLE = _("KTO, rated answers")
FORM = '{"prompt": …, "completion": …, "label": true}'
SOURCE = ""


def recognises(row: Mapping[str, Any]) -> bool:
    return "prompt" in row and "completion" in row and "label" in row


def read(row: Mapping[str, Any]) -> Row:
    """Raises BadRowError."""
    answer = read_answer(row["completion"], "completion")
    return rated(read_prompt(row), answer, row["label"], "label")._replace(metadata=read_metadata(row))


def rated(messages: list[Message], answer: str, label: object, name: str) -> Row:
    """One answer, said to be good or bad. Raises BadRowError if the label is neither."""
    vote = Vote((0,), acceptable=(read_bool(label, name),))
    return Row(messages, [Answer(answer)], (vote,))
