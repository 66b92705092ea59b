"""Labels a second and the times of hand-out and submit, as clients in front of the server see them."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from django.db import connection

from bench.queue_load.client import Orders
from bench.queue_load.crowd import Line, work
from bench.queue_load.seeding import Seat

WARM_UP = 0.2  # of the time, left out


@dataclass(frozen=True)
class Way:
    """So many clients who think for so long before each vote (the mean; 0: as fast as they get answers).

    With `plain` a vote and the next pair are a request each, as without JavaScript; else one, as the page does it.
    """

    clients: int
    plain: bool
    think_seconds: float = 0.0

    def __str__(self) -> str:
        pause = f"thinking {self.think_seconds:g} s" if self.think_seconds else "no pause"
        return (
            f"{self.clients} client{'s' * (self.clients > 1)}, {pause}, {'2 requests' if self.plain else '1 request'}"
        )


@dataclass(frozen=True)
class Taken:
    """One round of one way. Times of votes and pages in milliseconds; `busy` is the share of all cores at work."""

    labels_a_second: float
    vote_ms: list[float]
    page_ms: list[float]
    busy: float
    load: float  # the machine's load average before


def measure(way: Way, seats: Sequence[Seat], *, port: int, path: str, seconds: float, folder: Path) -> Taken:
    """The first of `seats` label for so long. RuntimeError if a request failed or a confirmed vote is not kept."""
    orders = Orders(
        port=port,
        path=path,
        seats=[],
        log="",
        seconds=seconds,
        seed=1,
        plain=way.plain,
        think_seconds=way.think_seconds,
    )
    last, load = _last_judgment(), os.getloadavg()[0]
    psutil.cpu_percent()  # from here on
    lines = work(orders, seats[: way.clients], processes=min(way.clients, 2), folder=folder)
    busy = psutil.cpu_percent() / 100
    _check(lines, kept=_judgments_after(last))
    began, ended = min(line.at for line in lines), max(line.at for line in lines)
    start = began + WARM_UP * (ended - began)
    counted = [line for line in lines if line.at >= start]
    votes, pages = ([line.seconds * 1000 for line in counted if line.what == what] for what in ("voted", "page"))
    return Taken(len(votes) / (ended - start), votes, pages, busy, load)


def _check(lines: Sequence[Line], *, kept: int) -> None:
    problems = [line.said or line.ticket for line in lines if line.what == "problem"]
    if problems:
        raise RuntimeError(f"{len(problems)} requests failed, the first: {problems[0]}")
    confirmed = sum(line.what in ("voted", "late") for line in lines)
    if confirmed != kept:
        raise RuntimeError(f"{confirmed} votes were confirmed and {kept} are in the database")


def _last_judgment() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT COALESCE(max(id), 0) FROM annotation_judgment")
        [(last,)] = cursor.fetchall()
    return int(last)


def _judgments_after(last: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM annotation_judgment WHERE id > %s", [last])
        [(number,)] = cursor.fetchall()
    return int(number)


def summary(way: Way, rounds: Sequence[Taken]) -> dict[str, Any]:
    """What the rounds say together: rates as (lowest, median, highest) round, times pooled and for each round."""
    rates = [taken.labels_a_second for taken in rounds]
    return {
        "clients": way.clients,
        "requests_a_label": 2 if way.plain else 1,
        "think_seconds": way.think_seconds,
        "labels_a_second": [min(rates), statistics.median(rates), max(rates)],
        "vote": times([taken.vote_ms for taken in rounds]),
        "page": times([taken.page_ms for taken in rounds]) if way.plain else None,
        "busy": statistics.median(taken.busy for taken in rounds),
        "load_before": [taken.load for taken in rounds],
    }


def times(rounds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Number, median and 95th percentile of all, and the percentile of each round; in ms."""
    pooled = [value for taken in rounds for value in taken]
    return {
        "number": len(pooled),
        "p50_ms": statistics.median(pooled),
        "p95_ms": percentile_95(pooled),
        "p95_ms_of_rounds": [percentile_95(taken) for taken in rounds],
    }


def percentile_95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]
