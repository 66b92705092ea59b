"""Variables of the environment, typed, and the addresses in them as others spell them.

A wrong value raises ImproperlyConfigured, one line that names the variable; `manage.py` ends with it.
"""

import os
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key


def text(name: str, default: str = "") -> str:
    """The variable's text, or the default where it is unset or empty (compose files pass unset ones as empty)."""
    return os.environ.get(name, "").strip() or default


def flag(name: str, default: bool) -> bool:
    """A switch: 1, true, yes, on or 0, false, no, off."""
    value = text(name, str(default)).lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    raise ImproperlyConfigured(f"{name}={value!r} is neither true nor false.")


def number(name: str, default: int, *, low: int, high: int) -> int:
    """A whole number from `low` to `high`, both included."""
    value = text(name, str(default))
    try:
        found = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={value!r} is not a whole number.") from None
    if not low <= found <= high:
        raise ImproperlyConfigured(f"{name}={found} is not between {low} and {high}.")
    return found


def words(name: str, default: list[str]) -> list[str]:
    """A list separated by commas."""
    return [word.strip() for word in text(name).split(",") if word.strip()] or default


def networks(name: str) -> list[IPv4Network | IPv6Network]:
    """Networks like 10.1.0.0/16, separated by commas."""
    try:
        return [ip_network(word) for word in words(name, [])]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be networks like 10.1.0.0/16, separated by commas: {error}.") from None


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    """One of the allowed words."""
    value = text(name, default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name}={value!r} is none of {', '.join(allowed)}.")
    return value


def database(name: str) -> dict[str, Any]:
    """A database from postgresql://user:password@host:port/name?sslmode=…; a query's `host` is a socket folder."""
    try:
        url = urlsplit(text(name))
        port = url.port or 5432
    except ValueError:
        raise ImproperlyConfigured(f"{name} is not a URL (postgresql://user:password@host:5432/name).") from None
    options = dict(parse_qsl(url.query))
    if url.scheme not in ("postgres", "postgresql") or not url.path.strip("/"):
        # The value itself is not repeated: it may hold a password.
        raise ImproperlyConfigured(f"{name} must read postgresql://user:password@host:5432/name.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(url.path.strip("/")),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": options.pop("host", unquote(url.hostname or "")),
        "PORT": port,
        "OPTIONS": options,
    }


def redis(name: str) -> str:
    """A Redis URL: redis://, rediss:// or unix://."""
    value = text(name)
    if urlsplit(value).scheme not in ("redis", "rediss", "unix"):
        raise ImproperlyConfigured(f"{name} must start with redis://, rediss:// or unix://.")
    return value


def web_address(name: str, *, https: bool) -> str:
    """An address of the web, or nothing."""
    value = text(name)
    if value and urlsplit(value).scheme not in (("https",) if https else ("https", "http")):
        raise ImproperlyConfigured(f"{name} must start with https://.")
    return value


def origin(url: str) -> str:
    """Scheme, host and port of an address: https://login.example.org."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def celery_url(redis_url: str) -> str:
    """The same Redis as Celery spells it: a socket's database is a `virtual_host`."""
    url = urlsplit(redis_url)
    if url.scheme != "unix":
        return redis_url
    return f"redis+socket://{url.path}?virtual_host={dict(parse_qsl(url.query)).get('db', '0')}"


def secret(name: str, kept_in: Path, *, required: bool) -> str:
    """A secret from the environment; locally one is made and kept in a file that only this user reads."""
    if value := text(name):
        return value
    if required:
        raise ImproperlyConfigured(f"{name} must be set in production: a long random text that stays the same.")
    if not kept_in.exists():
        kept_in.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = kept_in.with_suffix(f".{os.getpid()}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(get_random_secret_key())
        with suppress(FileExistsError):
            os.link(draft, kept_in)  # unlike a rename, never replaces what another process has just made
        draft.unlink()
    return kept_in.read_text()
