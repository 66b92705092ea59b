"""SSRF: nothing that a person or a model writes makes the server ask another address."""

from __future__ import annotations

import pytest

from annotation.rendering import render
from tests.safety.sources import importers_of

# Files of the web side that open connections, and what bounds the addresses.
MAY_ASK = {
    "api/addresses.py": "looks up the name of a webhook and checks what it found (tests/api/test_addresses.py)",
    "api/sending.py": "connects to an address that was checked, never to a name (tests/api/test_webhooks.py)",
    "annotation/signing_in.py": "the identity provider, whose address only the environment sets, https on a server",
    "config/embedded/places.py": "sockets of this machine's own services",
    "config/management/commands/up.py": "whether a port of this machine is free",
    "training/engine_process.py": "only the name of this machine",
}
CLIENTS = ("aiohttp", "http.client", "httpx", "requests", "socket", "urllib.request", "urllib3")


def test_whoever_opens_connections_is_on_the_list() -> None:
    found = {file for file in importers_of(*CLIENTS) if not file.startswith("training/engine/")}
    assert found == set(MAY_ASK)


@pytest.mark.parametrize("address", ["http://169.254.169.254/latest/meta-data/", "http://localhost:6379/"])
def test_a_picture_in_a_text_is_a_link_that_nobody_follows(address: str) -> None:
    html = str(render(f"![look]({address})"))
    assert "<img" not in html
    assert f'href="{address}"' in html
    assert "noreferrer" in html
