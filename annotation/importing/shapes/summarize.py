"""summarize-from-feedback: a post in `info`, two `summaries`, the `choice` of one by its index, and the `worker`.

Columns of openai/summarize_from_feedback, comparisons. The prompt is laid out as its authors did for their models:
subreddit, title, post and "TL;DR:", or article and "TL;DR:". Every worker's votes are kept apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotation.importing.rows import (
    FIRST_IS_BETTER,
    SECOND_IS_BETTER,
    Answer,
    BadRowError,
    Row,
    Vote,
    pair,
    read_label,
    read_messages,
    read_one_of,
    read_text,
)

TITLE = "summarize-from-feedback"
FORM = '{"info": {"post": …}, "summaries": [{"text": …}, {"text": …}], "choice": 0 or 1, "worker": …}'
SOURCE = "summarize-from-feedback"


def recognises(row: Mapping[str, Any]) -> bool:
    return "summaries" in row and "choice" in row


def read(row: Mapping[str, Any]) -> Row:
    """Raises BadRowError."""
    summaries = row["summaries"]
    if not isinstance(summaries, list) or len(summaries) != 2 or not all(isinstance(one, dict) for one in summaries):
        raise BadRowError("summaries is not a list of two objects.")
    answers = [
        Answer(read_text(one.get("text"), f"Summary {n}"), read_label(one.get("policy"), f"Summary {n}, policy"))
        for n, one in enumerate(summaries)
    ]
    choice = read_one_of(row["choice"], (0, 1), "choice")
    vote = Vote((FIRST_IS_BETTER, SECOND_IS_BETTER)[choice], voter=read_label(row.get("worker"), "worker"))
    return pair(read_messages(_prompt(row.get("info")), "info"), answers, (vote,))


def _prompt(info: object) -> str:
    if not isinstance(info, dict):
        raise BadRowError("info is not an object with a post or an article.")
    if info.get("article"):
        return f"Article: {read_text(info['article'], 'article')}\n\nTL;DR:"
    parts = [
        f"{mark}{read_text(info[name], name)}"
        for name, mark in (("subreddit", "SUBREDDIT: r/"), ("title", "TITLE: "))
        if info.get(name)
    ]
    return "\n\n".join([*parts, f"POST: {read_text(info.get('post'), 'post')}", "TL;DR:"])
