"""Annotators as HTTP sees them: load the page once, then one request a vote, each answered with the next pair.

Runs as a process of its own, `python -m bench.queue_load.client`, told on standard input what to do; what it did stands
in a file, a line as soon as it is known, so that it can be killed at any moment. Standard library only: it must be
light.
"""

from __future__ import annotations

import json
import random
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlencode

TICKET = re.compile(r'name="ticket" value="([^"]+)"')
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
KEPT_LATE = "Others had taken this pair when your vote came."
CHOICES = ("a3", "a2", "a1", "tie", "b1", "b2", "b3", "both_bad")


@dataclass(frozen=True)
class Orders:
    """What a process of clients is to do.

    `think_seconds` is the mean of an exponential pause before each vote. Of the pairs handed out, `abandoned` are left
    without a word by somebody who does not come back before the lease has run out; of the votes, `hung_up` are sent by
    somebody who does not wait for the answer and comes back at once. `plain` votes by the form without JavaScript: one
    request for the vote, one for the next pair. A client ends when nothing is left, or after `seconds`.
    """

    port: int
    path: str
    seats: list[tuple[int, str]]
    log: str
    seconds: float
    seed: int
    think_seconds: float = 0.0
    abandoned: float = 0.0
    hung_up: float = 0.0
    away_seconds: float = 0.0
    plain: bool = False


class Annotator:
    """One person at one browser."""

    def __init__(self, orders: Orders, person: int, session: str, note: Callable[..., None]) -> None:
        self.orders, self.person, self.note = orders, person, note
        self.dice = random.Random(orders.seed * 1_000_003 + person)
        self.session, self.token, self.cookie = session, "", ""
        self.connection = HTTPConnection("127.0.0.1", orders.port, timeout=60)

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
                time.sleep(self.dice.expovariate(1 / self.orders.think_seconds))
            html = self.judge(found[1])

    def judge(self, ticket: str) -> str:
        """One pair, one way or the other. Returns the page that follows."""
        fate = self.dice.random()
        if fate < self.orders.abandoned:
            self.note("abandoned", ticket)
            self.connection.close()
            time.sleep(self.orders.away_seconds)
            return self.page()
        if fate < self.orders.abandoned + self.orders.hung_up:
            self.note("hung up", ticket)
            self.send_vote(ticket)
            self.connection.close()
            return self.page()
        began = time.perf_counter()
        self.send_vote(ticket)
        status, html = self.answer()
        submitted = time.perf_counter() - began
        if self.orders.plain and status == 302:
            status, html = 200, self.page()
        if status != 200:
            raise HTTPException(f"a vote was answered with {status}")
        self.note("late" if KEPT_LATE in html else "voted", ticket, submitted)
        return html

    def page(self) -> str:
        """The labelling page, as one comes to it."""
        began = time.perf_counter()
        self.connection.request(
            "GET", self.orders.path, headers={"Cookie": f"sessionid={self.session}; csrftoken={self.cookie}"}
        )
        status, html = self.answer()
        if status != 200:
            raise HTTPException(f"the page was answered with {status}")
        token = TOKEN.search(html)
        self.token = token[1] if token else self.token
        self.note("page", "", time.perf_counter() - began)
        return html

    def send_vote(self, ticket: str) -> None:
        form = {
            "csrfmiddlewaretoken": self.token,
            "ticket": ticket,
            "choice": self.dice.choice(CHOICES),
            "active_seconds": "5",
        }
        headers = {
            "Cookie": f"sessionid={self.session}; csrftoken={self.cookie}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        if not self.orders.plain:
            headers["X-Fragment"] = "1"
        self.connection.request("POST", self.orders.path, body=urlencode(form), headers=headers)

    def answer(self) -> tuple[int, str]:
        response = self.connection.getresponse()
        for name, value in response.getheaders():
            if name.lower() == "set-cookie" and value.startswith("csrftoken="):
                self.cookie = value.split("=", 1)[1].split(";", 1)[0]
        return response.status, response.read().decode()


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
    def mine(what: str, ticket: str, seconds: float = 0.0) -> None:
        note(what=what, person=person, ticket=ticket, seconds=seconds, at=time.time())

    return mine


def as_text(orders: Orders) -> str:
    """The orders for standard input."""
    return json.dumps(asdict(orders))


if __name__ == "__main__":
    run(Orders(**json.loads(sys.stdin.read())))
