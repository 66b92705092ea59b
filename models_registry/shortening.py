"""Texts made shorter without taking apart what is drawn as one sign: a letter and its accent, an emoji and its skin."""

from __future__ import annotations

import regex


def shortened(text: str, most: int) -> str:
    """At most so many characters; one that is longer ends in an ellipsis.

    A sign is a grapheme cluster of Unicode's UAX 29. One that is longer than the room is cut all the same.
    """
    if len(text) <= most:
        return text
    end = 0
    for sign in regex.finditer(r"\X", text):
        if sign.end() >= most:
            break
        end = sign.end()
    return text[: end or most - 1].rstrip() + "…"
