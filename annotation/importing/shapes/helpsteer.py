"""HelpSteer3: `context`, `response1`, `response2`, and scores from -3 (response 1 much better) to 3 (response 2).

Columns of nvidia/HelpSteer3, preference. Each of the `individual_preference` scores is kept as a vote of its own, with
its reasoning; `overall_preference` only where there are none. Our export of votes has the same columns, and in each
vote the `annotator`, `both_bad`, and the `strength` if the voter said one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotation.importing.rows import (
    FIRST_IS_BETTER,
    SECOND_IS_BETTER,
    TIE,
    Answer,
    BadRowError,
    Row,
    Vote,
    checked_prompt,
    pair,
    read_bool,
    read_label,
    read_messages,
    read_one_of,
    read_text,
)

TITLE = "HelpSteer3, votes"
FORM = '{"context": [messages], "response1": …, "response2": …, "overall_preference": -3 … 3, …}'
SOURCE = "helpsteer3"
MOST_VOTES = 50


def recognises(row: Mapping[str, Any]) -> bool:
    return "response1" in row and "response2" in row


def read(row: Mapping[str, Any]) -> Row:
    """Raises BadRowError."""
    messages = checked_prompt(read_messages(row.get("context"), "context"))
    answers = [
        Answer(read_text(row[name], name), read_label(row.get(f"{name}_author"), f"{name}_author"))
        for name in ("response1", "response2")
    ]
    return pair(messages, answers, _votes(row))


def _votes(row: Mapping[str, Any]) -> list[Vote]:
    individual = row.get("individual_preference") or []
    if not isinstance(individual, list) or not all(isinstance(one, dict) for one in individual):
        raise BadRowError("individual_preference is not a list of objects.")
    if len(individual) > MOST_VOTES:
        raise BadRowError(f"There are {len(individual)} votes; at most {MOST_VOTES} are taken.")
    scored = [_vote(one, n) for n, one in enumerate(individual, start=1) if one.get("score") is not None]
    if scored or row.get("overall_preference") is None:
        return scored
    return [_by_score(row["overall_preference"], "overall_preference")]


def _vote(one: Mapping[str, Any], n: int) -> Vote:
    vote = _by_score(one["score"], f"Vote {n}, score")
    voter = read_label(one.get("annotator"), f"Vote {n}, annotator") or str(n)
    both_bad = read_bool(one.get("both_bad") or False, f"Vote {n}, both_bad")
    if both_bad and vote.places != TIE:
        raise BadRowError(f"Vote {n} says both bad, and one better than the other.")
    strength = vote.strength
    if "strength" in one:
        strength = None if one["strength"] is None else read_one_of(one["strength"], (1, 2, 3), f"Vote {n}, strength")
    reason = read_text(one["reasoning"], f"Vote {n}, reasoning") if one.get("reasoning") else ""
    return vote._replace(voter=voter, both_bad=both_bad, strength=strength, reason=reason)


def _by_score(value: object, name: str) -> Vote:
    """A vote whose strength is the score's size. Raises BadRowError for what is no whole number from -3 to 3."""
    score = read_one_of(value, range(-3, 4), name)
    if score == 0:
        return Vote(TIE)
    return Vote(FIRST_IS_BETTER if score < 0 else SECOND_IS_BETTER, strength=abs(score))
