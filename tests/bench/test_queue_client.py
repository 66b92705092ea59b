"""The load's clients and a connection that ends: as a browser, they ask again where it was an old one."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from bench.queue_load.client import Connection

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Serve = Callable[[list[int]], Connection]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A server that answers so many requests on each connection, and resets it at the next one."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def start(answers: list[int]) -> Connection:
            threading.Thread(target=_answer, args=(listening, answers), daemon=True).start()
            return Connection(listening.getsockname()[1])

        yield start


def _answer(listening: socket.socket, answers: list[int]) -> None:
    for number in answers:
        connection, _ = listening.accept()
        for _ in range(number):
            connection.recv(65_536)
            connection.sendall(ANSWER)
        connection.recv(65_536)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def test_a_request_that_meets_the_end_of_a_kept_connection_is_sent_again(serve: Serve) -> None:
    connection = serve([1, 1])
    for _ in range(2):
        assert connection.exchange("GET", "/", {})[::2] == (200, "ok")


def test_a_new_connection_that_breaks_is_told(serve: Serve) -> None:
    connection = serve([0])
    with pytest.raises(ConnectionError):
        connection.exchange("GET", "/", {})
