"""Conversations to imitate: the prompt and an answer that nothing is better than, as one message list.

That is the better answer of a pair, the first of a ranking, an answer judged good alone, and every edit; an answer that
was edited is left to its edit, and one that will not do is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotation.exporting.judged import Judged, edits
from annotation.exporting.shapes.kto import rated
from annotation.exporting.shapes.preference import said
from annotation.exporting.verdicts import WEIGHTED, Rule, Vote

TITLE = _("Conversations with the better answer (SFT)")
COLUMNS = {"messages": "messages"}
VOTES = ("raw", "majority", WEIGHTED)
ALONE = ("rating", "edit")


def rows(judged: Judged, rule: Rule) -> Iterator[dict[str, Any]]:
    good = [judged.answers[n].text for votes in rule.parts(judged.votes) for n in _best(judged, votes, rule)]
    for text in [*good, *(edit.text for edit in edits(judged))]:
        yield {"messages": [*judged.messages, *said(text)]}


def _best(judged: Judged, votes: list[Vote], rule: Rule) -> list[int]:
    """The places among the answers of those to imitate."""
    answers = range(len(judged.answers))
    if len(answers) == 1:
        return [n for n in answers if rated(votes, n)]
    won, lost = set[int](), {vote.edit[0] for vote in votes if vote.edit}
    for first in answers:
        for second in answers[first + 1 :]:
            verdict = rule.verdict([vote.of(first, second) for vote in votes], judged.first_better)
            if verdict and verdict.side:
                better, worse = (first, second) if verdict.side < 0 else (second, first)
                won.add(better)
                lost.add(worse)
    refused = {n for n in won if any(vote.acceptable for vote in votes) and rated(votes, n) is False}
    return sorted(won - lost - refused)
