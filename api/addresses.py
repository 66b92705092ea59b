"""Where a webhook may go: to public addresses, and to networks that a setting names.

A name is looked up once, and what the lookup gave is checked and then connected to. A name that points elsewhere a
moment later (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.utils.translation import gettext_noop

from models_registry.sayings import saying

PORTS = {"http": 80, "https": 443}
# IPv6 addresses that carry an IPv4 address to be reached through a gateway (RFC 6052, RFC 8215).
NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
# Special by the IANA's registries, but not in the tables of older Pythons: protocol assignments (RFC 6890), 6to4 relays
# (RFC 7526), documentation (RFC 9637), segments of routes (RFC 9602), dummies (RFC 9780).
SPECIAL = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20", "5f00::/16", "100:0:0:1::/64")))

# Why nothing is sent somewhere; kept in English in the log.
NO_ADDRESS = saying(gettext_noop("There is no address for %(host)s (%(reason)s)."))
NOT_PUBLIC = saying(
    gettext_noop("%(address)s is not a public address. An admin can allow its network by the setting WEBHOOK_NETWORKS.")
)
NOT_A_URL = gettext_noop("This is not an address that begins with https:// or http:// and names a host.")
WITH_PASSWORD = gettext_noop("An address with a user name or a password in it is not taken.")

Address = IPv4Address | IPv6Address


class RefusedAddressError(ValueError):
    """Nothing is sent there. The text says why, for the manager who reads the log."""


@dataclass(frozen=True)
class Destination:
    """A checked address of the internet, and what the request line and the `Host` header say there."""

    scheme: str
    host: str
    port: int
    addresses: tuple[str, ...]
    target: str


def destination_of(url: str) -> Destination:
    """Look the URL's host up and check every address it has. Raises RefusedAddressError. May take seconds."""
    parts = split(url)
    host, port = str(parts.hostname), parts.port or PORTS[parts.scheme]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error  # without its number
        raise RefusedAddressError(NO_ADDRESS % {"host": host, "reason": reason}) from None
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        check(address)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(parts.scheme, host, port, addresses, target)


def split(url: str) -> SplitResult:
    """The parts of an http or https URL that names a host and no password. Raises RefusedAddressError."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in PORTS and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound:
        raise RefusedAddressError(NOT_A_URL)
    if parts.username is not None or parts.password is not None:
        raise RefusedAddressError(WITH_PASSWORD)
    return parts


def check(address: str) -> None:
    """Raises RefusedAddressError unless the address is public or in a network of the setting WEBHOOK_NETWORKS."""
    ip = _meant(ip_address(address.partition("%")[0]))
    if _is_in(ip, settings.WEBHOOK_NETWORKS):
        return
    if not _is_public(ip):
        raise RefusedAddressError(NOT_PUBLIC % {"address": address})


def _meant(ip: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(ip, IPv4Address):
        return ip
    if any(ip in network for network in NAT64):
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def _is_public(ip: Address) -> bool:
    local = ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback or ip.is_link_local
    if isinstance(ip, IPv6Address):
        local = local or ip.is_site_local
    return ip.is_global and not local and not _is_in(ip, SPECIAL)


def _is_in(ip: Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(ip.version == network.version and ip in network for network in networks)
