"""Answers that begin alike: how much of their start can be shown once, folded, without changing how the rest reads."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from annotation.rendering import LONGEST_REMEMBERED, block_starts, render

SHORTEST = 200  # characters; less is not worth folding
SENTENCE_END = re.compile(r"[.!?…।][\"'”’»)]* +|[。！？]")
PARAGRAPH = re.compile(r'<p(dir="ltr")?>')  # how one begins, white space left out


def common_start(texts: Sequence[str]) -> int:
    """How many characters all texts share, up to where a new block of Markdown begins in each, or a new sentence of a
    paragraph where that folds more; 0 if that is short.

    Nothing is cut where the definition of a link may stand apart from the place that uses it.
    """
    shared = _shared(min(texts), max(texts))  # what these two share, all that lie between them share
    if len(texts) < 2 or shared < SHORTEST or any("]:" in text or "\r" in text for text in texts):
        return 0
    places = set.intersection(*(set(block_starts(text)) for text in texts))
    block = max((place for place in places if SHORTEST <= place <= shared), default=0)
    ends = (found.end() for found in SENTENCE_END.finditer(texts[0], 0, shared))
    sentence = max(
        (place for place in ends if all(_begins_sentence(text[place : place + 1]) for text in texts)), default=0
    )
    worth_it = sentence >= block + SHORTEST
    return sentence if worth_it and all(_reads_alike(text, sentence) for text in texts) else block


def _shared(first: str, second: str) -> int:
    differ = (n for n, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    return next(differ, min(len(first), len(second)))


def _begins_sentence(letter: str) -> bool:
    """No small letter: what ended was no abbreviation."""
    return letter.isalpha() and not letter.islower()


def _reads_alike(text: str, place: int) -> bool:
    """Whether the two parts of a text are shown as the whole is, but that a paragraph became two.

    A paragraph takes its direction from its first letter, so nothing is cut where letters run from right to left; nor
    in a text so long that it would be rendered anew each time.
    """
    if len(text) > LONGEST_REMEMBERED or any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text):
        return False
    start, rest, whole = ("".join(render(part).split()) for part in (text[:place], text[place:], text))
    seam = PARAGRAPH.match(rest)
    return seam is not None and f"{start.removesuffix('</p>')}{rest[seam.end() :]}" == whole
