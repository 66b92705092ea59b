"""TRL's preferences as messages: the trainer applies its model's chat template."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotation.exporting.judged import Judged, edits
from annotation.exporting.verdicts import RULES, Rule

TITLE = _("Preferences, as messages (TRL)")
COLUMNS = {
    "prompt": "messages",
    "chosen": "messages",
    "rejected": "messages",
    "margin": "number",
    "probability": "number",
}
VOTES = tuple(RULES)
ALONE = ("edit",)
UNTOLD = {"margin": 0.0, "probability": 1.0}  # of an edit: nobody was asked how much better it is


def rows(judged: Judged, rule: Rule) -> Iterator[dict[str, Any]]:
    for chosen, rejected, how_much in preferred(judged, rule):
        yield {"prompt": judged.messages, "chosen": said(chosen), "rejected": said(rejected), **how_much}


def preferred(judged: Judged, rule: Rule) -> Iterator[tuple[str, str, dict[str, float]]]:
    """(the better answer, the worse, its margin and probability) for every verdict that prefers one, and every edit."""
    for pair in judged.pairs():
        first, second = pair.answers
        for votes in rule.parts(pair.votes):
            verdict = rule.verdict(votes, pair.first_better)
            if verdict and verdict.side:
                how_much = {"margin": verdict.margin, "probability": verdict.probability}
                yield (first.text, second.text, how_much) if verdict.side < 0 else (second.text, first.text, how_much)
    for edit in edits(judged):
        for worse in edit.worse:
            yield edit.text, worse, UNTOLD


def said(text: str) -> list[dict[str, str]]:
    """An answer as a list of one message."""
    return [{"role": "assistant", "content": text}]
