"""So many requests a minute for each person, all of their tokens together."""

import pytest
from django.conf import LazySettings

from annotation.models import User
from api import limits
from tests.api.conftest import ProgramOf, error_of


@pytest.fixture(autouse=True)
def _one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands ten seconds into a minute of its own."""
    monkeypatch.setattr(limits, "time", lambda: 60.0 * 1_000 + 10)
    with limits._redis(limits.settings.REDIS_URL) as redis:
        for key in redis.scan_iter("api:requests:*"):
            redis.delete(key)


def test_who_asks_too_often_is_told_how_long_to_wait(
    ann: User, ben: User, program_of: ProgramOf, settings: LazySettings
) -> None:
    settings.API_REQUESTS_PER_MINUTE = 3
    one, other = program_of(ann), program_of(ann)

    answers = [one.get("/me"), other.get("/me"), one.get("/me")]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0"]

    refused = other.get("/me")
    assert error_of(refused) == (429, "too_many_requests")
    assert refused.headers["Retry-After"] == "50"
    assert refused.headers["RateLimit-Limit"] == "3"
    assert program_of(ben).get("/me").status_code == 200


def test_the_next_minute_begins_anew(
    ann: User, program_of: ProgramOf, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.API_REQUESTS_PER_MINUTE = 1
    program = program_of(ann)
    assert [program.get("/me").status_code for _ in range(2)] == [200, 429]
    monkeypatch.setattr(limits, "time", lambda: 60.0 * 1_001)
    assert program.get("/me").status_code == 200


def test_nobody_is_held_up_while_redis_is_away(
    ann: User, program_of: ProgramOf, settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.API_REQUESTS_PER_MINUTE = 1
    settings.REDIS_URL = "unix:///nowhere/redis.sock?db=0"
    program = program_of(ann)
    assert [program.get("/me").status_code for _ in range(3)] == [200, 200, 200]
    assert "Redis does not answer" in caplog.text
