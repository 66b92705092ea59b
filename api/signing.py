"""How a webhook's receiver knows that we sent it: the scheme of Standard Webhooks (standardwebhooks.com, spec 1.0).

The signature is HMAC-SHA256 over `id.timestamp.body`, so an old message cannot be sent again as a new one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from django.utils.crypto import salted_hmac

from api.models import Webhook

SALT = "api.signing"
PREFIX = "whsec_"


def new_salt() -> str:
    return secrets.token_hex(16)


def secret_of(webhook: Webhook) -> str:
    """The webhook's secret, as its receiver is given it. It follows from the salt and the site's secret key, so the
    database alone tells nobody."""
    return PREFIX + base64.b64encode(_key(webhook)).decode()


def signed_headers(webhook: Webhook, *, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a message. `timestamp` is in seconds since 1970."""
    signed = b".".join([message_id.encode(), str(timestamp).encode(), body])
    signature = base64.b64encode(hmac.digest(_key(webhook), signed, hashlib.sha256)).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


def _key(webhook: Webhook) -> bytes:
    """32 bytes."""
    return salted_hmac(SALT, f"{webhook.pk}:{webhook.salt}", algorithm="sha256").digest()
