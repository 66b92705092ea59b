"""Settings from the environment: what is read, what is refused, what is kept secret."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import Tags, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from config import environment, settings

ROOT = Path(__file__).resolve().parents[2]


def start(var: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """What `manage.py check` says in this environment."""
    command = [sys.executable, "manage.py", "check"]
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    full = {**inherited, "PREFLOOP_VAR": str(var), **variables}
    return subprocess.run(command, cwd=ROOT, env=full, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("True", True), ("yes", True), ("off", False), ("0", False), ("", True)]
)
def test_a_switch_is_read(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("SWITCH", value)
    assert environment.flag("SWITCH", True) is expected


def test_a_switch_that_is_neither_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCH", "maybe")
    with pytest.raises(ImproperlyConfigured, match="SWITCH='maybe'"):
        environment.flag("SWITCH", False)


@pytest.mark.parametrize("value", ["ten", "0", "11", "1.5"])
def test_a_number_out_of_place_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("COUNT", value)
    with pytest.raises(ImproperlyConfigured, match="COUNT="):
        environment.number("COUNT", 5, low=1, high=10)


def test_a_list_is_split_and_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTS", " a.example , b.example,")
    assert environment.words("HOSTS", []) == ["a.example", "b.example"]


def test_a_database_url_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB", "postgresql://me:p%40ss@db.example:6543/loop?sslmode=require")
    assert environment.database("DB") == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "loop",
        "USER": "me",
        "PASSWORD": "p@ss",
        "HOST": "db.example",
        "PORT": 6543,
        "OPTIONS": {"sslmode": "require"},
    }


def test_a_database_url_may_name_a_socket_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB", "postgresql://me@/loop?host=/run/postgresql")
    found = environment.database("DB")
    assert (found["HOST"], found["NAME"], found["OPTIONS"]) == ("/run/postgresql", "loop", {})


@pytest.mark.parametrize("value", ["sqlite:///db.sqlite3", "postgresql://me@db", "mysql://me:secret@db/loop", "db"])
def test_no_other_database_is_accepted_and_no_password_repeated(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DB", value)
    with pytest.raises(ImproperlyConfigured, match="DB must read postgresql://") as refusal:
        environment.database("DB")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("redis_url", "celery_url"),
    [
        ("redis://redis:6379/0", "redis://redis:6379/0"),
        ("unix:///run/a%20b/redis.sock?db=3", "redis+socket:///run/a%20b/redis.sock?virtual_host=3"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
    ],
)
def test_celery_gets_the_same_redis_in_its_own_spelling(redis_url: str, celery_url: str) -> None:
    assert environment.celery_url(redis_url) == celery_url


def test_a_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first = environment.secret("NO_SUCH_VARIABLE", tmp_path / "var" / "key", required=False)
    second = environment.secret("NO_SUCH_VARIABLE", tmp_path / "var" / "key", required=False)
    assert len(first) >= 50
    assert second == first
    assert stat.S_IMODE((tmp_path / "var" / "key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "var").iterdir()] == ["key"]


def test_a_secret_of_the_environment_is_used_and_not_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEY", "from outside")
    assert environment.secret("KEY", tmp_path / "key", required=True) == "from outside"
    assert not (tmp_path / "key").exists()


def test_production_refuses_to_start_without_a_secret_key(tmp_path: Path) -> None:
    said = start(tmp_path, PREFLOOP_ENV="production", ALLOWED_HOSTS="loop.example")
    assert said.returncode == 1
    assert said.stderr.startswith("Cannot start: SECRET_KEY must be set in production")
    assert said.stderr.count("\n") == 1
    assert not (tmp_path / "secret_key").exists()


def test_production_refuses_to_start_without_allowed_hosts(tmp_path: Path) -> None:
    said = start(tmp_path, PREFLOOP_ENV="production", SECRET_KEY="x" * 60)
    assert said.returncode == 1
    assert said.stderr.startswith("Cannot start: ALLOWED_HOSTS must be set in production")


def test_production_with_debug_is_an_error_of_the_system_check(tmp_path: Path) -> None:
    said = start(tmp_path, PREFLOOP_ENV="production", SECRET_KEY="x" * 60, ALLOWED_HOSTS="loop.example", DEBUG="1")
    assert said.returncode == 1
    assert "prefloop.E002" in said.stderr


def test_a_local_start_needs_nothing_and_has_debug_off(tmp_path: Path) -> None:
    said = start(tmp_path)
    assert said.returncode == 0, said.stderr
    assert settings.DEBUG is False
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


def test_a_wrong_value_stops_the_start_with_one_line(tmp_path: Path) -> None:
    said = start(tmp_path, LOG_LEVEL="loud")
    assert said.returncode == 1
    assert said.stderr == "Cannot start: LOG_LEVEL='loud' is none of DEBUG, INFO, WARNING, ERROR.\n"


@pytest.mark.django_db
def test_a_database_that_would_keep_an_answer_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> list[str | None]:
        return [message.id for message in run_checks(tags=[Tags.database], databases=["default"])]

    assert "prefloop.E004" not in found()
    monkeypatch.setattr(connection.features, "is_postgresql_15", False)
    assert "prefloop.E004" in found()
