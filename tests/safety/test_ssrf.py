"""SSRF: nothing that a person or a model writes makes the server ask another address."""

from __future__ import annotations

import pytest

from annotation.rendering import render
from tests.safety.sources import importers_of

# Files of the web side that open connections to addresses, and what bounds the addresses.
MAY_ASK = {
    "config/supervision.py",  # its own web process, to see whether it is up
}
CLIENTS = ("aiohttp", "http.client", "httpx", "requests", "socket", "urllib.request", "urllib3")


def test_whoever_opens_connections_is_on_the_list() -> None:
    found = {file for file in importers_of(*CLIENTS) if not file.startswith("training/engine/")}
    assert found - MAY_ASK - STARTS_SERVERS == set()


# Files that use sockets to start or find servers on this machine.
STARTS_SERVERS = {
    file
    for file in importers_of("socket")
    if file.startswith("config/embedded/") or file == "config/management/commands/up.py"
}


@pytest.mark.parametrize("address", ["http://169.254.169.254/latest/meta-data/", "http://localhost:6379/"])
def test_a_picture_in_a_text_is_a_link_that_nobody_follows(address: str) -> None:
    html = str(render(f"![look]({address})"))
    assert "<img" not in html
    assert f'href="{address}"' in html
    assert "noreferrer" in html
