"""The headers of answers, put into the OpenAPI description: the framework describes bodies alone."""

from collections.abc import Iterator
from typing import Any

from api.limits import RATE
from api.once import REPLAYED

TEXT, NUMBER = {"type": "string"}, {"type": "integer", "minimum": 0}
MEANINGS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (meaning, NUMBER) for name, meaning in RATE.items()},
    "Retry-After": ("Seconds to wait before the next request.", NUMBER),
    "WWW-Authenticate": ("How to sign a request: by a token.", TEXT),
    REPLAYED: ("`true` where this is the answer of the first time.", {"const": "true"}),
}


def declare_headers(described: dict[str, Any]) -> None:
    """Name in every answer of a description the headers that it comes with."""
    described["components"]["headers"] = {
        name: {"description": meaning, "schema": schema} for name, (meaning, schema) in MEANINGS.items()
    }
    for operations in described["paths"].values():
        for operation in operations.values():
            keys = [item for item in operation.get("parameters", []) if item["name"] == "Idempotency-Key"]
            for status, answer in operation["responses"].items():
                names = _headers_of(int(status), is_done_once=bool(keys))
                answer["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _headers_of(status: int, *, is_done_once: bool) -> Iterator[str]:
    """A request without a token in force is counted for nobody."""
    if status == 401:
        yield "WWW-Authenticate"
        return
    yield from RATE
    if status == 429:
        yield "Retry-After"
    if is_done_once and status < 300:
        yield REPLAYED
