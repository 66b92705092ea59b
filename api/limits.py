"""How often one person's programs may ask: so many requests a minute, all of their tokens together.

Counted in Redis, by the minute of the clock. Without Redis nobody is held up: the limit protects the server, votes are
worth more.
"""

from __future__ import annotations

import logging
from functools import cache
from time import time

import redis
from django.conf import settings

from api.errors import Problem

logger = logging.getLogger(__name__)
WINDOW = 60  # seconds
RATE = {
    "RateLimit-Limit": "Requests that one person's programs may send in a minute.",
    "RateLimit-Remaining": "Requests that are left in this minute.",
    "RateLimit-Reset": "Seconds until the next minute begins.",
}


def spend(user_id: int) -> dict[str, str]:
    """Count one request. Returns the headers that say what is left; raises Problem 429 if nothing is."""
    limit: int = settings.API_REQUESTS_PER_MINUTE
    window, passed = divmod(int(time()), WINDOW)
    wait = WINDOW - passed
    used = _count(f"api:requests:{user_id}:{window}")
    headers = dict(zip(RATE, map(str, (limit, max(limit - used, 0), wait)), strict=True))
    if used > limit:
        raise Problem(
            429,
            "too_many_requests",
            f"More than {limit} requests in a minute.",
            f"Wait {wait} seconds, then go on more slowly. The header Retry-After says how long.",
            headers={**headers, "Retry-After": str(wait)},
        )
    return headers


def _count(key: str) -> int:
    """How often this key was counted, this time included; 0 if Redis does not answer."""
    try:
        with _redis(settings.REDIS_URL).pipeline(transaction=True) as pipe:
            pipe.incr(key)
            pipe.expire(key, 2 * WINDOW)
            used, _ = pipe.execute()
    except redis.RedisError:
        logger.warning("requests to the API are not counted: Redis does not answer", exc_info=True)
        return 0
    return int(used)


@cache
def _redis(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)
