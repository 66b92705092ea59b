"""`{"prompt", "responses": [...]}`: answers that nobody has judged, as texts, messages or `{"text", "author"}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotation.importing.rows import MOST_ANSWERS, Answer, BadRowError, Row, read_answer, read_metadata, read_prompt

TITLE = _("Answers to be judged")
FORM = '{"prompt": …, "responses": ["…", "…"]}'
SOURCE = ""


def recognises(row: Mapping[str, Any]) -> bool:
    return "responses" in row


def read(row: Mapping[str, Any]) -> Row:
    """Answers that repeat the text of an earlier one are left out. Raises BadRowError."""
    responses = row["responses"]
    if not isinstance(responses, list):
        raise BadRowError("responses is not a list.")
    if len(responses) > MOST_ANSWERS:
        raise BadRowError(f"There are {len(responses)} responses; at most {MOST_ANSWERS} are taken.")
    answers = [_read(response, f"Response {n}") for n, response in enumerate(responses, start=1)]
    different: dict[str, Answer] = {}
    for answer in answers:
        different.setdefault(answer.text, answer)
    if len(different) < 2:
        raise BadRowError("There are fewer than two different responses.")
    return Row(messages=read_prompt(row), answers=list(different.values()), metadata=read_metadata(row))


def _read(value: object, name: str) -> Answer:
    if not isinstance(value, dict):
        return Answer(read_answer(value, name))
    author = value.get("author", "")
    if not isinstance(author, str) or len(author) > 200 or "\x00" in author:
        raise BadRowError(f"{name}: author is not a text of at most 200 characters.")
    return Answer(read_answer(value.get("text", value.get("content")), name), author_label=author)
