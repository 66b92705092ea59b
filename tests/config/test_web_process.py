"""What the web process carries and what it sends with every page."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "peft", "accelerate", "safetensors", "numpy", "scipy", "krippendorff")
# Everything a request can reach: the application, every URL with its view, every task.
WEB = f"""
import sys
from config.wsgi import application
from django.urls import get_resolver
import config.celery
patterns = get_resolver().reverse_dict
config.celery.app.loader.import_default_modules()
assert len(patterns) > 10, patterns
print(sorted(name for name in {HEAVY} if name in sys.modules))
"""


def test_the_web_process_and_the_workers_import_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", WEB], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


@pytest.mark.django_db
def test_health_is_answered_under_any_host_name(client: Client) -> None:
    response = client.get("/health", headers={"host": "10.0.0.7:8000"})
    assert (response.status_code, response.content) == (200, b"ok\n")


def test_health_says_so_when_the_database_is_away(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError, connection

    def refuse() -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(connection, "ensure_connection", refuse)
    monkeypatch.setattr(connection, "cursor", refuse)
    assert client.get("/health").status_code == 503


@pytest.mark.django_db
def test_pages_allow_nothing_from_elsewhere_and_nothing_inline(client: Client) -> None:
    policy = client.get("/sign-in/", follow=True).headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.django_db
def test_only_the_admin_may_evaluate(client: Client) -> None:
    manager = get_user_model()(is_staff=True, is_superuser=True, username="manager")
    manager.save()
    client.force_login(manager)
    response = client.get("/admin/")
    assert response.status_code == 200
    policy = response.headers["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval' 'unsafe-inline'" in policy
    assert "default-src 'self'" in policy


@pytest.mark.django_db
def test_a_fresh_clone_serves_its_style_without_debug(client: Client) -> None:
    response = client.get("/static/css/tokens.css")
    assert response.status_code == 200
    assert b"".join(response).startswith(b"/*")
