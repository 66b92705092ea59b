"""One POST to a checked address: no redirects, no proxies, a deadline for all of it, and the answer's status alone."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from django.utils.translation import gettext_noop

from api.addresses import Destination, RefusedAddressError, destination_of
from models_registry.sayings import saying

CONNECT_SECONDS = 5.0
DEADLINE_SECONDS = 10.0
MOST_ADDRESSES = 3
NO_ANSWER = saying(gettext_noop("There was no answer within %(n)d seconds."))
CONNECTION_REFUSED = gettext_noop("Nothing answers at this address and port: the connection was refused.")
NO_WHOLE_ANSWER = saying(gettext_noop("There was no whole answer within %(n)d seconds."))
REDIRECTED = gettext_noop("It answered with a redirect, which is not followed. Give the final address.")


@dataclass(frozen=True)
class Outcome:
    """What came of it: an HTTP status, or the reason why there is none."""

    status: int | None
    error: str
    milliseconds: int

    @property
    def arrived(self) -> bool:
        """Any 2xx. A redirect is none: what it points to was not checked."""
        return self.status is not None and 200 <= self.status < 300


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """Send it once. Never raises for what the other side does."""
    began = time.monotonic()
    status, error = None, ""
    try:
        status = _post(destination_of(url), body, headers)
    except RefusedAddressError as refusal:
        error = str(refusal)
    except TimeoutError:
        error = NO_ANSWER % {"n": DEADLINE_SECONDS}
    except ConnectionRefusedError:
        error = CONNECTION_REFUSED
    except (OSError, http.client.HTTPException, ValueError) as failure:
        error = f"{type(failure).__name__}: {failure}"
        if time.monotonic() - began >= DEADLINE_SECONDS:
            error = NO_WHOLE_ANSWER % {"n": DEADLINE_SECONDS}
    if status is not None and 300 <= status < 400:
        error = REDIRECTED
    return Outcome(status, error[:300], round((time.monotonic() - began) * 1000))


def _post(to: Destination, body: bytes, headers: Mapping[str, str]) -> int:
    plain = _connect(to)
    plain.settimeout(DEADLINE_SECONDS)
    # Cuts the connection whoever is reading from it: a timeout alone starts again with every byte that trickles in.
    watched = plain.dup()
    watchdog = threading.Timer(DEADLINE_SECONDS, _cut, [watched])
    watchdog.daemon = True
    watchdog.start()
    connection = http.client.HTTPConnection(to.host, to.port, timeout=DEADLINE_SECONDS)
    connection.auto_open = 0  # it must never look the name up again
    try:
        connection.sock = _tls(plain, to.host) if to.scheme == "https" else plain
        connection.request("POST", to.target, body=body, headers={**headers, "Host": _host(to), "Connection": "close"})
        return connection.getresponse().status
    finally:
        watchdog.cancel()
        connection.close()
        plain.close()
        watched.close()


def _connect(to: Destination) -> socket.socket:
    """A connection to the first checked address that takes it. Raises OSError."""
    failure: OSError = ConnectionError("no address")
    for address in to.addresses[:MOST_ADDRESSES]:
        try:
            return socket.create_connection((address, to.port), timeout=CONNECT_SECONDS)
        except OSError as error:
            failure = error
    raise failure


def _tls(plain: socket.socket, host: str) -> ssl.SSLSocket:
    """TLS, with the certificate checked against the name that was asked for, not the address that was found."""
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


def _host(to: Destination) -> str:
    name = f"[{to.host}]" if ":" in to.host else to.host.encode("idna").decode()
    usual = {"http": 80, "https": 443}[to.scheme]
    return name if to.port == usual else f"{name}:{to.port}"


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
