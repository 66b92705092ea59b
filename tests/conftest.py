"""What every test gets: services that run, folders and queues that are its own."""

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import psycopg2
import pytest
import redis
from django.conf import LazySettings
from django.conf import settings as project_settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# A fresh or busy machine is slow to draw its first examples; that is no fault of what is tested.
hypothesis_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("patient")


def group_of(nodeid: str) -> str:
    """What one process does where several share the tests out: a file, or all that need a running stack."""
    file = nodeid.partition("::")[0]
    return "e2e" if file.startswith("tests/e2e/") else file


class Groups(LoadScopeScheduling):
    """Shares out whole groups. (xdist's own groups come to nothing with pytest 9.2, which keeps ids elsewhere.)"""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Groups:
    return Groups(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What the libraries leave in memory stays: looking through half a million objects for rubbish takes its time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Groups with slow tests begin, so that no process waits for one at the end."""
    yield
    if hasattr(config, "workerinput"):
        slow = {group_of(item.nodeid) for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: group_of(item.nodeid) not in slow)


@pytest.fixture(scope="session")
def services() -> Iterator[None]:
    """PostgreSQL and Redis run for the whole session, and the queues start empty."""
    project_settings.SERVICES.ensure_running()
    is_ours = project_settings.VAR.name == os.environ.get("PYTEST_XDIST_WORKER")  # any other may be somebody's own
    if is_ours and project_settings.DATABASES["default"]["ENGINE"] == "config.embedded":
        do_not_wait_for_the_disk()
    with redis.Redis.from_url(project_settings.REDIS_URL) as connection:
        connection.flushall()
    yield
    project_settings.SERVICES.leave()


def do_not_wait_for_the_disk() -> None:
    """Nothing of the tests need outlive a machine that loses its power; a PostgreSQL that is killed loses nothing."""
    where = project_settings.SERVICES.database()
    server = psycopg2.connect(host=where["HOST"], port=where["PORT"], user=where["USER"], dbname="postgres")
    server.autocommit = True
    with server.cursor() as cursor:
        cursor.execute("ALTER SYSTEM SET fsync = off")
        cursor.execute("ALTER SYSTEM SET full_page_writes = off")
        cursor.execute("SELECT pg_reload_conf()")
    server.close()


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
