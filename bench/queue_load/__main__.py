"""``python -m bench.queue_load``: the queue under load, over HTTP, on a database of its own beside the configured one.

make bench-queue                             proof with a crowd, then speed at 100,000 and 1,000,000 comparisons
python -m bench.queue_load --speed 100000    speed alone
python -m bench.queue_load --crowd 0         no proof

Speed is measured by one and by four clients without any pause, with a request for the vote and one for the next pair
(`plain`) and as the page does it, one request for both; and by a crowd that thinks for some seconds. The clients share
the machine with the server and the database.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import reverse  # noqa: E402

from bench.queue_load import plans, proof, seeding, speed  # noqa: E402
from bench.queue_load.client import Orders  # noqa: E402
from bench.queue_load.crowd import work  # noqa: E402
from bench.queue_load.server import web_server  # noqa: E402

DATABASE = "prefloop_queue_load"
LEASE_SECONDS = 4  # in the proof; 300 where speed is measured


def main() -> int:
    """Prints what was found, writes it beside the other results, and fails if anything was not exact."""
    options = _options()
    settings.SERVICES.ensure_running()
    found: dict[str, Any] = {"cores": os.cpu_count(), "processes": options.processes}
    with tempfile.TemporaryDirectory() as folder:
        if options.crowd:
            with _own_database():
                found["proof"] = _prove(options, Path(folder))
        found["speed"] = []
        for size in options.speed:
            with _own_database():
                found["speed"].append(_time(options, size, Path(folder)))
    settings.SERVICES.leave()
    if options.write:
        Path(options.write).write_text(json.dumps(found, indent=1) + "\n")
    return 0 if found.get("proof", {}).get("is_exact", True) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.queue_load")
    parser.add_argument("--crowd", type=int, default=200, help="annotators in the proof; 0 leaves it out")
    parser.add_argument("--work", type=int, default=1_000, help="comparisons in the proof, overlap 3")
    parser.add_argument("--speed", type=int, nargs="*", default=[100_000, 1_000_000], help="comparisons")
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 4])
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement")
    parser.add_argument("--processes", type=int, default=4, help="of the web server")
    parser.add_argument("--write", default="", help="a JSON file for the results")
    return parser.parse_args()


@contextmanager
def _own_database() -> Iterator[None]:
    """This process, and the servers it starts, work on a fresh database of the same PostgreSQL; it goes at the end."""
    usual = connection.settings_dict["NAME"]
    _as_admin(usual, f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", f"CREATE DATABASE {DATABASE}")
    connection.settings_dict["NAME"] = DATABASE
    try:
        call_command("migrate", interactive=False, verbosity=0)
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = usual
        _as_admin(usual, f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")


def _as_admin(database: str, *statements: str) -> None:
    connection.settings_dict["NAME"] = database
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


def _prove(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    project, seats = seeding.seed(comparisons=options.work, people=options.crowd, overlap=3)
    orders = Orders(
        port=0,
        path=reverse("label", args=[project.slug]),
        seats=[],
        log="",
        seconds=600,
        seed=11,
        think_seconds=0.5,
        abandoned=0.03,
        hung_up=0.03,
        away_seconds=LEASE_SECONDS + 2,
    )
    with web_server(processes=options.processes, lease_seconds=LEASE_SECONDS, log=folder / "web.log") as port:
        lines = work(replace(orders, port=port), seats, processes=8, folder=folder / "crowd", kill_every=2)
    found = proof.find(project, lines)
    print(f"{options.crowd} annotators, {options.processes} web processes, {options.work} comparisons × 3:")
    for name, value in asdict(found).items():
        print(f"  {value:>7,} {name.replace('_', ' ')}")
    return {**asdict(found), "is_exact": found.is_exact}


def _time(options: argparse.Namespace, size: int, folder: Path) -> dict[str, Any]:
    project, seats = seeding.seed(comparisons=size, people=200 + sum(options.clients), overlap=3)
    path = reverse("label", args=[project.slug])
    rows, scans = [], _scans(path, seats[-1].session)
    print(f"{size:,} comparisons; large tables read from end to end: {', '.join(sorted(scans)) or 'none'}")
    print("  labels/s    vote ms (p50, p95)    page ms (p50, p95)    load")
    with web_server(processes=options.processes, lease_seconds=300, log=folder / "web.log") as port:
        ways = [(clients, plain, 0.0) for clients in options.clients for plain in (True, False)]
        for number, (clients, plain, think) in enumerate([*ways, (200, True, 8.0)]):
            taken = speed.measure(
                seats[:clients],
                port=port,
                path=path,
                seconds=options.seconds,
                folder=folder / f"{size}-{number}",
                plain=plain,
                think_seconds=think,
            )
            rows.append({"plain": plain, "think_seconds": think, **asdict(taken)})
            _print(taken, plain, think)
    return {"comparisons": size, "scans": sorted(scans), "rows": rows}


def _scans(path: str, session: str) -> set[str]:
    """The large tables that a look at the page and a vote would read from end to end."""
    client = Client(headers={"host": "localhost"})
    client.cookies["sessionid"] = session
    return {table for query in plans.statements(client, path) for table in plans.scans(query)} & plans.filled()


def _print(taken: speed.Speed, plain: bool, think: float) -> None:
    how = f"thinking {think:g} s" if think else "no pause"
    requests = "2 requests a label" if plain else "1 request a label"
    print(
        f"  {taken.clients:>3} clients, {how}, {requests}: {taken.labels_a_second:7.1f}"
        f"    {taken.vote_ms[0]:6.1f} {taken.vote_ms[1]:6.1f}    {taken.page_ms[0]:6.1f} {taken.page_ms[1]:6.1f}"
        f"    {taken.load[0]:.2f} {taken.load[1]:.2f}"
    )


if __name__ == "__main__":
    sys.exit(main())
