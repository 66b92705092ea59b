"""Fixed secrets: no key, password or account is the same in two installations."""

from __future__ import annotations

import re
from pathlib import Path

from config import environment
from tests.safety.sources import ROOT, product_files
from training.demo import ensure_admin

NAMES_A_SECRET = re.compile(r"""(?i)(secret|passwo?r?d|token|api_?key)\w*["']?\s*[:=]\s*f?["'][^"'\s{$]{6,}["']""")


def test_two_installations_have_two_keys(tmp_path: Path) -> None:
    first, second = (environment.secret("NO_SUCH_VARIABLE", tmp_path / name, required=False) for name in ("one", "two"))
    assert first != second
    assert min(len(first), len(second)) >= 50


def test_no_secret_is_written_into_the_source() -> None:
    places = [
        *product_files(),
        ROOT / "docker-compose.yml",
        ROOT / "Dockerfile",
        ROOT / ".env.example",
        ROOT / "Makefile",
    ]
    found = [
        f"{place.relative_to(ROOT)}: {line.strip()}"
        for place in places
        for line in place.read_text().splitlines()
        if NAMES_A_SECRET.search(line) and "template" not in line and "unused" not in line
    ]
    assert found == []


def test_the_search_would_find_one() -> None:
    assert NAMES_A_SECRET.search('SECRET_KEY = "django-insecure-abc"')
    assert NAMES_A_SECRET.search("create_user('admin', password='admin1234')")
    assert not NAMES_A_SECRET.search('SECRET_KEY = secret("SECRET_KEY", VAR)')


def test_the_demos_admin_has_no_password(db: None) -> None:
    assert not ensure_admin("admin").has_usable_password()
