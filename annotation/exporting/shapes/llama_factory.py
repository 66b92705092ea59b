"""Preferences for LLaMA-Factory, in its ShareGPT form with `ranking`: conversations of `{"from", "value"}`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotation.exporting.judged import Judged
from annotation.exporting.shapes.preference import preferred
from annotation.exporting.verdicts import WEIGHTED, Rule

TITLE = _("Preferences (LLaMA-Factory, ShareGPT)")
COLUMNS = {"conversations": "turns", "chosen": "turn", "rejected": "turn", "system": "text"}
VOTES = ("raw", "majority", WEIGHTED)
ALONE = ("edit",)
SPEAKERS = {"user": "human", "assistant": "gpt"}


def rows(judged: Judged, rule: Rule) -> Iterator[dict[str, Any]]:
    system = judged.messages[0]["content"] if judged.messages[0]["role"] == "system" else ""
    turns = [_turn(one["role"], one["content"]) for one in judged.messages if one["role"] != "system"]
    for chosen, rejected, _strength in preferred(judged, rule):
        answers = {"chosen": _turn("assistant", chosen), "rejected": _turn("assistant", rejected)}
        yield {"conversations": turns, **answers, "system": system}


def _turn(role: str, text: str) -> dict[str, str]:
    return {"from": SPEAKERS[role], "value": text}
