"""Annotators as HTTP sees them: load the page once, then one request a vote, each answered with the next pair.

Runs as a process of its own, `python -m bench.queue_load.client`, told on standard input what to do; what it did stands
in a file, a line as soon as it is known, so that it can be killed at any moment. Standard library only: it must be
light.

Lines: `got` a pair, `sent` a vote (what was seen on which side, and the choice), `voted` or `late` once the server has
said so, `page` loaded; `gone` for good, `abandoned` a pair, `dawdled` over one, `hung up` on a vote, or a `problem`.
"""

from __future__ import annotations

import json
import random
import re
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlencode

TICKET = re.compile(r'name="ticket" value="([^"]+)"')
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
SEEN = re.compile(r"(Answer \d+ to \d+)\.")  # how the texts of the seeded answers begin
KEPT_LATE = "Others had taken this pair when your vote came."
FATES = ("gone", "abandoned", "dawdled", "hung up", "voted")
BOUNDARY = "----prefloop-queue-load"
CHOICES = ("a3", "a2", "a1", "tie", "b1", "b2", "b3", "both_bad")


@dataclass(frozen=True)
class Orders:
    """What a process of clients is to do.

    `think_seconds` is the mean of an exponential pause before each vote. Of the pairs handed out, `gone` are the last
    ones that somebody got who never comes back; `abandoned` are left
    without a word by somebody who does not come back before the lease has run out, and of `dawdled` the vote comes only
    then. Of the votes, `hung_up` are sent by somebody who does not wait for the answer and comes back at once. `plain`
    votes by the form without JavaScript: one request for the vote, one for the next pair; otherwise as the page's
    script does, by one request for both. A client ends when nothing is left, or after `seconds`.
    """

    port: int
    path: str
    seats: list[tuple[int, str]]
    log: str
    seconds: float
    seed: int
    think_seconds: float = 0.0
    gone: float = 0.0
    abandoned: float = 0.0
    dawdled: float = 0.0
    hung_up: float = 0.0
    away_seconds: float = 0.0
    plain: bool = False

    @property
    def votes(self) -> float:
        """The share of pairs that are judged in one go."""
        return 1 - self.gone - self.abandoned - self.dawdled - self.hung_up


class Connection:
    """HTTP/1.1 on one connection that is kept: the status, every header, and as many bytes as are announced.

    `http.client` reads headers with the parser for e-mail, which took a tenth of the time that it was there to measure.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket: socket.socket | None = None

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: str = "") -> None:
        """Send a request, on a new connection where there is none."""
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        sent = body.encode()
        more = {"Host": f"127.0.0.1:{self.port}", "Accept-Encoding": "identity", "Content-Length": f"{len(sent)}"}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in {**more, **headers}.items())]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + sent)

    def answer(self) -> tuple[int, list[tuple[str, str]], str]:
        """The status, the headers with their names in small letters, and the text."""
        head, _, body = self._until(lambda received: b"\r\n\r\n" in received).partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        announced = [int(value) for name, value in headers if name == "content-length"]
        if not announced:
            raise HTTPException("the server does not say how long its answer is")
        body = self._until(lambda received: len(received) >= announced[0], body)
        if ("connection", "close") in headers:
            self.close()
        return int(first.split()[1]), headers, body.decode()

    def _until(self, enough: Callable[[bytes], bool], received: bytes = b"") -> bytes:
        assert self.socket is not None, "nothing was asked"
        while not enough(received):
            more = self.socket.recv(65_536)
            if not more:
                raise HTTPException("the server hung up")
            received += more
        return received

    def exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: str = ""
    ) -> tuple[int, list[tuple[str, str]], str]:
        """Send a request and read the answer. Where the server hangs up an idle connection at that very moment, send it
        once more on a new one, as browsers do: a vote that comes twice is kept once."""
        self.hang_up_if_the_server_has()
        is_kept = self.socket is not None
        try:
            self.ask(method, path, headers, body)
            return self.answer()
        except ConnectionError:
            if not is_kept:
                raise
            self.close()
            self.ask(method, path, headers, body)
            return self.answer()

    def hang_up_if_the_server_has(self) -> None:
        """A server ends a connection that is idle for some seconds: a browser sees it and makes a new one."""
        if self.socket is not None and select.select([self.socket], [], [], 0)[0]:
            self.close()

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        self.socket = None


class Annotator:
    """One person at one browser."""

    def __init__(self, orders: Orders, person: int, session: str, note: Callable[..., None]) -> None:
        self.orders, self.person, self.note = orders, person, note
        self.dice = random.Random(orders.seed * 1_000_003 + person)
        self.session, self.token, self.cookie = session, "", ""
        self.seen: list[str] = []
        self.connection = Connection(orders.port)

    def work(self) -> None:
        """Until nothing is left or the time is over."""
        end = time.monotonic() + self.orders.seconds
        html = self.page()
        while time.monotonic() < end:
            found = TICKET.search(html)
            if found is None:
                if "Others are on the last ones" not in html:
                    return  # done, or nothing for this person
                time.sleep(0.2)
                html = self.page()
                continue
            if self.orders.think_seconds:
                thinking = self.dice.expovariate(1 / self.orders.think_seconds)
                time.sleep(max(min(thinking, end - time.monotonic()), 0.0))
                if time.monotonic() >= end:
                    return
            following = self.judge(found[1])
            if following is None:
                return
            html = following

    def judge(self, ticket: str) -> str | None:
        """One pair, one way or the other. Returns the page that follows; None if this person does not come back."""
        orders = self.orders
        [fate] = self.dice.choices(FATES, [orders.gone, orders.abandoned, orders.dawdled, orders.hung_up, orders.votes])
        if fate == "gone":
            self.note(fate, ticket)
            return None
        if fate in ("abandoned", "dawdled"):
            self.note(fate, ticket)
            self.connection.close()
            time.sleep(self.orders.away_seconds)
        if fate == "abandoned":
            return self.page()
        choice = self.dice.choice(CHOICES)
        self.note("sent", ticket, said=[*self.seen, choice])
        vote = self.vote(ticket, choice)
        if fate == "hung up":
            self.note(fate, ticket)
            self.connection.hang_up_if_the_server_has()
            self.connection.ask("POST", self.orders.path, *vote)
            self.connection.close()
            return self.page()
        began = time.perf_counter()
        status, html = self.answer("POST", *vote)
        submitted = time.perf_counter() - began
        if self.orders.plain and status == 302:
            status, html = 200, self.page()
        elif status == 200:
            self.look_at(html)
        if status != 200:
            raise HTTPException(f"a vote was answered with {status}")
        self.note("late" if KEPT_LATE in html else "voted", ticket, submitted)
        return html

    def page(self) -> str:
        """The labelling page, as one comes to it."""
        began = time.perf_counter()
        status, html = self.answer("GET", self.headers())
        if status != 200:
            raise HTTPException(f"the page was answered with {status}")
        self.note("page", "", time.perf_counter() - began)
        self.look_at(html)
        return html

    def look_at(self, html: str) -> None:
        """What a person sees of a page: the pair, and which answer stands on which side."""
        token, ticket = TOKEN.search(html), TICKET.search(html)
        self.token = token[1] if token else self.token
        self.seen = SEEN.findall(html)
        if ticket is not None:
            self.note("got", ticket[1])

    def vote(self, ticket: str, choice: str) -> tuple[dict[str, str], str]:
        """Headers and body as the browser sends them: a form without the script, else what the script makes of it."""
        form = {"csrfmiddlewaretoken": self.token, "ticket": ticket, "choice": choice, "active_seconds": "5"}
        headers = self.headers()
        if self.orders.plain:
            headers["Content-Type"], body = "application/x-www-form-urlencoded", urlencode(form)
        else:
            headers["X-Fragment"] = "1"
            headers["Content-Type"], body = f"multipart/form-data; boundary={BOUNDARY}", multipart(form)
        return headers, body

    def headers(self) -> dict[str, str]:
        return {"Cookie": f"sessionid={self.session}; csrftoken={self.cookie}"}

    def answer(self, method: str, headers: dict[str, str], body: str = "") -> tuple[int, str]:
        """What the page's address answers, its cookie kept."""
        status, given, text = self.connection.exchange(method, self.orders.path, headers, body)
        for name, value in given:
            if name == "set-cookie" and value.startswith("csrftoken="):
                self.cookie = value.split("=", 1)[1].split(";", 1)[0]
        return status, text


def multipart(form: Mapping[str, str]) -> str:
    """A form's body as `fetch` sends a FormData."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in form.items()
    ]
    return "".join(parts) + f"--{BOUNDARY}--\r\n"


def run(orders: Orders) -> None:
    """All the annotators at once, a thread each."""
    with Path(orders.log).open("a") as log:
        note = _notebook(log)
        threads = [
            threading.Thread(target=_keep_at_it, args=(Annotator(orders, person, session, _of(note, person)),))
            for person, session in orders.seats
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _keep_at_it(annotator: Annotator) -> None:
    """Work to the end; a connection that breaks is made anew, as a browser does."""
    while True:
        try:
            return annotator.work()
        except (OSError, HTTPException) as problem:
            annotator.note("problem", repr(problem))
            annotator.connection.close()
            time.sleep(0.2)


def _notebook(log: TextIO) -> Callable[..., None]:
    writing = threading.Lock()

    def note(**line: Any) -> None:
        with writing:
            log.write(json.dumps(line) + "\n")
            log.flush()

    return note


def _of(note: Callable[..., None], person: int) -> Callable[..., None]:
    def mine(what: str, ticket: str, seconds: float = 0.0, said: Sequence[str] = ()) -> None:
        note(what=what, person=person, ticket=ticket, seconds=seconds, at=time.time(), said=said)

    return mine


def as_text(orders: Orders) -> str:
    """The orders for standard input."""
    return json.dumps(asdict(orders))


if __name__ == "__main__":
    run(Orders(**json.loads(sys.stdin.read())))
