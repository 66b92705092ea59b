"""Checking that a webhook's message is Prefloop's, whole, and not an old one sent again (Standard Webhooks 1.0)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

TOLERANCE = 300.0  # seconds


class BadSignatureError(Exception):
    """Do not believe this message."""


def verify(body: bytes, headers: Mapping[str, str], secret: str, *, tolerance: float = TOLERANCE) -> dict[str, Any]:
    """The message. `body` is exactly what came, `secret` what the webhook's page showed. Raises BadSignatureError.

    A message can come twice; `headers["webhook-id"]` is the same both times.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, sent, signatures = (lower[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
        age = abs(int(time.time()) - int(sent))  # whole: as a float a forged one may be too large
    except (KeyError, ValueError):
        raise BadSignatureError("The message lacks its signature.") from None
    if age > tolerance:
        raise BadSignatureError("The message is too old, or a clock is wrong.")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = hmac.digest(key, b".".join([_bytes(message_id), _bytes(sent), body]), hashlib.sha256)
    for signature in signatures.split():
        version, _, text = signature.partition(",")
        if version == "v1" and hmac.compare_digest(_bytes(text), base64.b64encode(expected)):
            found: dict[str, Any] = json.loads(body)
            return found
    raise BadSignatureError("The signature is not this secret's.")


def _bytes(text: str) -> bytes:
    """Of any header, such as one with a byte that was no UTF-8."""
    return text.encode("utf-8", "surrogatepass")
