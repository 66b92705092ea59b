"""Gold as JSON Lines: `{"prompt", "chosen", "rejected"}`, or `{"prompt", "responses", "expected"}`.

The second is for a tie and for "both bad". `explanation` is shown to people who practise. The file is small and written
by hand, so it lands whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from annotation import gold
from annotation.importing.rows import BadRowError, read_answer, read_prompt, read_text
from annotation.models import Comparison, Project, User
from annotation.services import AnswerIn, Message

LARGEST_FILE = 5 * 2**20  # bytes
MOST_ROWS = 2_000
EXPECTED = ("tie", "both_bad")


@dataclass(frozen=True)
class Row:
    """One line: a pair, the place of the better answer (None for a tie), and why."""

    messages: list[Message]
    answers: list[str]
    preferred: int | None
    both_bad: bool
    explanation: str


class BadLineError(ValueError):
    """A line that is no gold. Its text is for the person who made the file."""


def import_gold(*, project: Project, data: bytes, purpose: Comparison.Purpose, by: User | None) -> int:
    """Bring every line in. Returns how many there were. Raises BadLineError, and then nothing has been brought in."""
    rows = read(data)
    with transaction.atomic():
        for number, row in rows:
            try:
                _land(row, project, purpose, by)
            except gold.StillOpenError:
                raise BadLineError(
                    f"Line {number}: this pair is being judged in this project. It can become gold when it has all its"
                    " votes."
                ) from None
    return len(rows)


def _land(row: Row, project: Project, purpose: Comparison.Purpose, by: User | None) -> None:
    gold.add(
        project=project,
        messages=row.messages,
        answers=[AnswerIn(text) for text in row.answers],
        preferred=row.preferred,
        both_bad=row.both_bad,
        purpose=purpose,
        explanation=row.explanation,
        by=by,
    )


def read(data: bytes) -> list[tuple[int, Row]]:
    """(line number from 1, row) of every line that is not blank. Raises BadLineError."""
    rows = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip(b" \t\r\xef\xbb\xbf"):
            try:
                rows.append((number, _read_line(line)))
            except BadRowError as reason:
                raise BadLineError(f"Line {number}: {reason}") from None
    if not rows:
        raise BadLineError("The file has no lines.")
    if len(rows) > MOST_ROWS:
        raise BadLineError(f"The file has {len(rows):,} lines; at most {MOST_ROWS:,} are taken at once.")
    return rows


def _read_line(line: bytes) -> Row:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise BadRowError("not a JSON object in UTF-8.") from None
    if not isinstance(row, dict):
        raise BadRowError("not a JSON object.")
    answers, preferred, both_bad = _answers(row)
    if answers[0].strip() == answers[1].strip():
        raise BadRowError("the two answers are the same text.")
    why = row.get("explanation")
    return Row(read_prompt(row), answers, preferred, both_bad, read_text(why, "explanation") if why else "")


def _answers(row: Mapping[str, Any]) -> tuple[list[str], int | None, bool]:
    if "chosen" in row and "rejected" in row:
        return [read_answer(row["chosen"], "chosen"), read_answer(row["rejected"], "rejected")], 0, False
    responses, expected = row.get("responses"), row.get("expected")
    if not isinstance(responses, list) or len(responses) != 2 or expected not in EXPECTED:
        raise BadRowError('neither chosen and rejected, nor two responses and expected ("tie" or "both_bad").')
    return (
        [read_answer(text, f"response {n}") for n, text in enumerate(responses, start=1)],
        None,
        expected == "both_bad",
    )
