"""Conversations to imitate: the prompt and its better answer, or an answer judged good alone, as one message list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotation.exporting.judged import Judged
from annotation.exporting.shapes.preference import preferred, said
from annotation.exporting.verdicts import Rule

TITLE = "Conversations with the better answer (SFT)"
COLUMNS = {"messages": "messages"}


def rows(judged: Judged, rule: Rule) -> Iterator[dict[str, Any]]:
    for text in _good(judged, rule):
        yield {"messages": [*judged.messages, *said(text)]}


def _good(judged: Judged, rule: Rule) -> list[str]:
    if len(judged.answers) == 1:
        return [judged.answers[0].text for verdict in rule(judged.votes) if not verdict.both_bad]
    return [chosen for chosen, _, _ in preferred(judged, rule)]
