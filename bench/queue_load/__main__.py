"""``python -m bench.queue_load``: the queue under load, over HTTP, on databases of its own beside the configured one.

make bench-queue                             proof with a crowd, then speed at 100,000 and 1,000,000 comparisons
python -m bench.queue_load --speed 100000    speed alone at that size; --speed without a number leaves it out
python -m bench.queue_load --crowd 0         no proof
python -m bench.queue_load --prepare         makes the databases and keeps them for a later run with --keep

Real browsers' requests to the real server: gunicorn with 4 processes, sessions, CSRF, PostgreSQL as it is set up for
everybody. The clients share the machine with the server and the database, and their own work is in every time.

Speed is measured on a project in the middle of its work, half of the comparisons with one of three judgments. One and
four clients send without any pause, with a request for the vote and one for the next pair (what Label Studio's clients
do) and as our page does it, one request for both. Then 200 clients who think for 8 s: a closed loop, so that at most
25 labels a second are asked for, four to five times what 200 people ask for at 37 s a pair. Sizes take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import reverse  # noqa: E402

from annotation.models import Project, User  # noqa: E402
from bench.queue_load import conditions, databases, plans, proof, seeding  # noqa: E402
from bench.queue_load.client import Orders  # noqa: E402
from bench.queue_load.crowd import work  # noqa: E402
from bench.queue_load.server import errors_in, web_server  # noqa: E402
from bench.queue_load.speed import Taken, Way, measure, summary  # noqa: E402

DATABASE = "prefloop_queue_load"
OVERLAP = 3
LEASE_SECONDS = 4  # in the proof; 300 where speed is measured
CROWD, THINK_SECONDS = 200, 8.0


def main() -> int:
    """Prints what was found, writes it beside the other results, and fails if anything was not exact."""
    options = _options()
    settings.SERVICES.ensure_running()
    for size in options.speed:
        _prepare(options, size)
    if options.prepare:
        return 0
    found: dict[str, Any] = conditions.describe(processes=options.processes)
    with tempfile.TemporaryDirectory() as folder:
        if options.crowd:
            found["proof"] = _prove(options, Path(folder))
        if options.speed:
            found["speed"] = _time(options, Path(folder))
    if not options.keep:
        for size in options.speed:
            databases.drop(_name(size))
    settings.SERVICES.leave()
    if options.write:
        Path(options.write).write_text(json.dumps(found, indent=1) + "\n")
    return 0 if found.get("proof", {}).get("is_exact", True) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.queue_load")
    parser.add_argument("--crowd", type=int, default=CROWD, help="annotators in the proof; 0 leaves it out")
    parser.add_argument("--work", type=int, default=2_000, help="comparisons in the proof, overlap 3")
    parser.add_argument("--speed", type=int, nargs="*", default=[100_000, 1_000_000], help="comparisons")
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 4], help="those who never pause")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement in each round")
    parser.add_argument("--processes", type=int, default=4, help="of the web server")
    parser.add_argument("--prepare", action="store_true", help="only make the databases for speed, and keep them")
    parser.add_argument("--keep", action="store_true", help="take such databases where they are, and keep them")
    parser.add_argument("--write", default="", help="a JSON file for the results")
    return parser.parse_args()


def _name(size: int) -> str:
    return f"{DATABASE}_{size}"


def _prepare(options: argparse.Namespace, size: int) -> None:
    """The database for speed at this size: as an earlier run has left it, or made anew."""
    if options.keep and databases.exists(_name(size)):
        databases.migrate(_name(size))
        return
    print(f"making {size:,} comparisons", flush=True)
    databases.create(_name(size))
    with databases.working_on(_name(size)):
        people = CROWD + 1
        seeding.seed(comparisons=size, people=people, overlap=OVERLAP, judged=size // 2, gold=100)
        databases.checkpoint()


def _prove(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A crowd that is killed at random works a project off; then everything is counted."""
    databases.create(DATABASE)
    orders = Orders(
        port=0,
        path="",
        seats=[],
        log="",
        seconds=600,
        seed=11,
        think_seconds=0.5,
        gone=0.01,
        abandoned=0.03,
        dawdled=0.02,
        hung_up=0.03,
        away_seconds=LEASE_SECONDS + 2,
    )
    log = folder / "web.log"
    with databases.working_on(DATABASE):
        project, seats = seeding.seed(comparisons=options.work, people=options.crowd, overlap=OVERLAP, gold=20)
        path = reverse("label", args=[project.slug])
        with web_server(processes=options.processes, lease_seconds=LEASE_SECONDS, log=log) as port:
            orders = replace(orders, port=port, path=path)
            lines = work(orders, seats, processes=8, folder=folder / "crowd", kill_every=2)
        found = proof.find(project, lines, server_errors=errors_in(log))
    databases.drop(DATABASE)
    print(f"{options.crowd} annotators, {options.processes} web processes, {options.work} comparisons × {OVERLAP}:")
    for name, value in asdict(found).items():
        print(f"  {value:>7,} {name.replace('_', ' ')}", flush=True)
    return {
        "annotators": options.crowd,
        "comparisons": options.work,
        "overlap": OVERLAP,
        "lease_seconds": LEASE_SECONDS,
        **asdict(found),
        "is_exact": found.is_exact and found.has_tried,
    }


def _time(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Every way at every size, round by round, so that what disturbs the machine for a while disturbs all of them."""
    ways = [Way(clients, plain) for clients in options.clients for plain in (True, False)]
    ways += [Way(CROWD, plain, THINK_SECONDS) for plain in (True, False)]
    sizes = [_begin(size) for size in options.speed]
    taken = defaultdict[tuple[int, Way], list[Taken]](list)
    for number in range(options.rounds):
        for size in options.speed:
            with databases.working_on(_name(size)):
                for way, one in _round(options, size, ways, folder / f"{size}-{number}"):
                    taken[size, way].append(one)
    for found in sizes:
        _finish(found, [(way, taken[found["comparisons"], way]) for way in ways])
    return sizes


def _project(size: int) -> Project:
    return Project.objects.get(name=seeding.name_for(size))


def _begin(size: int) -> dict[str, Any]:
    """What stands before the first round: judgments, plans, and how often large tables were read from end to end."""
    with databases.working_on(_name(size)):
        project = _project(size)
        [*_, seat] = seeding.sign_in(User.objects.filter(memberships__project=project).order_by("pk"))
        client = Client(headers={"host": "localhost"})
        client.cookies["sessionid"] = seat.session
        planned = plans.planned_scans(client, reverse("label", args=[project.slug]))
        scans = plans.counted_scans()
        return {"comparisons": size, "planned_scans": sorted(planned), "scans": scans}


def _round(options: argparse.Namespace, size: int, ways: list[Way], folder: Path) -> list[tuple[Way, Taken]]:
    project = _project(size)
    seats = seeding.sign_in(User.objects.filter(memberships__project=project).order_by("pk"))
    folder.mkdir()
    found = []
    with web_server(processes=options.processes, lease_seconds=300, log=folder / "web.log") as port:
        for place, way in enumerate(ways):
            path = reverse("label", args=[project.slug])
            one = measure(way, seats, port=port, path=path, seconds=options.seconds, folder=folder / str(place))
            found.append((way, one))
            print(f"{size:>9,} comparisons, {way}: {one.labels_a_second:.1f} labels/s", flush=True)
    if errors := errors_in(folder / "web.log"):
        raise RuntimeError(f"the server answered {errors} requests with an error")
    return found


def _finish(found: dict[str, Any], rounds: list[tuple[Way, list[Taken]]]) -> None:
    with databases.working_on(_name(found["comparisons"])):
        large, before, after = plans.filled(), found.pop("scans"), plans.counted_scans()
    found["counted_scans"] = {table: after[table] - before[table] for table in sorted(large)}
    found["rows"] = [summary(way, taken) for way, taken in rounds]


if __name__ == "__main__":
    sys.exit(main())
