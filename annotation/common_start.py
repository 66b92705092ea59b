"""Answers that begin alike: how much of their start can be shown once, folded, without changing how the rest reads."""

from __future__ import annotations

from collections.abc import Sequence

from annotation.rendering import block_starts

SHORTEST = 200  # characters; less is not worth folding


def common_start(texts: Sequence[str]) -> int:
    """How many characters all texts share, up to where a new block of Markdown begins in each; 0 if that is short.

    Nothing is cut where the definition of a link may stand apart from the place that uses it.
    """
    shared = _shared(min(texts), max(texts))  # what these two share, all that lie between them share
    if len(texts) < 2 or shared < SHORTEST or any("]:" in text or "\r" in text for text in texts):
        return 0
    places = set.intersection(*(set(block_starts(text)) for text in texts))
    return max((place for place in places if SHORTEST <= place <= shared), default=0)


def _shared(first: str, second: str) -> int:
    differ = (n for n, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    return next(differ, min(len(first), len(second)))
