"""System checks: `manage.py check --deploy` and every start say what is misconfigured and what to do about it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections


@register()
def var_is_writable(app_configs: Sequence[Any] | None, **options: object) -> list[CheckMessage]:
    """State lives under VAR: runs, artifacts, uploads, the local secret."""
    folder: Path = settings.VAR
    while not folder.exists():
        folder = folder.parent
    if os.access(folder, os.W_OK | os.X_OK):
        return []
    return [
        Error(
            f"{settings.VAR} cannot be written to.",
            hint="Give it to the user that runs Prefloop, or set PREFLOOP_VAR to another folder.",
            id="prefloop.E001",
        )
    ]


@register(Tags.security, deploy=True)
def production_is_meant(app_configs: Sequence[Any] | None, **options: object) -> list[CheckMessage]:
    """What a server that others reach should not be missing."""
    found: list[CheckMessage] = []
    if not settings.PRODUCTION:
        found.append(
            Warning(
                "This is a local configuration.",
                hint="Set PREFLOOP_ENV=production on a server.",
                id="prefloop.W001",
            )
        )
        return found
    if not settings.HTTPS:
        found.append(
            Warning(
                "Passwords and cookies travel unencrypted.",
                hint="Put a TLS proxy in front, set BEHIND_PROXY=true and remove HTTPS=false.",
                id="prefloop.W002",
            )
        )
    return found


@register()
def production_is_complete(app_configs: Sequence[Any] | None, **options: object) -> list[CheckMessage]:
    """What a production start needs beyond the secrets that the settings themselves insist on."""
    if not settings.PRODUCTION:
        return []
    found: list[CheckMessage] = []
    for name, embedded in (("DATABASE_URL", "embedded"), ("REDIS_URL", "embedded")):
        if not os.environ.get(name, "").strip():
            found.append(
                Warning(
                    f"{name} is not set: an {embedded} server under {settings.VAR} is used.",
                    hint="It serves one machine and nobody backs it up. Name a server of your own.",
                    id=f"prefloop.W00{3 if name == 'DATABASE_URL' else 4}",
                )
            )
    if settings.DEBUG:
        found.append(
            Error("DEBUG is on in production.", hint="Unset DEBUG: its error pages show secrets.", id="prefloop.E002")
        )
    root = settings.STATIC_ROOT
    if root is None or not (root / "staticfiles.json").exists():
        found.append(
            Error(
                "The static files are not collected.",
                hint="Run `python manage.py collectstatic --noinput`.",
                id="prefloop.E003",
            )
        )
    return found


@register(Tags.database)
def database_keeps_answers_single(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None = None, **options: object
) -> list[CheckMessage]:
    """An answer without an author is single by NULLS NOT DISTINCT; for a server without it Django leaves that out."""
    return [
        Error(
            f"The database {alias!r} is older than PostgreSQL 15: it would keep the same answer twice.",
            hint="Name a newer server in DATABASE_URL, or leave it unset for the one that comes with Prefloop.",
            id="prefloop.E004",
        )
        for alias in databases or ()
        if not connections[alias].features.supports_nulls_distinct_unique_constraints
    ]
