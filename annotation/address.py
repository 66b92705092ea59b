"""Where `manage.py up` of this folder is reached, for the commands that print an address."""

from __future__ import annotations

from django.conf import settings

USUAL = "http://127.0.0.1:8000"


def keep_address(address: str) -> None:
    """Remember where the web server listens; it stays after the end, as the next start is likely to be there too."""
    (settings.VAR / "address").write_text(f"{address}\n")


def kept_address() -> str:
    """The address of the last start, without a slash at its end."""
    place = settings.VAR / "address"
    return place.read_text().strip() if place.exists() else USUAL
