"""UltraFeedback: an `instruction` and its `completions`, each with the model's name and an `overall_score`.

Columns of openbmb/UltraFeedback. The answers are ranked by their scores; equal scores are a tie.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotation.importing.rows import (
    MOST_ANSWERS,
    Answer,
    BadRowError,
    Row,
    Vote,
    read_label,
    read_messages,
    read_number,
    read_text,
)

TITLE = "UltraFeedback"
FORM = '{"instruction": …, "completions": [{"model": …, "response": …, "overall_score": …}, …]}'
SOURCE = "ultrafeedback"


def recognises(row: Mapping[str, Any]) -> bool:
    return "instruction" in row and "completions" in row


def read(row: Mapping[str, Any]) -> Row:
    """Answers that repeat the text of an earlier one are left out. Raises BadRowError."""
    completions = row["completions"]
    if not isinstance(completions, list) or not all(isinstance(one, dict) for one in completions):
        raise BadRowError("completions is not a list of objects.")
    if len(completions) > MOST_ANSWERS:
        raise BadRowError(f"There are {len(completions)} completions; at most {MOST_ANSWERS} are taken.")
    scores: dict[str, tuple[Answer, float]] = {}
    for n, completion in enumerate(completions, start=1):
        name = f"Completion {n}"
        answer = Answer(
            read_text(completion.get("response"), f"{name}, response"),
            read_label(completion.get("model"), f"{name}, model"),
        )
        score = read_number(completion.get("overall_score"), f"{name}, overall_score")
        scores.setdefault(answer.text, (answer, score))
    if len(scores) < 2:
        raise BadRowError("There are fewer than two different completions.")
    values = [score for _, score in scores.values()]
    best_first = sorted(set(values), reverse=True)
    reason = "Scores " + ", ".join(f"{value:g}" for value in best_first)
    vote = Vote(tuple(best_first.index(value) for value in values), reason=reason)
    messages = read_messages(read_text(row["instruction"], "instruction"), "instruction")
    return Row(messages, [answer for answer, _ in scores.values()], (vote,))
