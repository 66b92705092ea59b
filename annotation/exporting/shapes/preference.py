"""TRL's preferences as messages: the trainer applies its model's chat template."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotation.exporting.judged import Judged
from annotation.exporting.verdicts import Rule

TITLE = "Preferences, as messages (TRL)"
COLUMNS = {
    "prompt": "messages",
    "chosen": "messages",
    "rejected": "messages",
    "margin": "number",
    "probability": "number",
}


def rows(judged: Judged, rule: Rule) -> Iterator[dict[str, Any]]:
    for chosen, rejected, how_much in preferred(judged, rule):
        yield {"prompt": judged.messages, "chosen": said(chosen), "rejected": said(rejected), **how_much}


def preferred(judged: Judged, rule: Rule) -> Iterator[tuple[str, str, dict[str, float]]]:
    """(the better answer, the worse, its margin and probability) for every verdict that prefers one."""
    if len(judged.answers) == 1:
        return
    first, second = (answer.text for answer in judged.answers)
    for verdict in rule(judged.votes):
        if verdict.side:
            how_much = {"margin": verdict.margin, "probability": verdict.probability}
            yield (first, second, how_much) if verdict.side < 0 else (second, first, how_much)


def said(text: str) -> list[dict[str, str]]:
    """An answer as a list of one message."""
    return [{"role": "assistant", "content": text}]
