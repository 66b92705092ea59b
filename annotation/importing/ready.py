"""A batch of which nothing is there yet, made ready while the server writes the batch before it.

The server needs most of an import's time. So whatever can be done without it is done beforehand: ids are drawn, rows
are COPY's bytes. What came in by another way meanwhile the database refuses, and the batch is written as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import combinations
from typing import NamedTuple

from django.db import connection
from django.utils.timezone import now

from annotation.importing.copying import array, copy_ready, new_ids
from annotation.importing.grouping import Compared
from annotation.importing.keyed import Keyed
from annotation.importing.lines import (
    COMPARISON,
    PROMPT,
    RESPONSE,
    Asked,
    Prompts,
    ResponseKey,
    comparison_lines,
    prompt_lines,
    response_lines,
    wanted_for,
)
from annotation.importing.writing import Landed
from annotation.models import Comparison, Project, Prompt, Response


class Ready(NamedTuple):
    """COPY's bytes of what rows bring to a project that asks for pairs with this overlap."""

    prompts: bytes
    responses: bytes
    comparisons: bytes
    added: int  # comparisons
    duplicates: int
    overlap: Decimal

    def suits(self, project: Project) -> bool:
        """Whether the project still asks for what it asked for then."""
        return project.kind == Project.Kind.PAIRS and project.overlap == self.overlap


def are_new(prompts: Prompts, project: Project) -> bool:
    """Whether the project has none of these prompts."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM annotation_prompt WHERE project_id = %s AND content_hash = ANY(%s::varchar[]))",
            [project.pk, array(prompts)],
        )
        [(there,)] = cursor.fetchall()
    return not there


def make_ready(
    rows: list[Keyed], wanted: Prompts, project: Project, allowed: Callable[[Iterator[str]], Iterator[str]]
) -> Ready:
    """Rows without votes, whose prompts are `wanted` and new, with ids of their own; line by line, as `allowed`."""
    at = now().isoformat()
    prompts = dict(zip(wanted, new_ids(Prompt, len(wanted)), strict=True))
    prompt_bytes = _joined(allowed(prompt_lines(prompts, wanted, project.pk, at)))
    ids: dict[ResponseKey, int] = {}
    answered: list[list[int]] = []
    unused = iter(new_ids(Response, sum(len(keyed.answers) for keyed in rows)))
    response_bytes = _joined(allowed(response_lines(rows, prompts, ids, unused, answered, at)))
    asked: dict[Compared, int] = {}
    pairs = 0
    for keyed, mine in zip(rows, answered, strict=True):
        for left, right in combinations(mine, 2):
            pairs += 1
            asked[(left, right) if left <= right else (right, left)] = prompts[keyed.prompt]
    often = wanted_for(project)
    comparisons = (Asked(compared, prompt, often(compared)) for compared, prompt in asked.items())
    numbered = zip(new_ids(Comparison, len(asked)), comparisons, strict=True)
    comparison_bytes = _joined(allowed(comparison_lines(numbered, project, at)))
    return Ready(prompt_bytes, response_bytes, comparison_bytes, len(asked), pairs - len(asked), project.overlap)


def _joined(lines: Iterator[str]) -> bytes:
    text = "\n".join(lines)
    return f"{text}\n".encode() if text else b""


def write_ready(ready: Ready) -> Landed:
    """Inside the transaction that holds the project's row. Every row refers to that project or to rows of its own
    batch. Raises IntegrityError for what has come in meanwhile."""
    copy_ready(
        [
            (Prompt, PROMPT, ready.prompts),
            (Response, RESPONSE, ready.responses),
            (Comparison, COMPARISON, ready.comparisons),
        ]
    )
    return Landed(added=ready.added, judged=0, duplicates=ready.duplicates)
