"""Processes of clients, and the killing of them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.queue_load.client import Orders, as_text
from bench.queue_load.seeding import Seat
from bench.queue_load.server import ROOT


@dataclass(frozen=True)
class Line:
    """What one client noted (`bench.queue_load.client`), or that a process of them was killed.

    `seconds` is how long the server took, `at` is Unix time.
    """

    what: str
    person: int
    ticket: str
    seconds: float
    at: float


def shares(seats: Sequence[Seat], processes: int) -> list[list[tuple[int, str]]]:
    """The seats dealt out to so many processes."""
    return [[(seat.person, seat.session) for seat in seats[n::processes]] for n in range(processes)]


def work(orders: Orders, seats: Sequence[Seat], *, processes: int, folder: Path, kill_every: float = 0.0) -> list[Line]:
    """Let clients work until they end; every `kill_every` seconds one process is killed and a new one takes over."""
    folder.mkdir(parents=True, exist_ok=True)
    all_orders = [
        replace(orders, seats=share, log=str(folder / f"clients-{n}.jsonl"))
        for n, share in enumerate(shares(seats, processes))
    ]
    running = [_start(one) for one in all_orders]
    dice, began, killed = random.Random(orders.seed), time.monotonic(), list[Line]()
    next_kill = began + kill_every
    while any(process.poll() is None for process in running):
        time.sleep(0.05)
        if kill_every and time.monotonic() >= next_kill and time.monotonic() - began < orders.seconds / 2:
            victim = dice.randrange(processes)
            running[victim].kill()
            running[victim].wait()
            killed.append(Line("killed", victim, "", 0.0, time.time()))
            left = orders.seconds - (time.monotonic() - began)
            running[victim] = _start(replace(all_orders[victim], seconds=left, seed=orders.seed + len(killed)))
            next_kill = time.monotonic() + kill_every * dice.uniform(0.5, 1.5)
    return [*killed, *(line for one in all_orders for line in _lines(Path(one.log)))]


def _start(orders: Orders) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.queue_load.client"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(as_text(orders).encode())
    process.stdin.close()
    return process


def _lines(log: Path) -> list[Line]:
    """What was noted, without a last line that a kill has cut off."""
    found = []
    for text in log.read_text().splitlines():
        try:
            values: dict[str, Any] = json.loads(text)
        except ValueError:
            continue
        found.append(Line(**values))
    return found
