"""What the endpoints' schemas share: values that the database can take, the answers that every address may give."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from api.errors import ErrorOut

EVERYWHERE = (400, 401, 403, 411, 413, 422, 429, 500)


HALF = "contains half a character (a lone surrogate)"


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("contains the character NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(HALF) from None
    return text


# The pattern tells programs what the validator says to people.
Text = Annotated[str, AfterValidator(_storable), Field(json_schema_extra={"pattern": "^[^\\u0000]*$"})]


def _saying_something(text: str) -> str:
    if not text.strip():
        raise ValueError("This is empty.")
    return text


# A text that is more than white space.
Words = Annotated[
    Text,
    AfterValidator(_saying_something),
    Field(min_length=1, json_schema_extra={"pattern": "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$"}),
]


def _moment(value: Any, read: ValidatorFunctionWrapHandler) -> datetime:
    """Not as a number, which would be seconds since 1970: `20260131` is meant as a day."""
    found: datetime | None = None
    if not _is_number(value):
        with suppress(ValidationError):
            found = read(value)
    if found is None:
        raise ValueError("It must be a day and a time, such as 2026-01-31T09:00:00Z. In an address + is written %2B.")
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise ValueError("There is no such moment in UTC.") from None


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


Moment = Annotated[AwareDatetime, WrapValidator(_moment)]


def replies(out: Any, *errors: int, status: int = 200) -> dict[int, Any]:
    """What an operation answers: `out` when all is well, the shape of errors for the ones it may meet."""
    return {status: out, **dict.fromkeys((*EVERYWHERE, *errors), ErrorOut)}
