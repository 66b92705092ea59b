"""Which large tables the labelling page reads from end to end: by PostgreSQL's plans, and by its own count of scans."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from annotation import hand_out
from annotation.asking import ONE_PLAN
from annotation.models import Arm, Lease
from bench.queue_load.client import TICKET

LARGE = {f"annotation_{name}" for name in ("comparison", "judgment", "preference", "prompt", "response")}
SMALL = 1_000  # rows; what has no more is best read from end to end
EXPLAINED = ("SELECT", "WITH", "UPDATE", "DELETE", "INSERT", "EXECUTE")
ARMS = ([Arm.ORDER], [Arm.RANDOM], [Arm.GOLD, Arm.ORDER], [Arm.REPEAT, Arm.ORDER])


def planned_scans(client: Client, path: str) -> set[str]:
    """The large tables that a look at the page and a vote would read from end to end, whatever arm comes."""
    found = set[str]()
    for arms in ARMS:
        Lease.objects.all().delete()  # else the pair that is held would be shown again
        with patch.object(hand_out, "drawn_arms", lambda project, arms=arms: arms):
            found |= {table for query in statements(client, path) for table in scans(query)}
    return found & filled()


def statements(client: Client, path: str) -> list[str]:
    """Everything that one look at the page and one vote, answered with the next pair, ask."""
    with CaptureQueriesContext(connection) as captured:
        ticket = TICKET.search(client.get(path).content.decode())
        assert ticket is not None, "nothing was handed out"
        vote = {"ticket": ticket[1], "choice": "a1"}
        answer = client.post(path, vote, headers={"X-Fragment": "1"})
    assert TICKET.search(answer.content.decode()), "no next pair was handed out"
    return [entry["sql"] for entry in captured.captured_queries]


def scans(query: str) -> list[str]:
    """The large tables that would be read from end to end for this statement; of a prepared one, whoever asks."""
    if query.split()[0] not in EXPLAINED:
        return []
    with connection.cursor() as cursor:
        cursor.execute(ONE_PLAN)  # where a test has rolled it back
        cursor.execute(f"EXPLAIN (FORMAT JSON) {query}")
        [(found,)] = cursor.fetchall()
    plan = found if isinstance(found, list) else json.loads(found)
    return [
        node["Relation Name"]
        for node in nodes(plan[0]["Plan"])
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE
    ]


def filled() -> set[str]:
    """The large tables that are large here, by the last ANALYZE: a fresh project has no judgments yet."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relname = ANY (%s) AND reltuples > %s", [[*LARGE], SMALL])
        return {name for (name,) in cursor.fetchall()}


def counted_scans() -> dict[str, int]:
    """How often each large table was read from end to end, by anybody, since its database was made.

    A session tells when it ends: ask when the server is down.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname = ANY (%s)", [[*LARGE]])
        return dict(cursor.fetchall())


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's nodes, from the top."""
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)
