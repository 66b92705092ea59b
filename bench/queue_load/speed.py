"""Labels a second and the times of hand-out and submit, as clients in front of the server see them."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.queue_load.client import Orders
from bench.queue_load.crowd import Line, work
from bench.queue_load.seeding import Seat

WARM_UP = 0.2  # of the time, left out


@dataclass(frozen=True)
class Speed:
    """Times in milliseconds: median and 95th percentile. `load` is the machine's load average before and after."""

    clients: int
    labels: int
    labels_a_second: float
    vote_ms: tuple[float, float]
    page_ms: tuple[float, float]
    load: tuple[float, float]


def measure(
    seats: Sequence[Seat],
    *,
    port: int,
    path: str,
    seconds: float,
    folder: Path,
    plain: bool,
    think_seconds: float = 0.0,
) -> Speed:
    """Everybody in `seats` labels for so long. With `plain` a vote and the next pair are a request each."""
    load = os.getloadavg()[0]
    orders = Orders(
        port=port, path=path, seats=[], log="", seconds=seconds, seed=1, plain=plain, think_seconds=think_seconds
    )
    lines = work(orders, seats, processes=min(len(seats), 2), folder=folder)
    problems = [line.ticket for line in lines if line.what == "problem"]
    if problems:
        raise RuntimeError(f"{len(problems)} requests failed, the first: {problems[0]}")
    began, ended = min(line.at for line in lines), max(line.at for line in lines)
    start = began + WARM_UP * (ended - began)
    counted = [line for line in lines if line.at >= start]
    votes = [line for line in counted if line.what == "voted"]
    return Speed(
        clients=len(seats),
        labels=len(votes),
        labels_a_second=len(votes) / (ended - start),
        vote_ms=_spread(votes),
        page_ms=_spread([line for line in counted if line.what == "page"]),
        load=(load, os.getloadavg()[0]),
    )


def _spread(lines: Sequence[Line]) -> tuple[float, float]:
    """Median and 95th percentile in ms; nan without lines."""
    times = [line.seconds * 1000 for line in lines]
    if len(times) < 2:
        return (float("nan"), float("nan"))
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]
