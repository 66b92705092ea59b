"""Where webhooks may go: public addresses, by whatever spelling, and networks that a setting names."""

import socket
from ipaddress import ip_network
from typing import Any

import pytest
from django.conf import LazySettings
from hypothesis import given
from hypothesis import strategies as st

from api.addresses import RefusedAddressError, check, destination_of, split

# Private, shared, loopback, link-local (metadata services), documentation, multicast, reserved (RFC 6890).
INSIDE = (
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::10.0.0.1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "192.0.0.8",
    "192.0.0.192",
    "192.88.99.1",
    "3fff::1",
    "5f00::1",
    "100:0:0:1::1",
)
OUTSIDE = ("93.184.215.14", "8.8.8.8", "172.32.0.1", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:8.8.8.8")


def names(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Every name has these addresses; returns the names that were looked up."""
    asked: list[str] = []

    def look_up(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_refused(address: str) -> None:
    with pytest.raises(RefusedAddressError, match="not a public address"):
        check(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_is_taken(address: str) -> None:
    check(address)


@given(st.ip_addresses(network="10.0.0.0/8") | st.ip_addresses(network="169.254.0.0/16"))
def test_no_spelling_of_a_private_address_as_ipv6_gets_through(ip: Any) -> None:
    number = int(ip)
    for written in (f"::ffff:{ip}", f"64:ff9b::{ip}", f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1"):
        with pytest.raises(RefusedAddressError):
            check(written)


def test_a_network_of_ones_own_is_allowed_by_the_setting_and_nothing_beside_it(settings: LazySettings) -> None:
    settings.WEBHOOK_NETWORKS = [ip_network("10.1.0.0/16"), ip_network("fd00:1::/32")]
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00:1::5"):
        check(address)
    for address in ("10.2.0.1", "127.0.0.1", "fd00:2::5"):
        with pytest.raises(RefusedAddressError):
            check(address)


@pytest.mark.parametrize(
    "host", ["localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::ffff:7f00:1]"]
)
def test_no_spelling_of_this_machine_gets_through(host: str) -> None:
    with pytest.raises(RefusedAddressError):
        destination_of(f"http://{host}/")


def test_a_name_with_one_address_inside_is_refused_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, "93.184.215.14", "10.0.0.1")
    with pytest.raises(RefusedAddressError, match=r"10\.0\.0\.1 is not a public address"):
        destination_of("https://example.org/hook")


def test_a_destination_holds_the_addresses_that_were_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = names(monkeypatch, "93.184.215.14", "93.184.215.15", "93.184.215.14")
    to = destination_of("https://example.org:8443/hook?a=1#part")
    assert asked == ["example.org"]
    assert to.addresses == ("93.184.215.14", "93.184.215.15")
    assert (to.scheme, to.host, to.port, to.target) == ("https", "example.org", 8443, "/hook?a=1")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://example.org/",
        "https://",
        "https:///path",
        "//example.org",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://[::1",
        "https://me:secret@example.org/",
        "https://me@example.org/",
    ],
)
def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    with pytest.raises(RefusedAddressError):
        split(url)


def test_a_name_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(RefusedAddressError, match=r"no address for nowhere.invalid \([^\[]"):
        destination_of("https://nowhere.invalid/")
