"""What is kept or written in English, in the language of whoever reads it.

Workers, schedules and the engine know no reader. Why a run failed, why a row was not taken: it is said and kept in
English, for the log, the API and the file of bad rows too. A page puts it through :func:`said`, which recognises the
sentences that :func:`saying` has made known, and looks in the same way at what is filled in.
"""

from __future__ import annotations

import re
from bisect import insort
from decimal import Decimal
from functools import cache

from django.utils.formats import number_format
from django.utils.translation import get_language, gettext

PLACE = re.compile(r"%\((\w+)\)([sd])")
FILLED = {"s": ".+?", "d": r"-?\d[\d,]*"}
NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+)")
LEVELS = 6
_known: list[str] = []


def saying(sentence: str) -> str:
    """Make a sentence known. ``%(name)s`` in it is a place for anything, ``%(n)d`` one for a whole number."""
    insort(_known, sentence, key=_words_of_its_own)
    return sentence


def said(text: str) -> str:
    """The text in the active language; as it is where nobody has translated it."""
    if not text or (get_language() or "en").startswith("en"):
        return text
    words = gettext(text)
    return words if words != text else recognised(text)


def recognised(text: str, levels: int = LEVELS) -> str:
    """As :func:`said`, for what people may have written too: a word of theirs is not looked up in the catalogue.

    Sentences stand in each other at most ``levels`` deep, whatever a library's error may look like.
    """
    for sentence in _known if levels else ():
        if match := _form(sentence).fullmatch(text):
            filled = {name: _filled(part, levels - 1) for name, part in match.groupdict().items()}
            words = gettext(sentence)
            return PLACE.sub(r"%(\1)s", words) % filled if filled else words.replace("%%", "%")
    return text


def _filled(part: str, levels: int) -> str:
    """A number, a known sentence, a list of such, or what somebody wrote: `prompt` is a column then, and stays."""
    if NUMBER.fullmatch(part):
        return number_format(Decimal(part.replace(",", "")), force_grouping="," in part)
    words = recognised(part, levels)
    if words == part and ", " in part:
        return ", ".join(recognised(each, levels) for each in part.split(", "))
    return words


def _words_of_its_own(sentence: str) -> int:
    """What says most is tried first: it is the most specific."""
    return -len(PLACE.sub("", sentence))


@cache
def _form(sentence: str) -> re.Pattern[str]:
    """What a sentence looks like when it is filled in."""
    *parts, last = PLACE.split(sentence)  # words, name, kind, words, name, kind, …, words
    places = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    form = "".join(f"{_literally(words)}(?P<{name}>{FILLED[kind]})" for words, name, kind in places)
    return re.compile(form + _literally(last), re.DOTALL)


def _literally(words: str) -> str:
    return re.escape(words.replace("%%", "%"))
