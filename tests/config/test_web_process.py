"""What the web process carries, and what it answers without a page."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "peft", "accelerate", "safetensors", "numpy")
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
def test_a_fresh_clone_serves_its_style_without_debug(client: Client) -> None:
    response = client.get("/static/css/tokens.css")
    assert response.status_code == 200
    assert b"".join(response).startswith(b"/*")
