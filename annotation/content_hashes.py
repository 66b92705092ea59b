"""What the same text, or the same conversation, is known by."""

from __future__ import annotations

import hashlib

import orjson


def canonical_json(content: object) -> bytes:
    """The same bytes for the same texts and messages: UTF-8, keys sorted, nothing between the parts."""
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def content_hash(content: object) -> str:
    """The sha256 (hex) of a text or of messages, the same for the same content."""
    return hashlib.sha256(canonical_json(content)).hexdigest()
