"""Every vote as it was given, in the columns of HelpSteer3: scores from -3 (response 1 much better) to 3 (response 2).

A preference without a strength scores 2, HelpSteer3's plain "better", and its `strength` is null. Reads back whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotation.exporting.judged import Judged
from annotation.exporting.verdicts import Rule, Vote

TITLE = "Votes, one by one (as HelpSteer3)"
COLUMNS = {
    "context": "messages",
    "response1": "text",
    "response2": "text",
    "response1_author": "text",
    "response2_author": "text",
    "overall_preference": "whole",
    "individual_preference": "votes",
}
PLAINLY_BETTER = 2


def rows(judged: Judged, rule: Rule) -> Iterator[dict[str, Any]]:
    if len(judged.answers) == 1:
        return
    first, second = judged.answers
    scores = [_score(vote) for vote in judged.votes]
    yield {
        "context": judged.messages,
        "response1": first.text,
        "response2": second.text,
        "response1_author": first.author_label,
        "response2_author": second.author_label,
        "overall_preference": round(sum(scores) / len(scores)),
        "individual_preference": [_said(vote, score) for vote, score in zip(judged.votes, scores, strict=True)],
    }


def _score(vote: Vote) -> int:
    return vote.side * (vote.strength or PLAINLY_BETTER)


def _said(vote: Vote, score: int) -> dict[str, Any]:
    return {
        "score": score,
        "strength": vote.strength,
        "both_bad": vote.both_bad,
        "reasoning": vote.reason,
        "annotator": vote.annotator,
    }
