"""Headers, cookies and the Content-Security-Policy, of every page; and what Django's own check says of a server."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.test import Client

from tests.annotation.conftest import PASSWORD, make_user
from tests.safety.asking import ask, client_of, pages_for, text_of
from tests.safety.rules import Who
from tests.safety.sources import ROOT
from tests.safety.world import World

STRICT = {
    "default-src 'self'",
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "object-src 'none'",
}


@pytest.mark.parametrize("who", [Who.ANONYMOUS, Who.MANAGER, Who.ADMIN])
def test_every_answer_carries_the_policy_and_none_allows_inline(world: World, who: Who) -> None:
    client, read = client_of(world, who), 0
    for address, path in pages_for(world, who):
        answer = ask(client, "GET", path)
        policy = {part.strip() for part in answer.headers["Content-Security-Policy"].split(";")}
        assert policy >= STRICT, address.key
        assert "unsafe-inline" not in str(policy), address.key
        if not address.in_admin:
            assert policy == STRICT, address.key
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in answer.headers["Permissions-Policy"]
        read += 1
    assert read > 2


def test_only_the_admin_may_evaluate_and_its_styles_carry_the_nonce_of_their_answer(world: World) -> None:
    client = client_of(world, Who.ADMIN)
    answers = [client.get("/admin/annotation/user/") for _ in range(2)]
    nonces = []
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self' 'unsafe-eval'" in policy.split("; ")
        nonce = policy.partition("'nonce-")[2].partition("'")[0]
        assert len(nonce) >= 16
        html = text_of(answer)
        assert html.count("<style") == html.count(f'<style nonce="{nonce}"') > 0
        nonces.append(nonce)
    assert nonces[0] != nonces[1]


def test_errors_carry_the_policy_too(client: Client, db: None) -> None:
    answer = client.get("/projects/nothing/here/at/all/")
    assert answer.status_code == 404
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


def test_cookies_are_for_this_site_over_https_and_not_for_scripts(world: World, settings: LazySettings) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    person = make_user("plain")
    client = Client()
    client.post("/sign-in/", {"username": person.username, "password": PASSWORD}, secure=True)
    session, csrf = client.cookies["sessionid"], client.cookies["csrftoken"]
    assert (session["secure"], session["httponly"], session["samesite"]) == (True, True, "Lax")
    assert (csrf["secure"], csrf["samesite"]) == (True, "Lax")
    assert session["domain"] == csrf["domain"] == ""


def check_deploy(var: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """What `check --deploy` says of a server's settings; any warning is a failure."""
    (var / "static").mkdir()
    (var / "static" / "staticfiles.json").write_text("{}")
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ},
        "PREFLOOP_ENV": "production",
        "PREFLOOP_VAR": str(var),
        "SECRET_KEY": secrets.token_urlsafe(50),  # as .env.example makes it
        "ALLOWED_HOSTS": "prefloop.example.org",
        "DATABASE_URL": "postgresql://prefloop:x@db.example.org/prefloop",
        "REDIS_URL": "redis://redis.example.org:6379/0",
        **changes,
    }
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    return subprocess.run(
        [*command, "--settings", "tests.safety.production"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_servers_settings_are_clean(tmp_path: Path) -> None:
    said = check_deploy(tmp_path)
    assert said.returncode == 0, said.stderr
    assert "no issues" in said.stdout


def test_a_server_without_https_is_told(tmp_path: Path) -> None:
    said = check_deploy(tmp_path, HTTPS="false")
    assert said.returncode == 1
    assert {"prefloop.W002", "security.W004", "security.W008", "security.W012"} <= {
        word.strip("()?:") for word in said.stderr.split()
    }
