"""HelpSteer3: `context`, `response1`, `response2`, and scores from -3 (response 1 much better) to 3 (response 2).

Columns of nvidia/HelpSteer3, preference. Each of the `individual_preference` scores is kept as a vote of its own, with
its reasoning; `overall_preference` only where there are none. Our export of votes has the same columns, and in each
vote all else that the voter said: see `annotation.exporting.shapes.votes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

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

TITLE = _("HelpSteer3, votes")
FORM = '{"context": [messages], "response1": …, "response2": …, "overall_preference": -3 … 3, …}'
SOURCE = "helpsteer3"
MOST_VOTES = 50
MOST_NAMES, LONGEST_NAME = 50, 40  # tags or aspects of a vote; characters of each
BETTER = (TIE, FIRST_IS_BETTER, SECOND_IS_BETTER)


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
    if sum(vote.decides for vote in scored) > 1:
        raise BadRowError("More than one vote decides the pair.")
    if scored or row.get("overall_preference") is None:
        return scored
    return [_by_score(row["overall_preference"], "overall_preference")]


def _vote(one: Mapping[str, Any], n: int) -> Vote:
    vote = _by_score(one["score"], f"Vote {n}, score")
    voter = read_label(one.get("annotator"), f"Vote {n}, annotator") or str(n)
    both_bad = read_bool(one.get("both_bad") or False, f"Vote {n}, both_bad")
    both_good = read_bool(one.get("both_good") or False, f"Vote {n}, both_good")
    if (both_bad or both_good) and (vote.places != TIE or both_bad == both_good):
        raise BadRowError(f"Vote {n} says both bad or both good, and something else.")
    strength = vote.strength
    if "strength" in one:
        strength = None if one["strength"] is None else read_one_of(one["strength"], (1, 2, 3), f"Vote {n}, strength")
    if strength and vote.places == TIE:
        raise BadRowError(f"Vote {n} has a strength, and prefers nothing.")
    reason = read_text(one["reasoning"], f"Vote {n}, reasoning") if one.get("reasoning") else ""
    vote = vote._replace(voter=voter, both_bad=both_bad, both_good=both_good, strength=strength, reason=reason)
    return _with_the_rest(vote, one, n)


def _with_the_rest(vote: Vote, one: Mapping[str, Any], n: int) -> Vote:
    """The vote with what only our export says. Raises BadRowError."""
    name = f"Vote {n}, "
    tags = tuple(_read_name(tag, f"{name}tags") for tag in _read_list(one.get("tags"), f"{name}tags"))
    will_do = _read_list(one.get("acceptable"), f"{name}acceptable")
    if len(will_do) not in (0, 2):
        raise BadRowError(f"{name}acceptable does not say of two answers whether each will do.")
    acceptable = tuple(None if said is None else read_bool(said, f"{name}acceptable") for said in will_do)
    aspects = {}
    for aspect in _read_list(one.get("aspects"), f"{name}aspects"):
        if not isinstance(aspect, dict):
            raise BadRowError(f"{name}aspects holds something that is no object.")
        better = read_one_of(aspect.get("better"), (0, 1, 2), f"{name}aspects, better")
        aspects[_read_name(aspect.get("aspect"), f"{name}aspects")] = BETTER[better]
    decides = read_bool(one.get("decides") or False, f"{name}decides")
    return vote._replace(tags=tags, acceptable=acceptable, aspects=aspects, edit=_edit(one, name), decides=decides)


def _edit(one: Mapping[str, Any], name: str) -> tuple[int, str] | None:
    if one.get("edited") is None:
        return None
    return read_one_of(one["edited"], (1, 2), f"{name}edited") - 1, read_text(one.get("edit"), f"{name}edit")


def _read_list(value: object, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MOST_NAMES:
        raise BadRowError(f"{name} is not a list of at most {MOST_NAMES}.")
    return value


def _read_name(value: object, name: str) -> str:
    text = read_text(value, name)
    if len(text) > LONGEST_NAME:
        raise BadRowError(f"{name}: {text[:LONGEST_NAME]}… has more than {LONGEST_NAME} characters.")
    return text


def _by_score(value: object, name: str) -> Vote:
    """A vote whose strength is the score's size. Raises BadRowError for what is no whole number from -3 to 3."""
    score = read_one_of(value, range(-3, 4), name)
    if score == 0:
        return Vote(TIE)
    return Vote(FIRST_IS_BETTER if score < 0 else SECOND_IS_BETTER, strength=abs(score))
