"""What every shape of row is read into, and the checks that all shapes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from types import MappingProxyType
from typing import Any, NamedTuple

from annotation.services import Message

ROLES = ("system", "user", "assistant")
MOST_ANSWERS = 9
LONGEST_LABEL = 200  # characters
LONGEST_TEXT = 200_000  # characters of one message or answer: as long as a text that is rendered


class BadRowError(ValueError):
    """A row that cannot be imported. Its text is the reason, for the person who made the file."""


class BadFileError(Exception):
    """A file of which nothing more can be read. Its text is the reason, for the person who made it."""


class BrokenFileError(BadFileError):
    """The same, from a reader that does not know the row: whoever numbers the rows adds it."""


class Answer(NamedTuple):
    """One answer of a row and the label of whoever wrote it, if the row says."""

    text: str
    author_label: str = ""


NOTHING: Mapping[str, Any] = MappingProxyType({})


class Vote(NamedTuple):
    """What one voice in the file says: `places[i]` is the place of answer i, 0 the best, the same place for a tie.

    `strength` is 1 to 3 or None. `voter` tells the voices of one file apart; most files have one voice, "".
    `acceptable` says of each answer whether it will do, None where nothing is said; each aspect has places of its own.
    `edit` is the place among the answers of the one that the voter changed, and its new text. `decides`: a reviewer's
    last word on the pair.
    """

    places: tuple[int, ...]
    strength: int | None = None
    both_bad: bool = False
    voter: str = ""
    reason: str = ""
    both_good: bool = False
    tags: tuple[str, ...] = ()
    acceptable: tuple[bool | None, ...] = ()
    aspects: Mapping[str, tuple[int, ...]] = NOTHING
    edit: tuple[int, str] | None = None
    decides: bool = False


FIRST_IS_BETTER, SECOND_IS_BETTER, TIE = (0, 1), (1, 0), (0, 0)


class Row(NamedTuple):
    """A conversation that ends with the user's turn, one to nine different answers, and what was said of them.

    Of one answer alone a vote says by `acceptable` whether it is good.
    """

    messages: list[Message]
    answers: list[Answer]
    votes: tuple[Vote, ...] = ()
    metadata: Mapping[str, Any] = NOTHING


def pair(
    messages: list[Message],
    answers: Sequence[Answer],
    votes: Sequence[Vote] = (),
    metadata: Mapping[str, Any] = NOTHING,
) -> Row:
    """A row of two answers. Raises BadRowError if they are one text."""
    if answers[0].text == answers[1].text:
        raise BadRowError("The two answers are the same text.")
    return Row(messages, list(answers), tuple(votes), metadata)


def read_text(value: object, name: str) -> str:
    """A text that the database and a reader can take. Raises BadRowError."""
    if not isinstance(value, str):
        raise BadRowError(f"{name} is not a text.")
    if not value.strip():
        raise BadRowError(f"{name} is empty.")
    if len(value) > LONGEST_TEXT:
        raise BadRowError(f"{name} has {len(value):,} characters; at most {LONGEST_TEXT:,} are taken.")
    if "\x00" in value:
        raise BadRowError(f"{name} contains the character NUL.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadRowError(f"{name} contains half a character (a lone surrogate).") from None
    return value


def read_number(value: object, name: str) -> float:
    """A finite number, also as a text, which is all that a table of texts has. Raises BadRowError."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise BadRowError(f"{name} is not a number.")
    return float(value)


def read_one_of(value: object, allowed: Sequence[int], name: str) -> int:
    """One of these whole numbers. Raises BadRowError."""
    number = read_number(value, name)
    if number not in allowed:
        raise BadRowError(f"{name} is {number:g}, which is none of {', '.join(map(str, allowed))}.")
    return int(number)


def read_bool(value: object, name: str) -> bool:
    """True or false, also as 1 and 0, in words and in the texts of a CSV table. Raises BadRowError."""
    word = value.strip().lower() if isinstance(value, str) else value
    if word in ("true", "1", "1.0", 1):
        return True
    if word in ("false", "0", "0.0", 0):
        return False
    raise BadRowError(f"{name} is neither true nor false.")


def read_label(value: object, name: str) -> str:
    """The name of whoever wrote an answer or voted; "" where the row says nothing. Raises BadRowError."""
    if value is None or value == "":
        return ""
    label = read_text(str(value) if isinstance(value, int) else value, name)
    if len(label) > LONGEST_LABEL:
        raise BadRowError(f"{name} has more than {LONGEST_LABEL} characters.")
    return label


def read_messages(value: object, name: str) -> list[Message]:
    """A conversation: a text is the user's only turn. Raises BadRowError."""
    if isinstance(value, str):
        return [{"role": "user", "content": read_text(value, name)}]
    if not isinstance(value, list) or not value:
        raise BadRowError(f"{name} is neither a text nor a list of messages.")
    return [_read_message(message, f"{name}, message {n}") for n, message in enumerate(value, start=1)]


def _read_message(value: object, name: str) -> Message:
    if not isinstance(value, dict):
        raise BadRowError(f"{name} is not an object with role and content.")
    if value.get("role") not in ROLES:
        raise BadRowError(f"{name} has none of the roles {', '.join(ROLES)}.")
    return {"role": value["role"], "content": read_text(_joined(value.get("content"), name), f"{name}, content")}


def _joined(content: object, name: str) -> object:
    """The text of a content that comes as a list of parts."""
    if not isinstance(content, list):
        return content
    if not all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        raise BadRowError(f"{name} has a part that is not text.")
    return "".join(str(part.get("text", "")) for part in content)


def split_answer(value: object, name: str) -> tuple[list[Message], str]:
    """A conversation that ends with the assistant's answer: what comes before it, and that. Raises BadRowError."""
    messages = read_messages(value, name)
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise BadRowError(f"{name} is not a conversation that ends with a message of the assistant.")
    return messages[:-1], messages[-1]["content"]


def read_prompt(row: Mapping[str, Any]) -> list[Message]:
    """`prompt` (or `messages`), with `system` in front if the row has one. Raises BadRowError."""
    name = "prompt" if "prompt" in row else "messages"
    return checked_prompt(with_system(row, read_messages(row.get(name), name)))


def with_system(row: Mapping[str, Any], messages: list[Message]) -> list[Message]:
    """The conversation with the row's `system` text as its first message."""
    if row.get("system") in (None, ""):
        return messages
    if messages[0]["role"] == "system":
        raise BadRowError("system is given twice: by itself and as the first message.")
    return [{"role": "system", "content": read_text(row["system"], "system")}, *messages]


def checked_prompt(messages: list[Message]) -> list[Message]:
    """Raises BadRowError unless the conversation waits for the assistant's answer."""
    if messages[-1]["role"] != "user":
        raise BadRowError("The prompt does not end with a message of the user.")
    if len(messages) > 1 and any(message["role"] == "system" for message in messages[1:]):
        raise BadRowError("A system message comes after the first message.")
    return messages


def read_answer(value: object, name: str) -> str:
    """An answer: a text, or a list with the assistant's one message. Raises BadRowError."""
    if not isinstance(value, list):
        return read_text(value, name)
    messages = read_messages(value, name)
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        raise BadRowError(f"{name} is not one message of the assistant.")
    return messages[0]["content"]


def read_metadata(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row's `metadata`, to be kept with the prompt. Raises BadRowError."""
    metadata = row.get("metadata") or NOTHING
    if metadata is NOTHING:
        return NOTHING
    if not isinstance(metadata, dict):
        raise BadRowError("metadata is not an object.")
    _check_depth(metadata)
    return metadata


def _check_depth(value: object, depth: int = 20) -> None:
    if depth == 0:
        raise BadRowError("metadata is nested too deep.")
    if isinstance(value, str):
        if "\x00" in value or not value.isascii():
            read_text(value or " ", "A text of metadata")
        return
    inside: Sequence[object] = []
    if isinstance(value, dict):
        inside = [*value.keys(), *value.values()]
    elif isinstance(value, list):
        inside = value
    for part in inside:
        _check_depth(part, depth - 1)
