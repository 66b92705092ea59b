"""LLaMA-Factory, alpaca: `instruction` with `input`, `system` and `history`, then `chosen` and `rejected`.

Also its older form, `output` as a list of the chosen and the rejected answer, and rated answers: `output`, `kto_tag`.
Instruction and input are joined by a line end, as LLaMA-Factory joins them.
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
    with_system,
)
from annotation.importing.shapes.kto import rated
from annotation.services import Message

TITLE = _("LLaMA-Factory, alpaca")
FORM = '{"instruction": …, "input": "", "chosen": …, "rejected": …}'
SOURCE = ""


def recognises(row: Mapping[str, Any]) -> bool:
    judged = ("chosen" in row and "rejected" in row) or "kto_tag" in row or isinstance(row.get("output"), list)
    return "instruction" in row and judged


def read(row: Mapping[str, Any]) -> Row:
    """Raises BadRowError."""
    messages = _prompt(row)
    if "kto_tag" in row:
        return rated(messages, read_text(row.get("output"), "output"), row["kto_tag"], "kto_tag")
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if isinstance(row.get("output"), list):
        if len(row["output"]) != 2:
            raise BadRowError("output is not a list of a chosen and a rejected answer.")
        chosen, rejected = row["output"]
    answers = (Answer(read_text(chosen, "chosen")), Answer(read_text(rejected, "rejected")))
    return pair(messages, answers, (Vote(FIRST_IS_BETTER),))


def _prompt(row: Mapping[str, Any]) -> list[Message]:
    messages: list[Message] = []
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(turn, list) and len(turn) == 2 for turn in history):
        raise BadRowError("history is not a list of pairs of a question and an answer.")
    for n, (asked, answered) in enumerate(history, start=1):
        messages.append({"role": "user", "content": read_text(asked, f"history {n}")})
        messages.append({"role": "assistant", "content": read_text(answered, f"history {n}")})
    instruction = read_text(row["instruction"], "instruction")
    if row.get("input"):
        instruction = f"{instruction}\n{read_text(row['input'], 'input')}"
    return checked_prompt(with_system(row, [*messages, {"role": "user", "content": instruction}]))
