"""What is kept or written in English, in the language of whoever reads it.

Workers, schedules and the engine speak English, and their sentences are kept as they were said: the reason why a run
failed, say. A page puts them through :func:`said`. A sentence with something filled in is made known here by the text
it is made of; one without needs only its translation.
"""

from __future__ import annotations

import re

from django.utils.translation import get_language, gettext

PLACE = re.compile(r"%\((\w+)\)([sd])")
_known: dict[str, re.Pattern[str]] = {}


def saying(sentence: str) -> str:
    """Make a sentence with places like ``%(name)s`` or ``%(n)d`` known, to be recognised when it is filled in."""
    pattern, after = "", 0
    for place in PLACE.finditer(sentence):
        pattern += re.escape(sentence[after : place.start()].replace("%%", "%"))
        pattern += rf"(?P<{place[1]}>{'-?[0-9]+' if place[2] == 'd' else '.+?'})"
        after = place.end()
    pattern += re.escape(sentence[after:].replace("%%", "%"))
    _known[sentence] = re.compile(pattern, re.DOTALL)
    return sentence


def said(text: str) -> str:
    """The text in the active language, what is filled in too; as it is where nobody has translated it."""
    if not text or (get_language() or "en").startswith("en"):
        return text
    words = gettext(text)
    if words != text:
        return words
    for sentence, pattern in _known.items():
        if match := pattern.fullmatch(text):
            numbers = {place[1] for place in PLACE.finditer(sentence) if place[2] == "d"}
            filled = {name: int(part) if name in numbers else said(part) for name, part in match.groupdict().items()}
            return gettext(sentence) % filled
    return text
