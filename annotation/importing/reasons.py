"""Why a row or a file is not taken, in the reader's language.

A worker that lands a file knows no reader: the reason is said and kept in English, for the file of bad rows and the API
too, and is recognised by its sentence where a page shows it. What no sentence below fits stays as it is.
"""

from __future__ import annotations

import re
from functools import cache

from django.utils.formats import number_format
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

SENTENCES = (
    # Of a file.
    _("This is a ZIP archive. Unpack it, and send the file that is in it."),
    _("The file is empty."),
    _("The file is none of JSON Lines, a JSON list, CSV and Parquet."),
    _("The file cannot be unpacked: %(error)s."),
    _("The file unpacks to far more than text does; it is read no further."),
    _("The file has no rows."),
    _("The file has no lines."),
    _("The file has %(n)s lines; at most %(most)s are taken at once."),
    _("The file has votes by more than %(n)s voices."),
    _("%(n)s workers have died reading this file. What is counted here is in."),
    _("The first line does not name two or more columns."),
    _("The first line names more than %(n)s columns, or one of them twice."),
    _("A line is longer than %(n)s bytes; the file is read no further."),
    _("The file is not UTF-8. Save it as CSV UTF-8."),
    _("The file is not UTF-8; it is read no further."),
    _("The file is not a JSON list."),
    _("After row %(n)s the file is not JSON: there is neither a comma nor the list's end."),
    _("Row %(n)s is nested too deep; the file is read no further."),
    _("Row %(n)s is not JSON, or over %(most)s characters; the file is read no further."),
    _("Row %(n)s is not JSON: %(error)s. The file is read no further."),
    _("The Parquet file cannot be read."),
    _("The Parquet file cannot be read: %(error)s"),
    _("The file has more than %(n)s rows or %(most)s columns."),
    _("The file unpacks to more than can be held in memory."),
    # Of a line or a row as a whole.
    _("Line %(n)s: %(reason)s"),
    _("this pair is being judged in this project. It can become gold when it has all its votes."),
    _("not a JSON object in UTF-8."),
    _("not a JSON object."),
    _("the two answers are the same text."),
    _('neither chosen and rejected, nor two responses and expected ("tie" or "both_bad").'),
    _("The line is longer than %(n)s bytes."),
    _("The line is not a JSON object. JSON Lines has one object a line, without a list around them."),
    _("The line is not UTF-8 (byte %(n)s)."),
    _("The line is nested too deep."),
    _("The line is not JSON: %(error)s."),
    _("The line contains %(name)s, which is not JSON."),
    _("The row is not CSV: %(error)s."),
    _("The row has %(n)s cells; the first line names %(most)s columns."),
    _("The row is longer than %(n)s characters."),
    _("A cell is nested too deep."),
    _("The row is not a JSON object."),
    _("The row has no %(name)s."),
    _("The row has none of the known shapes, such as chosen and rejected, or responses."),
    _(
        "One answer alone is kept only with what was said of it: name the source of the votes. Or make this a project"
        " where people see one answer at a time."
    ),
    _("The database refused the row: %(error)s"),
    # Of what a row holds.
    _("The two answers are the same text."),
    _("%(name)s is not a text."),
    _("%(name)s is empty."),
    _("%(name)s has %(n)s characters; at most %(most)s are taken."),
    _("%(name)s contains the character NUL."),
    _("%(name)s contains half a character (a lone surrogate)."),
    _("%(name)s is not a number."),
    _("%(name)s is %(value)s, which is none of %(allowed)s."),
    _("%(name)s is neither true nor false."),
    _("%(name)s has more than %(n)s characters."),
    _("%(name)s: %(text)s… has more than %(n)s characters."),
    _("%(name)s is neither a text nor a list of messages."),
    _("%(name)s is not an object with role and content."),
    _("%(name)s has none of the roles %(allowed)s."),
    _("%(name)s has a part that is not text."),
    _("%(name)s is not a conversation that ends with a message of the assistant."),
    _("system is given twice: by itself and as the first message."),
    _("The prompt does not end with a message of the user."),
    _("A system message comes after the first message."),
    _("%(name)s is not one message of the assistant."),
    _("%(name)s is not an object."),
    _("%(name)s is nested too deep."),
    _("%(name)s is not a list."),
    _("%(name)s is not a list of at most %(n)s."),
    _("%(name)s is not a list of objects."),
    _("%(name)s is not a list of two objects."),
    _("%(name)s is not a list of messages."),
    _("%(name)s is not an object with from and value."),
    _("%(name)s is not a message of gpt."),
    _("%(name)s is from none of %(allowed)s."),
    _("%(name)s is none of %(allowed)s."),
    _("%(name)s does not say of two answers whether each will do."),
    _("%(name)s holds something that is no object."),
    _("%(name)s: author is not a text of at most %(n)s characters."),
    _("%(name)s does not begin with a turn of Human or Assistant."),
    _("There are %(n)s votes; at most %(most)s are taken."),
    _("There are %(n)s responses; at most %(most)s are taken."),
    _("There are %(n)s completions; at most %(most)s are taken."),
    _("There are fewer than two different responses."),
    _("There are fewer than two different completions."),
    _("Vote %(n)s says both bad or both good, and something else."),
    _("Vote %(n)s has a strength, and prefers nothing."),
    _("There is no prompt, and chosen and rejected are not message lists that contain it."),
    _("chosen and rejected do not begin with the same conversation."),
    _("chosen and rejected differ before the last answer."),
    _("strength is none of 1 (slightly), 2 (clearly) and 3 (much)."),
    _("preference is %(value)s, neither 0 nor between 1 and 2."),
    _("The two conversations go apart before the last answer, so the answers have no prompt in common."),
    _("output is not a list of a chosen and a rejected answer."),
    _("history is not a list of pairs of a question and an answer."),
    _("info is not an object with a post or an article."),
    _("prompt, response_a and response_b have different numbers of turns."),
    _("Not one of %(allowed)s is 1."),
    _("%(name)s is a person's account: choose another name."),
)
# How the parts of a place in a row are called: the names of fields are the file's own.
PLACES = (
    _("message %(n)s"),
    _("Vote %(n)s"),
    _("Response %(n)s"),
    _("response %(n)s"),
    _("Summary %(n)s"),
    _("A text of metadata"),
)
BLANK = re.compile(r"%\((\w+)\)s")
NUMBERS = {"n": r"\d[\d,]*", "most": r"\d[\d,]*"}
GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+")


def told(reason: str) -> str:
    """A reason as it was kept, in the reader's language; what stands in it is looked for in the same way."""
    for form, message in _forms():
        if found := form.fullmatch(reason):
            return gettext(message) % {name: _filled(value) for name, value in found.groupdict().items()}
    return reason


def _filled(value: str) -> str:
    if GROUPED.fullmatch(value):
        return number_format(int(value.replace(",", "")), force_grouping=True)
    said = told(value)
    return said if said != value else ", ".join(map(told, value.split(", ")))


@cache
def _forms() -> list[tuple[re.Pattern[str], str]]:
    """What each sentence looks like when its blanks are filled; what says more in words of its own comes first."""
    own_words = sorted(SENTENCES + PLACES, key=lambda message: -len(BLANK.sub("", message)))
    return [(re.compile(_form(message), re.DOTALL), message) for message in own_words]


def _form(message: str) -> str:
    parts = BLANK.split(message)  # literal, name, literal, …
    return "".join(
        f"(?P<{part}>{NUMBERS.get(part, '.+')})" if place % 2 else re.escape(part) for place, part in enumerate(parts)
    )
