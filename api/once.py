"""Sent twice, done once: the header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07).

The answer is kept in the transaction that does the work. So a request that arrives while its twin is at work waits for
it and gets the twin's answer, and one that failed can be sent again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from django.db import transaction
from django.http import HttpResponse
from django.utils.timezone import now
from ninja import Header, Schema
from pydantic import AfterValidator, Field

from api.auth import ApiRequest
from api.errors import Problem
from api.models import RememberedAnswer
from api.strict import Body

KEPT_FOR = timedelta(days=1)
REPLAYED = "Idempotency-Replayed"

SIGNS = re.compile(r"[!-~]*")


def _in_signs(key: str) -> str:
    if not SIGNS.fullmatch(key):
        raise ValueError("Only letters, digits and signs of ASCII, without spaces, make a key.")
    return key


# The pattern tells programs what the validator says to people.
Key = Annotated[
    str, Field(min_length=1, max_length=200, json_schema_extra={"pattern": "^[!-~]+$"}), AfterValidator(_in_signs)
]

IdempotencyKey = Annotated[
    Key | None,
    Header(
        alias="Idempotency-Key",
        description="Any text of your own, new for each request: the same request sent again with the same key, within"
        " a day, is answered as the first time and does nothing.",
    ),
]

Out = TypeVar("Out", bound=Schema)


def once(
    request: ApiRequest, response: HttpResponse, key: str | None, body: Body, kind: type[Out], do: Callable[[], Out]
) -> Out:
    """Do it, or give the answer of the first time. Raises Problem 422 if the key came with another request before."""
    if key is None:
        return do()
    asked = _fingerprint(request, body.model_dump(mode="json"))
    with transaction.atomic():
        kept, new = RememberedAnswer.objects.get_or_create(
            user=request.user, key=key, defaults={"request_sha256": asked}
        )
        if new:
            done = do()
            RememberedAnswer.objects.filter(pk=kept.pk).update(answer=done.model_dump(mode="json"))
            return done
    if kept.request_sha256 != asked:
        raise Problem(
            422,
            "idempotency_key_reused",
            "This Idempotency-Key came with another request before.",
            "Use a new key for each new request, and an old one only to send the very same request again.",
        )
    response[REPLAYED] = "true"
    return kind.model_validate(kept.answer)


def forget_old_answers() -> int:
    """Delete what is older than a day. Returns how many."""
    return RememberedAnswer.objects.filter(created_at__lt=now() - KEPT_FOR).delete()[0]


def _fingerprint(request: ApiRequest, body: dict[str, Any]) -> str:
    canonical = json.dumps([request.method, request.path, body], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
