"""What the endpoints' schemas share: texts that the database can take, the answers that every address may give."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from api.errors import ErrorOut

EVERYWHERE = (400, 401, 403, 413, 422, 429)


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("contains the character NUL")
    return text


# The pattern tells programs what the validator says to people.
Text = Annotated[str, AfterValidator(_without_nul), Field(json_schema_extra={"pattern": "^[^\\u0000]*$"})]


def replies(out: Any, *errors: int, status: int = 200) -> dict[int, Any]:
    """What an operation answers: `out` when all is well, the shape of errors for the ones it may meet."""
    return {status: out, **dict.fromkeys((*EVERYWHERE, *errors), ErrorOut)}
