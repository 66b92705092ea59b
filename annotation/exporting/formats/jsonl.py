"""JSON Lines: one object a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

TITLE = "JSON Lines"
CONTENT_TYPE = "application/jsonl; charset=utf-8"


def written(batches: Iterable[list[dict[str, Any]]], columns: Mapping[str, str]) -> Iterator[bytes]:
    """The file, a piece for every batch of rows."""
    for batch in batches:
        yield b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in batch)
