"""Import and export measured: how many pairs a second, how much CPU time, and how much memory.

    make bench-data                      a million pairs in; 100,000 with votes in, and out in every format
    python -m bench.import_export --pairs 100000 --voted 30000
    python -m bench.import_export --ranked 100000 --rated 100000     rankings of four answers, and thumbs

The rows follow a rule: row n asks question n and has answers of its own, two where nothing else is said; a prompt has
about 90 characters, an answer about 260. Everything happens in a database of its own, which is removed at the end.
Numbers given more than once are measured one after the other in one process. Its memory grows once, as an import after
an export in Parquet finds that library loaded. On a machine that does other work too, only CPU times can be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from bench.memory import peak_mib

SYLLABLES = ("gar", "let", "win", "pa", "mor"), ("den", "ter", "per", "ning", "dow", "le", "ing", "ers")
WORDS = [first + second for first in SYLLABLES[0] for second in SYLLABLES[1]]
DRAW = random.Random(0)
QUESTIONS = [" ".join(DRAW.choices(WORDS, k=12)) for _ in range(997)]
ANSWERS = [" ".join(DRAW.choices(WORDS, k=42)) for _ in range(997)]


def row(n: int) -> dict[str, str]:
    return {
        "prompt": f"Question {n}: {QUESTIONS[n % 997]}?",
        "chosen": f"{ANSWERS[n % 991]} {n} A",
        "rejected": f"{ANSWERS[n % 983]} {n} B",
    }


def ranked_row(n: int) -> dict[str, Any]:
    return {"prompt": row(n)["prompt"], "responses": [f"{ANSWERS[(n + 9 * k) % 991]} {n} {k}" for k in range(4)]}


def rated_row(n: int) -> dict[str, Any]:
    return {"prompt": row(n)["prompt"], "completion": row(n)["chosen"], "label": n % 2 == 0}


# By the project's kind: its rows and the shape they have. Each of them becomes one comparison.
ROWS: dict[str, tuple[Callable[[int], dict[str, Any]], str]] = {
    "pairs": (row, "preference"),
    "ranking": (ranked_row, "responses"),
    "single": (rated_row, "kto"),
}


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


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
    before, server, own, start = peak_mib("cpu"), server_seconds(), time.process_time(), time.perf_counter()
    result = work()
    wall, own, server = time.perf_counter() - start, time.process_time() - own, server_seconds() - server
    print(
        f"{name}: {count:,} rows in {wall:.1f} s = {count / wall:,.0f} a second; CPU time here {own:.1f} s, in the"
        f" server {server:.1f} s; peak memory {before:.0f} -> {peak_mib('cpu'):.0f} MB",
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


@contextmanager
def plain_account() -> Iterator[None]:
    """As most managed servers have us: the database checks the foreign keys of every row."""
    from django.db import connection

    def run(*statements: str) -> None:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    run("CREATE ROLE prefloop_plain", "GRANT ALL ON ALL TABLES IN SCHEMA public TO prefloop_plain")
    run("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO prefloop_plain", "SET ROLE prefloop_plain")
    try:
        yield
    finally:
        run("RESET ROLE", "DROP OWNED BY prefloop_plain", "DROP ROLE prefloop_plain")


def measure_import(folder: Path, count: int, *, judged_by: str, kind: str = "pairs") -> Any:
    """A project with this many comparisons, imported from a file."""
    from annotation.importing.landing import import_file
    from annotation.services import create_project

    path = folder / "rows.jsonl"
    make, shape = ROWS[kind]
    write_rows(path, map(make, range(count)))
    project = create_project(name="Bench of import and export", kind=kind)
    name = f"import of {kind}{' with votes' if judged_by else ''}"
    report = timed(name, count, lambda: import_file(project=project, path=path, shape=shape, judged_by=judged_by))
    if (report.comparisons_added, report.error_count) != (count, 0):
        raise SystemExit(f"Not every row landed: {report.error} {report.errors[:3]}")
    print(f"  the first tenth at {pace(project, 0.0):,.0f} a second, the last at {pace(project, 0.9):,.0f}", flush=True)
    return project


def pace(project: Any, start: float) -> float:
    """Pairs a second in the tenth of an import that begins at this share, by when its batches were written; 0 if it was
    one batch. Its last batch only ends the time: what it took itself is not known."""
    from annotation.models import Comparison

    rows = Comparison.objects.filter(project=project).order_by("id")
    total = rows.count()
    first, last = int(start * total), int((start + 0.1) * total) - 1
    since, until = [rows.values_list("created_at", flat=True)[place] for place in (first, last)]
    seconds = (until - since).total_seconds()
    return rows.filter(created_at__gte=since, created_at__lt=until).count() / seconds if seconds else 0.0


def measure_export(folder: Path, count: int, project: Any) -> None:
    from annotation.exporting.files import FILES
    from annotation.exporting.streaming import export_bytes
    from annotation.exporting.wanted import Wanted

    for file in FILES:
        wanted = Wanted(file=file, votes="majority", margin=True)
        timed(f"export as {file}", count, lambda: write_pieces(folder / "out", export_bytes(project, wanted)))  # noqa: B023


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(pieces)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, action="append", help="Imported for people to judge; may be given again.")
    parser.add_argument("--voted", type=int, action="append", help="Imported with votes, and exported; likewise.")
    parser.add_argument("--ranked", type=int, default=0, help="Imported into a project that ranks.")
    parser.add_argument("--rated", type=int, default=0, help="Imported with votes into a project of single answers.")
    parser.add_argument("--plain-account", action="store_true", help="Import as an account that is no superuser.")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    account = plain_account() if options.plain_account else nullcontext()
    with database_of_its_own(), account, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in options.pairs or []:
            measure_import(folder, count, judged_by="")
        for count in options.voted or []:
            measure_export(folder, count, measure_import(folder, count, judged_by="bench-votes"))
        if options.ranked:
            measure_import(folder, options.ranked, judged_by="", kind="ranking")
        if options.rated:
            measure_import(folder, options.rated, judged_by="bench-votes", kind="single")


if __name__ == "__main__":
    main()
