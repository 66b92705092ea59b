"""Import and export measured: how many pairs a second, and how much memory.

    python -m bench.import_export --rows 1000000

The rows follow a rule: row n asks question n and has two answers, each a fixed number of words drawn from forty
by a generator seeded with n; a prompt has about 90 characters, an answer about 260. Everything happens in a
database of its own, which is removed at the end. Several `--rows` are measured one after the other in one process,
whose memory should then not grow.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SYLLABLES = ("gar", "let", "win", "pa", "mor"), ("den", "ter", "per", "ning", "dow", "le", "ing", "ers")
WORDS = [first + second for first in SYLLABLES[0] for second in SYLLABLES[1]]


def row(n: int) -> dict[str, str]:
    draw = random.Random(n)
    prompt = f"Question {n}: " + " ".join(draw.choices(WORDS, k=12)) + "?"
    chosen, rejected = (" ".join(draw.choices(WORDS, k=42)) for _ in range(2))
    return {"prompt": prompt, "chosen": f"{chosen} A", "rejected": f"{rejected} B"}


def write_rows(path: Path, count: int) -> None:
    with path.open("w") as file:
        for n in range(count):
            file.write(json.dumps(row(n), ensure_ascii=False) + "\n")


def peak_mb() -> float:
    """The most memory this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def server_seconds() -> float:
    """CPU time of the server's process that answers this connection; 0 where it runs on another machine."""
    import psutil
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def timed(name: str, count: int, work: Callable[[], Any]) -> Any:
    before, server, own, start = peak_mb(), server_seconds(), time.process_time(), time.perf_counter()
    result = work()
    wall, own, server = time.perf_counter() - start, time.process_time() - own, server_seconds() - server
    print(
        f"{name}: {count:,} pairs in {wall:.1f} s = {count / wall:,.0f} a second; CPU time here {own:.1f} s, in the"
        f" server {server:.1f} s; peak memory {before:.0f} -> {peak_mb():.0f} MB",
        flush=True,
    )
    return result


@contextmanager
def database_of_its_own() -> Iterator[None]:
    """An empty database beside the real one, removed afterwards."""
    from django.db import connection

    connection.settings_dict["TEST"]["NAME"] = f"prefloop_bench_{os.getpid()}"
    before = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(before, verbosity=0)


def measure(rows: int, *, judged_by: str, file: str) -> None:
    from annotation.exporting.streaming import export_bytes
    from annotation.exporting.wanted import Wanted
    from annotation.importing.landing import import_file
    from annotation.services import create_project

    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        write_rows(path, rows)
        project = create_project(name="Bench of import and export")
        name = "import with votes" if judged_by else "import"
        report = timed(name, rows, lambda: import_file(project=project, path=path, judged_by=judged_by))
        if (report.comparisons_added, report.error_count) != (rows, 0):
            raise SystemExit(f"Not every row landed: {report.error} {report.errors[:3]}")
        if judged_by:
            wanted = Wanted(file=file, votes="majority", margin=True)
            timed(f"export as {file}", rows, lambda: write_pieces(path, export_bytes(project, wanted)))


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(pieces)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, action="append", help="100,000 unless told; may be given again.")
    parser.add_argument("--judged-by", default="", help="Import the votes as well, and export them.")
    parser.add_argument("--file", default="jsonl", choices=["jsonl", "csv", "parquet"], help="Of the export.")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    with database_of_its_own():
        for rows in options.rows or [100_000]:
            measure(rows, judged_by=options.judged_by, file=options.file)


if __name__ == "__main__":
    main()
