"""What must hold after a crowd has worked: the tables, asked in SQL of their own, against what the clients noted.

Nothing here uses the code that is tried, except to open the tickets that the clients were handed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from django.core import signing
from django.db import connection

from annotation.models import Project
from annotation.queue import TICKET_SALT
from bench.queue_load.crowd import Line

Pair = tuple[int, int]  # comparison, person

# Every row counts, whatever its state: nobody of the crowd takes a vote back.
DUPLICATES = """
SELECT COALESCE(sum(rows - 1), 0) FROM (
  SELECT count(*) AS rows FROM annotation_judgment said JOIN annotation_comparison work ON work.id = said.comparison_id
   WHERE work.project_id = %(project)s GROUP BY said.comparison_id, said.annotator_id) AS people
"""
DEPTHS = """
SELECT work.*, (SELECT count(*) FROM annotation_judgment said WHERE said.comparison_id = work.id
                   AND said.seat IS NOT NULL AND said.withdrawn_at IS NULL) AS counting
  FROM annotation_comparison work WHERE work.project_id = %(project)s
"""
OVER = f"SELECT count(*) FROM ({DEPTHS}) AS found WHERE counting > judgments_wanted"
MISCOUNTED = f"SELECT count(*) FROM ({DEPTHS}) AS found WHERE counting <> depth"
UNFINISHED = f"""
SELECT count(*) FROM ({DEPTHS}) AS found
 WHERE purpose = 'collect' AND (closed_at IS NULL OR counting < judgments_wanted)
"""
# One triple for a vote on work that counts and prefers an answer, with its better answer before the other; else none.
WRONG_TRIPLES = """
SELECT count(*) FROM annotation_judgment said JOIN annotation_comparison work ON work.id = said.comparison_id
 WHERE work.project_id = %(project)s AND
       (SELECT COALESCE(array_agg(ARRAY[chosen_id, rejected_id]), '{}') FROM annotation_preference
         WHERE judgment_id = said.id)
       <> CASE WHEN work.purpose = 'collect' AND said.seat IS NOT NULL AND jsonb_array_length(said.tiers) = 2
               THEN ARRAY[ARRAY[(said.tiers->0->>0)::bigint, (said.tiers->1->>0)::bigint]] ELSE '{}' END
"""
# What pages show of the progress of all and of each person, against the rows that are counted.
WRONG_PROGRESS = """
SELECT (SELECT abs(sum(done) - (SELECT count(*) FROM annotation_judgment said
                                  JOIN annotation_comparison work ON work.id = said.comparison_id
                                 WHERE work.project_id = %(project)s AND work.purpose = 'collect'
                                   AND said.seat IS NOT NULL))
          FROM annotation_workcount WHERE project_id = %(project)s)
     + (SELECT count(*) FROM (
          SELECT annotator_id, sum(votes) AS votes FROM annotation_votecount
           WHERE project_id = %(project)s GROUP BY 1) AS shown
          FULL JOIN (
          SELECT annotator_id, count(*) AS votes FROM annotation_judgment said
            JOIN annotation_comparison work ON work.id = said.comparison_id
           WHERE work.project_id = %(project)s GROUP BY 1) AS real USING (annotator_id)
         WHERE shown.votes IS DISTINCT FROM real.votes)
"""
SAID = """
SELECT said.comparison_id, said.annotator_id, said.both_bad, said.strength, jsonb_array_length(said.tiers),
       split_part(better.text, '.', 1)
  FROM annotation_judgment said JOIN annotation_comparison work ON work.id = said.comparison_id
  JOIN annotation_response better ON better.id = (said.tiers->0->>0)::bigint
 WHERE work.project_id = %(project)s
"""
WORK = "SELECT id, closed_at FROM annotation_comparison WHERE project_id = %(project)s AND purpose = 'collect'"


@dataclass(frozen=True)
class Findings:
    """Counts. Those down to `server_errors` must be 0 when a crowd has finished its project."""

    duplicates: int  # judgments of one person on one comparison beyond the first
    over_their_number: int  # comparisons with more judgments that count than they want
    lost: int  # votes that the server has confirmed and that the tables do not have
    misread: int  # judgments that say something else than the person sent, by the texts they had before them
    miscounted: int  # comparisons whose depth is not the number of their judgments
    wrong_triples: int  # judgments without just the triple that follows from them
    wrong_progress: int  # counts shown to people that are not those of the rows
    unfinished: int  # comparisons of the work that still want judgments
    server_errors: int  # requests answered with a 500 or the like
    votes: int  # judgments in the tables
    confirmed: int  # of these, known to their clients
    late: int  # of the confirmed, told that others had taken their pair
    handed_out: int  # pairs of work given to a person, each counted once
    left: int  # of these, left without a vote by somebody who went away or was killed
    handed_out_again: int  # of these, given to others when the lease had run out
    gone: int  # people who went away and did not come back
    abandoned: int  # times that somebody went away from a pair for longer than its lease
    hung_up: int  # votes whose sender did not wait for the answer
    kills: int  # of a process with all its annotators
    problems: int  # connections that broke

    @property
    def is_exact(self) -> bool:
        names = [field.name for field in fields(self)]
        return not any(getattr(self, name) for name in names[: names.index("server_errors") + 1])

    @property
    def has_tried(self) -> bool:
        """Whether what can go wrong has happened at all: kills, leases that ran out, late votes, lost answers."""
        return min(self.kills, self.gone, self.abandoned, self.handed_out_again, self.late, self.hung_up) > 0


def find(project: Project, lines: Sequence[Line], *, server_errors: int) -> Findings:
    """Look at everything."""
    rows = _rows(SAID, project)
    kept = {(comparison, person) for comparison, person, *_ in rows}
    sent, confirmed = _sent(lines), _pairs(lines, "voted", "late")
    finished = {pk: closed_at is not None for pk, closed_at in _rows(WORK, project)}
    handed_out = {(comparison, person) for comparison, person in _pairs(lines, "got") if comparison in finished}
    left = handed_out - kept
    # Who has left a pair has no seat of it, so a pair with all its judgments has given that seat to somebody else.
    again = {(comparison, person) for comparison, person in left if finished[comparison]}
    return Findings(
        duplicates=_count(DUPLICATES, project),
        over_their_number=_count(OVER, project),
        lost=len(confirmed - kept),
        misread=sum(_meaning(row) not in sent[row[0], row[1]] for row in rows),
        miscounted=_count(MISCOUNTED, project),
        wrong_triples=_count(WRONG_TRIPLES, project),
        wrong_progress=_count(WRONG_PROGRESS, project),
        unfinished=_count(UNFINISHED, project),
        server_errors=server_errors,
        votes=len(rows),
        confirmed=len(confirmed),
        late=len(_pairs(lines, "late")),
        handed_out=len(handed_out),
        left=len(left),
        handed_out_again=len(again),
        gone=len([line for line in lines if line.what == "gone"]),
        abandoned=len([line for line in lines if line.what == "abandoned"]),
        hung_up=len([line for line in lines if line.what == "hung up"]),
        kills=len([line for line in lines if line.what == "killed"]),
        problems=len([line for line in lines if line.what == "problem"]),
    )


def _rows(query: str, project: Project) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, {"project": project.pk})
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _count(query: str, project: Project) -> int:
    [(number,)] = _rows(query, project)
    return int(number)


def _pair(line: Line) -> Pair:
    content: list[int] = signing.loads(line.ticket, salt=TICKET_SALT)
    return content[0], line.person


def _pairs(lines: Sequence[Line], *what: str) -> set[Pair]:
    return {_pair(line) for line in lines if line.what in what}


def _sent(lines: Sequence[Line]) -> dict[Pair, set[str]]:
    """What each person has sent on each comparison. Who was killed or hung up may have sent it twice: one is kept."""
    found = defaultdict[Pair, set[str]](set)
    for line in lines:
        if line.what == "sent":
            side_a, side_b, choice = line.said
            strength = f" by {choice[1:]}"
            better = {"a": side_a + strength, "b": side_b + strength}
            found[_pair(line)].add(choice if choice in ("tie", "both_bad") else better[choice[0]])
    return found


def _meaning(row: tuple[Any, ...]) -> str:
    """A judgment in the same words."""
    _, _, both_bad, strength, tiers, better = row
    return "both_bad" if both_bad else "tie" if tiers == 1 else f"{better} by {strength}"
