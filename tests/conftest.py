"""What every test gets: services that run, folders and queues that are its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.conf import LazySettings
from django.conf import settings as project_settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

# A fresh or busy machine is slow to draw its first examples; that is no fault of what is tested.
hypothesis_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("patient")


@pytest.fixture(scope="session")
def services() -> Iterator[None]:
    """PostgreSQL and Redis run for the whole session, and the queues start empty."""
    project_settings.SERVICES.ensure_running()
    with redis.Redis.from_url(project_settings.REDIS_URL) as connection:
        connection.flushall()
    yield
    project_settings.SERVICES.leave()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(services: None) -> None:
    """The database of the tests needs the server that holds it (pytest-django asks for this fixture first)."""


@pytest.fixture(autouse=True)
def _own_folders(request: pytest.FixtureRequest, settings: LazySettings, tmp_path: Path) -> None:
    """Runs, artifacts and uploads of a test go to its temporary folder, unless it works with separate processes."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.ACCOUNT_RATE_LIMITS = False  # one address signs in all day here; test_throttling.py has them on
    if "live_stack" in request.fixturenames:
        return
    settings.VAR = tmp_path
    settings.RUNS_DIR = tmp_path / "runs"
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {**settings.STORAGES["default"], "OPTIONS": {"location": tmp_path / "media"}},
        "artifacts": {**settings.STORAGES["artifacts"], "OPTIONS": {"location": tmp_path / "artifacts"}},
    }
