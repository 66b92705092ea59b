"""JSON Lines: one object a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from json import JSONEncoder
from typing import Any

TITLE = "JSON Lines"
CONTENT_TYPE = "application/jsonl; charset=utf-8"
_encode = JSONEncoder(ensure_ascii=False).encode


def written(batches: Iterable[list[dict[str, Any]]], columns: Mapping[str, str]) -> Iterator[bytes]:
    """The file, a piece for every batch of rows."""
    for batch in batches:
        yield ("\n".join(map(_encode, batch)) + "\n").encode()
