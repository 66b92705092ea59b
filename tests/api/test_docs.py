"""Every example of docs/api.md, in its order, against a live server."""

import contextlib
import io
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from annotation import hand_out
from annotation.models import User
from api.models import Scope
from api.tokens import make_token

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
# A fenced block, and the block of output that follows it at once.
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```\n(?:```(text|json)\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def run_python(code: str, names: dict[str, Any]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(PAGE), "exec"), names)
    return printed.getvalue()


def run_shell(code: str, folder: Path) -> str:
    command = ["bash", "-euo", "pipefail", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_rows(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_example_does_what_the_page_says(
    admin: User, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, token = make_token(user=admin, name="the documentation", scopes=list(Scope), days=None)
    monkeypatch.setenv("PREFLOOP_URL", live_server.url)
    monkeypatch.setenv("PREFLOOP_TOKEN", token)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(hand_out._dice, "random", lambda: 0.999)  # no pair at random: the page's come in their order
    assert os.environ["PREFLOOP_URL"].startswith("http://")
    names: dict[str, Any] = {}
    seen = []
    for language, code, kind, expected in BLOCK.findall(PAGE.read_text()):
        output = run_python(code, names) if language == "python" else run_shell(code, tmp_path)
        seen.append(language)
        if kind == "json":
            assert as_rows(output) == as_rows(expected), code
        else:
            assert output == expected, code
    names["client"].close()
    assert (seen.count("python"), seen.count("sh")) == (6, 6)
