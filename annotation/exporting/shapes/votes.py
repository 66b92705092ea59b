"""Every vote as it was given, in the columns of HelpSteer3: scores from -3 (response 1 much better) to 3 (response 2).

A preference without a strength scores 2, HelpSteer3's plain "better", and its `strength` is null. A ranking is every
pair of it. Reads back whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotation.exporting.judged import Judged
from annotation.exporting.verdicts import Rule, Vote, speaking

TITLE = _("Votes, one by one (as HelpSteer3)")
COLUMNS = {
    "context": "messages",
    "response1": "text",
    "response2": "text",
    "response1_author": "text",
    "response2_author": "text",
    "overall_preference": "whole",
    "individual_preference": "votes",
}
VOTES = ("raw",)
ALONE: tuple[str, ...] = ()
PLAINLY_BETTER = 2


def rows(judged: Judged, rule: Rule) -> Iterator[dict[str, Any]]:
    for pair in judged.pairs():
        first, second = pair.answers
        scores = [_score(vote) for vote in pair.votes]
        overall = [_score(vote) for vote in speaking(pair.votes) or pair.votes]
        yield {
            "context": pair.messages,
            "response1": first.text,
            "response2": second.text,
            "response1_author": first.author_label,
            "response2_author": second.author_label,
            "overall_preference": round(sum(overall) / len(overall)),
            "individual_preference": [_said(vote, score) for vote, score in zip(pair.votes, scores, strict=True)],
        }


def _score(vote: Vote) -> int:
    return vote.side * (vote.strength or PLAINLY_BETTER)


def _said(vote: Vote, score: int) -> dict[str, Any]:
    return {
        "score": score,
        "strength": vote.strength,
        "both_bad": vote.both_bad,
        "both_good": vote.both_good,
        "reasoning": vote.reason,
        "tags": vote.tags,
        "acceptable": vote.acceptable,
        "aspects": _aspects(vote.aspects),
        "edited": vote.edit[0] + 1 if vote.edit else None,
        "edit": vote.edit[1] if vote.edit else "",
        "annotator": vote.annotator,
        "decides": vote.decides,
    }


def _aspects(aspects: Mapping[str, tuple[int, ...]]) -> list[dict[str, Any]]:
    """Of each aspect the number of the better response, 0 for neither."""
    return [
        {"aspect": name, "better": 0 if first == second else 1 if first < second else 2}
        for name, (first, second) in aspects.items()
    ]
