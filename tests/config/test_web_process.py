"""What the web process carries, and what it answers without a page."""

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from django.test import Client

from config.wsgi import application

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
def test_a_fresh_clone_serves_its_style_without_debug(client: Client) -> None:
    response = client.get("/static/css/tokens.css")
    assert response.status_code == 200
    assert b"".join(response).startswith(b"/*")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/sign-in/", "/api/v1/projects"])
@pytest.mark.parametrize(("charset", "is_read"), [("hex", False), ("idna", False), ("utf-7", False), ("utf-8", True)])
def test_a_charset_that_is_no_texts_is_refused_by_what_the_server_calls(path: str, charset: str, is_read: bool) -> None:
    """The test client makes requests of its own, so the application is called as gunicorn does."""
    said: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": "a=%FFb",
        "CONTENT_TYPE": f"text/plain; charset={charset}",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
    }
    b"".join(application(environ, lambda status, headers: said.append(status)))
    assert (said[0][:3] != "400") is is_read
