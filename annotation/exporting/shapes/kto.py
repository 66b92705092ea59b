"""Rated answers as TRL's KTOTrainer reads them: `prompt`, `completion`, and whether it is good.

What people said of an answer alone (thumbs, acceptability) counts first. Otherwise the best answer is good and the
worst is bad, as TRL unpairs preferences; of a tie or "both good" all are good, of "both bad" all are bad, and what
stands in the middle of a ranking is neither. An edit is good.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotation.exporting.judged import Judged, edits
from annotation.exporting.shapes.preference import said
from annotation.exporting.verdicts import Rule, Vote, most_said

TITLE = _("Rated answers (TRL KTO)")
COLUMNS = {"prompt": "messages", "completion": "messages", "label": "truth"}
VOTES = ("raw", "majority")
ALONE = ("rating", "edit")


def rows(judged: Judged, rule: Rule) -> Iterator[dict[str, Any]]:
    for votes in rule.parts(judged.votes):
        for n, answer in enumerate(judged.answers):
            good = rated(votes, n)
            if good is not None:
                yield {"prompt": judged.messages, "completion": said(answer.text), "label": good}
    for edit in edits(judged):
        yield {"prompt": judged.messages, "completion": said(edit.text), "label": True}


def rated(votes: list[Vote], answer: int) -> bool | None:
    """What most of these votes say of an answer; None where as many say the opposite."""
    return most_said([good for vote in votes if (good := vote.rating(answer)) is not None])
